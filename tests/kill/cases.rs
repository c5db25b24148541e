//! The operations in which children are killed, in a cache with space for all keys.

use crate::common::Place;
use crate::common::raw::Raw;
use crate::repairs::kill_one_repair;
use crate::table::{self, Reached};
use crate::{PASSINGS, PROMISED, SEATS, STRATEGIES, by_strategy, dies, in_parallel, in_time};
use kennel::crash::{self, Event, Step};
use kennel::{
    Cache, CreateOptions, Expiry, Invalidation, LockStrategy, Lookup, NamespaceOptions, Options, RestoreOptions,
    Restored, SavedItem, SetOptions, Stored, Swap, Wait,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An operation in which a child is killed.
pub struct Case {
    pub name: &'static str,
    pub options: fn() -> Options,
    /// Prepares the state before the operation, in the survivor.
    pub before: fn(&Cache),
    /// The operation of the child; the number differs each time.
    pub work: fn(&Cache, u64),
    /// The values of [`KEY`] before and after, in this order; the survivor finds one of them, and never an earlier one
    /// later.
    pub states: &'static [Option<&'static [u8]>],
    /// Whether the death can cost the key.
    pub may_lose: bool,
}

pub const KEY: &str = "the key";
pub const OLD: &[u8] = b"the old value, a small one";
pub const NEW: &[u8] = b"the new value, a small one";
/// Too large to be overwritten in place.
pub const OLD_LARGE: &[u8] = &[b'o'; 700];
pub const NEW_LARGE: &[u8] = &[b'n'; 900];

