//! Many processes on one cache: what they see of each other, how they join and leave, and what they count.

mod common;

use common::Place;
use common::children::{self, Process, arg, say, wait_for_word};
use kennel::{Cache, Error, LockStrategy, OnMismatch, Options};
use kennel::{CreateOptions, Lookup, Wait};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// The strategies for several processes.
const SHARED: [LockStrategy; 2] = [LockStrategy::File, LockStrategy::Lease];
const WRITERS: u64 = 3;
const KEYS: u64 = 12;
/// Fewer under the thread sanitizer, where each round takes many times as long.
const ROUNDS: u64 = if cfg!(kennel_tsan) { 40 } else { 250 };

#[test]
fn child() {
    children::serve(|task, args| match task {
        "write and read" => write_and_read(args[0], args[1].parse().unwrap()),
        "come and go" => come_and_go(args[0], args[1].parse().unwrap()),
        "add" => add(args[0]),
        "create and destroy" => create_and_destroy(args[0]),
        "open" => open_and_say(args[0]),
        "create" => create_and_say(args[0]),
        "read and stay" => read_and_stay(args[0]),
        "thrash" => thrash(args[0], args[1].parse().unwrap()),
        "hold" => hold(args[0], args[1] == "to read"),
        "lock" => lock_and_say(args[0]),
        #[cfg(target_os = "linux")]
        "claim" => claim_by_another_clock(args[0]),
        _ => panic!("no task {task}"),
    });
}

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(4).mean_item(256)
}

/// For processes that all want one stripe at the same time: the lock is not fair.
fn patient() -> Options {
    Options::new().lock_wait(children::PATIENCE)
}

/// Starts children that open the file, and then wait for a line from the parent.
fn ready(number: u64, task: &str, path: &Path) -> Vec<Process> {
    let start = |i: u64| children::start(task, &[arg(path), &i.to_string()]);
    let mut started: Vec<_> = (0..number).map(start).collect();
    started.iter_mut().for_each(|process| process.expect("ready"));
    started
}

fn go(processes: Vec<Process>) {
    let mut processes = processes;
    processes.iter_mut().for_each(|process| process.tell("go"));
    processes.into_iter().for_each(Process::finish);
}

fn key(writer: u64, number: u64) -> String {
    format!("{writer} of {number}")
}

/// A self-proving value: each of its words contains the key and the counter. Its length varies.
fn value(writer: u64, number: u64, counter: u64) -> Vec<u8> {
    let word = (writer << 56 | number << 48 | counter).to_le_bytes();
    word.repeat(1 + (counter % 40 * (number + 1)) as usize)
}

/// The counter of a value, after a check of every word.
fn counter_of(writer: u64, number: u64, found: &[u8]) -> u64 {
    let first = u64::from_le_bytes(found[..8].try_into().unwrap());
    let counter = first & ((1 << 48) - 1);
    assert_eq!(found, value(writer, number, counter), "a torn, mixed or foreign value for {}", key(writer, number));
    counter
}

fn write_and_read(path: &str, writer: u64) {
    let cache = patient().open(path).unwrap();
    let mut seen = HashMap::new();
    say("ready");
    wait_for_word();
    for counter in 1..=ROUNDS {
        children::go_on();
        for number in 0..KEYS {
            if counter % 17 == number {
                cache.delete(key(writer, number)).unwrap();
            } else {
                cache.set(key(writer, number), value(writer, number, counter)).unwrap();
            }
            look(&cache, &mut seen, (counter + number) % WRITERS, number);
        }
    }
    look_at_all(&cache, &mut seen);
    assert!(seen.len() as u64 >= KEYS, "hardly anything was seen: {}", seen.len());
}

/// Reads a key; its counter never goes back.
fn look(cache: &Cache, seen: &mut HashMap<(u64, u64), u64>, writer: u64, number: u64) {
    if let Some(found) = cache.get(key(writer, number)) {
        let counter = counter_of(writer, number, &found);
        let last = seen.entry((writer, number)).or_default();
        assert!(counter >= *last, "{} went back from {last} to {counter}", key(writer, number));
        *last = counter;
    }
}

