//! The comparison of slots is left out, and a slot that is taken by force shows it.
#![cfg(all(unix, feature = "faults"))]

// The test `cluster` uses all of it.
#[allow(dead_code)]
#[path = "common/nodes.rs"]
mod nodes;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Options, Rule, leave_out};
use nodes::{Cluster, slots_of, until};
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);

/// Whether a read returned the value of the master that lost the slot longer than T after all nodes knew.
fn is_old(cluster: &Cluster, near: &std::path::Path, name: &str) -> bool {
    let options = Options::new(cluster.url()).prefix("app:").max_staleness(T);
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(near).unwrap();
    let mut keys = (0..).map(|n| format!("app:{name}-{n}"));
    let key = keys.find(|key| slots_of(0).contains(&cluster.slot_of(key))).unwrap();
    let slot = cluster.slot_of(&key);
    cluster.nodes[0].ask(&["SET", &key, "old"]);
    until("a near value", || {
        let hits = far.stats().hits;
        far.get(&key).unwrap().as_deref() == Some(b"old") && far.stats().hits > hits
    });
    cluster.force(slot, 1);
    cluster.nodes[1].ask(&["SET", &key, "new"]);
    cluster.until("all to agree", |cluster| cluster.owner(slot) == Some(1));
    let agreed = Instant::now();
    loop {
        let began = agreed.elapsed();
        let is_new = far.get(&key).unwrap().as_deref() == Some(b"new");
        if is_new || began > T {
            return !is_new;
        }
    }
}

#[test]
fn a_tracker_that_does_not_compare_slots_is_found() {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let cluster = Cluster::start(&std::path::absolute(program).unwrap(), folder.path());
    assert!(!is_old(&cluster, &folder.path().join("near-1"), "kept"));
    leave_out(Some(Rule::PingsCompareSlots));
    assert!(is_old(&cluster, &folder.path().join("near-2"), "left-out"), "its absence was not found");
}
