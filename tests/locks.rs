//! A cache while a stripe's lock is held for long, and when its holder is stopped in the middle of a write.
//! `crates/conformance/tests` checks whether each lock strategy keeps its contract.

mod common;

use common::Place;
use kennel::{Cache, Error, Options};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_millis(300);

fn options(strategy: &str) -> Options {
    Options::new().capacity(256 << 10).stripes(4).locks(strategy.parse().unwrap()).lock_wait(WAIT)
}

/// A key in every stripe; the counters that a write raises show its stripe.
fn a_key_per_stripe(cache: &Cache) -> Vec<String> {
    let mut keys = vec![None; cache.stats().stripes as usize];
    for i in 0.. {
        let key = format!("key {i}");
        let before: Vec<_> = cache.stripe_stats().iter().map(|stripe| stripe.counters.sets).collect();
        cache.set(&key, "whole").unwrap();
        let grown = cache.stripe_stats().iter().position(|now| now.counters.sets > before[now.stripe as usize]);
        keys[grown.unwrap()].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            return keys.into_iter().flatten().collect();
        }
    }
    unreachable!()
}

#[test]
fn while_a_region_is_held_only_writes_to_its_stripes_are_busy() {
    let place = Place::new();
    let cache = options("file").lock_regions(2).create(place.path()).unwrap();
    let other = options("file").open(place.path()).unwrap();
    let keys = a_key_per_stripe(&cache);
    let worked = cache.while_locked(1, || {
        for (stripe, key) in keys.iter().enumerate() {
            let is_held = stripe % 2 == 1;
            for handle in [&cache, &other] {
                let start = Instant::now();
                match handle.set(key, "whole") {
                    Err(Error::Busy { stripe: busy, waited }) => {
                        assert!(is_held && busy as usize == stripe && waited == WAIT && start.elapsed() >= WAIT);
                    }
                    set => assert!(set.is_ok() && !is_held, "stripe {stripe}: {set:?}"),
                }
                assert_eq!(handle.get(key).as_deref(), Some(&b"whole"[..]), "reads take no lock");
            }
        }
        "done"
    });
    assert_eq!(worked.unwrap(), "done");
    keys.iter().for_each(|key| other.set(key, "more").unwrap());
    let busy = other.while_locked(0, || cache.with_lock_wait(Duration::ZERO).while_locked(0, || ()));
    assert!(matches!(busy, Ok(Err(Error::Busy { stripe: 0, waited: Duration::ZERO }))), "{busy:?}");
}

#[test]
fn a_panic_gives_the_region_back() {
    let place = Place::new();
    let cache = options("lease").create(place.path()).unwrap();
    let work = || cache.while_locked(0, || -> () { std::panic::resume_unwind(Box::new("of the test")) });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    cache.while_locked(0, || ()).unwrap();
}

#[test]
fn a_region_that_cannot_be_held_is_refused() {
    let place = Place::new();
    let cache = options("file").lock_regions(2).create(place.path()).unwrap();
    let error = cache.while_locked(2, || panic!("it ran")).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "lock_region", .. }), "{error:?}");
    assert!(error.to_string().contains("2 lock regions"), "{error}");
    let reader = Options::new().open_read_only(place.path()).unwrap();
    assert!(matches!(reader.while_locked(0, || panic!("it ran")), Err(Error::ReadOnly(_))));
}

#[test]
#[cfg(feature = "crash-points")]
fn child() {
    common::children::serve(stopped::child);
}

/// A process or a thread is stopped while it holds a stripe's lock with a bucket half written. It is not dead, so no
/// other process takes over the lock. Writers of that stripe get `Busy`, readers of that bucket a miss, and everything
/// else works; once the process is killed, all of it does.
#[cfg(feature = "crash-points")]
mod stopped {
    use super::common::children::{self, PATIENCE, Process, arg, say};
    use super::*;
    use kennel::crash::{Plan, Step, arm};
    use std::path::Path;

    /// Generous, for a busy machine. Without the option, the default limit is 5 s, and a hang takes longer than any
    /// limit.
    const SOON: Duration = Duration::from_secs(4);

    pub(super) fn child(task: &str, args: &[&str]) {
        assert_eq!(task, "stop");
        let cache = options(args[1]).open(args[0]).unwrap();
        arm(Some(Step::BucketEven), 0, Plan::Stop);
        say("stopping");
        cache.set(args[2], "half").unwrap();
    }

    /// Waits until the stopped process has recorded its intent and opened its bucket; `reader` only reads.
    fn wait_until_stopped(reader: &Cache, key: &str) {
        let start = Instant::now();
        while reader.stripe_stats().iter().all(|stripe| stripe.intent.is_none()) || reader.get(key).is_some() {
            assert!(start.elapsed() < PATIENCE, "no process writes {key}");
            std::thread::yield_now();
        }
    }

    fn expect_busy(cache: &Cache, key: &str) {
        let start = Instant::now();
        match cache.set(key, "mine") {
            Err(Error::Busy { waited, .. }) => assert_eq!(waited, WAIT),
            other => panic!("expected Busy, found {other:?}"),
        }
        let took = start.elapsed();
        assert!(took >= WAIT && took < WAIT + SOON, "{took:?}");
    }

