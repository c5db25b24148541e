//! The locks of stripes: one contract, several strategies.
//!
//! *Contract.* Between [`lock`](LockRegions::lock) and [`unlock`](LockRegions::unlock) of a lock region no
//! other thread or process that attached to the same place holds that region. `lock` ends within its limit,
//! with the lock or with [`LockError::Busy`]. The lock of a process that died is given to the next who asks;
//! that of a process that was stopped is not. A forked child does not hold what its parent holds. Regions do
//! not wait for each other. Memory ordering is the engine's business: it puts a fence on either side.
//!
//! [`conformance`](crate::conformance) checks all of this, for these strategies and for a caller's own.

#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod lease;
pub(crate) mod lock_word;
#[cfg(all(test, loom))]
mod models;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
mod rw_file;
#[cfg(not(loom))]
mod strategy;

#[cfg(not(loom))]
pub use super::fork::LockFile;
#[cfg(not(loom))]
pub(crate) use file::{try_lock_data, try_lock_exclusive, try_lock_shared};
#[cfg(not(loom))]
pub use strategy::{LockFactory, LockPlace, LockRegions, LockStrategy};
#[cfg(not(loom))]
pub(crate) use strategy::{Locks, is_lock_name, lock_file_path};

/// Why a lock was not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another thread or process held it for the whole of the limit.
    #[error("the lock was held by another thread or process for the whole of the limit")]
    Busy,
    /// The system refused, or the lock is not where it should be.
    #[error("the lock cannot be taken")]
    Failed(#[from] std::io::Error),
}

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

#[cfg(not(loom))]
pub(crate) use guard::RegionGuard;
#[cfg(loom)]
pub(crate) use model::{ModelLock, RegionGuard};

#[cfg(not(loom))]
mod guard {
    use super::lease::Held;
    use super::{Locks, Mode};
    use crate::sync::fork;

    /// A held lock region; dropping it unlocks, except in a child that was forked meanwhile.
    #[must_use]
    pub(crate) struct RegionGuard<'a> {
        locks: &'a Locks,
        region: u32,
        how: How<'a>,
        generation: u32,
        /// Somebody else held it at first.
        pub waited: bool,
    }

    /// What has to be given back.
    #[derive(Clone, Copy)]
    pub(super) enum How<'a> {
        Whole(Mode),
        Word(Held<'a>),
    }

    impl<'a> RegionGuard<'a> {
        #[inline]
        pub(super) fn new(locks: &'a Locks, region: u32, how: How<'a>, waited: bool) -> Self {
            // What the holder before stored is seen by the loads that follow.
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            Self { locks, region, how, generation: fork::generation(), waited }
        }
    }

    impl RegionGuard<'_> {
        #[inline]
        fn give_back(&self) {
            if self.generation == fork::generation() {
                std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
                match self.how {
                    How::Word(held) => held.unlock(),
                    How::Whole(mode) => self.locks.unlock(self.region, mode),
                }
            }
        }

        /// Unlocks ahead of time; dropping the guard does nothing then, as in a forked child.
        #[cfg(feature = "plant")]
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
}

#[cfg(loom)]
mod model {
    //! A lock for the model checkers.

    use crate::shm::atomics::checker::sync::{Mutex, MutexGuard};

    pub(crate) struct ModelLock(Mutex<()>);

    /// A held lock.
    pub(crate) struct RegionGuard<'a>(#[expect(dead_code)] MutexGuard<'a, ()>);

    impl ModelLock {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(()))
        }

        pub(crate) fn lock(&self) -> RegionGuard<'_> {
            RegionGuard(self.0.lock().unwrap())
        }
    }
}
