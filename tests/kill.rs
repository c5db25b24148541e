//! A process that is killed at any store to the file leaves it such that all others go on.
//!
//! Every store of the engine has a name ([`Step`]). For each operation in [`CASES`] and each step, a child is
//! killed when it is about to do that step, for the first time and at later times; then another member, which
//! was there all the time, looks: no other key is lost or changed, the touched one has its old or its new value,
//! the next write goes through, and `verify` finds nothing. The files have six seats, so all this works only if
//! the seats of the dead are taken again.
#![cfg(feature = "crash-points")]

mod common;

use common::Place;
use common::children::{self, arg, say};
use kennel::crash::{Plan, Step, arm};
use kennel::{AfterCrash, Cache, Expiry, LockStrategy, OnMismatch, Options, SetOptions, Swap};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SEATS: u32 = 6;
/// Every test of a kill runs for each of these.
const STRATEGIES: [LockStrategy; 2] = [LockStrategy::File, LockStrategy::Lease];
/// At which passing of a step the child dies; the later ones only where the earlier ones were reached.
const PASSINGS: [u64; 5] = [0, 1, 3, 10, 40];

/// An operation that a child is killed in.
struct Case {
    name: &'static str,
    options: fn() -> Options,
    /// The survivor makes the state before.
    before: fn(&Cache),
    /// What the child does; the number differs each time.
    work: fn(&Cache, u64),
    /// What the survivor may then find, as values of [`KEY`].
    allowed: &'static [Option<&'static [u8]>],
}

const KEY: &str = "the key";
const OLD: &[u8] = b"the old value, a small one";
const NEW: &[u8] = b"the new value, a small one";
/// Too large to be written in place.
const OLD_LARGE: &[u8] = &[b'o'; 700];
const NEW_LARGE: &[u8] = &[b'n'; 900];

const CASES: &[Case] = &[
    Case {
        name: "set a new key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW),
        allowed: &[None, Some(NEW)],
    },
    Case {
        name: "set a new large key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW_LARGE),
        allowed: &[None, Some(NEW_LARGE)],
    },
    Case {
        name: "overwrite in place",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW),
        allowed: &[None, Some(OLD), Some(NEW)],
    },
    // Never missing: the old record stays until the new one is linked.
    Case {
        name: "overwrite large",
        options: roomy,
        before: large,
        work: |c, _| set(c, NEW_LARGE),
        allowed: &[Some(OLD_LARGE), Some(NEW_LARGE)],
    },
    Case {
        name: "overwrite small by large",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW_LARGE),
        allowed: &[Some(OLD), Some(NEW_LARGE)],
    },
    Case {
        name: "delete",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.delete(KEY).unwrap()),
        allowed: &[None, Some(OLD)],
    },
    Case {
        name: "incr",
        options: roomy,
        before: |c| c.set(KEY, "41").unwrap(),
        work: |c, _| assert_eq!(c.incr(KEY, 1).unwrap(), Some(42)),
        allowed: &[None, Some(b"41"), Some(b"42")],
    },
    Case {
        name: "touch",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.touch(KEY, Expiry::After(Duration::from_secs(3600))).unwrap()),
        allowed: &[Some(OLD)],
    },
    Case {
        name: "add",
        options: roomy,
        before: absent,
        work: |c, _| assert!(c.add(KEY, NEW, &SetOptions::new().flags(7)).unwrap()),
        allowed: &[None, Some(NEW)],
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
        allowed: &[Some(OLD_LARGE), Some(NEW_LARGE)],
    },
    Case {
        name: "get",
        options: roomy,
        // A new one, without access marks.
        before: |c| {
            absent(c);
            set(c, NEW_LARGE);
        },
        work: |c, _| assert!(c.get(KEY).is_some()),
        allowed: &[Some(NEW_LARGE)],
    },
    // The flush mark says that the file is durable; a writer takes that back first.
    Case {
        name: "flush and overwrite",
        options: roomy,
        before: large,
        work: |c, _| {
            assert!(c.flush().unwrap());
            set(c, NEW_LARGE);
        },
        allowed: &[Some(OLD_LARGE), Some(NEW_LARGE)],
    },
    Case { name: "clear", options: roomy, before: small, work: |c, _| c.clear().unwrap(), allowed: &[None, Some(OLD)] },
    Case {
        name: "set what was cleared",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW),
        allowed: &[None, Some(NEW)],
    },
    Case {
        name: "set what was cleared, large",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD_LARGE).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW_LARGE),
        allowed: &[None, Some(NEW_LARGE)],
    },
    Case {
        name: "leave",
        options: roomy,
        before: small,
        work: |c, _| drop(roomy().open(c.path()).unwrap()),
        allowed: &[Some(OLD)],
    },
];

