//! A stand-in for the stripe locks, for the model checkers.

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
