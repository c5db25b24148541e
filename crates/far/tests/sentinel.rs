//! The master that sentinels name, with real sentinels. Without a server's program, these tests say so and are left out.
#![cfg(unix)]

// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/port.rs"]
mod port;
#[path = "common/sentinels.rs"]
mod sentinels;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::Expiry;
use patience::until;
use port::free_port;
use sentinels::{T, no_read_is_older_than_t, place, trusted};
use std::thread;

#[test]
fn a_failover_on_demand_is_followed_although_the_old_master_still_serves() {
    sentinels::a_failover_on_demand_is_followed_although_the_old_master_still_serves();
}

#[test]
fn connections_are_renewed_although_nobody_proves_the_new_master() {
    sentinels::connections_are_renewed_although_nobody_proves_the_new_master();
}

#[test]
fn the_death_of_a_master_is_followed() {
    let Some(mut place) = place("the_death_of_a_master", "") else { return };
    trusted(&no_read_is_older_than_t(&mut place, |place| place.master.kill()));
}

#[test]
fn a_master_that_became_a_replica_is_not_read_over_old_connections() {
    sentinels::a_master_that_became_a_replica_is_not_read_over_old_connections();
}

#[test]
fn while_all_sentinels_are_down_the_known_master_serves() {
    let Some(mut place) = place("while_all_sentinels_are_down", "") else { return };
    let far = place.open();
    place.sentinel.kill();
    thread::sleep(T * 2);
    let before = far.stats();
    far.set("app:k", "v", Expiry::Never).unwrap();
    until("more proofs", || far.stats().proofs > before.proofs + 3);
    assert_eq!(far.stats().tracked, before.tracked);
    let text = place.refusal(&place.options(&[free_port(), place.sentinel.port], "main"), "near-of-another");
    assert_eq!(text.matches("sentinel 127.0.0.1:").count(), 2, "{text}");
    place.sentinel.restart();
    let other = place.options(&[place.sentinel.port], "main").open(place.near("near-of-another")).unwrap();
    until("the sentinel to be back", || other.get("app:k").is_ok_and(|found| found.is_some()));
    trusted(&other);
}

#[test]
fn a_sentinel_that_names_a_replica_is_not_believed() {
    sentinels::a_sentinel_that_names_a_replica_is_not_believed();
}

#[test]
fn a_name_that_no_sentinel_knows_and_a_password_that_it_wants_are_clear_errors() {
    let Some(place) = place("a_name_that_no_sentinel_knows", "requirepass s3cret") else { return };
    let options = |name: &str| place.options(&[place.sentinel.port], name);
    let text = place.refusal(&options("main"), "near-a");
    assert!(text.contains("NOAUTH"), "{text}");
    let text = place.refusal(&options("main").sentinel_login("", "wrong"), "near-b");
    assert!(text.contains("WRONGPASS") && !text.contains("wrong"), "{text}");
    let text = place.refusal(&options("other").sentinel_login("", "s3cret"), "near-c");
    assert!(text.contains("it watches no master \"other\""), "{text}");
    for user in ["", "default"] {
        trusted(&options("main").sentinel_login(user, "s3cret").open(place.near("near")).unwrap());
    }
}