fn look_at_all(cache: &Cache, seen: &mut HashMap<(u64, u64), u64>) {
    for writer in 0..WRITERS {
        (0..KEYS).for_each(|number| look(cache, seen, writer, number));
    }
}

#[test]
fn values_prove_themselves_and_never_go_back() {
    SHARED.into_iter().for_each(values_never_go_back);
}

fn values_never_go_back(locks: LockStrategy) {
    let place = Place::new();
    // More than everything that is written: no ring wraps around, and nothing is evicted.
    let cache = options().locks(locks).capacity(32 << 20).create(place.path()).unwrap();
    go(ready(WRITERS, "write and read", &place.path()));
    // The last value of each writer is there.
    for writer in 0..WRITERS {
        for number in (0..KEYS).filter(|&number| ROUNDS % 17 != number) {
            let found = cache.get(key(writer, number)).unwrap();
            assert_eq!(counter_of(writer, number, &found), ROUNDS);
        }
    }
    let counters = cache.stats().counters;
    assert_eq!((counters.evictions(), counters.busy, counters.repairs), (0, 0, 0));
    assert!(cache.verify().is_ok());
}

/// The same work in a cache that is far too small, so that everything is moved and evicted all the time.
fn thrash(path: &str, writer: u64) {
    let cache = patient().open(path).unwrap();
    let mut seen = HashMap::new();
    say("ready");
    wait_for_word();
    for counter in 1..=ROUNDS {
        children::go_on();
        for number in 0..KEYS * 4 {
            cache.set(key(writer, number), value(writer, number, counter)).unwrap();
            look(&cache, &mut seen, (counter + number) % WRITERS, number * 7 % (KEYS * 4));
        }
    }
}

#[test]
fn values_prove_themselves_while_they_are_evicted() {
    SHARED.into_iter().for_each(values_while_they_are_evicted);
}

fn values_while_they_are_evicted(locks: LockStrategy) {
    let place = Place::new();
    let cache = Options::new().locks(locks).capacity(192 << 10).stripes(1).create(place.path()).unwrap();
    go(ready(WRITERS, "thrash", &place.path()));
    assert!(cache.stats().counters.evictions() > 1000);
    assert!(cache.stats().counters.hits > 0);
    let verification = cache.verify();
    assert!(verification.is_ok(), "{:?}", verification.problems);
}

fn come_and_go(path: &str, number: u64) {
    say("ready");
    wait_for_word();
    for round in 0..60 {
        children::go_on();
        let cache = options().open(path).unwrap();
        let own = format!("{number} {round}");
        cache.set(&own, &own).unwrap();
        assert_eq!(cache.get(&own), Some(own.into_bytes()));
        assert!(cache.get("there throughout").is_some());
    }
}

#[test]
fn processes_come_and_go() {
    SHARED.into_iter().for_each(come_and_go_with);
}

fn come_and_go_with(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).seats(8).create(place.path()).unwrap();
    cache.set("there throughout", "yes").unwrap();
    go(ready(4, "come and go", &place.path()));
    let stats = cache.stats();
    assert_eq!((stats.members, stats.counters.sets), (1, 4 * 60 + 1));
    assert_eq!((stats.counters.hits, stats.counters.misses), (2 * 4 * 60, 0));
    assert!(cache.verify().is_ok());
}

