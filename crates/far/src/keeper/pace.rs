//! The pace of a tracker: while pushes come without a pause, it lets some gather.
//!
//! If a tracker read each push when it comes, each push would wake it, and cost processor time on a server that writes
//! without a pause. So after several reads in a row that did not wait, a tracker rests a little, and then reads all
//! pushes of that time together. A push that comes after a pause is read at once.

use std::time::Duration;

/// A read that waited for less found its bytes there, or nearly so.
const WITHOUT_WAITING: Duration = Duration::from_micros(200);
/// This many reads in a row that did not wait are a stream of pushes.
const STREAM: u32 = 4;
/// How long a tracker lets pushes gather. On average, this delays a push by half of this time; it makes a proof older
/// by this time at most. The keys of one rest are deleted together, so a longer rest takes fewer locks for each key.
const REST: Duration = Duration::from_micros(1500);

#[derive(Default)]
pub(super) struct Pace {
    /// Reads in a row that did not wait and brought pushes.
    streak: u32,
}

impl Pace {
    /// How long to let pushes gather before the next read, after a read that waited for `waited`.
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
