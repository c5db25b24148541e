//! A rule is left out while the near file is emptied again and again, and its absence is found.
#![cfg(all(unix, feature = "faults"))]

// Other tests use all of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/resets.rs"]
mod resets;
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Degraded, Rule, leave_out};
use resets::{Work, emptied, under_reads};
use std::time::Duration;

/// An emptied near file is filled anew by all at once, while the keys change: each fill that is late must store nothing.
const FEW_KEYS: Work = Work { keys: 8, answers_take: Duration::from_millis(9) };

#[test]
fn a_late_fill_of_an_emptied_near_file_is_found() {
    if server::program().is_none() {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    }
    let run = || under_reads("emptied", Degraded::Bypass, FEW_KEYS, emptied);
    assert_eq!(run(), Ok(()));
    leave_out(Some(Rule::FillsClaim));
    let is_found = (0..20).any(|_| run().is_err());
    leave_out(None);
    assert!(is_found, "without claims nothing was found");
}
