//! Sleeping on a word of shared memory without a call of the system: by looking again, after pauses that grow. That is
//! slower than being woken and never wrong, since every sleep has a limit.

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Sleeps until `is_same` says no, or `limit` has passed.
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

/// Whoever sleeps looks by itself.
pub(crate) fn wake_one(_half: &AtomicU32) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform;
    use crate::shm::mapping::Mapping;
    use crate::shm::memory::Word;
    use crate::shm::{Memory, Step};

    type Sleep = fn(Word<'_>, u64, Duration);
    type Wake = fn(Word<'_>);

    /// The two ways in which a thread sleeps: that of the system, and that by looking again.
    const WAYS: [(Sleep, Wake); 2] = [
        (
            |word, seen, limit| platform::sleep_on(word.low_half(), seen as u32, || word.get() == seen, limit),
            |word| platform::wake_one(word.low_half()),
        ),
        (
            |word, seen, limit| sleep_on(word.low_half(), seen as u32, || word.get() == seen, limit),
            |word| wake_one(word.low_half()),
        ),
    ];

    fn mapped() -> (tempfile::NamedTempFile, Mapping) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let map = Mapping::new(file.as_file(), 4096, true).unwrap();
        (file, map)
    }

    #[test]
    fn a_sleep_ends_at_its_limit_and_does_not_begin_on_another_word() {
        for (sleep, _) in WAYS {
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
    fn a_sleeper_is_woken_through_another_mapping() {
        for (sleep, wake) in WAYS {
            let (file, map) = mapped();
            let other = Mapping::new(file.as_file(), 4096, true).unwrap();
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while map.word(64).get() == 0 {
                        sleep(map.word(64), 0, Duration::from_secs(20));
                    }
                });
                std::thread::sleep(Duration::from_millis(20));
                other.word(64).announce(Step::SleepWord);
                wake(other.word(64));
            });
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }
}
