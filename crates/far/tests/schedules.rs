//! The races of the design, each played by a test that decides when every byte comes.
#![cfg(unix)]

#[path = "common/near.rs"]
mod near;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/played.rs"]
mod played;
#[path = "common/schedules.rs"]
mod schedules_list;

use kennel_far::{Create, Degraded, Expiry, TimeToLive, Tracking};
use patience::until;
use played::{At, Stage, Stopped, T};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn every_schedule_keeps_every_promise() {
    thread::scope(|scope| {
        for (name, _, play) in schedules_list::ALL {
            scope.spawn(move || play().unwrap_or_else(|broken| panic!("{name}: {broken}")));
        }
    });
}

fn get(far: &kennel_far::Far, key: &str) -> String {
    far.get(key).unwrap().map_or("none".into(), |value| String::from_utf8(value).unwrap())
}

/// A tracked handle whose reads wait for the fetches of others as long as a busy machine needs.
fn patient(stage: &Stage) -> kennel_far::Far {
    let far = stage.options().fetch_wait(Duration::from_secs(10)).open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    stage.until_trusted(&far);
    far
}

#[test]
fn while_it_is_proved_a_key_is_fetched_once() {
    let stage = Stage::new();
    let far = patient(&stage);
    stage.set_silently("k", "v");
    let before = stage.fetches();
    let slow = Stopped::at(At::AfterFetch, {
        let far = far.clone();
        move || get(&far, "k")
    });
    let readers: Vec<_> = (0..4).map(|_| far.clone()).map(|far| thread::spawn(move || get(&far, "k"))).collect();
    thread::sleep(Duration::from_millis(30));
    assert_eq!(slow.go(), "v");
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == "v"));
    assert_eq!(stage.fetches() - before, 1);
    assert_eq!((get(&far, "k"), stage.fetches() - before), ("v".into(), 1));
    let stats = far.stats();
    assert!(stats.fills >= 2 && stats.proofs > 0 && stats.escalations == 0, "{stats:?}");
    assert!(far.proof_age().unwrap() < T, "{:?}", far.proof_age());
}

#[test]
fn what_is_not_there_is_remembered_until_it_comes() {
    let stage = Stage::new();
    let far = stage.tracked();
    let before = stage.fetches();
    assert_eq!((get(&far, "k"), get(&far, "k"), get(&far, "k")), ("none".into(), "none".into(), "none".into()));
    assert_eq!((stage.fetches() - before, far.stats().absent_hits), (1, 2));
    stage.set("k", "v");
    stage.next_ping();
    stage.next_ping();
    assert_eq!(get(&far, "k"), "v");
    stage.remove("k");
    stage.push_null();
    stage.next_ping();
    stage.next_ping();
    assert_eq!(get(&far, "k"), "none", "a push without keys ends everything");
}

#[test]
fn what_cannot_be_stored_is_fetched_without_a_claim() {
    let stage = Stage::new();
    let far = stage.options().near_max_value(10).open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    stage.until_trusted(&far);
    stage.set_silently("k", "longer than ten");
    assert_eq!((get(&far, "k"), get(&far, "k")), ("longer than ten".into(), "longer than ten".into()));
    assert_eq!(far.stats().too_large, 1, "the second found the mark");
    stage.set_silently("k-list", "no string");
    assert!(far.get("k-list").is_err());
    assert!(far.get_multi(&["k", "k-list"]).is_err());
    stage.set_silently("other", "v");
    assert_eq!((get(&far, "other"), far.stats().outside > 0), ("v".into(), true), "of no prefix");
    stage.set_for("k-gone", "v", TimeToLive::Over);
    assert_eq!(get(&far, "k-gone"), "v");
    stage.remove("k-gone");
    assert_eq!(get(&far, "k-gone"), "none", "a value whose end was not told is not kept");
}

