//! A real cluster of three masters and a replica, whose slots and roles change under reads. Without a server, these tests
//! say so and are left out.
#![cfg(unix)]

#[path = "common/near.rs"]
mod near;
// The test `histories` uses the rest of it.
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

use kennel_far::resp::Value;
use kennel_far::{Create, Degraded, Error, Expiry, Far, Options, Tracking};
use near::is_near;
use nodes::{Cluster, slots_of};
use patience::{Over, until};
use pushed::until_pushed;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);

struct Place {
    // Ends before its folder is removed.
    cluster: Cluster,
    folder: tempfile::TempDir,
}

/// A cluster, unless there is no program.
fn place(test: &str) -> Option<Place> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Some(Place { cluster: Cluster::start(&std::path::absolute(program).unwrap(), folder.path()), folder })
}

impl Place {
    fn options(&self) -> Options {
        Options::new(self.cluster.url())
            .prefix("app:")
            .max_staleness(T)
            .near(kennel::Options::new().capacity(1 << 20))
            .timeout(Duration::from_secs(10))
    }

    fn near(&self) -> PathBuf {
        self.folder.path().join("near")
    }

    /// A handle that tracks, with all masters proved.
    fn open(&self) -> Far {
        let far = self.options().open(self.near()).unwrap();
        trusted(&far);
        far
    }

    /// A key in a slot that a master has at the beginning.
    fn key_of(&self, master: usize, name: &str) -> String {
        let mut keys = (0..).map(|n| format!("app:{{{name}-{n}}}"));
        keys.find(|key| slots_of(master).contains(&self.cluster.slot_of(key))).unwrap()
    }
}

fn get(far: &Far, key: &str) -> Option<String> {
    far.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// Waits until the near tier of a handle with this T answers for all masters with slots.
fn trusted_for(far: &Far, t: Duration) {
    until("all masters to be proved", || {
        let slots: usize = far.masters().iter().map(|master| master.slots).sum();
        slots == 16_384 && far.proof_age().is_some_and(|age| age < t)
    });
}

fn trusted(far: &Far) {
    trusted_for(far, T);
}

fn until_near(far: &Far, key: &str) {
    until(&format!("a near answer for {key}"), || is_near(far, key));
}

#[test]
fn every_call_goes_to_the_master_of_its_key_and_each_has_a_namespace() {
    let Some(place) = place("every_call_goes_to_the_master_of_its_key") else { return };
    let far = place.open();
    let masters = far.masters();
    assert_eq!(masters.iter().map(|master| master.slots).sum::<usize>(), 16_384, "{masters:?}");
    assert_eq!(masters.iter().filter(|master| master.slots > 0).count(), 3);
    let keys: Vec<String> = (0..60).map(|n| format!("app:{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        far.set(key, n.to_string(), Expiry::Never).unwrap();
        assert_eq!(get(&far, key), Some(n.to_string()));
    }
    let values = far.get_multi(&keys).unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| *value == Some(n.to_string().into_bytes())));
    keys.iter().for_each(|key| until_near(&far, key));
    let fetches = far.stats().fills + far.stats().bypasses;
    assert_eq!(far.get_multi(&keys).unwrap(), values);
    assert_eq!(far.stats().fills + far.stats().bypasses, fetches, "all were near");
    let file = kennel::Options::new().open(place.near()).unwrap();
    let parts = file.namespaces().iter().filter(|name| name.ends_with(":0") || name.ends_with(":1")).count();
    assert_eq!(parts, 2, "{:?}", file.namespaces());
    assert_eq!((far.incr("app:7", 5).unwrap(), get(&far, "app:7")), (12, Some("12".into())));
    assert!(far.delete("app:8").unwrap() && get(&far, "app:8").is_none());
    far.call(&["MSET", "app:{t}1", "a", "app:{t}2", "b"], &["app:{t}1", "app:{t}2"]).unwrap();
    assert_eq!(get(&far, "app:{t}2"), Some("b".into()));
    let apart = far.call(&["MSET", "app:1", "a", "app:2", "b"], &["app:1", "app:2"]);
    assert!(matches!(&apart, Err(Error::Slots(..))) && apart.unwrap_err().to_string().contains("tag"));
    assert_eq!(get(&far, "app:1"), Some("1".into()), "nothing was executed");
    for key in ["app:made", "app:{made", "app:}{made}"] {
        let made = far.get_or_create(key, &Create::new(), || Ok::<_, std::io::Error>(b"made".to_vec())).unwrap();
        assert_eq!((made, get(&far, key)), (b"made".to_vec(), Some("made".into())));
    }
    assert_eq!((far.stats().creations, far.stats().lost_leases), (3, 0));
    // Another client's write is seen.
    let key = place.key_of(2, "other");
    far.set(&key, "old", Expiry::Never).unwrap();
    until_near(&far, &key);
    place.cluster.nodes[2].ask(&["SET", &key, "new"]);
    let changed = Instant::now();
    until("the other's write", || {
        let began = changed.elapsed();
        let is_new = get(&far, &key).as_deref() == Some("new");
        assert!(is_new || began < T, "not seen by a read {began:?} later");
        is_new
    });
    far.flush_database().unwrap();
    assert!(keys.iter().all(|key| get(&far, key).is_none()), "all masters are empty, and this host knows it");
}

