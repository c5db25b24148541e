//! The board: words that all processes of a round share beside the cache, to keep its history and to be watched.
//!
//! ```text
//! words  0..16     of the whole round: see [`Word`]
//! then             SLOTS places of worker processes, 8 words each: see [`Place`]
//! then             KEYS keys, 8 words each: see [`Mark`]
//! ```
//!
//! All of it is loaded and stored in one order that every process agrees on (`SeqCst`): what is sampled before a call
//! was true before the call, and what is stored after it is seen by all who sample later. That is what the checks of
//! [`history`](crate::history) rest on, and the cost of a fence does not matter here.
#![allow(unsafe_code, reason = "words that processes share lie in a mapping")]

use anyhow::{Context, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Keys of a round; the numbers below are in it as 16 bits.
pub const KEYS: usize = 768;
/// Worker processes that can be on the board at once.
pub const SLOTS: usize = 64;
/// Threads of a worker process.
pub const THREADS: usize = 2;

const ROUND: usize = 16;
const PLACE: usize = 8;
const MARKS: usize = 8;

/// A word of the whole round.
#[derive(Clone, Copy)]
pub enum Word {
    /// Not 0: workers end.
    Stop,
    Violations,
    /// The last worker's number.
    Workers,
    ClearsBegun,
    /// The highest number of a clear that returned.
    ClearsDone,
    /// How often a process was stopped.
    StopsBegun,
    /// Processes that are stopped, or that went on a moment ago.
    StoppedNow,
    /// The longest operation that no stop overlapped, and the longest of the others, in nanoseconds.
    LongestNs,
    LongestStoppedNs,
    Operations,
    Hits,
    Busy,
    Forks,
}

/// A word of a worker's place.
#[derive(Clone, Copy)]
pub enum Place {
    /// 0: the place is free.
    Pid,
    /// The worker's number; 0 until it has one.
    Worker,
    /// When the operation of each thread began, in nanoseconds; 0: none is under way.
    Since,
}

/// A word of a key's history.
#[derive(Clone, Copy)]
pub enum Mark {
    /// The number of the worker who may write the key; 0: nobody does.
    Owner,
    /// The number of the last write that was begun.
    Begun,
    /// The last write that returned, in the upper 40 bits, and how many clears had begun then.
    Done,
    /// The highest number that a read returned.
    Seen,
    /// Values up to this number may have another expiry than they say.
    Touched,
    /// The highest number that an addition returned.
    Added,
}

/// The shared words, mapped.
pub struct Board {
    map: MmapRaw,
}

impl Board {
    const WORDS: usize = ROUND + SLOTS * PLACE + KEYS * MARKS;

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
        // SAFETY: the word was just proven to lie within the mapping, which is aligned to a page.
        let at = unsafe { self.map.as_mut_ptr().cast::<u64>().add(i) };
        // SAFETY: valid and aligned as above for as long as `self` is; nobody accesses these words in another way.
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
        self.at(ROUND + slot * PLACE + word as usize)
    }

    /// When a thread's operation began.
    pub fn since(&self, slot: usize, thread: usize) -> &AtomicU64 {
        self.at(ROUND + slot * PLACE + Place::Since as usize + thread)
    }

    pub fn mark(&self, key: u16, mark: Mark) -> &AtomicU64 {
        self.at(ROUND + SLOTS * PLACE + usize::from(key) * MARKS + mark as usize)
    }

    /// Gives this process a place and a number; `None` when all are taken.
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

    /// Takes a process that is dead, and waited for, off the board: what it held is free.
    pub fn bury(&self, pid: u64) {
        for slot in (0..SLOTS).filter(|&slot| self.place(slot, Place::Pid).load(SeqCst) == pid) {
            let worker = self.place(slot, Place::Worker).swap(0, SeqCst);
            for key in (0..KEYS as u16).filter(|_| worker != 0) {
                let _ = self.mark(key, Mark::Owner).compare_exchange(worker, 0, SeqCst, SeqCst);
            }
            (0..THREADS).for_each(|thread| self.since(slot, thread).store(0, SeqCst));
            self.place(slot, Place::Pid).store(0, SeqCst);
        }
    }
}

/// Nanoseconds of the host's monotonic clock, the same in all processes.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
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
        // Both places have this process's number here.
        board.place(1, Place::Pid).store(u64::MAX, SeqCst);
        board.bury(u64::from(std::process::id()));
        assert_eq!(board.mark(3, Mark::Owner).load(SeqCst), 0);
        assert_eq!(board.mark(4, Mark::Owner).load(SeqCst), other, "of somebody who lives");
        assert_eq!(board.since(slot, 1).load(SeqCst), 0);
        assert_eq!(board.pids(), [u64::MAX]);
    }
}