#[test]
fn many_keys_are_fetched_together_and_in_their_order() {
    let stage = Stage::new();
    let far = patient(&stage);
    ["k1", "k2", "k3"].iter().for_each(|key| stage.set_silently(key, &format!("of {key}")));
    get(&far, "k2");
    let before = stage.fetches();
    let slow = Stopped::at(At::AfterFetch, {
        let far = far.clone();
        move || get(&far, "k3")
    });
    let batch = thread::spawn({
        let far = far.clone();
        move || far.get_multi(&["k3", "k1", "k2", "k1", "k-none", "other"]).unwrap()
    });
    thread::sleep(Duration::from_millis(30));
    slow.go();
    let of = |key: &str| Some(format!("of {key}").into_bytes());
    assert_eq!(batch.join().unwrap(), [of("k3"), of("k1"), of("k2"), of("k1"), None, None]);
    assert!(stage.fetches() - before <= 3, "the slow one, the claims, and the key outside");
    let before = stage.fetches();
    assert_eq!(far.get_multi(&["k1", "k2", "k3", "k-none"]).unwrap(), [of("k1"), of("k2"), of("k3"), None]);
    assert_eq!(stage.fetches(), before);
}

#[test]
fn a_client_that_panics_in_a_write_leaves_nothing_old() {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    get(&far, "k");
    stage.set_silently("k", "v2");
    let write = catch_unwind(AssertUnwindSafe(|| far.call(&["BOOM"], &["k"])));
    assert!(write.is_err());
    assert_eq!(get(&far, "k"), "v2");
}

#[test]
fn nothing_is_proved_of_a_replica_or_of_another_database() {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    get(&far, "k");
    stage.set_role("slave");
    until("the tracker to leave a replica", || far.problem().is_some_and(|problem| problem.contains("master")));
    stage.set_silently("k", "v2");
    thread::sleep(T);
    assert_eq!(get(&far, "k"), "v2");
    stage.set_role("master");
    stage.until_trusted(&far);
    until("a tracker without a problem", || far.problem().is_none());
}

#[test]
fn without_tracking_a_value_ends_after_t() {
    let stage = Stage::new();
    let far = stage.options().tracking(Tracking::Off).open(stage.near()).unwrap();
    stage.set_silently("k", "v1");
    assert_eq!((get(&far, "k"), get(&far, "k"), get(&far, "k-none")), ("v1".into(), "v1".into(), "none".into()));
    assert_eq!((stage.fetches(), far.stats().hits), (2, 1));
    let filled = Instant::now();
    stage.set_silently("k", "v2");
    stage.set_silently("k-none", "v");
    thread::sleep(T.saturating_sub(filled.elapsed()) + Duration::from_millis(5));
    assert_eq!((get(&far, "k"), get(&far, "k-none")), ("v2".into(), "v".into()));
    far.set("k", "v3", Expiry::Never).unwrap();
    assert_eq!(get(&far, "k"), "v3");
    let tracked = stage.options().open(stage.near());
    assert!(matches!(tracked, Err(kennel_far::Error::Mismatch(_))), "a file has one mode for a set of prefixes");
}

#[test]
fn a_second_handle_takes_the_seat_of_one_that_ends_and_closes_nothing_of_it() {
    let stage = Stage::new();
    let (first, second) = (stage.options().keepers(1).open(stage.near()).unwrap(), stage.options().keepers(1));
    let second = second.open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    until("one of them to track", || first.stats().tracked + second.stats().tracked == 1);
    stage.until_trusted(&first);
    stage.until_trusted(&second);
    let (holder, other) = if first.stats().tracked == 1 { (first, second) } else { (second, first) };
    drop(holder);
    until("the other to track", || other.stats().tracked == 1);
    stage.until_trusted(&other);
    assert_eq!(stage.killed(), Vec::<String>::new(), "a seat that was given back names no connection");
}

#[test]
fn nothing_is_proved_where_pushes_are_swallowed() {
    let stage = Stage::new();
    stage.hold_pushes(true);
    let far = stage.options().probe(true).open(stage.near()).unwrap();
    until("the probe to fail", || far.problem().is_some_and(|problem| problem.contains("did not arrive")));
    stage.set_silently("k", "v");
    assert_eq!((get(&far, "k"), get(&far, "k"), far.stats().fills, far.proof_age()), ("v".into(), "v".into(), 0, None));
    stage.hold_pushes(false);
    stage.set_silently("k-first", "0");
    stage.until_trusted(&far);
}

