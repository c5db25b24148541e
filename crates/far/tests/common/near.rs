//! Which tier answers.

use kennel_far::Far;

/// Whether the near tier answers a read.
pub fn is_near(far: &Far, key: &str) -> bool {
    let before = far.stats();
    far.get(key).unwrap();
    let after = far.stats();
    after.hits + after.absent_hits > before.hits + before.absent_hits
}