pub const CASES: &[Case] = &[
    Case {
        name: "set a new key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "set a new large key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "overwrite in place",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW),
        states: &[Some(OLD), Some(NEW)],
        may_lose: true,
    },
    // The key is never missing: the old record stays until the new one is linked.
    Case {
        name: "overwrite large",
        options: roomy,
        before: large,
        work: |c, _| set(c, NEW_LARGE),
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "overwrite small by large",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW_LARGE),
        states: &[Some(OLD), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "delete",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.delete(KEY).unwrap()),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    Case {
        name: "incr",
        options: roomy,
        before: |c| c.set(KEY, "41").unwrap(),
        work: |c, _| assert_eq!(c.incr(KEY, 1).unwrap(), Some(42)),
        states: &[Some(b"41"), Some(b"42")],
        may_lose: true,
    },
    Case {
        name: "touch",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.touch(KEY, Expiry::After(Duration::from_secs(3600))).unwrap()),
        states: &[Some(OLD)],
        may_lose: false,
    },
    Case {
        name: "add",
        options: roomy,
        before: absent,
        work: |c, _| assert!(c.add(KEY, NEW, &SetOptions::new().flags(7)).unwrap()),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "compare and swap",
        options: roomy,
        before: large,
        work: |c, _| {
            let stamp = c.get_item(KEY).unwrap().stamp;
            let swap = c.compare_and_swap(KEY, stamp, NEW_LARGE, &SetOptions::new()).unwrap();
            assert!(matches!(swap, Swap::Stored(_)));
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "restore",
        options: roomy,
        // The record to be replaced has no access marks.
        before: |c| {
            absent(c);
            set(c, OLD_LARGE);
        },
        work: |c, _| {
            let mut item = SavedItem::new(KEY.as_bytes(), Some(NEW_LARGE));
            item.marks = 3;
            assert_eq!(c.restore(&item, &RestoreOptions::new().replace(true)).unwrap(), Restored::Stored);
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "get",
        options: roomy,
        // The new handle has no access marks.
        before: |c| {
            absent(c);
            set(c, NEW_LARGE);
        },
        work: |c, _| assert!(c.get(KEY).is_some()),
        states: &[Some(NEW_LARGE)],
        may_lose: false,
    },
    // The flush mark says that the file is durable; a writer first clears it.
    Case {
        name: "flush and overwrite",
        options: roomy,
        before: large,
        work: |c, _| {
            assert!(c.flush().unwrap());
            set(c, NEW_LARGE);
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "clear",
        options: roomy,
        before: small,
        work: |c, _| c.clear().unwrap(),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    Case {
        name: "set what was cleared",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "set what was cleared, large",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD_LARGE).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "decr",
        options: roomy,
        before: |c| c.set(KEY, "1000").unwrap(),
        work: |c, _| assert_eq!(c.decr(KEY, 1).unwrap(), Some(999)),
        states: &[Some(b"1000"), Some(b"999")],
        may_lose: true,
    },
    Case {
        name: "replace",
        options: roomy,
        before: large,
        work: |c, _| assert!(c.replace(KEY, NEW_LARGE, &SetOptions::new()).unwrap()),
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "set many",
        options: roomy,
        before: large,
        work: |c, number| {
            let items = [(KEY.to_owned(), NEW_LARGE.to_vec()), (format!("another {number}"), OLD.to_vec())];
            assert!(c.set_multi(&items, &SetOptions::new()).iter().all(Result::is_ok));
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "delete many",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.delete_multi(&[KEY, "no such key"])[0].as_ref().is_ok_and(|was_there| *was_there)),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    // An expired record stays in the ring until it is overwritten, or its space is needed.
    Case {
        name: "set what is expired",
        options: roomy,
        before: |c| {
            let expired = SetOptions::new().expiry(Expiry::After(Duration::ZERO));
            c.set_with(KEY, OLD_LARGE, &expired).unwrap();
        },
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    // Another thread waits for the lock when it is released.
    Case {
        name: "replace while others wait",
        options: roomy,
        before: large,
        work: while_others_wait,
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "get or create",
        options: roomy,
        before: absent,
        work: |c, _| {
            let create = || NEW.to_vec();
            assert_eq!(c.get_or_create(KEY, &CreateOptions::new(), create).unwrap(), NEW);
        },
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "write what is being created",
        options: roomy,
        before: large,
        work: |c, _| {
            let _claim = c.lock("another", Wait::No).unwrap();
            c.delete(KEY).unwrap();
            let Lookup::Create(claim) = c.claim(KEY, &CreateOptions::new()).unwrap() else { panic!("it is deleted") };
            set(c, NEW);
            assert_eq!(claim.store(OLD).unwrap(), Stored::Voided);
        },
        states: &[Some(OLD_LARGE), None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "make a namespace and invalidate it",
        options: || roomy().namespaces(1_000),
        before: small,
        work: |c, number| {
            let namespace = c
                .namespace(&format!("namespace {number}"), &NamespaceOptions::new().ttl(Duration::from_secs(60)))
                .unwrap();
            namespace.set(KEY, NEW).unwrap();
            namespace.invalidate(Invalidation::Hard).unwrap();
            assert!(namespace.get(KEY).is_none());
        },
        states: &[Some(OLD)],
        may_lose: false,
    },
    Case {
        name: "leave",
        options: roomy,
        before: small,
        work: |c, _| drop(roomy().open(c.path()).unwrap()),
        states: &[Some(OLD)],
        may_lose: false,
    },
];

/// Under `lease` a mark in the lock word shows that a waiter sleeps.
fn wait_until_others_wait(cache: &Cache) {
    let is_marked = || {
        let raw = Raw::load(cache.path());
        raw.word(raw.stripe(0)) >> 63 == 1
    };
    let end = Instant::now() + Duration::from_secs(20);
    while cache.stats().strategy == "lease" && !is_marked() && Instant::now() < end {
        std::thread::yield_now();
    }
}

fn while_others_wait(cache: &Cache, number: u64) {
    let holds = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (held, begun) = (cache.clone(), holds.clone());
        scope.spawn(|| {
            while !holds.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            cache.set(format!("of another {number}"), OLD).unwrap();
        });
        // At the first store of a write, its stripe is locked.
        crash::watch(move |event| {
            if matches!(event, Event::Store(Step::IntentFields)) && !begun.swap(true, Ordering::SeqCst) {
                wait_until_others_wait(&held);
            }
        });
        assert!(cache.replace(KEY, NEW_LARGE, &SetOptions::new()).unwrap());
        crash::unwatch();
    });
}

pub fn set(cache: &Cache, value: &[u8]) {
    cache.set(KEY, value).unwrap();
}

fn absent(cache: &Cache) {
    cache.delete(KEY).unwrap();
}

fn small(cache: &Cache) {
    set(cache, OLD);
}

fn large(cache: &Cache) {
    set(cache, OLD_LARGE);
}

/// Space for everything that is written here: no key is ever evicted.
pub fn roomy() -> Options {
    Options::new().capacity(1 << 20).stripes(1).mean_item(128).seed(1).seats(SEATS)
}

/// Full after a few hundred keys.
pub fn tight() -> Options {
    Options::new().capacity(32 << 10).stripes(1).mean_item(64).seed(2).seats(SEATS)
}

/// The positions of its rings soon run out, which empties stripes.
pub fn ending() -> Options {
    tight().near_last_position(true)
}

/// Keys that no operation touches, small and large, with values that identify them.
pub fn bystanders() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..30).map(|i| (format!("bystander {i}"), format!("of bystander {i};").repeat(1 + i * 3).into_bytes()))
}

pub fn put_bystanders(cache: &Cache) {
    bystanders().for_each(|(key, value)| cache.set(key, value).unwrap());
}

/// The invariants after any kill: see the head of this program. Returns the time that the first read and the first
/// write took.
fn check(case: &Case, cache: &Cache, told: &str) -> Duration {
    let stats = cache.stripe_stats();
    let left = stats.iter().filter(|stripe| stripe.intent.is_some()).count() as u64;
    let repairs = cache.stats().counters.repairs;
    let (found, reading) = in_time(told, || cache.get(KEY));
    case.check_state(found.as_deref(), told);
    case.check_bystanders(cache, found.as_deref(), told);
    let (_, writing) = in_time(told, || cache.set("the next write", "goes through").unwrap());
    case.check_order(found.as_deref(), cache.get(KEY).as_deref(), told);
    cache.set(KEY, "and so on").unwrap();
    assert_eq!(cache.get(KEY).as_deref(), Some(&b"and so on"[..]), "{told}");
    // Others can get every claim of the dead process.
    let lock = cache.lock(KEY, Wait::For(Duration::from_secs(20))).unwrap();
    let verification = cache.verify();
    assert!(lock.release(), "{told}");
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    assert_eq!(cache.stats().counters.repairs, repairs + left, "{told}: an intent is repaired once");
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()));
    case.put_back_bystanders(cache);
    reading + writing
}

