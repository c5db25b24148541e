//! Loss of power: afterwards the device holds a mixture of older and newer pages.
//!
//! A test watches the file while a workload runs: at random stores, and after each sync, it keeps the state of all
//! pages. A loss of power after any of these states leaves each page of 4 KiB with its content in that state or in an
//! earlier one, independently of other pages, but never older than the last sync of that page. The test writes such
//! mixtures into the same file, and opens it as after a restart of the host.
//!
//! * With `after_crash = verify` every value that comes back was once set for its key, in full.
//! * By default nothing comes back, or exactly the flushed contents, and those only if no write followed the flush.
//!
//! `KENNEL_POWER_MIXTURES` sets the number of mixtures; `cargo xtask power --mixtures N` sets it.
#![cfg(all(unix, feature = "crash-points"))]

mod common;

use common::{Random, assert_sound, proof, proven};
use kennel::crash::{Event, Plan, arm, passed, unwatch, watch};
use kennel::{AfterCrash, Cache, LargePages, Options};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const PAGE: usize = 4096;
const KEYS: u32 = 48;
/// Mixtures in a usual run; `cargo xtask power` tries more.
const MIXTURES: u64 = 600;
/// Mixtures of one workload.
const OF_ONE: u64 = 60;
/// The boots after the one in which the file is created.
const BOOTS: [[u64; 2]; 3] = [[9, 1], [9, 2], [9, 3]];

/// Contents of a cache: keys, with the counter and the length of the value that a `get` returns.
type Contents = BTreeMap<u32, (u32, usize)>;

/// All pages of the file at one moment; unchanged ones are shared with the moment before.
#[derive(Clone)]
struct State {
    pages: Vec<Arc<[u8]>>,
    /// For each page the first state that is no older than its last sync.
    synced: Arc<Vec<usize>>,
}

/// The observed states of a file.
struct Disk {
    file: File,
    random: Random,
    states: Vec<State>,
}

impl Disk {
    fn of(path: &Path, seed: u64) -> Self {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        let mut disk = Self { file, random: Random(seed), states: Vec::new() };
        // A new file counts as synced: its initial content is older than any use.
        let synced = Arc::new(vec![0; len.div_ceil(PAGE)]);
        disk.states.push(State { pages: disk.read(None), synced });
        disk
    }

    fn read(&self, before: Option<&State>) -> Vec<Arc<[u8]>> {
        let mut bytes = vec![0; self.file.metadata().unwrap().len() as usize];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        let page = |(i, page): (usize, &[u8])| match before {
            Some(before) if *before.pages[i] == *page => before.pages[i].clone(),
            _ => page.into(),
        };
        bytes.chunks(PAGE).enumerate().map(page).collect()
    }

    /// Keeps the current state. Returns its number.
    fn keep(&mut self) -> usize {
        let last = self.states.last().unwrap();
        let state = State { pages: self.read(Some(last)), synced: last.synced.clone() };
        self.states.push(state);
        self.states.len() - 1
    }

    fn see(&mut self, event: Event) {
        match event {
            Event::Load => {}
            Event::Store(_) if self.random.below(16) == 0 => drop(self.keep()),
            Event::Store(_) => {}
            Event::Synced(offset, len) => {
                let now = self.keep();
                let pages = offset as usize / PAGE..(offset + len) as usize / PAGE;
                let synced = &mut self.states[now].synced;
                pages.for_each(|page| Arc::make_mut(synced)[page] = now);
            }
        }
    }

    /// A state that a loss of power right after state `last` may leave. Pages are up to `back` states older.
    fn mixture(&mut self, last: usize, back: usize) -> Vec<Arc<[u8]>> {
        let synced = self.states[last].synced.clone();
        let mut pick = |page: usize| {
            let first = synced[page].max(last.saturating_sub(back));
            let from = first + self.random.below((last - first + 1) as u64) as usize;
            self.states[from].pages[page].clone()
        };
        (0..synced.len()).map(&mut pick).collect()
    }
}

/// Every value that was ever set: its length, by key and counter.
type Ever = HashMap<(u32, u32), usize>;

/// A file that was in use when the power was lost.
struct Lost {
    _dir: tempfile::TempDir,
    path: PathBuf,
    after_crash: AfterCrash,
    disk: Disk,
    ever: Ever,
    /// For some states, the contents of the cache at that moment, with no operation in progress.
    quiet: BTreeMap<usize, Contents>,
    /// States right before and right after a flush that succeeded.
    flushed: Vec<(usize, usize)>,
    /// States right after a later write had returned.
    written: Vec<usize>,
}