#[test]
fn without_a_proof_all_masters_share_the_values_that_end_by_themselves() {
    let Some(place) = place("without_a_proof_all_masters_share") else { return };
    // Nothing that is brief ends by itself while the test runs. Pings are rarer, so proofs are older than T.
    let minute = Duration::from_secs(60);
    let options = place.options().degraded(Degraded::Brief).max_staleness(minute);
    let far = options.clone().keepers(0).open(place.near()).unwrap();
    let keys: Vec<String> = (0..3).map(|master| place.key_of(master, "brief")).collect();
    for key in &keys {
        far.set(key, "v", Expiry::Never).unwrap();
        assert_eq!((get(&far, key), get(&far, key)), (Some("v".into()), Some("v".into())));
        far.set(key, "w", Expiry::Never).unwrap();
        assert_eq!(get(&far, key), Some("w".into()), "a write ends the value");
    }
    assert_eq!(far.get_multi(&keys).unwrap(), vec![Some(b"w".to_vec()); 3]);
    let stats = far.stats();
    assert_eq!((stats.brief_hits, stats.fills, stats.bypasses), (6, 6, 0), "{stats:?}");
    // A tracker proves each master, and what is brief is not older than what is proved.
    let keeper = options.open(place.near()).unwrap();
    trusted_for(&keeper, minute);
    for (n, key) in keys.iter().enumerate() {
        place.cluster.nodes[n].ask(&["SET", key, "x"]);
        assert_eq!(keeper.get_fresh(key).unwrap(), Some(b"x".to_vec()));
        assert_eq!(get(&far, key), Some("x".into()), "a read from the server ends the brief value, too");
    }
}

/// Writes numbers to keys and reads them, each over a handle of its own of the same host, while `change` runs. A read
/// must not return a number below the last whose write had returned before it began, nor below one that was read.
fn under_reads(place: &Place, keys: &[&str], change: impl FnOnce()) {
    let (writer, reader) = (place.open(), place.options().keepers(0).open(place.near()).unwrap());
    let is_over = AtomicBool::new(false);
    let written: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
    let seen: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut failed = 0;
            for n in 1.. {
                for (key, written) in keys.iter().zip(&written) {
                    match writer.set(key, n.to_string(), Expiry::Never) {
                        Ok(()) => written.store(n, Ordering::SeqCst),
                        Err(error) => {
                            failed += 1;
                            assert!(failed < 1000, "{error}");
                        }
                    }
                }
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(Duration::from_millis(3));
            }
        });
        for far in [&reader, &reader, &writer] {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    for ((key, written), seen) in keys.iter().zip(&written).zip(&seen) {
                        let least = written.load(Ordering::SeqCst).max(seen.load(Ordering::SeqCst));
                        let Ok(found) = far.get(key) else { continue };
                        let found = found.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
                        assert!(found >= least, "{key}: {found} was read after {least}");
                        seen.fetch_max(found, Ordering::SeqCst);
                    }
                }
            });
        }
        // The scope must end, whatever fails.
        let _over = Over(&is_over);
        thread::sleep(T / 2);
        change();
        let last: Vec<u64> = written.iter().map(|number| number.load(Ordering::SeqCst)).collect();
        until("writes after the change", || {
            written.iter().zip(&last).all(|(number, last)| number.load(Ordering::SeqCst) > last + 10)
        });
    });
    trusted(&writer);
    keys.iter().for_each(|key| until_near(&reader, key));
    assert!(reader.stats().hits > 0, "{:?}", reader.stats());
}

