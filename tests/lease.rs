//! Strategy `lease`: a lock word whose owner dies, stops, or never existed; and the lease that shows whether an owner
//! lives, which only the member's life keeps locked.

mod common;

use common::children::{self, arg, say, wait_for_word};
use common::{Place, assert_sound};
use kennel::{Cache, Error, Options};
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_millis(300);
/// Generous, for a busy machine: the engine promises 100 ms.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn child() {
    children::serve(|task, args| match task {
        "open" => open_and_say(args[0]),
        "own names" => own_names(args[0]),
        #[cfg(target_os = "linux")]
        "close descriptors" => on_linux::close_descriptors(args[0]),
        #[cfg(target_os = "linux")]
        "on an overlay" => on_linux::on_an_overlay(args[0]),
        #[cfg(feature = "crash-points")]
        _ => killed::child(task, args),
        #[cfg(not(feature = "crash-points"))]
        _ => panic!("no task {task}"),
    });
}

/// One stripe: every key has the same lock.
fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(1).mean_item(64).seats(3).locks("lease".parse().unwrap()).lock_wait(WAIT)
}

fn open_and_say(path: &str) {
    match Options::new().open(path) {
        Ok(cache) => {
            cache.set("opened", "here").unwrap();
            say("served");
            wait_for_word();
        }
        Err(error) => say(error),
    }
}

/// Offset of the first stripe's lock word.
fn lock_word_at(cache: &Cache) -> u64 {
    let raw = common::raw::Raw::load(cache.path());
    raw.stripe(0) as u64
}

fn poke(path: &Path, at: u64, word: u64) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&word.to_le_bytes()).unwrap();
}

fn peek(path: &Path, at: u64) -> u64 {
    let mut word = [0; 8];
    let mut file = OpenOptions::new().read(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut word).unwrap();
    u64::from_le_bytes(word)
}

/// Generation of a seat.
fn generation(path: &Path, seat: u64) -> u64 {
    peek(path, 4096 + seat * 1280)
}

/// A lock word in the layout of the format; threads count from 1.
fn name(seat: u64, generation: u64, thread: u64) -> u64 {
    thread << 52 | seat << 32 | generation & 0xffff_ffff
}

const WAITERS: u64 = 1 << 63;

/// With this word planted, a write soon succeeds.
fn goes_through(cache: &Cache, word: u64) {
    let at = lock_word_at(cache);
    for word in [word, word | WAITERS] {
        poke(cache.path(), at, word);
        let start = Instant::now();
        cache.set("key", "value").unwrap_or_else(|error| panic!("{word:#x}: {error}"));
        assert!(start.elapsed() < SOON, "{word:#x}: {:?}", start.elapsed());
        assert_eq!(peek(cache.path(), at), 0);
    }
}

/// With this word planted, a write ends in `Busy` at its limit, and a read is not affected.
fn is_busy(cache: &Cache, word: u64) {
    let at = lock_word_at(cache);
    poke(cache.path(), at, word);
    let start = Instant::now();
    let set = cache.set("key", "value");
    assert!(matches!(set, Err(Error::Busy { .. })), "{word:#x}: {set:?}");
    assert!((WAIT..WAIT + SOON).contains(&start.elapsed()), "{word:#x}: {:?}", start.elapsed());
    assert!(cache.get("key").is_some());
}

#[test]
fn a_word_that_names_nobody_is_taken_over() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let mine = generation(cache.path(), 0);
    for thread in [0, 1, 2047] {
        // A seat that does not exist; a seat of the file that was never used; this member's seat, held by an earlier or
        // a later member.
        for (seat, generation) in [(3, 1), (0xf_ffff, mine), (2, 0), (2, 7), (0, mine - 1), (0, mine + 1)] {
            goes_through(&cache, name(seat, generation, thread));
        }
        goes_through(&cache, u64::MAX);
    }
    // This member's name, but no thread.
    goes_through(&cache, name(0, mine, 0));
    assert_sound(&cache);
}

