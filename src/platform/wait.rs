//! Sleeping on a word of shared memory, and waking who sleeps there.
//!
//! On Linux a futex, shared between processes: without the PRIVATE flag it is known by the file's page and not by the
//! address. Elsewhere by looking again, after pauses that grow: slower, never wrong, since every sleep has a limit.

use crate::shm::memory::Word;
use std::time::Duration;

/// Sleeps until somebody wakes who sleeps on `word`, or `limit` has passed; not at all if the low half of the word is
/// not that of `seen` any more. It may end early for no reason.
#[cfg(target_os = "linux")]
pub(crate) fn sleep_on(word: Word<'_>, seen: u64, limit: Duration) {
    use rustix::thread::futex;
    let limit = futex::Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    // Woken, another word, a signal, time over: the caller looks again in each case.
    let _ = futex::wait(word.low_half(), futex::Flags::empty(), seen as u32, Some(&limit));
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sleep_on(word: Word<'_>, seen: u64, limit: Duration) {
    let start = std::time::Instant::now();
    let mut pause = Duration::from_micros(50);
    while word.get() as u32 == seen as u32 {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}

/// Wakes one who sleeps on `word`, in whatever process.
pub(crate) fn wake_one(word: Word<'_>) {
    wake(word, 1);
}

/// Wakes all who sleep on `word`, in whatever process.
pub(crate) fn wake_all(word: Word<'_>) {
    wake(word, i32::MAX as u32);
}

#[cfg(target_os = "linux")]
fn wake(word: Word<'_>, most: u32) {
    use rustix::thread::futex;
    // It fails only for an address that is none.
    let _ = futex::wake(word.low_half(), futex::Flags::empty(), most);
}

/// Whoever sleeps looks by itself.
#[cfg(not(target_os = "linux"))]
fn wake(_: Word<'_>, _: u32) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::Memory;
    use crate::shm::Step;
    use crate::shm::mapping::Mapping;
    use std::time::Instant;

    fn mapped() -> (tempfile::NamedTempFile, Mapping) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let map = Mapping::new(file.as_file(), 4096, true).unwrap();
        (file, map)
    }

    #[test]
    fn a_sleep_ends_at_its_limit_and_does_not_begin_on_another_word() {
        let (_file, map) = mapped();
        let start = Instant::now();
        sleep_on(map.word(64), 0, Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
        map.word(64).set(Step::SleepWord, 1 << 32 | 5);
        let start = Instant::now();
        sleep_on(map.word(64), 4, Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn sleepers_are_woken_through_another_mapping() {
        let (file, map) = mapped();
        let other = Mapping::new(file.as_file(), 4096, true).unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for at in [64, 128, 128] {
                let map = &map;
                scope.spawn(move || {
                    while map.word(at).get() == 0 {
                        sleep_on(map.word(at), 0, Duration::from_secs(20));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(20));
            for (at, wake) in [(64, wake_one as fn(Word<'_>)), (128, wake_all)] {
                other.word(at).announce(Step::SleepWord);
                wake(other.word(at));
            }
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
