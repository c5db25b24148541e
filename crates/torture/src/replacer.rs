//! The replacer: in some rounds it replaces the cache file, again and again. It is a thread of the killer's process, so
//! it is never killed: `tests/kill` covers a replacement that dies.
//!
//! It destroys the file and creates one of another size, or recreates it ([`OnMismatch::Recreate`]) with another lock
//! strategy, or asks for another size. In the last case the file is replaced only while it has no members, and
//! otherwise left alone; the inode shows whether it was replaced.

use crate::board::{Board, Word};
use crate::events::Replacing;
use crate::random::Random;
use kennel::{Error, LockStrategy, OnMismatch, Options};
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest pause between two attempts, in milliseconds.
const PAUSE_MS: u64 = 1500;
const TICK: Duration = Duration::from_millis(5);

pub struct Replacer<'a> {
    pub board: &'a Board,
    pub path: &'a Path,
    /// The two sizes. The file at the path has the first size and the first strategy.
    pub sizes: [Options; 2],
    pub strategies: [LockStrategy; 2],
    pub random: Random,
}

impl Replacer<'_> {
    /// Replaces the file until the workers are to end. Returns an error as text.
    pub fn run(mut self) -> Option<String> {
        loop {
            let next = Instant::now() + self.random.millis(0, PAUSE_MS);
            while Instant::now() < next {
                if self.board.get(Word::Stop) != 0 {
                    return None;
                }
                std::thread::sleep(TICK);
            }
            match self.replace() {
                Ok(()) => {}
                // A process that holds the file's lock was stopped; nothing was replaced.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Some(format!("the file could not be replaced: {error}")),
            }
        }
    }

    fn replace(&mut self) -> kennel::Result<()> {
        let replacing = Replacing::begin(self.board);
        // While a file is open, no other file can get its inode number.
        let held = File::open(self.path).and_then(|file| Ok((file.metadata()?.ino(), file)));
        let how = self.random.below(3);
        let (size, strategy) = if how == 0 { (0, 1) } else { (1, 0) };
        let next = self.sizes[size].clone().locks(self.strategies[strategy].clone());
        if how == 2 {
            next.destroy(self.path)?;
            // No other process creates a file, so this does not wait for a lock.
            next.create(self.path)?;
        } else {
            next.on_mismatch(OnMismatch::Recreate).open_or_create(self.path)?;
        }
        let is_held = |at: Metadata| held.as_ref().is_ok_and(|(inode, _)| at.ino() == *inode);
        if !std::fs::metadata(self.path).is_ok_and(is_held) {
            replacing.succeeded();
            self.sizes.swap(0, size);
            self.strategies.swap(0, strategy);
        }
        Ok(())
    }
}