/// Runs in a process in which only this thread uses the cache.
fn own_names(path: &str) {
    let cache = options().open(path).unwrap();
    let seat = (0..3).rev().find(|&seat| generation(cache.path(), seat) != 0).unwrap();
    let mine = generation(cache.path(), seat);
    // Each number: this thread's, which holds nothing or it would not ask, and numbers of no thread.
    for thread in (1..12).chain([64, 65, 2046]) {
        goes_through(&cache, name(seat, mine, thread));
    }
    // The number that further threads share says nothing about any of them.
    is_busy(&cache, name(seat, mine, 2047));
    // For other processes, the end of this one is sufficient.
    say("done");
}

#[test]
fn a_word_that_names_a_process_which_holds_nothing_is_taken_over_by_that_process() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let mut process = children::start("own names", &[arg(&place.path())]);
    process.expect("done");
    process.finish();
    cache.set("key", "mine").unwrap();
    assert_sound(&cache);
}

#[test]
fn a_word_that_names_a_living_member_is_busy_until_that_one_writes() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let other = options().open(place.path()).unwrap();
    // A number that no thread of this test program reaches.
    let word = name(1, generation(cache.path(), 1), 2000);
    is_busy(&cache, word);
    is_busy(&cache, word | WAITERS);
    other.set("key", "other").unwrap();
    cache.set("key", "mine").unwrap();
    assert_eq!(other.get("key").as_deref(), Some(&b"mine"[..]));
    // The member left in good order, and its seat is free.
    is_busy(&cache, word);
    drop(other);
    goes_through(&cache, word);
    assert_sound(&cache);
}

#[test]
fn a_lease_that_is_lost_proves_nothing() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let other = options().open(place.path()).unwrap();
    let lease = place.dir().join("cache.locks").join(cache.stats().file_id).join("000001.lease");
    let (word, at) = (name(1, generation(cache.path(), 1), 1), lock_word_at(&cache));
    let expect_lost = |detail: &str| {
        poke(cache.path(), at, word);
        match cache.set("key", "mine") {
            Err(error @ Error::LocksLost { .. }) => assert!(error.to_string().contains(detail), "{error}"),
            other => panic!("expected LocksLost, found {other:?}"),
        }
        assert_eq!(peek(cache.path(), at) & !WAITERS, word, "it was taken over");
    };
    // Kept under another name, so that no new file gets its inode number.
    std::fs::rename(&lease, place.dir().join("aside")).unwrap();
    expect_lost("found none");
    assert!(!lease.exists(), "a prober made a lease");
    std::fs::write(&lease, "").unwrap();
    expect_lost("expected inode");
    // No lock is in the way: the lock word itself is in the file, so there is no second one.
    poke(cache.path(), at, 0);
    cache.set("key", "mine").unwrap();
    other.set("key", "other").unwrap();
    std::fs::rename(place.dir().join("aside"), &lease).unwrap();
    is_busy(&cache, word);
}

#[test]
fn a_restart_of_the_host_and_a_copy_free_all_locks() {
    let place = Place::new();
    let (boot, next) = ([1, 1], [2, 2]);
    let cache = options().boot_id(boot).create(place.path()).unwrap();
    let (at, word) = (lock_word_at(&cache), name(0, generation(cache.path(), 0), 5) | WAITERS);
    drop(cache);
    for word_at in [at, at + 8] {
        poke(&place.path(), word_at, word);
    }
    let copy = place.dir().join("copy");
    std::fs::copy(place.path(), &copy).unwrap();
    for (path, boot) in [(copy, boot), (place.path(), next)] {
        let cache = options().boot_id(boot).open(&path).unwrap();
        assert_eq!((peek(&path, at), peek(&path, at + 8)), (0, 0));
        cache.set("key", "value").unwrap();
    }
}

/// Tests that need Linux: its mappings hold leases, it can forbid system calls, and it has namespaces and overlays.
#[cfg(target_os = "linux")]
mod on_linux {
    use super::*;
    use common::TestClock;
    use common::fork::{self, Forked};
    use std::process::Command;