#[test]
fn a_slot_moves_key_by_key_under_reads() {
    let Some(place) = place("a_slot_moves_key_by_key_under_reads") else { return };
    let (moving, staying) = (place.key_of(0, "moving"), place.key_of(2, "staying"));
    let slot = place.cluster.slot_of(&moving);
    for n in 0..30 {
        place.cluster.nodes[0].ask(&["SET", &format!("{moving}{n}"), "0"]);
    }
    under_reads(&place, &[&moving, &staying], || {
        for (from, to) in [(0, 1), (1, 0), (0, 2)] {
            place.cluster.begin_move(slot, from, to);
            thread::sleep(T / 4);
            place.cluster.move_keys(slot, from, to);
            thread::sleep(T / 4);
            place.cluster.end_move(slot, from, to);
            place.cluster.until("the slot's new master", |cluster| cluster.owner(slot) == Some(to));
        }
    });
}

#[test]
fn an_absence_ends_when_its_slot_begins_to_move() {
    let Some(place) = place("an_absence_ends_when_its_slot_begins_to_move") else { return };
    let far = place.open();
    let key = place.key_of(0, "absent");
    let slot = place.cluster.slot_of(&key);
    assert_eq!(get(&far, &key), None);
    until_near(&far, &key);
    place.cluster.begin_move(slot, 0, 1);
    // The source sends everybody on for a key that it does not have, and is not told of what comes to the target.
    let commands = [vec!["ASKING".to_owned()], ["SET", &key, "new"].map(str::to_owned).to_vec()];
    place.cluster.nodes[1].ask_all(&commands);
    let changed = Instant::now();
    until("the value on the other side", || {
        let began = changed.elapsed();
        let is_new = get(&far, &key).as_deref() == Some("new");
        assert!(is_new || began < T, "not seen by a read {began:?} later");
        is_new
    });
    let before = far.stats();
    assert_eq!((get(&far, &key).as_deref(), get(&far, &key).as_deref()), (Some("new"), Some("new")));
    assert_eq!((far.stats().fills, far.stats().hits), (before.fills, before.hits), "nothing is stored on the way");
    place.cluster.move_keys(slot, 0, 1);
    place.cluster.end_move(slot, 0, 1);
    until_near(&far, &key);
    assert_eq!(get(&far, &key).as_deref(), Some("new"));
}

#[test]
fn a_slot_that_is_taken_by_force_is_seen_within_t_and_at_once_after_a_redirect() {
    let Some(place) = place("a_slot_that_is_taken_by_force") else { return };
    let far = place.open();
    for round in 0..6 {
        let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let key = place.key_of(0, &format!("forced-{}", round / 2));
        let slot = place.cluster.slot_of(&key);
        place.cluster.nodes[from].ask(&["SET", &key, "old"]);
        until("a near value", || is_near(&far, &key) && get(&far, &key).as_deref() == Some("old"));
        place.cluster.force(slot, to);
        place.cluster.nodes[to].ask(&["SET", &key, "new"]);
        let forced = Instant::now();
        until("the other master's value", || {
            let began = forced.elapsed();
            let is_new = get(&far, &key).as_deref() == Some("new");
            assert!(is_new || began < T, "round {round}: not seen by a read {began:?} later");
            is_new
        });
        place.cluster.until("all to agree", |_| true);
        until_near(&far, &key);
    }
}

#[test]
fn slots_that_are_forced_away_and_back_between_two_pings_are_noticed() {
    let Some(place) = place("slots_that_are_forced_away_and_back") else { return };
    // Few pings.
    let t = Duration::from_secs(10);
    let far = place.options().max_staleness(t).open(place.near()).unwrap();
    let key = place.key_of(0, "there-and-back");
    let slot = place.cluster.slot_of(&key);
    place.cluster.nodes[0].ask(&["SET", &key, "old"]);
    until("a near value", || is_near(&far, &key) && get(&far, &key).as_deref() == Some("old"));
    let flushes = far.stats().flushes;
    // A ping comes each two seconds. The loser deletes the slot's keys and tells no tracker.
    place.cluster.force(slot, 1);
    place.cluster.until("the loser to know", |_| true);
    place.cluster.force(slot, 0);
    place.cluster.until("all to agree", |_| true);
    let back = Instant::now();
    until("the loss of the value", || {
        let began = back.elapsed();
        let is_lost = get(&far, &key).is_none();
        assert!(is_lost || began < t, "not seen by a read {began:?} later");
        is_lost
    });
    // Later servers push what the loser deletes; the next ping flushes all the same.
    until("a flush", || far.stats().flushes > flushes);
}