#[test]
fn while_nothing_is_proved_one_asks_for_all_until_a_tracker_proves() {
    let stage = Stage::new();
    let options = stage.options().degraded(Degraded::Brief).fetch_wait(Duration::from_secs(10));
    let far = options.clone().keepers(0).open(stage.near()).unwrap();
    stage.set_silently("k", "v");
    let slow = Stopped::at(At::AfterFetch, {
        let far = far.clone();
        move || get(&far, "k")
    });
    let readers: Vec<_> = (0..4).map(|_| far.clone()).map(|far| thread::spawn(move || get(&far, "k"))).collect();
    let batch = thread::spawn({
        let far = far.clone();
        move || far.get_multi(&["k", "k-none"]).unwrap()
    });
    thread::sleep(Duration::from_millis(30));
    assert_eq!(slow.go(), "v");
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == "v"));
    assert_eq!(batch.join().unwrap(), [Some(b"v".to_vec()), None]);
    assert_eq!((stage.fetches(), get(&far, "k-none")), (2, "none".into()));
    let (stats, far_age) = (far.stats(), far.proof_age());
    assert!(stats.brief_hits >= 5 && stats.bypasses == 0 && far_age.is_none(), "{stats:?}");
    // This far tier gives no leases, so the creator waits for one in vain.
    let how = Create::new().wait(Duration::from_millis(50));
    let made = far.get_or_create("k-made", &how, || Ok::<_, String>(b"made".to_vec()));
    assert_eq!(made.unwrap(), b"made");

    // From the first proof on, reads are of values that are proved.
    let keeper = options.open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    until("a proof", || keeper.stats().proofs > 0);
    until("a reader that trusts the proof", || {
        far.get_fresh("k-first").unwrap();
        let before = far.stats();
        get(&far, "k-first");
        get(&far, "k-first");
        let after = far.stats();
        after.hits > before.hits && after.brief_hits == before.brief_hits
    });
    let refused = stage.options().open(stage.near());
    assert!(matches!(refused, Err(kennel_far::Error::Mismatch(_))), "all processes must do the same without a proof");
}

#[test]
fn a_key_that_changes_during_each_fetch_is_left_out_for_a_second() {
    let stage = Stage::new();
    let far = stage.options().hot_keys(2).open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    stage.until_trusted(&far);
    // Within a second there may be fewer on a busy machine, so it takes as many as it takes.
    until("the key to be hot", || {
        stage.set_silently("k", "v");
        let slow = Stopped::at(At::AfterFetch, {
            let far = far.clone();
            move || get(&far, "k")
        });
        far.call(&["NOTHING"], &["k"]).unwrap();
        slow.go();
        far.stats().hot_keys == 1
    });
    let before = far.stats();
    assert!(before.voided >= 3, "{before:?}");
    let slow = Stopped::at(At::AfterFetch, {
        let far = far.clone();
        move || get(&far, "k")
    });
    let began = Instant::now();
    assert_eq!(get(&far, "k"), "v");
    assert!(began.elapsed() < Duration::from_millis(150), "nobody waits for another's claim of a hot key");
    slow.go();
    let after = far.stats();
    assert_eq!((after.bypasses - before.bypasses, after.fills), (2, before.fills));
    until("the key to be stored again", || {
        get(&far, "k");
        far.stats().fills > before.fills
    });
}

#[test]
fn a_value_is_copied_to_the_caller_s_buffer() {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "value");
    let mut buf = [0; 8];
    for _ in 0..2 {
        assert_eq!(far.get_into("k", &mut buf).unwrap(), Some(5));
        assert_eq!(&buf, b"value\0\0\0");
    }
    let hits = far.stats().hits;
    for _ in 0..2 {
        let too_small = far.get_into("k", &mut buf[..4]);
        assert!(matches!(
            too_small,
            Err(kennel_far::Error::Near(kennel::Error::BufferTooSmall { needed: 5, given: 4 }))
        ));
    }
    assert_eq!((far.stats().hits - hits, far.get_into("k-none", &mut buf).unwrap()), (2, None));
    stage.set_silently("other", "longer than eight");
    assert!(matches!(far.get_into("other", &mut buf), Err(kennel_far::Error::Near(_))));
}