fn set(cache: &Cache, value: &[u8]) {
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

/// Room for everything that is written here: no key is ever evicted.
fn roomy() -> Options {
    Options::new().capacity(1 << 20).stripes(1).mean_item(128).seed(1).seats(SEATS)
}

/// Full after a few hundred keys.
fn tight() -> Options {
    Options::new().capacity(32 << 10).stripes(1).mean_item(64).seed(2).seats(SEATS)
}

/// Emptied when its positions run out, soon.
fn ending() -> Options {
    tight().near_last_position(true)
}

#[test]
fn child() {
    children::serve(|task, args| {
        let (step, nth): (Option<Step>, u64) = (step_named(args[2]), args[3].parse().unwrap());
        let armed = || {
            say("armed");
            arm(step, nth, Plan::Kill);
        };
        let path = Path::new(args[0]);
        match task {
            "case" => {
                let case = CASES.iter().chain([&FULL, &ENDING]).find(|case| case.name == args[1]).unwrap();
                let cache = (case.options)().open(path).unwrap();
                armed();
                (case.work)(&cache, args[4].parse().unwrap());
            }
            "repair" => {
                let cache = roomy().open(path).unwrap();
                armed();
                assert!(cache.verify().is_ok());
            }
            task => {
                let open = OPENINGS.iter().find(|opening| opening.name == task).unwrap().open;
                armed();
                let cache = open(path);
                cache.set("after the opening", "x").unwrap();
            }
        }
        kennel::crash::passed();
        say("passed");
    });
}

fn step_named(name: &str) -> Option<Step> {
    Step::ALL.iter().copied().find(|step| step.name() == name)
}

/// Runs a child that dies at a step, if it gets there: whether it did.
fn dies(task: &str, path: &Path, name: &str, step: Option<Step>, nth: u64, number: u64) -> bool {
    let (step, nth, number) = (step.map_or("any", Step::name), nth.to_string(), number.to_string());
    let mut process = children::start(task, &[arg(path), name, step, &nth, &number]);
    let said = process.hear_all();
    let status = process.wait_with_input();
    assert_eq!(said.first().map(String::as_str), Some("armed"), "{name}: {status}");
    let passed = said.len() == 2;
    if passed {
        assert!(status.success(), "{name}: {status}");
    } else {
        #[cfg(unix)]
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{name} at {step} {nth}: {status}");
        #[cfg(windows)]
        assert_eq!(status.code(), Some(1), "{name} at {step} {nth}: ended by `TerminateProcess`, and by no panic");
    }
    !passed
}

/// Keys that no operation touches, with values that say whose they are, small and large.
fn bystanders() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..30).map(|i| (format!("bystander {i}"), format!("of bystander {i};").repeat(1 + i * 3).into_bytes()))
}

fn put_bystanders(cache: &Cache) {
    bystanders().for_each(|(key, value)| cache.set(key, value).unwrap());
}

/// What must hold whoever was killed: see the head of this file.
fn check(case: &Case, cache: &Cache, told: &str) {
    let stats = cache.stripe_stats();
    let left = stats.iter().filter(|stripe| stripe.intent.is_some()).count() as u64;
    let repairs = cache.stats().counters.repairs;
    let found = cache.get(KEY);
    assert!(case.allowed.contains(&found.as_deref()), "{told}: found {:?}", found.map(String::from_utf8));
    let lost: Vec<_> = bystanders().filter(|(key, value)| cache.get(key).as_ref() != Some(value)).collect();
    if case.name == "clear" {
        // All of it, or nothing; what follows needs them again.
        assert!(if found.is_none() { lost.len() == 30 } else { lost.is_empty() }, "{told}: {}", lost.len());
        put_bystanders(cache);
    } else if case.name.starts_with("set what was cleared") {
        assert_eq!(lost.len(), 30, "{told}: cleared values came back");
    } else {
        assert!(lost.is_empty(), "{told}: lost {:?}", lost.iter().map(|(key, _)| key).collect::<Vec<_>>());
    }
    cache.set(KEY, "and so on").unwrap();
    assert_eq!(cache.get(KEY).as_deref(), Some(&b"and so on"[..]), "{told}");
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    assert_eq!(cache.stats().counters.repairs, repairs + left, "{told}: an intent is repaired once");
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()));
}

