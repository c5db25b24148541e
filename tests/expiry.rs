//! Expiry of items, to the millisecond, with a clock that the test controls.

mod common;

use common::{Place, TestClock, assert_sound, moment};
use kennel::{Cache, Expiry, LockStrategy, Options, SetOptions, Swap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The initial time of each test's clock.
const NOW: u64 = 1_700_000_000_000;
/// The latest time that can be stored: 44 bits of milliseconds.
const LAST: u64 = (1 << 44) - 1;

struct Timed {
    cache: Cache,
    clock: Arc<TestClock>,
    _place: Place,
}

fn timed() -> Timed {
    let (place, clock) = (Place::new(), TestClock::at(NOW));
    let options = Options::new().capacity(64 << 10).locks(LockStrategy::None).seed(5).clock(clock.clone());
    Timed { cache: options.create(place.path()).unwrap(), clock, _place: place }
}

impl Timed {
    fn set(&self, key: &str, expiry: Expiry) {
        self.cache.set_with(key, "value", &SetOptions::new().expiry(expiry)).unwrap();
    }

    fn has(&self, key: &str) -> bool {
        let hits = [
            self.cache.get(key).is_some(),
            self.cache.contains(key),
            self.cache.get_item(key).is_some(),
            self.cache.get_into(key, &mut [0; 64]).unwrap().is_some(),
            self.cache.get_multi(&[key])[0].is_some(),
            self.cache.keys().any(|found| found == key.as_bytes()),
        ];
        assert!(hits.iter().all(|&hit| hit == hits[0]), "all ways to read agree: {hits:?}");
        hits[0]
    }

    fn expires(&self, key: &str) -> Option<SystemTime> {
        self.cache.get_item(key).expect("the item is there").expires
    }
}

fn after(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

#[test]
fn an_item_without_expiry_has_none_however_late_it_is() {
    let t = timed();
    t.set("key", Expiry::Never);
    assert_eq!(t.expires("key"), None);
    // Some thirty thousand years from now: the latest time that Windows can represent.
    t.clock.set(900_000_000_000_000);
    assert!(t.has("key"));
}

#[test]
fn a_duration_of_zero_is_expired_at_once() {
    let t = timed();
    t.set("key", after(0));
    assert!(!t.has("key"));
    // Less than a millisecond counts as zero.
    t.set("key", Expiry::After(Duration::from_nanos(999_999)));
    assert!(!t.has("key"));
    assert_sound(&t.cache);
}

#[test]
fn a_moment_in_the_past_is_expired_at_once_and_takes_the_value_before_along() {
    let t = timed();
    for past in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(1), moment(1), moment(NOW - 1), moment(NOW)] {
        t.set("key", Expiry::Never);
        assert!(t.has("key"));
        t.set("key", Expiry::At(past));
        assert!(!t.has("key"), "{past:?}");
    }
}

#[test]
fn an_item_expires_exactly_at_its_millisecond() {
    let t = timed();
    t.set("after", after(100));
    t.set("at", Expiry::At(moment(NOW + 100)));
    for (ms, there) in [(0, true), (99, true), (100, false), (101, false)] {
        t.clock.set(NOW + ms);
        assert_eq!((t.has("after"), t.has("at")), (there, there), "{ms} ms later");
    }
}

#[test]
fn get_item_tells_when_an_item_expires() {
    let t = timed();
    t.set("key", after(1234));
    assert_eq!(t.expires("key"), Some(moment(NOW + 1234)));
    t.set("key", Expiry::At(moment(NOW + 77) + Duration::from_micros(999)));
    assert_eq!(t.expires("key"), Some(moment(NOW + 77)), "to the millisecond");
}

#[test]
fn the_far_future_is_cut_off_at_the_last_moment_that_can_be_stored() {
    let t = timed();
    for far in [Expiry::After(Duration::MAX), Expiry::At(moment(LAST + 1)), Expiry::At(moment(LAST))] {
        t.clock.set(NOW);
        t.set("key", far);
        assert_eq!(t.expires("key"), Some(moment(LAST)));
        t.clock.set(LAST - 1);
        assert!(t.has("key"));
        t.clock.set(LAST);
        assert!(!t.has("key"));
    }
}

#[test]
fn touch_changes_the_expiry_to_never_and_back_and_nothing_else() {
    let t = timed();
    let how = SetOptions::new().expiry(after(100)).flags(9);
    t.cache.set_with("key", "value", &how).unwrap();
    let before = t.cache.get_item("key").unwrap();
    for (expiry, expires) in
        [(Expiry::Never, None), (after(5), Some(moment(NOW + 5))), (Expiry::At(moment(LAST)), Some(moment(LAST)))]
    {
        assert!(t.cache.touch("key", expiry).unwrap());
        let item = t.cache.get_item("key").unwrap();
        assert_eq!(item.expires, expires);
        assert_eq!((item.value, item.flags, item.stamp), (before.value.clone(), 9, before.stamp));
        assert_sound(&t.cache);
    }
    assert!(t.cache.touch("key", after(0)).unwrap(), "it was there");
    assert!(!t.has("key"));
    assert!(!t.cache.touch("key", Expiry::Never).unwrap(), "what is expired cannot be brought back");
    assert!(!t.has("key"));
    assert!(!t.cache.touch("absent", Expiry::Never).unwrap());
}

#[test]
fn sums_keep_expiry_and_flags() {
    let t = timed();
    t.cache.set_with("n", "9", &SetOptions::new().expiry(after(100)).flags(3)).unwrap();
    // The sum is longer than the number was: in one case it fits in place, in the other it does not.
    for (by, sum) in [(1, 10), (1_000_000_000, 1_000_000_010)] {
        assert_eq!(t.cache.incr("n", by).unwrap(), Some(sum));
        let item = t.cache.get_item("n").unwrap();
        assert_eq!((item.expires, item.flags), (Some(moment(NOW + 100)), 3));
    }
    assert_eq!(t.cache.decr("n", 10).unwrap(), Some(1_000_000_000));
    t.clock.set(NOW + 100);
    assert_eq!((t.cache.incr("n", 1).unwrap(), t.cache.decr("n", 1).unwrap()), (None, None));
}

#[test]
fn set_without_expiry_takes_the_expiry_away() {
    let t = timed();
    t.set("key", after(100));
    t.cache.set("key", "other").unwrap();
    assert_eq!(t.expires("key"), None);
}

#[test]
fn an_expired_key_is_absent_for_every_write() {
    let t = timed();
    let how = SetOptions::new();
    let expire = || {
        t.clock.set(NOW);
        t.set("key", after(10));
        let stamp = t.cache.get_item("key").unwrap().stamp;
        t.clock.set(NOW + 10);
        stamp
    };
    expire();
    assert!(!t.cache.replace("key", "new", &how).unwrap());
    let stamp = expire();
    assert_eq!(t.cache.compare_and_swap("key", stamp, "new", &how).unwrap(), Swap::Absent);
    expire();
    assert!(!t.cache.delete("key").unwrap());
    expire();
    assert!(!t.cache.delete_multi(&["key"]).remove(0).unwrap());
    expire();
    assert!(t.cache.add("key", "new", &how).unwrap());
    assert_eq!((t.cache.get("key").as_deref(), t.expires("key")), (Some(&b"new"[..]), None));
    assert!(!t.cache.add("key", "newer", &how).unwrap());
    assert_sound(&t.cache);
}

#[test]
fn a_step_back_of_the_clock_keeps_values_longer_and_one_forward_expires_them_sooner() {
    let t = timed();
    t.set("key", after(100));
    t.clock.set(NOW - 5000);
    assert!(t.has("key"));
    assert_eq!(t.expires("key"), Some(moment(NOW + 100)), "a moment of wall time stays that moment");
    t.clock.set(NOW + 99);
    assert!(t.has("key"));
    t.clock.set(NOW + 100);
    assert!(!t.has("key"));
    // The clock says that it is before 1970: only expiry depends on time.
    t.clock.set(0);
    t.set("early", after(7));
    assert_eq!(t.expires("early"), Some(moment(7)));
    t.clock.set(7);
    assert!(!t.has("early"));
}

#[test]
fn memory_of_expired_items_is_taken_back_before_anything_is_evicted_for_it() {
    let t = timed();
    let small = t.cache.stripe_stats()[0].small_size;
    for n in 0..200u32 {
        t.cache.set_with(n.to_le_bytes(), [1; 60], &SetOptions::new().expiry(after(10))).unwrap();
    }
    t.clock.set(NOW + 10);
    let before = t.cache.stats().counters;
    assert!(before.sets * 108 > small, "the small ring went round");
    (1000..1800u32).for_each(|n| t.cache.set(n.to_le_bytes(), [2; 60]).unwrap());
    let after = t.cache.stats().counters;
    assert!(after.expirations > before.expirations + 50, "{after:?}");
    assert_eq!(t.cache.keys().filter(|key| u32::from_le_bytes(key[..].try_into().unwrap()) < 1000).count(), 0);
    assert_sound(&t.cache);
}

/// How many of 6 000 new items a cache keeps that was full of items, after `end` has ended those. Half of the new items
/// may have keys of the old ones.
fn kept_after(end: impl Fn(&Timed), has_old_keys: bool) -> usize {
    let (place, clock) = (Place::new(), TestClock::at(NOW));
    let options = Options::new().capacity(1 << 20).mean_item(32).stripes(1).seed(5).clock(clock.clone());
    let t = Timed { cache: options.create(place.path()).unwrap(), clock, _place: place };
    let how = SetOptions::new().expiry(after(10));
    for n in 0..20_000u32 {
        t.cache.set_with(n.to_le_bytes(), [1; 100], &how).unwrap();
    }
    let old: Vec<u32> = t.cache.keys().map(|key| u32::from_le_bytes(key[..].try_into().unwrap())).collect();
    assert!((3_000..10_000).contains(&old.len()), "{}", old.len());
    end(&t);
    let key = |n: u32| if has_old_keys && n.is_multiple_of(2) { old[n as usize / 2] } else { 20_000 + n };
    (0..6_000).for_each(|n| t.cache.set(key(n).to_le_bytes(), [2; 100]).unwrap());
    assert_sound(&t.cache);
    (0..6_000).filter(|n| t.cache.contains(key(*n).to_le_bytes())).count()
}

#[test]
fn a_full_cache_whose_items_are_gone_holds_as_much_as_a_new_one() {
    let kept = [
        kept_after(|t| t.cache.clear().unwrap(), false),
        kept_after(|t| t.cache.clear().unwrap(), true),
        kept_after(|t| t.clock.set(NOW + 10), false),
    ];
    // A few find a full bucket.
    assert!(kept.iter().all(|kept| *kept > 5_900), "{kept:?}");
}

#[test]
fn all_handles_go_by_their_own_clock() {
    let (place, clock, late) = (Place::new(), TestClock::at(NOW), TestClock::at(NOW + 1000));
    let options = Options::new().capacity(64 << 10).clock(clock);
    let cache = options.create(place.path()).unwrap();
    let other = Options::new().clock(late).open_read_only(place.path()).unwrap();
    cache.set_with("key", "value", &SetOptions::new().expiry(after(1000))).unwrap();
    assert!(cache.contains("key") && !other.contains("key"));
    cache.set_with("key", "value", &SetOptions::new().expiry(after(1001))).unwrap();
    assert!(cache.contains("key") && other.contains("key"));
}

#[test]
fn without_a_replaced_clock_the_systems_clock_counts() {
    let place = Place::new();
    let cache = Options::new().capacity(64 << 10).create(place.path()).unwrap();
    let set = |expiry| cache.set_with("key", "value", &SetOptions::new().expiry(expiry)).unwrap();
    set(Expiry::At(SystemTime::now() - Duration::from_secs(3600)));
    assert!(!cache.contains("key"));
    set(Expiry::At(SystemTime::now() + Duration::from_secs(3600)));
    assert!(cache.contains("key"));
}