    /// Like daemons at their start. The closed descriptors include the data file, its locks and its lease.
    pub(super) fn close_descriptors(path: &str) {
        let cache = Options::new().open(path).unwrap();
        cache.set("before", "here").unwrap();
        fork::close_all_above_two();
        cache.set("after", "here").unwrap();
        for key in ["before", "after"] {
            assert_eq!(cache.get(key).as_deref(), Some(&b"here"[..]));
        }
        say("closed");
        wait_for_word();
    }

    #[test]
    fn a_member_that_closes_all_descriptors_is_alive_all_the_same() {
        for strategy in ["lease", "file"] {
            let place = Place::new();
            let path = place.path();
            let cache = options().seats(2).locks(strategy.parse().unwrap()).create(&path).unwrap();
            let mut careless = children::start("close descriptors", &[arg(&path)]);
            careless.expect("closed");
            // Two seats, two members: if another process could lock the lease, its seat would be reused.
            let mut third = children::start("open", &[arg(&path)]);
            assert!(third.hear().unwrap().contains("all 2 seats"), "{strategy}");
            cache.set("key", "value").unwrap();
            careless.kill();
            let mut fourth = children::start("open", &[arg(&path)]);
            fourth.expect("served");
            fourth.finish();
            assert_sound(&cache);
        }
    }

    /// Acquiring and releasing an uncontended lock makes no system call, and neither does a write or a read around it.
    #[test]
    fn nothing_asks_the_kernel_while_nobody_waits() {
        let place = Place::new();
        let options = options().clock(TestClock::at(1_000_000));
        let cache = options.create(place.path()).unwrap();
        let child = Forked::start(|| {
            // The first call joins, and touches all that it needs.
            let work = || {
                for _ in 0..1000 {
                    cache.set("key", "a value of no great length").unwrap();
                    assert_eq!(cache.get_into("key", &mut [0; 64]).unwrap(), Some(26));
                }
            };
            work();
            fork::forbid_system_calls();
            work();
            fork::end_well();
        });
        child.join();
        assert_eq!(cache.stats().counters.sets, 2000);
    }

    /// In a separate mount namespace: mounts an overlay over the directory.
    pub(super) fn on_an_overlay(directory: &str) {
        let dir = Path::new(directory);
        let merged = dir.join("merged");
        for part in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        let layers = format!("lowerdir={directory}/lower,upperdir={directory}/upper,workdir={directory}/work");
        let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers, arg(&merged)]).output();
        let mounted = mounted.unwrap();
        if !mounted.status.success() {
            return say(format!("skipped: {}", String::from_utf8_lossy(&mounted.stderr).replace('\n', " ")));
        }
        let path = merged.join("cache");
        match options().create(&path) {
            Err(error @ Error::LeaseRefused(_)) => assert!(error.to_string().contains("overlay"), "{error}"),
            other => panic!("expected LeaseRefused, found {other:?}"),
        }
        assert_eq!(common::names_in(&merged), [""; 0], "a refused strategy leaves nothing behind");
        // Strategy `file` has a lease, too; a descriptor holds it.
        let cache = options().seats(2).locks("file".parse().unwrap()).create(&path).unwrap();
        let mut other = children::start("open", &[arg(&path)]);
        other.expect("served");
        let mut third = children::start("open", &[arg(&path)]);
        assert!(third.hear().unwrap().contains("all 2 seats"), "a living member's lease was taken");
        other.kill();
        let mut fourth = children::start("open", &[arg(&path)]);
        fourth.expect("served");
        fourth.finish();
        assert_sound(&cache);
        say("done");
    }

    #[test]
    fn on_an_overlay_leases_are_refused_and_files_work() {
        // On a file system that can be a layer, which an overlay itself often cannot.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let Some(mut process) = children::start_unshared(&["--mount"], "on an overlay", &[arg(dir.path())]) else {
            return;
        };
        let said = process.hear().unwrap();
        match said.strip_prefix("skipped") {
            Some(why) => println!("skipped: no overlay can be mounted here{why}"),
            None => assert_eq!(said, "done"),
        }
        process.finish();
    }
}