    /// Checks what a living member sees while the owner of one stripe's lock is stopped. `one_lock`: one lock protects
    /// all stripes.
    fn look_around(cache: &Cache, keys: &[String], one_lock: bool) {
        let (stuck, others) = keys.split_first().unwrap();
        let before = cache.stats().counters;
        expect_busy(cache, stuck);
        for read in 1..=3 {
            let start = Instant::now();
            assert_eq!(cache.get(stuck), None);
            assert!(start.elapsed() < WAIT + SOON);
            assert_eq!(cache.stats().counters.bounded_misses, before.bounded_misses + read);
        }
        assert_eq!(cache.stats().counters.busy, before.busy + 1);
        for key in others {
            if one_lock {
                expect_busy(cache, key);
            } else {
                assert_eq!(cache.get(key).as_deref(), Some(&b"whole"[..]));
                cache.set(key, "more").unwrap();
                assert_eq!(cache.get(key).as_deref(), Some(&b"more"[..]));
            }
        }
    }

    /// After the owner's death, the next process to lock repairs, and everything works.
    fn all_goes_on(cache: &Cache, keys: &[String]) {
        let repairs = cache.stats().counters.repairs;
        let start = Instant::now();
        // Only the half-written entry may be lost; under a single lock the write may not have begun.
        let stuck = cache.get(&keys[0]);
        assert!([None, Some(&b"half"[..]), Some(b"whole")].contains(&stuck.as_deref()), "{stuck:?}");
        for key in keys {
            cache.set(key, "after").unwrap();
            assert_eq!(cache.get(key).as_deref(), Some(&b"after"[..]));
        }
        assert!(start.elapsed() < SOON);
        assert_eq!(cache.stats().counters.repairs, repairs + 1);
        let verification = cache.verify();
        assert!(verification.is_ok() && verification.unchecked.is_empty(), "{verification:?}");
    }

    fn stop_a_process(strategy: &str, path: &Path, key: &str) -> Process {
        let mut process = children::start("stop", &[arg(path), strategy, key]);
        process.expect("stopping");
        process
    }

    fn a_stopped_process(strategy: &str) {
        let place = Place::new();
        let cache = options(strategy).create(place.path()).unwrap();
        let keys = a_key_per_stripe(&cache);
        let mut process = stop_a_process(strategy, &place.path(), &keys[0]);
        wait_until_stopped(&cache, &keys[0]);
        // Once more, stopped from outside, like by a shell's Ctrl-Z or a debugger.
        #[cfg(unix)]
        process.signal(rustix::process::Signal::STOP);
        look_around(&cache, &keys, strategy == "rw-file");
        process.kill();
        all_goes_on(&cache, &keys);
    }

    #[test]
    fn a_stopped_process_under_file_locks_stops_nobody_else() {
        a_stopped_process("file");
    }

    #[test]
    fn a_stopped_process_under_leases_stops_nobody_else() {
        a_stopped_process("lease");
    }

    #[test]
    fn a_stopped_process_under_one_lock_file_stops_nobody_for_ever() {
        a_stopped_process("rw-file");
    }

    /// A thread of this process is stopped, like by a debugger. It cannot be killed alone, so its stripe stays blocked,
    /// but nothing hangs.
    fn a_stopped_thread(strategy: &str) {
        let place = Place::new();
        let cache = options(strategy).create(place.path()).unwrap();
        let keys = a_key_per_stripe(&cache);
        let (stopped, key) = (cache.clone(), keys[0].clone());
        // This thread is never joined: it ends with the process.
        std::thread::spawn(move || {
            arm(Some(Step::BucketEven), 0, Plan::Stop);
            stopped.set(key, "half").unwrap();
        });
        wait_until_stopped(&cache, &keys[0]);
        look_around(&cache, &keys, strategy == "rw-file");
        let verification = cache.verify();
        assert!(verification.is_ok(), "{verification:?}");
        assert_eq!(verification.unchecked, [0]);
    }

    #[test]
    fn a_stopped_thread_under_file_locks_stops_nobody_else() {
        a_stopped_thread("file");
    }

    #[test]
    fn a_stopped_thread_under_leases_stops_nobody_else() {
        a_stopped_thread("lease");
    }

    #[test]
    fn a_stopped_thread_under_process_locks_stops_nobody_else() {
        a_stopped_thread("process");
    }

    /// Under `none` the only writer is stopped; readers of its bucket miss, the others hit.
    #[test]
    fn a_stopped_writer_without_locks_stops_no_reader() {
        let place = Place::new();
        let cache = options("none").create(place.path()).unwrap();
        let keys = a_key_per_stripe(&cache);
        let mut process = stop_a_process("none", &place.path(), &keys[0]);
        let reader = options("none").open_read_only(place.path()).unwrap();
        wait_until_stopped(&reader, &keys[0]);
        // Reads are free, even with a handle that could write. No reader takes over from the living writer.
        for reader in [&reader, &cache] {
            assert_eq!(reader.get(&keys[0]), None);
            for key in &keys[1..] {
                assert_eq!(reader.get(key).as_deref(), Some(&b"whole"[..]));
            }
            assert!(reader.verify().is_ok());
        }
        assert!(reader.stripe_stats().iter().any(|stripe| stripe.intent.is_some()), "a reader repaired");
        assert_eq!(reader.stats().counters.repairs, 0);
        process.kill();
        drop(cache);
        let next = options("none").open(place.path()).unwrap();
        next.set(&keys[0], "after").unwrap();
        assert_eq!(reader.get(&keys[0]).as_deref(), Some(&b"after"[..]));
        assert!(next.verify().is_ok());
    }
}
