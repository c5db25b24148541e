//! Faults that tests inject, to prove that they would find them.
//!
//! They are compiled in only with the feature `faults`, and even then nothing is broken until [`inject`] is called. Each
//! fault has one hook in the engine, at the protection that it disables.

/// A fault of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Readers ignore versions: both an odd one before the read and a changed one after it.
    Torn = 1,
    /// A superseded record is not marked dead, and is linked again.
    Revived,
    /// Locking a stripe reports success without taking the lock.
    Unlocked,
    /// The lock is released before the last stores of a write, as if its holder had been taken for dead.
    #[cfg(all(feature = "faults", not(loom)))]
    LateStore,
    /// A caller that claims a key does not check whether it is claimed already.
    DoubleClaim,
    /// A handle whose file was replaced goes on using the old file.
    Unfollowed,
    /// Hard invalidations of tags cover nothing.
    DeafToTags,
    /// Soft invalidations of tags make nothing stale.
    FreshThoughTagged,
    /// A created value bears the clock of tags from its end, not from its beginning.
    LateClock,
    /// Writers do not look whether the file is closed, while it gets another size.
    NotClosed,
    /// A file that was closed is never opened to writers again.
    LeftClosed,
    /// A resize does not copy the tables and the clock of tags.
    ForgottenTags,
    /// A resize does not wait for keys that are locked.
    MovedLocks,
}

#[cfg(not(all(feature = "faults", not(loom))))]
#[inline(always)]
pub(crate) const fn injected(_: Fault) -> bool {
    false
}

#[cfg(all(feature = "faults", not(loom)))]
pub use active::inject;
#[cfg(all(feature = "faults", not(loom)))]
pub(crate) use active::{injected, linger};

#[cfg(all(feature = "faults", not(loom)))]
mod active {
    use super::Fault;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    static INJECTED: AtomicU8 = AtomicU8::new(0);

    /// Injects a fault for the rest of this process's life.
    pub fn inject(what: Fault) {
        INJECTED.store(what as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn injected(what: Fault) -> bool {
        INJECTED.load(Ordering::Relaxed) == what as u8
    }

    /// Waits long enough for others to take the lock that was released.
    pub(crate) fn linger() {
        std::thread::sleep(Duration::from_micros(200));
    }
}
