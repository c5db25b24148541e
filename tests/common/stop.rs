//! How threads of a test are told to stop, whatever becomes of the test.

use std::sync::atomic::{AtomicBool, Ordering};

/// Says that threads shall stop when it is dropped. A scope waits for its threads even when the test panics, so threads
/// that run until they are told to stop would let it hang.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
