//! Protections that can be broken on purpose, to prove that the tests which look for their absence find it.
//!
//! Compiled in with the feature `plant` only, and even then nothing is broken until [`plant`] is called. Each fault has
//! one hook in the engine, at the protection that it takes away.

/// What is broken in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// Readers do not look at versions: neither at an odd one before, nor at a changed one after.
    Torn = 1,
    /// A record that was superseded is not marked dead, and linked again.
    Revived,
    /// The lock of a stripe is said to be held without being taken.
    Unlocked,
    /// The lock is given up before the last stores of a write, as by one that was taken for dead.
    #[cfg(all(feature = "plant", not(loom)))]
    LateStore,
    /// Whoever claims a key does not look whether it is claimed already.
    DoubleClaim,
    /// A handle whose file was replaced goes on using it.
    Unfollowed,
}

#[cfg(not(all(feature = "plant", not(loom))))]
#[inline(always)]
pub(crate) const fn planted(_: Plant) -> bool {
    false
}

#[cfg(all(feature = "plant", not(loom)))]
pub use active::plant;
#[cfg(all(feature = "plant", not(loom)))]
pub(crate) use active::{linger, planted};

#[cfg(all(feature = "plant", not(loom)))]
mod active {
    use super::Plant;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Breaks a protection for the rest of this process's life.
    pub fn plant(what: Plant) {
        PLANTED.store(what as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn planted(what: Plant) -> bool {
        PLANTED.load(Ordering::Relaxed) == what as u8
    }

    /// Long enough for others to take the lock that was given up.
    pub(crate) fn linger() {
        std::thread::sleep(Duration::from_micros(200));
    }
}
