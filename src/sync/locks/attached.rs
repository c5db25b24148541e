//! The locks of a cache file as one process is attached to them, and the guard of a held lock.

use super::contract::{LockError, LockRegions, Mode};
use super::file::FileLocks;
use super::lease::{HeldWord, LeaseLocks};
use super::process::ProcessLocks;
use super::rw_file::RwFileLock;
use crate::fault::{Fault, injected};
use crate::shm::Memory;
use crate::sync::fork;
use crate::sync::member::Seats;
use crate::sync::wait::Waited;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// The attached locks of a process.
pub(crate) enum Locks {
    File(FileLocks),
    Lease(LeaseLocks),
    Process(ProcessLocks),
    None,
    RwFile(Box<RwFileLock>),
    Custom(Box<dyn LockRegions>),
}

impl Locks {
    /// Locks a region exclusively. `seats` are the seats of the file that these locks belong to.
    ///
    /// A lock word is taken inline in the write that needs it; the other strategies cost a function call anyway.
    #[inline(always)]
    pub(crate) fn lock<'a, M: Memory>(
        &'a self,
        seats: Seats<'a, M>,
        region: u32,
        limit: Duration,
    ) -> Result<RegionGuard<'a>, LockError> {
        if injected(Fault::Unlocked) {
            return Ok(RegionGuard::new(self, region, None, Mode::Exclusive, Waited::NONE));
        }
        let (word, waited) = match self {
            Locks::Lease(locks) => {
                let (held, waited) = locks.lock(seats, region, limit)?;
                (Some(held), waited)
            }
            locks => (None, locks.lock_whole(region, limit)?),
        };
        Ok(RegionGuard::new(self, region, word, Mode::Exclusive, waited))
    }

    /// [`lock`](Self::lock) for the fast path, on which the region is free and its lock takes no system call. Otherwise
    /// `wait` locks the region. `wait` returns no guard, so that the guard is made in one place only and need not be
    /// copied.
    #[inline(always)]
    pub(crate) fn lock_at_once<'a, M: Memory, E>(
        &'a self,
        seats: Seats<'a, M>,
        region: u32,
        wait: impl FnOnce() -> Result<(), E>,
    ) -> Result<RegionGuard<'a>, E> {
        let word = match self {
            Locks::Lease(locks) => Some(locks.word(seats, region)),
            _ => None,
        };
        let is_locked = match (word, self) {
            _ if injected(Fault::Unlocked) => true,
            (Some(held), _) => held.try_lock(),
            (None, Locks::Process(locks)) => locks.try_lock(region),
            _ => false,
        };
        if !is_locked {
            wait()?;
        }
        let word = word.filter(|_| !injected(Fault::Unlocked));
        Ok(RegionGuard::new(self, region, word, Mode::Exclusive, Waited::NONE))
    }

    /// Locks a region with a strategy other than `lease`; returns how long it waited.
    fn lock_whole(&self, region: u32, limit: Duration) -> Result<Waited, LockError> {
        match self {
            Locks::File(locks) => locks.lock(region, limit),
            Locks::Process(locks) => locks.lock(region, limit),
            Locks::Lease(_) | Locks::None => Ok(Waited::NONE),
            Locks::RwFile(lock) => lock.lock(limit, Mode::Exclusive),
            Locks::Custom(locks) => locks.lock(region, limit).map(|()| Waited::NONE),
        }
    }

    /// Whether the locks exclude other writers. With `none` only the writer itself may repair half-done work.
    pub(crate) fn exclude(&self) -> bool {
        !matches!(self, Locks::None)
    }

    /// Whether a read must take a lock.
    #[inline]
    pub(crate) fn reads_are_locked(&self) -> bool {
        matches!(self, Locks::RwFile(_))
    }

    /// Takes the shared lock if reads need one, else returns `None`.
    pub(crate) fn lock_shared(&self, region: u32, limit: Duration) -> Result<Option<RegionGuard<'_>>, LockError> {
        let Locks::RwFile(lock) = self else { return Ok(None) };
        let waited = lock.lock(limit, Mode::Shared)?;
        Ok(Some(RegionGuard::new(self, region, None, Mode::Shared, waited)))
    }

    /// Unlocks a region with a strategy other than `lease`.
    fn unlock(&self, region: u32, mode: Mode) {
        match self {
            _ if injected(Fault::Unlocked) => {}
            Locks::File(locks) => locks.unlock(region),
            Locks::Process(locks) => locks.unlock(region),
            Locks::Lease(_) | Locks::None => {}
            Locks::RwFile(lock) => lock.unlock(mode),
            Locks::Custom(locks) => locks.unlock(region),
        }
    }
}

/// A held lock region. Dropping the guard unlocks the region, except in a child that was forked meanwhile.
#[must_use]
pub(crate) struct RegionGuard<'a> {
    locks: &'a Locks,
    /// The lock word with strategy `lease`; `None` with any other strategy, which holds the region in `mode`.
    word: Option<HeldWord<'a>>,
    mode: Mode,
    region: u32,
    generation: u32,
    /// How long the caller waited for the lock.
    pub waited: Waited,
}

impl<'a> RegionGuard<'a> {
    #[inline]
    fn new(locks: &'a Locks, region: u32, word: Option<HeldWord<'a>>, mode: Mode, waited: Waited) -> Self {
        // Makes the previous holder's stores visible to the loads that follow.
        fence(Ordering::Acquire);
        Self { locks, word, mode, region, generation: fork::generation(), waited }
    }
}

impl RegionGuard<'_> {
    /// Leaves the region locked, for another guard of the same region.
    pub(crate) fn hand_over(self) {
        std::mem::forget(self);
    }

    #[inline]
    fn give_back(&self) {
        if self.generation == fork::generation() {
            fence(Ordering::Release);
            match (self.word, self.locks) {
                (Some(held), _) => held.unlock(),
                (None, Locks::Process(locks)) if !injected(Fault::Unlocked) => locks.unlock(self.region),
                (None, locks) => locks.unlock(self.region, self.mode),
            }
        }
    }

    /// Unlocks early. Dropping the guard then does nothing, as in a forked child.
    #[cfg(feature = "faults")]
    pub(crate) fn give_up(&mut self) {
        self.give_back();
        self.generation = 0;
    }
}

impl Drop for RegionGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.give_back();
    }
}