/// Redis 7.0 deletes the keys of a lost slot without telling its file, so it has them again after a restart.
#[test]
fn a_loser_that_gets_a_slot_back_is_read_as_it_answers() {
    let Some(mut place) = place("a_loser_that_gets_a_slot_back") else { return };
    let (far, key) = (place.open(), place.key_of(2, "given-back"));
    let slot = place.cluster.slot_of(&key);
    far.set(&key, "old", Expiry::Never).unwrap();
    until_near(&far, &key);
    place.cluster.force(slot, 1);
    place.cluster.until("the slot's new master", |cluster| cluster.owner(slot) == Some(1));
    far.set(&key, "new", Expiry::Never).unwrap();
    assert_eq!(get(&far, &key).as_deref(), Some("new"));
    until_near(&far, &key);
    place.cluster.nodes[2].restart();
    place.cluster.until("the loser to be back", |cluster| cluster.owner(slot) == Some(1));
    assert_eq!(get(&far, &key).as_deref(), Some("new"), "it does not have the slot");
    place.cluster.force(slot, 2);
    place.cluster.until("the slot's old master", |cluster| cluster.owner(slot) == Some(2));
    let given = Instant::now();
    let answer = place.cluster.nodes[2].ask(&["GET", &key]).as_bytes().map(|value| value.to_vec());
    until("the server's answer", || {
        let began = given.elapsed();
        let is_same = far.get(&key).unwrap() == answer;
        assert!(is_same || began < T, "not seen by a read {began:?} later");
        is_same
    });
    until_near(&far, &key);
    assert_eq!(far.get(&key).unwrap(), answer);
}

#[test]
fn masters_lose_all_slots_and_others_come() {
    let Some(mut place) = place("masters_lose_all_slots_and_others_come") else { return };
    let new = place.cluster.add();
    let (far, key) = (place.open(), place.key_of(1, "heir"));
    far.set(&key, "1", Expiry::Never).unwrap();
    until_near(&far, &key);
    until("a session with the new master", || far.masters().len() == 4);
    let (heir, loser) = (place.cluster.nodes[new].id.clone(), place.cluster.nodes[1].id.clone());
    // A master whose slots are all those of its heir becomes a replica of it; this one stays, without slots.
    place.cluster.force(slots_of(2).start, new);
    let slots: Vec<usize> = slots_of(1).collect();
    let take = |slot: &usize| ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &heir].map(str::to_owned).to_vec();
    place.cluster.nodes[new].ask_all(&slots.iter().map(take).collect::<Vec<_>>());
    place.cluster.nodes[new].ask(&["CLUSTER", "BUMPEPOCH"]);
    place.cluster.until("all to agree", |cluster| cluster.owner(slots[0]) == Some(new));
    far.set(&key, "2", Expiry::Never).unwrap();
    assert_eq!(get(&far, &key).as_deref(), Some("2"));
    assert_eq!(place.cluster.owner(slots[0]), Some(new));
    trusted(&far);
    until_near(&far, &key);
    let of = |id: &str| far.masters().into_iter().find(|master| master.id == id).map(|master| master.slots);
    assert_eq!((of(&heir), of(&loser)), (Some(5463), Some(0)));
    assert_eq!(place.cluster.nodes[new].ask(&["GET", &key]), Value::Bytes(b"2".to_vec()));
}

#[test]
fn a_replica_takes_over_without_a_loss() {
    let Some(place) = place("a_replica_takes_over_without_a_loss") else { return };
    let (of_it, other) = (place.key_of(0, "failing"), place.key_of(1, "other"));
    under_reads(&place, &[&of_it, &other], || {
        for (master, replica) in [(0, 3), (3, 0)] {
            assert!(place.cluster.fail_over(replica, slots_of(0).start));
            place.cluster.until("the new master", |cluster| cluster.owner(slots_of(0).start) == Some(replica));
            until("the old one to follow", || place.cluster.nodes[master].replicates());
        }
    });
}

