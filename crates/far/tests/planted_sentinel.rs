//! Rules of sentinels are left out, and a failover or a lie shows it.
#![cfg(all(unix, feature = "faults"))]

// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/port.rs"]
mod port;
// The test `sentinel` uses all of it.
#[allow(dead_code)]
#[path = "common/sentinels.rs"]
mod sentinels;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Rule, leave_out};
use sentinels::{
    a_failover_on_demand_is_followed_although_the_old_master_still_serves as failover,
    a_master_that_became_a_replica_is_not_read_over_old_connections as replica,
    a_sentinel_that_names_a_replica_is_not_believed as lie,
    connections_are_renewed_although_nobody_proves_the_new_master as renewal,
};

/// A rule, and what fails without it.
const RULES: [(Rule, fn()); 5] = [
    (Rule::NamedAreMasters, lie),
    (Rule::TrackersHearSentinels, failover),
    (Rule::MovesEndProofs, renewal),
    (Rule::GenerationsRenew, renewal),
    (Rule::ReadsAskRole, replica),
];

#[test]
fn the_absence_of_each_rule_is_found() {
    if server::program().is_none() {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    }
    patience::shorten();
    for (rule, scenario) in RULES {
        leave_out(Some(rule));
        let is_found = (0..6).any(|_| std::panic::catch_unwind(scenario).is_err());
        leave_out(None);
        assert!(is_found, "without {rule:?} nothing was found");
    }
}