impl Case {
    /// Checks that all other keys are unchanged. `found` is the value of [`KEY`].
    pub fn check_bystanders(&self, cache: &Cache, found: Option<&[u8]>, told: &str) {
        let lost: Vec<_> = bystanders().filter(|(key, value)| cache.get(key).as_ref() != Some(value)).collect();
        if self.name == "clear" {
            // Either all keys are lost, or none.
            assert!(if found.is_none() { lost.len() == 30 } else { lost.is_empty() }, "{told}: {}", lost.len());
        } else if self.name.starts_with("set what was cleared") {
            assert_eq!(lost.len(), 30, "{told}: cleared values came back");
        } else {
            assert!(lost.is_empty(), "{told}: lost {:?}", lost.iter().map(|(key, _)| key).collect::<Vec<_>>());
        }
    }

    /// Restores the keys for the next checks.
    pub fn put_back_bystanders(&self, cache: &Cache) {
        if self.name == "clear" {
            put_bystanders(cache);
        }
    }

    fn check_state(&self, found: Option<&[u8]>, told: &str) {
        let is_state = self.states.contains(&found) || (self.may_lose && found.is_none());
        assert!(is_state, "{told}: found {:?}", found.map(String::from_utf8_lossy));
    }

    /// Once a reader has seen the later state, or that the key is lost, no reader sees the earlier state.
    fn check_order(&self, first: Option<&[u8]>, then: Option<&[u8]>, told: &str) {
        self.check_state(then, told);
        let age = |found| self.states.iter().position(|state| *state == found).unwrap_or(self.states.len());
        let shown = |found: Option<&[u8]>| found.map(|found| String::from_utf8_lossy(found).into_owned());
        assert!(age(then) >= age(first), "{told}: went back from {:?} to {:?}", shown(first), shown(then));
    }
}