/// A directory in memory, if there is one: each mixture is a whole file.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn contents(cache: &Cache) -> Contents {
    let value = |key: u32| cache.get(key.to_string()).map(|value| (key, (proven(key, &value), value.len())));
    (0..KEYS).filter_map(value).collect()
}

/// Uses a new cache and watches its file. With `ends`, positions run out during the use, which empties stripes.
fn use_and_lose(seed: u64, after_crash: AfterCrash, ends: bool) -> Lost {
    use_and_lose_with(&Options::new().capacity(24 << 10), seed, after_crash, ends)
}

/// [`use_and_lose`] with options of the caller.
fn use_and_lose_with(options: &Options, seed: u64, after_crash: AfterCrash, ends: bool) -> Lost {
    let dir = directory();
    let path = dir.path().join("cache");
    let mut random = Random(seed);
    let stripes = random.pick(&[1, 2]);
    let options = options.clone().stripes(stripes).mean_item(200).seats(4).seed(seed);
    let cache = options.after_crash(after_crash).near_last_position(ends).create(&path).unwrap();
    let disk = Rc::new(RefCell::new(Disk::of(&path, seed)));
    let seen = disk.clone();
    watch(move |event| seen.borrow_mut().see(event));
    let (mut ever, mut quiet) = (Ever::new(), BTreeMap::new());
    let (mut flushed, mut written) = (Vec::new(), Vec::new());
    for counter in 0..120 {
        let key = random.below(KEYS.into()) as u32;
        let was_flushed = flushed.len() > written.len();
        match random.below(40) {
            0 => cache.clear().unwrap(),
            1..5 => drop(cache.delete(key.to_string()).unwrap()),
            5 if !was_flushed => {
                let before = disk.borrow_mut().keep();
                assert!(cache.flush().unwrap(), "no other process writes");
                let after = disk.borrow_mut().keep();
                flushed.push((before, after));
                quiet.insert(after, contents(&cache));
                continue;
            }
            6..9 => {
                let state = disk.borrow_mut().keep();
                quiet.insert(state, contents(&cache));
                continue;
            }
            _ => {
                let len = random.pick(&[8, 40, 200, 440, 520, 900, 1700]);
                ever.insert((key, counter), len);
                cache.set(key.to_string(), proof(key, counter, len)).unwrap();
            }
        }
        if was_flushed {
            written.push(disk.borrow_mut().keep());
        }
    }
    unwatch();
    drop(cache);
    let disk = Rc::into_inner(disk).unwrap().into_inner();
    Lost { _dir: dir, path, after_crash, disk, ever, quiet, flushed, written }
}

/// Counts of results, so that a test that tries nothing fails.
#[derive(Debug, Default)]
struct Tally {
    mixtures: u64,
    empty: u64,
    values: u64,
    old_values: u64,
    dropped: u64,
    trusted: u64,
}

impl Lost {
    /// Writes pages into the file of the lost state, as found after a restart.
    fn write(&self, pages: &[Arc<[u8]>]) {
        self.write_to(&self.path, pages);
    }

    fn write_to(&self, path: &Path, pages: &[Arc<[u8]>]) {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        file.write_all_at(&pages.concat(), 0).unwrap();
    }

    fn open(&self, boot: usize) -> Cache {
        Options::new().boot_id(BOOTS[boot]).open(&self.path).unwrap()
    }

    /// The contents of the last flush that had begun in a state.
    fn last_flush(&self, state: usize) -> Option<&Contents> {
        let (_, flush) = self.flushed.iter().rev().find(|&&(before, _)| before <= state)?;
        self.quiet.get(flush)
    }

    /// Checks the contents after a loss of power in a state.
    fn check(&self, cache: &Cache, state: usize, told: &str) -> Contents {
        let found = contents(cache);
        match self.after_crash {
            AfterCrash::Discard => {
                let flushed = self.last_flush(state);
                assert!(found.is_empty() || Some(&found) == flushed, "{told}: neither empty nor the flushed contents");
            }
            AfterCrash::Verify => self.check_ever(&found, told),
            other => panic!("nothing is known of {other}"),
        }
        found
    }

    /// Checks that each value was once set for its key. Reading it has already shown that it is whole.
    fn check_ever(&self, found: &Contents, told: &str) {
        for (&key, &(counter, len)) in found {
            assert_eq!(self.ever.get(&(key, counter)), Some(&len), "{told}: write {counter} of key {key}");
        }
    }

