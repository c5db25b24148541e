//! Sleeping on a word of shared memory where the system has no call for it: polling with growing pauses. That is slower
//! than a wake-up, but never wrong, since every sleep has a limit.

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Sleeps until `is_same` returns `false`, or `limit` has passed.
pub(crate) fn sleep_on(_half: &AtomicU32, _seen: u32, is_same: impl Fn() -> bool, limit: Duration) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while is_same() {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}

/// Does nothing: sleepers poll.
pub(crate) fn wake_one(_half: &AtomicU32) {}

/// Does nothing: sleepers poll.
pub(crate) fn wake_all(_half: &AtomicU32) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::platform::{self, Pages};
    use crate::shm::mapping::Mapping;
    use crate::shm::memory::Word;
    use crate::shm::{Memory, Step};

    /// Functions with which threads sleep and wake each other.
    struct Way {
        sleep: fn(Word<'_>, u64, Duration),
        wake_one: fn(&AtomicU32),
        wake_all: fn(&AtomicU32),
    }

    /// The functions of the system, and polling.
    const WAYS: [Way; 2] = [
        Way {
            sleep: |word, seen, limit| {
                platform::sleep_on(word.low_half(), seen as u32, || word.get() == seen, limit);
            },
            wake_one: platform::wake_one,
            wake_all: platform::wake_all,
        },
        Way {
            sleep: |word, seen, limit| sleep_on(word.low_half(), seen as u32, || word.get() == seen, limit),
            wake_one,
            wake_all,
        },
    ];

    fn mapped() -> (tempfile::NamedTempFile, Mapping) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let map = Mapping::new(file.as_file(), 4096, true, Pages::Any).unwrap();
        (file, map)
    }

    #[test]
    fn a_sleep_ends_at_its_limit_and_does_not_begin_on_another_word() {
        for Way { sleep, .. } in WAYS {
            let (_file, map) = mapped();
            let start = Instant::now();
            sleep(map.word(64), 0, Duration::from_millis(30));
            assert!(start.elapsed() >= Duration::from_millis(30));
            map.word(64).set(Step::SleepWord, 1 << 32 | 5);
            let start = Instant::now();
            sleep(map.word(64), 4, Duration::from_secs(20));
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn sleepers_are_woken_through_another_mapping() {
        for Way { sleep, wake_one, wake_all } in WAYS {
            let (file, map) = mapped();
            let other = Mapping::new(file.as_file(), 4096, true, Pages::Any).unwrap();
            let start = Instant::now();
            std::thread::scope(|scope| {
                for at in [64, 128, 128] {
                    let map = &map;
                    scope.spawn(move || {
                        while map.word(at).get() == 0 {
                            sleep(map.word(at), 0, Duration::from_secs(20));
                        }
                    });
                }
                std::thread::sleep(Duration::from_millis(20));
                for (at, wake) in [(64, wake_one), (128, wake_all)] {
                    other.word(at).announce(Step::SleepWord);
                    wake(other.word(at).low_half());
                }
            });
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }
}
