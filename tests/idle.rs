//! Items that live as long as they are read, with a clock that the test controls.
#![cfg(feature = "typed")]

mod common;

use common::raw::{Raw, record};
use common::{Place, TestClock, assert_sound, moment};
use kennel::{
    Cache, Clock, CreateOptions, Expiry, Invalidation, Local, LocalOptions, LockStrategy, NamespaceOptions, Options,
    ResizeOptions, RestoreOptions, Restored, SavedItem, SetOptions, Swap,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// The initial time of each test's clock.
const NOW: u64 = 1_700_000_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Option<SystemTime> {
    Some(moment(NOW + seconds * 1000))
}

struct Idle {
    /// Items live for 100 s without a read.
    cache: Cache,
    all: Cache,
    clock: Arc<TestClock>,
    place: Place,
}

fn idle_with(options: &NamespaceOptions, locks: LockStrategy) -> Idle {
    let (place, clock) = (Place::new(), TestClock::at(NOW));
    let all = Options::new().capacity(256 << 10).stripes(1).locks(locks).clock(clock.clone());
    let all = all.create(place.path()).unwrap();
    Idle { cache: all.namespace("idle", options).unwrap(), all, clock, place }
}

fn idle() -> Idle {
    idle_with(&NamespaceOptions::new().idle(seconds(100)), LockStrategy::Lease)
}

impl Idle {
    fn set_clock(&self, seconds: u64) {
        self.clock.set(NOW + seconds * 1000);
    }

    /// The expiry of a key, without a read of it.
    fn expires(&self, key: &str) -> Option<SystemTime> {
        self.cache.entries().find(|entry| entry.key.ends_with(key.as_bytes())).and_then(|entry| entry.expires)
    }
}

#[test]
fn an_item_expires_when_nobody_reads_it_and_lives_as_long_as_somebody_does() {
    let t = idle();
    t.cache.set("read", "value").unwrap();
    t.cache.set("unread", "value").unwrap();
    for step in 1..20 {
        t.set_clock(step * 50);
        assert!(t.cache.get("read").is_some(), "after {} s", step * 50);
    }
    assert!(t.cache.get("unread").is_none());
    t.set_clock(19 * 50 + 100);
    assert!(t.cache.get("read").is_none());
    assert_sound(&t.all);
}

#[test]
fn a_read_writes_only_when_a_quarter_of_the_time_has_passed() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    let mut written = 0;
    for second in 1..=1000 {
        t.set_clock(second);
        let before = t.expires("key");
        assert!(t.cache.contains("key"));
        written += usize::from(t.expires("key") != before);
    }
    assert!((30..=40).contains(&written), "{written} times in ten idle times");
}

/// A way to read a key.
type Read<'a> = (&'static str, Box<dyn Fn(&Cache) -> bool + 'a>);

#[test]
fn every_kind_of_read_counts() {
    let t = idle();
    let typed = t.cache.typed::<u32>();
    let near: Local<u32> = typed.local(&LocalOptions::new());
    typed.set("key", &7).unwrap();
    assert_eq!(near.get("key").unwrap().as_deref(), Some(&7));
    let item = t.cache.get_item("key").unwrap();
    let how = CreateOptions::new();
    let never = || -> Vec<u8> { panic!("the key has a value") };
    let reads: [Read<'_>; 13] = [
        ("get", Box::new(|cache| cache.get("key").is_some())),
        ("get_item", Box::new(|cache| cache.get_item("key").is_some())),
        ("get_into", Box::new(|cache| cache.get_into("key", &mut [0; 64]).unwrap().is_some())),
        ("get_with", Box::new(|cache| cache.get_with("key", |len| vec![0; len]).unwrap().is_some())),
        ("get_multi", Box::new(|cache| cache.get_multi(&["key"])[0].is_some())),
        ("contains", Box::new(|cache| cache.contains("key"))),
        ("get_if_changed", Box::new(|cache| cache.get_if_changed("key", item.id()).unwrap().is_some())),
        ("is_fresh", Box::new(|cache| cache.is_fresh("key", item.id()))),
        ("get_or_create", Box::new(|cache| cache.get_or_create("key", &how, never).is_ok())),
        ("get_or_create_item", Box::new(|cache| cache.get_or_create_item("key", &how, never).is_ok())),
        ("max_age", Box::new(|cache| cache.get_or_create("key", &how.clone().max_age(seconds(99_999)), never).is_ok())),
        ("typed", Box::new(|_| typed.get("key").unwrap().is_some())),
        ("near", Box::new(|_| near.get("key").unwrap().is_some())),
    ];
    for (step, (name, read)) in (1..).zip(reads) {
        t.set_clock(step * 60);
        assert!(read(&t.cache), "{name}");
        assert_eq!(t.expires("key"), at(step * 60 + 100), "{name}");
    }
    assert!(t.cache.entries().count() == 1 && t.cache.keys().count() == 1);
    assert_eq!(t.expires("key"), at(13 * 60 + 100), "a look at all items is no read");
}