    fn try_mixture(&mut self, random: &mut Random, tally: &mut Tally) {
        let last = random.below(self.disk.states.len() as u64) as usize;
        let back = random.pick(&[1, 3, 10, 60, usize::MAX]);
        let mixture = self.disk.mixture(last, back);
        self.write(&mixture);
        let told = format!("state {last}, up to {back} older, mixture {}", tally.mixtures);
        let cache = self.open(0);
        let found = self.check(&cache, last, &told);
        tally.mixtures += 1;
        tally.values += found.len() as u64;
        tally.empty += u64::from(found.is_empty());
        tally.trusted += u64::from(!found.is_empty() && Some(&found) == self.last_flush(last));
        if let Some((_, now)) = self.quiet.range(..=last).next_back() {
            tally.old_values +=
                found.iter().filter(|(key, value)| now.get(key).is_some_and(|now| now != *value)).count() as u64;
        }
        // Whatever the contents are, the cache can be used.
        cache.set("and so on", "x").unwrap();
        assert_eq!(cache.get("and so on").as_deref(), Some(&b"x"[..]), "{told}");
        assert_sound(&cache);
        // A rebuild can find records that no slot pointed to.
        self.check_ever(&contents(&cache), &told);
        tally.dropped += cache.stats().counters.dropped;
    }
}

fn wanted() -> u64 {
    std::env::var("KENNEL_POWER_MIXTURES").map_or(MIXTURES, |number| number.parse().expect("a number of mixtures"))
}

fn try_mixtures(after_crash: AfterCrash, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut random = Random(seed);
    while tally.mixtures < wanted() / 2 {
        let mut lost = use_and_lose(random.below(u64::MAX), after_crash, random.below(3) == 0);
        (0..OF_ONE).for_each(|_| lost.try_mixture(&mut random, &mut tally));
    }
    println!("after_crash = {after_crash:?}: {tally:?}");
    tally
}

#[test]
fn a_mixture_of_pages_gives_back_only_what_was_once_set() {
    let tally = try_mixtures(AfterCrash::Verify, 1);
    assert!(tally.values > tally.mixtures && tally.old_values > 0 && tally.dropped > 0, "nothing was tried: {tally:?}");
}

#[test]
fn in_large_pages_a_mixture_of_pages_gives_back_the_same() {
    // The device loses parts of a large page like small ones: it knows only its own blocks.
    let options = Options::new().capacity(2 << 20).large_pages(LargePages::Always);
    for (after_crash, ends) in [(AfterCrash::Verify, false), (AfterCrash::Discard, true)] {
        let (mut tally, mut random) = (Tally::default(), Random(7));
        let mut lost = use_and_lose_with(&options, 8, after_crash, ends);
        assert!(lost.disk.states[0].pages.len() * PAGE >= 2 << 20);
        (0..OF_ONE).for_each(|_| lost.try_mixture(&mut random, &mut tally));
        let is_tried = match after_crash {
            AfterCrash::Verify => tally.values > 0,
            _ => tally.empty + tally.trusted == tally.mixtures,
        };
        assert!(is_tried, "{after_crash:?}: {tally:?}");
    }
}

#[test]
fn by_default_a_mixture_of_pages_is_empty_or_what_was_flushed() {
    let tally = try_mixtures(AfterCrash::Discard, 2);
    assert!(tally.trusted > 0 && tally.empty > tally.mixtures / 2, "nothing was tried: {tally:?}");
    assert_eq!(tally.empty + tally.trusted, tally.mixtures);
}

#[test]
fn after_a_flush_as_the_last_act_everything_is_there() {
    for (seed, after_crash) in (0..10).flat_map(|seed| [(seed, AfterCrash::Discard), (seed, AfterCrash::Verify)]) {
        let mut lost = use_and_lose(100 + seed, after_crash, false);
        for (_, flush) in lost.flushed.clone() {
            // All earlier stores were synced, so there is only one mixture, however old pages may be.
            let mixture = lost.disk.mixture(flush, usize::MAX);
            lost.write(&mixture);
            assert_eq!(&contents(&lost.open(0)), &lost.quiet[&flush], "flush at state {flush} of workload {seed}");
        }
    }
}

