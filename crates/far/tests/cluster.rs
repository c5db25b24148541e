//! A real cluster of three masters and a replica, whose slots and roles change under reads. Without a server, these tests
//! say so and are left out.
#![cfg(unix)]

// The test `histories` uses the rest of it.
#[allow(dead_code)]
#[path = "common/nodes.rs"]
mod nodes;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Create, Degraded, Error, Expiry, Far, Options};
use nodes::{Cluster, slots_of, until};
use std::path::PathBuf;
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

/// Whether the near tier answered the last read.
fn is_near(far: &Far, key: &str) -> bool {
    let before = far.stats();
    get(far, key);
    let after = far.stats();
    after.hits + after.absent_hits > before.hits + before.absent_hits
}

/// Waits until the near tier answers for all masters with slots.
fn trusted(far: &Far) {
    until("all masters to be proved", || {
        let slots: usize = far.masters().iter().map(|master| master.slots).sum();
        slots == 16_384 && far.proof_age().is_some_and(|age| age < T)
    });
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
    let options = place.options().degraded(Degraded::Brief).max_staleness(Duration::from_secs(60));
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
    trusted(&keeper);
    for (n, key) in keys.iter().enumerate() {
        place.cluster.nodes[n].ask(&["SET", key, "x"]);
        assert_eq!(keeper.get_fresh(key).unwrap(), Some(b"x".to_vec()));
        assert_eq!(get(&far, key), Some("x".into()), "a read from the server ends the brief value, too");
    }
}