#[test]
fn a_read_only_handle_keeps_nothing_alive() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    let other = Options::new().clock(t.clock.clone()).open_read_only(t.place.path()).unwrap();
    let other = other.namespace("idle", &NamespaceOptions::new()).unwrap();
    t.set_clock(60);
    assert!(other.get("key").is_some());
    assert_eq!(t.expires("key"), at(100));
}

#[test]
fn handles_that_verify_and_all_strategies_keep_items_alive() {
    for locks in
        [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::RwFile, LockStrategy::None]
    {
        let t = idle_with(&NamespaceOptions::new().idle(seconds(100)), locks.clone());
        t.cache.set("key", "value").unwrap();
        t.set_clock(60);
        assert!(t.cache.get("key").is_some());
        // Without locks a read cannot know that nobody writes.
        assert_eq!(t.expires("key"), at(if locks == LockStrategy::None { 100 } else { 160 }), "{locks}");
    }
    let t = idle();
    t.cache.set("key", "value").unwrap();
    let other = Options::new().clock(t.clock.clone()).verify_reads(true).open(t.place.path()).unwrap();
    t.set_clock(60);
    assert!(other.namespace("idle", &NamespaceOptions::new()).unwrap().get("key").is_some());
    assert_eq!(t.expires("key"), at(160));
}

#[test]
fn no_item_outlives_the_time_to_live() {
    let t = idle_with(&NamespaceOptions::new().idle(seconds(100)).ttl(seconds(150)), LockStrategy::Lease);
    t.cache.set("key", "value").unwrap();
    for (second, expires) in [(60, 150), (120, 150), (149, 150)] {
        t.set_clock(second);
        assert!(t.cache.get("key").is_some());
        assert_eq!(t.expires("key"), at(expires), "{second}");
    }
    t.set_clock(150);
    assert!(t.cache.get("key").is_none());
    // An idle time that is longer than the time to live says nothing.
    let t = idle_with(&NamespaceOptions::new().idle(seconds(100)).ttl(seconds(20)), LockStrategy::Lease);
    t.cache.set("key", "value").unwrap();
    t.set_clock(10);
    assert!(t.cache.get("key").is_some());
    assert_eq!(t.expires("key"), at(20));
}

#[test]
fn an_expiry_of_its_own_stays() {
    let t = idle();
    t.cache.set_with("given", "value", &SetOptions::new().expiry(Expiry::After(seconds(80)))).unwrap();
    t.cache.set_with("never", "value", &SetOptions::new().expiry(Expiry::Never)).unwrap();
    t.cache.set_with("touched", "value", &SetOptions::new().soft_expiry(Expiry::After(seconds(9)))).unwrap();
    assert!(t.cache.touch("touched", Expiry::After(seconds(80))).unwrap());
    t.cache.set("got", "value").unwrap();
    assert!(t.cache.get_and_touch("got", Expiry::After(seconds(80))).unwrap().is_some());
    let absence = CreateOptions::new().absence_expiry(Expiry::After(seconds(80)));
    assert_eq!(t.cache.get_or_create_optional("absent", &absence, || None::<Vec<u8>>).unwrap(), None);
    t.set_clock(60);
    for (key, expires) in [("given", at(80)), ("never", None), ("touched", at(80)), ("got", at(80))] {
        let item = t.cache.get_item(key).unwrap();
        assert_eq!((item.expires, t.expires(key)), (expires, expires), "{key}");
    }
    let never = || -> Option<Vec<u8>> { panic!("the absence is remembered") };
    assert_eq!(t.cache.get_or_create_optional("absent", &absence, never).unwrap(), None);
    assert!(t.cache.get_item("touched").unwrap().soft_expires == at(9));
    t.set_clock(80);
    assert_eq!(t.cache.keys().collect::<Vec<_>>(), [b"never"]);
    assert_sound(&t.all);
}