fn open_and_say(path: &str) {
    match Options::new().lock_wait(Duration::from_secs(50)).open(path) {
        Ok(cache) => {
            cache.incr("served", 1).unwrap().unwrap();
            say("served");
            wait_for_word();
        }
        Err(Error::SeatsFull { seats, path }) => say(format!("{seats} seats full {}", path.display())),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn hundreds_of_processes_at_once_are_all_served() {
    // Under Wine one server answers every call of all processes.
    const MANY: usize = if cfg!(windows) { 50 } else { 210 };
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("served", "0").unwrap();
    let mut many: Vec<_> = (0..MANY).map(|_| children::start("open", &[arg(&place.path())])).collect();
    many.iter_mut().for_each(|process| process.expect("served"));
    // All of them are there at the same time.
    assert_eq!(cache.stats().members as usize, MANY + 1);
    many.into_iter().for_each(Process::finish);
    assert_eq!(cache.get("served"), Some(MANY.to_string().into_bytes()));
}

#[test]
fn when_all_seats_are_taken_the_next_is_told_so_and_killed_ones_make_room() {
    SHARED.into_iter().for_each(all_seats_taken);
}

fn all_seats_taken(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).seats(4).create(place.path()).unwrap();
    cache.set("served", "0").unwrap();
    let path = place.path();
    let start = || children::start("open", &[arg(&path)]);
    let mut three: Vec<_> = (0..3).map(|_| start()).collect();
    three.iter_mut().for_each(|process| process.expect("served"));
    let real = common::real(&path);
    start().expect(&format!("4 seats full {}", real.display()));
    match options().open(&path) {
        Err(error @ Error::SeatsFull { seats: 4, .. }) => {
            let message = error.to_string();
            assert!(message.contains("all 4 seats") && message.contains("`seats`"), "{message}");
        }
        other => panic!("expected SeatsFull, found {other:?}"),
    }
    // Reads take no seat.
    assert!(Options::new().open_read_only(&path).unwrap().get("served").is_some());
    // The seat of a killed process is reused, again and again; living ones keep theirs.
    for _ in 0..10 {
        three[1].kill();
        three[1] = start();
        three[1].expect("served");
    }
    start().expect(&format!("4 seats full {}", real.display()));
    // The seat of a process that left in good order is reused, too.
    three.pop().unwrap().finish();
    let mut last = start();
    last.expect("served");
    assert_eq!(cache.get("served"), Some(b"14".to_vec()));
}

const READS: u64 = 37;

fn read_and_stay(path: &str) {
    let cache = options().open(path).unwrap();
    for _ in 0..READS {
        assert!(cache.get("there").is_some());
        assert!(cache.get("not there").is_none());
    }
    say("read");
    wait_for_word();
}

#[test]
fn what_a_killed_process_counted_stays_counted() {
    let place = Place::new();
    let cache = options().seats(3).create(place.path()).unwrap();
    cache.set("there", "yes").unwrap();
    for killed in 1..=8 {
        let mut process = children::start("read and stay", &[arg(&place.path())]);
        process.expect("read");
        process.kill();
        let counters = cache.stats().counters;
        assert_eq!((counters.hits, counters.misses), (READS * killed, READS * killed));
    }
    // Eight processes, one after the other, used two seats.
    assert!(cache.stats().members <= 3);
}

fn create_and_say(path: &str) {
    say("ready");
    wait_for_word();
    let cache = options().open_or_create(path).unwrap();
    cache.add("counter", "0", &kennel::SetOptions::new()).unwrap();
    cache.incr("counter", 1).unwrap().unwrap();
    say(cache.stats().file_id);
    wait_for_word();
}

#[test]
fn several_who_create_at_once_share_one_file() {
    for _ in 0..6 {
        let place = Place::new();
        let mut creators = ready(6, "create", &place.path());
        creators.iter_mut().for_each(|process| process.tell("go"));
        let ids: Vec<_> = creators.iter_mut().map(|process| process.hear().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let cache = options().open(place.path()).unwrap();
        assert_eq!(cache.stats().file_id, ids[0]);
        assert_eq!(cache.get("counter").as_deref(), Some(&b"6"[..]));
        creators.into_iter().for_each(Process::finish);
        // The losers' lock directories are gone, or the next creator removes them.
        assert_eq!(place.names(), ["cache", "cache.locks"]);
        cache.set("all", "well").unwrap();
    }
}

/// A process that destroys a cache removes lock files, but never those of a cache that is just being created.
fn create_and_destroy(path: &str) {
    say("ready");
    wait_for_word();
    for round in 0..40 {
        children::go_on();
        let cache = options().open_or_create(path).unwrap();
        // The loop needs each of the locks, and may open one only now. The file may have been destroyed meanwhile.
        for i in 0..12 {
            match cache.set(format!("{round} {i}"), "value") {
                Ok(()) | Err(Error::NotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        match options().destroy(path) {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn caches_that_come_and_go_keep_their_locks() {
    let place = Place::new();
    go(ready(4, "create and destroy", &place.path()));
    let cache = options().open_or_create(place.path()).unwrap();
    (0..50).for_each(|i| cache.set(format!("key {i}"), "value").unwrap());
    assert!(cache.verify().is_ok());
}

const ADDITIONS: u64 = 400;

fn add(path: &str) {
    let cache = patient().open(path).unwrap();
    say("ready");
    wait_for_word();
    for i in 0..ADDITIONS {
        children::go_on();
        cache.incr(format!("counter {}", i % 3), 1).unwrap().unwrap();
        if i % 4 == 0 {
            cache.decr("counter down", 1).unwrap().unwrap();
        }
    }
}

#[test]
fn additions_of_several_processes_are_not_lost() {
    SHARED.into_iter().for_each(additions_are_not_lost);
}

fn additions_are_not_lost(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).create(place.path()).unwrap();
    (0..3).for_each(|i| cache.set(format!("counter {i}"), "0").unwrap());
    cache.set("counter down", "1000").unwrap();
    go(ready(4, "add", &place.path()));
    let number = |key: &str| -> u64 { String::from_utf8(cache.get(key).unwrap()).unwrap().parse().unwrap() };
    let sum: u64 = (0..3).map(|i| number(&format!("counter {i}"))).sum();
    assert_eq!(sum, 4 * ADDITIONS);
    assert_eq!(number("counter down"), 1000 - ADDITIONS);
    assert!(cache.verify().is_ok());
}

/// Has a cache open, and reports the value of the key whenever asked.
fn hold(path: &str, to_read: bool) {
    let cache = if to_read { Options::new().open_read_only(path) } else { Cache::open(path) }.unwrap();
    say("open");
    while wait_for_word() == "look" {
        say(cache.get("key").map_or("nothing".into(), |value| String::from_utf8(value).unwrap()));
    }
}

/// Reads of a replaced file may miss for a moment.
fn look_until(holder: &mut Process, expected: &str) {
    for _ in 0..1000 {
        holder.tell("look");
        let found = holder.hear().unwrap();
        if found == expected {
            return;
        }
        assert_eq!(found, "nothing", "instead of {expected}");
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{expected} is not found");
}

/// Windows does not let anybody remove or replace a mapped file: the file is moved aside, and removed when its last
/// user closes it.
#[test]
fn what_others_have_open_can_be_destroyed_and_replaced() {
    for how in ["to read", "to write"] {
        let place = Place::new();
        let path = place.path();
        options().create(&path).unwrap().set("key", "first").unwrap();
        let mut holder = children::start("hold", &[arg(&path), how]);
        holder.expect("open");
        look_until(&mut holder, "first");
        options().destroy(&path).unwrap();
        assert!(!path.exists());
        holder.tell("look");
        holder.expect("nothing");
        options().create(&path).unwrap().set("key", "second").unwrap();
        look_until(&mut holder, "second");
        let other_locks = options().locks(LockStrategy::RwFile).on_mismatch(OnMismatch::Recreate);
        other_locks.open(&path).unwrap().set("key", "third").unwrap();
        look_until(&mut holder, "third");
        holder.tell("that is all");
        holder.finish();
        if cfg!(windows) {
            assert_eq!(place.lock_directories().len(), 1, "{how}: a replaced file is left");
        }
        options().destroy(&path).unwrap();
        assert_eq!(place.left(), [""; 0], "{how}");
    }
}

fn lock_and_say(path: &str) {
    let cache = options().open(path).unwrap();
    let lock = cache.lock("job", Wait::No).unwrap();
    let Ok(Lookup::Create(claim)) = cache.claim("value", &CreateOptions::new()) else { panic!("a new key") };
    loop {
        say(format!("{} {}", lock.is_protected(), claim.is_protected()));
        match wait_for_word().as_str() {
            "again" => {}
            _ => return say(format!("released: {}", lock.release())),
        }
    }
}

/// Stores the header's mark of replacement.
fn mark_replaced(path: &Path, mark: u64) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(608)).unwrap();
    file.write_all(&mark.to_le_bytes()).unwrap();
}

/// Other processes lock the key in the new file. The first holder went on believing that its lock excludes them.
#[test]
fn who_holds_a_lock_in_a_file_that_was_replaced_learns_that_it_protects_nothing() {
    for how in ["destroy", "recreate", "nothing"] {
        let place = Place::new();
        let path = place.path();
        let cache = options().create(&path).unwrap();
        let mut holder = children::start("lock", &[arg(&path)]);
        holder.expect("true true");
        assert!(cache.try_lock("job").unwrap().is_none());
        match how {
            "destroy" => {
                options().destroy(&path).unwrap();
                holder.tell("again");
                holder.expect("false false");
                options().create(&path).map(drop).unwrap();
            }
            "recreate" => {
                let anew = options().locks(LockStrategy::Lease).on_mismatch(OnMismatch::Recreate);
                anew.open(&path).map(drop).unwrap();
            }
            // A process that was about to replace the file died.
            _ => mark_replaced(&path, 77),
        }
        let is_held = how == "nothing";
        let second = cache.try_lock("job").unwrap();
        assert_eq!(second.as_ref().is_some_and(|lock| lock.is_protected()), !is_held, "{how}");
        holder.tell("again");
        holder.expect(&format!("{is_held} {is_held}"));
        holder.tell("release");
        holder.expect(&format!("released: {is_held}"));
        holder.finish();
        assert_eq!(second.is_some_and(|lock| lock.release()), !is_held, "{how}");
    }
}

/// Claims a key that another process is creating, then one that nobody has claimed.
#[cfg(target_os = "linux")]
fn claim_by_another_clock(path: &str) {
    let cache = options().open(path).unwrap();
    let how = CreateOptions::new().wait(Wait::No).claim_max_age(Duration::from_millis(200));
    say(match cache.claim("theirs", &how) {
        Err(Error::TimedOut { .. }) => "theirs is being created".to_owned(),
        other => format!("theirs: {other:?}"),
    });
    let Ok(Lookup::Create(_claim)) = cache.claim("mine", &how) else { panic!("the key is not claimed") };
    say("mine is claimed");
    wait_for_word();
}

/// In a container's time namespace, the monotonic clock can be ahead. Claims of another process then looked a day older
/// than they were, and the container's own ones looked new even after a day.
#[cfg(target_os = "linux")]
#[test]
fn claims_of_processes_in_other_time_namespaces_are_as_old_as_they_are() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let Ok(Lookup::Create(claim)) = cache.claim("theirs", &CreateOptions::new()) else { panic!("a new key") };
    let day_ahead = ["--time", "--monotonic", "86400", "--fork", "--kill-child", "--"];
    let Some(mut other) = children::start_unshared(&day_ahead, "claim", &[arg(&place.path())]) else { return };
    other.expect("theirs is being created");
    other.expect("mine is claimed");
    assert!(matches!(claim.store("value"), Ok(kennel::Stored::Yes(_))), "a claim that its owner holds");
    let patient = CreateOptions::new().wait(Wait::For(children::PATIENCE / 4));
    assert!(matches!(cache.claim("mine", &patient), Ok(Lookup::Create(_))), "a claim that has passed its greatest age");
    other.tell("end");
    other.finish();
}