/// Deaths and stops at named steps.
#[cfg(feature = "crash-points")]
mod killed {
    use super::*;
    use common::children::Process;
    use common::stop::Stop;
    use kennel::crash::{Plan, Step, arm};

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    const PLANS: [(&str, Plan); 2] = [("kill", Plan::Kill), ("stop", Plan::Stop)];

    /// `write PATH STEP NTH PLAN`: a write that ends at a step. `hammer`: writes until that happens.
    pub(super) fn child(task: &str, args: &[&str]) {
        let cache = options().lock_wait(LONG).open(args[0]).unwrap();
        let step = Step::ALL.iter().copied().find(|step| step.name() == args[1]).unwrap();
        let plan = PLANS.into_iter().find(|(name, _)| *name == args[3]).unwrap().1;
        say(std::process::id());
        wait_for_word();
        arm(Some(step), args[2].parse().unwrap(), plan);
        say("armed");
        cache.set("key", "of the child").unwrap();
        if task == "hammer" {
            loop {
                cache.set("key", "of the child").unwrap();
            }
        }
        say("wrote");
        wait_for_word();
    }

    fn start(task: &str, path: &Path, (step, nth, plan): (Step, u64, &str)) -> Process {
        armed(children::start(task, &[arg(path), step.name(), &nth.to_string(), plan]))
    }

    /// Tells a child to write.
    fn armed(mut process: Process) -> Process {
        process.hear().unwrap();
        process.tell("go");
        process.expect("armed");
        process
    }