/// Does something for every item, on two threads; what each of them returns, together.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Vec<R> + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = work(item);
                    results.lock().unwrap().extend(found);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// Kills a child at every step of a case; the steps that it came to.
fn kill_everywhere(case: &Case, locks: &LockStrategy) -> Vec<Step> {
    let place = Place::new();
    let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    let mut hit = Vec::new();
    let mut number = 0;
    for &step in Step::ALL {
        for nth in PASSINGS {
            (case.before)(&cache);
            number += 1;
            let killed = dies("case", &place.path(), case.name, Some(step), nth, number);
            check(case, &cache, &format!("{locks}: {} killed at {} {nth}: {killed}", case.name, step.name()));
            if !killed {
                break;
            }
            hit.push(step);
        }
    }
    assert!(cache.stats().members <= SEATS);
    hit
}

/// The steps that the other tests of this file do not come to, or that nothing does yet.
#[test]
fn a_kill_at_any_step_of_an_operation_is_repaired() {
    let hit: HashSet<_> = in_parallel(CASES, |case| kill_everywhere(case, &LockStrategy::File)).into_iter().collect();
    expect_hit(&hit, &[]);
}

#[test]
fn a_kill_at_any_step_of_an_operation_is_repaired_with_leases() {
    let hit: HashSet<_> = in_parallel(CASES, |case| kill_everywhere(case, &LockStrategy::Lease)).into_iter().collect();
    // Nobody waits here, so nobody is woken: that is in `tests/lease.rs`.
    expect_hit(&hit, &[Step::LockWord]);
}

fn expect_hit(hit: &HashSet<Step>, further: &[Step]) {
    let must = [
        Step::IntentFields,
        Step::IntentKind,
        Step::IntentClear,
        Step::Stamp,
        Step::RecordHeader,
        Step::RecordBody,
        Step::Head,
        Step::BucketOdd,
        Step::Slot,
        Step::BucketEven,
        Step::Dead,
        Step::InPlace,
        Step::Mark,
        Step::Expiry,
        Step::Live,
        Step::Counter,
        Step::Epoch,
        Step::FlushMark,
        Step::Seat,
    ];
    let missed: Vec<_> = must.iter().chain(further).filter(|step| !hit.contains(step)).collect();
    assert!(missed.is_empty(), "no child was killed at {missed:?}");
}

/// In a cache that is full keys leave without a kill, too.
const FULL: Case = Case { name: "set into a full cache", options: tight, before: |_| (), work: churn, allowed: &[] };

/// Positions run out on the way, and the stripe is emptied.
const ENDING: Case = Case {
    name: "set beyond the last position",
    options: ending,
    before: |_| (),
    work: |cache, number| (number..number + 20).for_each(|number| churn(cache, number)),
    allowed: &[],
};

/// Writes keys of its own that push others out, and reads some of the older ones, so that they are moved on.
fn churn(cache: &Cache, number: u64) {
    for i in 0..30 {
        let key = format!("churn {number} {i}");
        cache.set(&key, proof(&key)).unwrap();
        for older in (0..number).rev().take(3) {
            let _ = (cache.get(format!("churn {older} {i}")), cache.get(format!("churn {older} {i}")));
        }
    }
}

/// A value that says whose it is, in a length of its own.
fn proof(key: &str) -> Vec<u8> {
    let times = 1 + key.bytes().map(usize::from).sum::<usize>() % 9;
    key.repeat(times).into_bytes()
}

/// The keys that are there; each must have its own value.
fn proven_keys(cache: &Cache, told: &str) -> BTreeSet<Vec<u8>> {
    let present = cache.keys().filter(|key| {
        let Some(value) = cache.get(key) else { return false };
        assert_eq!(value, proof(std::str::from_utf8(key).unwrap()), "{told}: a foreign value");
        true
    });
    present.collect()
}