#[test]
fn counters_created_values_and_tagged_ones_follow_their_reads() {
    let t = idle();
    t.cache.get_or_create("made", &CreateOptions::new().tags(&["tag"]), || "value").unwrap();
    t.cache.set("count", "1").unwrap();
    t.set_clock(60);
    assert!(t.cache.get("made").is_some() && t.cache.incr("count", 1).unwrap() == Some(2));
    assert_eq!((t.expires("made"), t.expires("count")), (at(160), at(160)));
    t.set_clock(120);
    let stamp = t.cache.get_item("made").unwrap().stamp;
    t.set_clock(200);
    assert!(matches!(t.cache.swap_value("made", stamp, "other").unwrap(), Swap::Stored(_)));
    assert_eq!(t.expires("made"), at(300));
    assert!(t.cache.rename("made", "moved").unwrap());
    assert_eq!(t.expires("moved"), at(300));
    t.set_clock(280);
    assert!(t.cache.get("moved").is_some());
    assert_eq!(t.expires("moved"), at(380));
    assert_sound(&t.all);
}

#[test]
fn the_idle_time_of_the_file_counts_and_a_later_handle_can_give_the_first_one() {
    let t = idle_with(&NamespaceOptions::new(), LockStrategy::Lease);
    t.cache.set("early", "value").unwrap();
    assert_eq!(t.all.namespace_defaults("idle").unwrap().idle, None);
    for time in [100, 200] {
        let later = t.all.namespace("idle", &NamespaceOptions::new().idle(seconds(time))).unwrap();
        later.set("late", "value").unwrap();
        assert_eq!(t.all.namespace_defaults("idle").unwrap().idle, Some(seconds(100)));
    }
    assert_eq!((t.expires("early"), t.expires("late")), (None, at(100)));
    // Readers do not know of a time to live that is not the file's.
    let other = t.all.namespace("idle", &NamespaceOptions::new().ttl(seconds(500))).unwrap();
    other.set("late", "value").unwrap();
    assert_eq!(t.expires("late"), at(500));
}

#[test]
fn an_item_that_was_saved_follows_its_reads_in_another_file() {
    let (from, to) = (idle(), idle());
    from.cache.set("key", "value").unwrap();
    from.cache.set_with("fixed", "value", &SetOptions::new().expiry(Expiry::After(seconds(100)))).unwrap();
    for item in from.all.hottest_first() {
        assert!(matches!(to.all.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored));
    }
    to.set_clock(60);
    assert!(to.cache.get("key").is_some() && to.cache.get("fixed").is_some());
    assert_eq!((to.expires("key"), to.expires("fixed")), (at(160), at(100)));
}

#[test]
fn a_read_beside_a_held_lock_does_not_wait() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    t.set_clock(60);
    t.all
        .while_locked(0, || {
            std::thread::scope(|scope| {
                let read = scope.spawn(|| t.cache.get("key").is_some());
                assert!(read.join().unwrap());
            });
        })
        .unwrap();
    assert_eq!(t.expires("key"), at(100));
    assert!(t.cache.get("key").is_some());
    assert_eq!(t.expires("key"), at(160));
}

/// The offset of a key's soft expiry, whose highest bit says that reads move the expiry.
fn soft_expiry_at(raw: &Raw, key: &str) -> usize {
    raw.find(format!("idle\0{key}").as_bytes()).record_at + record::KEY
}

#[test]
fn jitter_shortens_what_no_read_can_exceed() {
    let t = idle_with(&NamespaceOptions::new().idle(seconds(100)).ttl(seconds(150)).jitter(0.3), LockStrategy::Lease);
    let keys: Vec<String> = (0..50).map(|n| format!("key {n}")).collect();
    keys.iter().for_each(|key| t.cache.set(key, "value").unwrap());
    for step in 1..=10 {
        t.set_clock(step * 10);
        keys.iter().for_each(|key| assert!(t.cache.get(key).is_some()));
    }
    let ends: BTreeSet<_> = keys.iter().map(|key| t.expires(key)).collect();
    assert!(ends.len() > 10, "they would all end together: {ends:?}");
    assert!(ends.first() >= Some(&at(105)) && ends.last() <= Some(&at(150)), "{ends:?}");
}