    /// Waits until the first stripe's lock is held, with or without the mark of a waiter.
    fn wait_for_lock(cache: &Cache, waited_for: bool) {
        let (at, start) = (lock_word_at(cache), Instant::now());
        loop {
            let word = peek(cache.path(), at);
            if word != 0 && (!waited_for || word & WAITERS != 0) {
                return;
            }
            assert!(start.elapsed() < LONG, "the lock is never held");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn created(place: &Place) -> Cache {
        let cache = options().create(place.path()).unwrap();
        cache.set("key", "before").unwrap();
        cache
    }

    /// Between the lock and the first store, before the unlock, and in the middle of the write.
    const HELD: [(Step, u64); 4] =
        [(Step::IntentFields, 0), (Step::BucketOdd, 0), (Step::BucketEven, 0), (Step::LockWord, 1)];

    #[test]
    fn the_lock_of_a_killed_process_is_given_on_to_who_waits() {
        for (step, nth) in HELD {
            let place = Place::new();
            let cache = created(&place);
            let mut process = start("write", &place.path(), (step, nth, "stop"));
            wait_for_lock(&cache, false);
            let waited = std::thread::scope(|scope| {
                let patient = options().lock_wait(LONG).open(place.path()).unwrap();
                let waiter = scope.spawn(move || {
                    patient.set("key", "of the waiter").unwrap();
                    Instant::now()
                });
                wait_for_lock(&cache, true);
                // A stopped process is not dead.
                std::thread::sleep(Duration::from_millis(50));
                assert!(!waiter.is_finished());
                let killed = Instant::now();
                process.kill();
                waiter.join().unwrap() - killed
            });
            println!("killed at {} {nth}: another process got the lock after {waited:?}", step.name());
            assert!(waited < SOON, "{waited:?}");
            assert_eq!(cache.get("key").as_deref(), Some(&b"of the waiter"[..]));
            assert_sound(&cache);
        }
    }

    #[test]
    fn a_kill_at_any_look_at_the_lock_word_harms_nobody() {
        for (step, nth) in [(Step::LockWord, 0), (Step::LockWord, 1), (Step::IntentFields, 0)] {
            let place = Place::new();
            let cache = created(&place);
            let mut process = start("write", &place.path(), (step, nth, "kill"));
            assert_eq!(process.hear(), None, "it was not killed");
            let start = Instant::now();
            cache.set("key", "after").unwrap();
            assert!(start.elapsed() < SOON);
            assert_sound(&cache);
        }
    }

    /// A waiter is killed before it marks the word, or asleep; the owner goes on as if there had been no waiter.
    #[test]
    fn a_killed_waiter_keeps_nobody() {
        for nth in [1, 1000] {
            let place = Place::new();
            let cache = created(&place);
            let mut owner = start("write", &place.path(), (Step::BucketEven, 0, "stop"));
            wait_for_lock(&cache, false);
            let mut waiter = start("write", &place.path(), (Step::LockWord, nth, "kill"));
            if nth == 1 {
                assert_eq!(waiter.hear(), None, "it was not killed");
            } else {
                wait_for_lock(&cache, true);
            }
            waiter.kill();
            assert!(matches!(cache.set("key", "mine"), Err(Error::Busy { .. })));
            owner.kill();
            cache.set("key", "mine").unwrap();
            assert_sound(&cache);
        }
    }

    /// The lock is free, a waiter sleeps, and the process that should wake it is dead.
    #[test]
    fn a_wake_up_that_a_killed_process_owes_comes_by_itself() {
        let place = Place::new();
        let cache = created(&place);
        let mut process = start("hammer", &place.path(), (Step::SleepWord, 0, "kill"));
        let patient = options().lock_wait(LONG).open(place.path()).unwrap();
        let (longest, is_dead) = (std::sync::Mutex::new(Duration::ZERO), std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_dead.load(std::sync::atomic::Ordering::Relaxed) {
                        let start = Instant::now();
                        patient.set("key", "mine").unwrap();
                        let mut longest = longest.lock().unwrap();
                        *longest = start.elapsed().max(*longest);
                    }
                });
            }
            let _dead = Stop(&is_dead);
            // The process ends only by its own action.
            assert_eq!(process.hear(), None);
        });
        let longest = longest.into_inner().unwrap();
        println!("the longest of all writes took {longest:?}");
        assert!(longest < SOON);
        assert_sound(&cache);
    }

    #[cfg(unix)]
    #[test]
    fn a_stopped_owner_that_closed_nothing_and_says_nothing_is_waited_for_in_vain() {
        let place = Place::new();
        let cache = created(&place);
        let mut owner = start("write", &place.path(), (Step::BucketEven, 0, "stop"));
        wait_for_lock(&cache, false);
        // It holds the lock, but may not have reached the moment at which the bucket is half changed.
        let start = Instant::now();
        while cache.get("key").is_some() {
            assert!(start.elapsed() < SOON, "it never came there");
        }
        owner.signal(rustix::process::Signal::STOP);
        for _ in 0..2 {
            let start = Instant::now();
            assert!(matches!(cache.set("key", "mine"), Err(Error::Busy { .. })));
            assert!((WAIT..WAIT + SOON).contains(&start.elapsed()));
        }
        let start = Instant::now();
        assert_eq!(cache.get("key"), None);
        assert!(start.elapsed() < SOON);
        owner.kill();
        cache.set("key", "mine").unwrap();
        assert_sound(&cache);
    }

    #[cfg(target_os = "linux")]
    /// Containers: both have the same process id, which means nothing to the other.
    #[test]
    fn members_in_other_pid_namespaces_are_known_by_their_leases() {
        let place = Place::new();
        let cache = created(&place);
        let path = place.path();
        let unshared = |nth: &str| {
            let what = ["--pid", "--fork", "--kill-child", "--"];
            children::start_unshared(&what, "write", &[arg(&path), Step::BucketEven.name(), nth, "stop"])
        };
        let (Some(mut owner), Some(mut other)) = (unshared("0"), unshared("1000")) else { return };
        assert_eq!((owner.hear(), other.hear()), (Some("1".into()), Some("1".into())), "ids within their namespaces");
        owner.tell("go");
        owner.expect("armed");
        wait_for_lock(&cache, false);
        assert!(matches!(cache.set("key", "mine"), Err(Error::Busy { .. })));
        other.tell("go");
        other.expect("armed");
        wait_for_lock(&cache, true);
        owner.kill();
        other.expect("wrote");
        assert_eq!(cache.get("key").as_deref(), Some(&b"of the child"[..]));
        other.tell("end");
        other.finish();
        assert_sound(&cache);
    }
}
