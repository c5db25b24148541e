//! Waiting for what a server pushes.

use crate::patience::until;
use kennel_far::Far;
use std::time::Instant;

/// Waits until the pushes of all writes so far have arrived, as a proof that began later says. Until then the push of a
/// write may delete a near value that was fetched after the write.
pub fn until_pushed(far: &Far) {
    let written = Instant::now();
    until("a proof from after the writes", || far.proof_age().is_some_and(|age| age < written.elapsed()));
}
