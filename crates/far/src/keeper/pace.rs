//! The pace of a tracker: while pushes come without a pause, it lets some gather.
//!
//! A tracker that reads each push when it comes is woken for each, and so is the processor of a server that writes
//! without a pause. A tracker whose reads need not wait, several times in a row, rests a little before the next one: it
//! then reads the pushes of the whole rest together. A push that comes after a pause is read at once.

use std::time::Duration;

/// A read that waited for less found its bytes there, or all but.
const WITHOUT_WAITING: Duration = Duration::from_micros(200);
/// So many reads in a row that did not wait are a stream of pushes.
const STREAM: u32 = 4;
/// How long a tracker lets pushes gather. In the middle a push takes half of it longer, and a proof is older by it at most.
/// The keys of one rest are deleted together, so the longer it is, the fewer locks are taken for each of them.
const REST: Duration = Duration::from_micros(1500);

#[derive(Default)]
pub(super) struct Pace {
    /// Reads in a row that did not wait and brought pushes.
    streak: u32,
}

impl Pace {
    /// How long to let pushes gather before the next read, after a read that waited for so long.
    pub(super) fn rest_after(&mut self, waited: Duration, brought_pushes: bool) -> Option<Duration> {
        let is_streaming = brought_pushes && waited < WITHOUT_WAITING;
        self.streak = if is_streaming { (self.streak + 1).min(STREAM) } else { 0 };
        (self.streak == STREAM).then_some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_of_pushes_lets_a_tracker_rest() {
        let (soon, late) = (Duration::from_micros(10), Duration::from_millis(3));
        let mut pace = Pace::default();
        let rests = |pace: &mut Pace, reads: &[(Duration, bool)]| -> Vec<bool> {
            reads.iter().map(|(waited, pushes)| pace.rest_after(*waited, *pushes).is_some()).collect()
        };
        assert_eq!(rests(&mut pace, &[(soon, true); 6]), [false, false, false, true, true, true]);
        assert_eq!(rests(&mut pace, &[(late, true), (soon, true)]), [false, false], "a pause ends a stream");
        assert_eq!(rests(&mut pace, &[(soon, true); 4]), [false, false, true, true]);
        assert_eq!(rests(&mut pace, &[(soon, false), (soon, true)]), [false, false], "so does a read without pushes");
        assert_eq!(rests(&mut pace, &[(late, true); 9]), [false; 9]);
    }
}
