//! Calls, pushes, seats and forks with a real server. Without one, these tests say so and are left out.
#![cfg(unix)]

#[path = "common/near.rs"]
mod near;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/pushed.rs"]
mod pushed;
#[path = "common/server.rs"]
mod server;

use kennel_far::resp::Value;
use kennel_far::{Create, CreateError, Degraded, Error, Expiry, Far, Lookup, Options, RedisStore, Store};
use near::is_near;
use patience::until;
use pushed::until_pushed;
use server::Server;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const T: Duration = Duration::from_millis(500);

struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

/// A server, unless there is no program.
fn place(test: &str) -> Option<Place> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Some(Place { server: Server::start(&program, folder.path()), folder })
}

impl Place {
    fn options(&self) -> Options {
        Options::new(self.server.url())
            .prefix("app:")
            .max_staleness(T)
            .near(kennel::Options::new().capacity(1 << 20))
            .timeout(Duration::from_secs(10))
    }

    fn open(&self, options: &Options, near: &str) -> Far {
        let far = options.open(self.folder.path().join(near)).unwrap();
        trusted(&far);
        far
    }
}

/// Reads until the near tier answers.
fn trusted(far: &Far) {
    until("the near tier to be proved", || {
        let hits = far.stats().absent_hits;
        far.get("app:nothing").unwrap();
        far.get("app:nothing").unwrap();
        far.stats().absent_hits > hits
    });
}

