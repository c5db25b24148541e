//! Rules of a cluster are left out, and a slot that changes hands shows it.
#![cfg(all(unix, feature = "faults"))]

// The test `cluster` uses all of it.
#[allow(dead_code)]
#[path = "common/nodes.rs"]
mod nodes;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/pushed.rs"]
mod pushed;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Far, Options, Rule, leave_out};
use nodes::{Cluster, slots_of};
use patience::until;
use pushed::until_pushed;
use std::path::Path;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);
/// A T that is longer than a test.
const LONG: Duration = Duration::from_secs(600);

/// A far tier of the cluster, and two keys in a slot of the first master.
fn place(cluster: &Cluster, near: &Path, staleness: Duration, name: &str) -> (Far, [String; 2], usize) {
    let options = Options::new(cluster.url()).prefix("app:").max_staleness(staleness);
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(near).unwrap();
    let mut tags = (0..).map(|n| format!("app:{{{name}-{n}}}"));
    let tag = tags.find(|tag| slots_of(0).contains(&cluster.slot_of(tag))).unwrap();
    let slot = cluster.slot_of(&tag);
    until("all masters to be proved", || {
        far.masters().len() == 3 && far.proof_age().is_some_and(|age| age < staleness)
    });
    (far, ["1", "2"].map(|end| format!("{tag}{end}")), slot)
}

/// Whether the next read returns this value, and asks no server for it.
fn is_near(far: &Far, key: &str, value: Option<&str>) -> bool {
    let hits = |far: &Far| far.stats().hits + far.stats().absent_hits;
    let before = hits(far);
    far.get(key).unwrap().as_deref() == value.map(str::as_bytes) && hits(far) > before
}

/// Whether an absence is read longer than T after the key came into being where its slot moves to.
fn is_old(cluster: &Cluster, near: &Path, name: &str) -> bool {
    let (far, [key, _], slot) = place(cluster, &near.join("file"), T, name);
    until("a near absence", || is_near(&far, &key, None));
    cluster.begin_move(slot, 0, 1);
    let commands = [vec!["ASKING".to_owned()], ["SET", &key, "new"].map(str::to_owned).to_vec()];
    cluster.nodes[1].ask_all(&commands);
    let changed = Instant::now();
    let is_old = loop {
        let began = changed.elapsed();
        let is_new = far.get(&key).unwrap().as_deref() == Some(b"new");
        if is_new || began > T {
            break !is_new;
        }
    };
    cluster.move_keys(slot, 0, 1);
    cluster.end_move(slot, 0, 1);
    is_old
}

/// Whether one redirect shows this host the way to another key of a slot that was taken by force, without a ping.
fn is_shown(cluster: &Cluster, near: &Path, name: &str) -> bool {
    let near = near.join("file");
    let (tracker, keys, slot) = place(cluster, &near, LONG, name);
    let options = Options::new(cluster.url()).prefix("app:").max_staleness(LONG).keepers(0);
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(near).unwrap();
    keys.iter().for_each(|key| drop(cluster.nodes[0].ask(&["SET", key, "old"])));
    until_pushed(&far);
    keys.iter().for_each(|key| until("a near value", || is_near(&far, key, Some("old"))));
    // Its proofs are good for as long as this takes, and nobody pings any more.
    drop(tracker);
    cluster.force(slot, 1);
    keys.iter().for_each(|key| drop(cluster.nodes[1].ask(&["SET", key, "new"])));
    cluster.until("all to agree", |cluster| cluster.owner(slot) == Some(1));
    assert_eq!(far.get_fresh(&keys[0]).unwrap().as_deref(), Some(b"new".as_slice()));
    // What is fetched now may be stored only if somebody proves, so it is only seen that nothing old is near.
    far.get(&keys[1]).unwrap().as_deref() == Some(b"new")
}

#[test]
fn the_absence_of_each_rule_is_found() {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let cluster = Cluster::start(&std::path::absolute(program).unwrap(), folder.path());
    let near = |name: &str| {
        let near = folder.path().join(format!("near-{name}"));
        std::fs::create_dir(&near).unwrap();
        near
    };
    assert!(!is_old(&cluster, &near("1"), "kept"));
    assert!(is_shown(&cluster, &near("2"), "shown"));
    leave_out(Some(Rule::PingsCompareSlots));
    assert!(is_old(&cluster, &near("3"), "left-out"), "the comparison of slots");
    leave_out(Some(Rule::RedirectsChangeMap));
    assert!(!is_shown(&cluster, &near("4"), "hidden"), "the change of the map");
}