/// What must hold in a cache that keys leave.
fn check_full(cache: &Cache, told: &str) {
    proven_keys(cache, told);
    cache.set("churn", proof("churn")).unwrap();
    assert_eq!(cache.get("churn"), Some(proof("churn")), "{told}");
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()), "{told}");
}

#[test]
fn a_kill_while_room_is_made_loses_no_more_than_was_in_hand() {
    in_parallel(&STRATEGIES, kill_while_room_is_made);
}

fn kill_while_room_is_made(locks: &LockStrategy) -> Vec<()> {
    let place = Place::new();
    let cache = tight().locks(locks.clone()).create(place.path()).unwrap();
    // Numbers go on from child to child: the keys of the one before are what the next one pushes out.
    let mut number = 0;
    while cache.stats().counters.evictions() < 100 {
        churn(&cache, number);
        number += 1;
    }
    let mut hit = HashSet::new();
    for &step in Step::ALL {
        for nth in PASSINGS {
            number += 1;
            let told = format!("{locks}: killed at {} {nth}", step.name());
            let (before, counted) = (proven_keys(&cache, &told), cache.stats().counters);
            let killed = dies("case", &place.path(), FULL.name, Some(step), nth, number);
            // A reader after the kill sees what is left, without anybody's write in between.
            let after: BTreeSet<_> = before.iter().filter(|key| cache.contains(key)).cloned().collect();
            let now = cache.stats().counters;
            let (lost, left) = (before.difference(&after).count() as u64, now.evictions() - counted.evictions());
            // Lost is what left before the death and was counted, one that was not counted yet, and what
            // contract 3 allows: the record being written and the one being moved.
            assert!(lost <= left + 3, "{told}: {lost} lost, {left} evicted");
            assert_eq!(now.dropped, counted.dropped, "{told}");
            check_full(&cache, &told);
            if !killed {
                break;
            }
            hit.insert(step);
        }
    }
    let must = [
        Step::Tail,
        Step::Pad,
        Step::Head,
        Step::Dead,
        Step::Live,
        Step::RecordBody,
        Step::Slot,
        Step::IntentKind,
        Step::IntentClear,
    ];
    let missed: Vec<_> = must.iter().filter(|step| !hit.contains(step)).collect();
    assert!(missed.is_empty(), "no child was killed at {missed:?}");
    Vec::new()
}

#[test]
fn a_kill_while_a_stripe_is_emptied_at_its_last_position_is_repaired() {
    in_parallel(&STRATEGIES, kill_while_a_stripe_is_emptied);
}

fn kill_while_a_stripe_is_emptied(locks: &LockStrategy) -> Vec<()> {
    for nth in 0.. {
        let place = Place::new();
        let cache = ending().locks(locks.clone()).create(place.path()).unwrap();
        churn(&cache, 0);
        let killed = dies("case", &place.path(), ENDING.name, Some(Step::RingReset), nth, 1);
        check_full(&cache, &format!("{locks}: killed at ring-reset {nth}"));
        if !killed {
            // Four ends of two rings, and the stamps.
            assert!(nth >= 5, "{nth}");
            break;
        }
        assert_eq!(cache.stats().counters.repairs, 1);
    }
    Vec::new()
}

#[test]
fn the_keys_of_a_bucket_that_a_killed_writer_left_are_listed() {
    let place = Place::new();
    let cache = roomy().create(place.path()).unwrap();
    put_bystanders(&cache);
    small(&cache);
    assert!(dies("case", &place.path(), "overwrite large", Some(Step::Slot), 0, 0));
    // A scan comes first, no read or write has met the bucket.
    let listed: BTreeSet<_> = cache.keys().collect();
    let expected: BTreeSet<_> =
        bystanders().map(|(key, _)| key).chain([KEY.to_owned()]).map(String::into_bytes).collect();
    let missed: Vec<_> = BTreeSet::difference(&expected, &listed).map(|key| String::from_utf8_lossy(key)).collect();
    assert!(missed.is_empty() && listed.len() == 31, "{missed:?}");
}

