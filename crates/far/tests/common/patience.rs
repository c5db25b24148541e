//! Waiting in tests: for what must come to be so, and for threads that run until a test is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Seconds to wait. It is far longer than anything takes on the busiest machine: only a test that fails waits for so long.
static PATIENCE: AtomicU64 = AtomicU64::new(60);

/// Waits less from now on, in a program whose tests must fail.
pub fn shorten() {
    PATIENCE.store(10, Ordering::SeqCst);
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(comes_to(is_so), "waited in vain for {what}");
}

/// Waits until something is so; `false` if that takes too long.
pub fn comes_to(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE.load(Ordering::SeqCst));
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Says that a test is over when it is dropped. A scope waits for its threads even when the test panics, so threads that
/// run until the test is over would let it hang.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