#[test]
fn a_damaged_mark_is_found_and_a_damaged_idle_time_ends_no_read() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    let mut raw = Raw::load(&t.place.path());
    let mark_at = soft_expiry_at(&raw, "key");
    assert_eq!(raw.word(mark_at) >> 63, 1);
    raw.change(mark_at, |word| word ^ 1 << 63);
    raw.save();
    assert_ne!(t.all.verify().problems, []);
    let other = Options::new().clock(t.clock.clone()).verify_reads(true).open(t.place.path()).unwrap();
    assert!(other.namespace("idle", &NamespaceOptions::new()).unwrap().get("key").is_none());
    raw.change(mark_at, |word| word ^ 1 << 63);
    for idle_ms in [u64::MAX, 1, 0] {
        raw.set(raw.namespace(0) + 56, idle_ms);
        raw.save();
        t.set_clock(60);
        assert_eq!(t.cache.get("key").as_deref(), Some(&b"value"[..]), "{idle_ms}");
    }
    // A record of a namespace that no file can have.
    raw.set(soft_expiry_at(&raw, "key") + 16, 0xffff << 32);
    raw.save();
    assert!(t.all.get("idle\0key").is_some());
}

#[test]
fn the_longest_times_are_no_end() {
    let longest = NamespaceOptions::new().idle(Duration::MAX).ttl(Duration::MAX);
    let t = idle_with(&longest, LockStrategy::Lease);
    t.cache.set("key", "value").unwrap();
    let expires = t.expires("key");
    t.set_clock(1 << 32);
    assert!(t.cache.get("key").is_some());
    assert_eq!(t.expires("key"), expires);
}

#[test]
fn a_file_of_another_size_keeps_the_times_and_the_marks() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    t.cache.set_with("fixed", "value", &SetOptions::new().expiry(Expiry::After(seconds(100)))).unwrap();
    t.all.resize(1 << 20, &ResizeOptions::new()).unwrap();
    assert_eq!(t.all.namespace_defaults("idle").unwrap().idle, Some(seconds(100)));
    t.set_clock(60);
    assert!(t.cache.get("key").is_some() && t.cache.get("fixed").is_some());
    assert_eq!((t.expires("key"), t.expires("fixed")), (at(160), at(100)));
    assert_sound(&t.all);
}

#[test]
fn a_removed_namespace_takes_its_idle_time_with_it() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    assert!(t.all.remove_namespace("idle").unwrap());
    let new = t.all.namespace("new", &NamespaceOptions::new()).unwrap();
    assert_eq!(t.all.namespace_defaults("new").unwrap().idle, None);
    new.set("key", "value").unwrap();
    assert_eq!(new.get_item("key").unwrap().expires, None);
    // A handle of the old one adds it again, with its idle time.
    t.cache.set("key", "value").unwrap();
    assert_eq!((t.expires("key"), t.all.namespaces().len()), (at(100), 2));
}

#[test]
fn a_read_brings_back_nothing_that_has_gone() {
    let t = idle();
    let all = || t.cache.keys().collect::<Vec<_>>();
    t.cache.set("key", "value").unwrap();
    t.set_clock(99);
    assert!(t.cache.get("key").is_some());
    t.set_clock(199);
    assert_eq!((t.cache.get("key"), all()), (None, vec![]), "not even at the very millisecond");
    t.set_clock(198);
    assert!(t.cache.get("key").is_some(), "only the clock went back");
    t.cache.invalidate(Invalidation::Hard).unwrap();
    assert_eq!((t.cache.get("key"), all()), (None, vec![]));
    t.cache.set("key", "value").unwrap();
    t.cache.delete("key").unwrap();
    assert_eq!((t.cache.get("key"), all()), (None, vec![]));
}

#[cfg(unix)]
#[test]
fn a_forked_child_keeps_items_alive() {
    let t = idle();
    t.cache.set("key", "value").unwrap();
    t.set_clock(60);
    common::fork::Forked::start(|| assert!(t.cache.get("key").is_some())).join();
    assert_eq!(t.expires("key"), at(160));
}

type Work = Box<dyn FnOnce() + Send>;