#[test]
fn after_a_flush_and_one_more_write_the_file_is_not_trusted() {
    let mut tried = 0;
    for seed in 0..10 {
        let mut lost = use_and_lose(200 + seed, AfterCrash::Discard, false);
        for written in lost.written.clone() {
            for back in [0, 1, 5, 20, usize::MAX] {
                let mixture = lost.disk.mixture(written, back);
                lost.write(&mixture);
                assert_eq!(contents(&lost.open(0)), Contents::new(), "written at state {written} of workload {seed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_state_of_one_moment_with_no_operation_under_way_loses_nothing() {
    let mut tried = 0;
    for seed in 0..10 {
        let lost = use_and_lose(300 + seed, AfterCrash::Verify, false);
        for (&state, held) in &lost.quiet {
            lost.write(&lost.disk.states[state].pages);
            let cache = lost.open(0);
            assert_eq!(&contents(&cache), held, "state {state} of workload {seed}");
            assert_sound(&cache);
            assert_eq!(&contents(&cache), held, "state {state} of workload {seed}, rebuilt");
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn a_copy_of_a_live_file_counts_as_a_crash() {
    for (seed, after_crash) in (0..6).flat_map(|seed| [(seed, AfterCrash::Discard), (seed, AfterCrash::Verify)]) {
        let mut lost = use_and_lose(400 + seed, after_crash, false);
        for state in (0..lost.disk.states.len()).step_by(29) {
            let copy = lost.path.with_extension(format!("copy-{state}"));
            let mixture = lost.disk.mixture(state, 5);
            lost.write_to(&copy, &mixture);
            std::fs::set_permissions(&copy, std::fs::metadata(&lost.path).unwrap().permissions()).unwrap();
            // In the same boot: the copy is recognized because it is another file.
            let cache = Options::new().open(&copy).unwrap();
            let found = lost.check(&cache, state, "a copy");
            assert!(found.is_empty() || after_crash == AfterCrash::Verify, "flushed or not, a copy is not trusted");
            drop(cache);
            Options::new().destroy(&copy).unwrap();
        }
    }
}

/// Flushes that overlap with another flush: the file, its contents before and after the last write, and its disk.
struct Flushes {
    _dir: tempfile::TempDir,
    path: PathBuf,
    disk: Disk,
    held: Vec<Contents>,
    /// Number of flushes that succeeded.
    flushed: u32,
}

/// Two handles flush and a third one writes, each from within the other: the second flush and the write run at some
/// access of the first flush to the file.
fn flush_twice_and_lose(seed: u64) -> Flushes {
    let dir = directory();
    let path = dir.path().join("cache");
    let mut random = Random(seed);
    let options = Options::new().capacity(24 << 10).stripes(4).mean_item(200).seats(4).seed(seed);
    let options = options.lock_wait(Duration::from_millis(1));
    let first = options.create(&path).unwrap();
    let (second, writer) = (options.open(&path).unwrap(), options.open(&path).unwrap());
    (0..KEYS).for_each(|key| first.set(key.to_string(), proof(key, 1, 400)).unwrap());
    let disk = Rc::new(RefCell::new(Disk::of(&path, seed)));
    let held = Rc::new(RefCell::new(vec![contents(&first)]));
    let flushed = Rc::new(Cell::new(0));
    let watched = |disk: Rc<RefCell<Disk>>| move |event| disk.borrow_mut().see(event);
    // The events of the first flush at which the second flush and the writer run.
    let second_at = random.below(70);
    let writer_at = second_at + random.below(12);
    let (seen, contents_seen, count) = (disk.clone(), held.clone(), flushed.clone());
    let mut events = 0;
    watch(move |event| {
        seen.borrow_mut().see(event);
        if events == second_at {
            watch(watched(seen.clone()));
            // While the first flush has a stripe's lock, the second waits for it in vain.
            count.set(count.get() + u32::from(second.flush().unwrap_or(false)));
            unwatch();
            seen.borrow_mut().keep();
        }
        if events == writer_at {
            watch(watched(seen.clone()));
            let key = seed as u32 % KEYS;
            let written = writer.set(key.to_string(), proof(key, 2, 1200));
            unwatch();
            seen.borrow_mut().keep();
            if written.is_ok() {
                contents_seen.borrow_mut().push(contents(&writer));
            }
        }
        events += 1;
    });
    let held_at_last = first.flush().unwrap();
    unwatch();
    flushed.set(flushed.get() + u32::from(held_at_last));
    disk.borrow_mut().keep();
    drop(first);
    let disk = Rc::into_inner(disk).unwrap().into_inner();
    let held = held.take();
    Flushes { _dir: dir, path, disk, held, flushed: flushed.get() }
}

/// A flush overwrote another one's flush mark, in memory only, and a writer took that for a mark that need not reach
/// the device: after a loss of power the file was marked as flushed, among pages of a later write.
#[test]
fn two_flushes_and_a_write_leave_what_was_flushed_or_nothing() {
    let (mut trusted, mut empty, mut flushed) = (0, 0, 0);
    for seed in 0..250 {
        let mut lost = flush_twice_and_lose(700 + seed);
        flushed += lost.flushed;
        for _ in 0..12 {
            let last = lost.disk.random.below(lost.disk.states.len() as u64) as usize;
            let back = lost.disk.random.below(30) as usize;
            let mixture = lost.disk.mixture(last, back);
            let file = OpenOptions::new().write(true).open(&lost.path).unwrap();
            file.write_all_at(&mixture.concat(), 0).unwrap();
            let found = contents(&Options::new().boot_id(BOOTS[0]).open(&lost.path).unwrap());
            assert!(
                found.is_empty() || lost.held.contains(&found),
                "state {last}, up to {back} older, of workload {seed}: neither empty nor what was held at one moment"
            );
            empty += u32::from(found.is_empty());
            trusted += u32::from(!found.is_empty());
        }
    }
    assert!(trusted > 100 && empty > 100 && flushed > 100, "{trusted} trusted, {empty} empty, {flushed} flushed");
}

/// No process wrote, so both succeed.
#[test]
fn two_flushes_at_the_same_time_both_hold() {
    for at in 0..60 {
        let dir = directory();
        let path = dir.path().join("cache");
        let first = Options::new().capacity(24 << 10).stripes(2).create(&path).unwrap();
        let second = Options::new().lock_wait(Duration::from_millis(1)).open(&path).unwrap();
        first.set("key", "value").unwrap();
        let mut events = 0;
        let told = Rc::new(Cell::new(true));
        let says = told.clone();
        watch(move |_| {
            if events == at {
                // `Err`: the first flush had a stripe's lock.
                says.set(second.flush().unwrap_or(true));
            }
            events += 1;
        });
        let holds = first.flush().unwrap();
        unwatch();
        assert!(holds && told.get(), "the second one at event {at}: {holds}, {}", told.get());
    }
}

/// An opener that dies on the way leaves the file such that the next one, of the same boot or of another, trusts it no
/// more than before.
#[test]
fn an_opener_that_dies_does_not_make_the_next_one_trust_the_file() {
    for (seed, after_crash) in (0..2).flat_map(|seed| [(seed, AfterCrash::Discard), (seed, AfterCrash::Verify)]) {
        let mut lost = use_and_lose(500 + seed, after_crash, false);
        let last = *lost.written.last().unwrap_or(&(lost.disk.states.len() - 1));
        let mixture = lost.disk.mixture(last, 20);
        let mut deaths = 0;
        for nth in 0.. {
            lost.write(&mixture);
            arm(None, nth, Plan::Unwind);
            let died = catch_unwind(AssertUnwindSafe(|| contents(&lost.open(0)))).is_err();
            passed();
            let told = format!("the opener of workload {seed} died at its store {nth}");
            for boot in [0, 1] {
                let cache = lost.open(boot);
                let found = lost.check(&cache, last, &told);
                assert!(found.is_empty() || after_crash == AfterCrash::Verify, "{told}");
                cache.set("and so on", "x").unwrap();
                assert_sound(&cache);
            }
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 50, "{deaths}");
    }
}

/// The mixtures must respect syncs, otherwise they would show impossible losses; and they must really be mixtures.
#[test]
fn mixtures_honour_syncs() {
    let mut lost = use_and_lose(600, AfterCrash::Discard, false);
    let &(_, flush) = lost.flushed.first().expect("a flush");
    let now = lost.disk.states[flush].clone();
    // After the sync of the whole file only the header was written, and it was synced again.
    let mixture = lost.disk.mixture(flush, usize::MAX);
    assert!(mixture.iter().zip(&now.pages).all(|(mixed, now)| mixed == now));
    let last = lost.disk.states.len() - 1;
    let differ = (0..50).filter(|_| lost.disk.mixture(last, usize::MAX) != lost.disk.states[last].pages).count();
    assert!(differ > 40, "{differ}");
}