/// A death and its consequences.
struct Death {
    reached: Reached,
    /// How long the survivor took to go on.
    took: Duration,
    /// Whether the process that repaired was killed, too.
    was_second: bool,
}

/// Kills a child at every step of a case; if that leaves something to repair, kills the process that repairs it, too.
fn kill_everywhere(case: &'static Case, locks: &'static LockStrategy) -> Vec<Death> {
    let place = Place::in_memory();
    let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    let mut deaths = Vec::new();
    let mut number = 0;
    for &step in Step::ALL {
        for &nth in PASSINGS {
            let mut kill = || {
                (case.before)(&cache);
                number += 1;
                dies("case", &place.path(), case.name, Some(step), nth, number)
            };
            let killed = kill();
            let told = format!("{} under {locks} killed at {} {nth}: {killed}", case.name, step.name());
            let leaves_intent = cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some());
            let took = check(case, &cache, &told);
            if !killed {
                break;
            }
            // At another store of the repair each time.
            let was_second = leaves_intent && kill() && kill_one_repair(case, &cache, &told, deaths.len() as u64);
            deaths.push(Death { reached: Reached { operation: case.name, locks, step }, took, was_second });
        }
    }
    assert!(cache.stats().members <= SEATS);
    deaths
}

#[test]
fn a_kill_at_any_step_of_an_operation_is_repaired() {
    let deaths = in_parallel(&by_strategy(CASES), |(case, locks)| kill_everywhere(case, locks));
    let reached: Vec<_> = deaths.iter().map(|death| death.reached).collect();
    let operations: Vec<_> = CASES.iter().map(|case| case.name).collect();
    table::compare(&operations, &reached);
    for (locks, promised) in STRATEGIES.iter().zip(PROMISED) {
        let here: Vec<_> = deaths.iter().filter(|death| death.reached.locks.name() == locks.name()).collect();
        let mut waits: Vec<_> = here.iter().map(|death| death.took).collect();
        waits.sort();
        let (half, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!(
            "the next read and write after {} deaths under {locks}: half within {half:?}, all within {longest:?}",
            waits.len()
        );
        assert!(half <= promised, "under {locks}: {half:?}, not within {promised:?}");
        let seconds = here.iter().filter(|death| death.was_second).count();
        println!("after {seconds} of them the repair was killed, too");
        assert!(seconds > here.len() / 4, "{seconds} second deaths prove too little");
    }
}

#[test]
fn the_keys_of_a_bucket_that_a_killed_writer_left_are_listed() {
    let place = Place::in_memory();
    let cache = roomy().create(place.path()).unwrap();
    put_bystanders(&cache);
    small(&cache);
    assert!(dies("case", &place.path(), "overwrite large", Some(Step::Slot), 0, 0));
    // The scan comes first: no read or write has touched the bucket.
    let listed: BTreeSet<_> = cache.keys().collect();
    let expected: BTreeSet<_> =
        bystanders().map(|(key, _)| key).chain([KEY.to_owned()]).map(String::into_bytes).collect();
    let missed: Vec<_> = BTreeSet::difference(&expected, &listed).map(|key| String::from_utf8_lossy(key)).collect();
    assert!(missed.is_empty() && listed.len() == 31, "{missed:?}");
}