/// Kills one child in an operation, the next one in each store of the repair in turn. `further`: one more in the
/// repair of that.
fn kill_the_repair(case: &Case, step: Step, further: bool, locks: LockStrategy) -> Vec<u64> {
    let place = Place::new();
    let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    for nth in 0.. {
        (case.before)(&cache);
        assert!(dies("case", &place.path(), case.name, Some(step), 0, 0), "{} at {}", case.name, step.name());
        assert!(cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some()));
        let told = format!("{locks}: {} killed at {}, its repair at {nth}", case.name, step.name());
        let killed = dies("repair", &place.path(), "repair", None, nth, 0);
        if further && killed && cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some()) {
            dies("repair", &place.path(), "repair", None, nth, 0);
        }
        check_after_repairs(case, &cache, &told, further);
        if !killed {
            return vec![nth];
        }
    }
    unreachable!()
}

/// As [`check`], but who repaired may have died before or after it counted that.
fn check_after_repairs(case: &Case, cache: &Cache, told: &str, may_be_empty: bool) {
    let found = cache.get(KEY);
    // The second of two repairs begins where the first one ended: with the old value, the new, or none.
    assert!(found.is_none() || case.allowed.contains(&found.as_deref()), "{told}: {found:?}");
    if !case.allowed.contains(&None) && !may_be_empty {
        assert!(found.is_some(), "{told}: lost");
    }
    let lost = bystanders().filter(|(key, value)| cache.get(key).as_ref() != Some(value)).count();
    assert!(lost == 0 || (may_be_empty && lost == 30), "{told}: {lost} others lost");
    set(cache, b"and so on");
    assert_eq!(cache.get(KEY).as_deref(), Some(&b"and so on"[..]), "{told}");
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    if lost > 0 {
        put_bystanders(cache);
    }
}

/// Where the first child dies: with its intent written down, and readers shut out or not.
const HALF_WAY: &[(&str, Step)] = &[
    ("set a new key", Step::Stamp),
    ("set a new key", Step::Live),
    ("overwrite large", Step::BucketOdd),
    ("overwrite large", Step::BucketEven),
    ("overwrite large", Step::Dead),
    ("delete", Step::Dead),
    ("delete", Step::Slot),
    ("overwrite in place", Step::BucketEven),
    ("overwrite in place", Step::IntentClear),
];

fn case_named(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

#[test]
fn a_kill_in_the_middle_of_a_repair_is_repaired() {
    let all: Vec<_> = STRATEGIES.iter().flat_map(|locks| HALF_WAY.iter().map(move |half| (half, locks))).collect();
    let kill = |&(&(name, step), locks): &(&(_, _), &LockStrategy)| {
        kill_the_repair(case_named(name), step, false, locks.clone())
    };
    let stores = in_parallel(&all, kill);
    // Attempts, slot, version twice, live, notes, the intent: less, and nothing was tried.
    assert!(stores.iter().all(|&stores| stores >= 9), "{stores:?}");
}

#[test]
fn a_stripe_whose_repair_is_killed_twice_may_be_emptied_and_goes_on() {
    let some = [HALF_WAY[1], HALF_WAY[3], HALF_WAY[6], HALF_WAY[7]];
    for locks in STRATEGIES {
        in_parallel(&some, |&(name, step)| kill_the_repair(case_named(name), step, true, locks.clone()));
    }
}

/// A way to a cache file that a child is killed on.
struct Opening {
    name: &'static str,
    open: fn(&Path) -> Cache,
    /// What the child finds.
    before: fn(&Path),
    /// What the next one to come that way finds of [`KEY`].
    allowed: &'static [Option<&'static [u8]>],
    /// Steps that it must come to.
    must: &'static [Step],
}

const BOOTS: [[u64; 2]; 2] = [[1, 1], [2, 2]];

fn booted(boot: usize) -> Options {
    roomy().boot_id(BOOTS[boot])
}

fn made_with(options: &Options, path: &Path) -> Cache {
    let cache = options.create(path).unwrap();
    put_bystanders(&cache);
    cache.set(KEY, OLD).unwrap();
    cache
}