fn get(far: &Far, key: &str) -> Option<String> {
    far.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn the_near_tier_alone_answers_with_what_it_has() {
    let Some(place) = place("the_near_tier_alone_answers_with_what_it_has") else { return };
    let far = place.open(&place.options(), "near");
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(far.get_near("app:k", |len| vec![0; len]), None, "a write leaves nothing near");
    // The server's word of the write may come after a first fetch.
    until("the value to be near", || is_near(&far, "app:k"));
    let hits = far.stats().hits;
    assert_eq!(far.get_near("app:k", |len| vec![0; len]).unwrap(), b"v");
    assert_eq!(far.stats().hits, hits + 1);
    assert!(far.get_near("app:k", |_| Vec::<u8>::new()).is_none(), "a buffer without room");
}

#[test]
fn a_flushed_database_is_empty_on_this_host_at_once() {
    let Some(place) = place("a_flushed_database_is_empty_on_this_host_at_once") else { return };
    let far = place.open(&place.options(), "near");
    for _ in 0..20 {
        far.set("app:k", "v", Expiry::Never).unwrap();
        until("the value to be near", || is_near(&far, "app:k"));
        far.flush_database().unwrap();
        assert_eq!(get(&far, "app:k"), None);
    }
}

#[test]
fn a_claim_goes_to_one_caller_and_to_the_next_if_it_is_dropped() {
    let Some(place) = place("a_claim_goes_to_one_caller_and_to_the_next_if_it_is_dropped") else { return };
    let hosts = ["near-a", "near-b"].map(|near| place.open(&place.options(), near));
    let how = Create::new().wait(Duration::ZERO).lease(Duration::from_secs(20));
    let claim = |host: usize| hosts[host].claim("app:made", &how).unwrap();
    let Lookup::Create(first) = claim(0) else { panic!("nobody else asked") };
    assert!(matches!(claim(1), Lookup::TimedOut) && matches!(claim(0), Lookup::TimedOut));
    drop(first);
    let Lookup::Create(second) = claim(1) else { panic!("the first caller gave up") };
    assert!(second.store("value", Expiry::After(Duration::from_secs(50))).unwrap());
    for host in [0, 1] {
        assert!(matches!(claim(host), Lookup::Value(value) if value == b"value"));
    }
    // A lease that has ended stores nothing.
    let short = Create::new().lease(Duration::from_millis(30));
    let Lookup::Create(late) = hosts[0].claim("app:late", &short).unwrap() else { panic!("nobody else asked") };
    thread::sleep(Duration::from_millis(60));
    assert!(!late.store("late", Expiry::Never).unwrap());
    assert_eq!((get(&hosts[1], "app:late"), hosts[0].stats().lost_leases), (None, 1));
}

#[test]
fn a_creator_that_asks_for_its_own_key_fails_at_once() {
    let Some(place) = place("a_creator_that_asks_for_its_own_key") else { return };
    let tracked = place.open(&place.options(), "near");
    let bare = place.options().keepers(0).open(place.folder.path().join("near-bare")).unwrap();
    let brief = place.options().keepers(0).degraded(Degraded::Brief);
    let brief = brief.open(place.folder.path().join("near-brief")).unwrap();
    let how = Create::new();
    for (far, key) in [(&tracked, "app:a"), (&tracked, "other:a"), (&bare, "app:b"), (&brief, "app:c")] {
        let began = Instant::now();
        let ask = |far: &Far, key: &str| far.get_or_create(key, &how, || Ok::<_, ()>(b"inner".to_vec()));
        let made = far.get_or_create(key, &how, || {
            let own = ask(far, key);
            assert!(matches!(own, Err(CreateError::Far(Error::Near(kennel::Error::OwnClaim)))), "{key}: {own:?}");
            // The same server by another near file is the same key.
            assert!(ask(&bare, key).is_err() && bare.claim(key, &how).is_err());
            assert_eq!(ask(far, &format!("{key}:other")).unwrap(), b"inner");
            assert_eq!(far.get(key).unwrap(), None, "a read may ask for it");
            Ok::<_, ()>(b"outer".to_vec())
        });
        assert_eq!(made.unwrap(), b"outer");
        assert!(began.elapsed() < Duration::from_secs(10), "{key} took {:?}", began.elapsed());
        assert_eq!(place.server.ask(&["GET", key]), Value::Bytes(b"outer".to_vec()));
        assert_eq!(ask(far, key).unwrap(), b"outer", "the creation is over");
    }
}

#[test]
fn every_call_does_what_its_command_does() {
    let Some(place) = place("every_call_does_what_its_command_does") else { return };
    let far = place.open(&place.options(), "near");
    far.set("app:a", "1", Expiry::Never).unwrap();
    assert_eq!(get(&far, "app:a"), Some("1".into()));
    // The push of the write ends a near value once.
    until("a near value", || is_near(&far, "app:a"));
    assert_eq!((far.incr("app:a", 41).unwrap(), get(&far, "app:a")), (42, Some("42".into())));
    assert_eq!(far.incr("app:a", -50).unwrap(), -8);
    assert_eq!((far.delete("app:a").unwrap(), far.delete("app:a").unwrap()), (true, false));
    assert_eq!(get(&far, "app:a"), None);
    until("a near absence", || is_near(&far, "app:a"));
    assert_eq!(far.call(&["APPEND", "app:a", "xy"], &["app:a"]).unwrap(), Value::Int(2));
    assert_eq!(get(&far, "app:a"), Some("xy".into()));
    far.set("app:b", [0, 255, b'\r', b'\n'], Expiry::After(Duration::from_secs(60))).unwrap();
    assert_eq!(
        far.get_multi(&["app:b", "app:a", "app:c"]).unwrap(),
        [Some(vec![0, 255, b'\r', b'\n']), Some(b"xy".to_vec()), None]
    );
    let at = SystemTime::now() + Duration::from_secs(60);
    far.set("app:b", "timed", Expiry::At(at)).unwrap();
    let Value::Int(left) = place.server.ask(&["PTTL", "app:b"]) else { panic!("no time to live") };
    assert!((50_000..=60_000).contains(&left), "{left}");
    far.call(&["LPUSH", "app:list", "x"], &["app:list"]).unwrap();
    assert!(matches!(far.get("app:list"), Err(Error::Server(text)) if text.contains("WRONGTYPE")));
    assert!(matches!(far.incr("app:list", 1), Err(Error::Server(_))));
    assert!(matches!(far.call(&["NOSUCH"], &[] as &[&str]), Err(Error::Server(_))));
    assert_eq!(far.get_fresh("app:a").unwrap(), Some(b"xy".to_vec()));
}

#[test]
fn whatever_changes_a_key_ends_its_near_value() {
    let Some(place) = place("whatever_changes_a_key_ends_its_near_value") else { return };
    let far = place.open(&place.options(), "near");
    let changes: [(&[&str], Option<&str>); 19] = [
        (&["SET", "app:k", "new"], Some("new")),
        (&["DEL", "app:k"], None),
        (&["UNLINK", "app:k"], None),
        (&["APPEND", "app:k", "!"], Some("old!")),
        (&["SETRANGE", "app:k", "0", "g"], Some("gld")),
        (&["GETDEL", "app:k"], None),
        (&["GETSET", "app:k", "new"], Some("new")),
        (&["MSET", "app:other", "1", "app:k", "new"], Some("new")),
        (&["SETEX", "app:k", "60", "new"], Some("new")),
        (&["RENAME", "app:from", "app:k"], Some("moved")),
        (&["RENAME", "app:k", "app:to"], None),
        (&["COPY", "app:from", "app:k", "REPLACE"], Some("moved")),
        (&["MOVE", "app:k", "1"], None),
        (&["EVAL", "return redis.call('SET', KEYS[1], 'script')", "1", "app:k"], Some("script")),
        (&["PEXPIREAT", "app:k", "1000"], None),
        (&["PEXPIRE", "app:k", "0"], None),
        (&["FLUSHDB"], None),
        (&["FLUSHALL"], None),
        (&["SORT", "app:numbers", "BY", "nosort", "STORE", "app:k"], Some("none")),
    ];
    for (command, expected) in changes {
        place.server.ask(&["FLUSHALL"]);
        place.server.ask(&["SET", "app:from", "moved"]);
        place.server.ask(&["LPUSH", "app:numbers", "1"]);
        place.server.ask(&["SET", "app:k", "old"]);
        until("a near value", || is_near(&far, "app:k") && get(&far, "app:k").as_deref() == Some("old"));
        let reply = place.server.ask(command);
        assert!(!matches!(reply, Value::Error(_)), "{command:?}: {reply:?}");
        let changed = Instant::now();
        until(&format!("{command:?} to be seen"), || {
            let began = changed.elapsed();
            // The list that `SORT` stores is no string.
            let is_new = match far.get("app:k") {
                Ok(value) => value.as_deref() == expected.map(str::as_bytes),
                Err(_) => expected == Some("none"),
            };
            assert!(is_new || began < T, "{command:?} was not seen by a read {began:?} later");
            is_new
        });
    }
}

#[test]
fn a_time_to_live_is_kept_to_the_millisecond_and_changes_of_it_are_seen() {
    let Some(place) = place("a_time_to_live_is_kept") else { return };
    let far = place.open(&place.options(), "near");
    for _ in 0..5 {
        far.set("app:k", "v", Expiry::After(Duration::from_millis(60))).unwrap();
        let written = Instant::now();
        assert!(get(&far, "app:k").is_some());
        while written.elapsed() < Duration::from_millis(62) {
            let began = written.elapsed();
            let found = get(&far, "app:k");
            assert!(found.is_none() || began <= Duration::from_millis(61), "found {began:?} after it was stored");
        }
        assert_eq!(get(&far, "app:k"), None);
    }
    place.server.ask(&["SET", "app:k", "v"]);
    until("a near value", || get(&far, "app:k").is_some() && is_near(&far, "app:k"));
    place.server.ask(&["PEXPIRE", "app:k", "30"]);
    thread::sleep(Duration::from_millis(60));
    until("the end of a value whose time was shortened", || get(&far, "app:k").is_none());
}

#[test]
fn one_creator_among_all_processes_and_hosts() {
    let Some(place) = place("one_creator_among_all_processes_and_hosts") else { return };
    let hosts = [place.open(&place.options(), "near-a"), place.open(&place.options(), "near-b")];
    let created = AtomicUsize::new(0);
    let create = || {
        created.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(100));
        Ok::<_, String>(b"made".to_vec())
    };
    let how = Create::new().expiry(Expiry::After(Duration::from_secs(60)));
    thread::scope(|scope| {
        for far in hosts.iter().cycle().take(8) {
            scope.spawn(|| assert_eq!(far.get_or_create("app:report", &how, create).unwrap(), b"made"));
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 1);
    assert!(matches!(place.server.ask(&["PTTL", "app:report"]), Value::Int(1..=60_000)));
    assert_eq!(place.server.ask(&["EXISTS", "kennel-far:lease:app:report"]), Value::Int(0));

    let failed = hosts[0].get_or_create("app:none", &how, || Err::<Vec<u8>, _>("no rows"));
    assert!(matches!(failed, Err(CreateError::Creator("no rows"))));
    assert_eq!(place.server.ask(&["EXISTS", "kennel-far:lease:app:none"]), Value::Int(0), "the next may try at once");

    // A creation that outlives its lease is not stored over what another has stored.
    let short = Create::new().lease(Duration::from_millis(20));
    let slow = hosts[0].get_or_create("app:slow", &short, || {
        thread::sleep(Duration::from_millis(60));
        place.server.ask(&["SET", "app:slow", "newer"]);
        Ok::<_, String>(b"older".to_vec())
    });
    assert_eq!((slow.unwrap(), get(&hosts[1], "app:slow")), (b"older".to_vec(), Some("newer".into())));
    assert_eq!(hosts[0].stats().lost_leases, 1);
    let outside = hosts[0].get_or_create("other", &how, || Ok::<_, String>(b"v".to_vec()));
    assert_eq!((outside.unwrap(), place.server.ask(&["GET", "other"])), (b"v".to_vec(), Value::Bytes(b"v".to_vec())));
}

#[test]
fn who_looked_before_a_value_was_stored_does_not_create_it_again() {
    let Some(place) = place("who_looked_before_a_value_was_stored_does_not_create_it_again") else { return };
    let hosts = ["near-a", "near-b"].map(|near| place.open(&place.options(), near));
    let how = Create::new().expiry(Expiry::After(Duration::from_secs(60)));
    for round in 0..100 {
        let (key, created) = (format!("app:{round}"), AtomicUsize::new(0));
        thread::scope(|scope| {
            for far in hosts.iter().cycle().take(8) {
                scope.spawn(|| {
                    let create = || Ok::<_, String>(created.fetch_add(1, Ordering::SeqCst).to_string().into_bytes());
                    assert_eq!(far.get_or_create(&key, &how, create).unwrap(), b"0");
                });
            }
        });
        assert_eq!(created.load(Ordering::SeqCst), 1, "round {round}");
    }
}

#[test]
fn a_user_with_a_password_in_another_database() {
    let Some(place) = place("a_user_with_a_password_in_another_database") else { return };
    let rules = ["on", ">p@ss", "~app:*", "~kennel-far:lease:app:*", "+@all", "-@dangerous", "+role", "+info"];
    place.server.ask(&[&["ACL", "SETUSER", "app"], &rules[..], &["+client|kill", "+flushdb"]].concat());
    let url = format!("unix://app:p%40ss@{}?db=3", place.server.socket().display());
    let options = Options::new(&url).prefix("app:").max_staleness(T).near(kennel::Options::new().capacity(1 << 20));
    let far = place.open(&options, "near");
    far.set("app:k", "of 3", Expiry::Never).unwrap();
    assert_eq!(get(&far, "app:k").as_deref(), Some("of 3"));
    assert_eq!(place.server.ask(&["GET", "app:k"]), Value::Null);
    let other = options_of(&place, "app:").open(place.folder.path().join("near"));
    assert!(matches!(other, Err(Error::Mismatch(_))), "another database on the same file");

    let wrong = Options::new(url.replace("p%40ss", "wrong")).prefix("app:").max_staleness(T);
    let refused = wrong.open(place.folder.path().join("near-of-none")).unwrap();
    assert!(refused.get("app:k").is_err());
    until("the tracker's problem", || refused.problem().is_some_and(|problem| problem.contains("WRONGPASS")));
}

fn options_of(place: &Place, prefix: &str) -> Options {
    Options::new(place.server.url()).prefix(prefix).max_staleness(T)
}

#[test]
fn databases_that_are_swapped_end_everything() {
    let Some(place) = place("databases_that_are_swapped_end_everything") else { return };
    let far = place.open(&place.options(), "near");
    place.server.ask(&["SET", "app:k", "of 0"]);
    until("a near value", || get(&far, "app:k").is_some() && is_near(&far, "app:k"));
    place.server.ask(&["SWAPDB", "0", "1"]);
    let swapped = Instant::now();
    until("the other database", || {
        let began = swapped.elapsed();
        let is_other = get(&far, "app:k").is_none();
        assert!(is_other || began < T * 2, "not seen {began:?} later");
        is_other
    });
    trusted(&far);
}

#[test]
fn a_server_that_restarts_is_another_run_and_everything_is_fetched_again() {
    let Some(mut place) = place("a_server_that_restarts_is_another_run") else { return };
    let far = place.open(&place.options(), "near");
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(get(&far, "app:k").as_deref(), Some("v"));
    let flushes = far.stats().flushes;
    place.server.restart();
    until("a flush", || far.stats().flushes > flushes);
    trusted(&far);
    assert_eq!(get(&far, "app:k").as_deref(), Some("v"));
    let (flushes, tracked) = (far.stats().flushes, far.stats().tracked);
    assert_eq!(place.server.cut_trackers(), 1);
    until("a new connection and a flush", || far.stats().tracked > tracked && far.stats().flushes > flushes);
    place.server.kill();
    thread::sleep(T + Duration::from_millis(100));
    assert!(matches!(far.get("app:k"), Err(Error::Connection(_))), "nothing older than T is returned");
    assert!(far.set("app:k", "w", Expiry::Never).is_err());
    place.server.restart();
    trusted(&far);
}

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for two more proofs of a tracker, which has an hour for them and takes seconds.
fn proves_soon(far: &Far, what: &str) {
    let (began, proofs) = (Instant::now(), far.stats().proofs);
    until(what, || far.stats().proofs > proofs + 1);
    assert!(began.elapsed() < Duration::from_secs(16), "{what} took {:?}", began.elapsed());
}

/// The pauses of trackers are parts of T, but an hour is no reason for them to wait.
#[test]
fn with_an_hour_for_reads_a_tracker_proves_at_once_all_the_same() {
    let Some(place) = place("with_an_hour_for_reads_a_tracker_proves") else { return };
    let options = place.options().max_staleness(HOUR);
    let first = place.open(&options, "near");
    proves_soon(&first, "further proofs");
    let second = place.open(&options, "near");
    proves_soon(&second, "proofs of a second tracker");
    drop((first, second));
    // Proofs from before are as good as new for reads, but nobody goes on with them.
    let far = place.open(&options, "near");
    proves_soon(&far, "proofs of a tracker that came later");
}

#[test]
fn with_an_hour_for_reads_another_run_of_the_server_is_proved_soon() {
    let Some(mut place) = place("with_an_hour_for_reads_another_run") else { return };
    let far = place.open(&place.options().max_staleness(HOUR), "near");
    place.server.restart();
    proves_soon(&far, "proofs of another run of the server");
    trusted(&far);
}

#[test]
fn two_trackers_of_a_host_and_one_takes_over_without_a_loss_of_trust() {
    let Some(place) = place("two_trackers_of_a_host") else { return };
    let first = place.open(&place.options(), "near");
    let second = place.open(&place.options(), "near");
    let third = place.options().keepers(0).open(place.folder.path().join("near")).unwrap();
    trusted(&third);
    until("two trackers that prove", || first.stats().proofs > 0 && second.stats().proofs > 0);
    place.server.ask(&["SET", "app:k", "v"]);
    until_pushed(&third);
    until("a near value", || is_near(&third, "app:k"));
    let flushes = second.stats().flushes;
    drop(first);
    let until_later = Instant::now() + T * 3;
    while Instant::now() < until_later {
        assert!(is_near(&third, "app:k"));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((second.stats().flushes, third.stats().tracked), (flushes, 0));
}

#[test]
fn a_near_file_that_is_lost_or_replaced_costs_fetches_and_no_answer() {
    let Some(place) = place("a_near_file_that_is_lost_or_replaced") else { return };
    let far = place.open(&place.options(), "near");
    let near = place.folder.path().join("near");
    far.set("app:k", "v", Expiry::Never).unwrap();
    kennel::Options::new().destroy(&near).unwrap();
    for n in 0..20 {
        far.set("app:k", n.to_string(), Expiry::Never).unwrap();
        assert_eq!(get(&far, "app:k"), Some(n.to_string()));
    }
    let lost = far.stats();
    let _new = kennel::Options::new().capacity(1 << 20).open_or_create(&near).unwrap();
    trusted(&far);
    for n in 0..20 {
        far.set("app:k", n.to_string(), Expiry::Never).unwrap();
        assert_eq!(get(&far, "app:k"), Some(n.to_string()));
    }
    assert!(lost.unshielded > 0 && far.stats().unshielded >= lost.unshielded, "{lost:?}");
}

#[test]
fn a_user_that_may_not_ask_which_server_it_reached_gets_its_data_all_the_same() {
    let Some(place) = place("a_user_that_may_not_ask") else { return };
    place.server.ask(&["ACL", "SETUSER", "plain", "on", ">p", "~app:*", "+get", "+set", "+pttl", "+hello", "+ping"]);
    let url = format!("unix://plain:p@{}", place.server.socket().display());
    let far = Options::new(url).prefix("app:").max_staleness(T).open(place.folder.path().join("near")).unwrap();
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!((get(&far, "app:k"), get(&far, "app:k")), (Some("v".into()), Some("v".into())));
    until("the tracker's problem", || far.problem().is_some_and(|problem| problem.contains("NOPERM")));
    assert_eq!((far.stats().hits, far.stats().fills, far.proof_age()), (0, 0, None));
}

#[test]
fn a_user_whose_rules_are_narrowed_proves_nothing_any_more() {
    let Some(place) = place("a_user_whose_rules_are_narrowed") else { return };
    place.server.ask(&["ACL", "SETUSER", "tracker", "on", ">p", "~app:*", "+@all"]);
    let data = place.server.url();
    let options = Options::new(format!("unix://tracker:p@{}", place.server.socket().display()))
        .prefix("app:")
        .max_staleness(T)
        .near(kennel::Options::new().capacity(1 << 20))
        .store(move || Ok(Box::new(RedisStore::open(&data, Duration::from_secs(10))?) as Box<dyn Store>));
    let far = place.open(&options, "near");
    place.server.ask(&["SET", "app:k", "v1"]);
    until("a near value", || get(&far, "app:k").as_deref() == Some("v1") && is_near(&far, "app:k"));
    // A server that heeds the rules does not tell this user of the key any more.
    place.server.ask(&["ACL", "SETUSER", "tracker", "resetkeys", "~other:*"]);
    place.server.ask(&["SET", "app:k", "v2"]);
    let narrowed = Instant::now();
    until("the other value", || {
        let began = narrowed.elapsed();
        let is_new = get(&far, "app:k").as_deref() == Some("v2");
        assert!(is_new || began < T, "not seen {began:?} later");
        is_new
    });
    until("the tracker's problem", || far.problem().is_some_and(|problem| problem.contains("NOPERM")));
    thread::sleep(T);
    assert!(!is_near(&far, "app:k"));
    place.server.ask(&["ACL", "SETUSER", "tracker", "resetkeys", "~app:*"]);
    trusted(&far);
}

#[test]
fn a_near_file_whose_namespaces_were_made_in_another_order_is_used_all_the_same() {
    let Some(place) = place("a_near_file_whose_namespaces_were_made_in_another_order") else { return };
    let far = place.open(&place.options(), "near");
    let (near, file) = (place.folder.path().join("near"), kennel::Options::new().capacity(1 << 20));
    for others in [3, 1] {
        file.destroy(&near).unwrap();
        let anew = file.open_or_create(&near).unwrap();
        for number in 0..others {
            anew.namespace(&format!("other-{number}"), &kennel::NamespaceOptions::new()).unwrap();
        }
        trusted(&far);
        for n in 0..20 {
            let n = n.to_string();
            far.set("app:k", &n, Expiry::Never).unwrap();
            assert_eq!((get(&far, "app:k"), get(&far, "app:k")), (Some(n.clone()), Some(n)));
        }
        // A write of somebody else is seen, so the tracker deletes in the new namespace, too.
        place.server.ask(&["SET", "app:k", "of another"]);
        let changed = Instant::now();
        until("the other's value", || {
            let began = changed.elapsed();
            let is_new = get(&far, "app:k").as_deref() == Some("of another");
            assert!(is_new || began < T, "not seen {began:?} later");
            is_new
        });
    }
}

#[test]
fn processes_that_name_the_near_file_by_another_path_share_its_seats() {
    let Some(place) = place("processes_that_name_the_near_file_by_another_path") else { return };
    let (other, near) = (place.folder.path().join("other"), place.folder.path().join("near"));
    std::fs::create_dir(&other).unwrap();
    let first = place.open(&place.options().keepers(1), "near");
    std::os::unix::fs::symlink(&near, other.join("link")).unwrap();
    let linked = place.options().keepers(1).open(other.join("link")).unwrap();
    trusted(&linked);
    place.server.ask(&["SET", "app:k", "v"]);
    until("one value near both", || is_near(&first, "app:k") && is_near(&linked, "app:k"));
    assert_eq!((first.stats().tracked, linked.stats().tracked), (1, 0));
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1, "seats lie beside the file itself");
    // The file alone, without its locks, is refused: two sets of locks and seats would exclude nobody.
    std::fs::hard_link(&near, other.join("hard")).unwrap();
    let alone = place.options().open(other.join("hard"));
    assert!(matches!(alone, Err(Error::Near(_))), "{alone:?}");
}
