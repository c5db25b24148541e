//! The board: words that all processes of a round share beside the cache, for its history and for supervision.
//!
//! ```text
//! words  0..40     of the whole round: see [`Word`]
//! then             PARTS parts of the cache, 4 words each: see [`Event`]
//! then             TAGS tags, 2 words each: the last invalidation that returned, hard and soft
//! then             SLOTS places of worker processes, 8 words each: see [`Place`]
//! then             KEYS keys, and TYPED more for typed values, 11 words each: see [`Mark`]
//! ```
//!
//! All accesses are in one order that every process agrees on (`SeqCst`): a value sampled before a call was true before
//! the call, and every process that samples later sees a value stored after the call. The checks of
//! [`history`](crate::history) rest on that, and the cost of a fence does not matter here.
#![allow(unsafe_code, reason = "words that processes share lie in a mapping")]

use anyhow::{Context, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Length of a round, unless the run is shorter.
pub const LONGEST_ROUND: Duration = Duration::from_secs(15);
/// Keys of a round; values store their numbers as 16 bits.
pub const KEYS: usize = 768;
/// Further keys, for typed values. They belong to part 0, so only every [`PARTS`]-th is used.
pub const TYPED: usize = 16 * PARTS;
/// The largest number of worker processes on the board at the same time.
pub const SLOTS: usize = 64;
/// Threads of a worker process.
pub const THREADS: usize = 2;
/// Tags of a round.
pub const TAGS: usize = 12;
/// Parts of the cache that can be invalidated separately: the keys without a namespace, and those of two namespaces.
pub const PARTS: usize = 3;

const ROUND: usize = 40;
const EVENTS: usize = 4;
const TAG: usize = 2;
const PLACE: usize = 8;
const MARKS: usize = 11;

/// A word of the whole round.
#[derive(Clone, Copy)]
pub enum Word {
    /// Not 0: workers must end.
    Stop,
    Violations,
    /// The last worker's number.
    Workers,
    /// Number of times that a process was stopped.
    StopsBegun,
    /// Processes that are stopped, or that resumed a moment ago.
    StoppedNow,
    /// The longest operation that no stop overlapped, and the longest of the other operations, in nanoseconds.
    LongestNs,
    LongestStoppedNs,
    Operations,
    Hits,
    Busy,
    Forks,
    Invalidations,
    /// Flushes that succeeded.
    Flushes,
    /// Creations under a claim, creations without one, and creations that stored nothing because their claim was
    /// voided.
    Created,
    Unprotected,
    Voided,
    /// Typed values that were created.
    TypedCreated,
    /// Locks of keys that were acquired.
    Locked,
    /// Waits for another caller's claim that reached their time limit.
    TimedOut,
    /// Claims that were taken over after their owner was killed, and the sum and the maximum of the times that the new
    /// owners waited, in nanoseconds, including stops.
    Takeovers,
    TakeoverNs,
    LongestTakeoverNs,
    /// The longest time to get a claim, in nanoseconds, including stops.
    LongestClaimNs,
    /// Replacements of the cache file, see [`events`](crate::events): the last that began, the last that ended, and the
    /// last that put another file at the path.
    ReplacementsBegun,
    ReplacementsDone,
    Replaced,
    /// The last invalidation of tags that began, and how many have returned.
    TagsBegun,
    TagInvalidations,
    /// The smallest capacity of the file, if workers resize it; 0 if they do not.
    LeastCapacity,
    /// When the next resize is due, in nanoseconds.
    NextResize,
    /// Resizes that began, those that succeeded, and those whose process was killed.
    ResizesBegun,
    Resized,
    ResizersKilled,
    /// The longest time for which a resize kept writers waiting, in nanoseconds, including stops.
    LongestClosedNs,
    /// The longest resize, in nanoseconds, including waits for locked keys.
    LongestResizeNs,
}

/// A word of a part of the cache: the numbers of its invalidations. An invalidation of the whole cache counts in each
/// part.
#[derive(Clone, Copy)]
pub enum Event {
    HardBegun,
    /// The highest number of an invalidation that returned.
    HardDone,
    SoftBegun,
    SoftDone,
}

/// A word of a worker's slot.
#[derive(Clone, Copy)]
pub enum Place {
    /// 0: the slot is free.
    Pid,
    /// The worker's number; 0 until it has one.
    Worker,
    /// When the current operation of each thread began, in nanoseconds; 0: the thread has none.
    Since,
    /// Not 0: the process was killed, or is about to be.
    Doomed = 2 + THREADS as isize,
    /// The operation of each thread that may end claims of any key: [`INVALIDATES`], [`RESIZES`], or 0 for none.
    Disturbs,
}

/// The thread invalidates a part of the cache.
pub const INVALIDATES: u64 = 1;
/// The thread resizes the file.
pub const RESIZES: u64 = 2;

/// A word of a key's history.
#[derive(Clone, Copy)]
pub enum Mark {
    /// The number of the worker that may write the key; 0: none.
    Owner,
    /// The number of the last write that began.
    Begun,
    /// The last write that returned, with the invalidations that had begun by then: see [`history`](crate::history).
    Done,
    /// The highest number that a read returned.
    Seen,
    /// Values up to this number may have another expiry than they state.
    Touched,
    /// The highest number that an addition returned.
    Added,
    /// The worker that creates or locks the key: see [`tenure`](crate::tenure); 0: none.
    Holder,
    /// When the holder was killed, in nanoseconds; 0: no holder was killed, or another worker has taken the claim
    /// since.
    Orphaned,
    /// The number of the last absence whose storing began: see [`absence`](crate::absence); 0: none.
    Absent,
    /// The latest time at which it expires, in milliseconds since 1970.
    AbsentUntil,
    /// The last write that returned, with the number of the last invalidation of tags that had begun by then: see
    /// [`tags`](crate::tags).
    Tagged,
}

/// The bits of [`Mark::Holder`] from this one up are the worker's number.
pub const WORKER_SHIFT: u32 = 48;

/// The worker in a word of [`Mark::Holder`]; `None` if the key has no holder.
pub fn worker_of(word: u64) -> Option<u64> {
    (word != 0).then_some(word >> WORKER_SHIFT)
}

/// The shared words, mapped.
pub struct Board {
    map: MmapRaw,
}

impl Board {
    const TAGS_AT: usize = ROUND + PARTS * EVENTS;
    const PLACES_AT: usize = Self::TAGS_AT + TAGS * TAG;
    const KEYS_AT: usize = Self::PLACES_AT + SLOTS * PLACE;
    const WORDS: usize = Self::KEYS_AT + (KEYS + TYPED) * MARKS;

    /// Makes the board of a new round, all zeros.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).context("create the board")?;
        file.set_len(Self::WORDS as u64 * 8)?;
        Self::map(&file)
    }

    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).context("open the board")?;
        Self::map(&file)
    }

    fn map(file: &std::fs::File) -> Result<Self> {
        Ok(Self { map: MmapOptions::new().len(Self::WORDS * 8).map_raw(file).context("map the board")? })
    }

    fn at(&self, i: usize) -> &AtomicU64 {
        assert!(i < Self::WORDS);
        // SAFETY: the word was just checked to lie within the mapping, which is aligned to a page.
        let at = unsafe { self.map.as_mut_ptr().cast::<u64>().add(i) };
        // SAFETY: the word is valid and aligned, as above, for as long as `self` lives, and all processes access it
        // only as an atomic.
        unsafe { AtomicU64::from_ptr(at) }
    }

    pub fn word(&self, word: Word) -> &AtomicU64 {
        self.at(word as usize)
    }

    pub fn get(&self, word: Word) -> u64 {
        self.word(word).load(SeqCst)
    }

    pub fn add(&self, word: Word, by: u64) {
        self.word(word).fetch_add(by, SeqCst);
    }

    pub fn place(&self, slot: usize, word: Place) -> &AtomicU64 {
        self.at(Self::PLACES_AT + slot * PLACE + word as usize)
    }

    /// When a thread's operation began.
    pub fn since(&self, slot: usize, thread: usize) -> &AtomicU64 {
        self.at(Self::PLACES_AT + slot * PLACE + Place::Since as usize + thread)
    }

    /// The operation of a thread that may end claims of any key.
    pub fn disturbs(&self, slot: usize, thread: usize) -> &AtomicU64 {
        self.at(Self::PLACES_AT + slot * PLACE + Place::Disturbs as usize + thread)
    }

    /// The last hard (0) or soft (1) invalidation of a tag that returned.
    pub fn tag(&self, tag: usize, how: usize) -> &AtomicU64 {
        self.at(Self::TAGS_AT + tag * TAG + how)
    }

    /// A process that resizes the file.
    pub fn resizer(&self) -> Option<u64> {
        let resizes = |slot: &usize| (0..THREADS).any(|thread| self.disturbs(*slot, thread).load(SeqCst) == RESIZES);
        (0..SLOTS).find(resizes).map(|slot| self.place(slot, Place::Pid).load(SeqCst)).filter(|&pid| pid != 0)
    }

    pub fn event(&self, part: usize, event: Event) -> &AtomicU64 {
        self.at(ROUND + part * EVENTS + event as usize)
    }

    pub fn mark(&self, key: u16, mark: Mark) -> &AtomicU64 {
        self.at(Self::KEYS_AT + usize::from(key) * MARKS + mark as usize)
    }

    /// Gives this process a slot and a number. Returns `None` if all slots are taken.
    pub fn join(&self) -> Option<(usize, u64)> {
        let pid = u64::from(std::process::id());
        let slot =
            (0..SLOTS).find(|&slot| self.place(slot, Place::Pid).compare_exchange(0, pid, SeqCst, SeqCst).is_ok())?;
        let worker = self.word(Word::Workers).fetch_add(1, SeqCst) + 1;
        self.place(slot, Place::Worker).store(worker, SeqCst);
        Some((slot, worker))
    }

    /// The processes on the board.
    pub fn pids(&self) -> Vec<u64> {
        (0..SLOTS).map(|slot| self.place(slot, Place::Pid).load(SeqCst)).filter(|&pid| pid != 0).collect()
    }

    /// The slots of a process.
    fn places(&self, pid: u64) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |&slot| self.place(slot, Place::Pid).load(SeqCst) == pid)
    }

    /// Marks a process that is about to be killed. Returns how many keys it creates or locks.
    pub fn doom(&self, pid: u64) -> u64 {
        let mut orphaned = 0;
        for slot in self.places(pid) {
            self.place(slot, Place::Doomed).store(1, SeqCst);
            let worker = self.place(slot, Place::Worker).load(SeqCst);
            for key in (0..(KEYS + TYPED) as u16).filter(|&key| self.holder(key) == Some(worker)) {
                self.mark(key, Mark::Orphaned).store(monotonic_ns(), SeqCst);
                orphaned += 1;
            }
        }
        orphaned
    }

    /// Whether a worker exists and is not about to be killed.
    pub fn lives(&self, worker: u64) -> bool {
        (0..SLOTS).any(|slot| {
            self.place(slot, Place::Worker).load(SeqCst) == worker && self.place(slot, Place::Doomed).load(SeqCst) == 0
        })
    }

    /// The number of the worker that creates or locks a key.
    fn holder(&self, key: u16) -> Option<u64> {
        worker_of(self.mark(key, Mark::Holder).load(SeqCst))
    }

    /// Removes a dead and reaped process from the board, and frees its tokens and the keys that it held.
    pub fn bury(&self, pid: u64) {
        for slot in self.places(pid) {
            let worker = self.place(slot, Place::Worker).swap(0, SeqCst);
            for key in (0..(KEYS + TYPED) as u16).filter(|_| worker != 0) {
                let _ = self.mark(key, Mark::Owner).compare_exchange(worker, 0, SeqCst, SeqCst);
                let left = |word| (worker_of(word) == Some(worker)).then_some(0);
                let _ = self.mark(key, Mark::Holder).fetch_update(SeqCst, SeqCst, left);
            }
            for thread in 0..THREADS {
                self.since(slot, thread).store(0, SeqCst);
                self.disturbs(slot, thread).store(0, SeqCst);
            }
            self.place(slot, Place::Doomed).store(0, SeqCst);
            self.place(slot, Place::Pid).store(0, SeqCst);
        }
    }
}