/// A clock that does something when it is asked for the n-th time.
struct Meddling {
    ms: AtomicU64,
    asked: AtomicUsize,
    /// The number of that question, and what to do then.
    change: Mutex<Option<(usize, Work)>>,
}

impl Clock for Meddling {
    fn now(&self) -> SystemTime {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let due = self.change.lock().unwrap().take_if(|(when, _)| *when == asked);
        if let Some((_, change)) = due {
            change();
        }
        moment(self.ms.load(Ordering::SeqCst))
    }
}

/// A handle of a due item for a reader, and a clock that can meddle.
fn meddling(t: &Idle) -> (Cache, Arc<Meddling>) {
    t.cache.set("key", "value").unwrap();
    t.set_clock(60);
    let (ms, asked) = (AtomicU64::new(NOW + 60_000), AtomicUsize::new(0));
    let clock = Arc::new(Meddling { ms, asked, change: Mutex::new(None) });
    let other = Options::new().clock(clock.clone()).open(t.place.path()).unwrap();
    (other.namespace("idle", &NamespaceOptions::new()).unwrap(), clock)
}

/// A reader asks for the time before its look, after it, and before it locks the stripe. Each time somebody else changes
/// the item.
#[test]
fn a_read_moves_only_what_it_has_read() {
    type Change = fn(&Cache);
    let changes: [(Change, Option<SystemTime>); 4] = [
        (
            |cache| {
                cache.set_with("key", "new", &SetOptions::new().expiry(Expiry::After(seconds(20)))).unwrap();
            },
            at(80),
        ),
        (|cache| cache.set("key", "new").unwrap(), at(160)),
        (|cache| assert!(cache.touch("key", Expiry::After(seconds(1))).unwrap()), at(61)),
        (|cache| assert!(cache.delete("key").unwrap()), None),
    ];
    let mut moments = 0;
    for (when, (change, expires)) in (1..=4).flat_map(|when| changes.map(|change| (when, change))) {
        let t = idle();
        let (other, clock) = meddling(&t);
        let beside = other.clone();
        *clock.change.lock().unwrap() = Some((when, Box::new(move || change(&beside))));
        clock.asked.store(0, Ordering::SeqCst);
        let _ = other.get("key");
        moments += usize::from(clock.change.lock().unwrap().is_none());
        assert_eq!(t.expires("key"), expires, "at question {when}");
        assert_sound(&t.all);
    }
    assert!(moments > 12, "some of the changes came after the look: {moments}");
}

/// What takes the item's place follows its reads as well, but was not read.
#[test]
fn a_read_does_not_move_what_took_the_place_of_what_it_has_read() {
    let mut old = 0;
    for when in 1..=4 {
        let t = idle();
        let (other, clock) = meddling(&t);
        let all = t.all.clone();
        let change = move || {
            let mut item = SavedItem::new(&b"idle\0key"[..], Some(&b"new"[..]));
            (item.namespace, item.follows_reads, item.expires) = (Some("idle".into()), true, at(70));
            assert_eq!(all.restore(&item, &RestoreOptions::new().replace(true)).unwrap(), Restored::Stored);
        };
        *clock.change.lock().unwrap() = Some((when, Box::new(change)));
        clock.asked.store(0, Ordering::SeqCst);
        let was_new = other.get("key").as_deref() == Some(b"new");
        assert_eq!(t.expires("key"), at(if was_new { 160 } else { 70 }), "at question {when}");
        old += usize::from(!was_new && clock.change.lock().unwrap().is_none());
    }
    assert!(old > 0, "the item was never replaced after the look");
}

#[test]
fn a_read_does_not_move_what_expires_before_it_has_the_lock() {
    let mut seen = 0;
    for when in 1..=4 {
        let t = idle();
        let (other, clock) = meddling(&t);
        let of_change = clock.clone();
        let change = move || of_change.ms.store(NOW + 100_000, Ordering::SeqCst);
        *clock.change.lock().unwrap() = Some((when, Box::new(change)));
        clock.asked.store(0, Ordering::SeqCst);
        seen += usize::from(other.get("key").is_some() && clock.change.lock().unwrap().is_none());
        assert_eq!(t.expires("key"), at(100), "at question {when}");
    }
    assert!(seen > 0, "the item never expired after the look");
}