#[test]
fn a_master_dies_and_its_replica_serves_while_the_others_lose_no_trust() {
    let Some(mut place) = place("a_master_dies_and_its_replica_serves") else { return };
    let far = place.open();
    let (lost, other) = (place.key_of(0, "lost"), place.key_of(1, "other"));
    for key in [&lost, &other] {
        far.set(key, "1", Expiry::Never).unwrap();
    }
    until("the replica to have it", || {
        let set = [["SET", &lost, "1"].map(str::to_owned).to_vec(), ["WAIT", "1", "5000"].map(str::to_owned).to_vec()];
        place.cluster.nodes[0].ask_all(&set);
        place.cluster.nodes[3].text(&["INFO", "keyspace"]).contains("db0:")
    });
    until_pushed(&far);
    [&lost, &other].into_iter().for_each(|key| until_near(&far, key));
    place.cluster.nodes[0].kill();
    let killed = Instant::now();
    until("the replica to serve", || {
        assert!(is_near(&far, &other), "the other masters are proved as before");
        let began = killed.elapsed();
        let hits = far.stats().hits;
        let found = far.get(&lost);
        // It stays near while the dead one's last proof lasts.
        assert!(far.stats().hits == hits || began < T, "a near value {began:?} later");
        found.is_ok_and(|value| value.as_deref() == Some(b"1")) && place.cluster.nodes[3].is_master()
    });
    far.set(&lost, "2", Expiry::Never).unwrap();
    assert_eq!(get(&far, &lost).as_deref(), Some("2"));
    until_near(&far, &lost);
    trusted(&far);
    // The dead one comes back as a replica.
    place.cluster.nodes[0].spawn();
    until("the old master to follow", || place.cluster.nodes[0].text(&["INFO", "replication"]).contains("role:slave"));
    far.set(&lost, "3", Expiry::Never).unwrap();
    assert_eq!(get(&far, &lost).as_deref(), Some("3"));
    until_near(&far, &lost);
}

#[test]
fn masters_for_which_the_file_has_no_namespace_are_asked_each_time() {
    let Some(place) = place("masters_for_which_the_file_has_no_namespace") else { return };
    // One for the settings, one for the map, one for the reports of keepers, and two for masters. Reports come once a
    // second, so without this a third master could be faster.
    let near = kennel::Options::new().capacity(1 << 20).namespaces(5);
    let file = near.open_or_create(place.near()).unwrap();
    file.namespace("kennel-far:report", &kennel::NamespaceOptions::new()).unwrap();
    let far = place.options().near(near).open(place.near()).unwrap();
    let keys: Vec<String> = (0..3).map(|master| place.key_of(master, "k")).collect();
    for key in &keys {
        far.set(key, "1", Expiry::Never).unwrap();
    }
    until("two masters to be proved", || {
        far.masters().iter().filter(|master| master.proof_age.is_some_and(|age| age < T)).count() == 2
    });
    until("near answers", || keys.iter().filter(|key| is_near(&far, key)).count() == 2);
    let without = keys.iter().find(|key| !is_near(&far, key)).unwrap();
    for n in 0..20 {
        far.set(without, n.to_string(), Expiry::Never).unwrap();
        assert_eq!(get(&far, without), Some(n.to_string()));
        assert!(!is_near(&far, without));
    }
    assert_eq!(far.get_multi(&keys).unwrap().iter().flatten().count(), 3);
    until("the problem", || far.problem().is_some_and(|problem| problem.contains("namespaces")));
    assert_eq!(far.proof_age(), None);
}

#[test]
fn a_cluster_is_used_without_tracking_and_without_a_keeper() {
    let Some(place) = place("a_cluster_is_used_without_tracking") else { return };
    let key = place.key_of(2, "k");
    let off = place.options().tracking(Tracking::Off).open(place.folder.path().join("off")).unwrap();
    off.set(&key, "1", Expiry::Never).unwrap();
    assert_eq!((get(&off, &key), get(&off, &key), off.stats().hits), (Some("1".into()), Some("1".into()), 1));
    let slot = place.cluster.slot_of(&key);
    place.cluster.move_slot(slot, 2, 0);
    off.set(&key, "2", Expiry::Never).unwrap();
    assert_eq!((get(&off, &key), off.get_fresh(&key).unwrap()), (Some("2".into()), Some(b"2".to_vec())));
    let idle = place.options().keepers(0).open(place.near()).unwrap();
    idle.set(&key, "3", Expiry::Never).unwrap();
    assert_eq!((get(&idle, &key), idle.stats().fills, idle.proof_age()), (Some("3".into()), 0, None));
    let single = Options::new(format!("redis://{}", place.cluster.nodes[0].address())).prefix("app:").max_staleness(T);
    assert!(matches!(single.open(place.near()), Err(Error::Mismatch(_))), "a file is of a cluster or of a server");
    let wrong = place.cluster.url().replace("redis-cluster", "redis").split(',').next().unwrap().to_owned();
    let one = Options::new(wrong).prefix("app:").max_staleness(T).open(place.folder.path().join("one")).unwrap();
    assert!(matches!(one.get(place.key_of(1, "x")), Err(Error::Server(text)) if text.starts_with("MOVED")));
}