/// Nanoseconds of the host's monotonic clock, the same in all processes.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call stores the time in `now`. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_worker_leaves_its_place_and_the_keys_that_it_was_writing() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::create(&dir.path().join("board")).unwrap();
        let (slot, worker) = board.join().unwrap();
        let (_, other) = Board::open(&dir.path().join("board")).unwrap().join().unwrap();
        board.mark(3, Mark::Owner).store(worker, SeqCst);
        board.mark(4, Mark::Owner).store(other, SeqCst);
        board.since(slot, 1).store(77, SeqCst);
        board.disturbs(slot, 1).store(RESIZES, SeqCst);
        assert_eq!(board.resizer(), Some(u64::from(std::process::id())));
        // Both slots have this process's number here.
        board.place(1, Place::Pid).store(u64::MAX, SeqCst);
        board.bury(u64::from(std::process::id()));
        assert_eq!(board.mark(3, Mark::Owner).load(SeqCst), 0);
        assert_eq!(board.mark(4, Mark::Owner).load(SeqCst), other, "a living process keeps its key");
        assert_eq!(board.since(slot, 1).load(SeqCst), 0);
        assert_eq!(board.disturbs(slot, 1).load(SeqCst), 0);
        assert_eq!(board.resizer(), None);
        assert_eq!(board.pids(), [u64::MAX]);
    }
}