const OPENINGS: &[Opening] = &[
    Opening {
        name: "create",
        open: |path| roomy().open_or_create(path).unwrap(),
        before: |_| (),
        allowed: &[None],
        must: &[Step::Header, Step::Seat],
    },
    Opening {
        name: "open",
        open: |path| roomy().open(path).unwrap(),
        before: |path| drop(made_with(&roomy(), path)),
        allowed: &[Some(OLD)],
        must: &[Step::Seat],
    },
    // After a crash of the host, nothing was flushed: the cache is empty.
    Opening {
        name: "open after a restart",
        open: |path| booted(1).open(path).unwrap(),
        before: |path| drop(made_with(&booted(0), path)),
        allowed: &[None],
        must: &[Step::Header, Step::Seat, Step::VerifyMe, Step::RingReset],
    },
    Opening {
        name: "open after a restart, to verify",
        open: |path| booted(1).open(path).unwrap(),
        before: |path| drop(made_with(&booted(0).after_crash(AfterCrash::Verify), path)),
        allowed: &[Some(OLD)],
        must: &[Step::Header, Step::Seat, Step::VerifyMe, Step::Slot],
    },
    // It was flushed: everything is there.
    Opening {
        name: "open after a restart, flushed",
        open: |path| booted(1).open(path).unwrap(),
        before: |path| assert!(made_with(&booted(0), path).flush().unwrap()),
        allowed: &[Some(OLD)],
        must: &[Step::Header, Step::Seat, Step::FlushMark],
    },
    Opening {
        name: "adopt a copy",
        open: |path| roomy().open(path).unwrap(),
        before: |path| {
            let original = path.with_extension("original");
            drop(made_with(&roomy().after_crash(AfterCrash::Verify), &original));
            std::fs::copy(&original, path).unwrap();
        },
        allowed: &[Some(OLD)],
        must: &[Step::Header, Step::Seat, Step::VerifyMe],
    },
    Opening {
        name: "recreate",
        open: |path| roomy().capacity(2 << 20).on_mismatch(OnMismatch::Recreate).open_or_create(path).unwrap(),
        before: |path| drop(made_with(&roomy(), path)),
        allowed: &[None],
        must: &[Step::Header, Step::Seat],
    },
];

fn kill_openers(opening: &Opening) -> Vec<()> {
    let mut hit = HashSet::new();
    for &step in Step::ALL {
        for nth in PASSINGS {
            let place = Place::new();
            (opening.before)(&place.path());
            let told = format!("{} killed at {} {nth}", opening.name, step.name());
            let killed = dies(opening.name, &place.path(), "", Some(step), nth, 0);
            check_opened(opening, &place, &told);
            if !killed {
                break;
            }
            hit.insert(step);
        }
    }
    let missed: Vec<_> = opening.must.iter().filter(|step| !hit.contains(step)).collect();
    assert!(missed.is_empty(), "{}: no child was killed at {missed:?}", opening.name);
    Vec::new()
}

fn check_opened(opening: &Opening, place: &Place, told: &str) {
    let cache = (opening.open)(&place.path());
    // Twice: unverified stripes are looked at more closely, and what a read finds a write must find, too.
    for _ in 0..2 {
        let found = cache.get(KEY);
        assert!(opening.allowed.contains(&found.as_deref()), "{told}: {found:?}");
        for (key, value) in bystanders() {
            let found = cache.get(&key);
            assert!(found.is_none() == opening.allowed.contains(&None), "{told}: {key}");
            assert!(found.is_none_or(|found| found == value), "{told}: {key}");
        }
        cache.set("and so on", NEW).unwrap();
        assert_eq!(cache.get("and so on").as_deref(), Some(NEW), "{told}");
    }
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    // Another one comes, too, and both are in one cache.
    let other = (opening.open)(&place.path());
    other.set("both", NEW).unwrap();
    assert_eq!(cache.get("both").as_deref(), Some(NEW), "{told}");
    assert_eq!(cache.stats().file_id, other.stats().file_id, "{told}");
}

#[test]
fn a_kill_while_a_file_is_made_or_opened_harms_nobody() {
    in_parallel(OPENINGS, kill_openers);
}

/// What a killed creator leaves is tidied away by the next one.
#[test]
fn killed_creators_leave_nothing_for_ever() {
    let place = Place::new();
    for nth in 0..4 {
        assert!(dies("create", &place.path(), "", Some(Step::Header), nth, 0));
        assert!(!place.path().exists(), "a half-made file has a name");
    }
    let _cache = roomy().create(place.path()).unwrap();
    assert_eq!(place.names(), ["cache", "cache.locks"]);
    assert_eq!(place.lock_directories().len(), 1);
}
