//! Each rule is left out, and a schedule finds its absence.
#![cfg(all(unix, feature = "faults"))]

#[path = "common/near.rs"]
mod near;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
// The test `schedules` uses all of it.
#[allow(dead_code)]
#[path = "common/played.rs"]
mod played;
#[path = "common/schedules.rs"]
mod schedules_list;

use kennel_far::{Rule, leave_out};

#[test]
fn the_absence_of_each_rule_is_found() {
    for (name, rule) in Rule::ALL {
        let schedules: Vec<_> = schedules_list::ALL.into_iter().filter(|(_, of, _)| *of == name).collect();
        assert!(!schedules.is_empty(), "no schedule needs {name}");
        for (schedule, _, play) in schedules {
            leave_out(Some(rule));
            // On a busy machine the tracker may delete or flush earlier than the schedule wants.
            let is_found = (0..20).any(|_| play().is_err());
            leave_out(None);
            assert!(is_found, "without {name}, {schedule:?} found nothing");
        }
    }
}
