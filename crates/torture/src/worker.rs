//! A worker process: it uses the cache in every way until it is told to end, or is killed.

use crate::board::{Board, KEYS, LONGEST_ROUND, PARTS, SLOTS, TAGS, THREADS, Word, monotonic_ns};
use crate::events::{FileInUse, Invalidating};
use crate::fork::{How, fork_orphan};
use crate::history::{Before, Token, Wrong, begin_addition, begin_counter, count_text, flags_of, wall_ms};
use crate::keys::{is_counter, name, named, part};
use crate::parts::Parts;
use crate::random::Random;
use crate::tags::{self, InvalidatingTags};
use crate::value::Value;
use crate::versions::open_near;
use anyhow::{Context, Result};
use kennel::{Changed, Error, Expiry, Invalidation, Item, Options, SetOptions, Swap};
use rustix::process::Pid;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A write with a shorter lock wait may reach its limit although no process was stopped, because a dead process, or one
/// that the scheduler does not run, may hold the lock.
const PATIENT: Duration = Duration::from_secs(2);
/// Average number of operations of a process before it forks.
const FORKS: u64 = 8_000;
/// The largest number of violations that are printed; further ones are only counted.
const PRINTED: u64 = 20;

#[derive(clap::Args)]
pub struct Args {
    board: PathBuf,
    cache: PathBuf,
    seed: u64,
    /// The largest number of processes that may exist after a fork.
    most: usize,
    /// Lock wait of a write, in milliseconds.
    lock_wait: u64,
    #[cfg(feature = "faults")]
    #[arg(long)]
    fault: Option<String>,
}

impl Args {
    fn lock_wait(&self) -> Duration {
        Duration::from_millis(self.lock_wait)
    }
}

/// Disturbances of an operation that existed when it began.
#[derive(Clone, Copy)]
pub struct Stops {
    /// Number of stops that had begun.
    begun: u64,
    /// Whether a process was still stopped.
    lasts: bool,
    file: FileInUse,
}

/// A thread of a worker.
pub struct Worker<'a> {
    args: &'a Args,
    pub board: &'a Board,
    pub cache: &'a Parts,
    pub slot: usize,
    pub worker: u64,
    pub thread: usize,
    killer: Option<Pid>,
    pub random: Random,
    /// Items that this thread has read.
    near: HashMap<u16, Item>,
}

pub fn run(args: &Args) -> Result<()> {
    #[cfg(feature = "faults")]
    if let Some(name) = &args.fault {
        kennel::faults::inject(crate::fault::named(name).context("no such fault")?);
    }
    let board = Board::open(&args.board)?;
    let parts = open(args, &board).context("open the cache and its namespaces")?;
    open_near(&parts);
    let killer = rustix::process::getppid();
    work(args, &board, &parts, killer);
    Ok(())
}

/// Opens the cache, and tries again if this fails for an allowed reason. As documented, opening fails at the end of its
/// wait if another process that opens the file was stopped or is not scheduled. While the file is being replaced, there
/// may be no file, and a new file has no namespaces yet.
fn open(args: &Args, board: &Board) -> kennel::Result<Parts> {
    let options = Options::new().lock_wait(args.lock_wait());
    let start = Instant::now();
    loop {
        let file = FileInUse::now(board);
        let opened = options.open(&args.cache).and_then(|cache| Parts::of(&cache));
        match opened {
            Err(error) if is_passing(&error, !file.is_same(board)) && start.elapsed() < LONGEST_ROUND => {}
            opened => return opened,
        }
    }
}

/// Whether a stopped process, or a replacement in progress, explains an error.
fn is_passing(error: &Error, was_replaced: bool) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::TimedOut,
        Error::Busy { .. } => true,
        Error::NotFound(_) => was_replaced,
        _ => false,
    }
}

/// One in this many workers has a single thread, and forks by a bare system call.
const BARE: u64 = 3;

/// Works as one of the board's processes until its end.
fn work(args: &Args, board: &Board, cache: &Parts, killer: Option<Pid>) {
    let Some((slot, worker)) = board.join() else { return };
    let of = |thread| Worker {
        args,
        board,
        cache,
        slot,
        worker,
        thread,
        killer,
        random: Random(args.seed ^ worker << 8 ^ thread as u64),
        near: HashMap::new(),
    };
    let (threads, how) = if worker.is_multiple_of(BARE) { (1, How::Bare) } else { (THREADS, How::Told) };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || of(thread).serve());
        }
        of(0).lead(how);
    });
}

impl<'a> Worker<'a> {
    fn goes_on(&self) -> bool {
        // If the killer has ended, no process would end this one.
        self.board.get(Word::Stop) == 0 && rustix::process::getppid() == self.killer
    }

    fn serve(&mut self) {
        while self.goes_on() {
            self.operate();
        }
    }

    /// Works, and forks from time to time.
    fn lead(&mut self, how: How) {
        while self.goes_on() {
            if self.random.one_in(FORKS) && self.board.pids().len() < self.args.most.min(SLOTS) {
                if fork_orphan(how) {
                    self.go_on_as_child();
                }
                self.board.add(Word::Forks, 1);
            }
            self.operate();
        }
    }

    /// A forked child is a separate worker, with the inherited handle. Its parent's other threads do not exist in it,
    /// so it must not return to where the parent joins them.
    fn go_on_as_child(&self) -> ! {
        for _ in 0..5000 {
            if rustix::process::getppid() == self.killer {
                work(self.args, self.board, self.cache, self.killer);
                break;
            }
            // Its parent is about to end, and the killer to adopt it.
            std::thread::sleep(Duration::from_millis(1));
        }
        std::process::exit(0)
    }

    fn operate(&mut self) {
        let key = self.random.skewed(KEYS as u64) as u16;
        match self.random.below(1000) {
            0 => self.scan(),
            1 if self.may_resize() => self.resize(),
            1 if self.random.one_in(4) => self.invalidate(),
            1 if self.random.one_in(5) => self.flush(),
            1 => self.look_around(),
            2..5 => self.claim(),
            5..9 => self.typed(),
            9 => self.invalidate_tags(),
            10..20 => self.delete(key),
            20..40 => self.delete_many(),
            40..60 => self.touch(key),
            60..90 => self.swap(key),
            90..120 => self.write_many(),
            120..160 => self.write_if(key),
            160..400 => self.write(key),
            400..440 => self.read_many(),
            440..480 => self.read_item(key),
            480..560 => self.read_near(key),
            _ => self.read(key),
        }
    }

    /// Does one operation of the cache, measured and supervised.
    pub fn call<T>(&self, operation: impl FnOnce(&Parts) -> T) -> T {
        self.measured(operation, [Word::LongestNs, Word::LongestStoppedNs])
    }

    /// Does one operation of the cache, and records its duration in the first word if no process was stopped, otherwise
    /// in the second.
    pub fn measured<T>(&self, operation: impl FnOnce(&Parts) -> T, longest: [Word; 2]) -> T {
        let since = self.board.since(self.slot, self.thread);
        let stops = self.board.get(Word::StopsBegun);
        let stopped = self.board.get(Word::StoppedNow);
        let start = monotonic_ns();
        since.store(start, SeqCst);
        let result = operation(self.cache);
        let took = monotonic_ns() - start;
        since.store(0, SeqCst);
        let undisturbed = stopped == 0 && self.board.get(Word::StopsBegun) == stops;
        self.board.word(longest[usize::from(!undisturbed)]).fetch_max(took, SeqCst);
        self.board.add(Word::Operations, 1);
        result
    }

    /// Like [`call`](Self::call), for an operation that can fail: see [`allowed`](Self::allowed).
    pub fn write_call<T>(&self, key: u16, operation: impl FnOnce(&Parts) -> kennel::Result<T>) -> Option<T> {
        let stops = self.stops();
        let result = self.call(operation);
        self.allowed(key, stops, result)
    }

    /// The disturbances that exist when an operation begins.
    pub fn stops(&self) -> Stops {
        Stops {
            begun: self.board.get(Word::StopsBegun),
            lasts: self.board.get(Word::StoppedNow) != 0,
            file: FileInUse::now(self.board),
        }
    }

    /// The result of an operation; `None` if it failed. A failure is a violation unless it has an allowed reason: a
    /// process was stopped for longer than a write waits; a process was not scheduled, and writes wait for a short time
    /// only; or the file was being replaced, so that there was no file, or no time left to open the new one.
    pub fn allowed<T>(&self, key: u16, before: Stops, result: kennel::Result<T>) -> Option<T> {
        let error = match result {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let was_stopped = before.lasts || self.stops().begun != before.begun;
        let was_replaced = !before.file.is_same(self.board);
        let can_be_busy = was_stopped || was_replaced || self.args.lock_wait() < PATIENT;
        if can_be_busy && is_passing(&error, was_replaced) {
            self.board.add(Word::Busy, 1);
        } else {
            let expected = "no error, since no process was stopped".into();
            self.wrong(Wrong { key, expected, found: error.to_string() });
        }
        None
    }

    pub fn check(&self, checked: Result<(), Wrong>) {
        match checked {
            Ok(()) => self.board.add(Word::Hits, 1),
            Err(wrong) => self.wrong(wrong),
        }
    }

    pub fn wrong(&self, wrong: Wrong) {
        if self.board.word(Word::Violations).fetch_add(1, SeqCst) < PRINTED {
            let Wrong { key, expected, found } = wrong;
            println!("violation: key {key}: expected {expected}; found {found}; seed {:#x}", self.args.seed);
        }
    }

    fn read(&self, key: u16) {
        let (before, name) = (Before::sample(self.board, key), name(key));
        if let Some(found) = self.call(|cache| cache.all.get(&name)) {
            self.check(before.check_hit(&found, None));
        }
    }

    fn read_item(&self, key: u16) {
        let (before, name) = (Before::sample(self.board, key), name(key));
        if let Some(item) = self.call(|cache| cache.all.get_item(&name)) {
            self.check(before.check_item(&item));
        }
    }

    /// Checks the item that this thread has, if the cache says that it is still the current one, because a read could
    /// then have returned it now.
    fn read_near(&mut self, key: u16) {
        let (before, name) = (Before::sample(self.board, key), name(key));
        let known = self.near.remove(&key);
        let found = match &known {
            Some(known) => self.call(|cache| cache.all.get_if_changed(&name, known.id())),
            None => Ok(self.call(|cache| cache.all.get_item(&name)).map(Changed::New)),
        };
        let item = match (found, known) {
            (Ok(Some(Changed::New(item))), _) => item,
            (Ok(Some(Changed::Same { is_stale })), Some(mut known)) => {
                known.is_stale = is_stale;
                known
            }
            _ => return,
        };
        self.check(before.check_item(&item));
        self.near.insert(key, item);
    }

    fn read_many(&mut self) {
        let first = self.random.skewed(KEYS as u64) as usize;
        let keys: Vec<u16> = (first..KEYS.min(first + 20)).map(|key| key as u16).collect();
        let names: Vec<_> = keys.iter().map(|&key| name(key)).collect();
        let before: Vec<_> = keys.iter().map(|&key| Before::sample(self.board, key)).collect();
        let found = self.call(|cache| cache.all.get_multi(&names));
        for (before, found) in before.iter().zip(found) {
            found.iter().for_each(|found| self.check(before.check_hit(found, None)));
        }
    }

    fn scan(&self) {
        for found in self.call(|cache| cache.all.keys().collect::<Vec<_>>()) {
            if named(&found).is_none() {
                let shown = String::from_utf8_lossy(&found[..found.len().min(40)]).into_owned();
                self.wrong(Wrong { key: 0, expected: "a key that was set".into(), found: format!("{shown:?}") });
            }
        }
    }

    fn look_around(&self) {
        self.call(|cache| cache.all.stats());
        self.call(|cache| cache.all.stripe_stats());
    }

    /// Invalidates a namespace or everything, hard or soft.
    fn invalidate(&mut self) {
        let part = self.random.pick(&[None, None, Some(1), Some(2)]);
        let how = self.random.pick(&[Invalidation::Hard, Invalidation::Soft]);
        let event = Invalidating::begin(self.board, (self.slot, self.thread), part, how);
        if self.write_call(0, |cache| cache.invalidate(part, how)).is_some() {
            event.done();
            self.board.add(Word::Invalidations, 1);
        }
    }

    /// Invalidates the values of the whole cache that bear some tags, hard or soft.
    fn invalidate_tags(&mut self) {
        let count = self.random.pick(&[1, 1, 2]);
        let tags: Vec<_> = (0..count).map(|_| self.random.below(TAGS as u64) as usize).collect();
        let names: Vec<_> = tags.iter().map(|&tag| tags::name(tag)).collect();
        let how = self.random.pick(&[Invalidation::Hard, Invalidation::Soft]);
        let event = InvalidatingTags::begin(self.board, &tags, how);
        if self.write_call(0, |cache| cache.all.invalidate_tags(&names, how)).is_some() {
            event.done();
        }
    }

    /// The length of a value: small, around the limit up to which a record is overwritten in place, or large.
    pub fn len(&mut self) -> usize {
        let len = match self.random.below(20) {
            0..11 => self.random.within(24, 200),
            11..16 => self.random.within(400, 560),
            16..19 => self.random.within(560, 3000),
            _ => self.random.within(3000, 6500),
        };
        len as usize
    }

    /// A value that does not expire.
    pub fn value(&mut self, key: u16, number: u64) -> Vec<u8> {
        Value { key, writer: self.worker as u16, number: number as u32, expires_ms: 0 }.bytes(self.len())
    }

    /// A value for a write, and the options to store it.
    fn draft(&mut self, key: u16, number: u64) -> (Vec<u8>, SetOptions) {
        let how = SetOptions::new().flags(flags_of(number)).tags(&tags::names_of(key, number));
        if !self.random.one_in(6) {
            return (self.value(key, number), how);
        }
        let expires_ms = wall_ms() + self.random.within(1, 40);
        let value = Value { key, writer: self.worker as u16, number: number as u32, expires_ms };
        (value.bytes(self.len()), how.expiry(Expiry::At(UNIX_EPOCH + Duration::from_millis(expires_ms))))
    }

    fn write(&mut self, key: u16) {
        if is_counter(key) {
            return self.count(key);
        }
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let number = token.begin();
        let (value, how) = self.draft(key, number);
        if self.write_call(key, |cache| cache.set(key, &value, &how)).is_some() {
            token.done(number);
        }
    }

    /// Stores only if there is a value, or only if there is none.
    fn write_if(&mut self, key: u16) {
        if is_counter(key) {
            return self.count(key);
        }
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let number = token.begin();
        let (value, how) = self.draft(key, number);
        let add = self.random.one_in(2);
        let store = |cache: &Parts| match add {
            true => cache.add(key, &value, &how),
            false => cache.replace(key, &value, &how),
        };
        if self.write_call(key, store) == Some(true) {
            token.done(number);
        }
    }

    fn write_many(&mut self) {
        let numbered = self.tokens().into_iter().map(|token| (token.begin(), token));
        // All items of a batch have the same flags and tags, so writes with any are left to other operations.
        let is_plain = |key, number| flags_of(number) == 0 && tags::tags_of(key, number).is_empty();
        let writes: Vec<_> = numbered.filter(|(number, token)| is_plain(token.key(), *number)).collect();
        let Some(part) = writes.first().map(|(_, token)| part(token.key())) else { return };
        let items: Vec<_> =
            writes.iter().map(|(number, token)| (name(token.key()), self.value(token.key(), *number))).collect();
        self.finish_many(&writes, |cache| cache.set_multi(part, &items));
    }

    fn delete_many(&mut self) {
        let tokens = self.tokens().into_iter().take(3);
        let deletes: Vec<_> = tokens.map(|token| (token.begin(), token)).collect();
        let names: Vec<_> = deletes.iter().map(|(_, token)| name(token.key())).collect();
        self.finish_many(&deletes, |cache| cache.all.delete_multi(&names));
    }

    /// Does a batch. If one of its writes failed, no check relies on the others.
    fn finish_many<T>(&self, batch: &[(u64, Token<'_>)], operation: impl FnOnce(&Parts) -> Vec<kennel::Result<T>>) {
        let Some((_, first)) = batch.first() else { return };
        let all =
            self.write_call(first.key(), |cache| operation(cache).into_iter().collect::<kennel::Result<Vec<_>>>());
        if all.is_some() {
            batch.iter().for_each(|(number, token)| token.done(*number));
        }
    }

    /// The free tokens among some neighbouring keys of one part.
    fn tokens(&mut self) -> Vec<Token<'a>> {
        let first = self.random.skewed(KEYS as u64) as usize;
        let keys = (first..KEYS.min(first + 36)).step_by(PARTS).map(|key| key as u16).filter(|&key| !is_counter(key));
        keys.filter_map(|key| Token::take(self.board, key, self.worker)).collect()
    }

    fn swap(&mut self, key: u16) {
        if is_counter(key) {
            return self.count(key);
        }
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let before = Before::sample(self.board, key);
        let Some(item) = self.call(|cache| cache.all.get_item(name(key))) else { return };
        self.check(before.check_item(&item));
        let number = token.begin();
        let (value, how) = self.draft(key, number);
        let swapped = self.write_call(key, |cache| cache.compare_and_swap(key, item.stamp, &value, &how));
        if matches!(swapped, Some(Swap::Stored(_))) {
            token.done(number);
        }
    }

    pub fn delete(&mut self, key: u16) {
        if is_counter(key) {
            self.write_call(key, |cache| cache.all.delete(name(key)));
            return;
        }
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        let number = token.begin();
        if self.write_call(key, |cache| cache.all.delete(name(key))).is_some() {
            token.done(number);
        }
    }

    fn touch(&mut self, key: u16) {
        let expiry = Expiry::After(Duration::from_millis(self.random.within(1, 500)));
        let Some(token) = Token::take(self.board, key, self.worker) else { return };
        token.touch();
        self.write_call(key, |cache| cache.all.touch(name(key), expiry));
    }

    fn count(&mut self, key: u16) {
        if self.add(key) != Some(None) {
            return;
        }
        // The counter is missing: one worker recreates it, after a second look, which also completes what a killed
        // process had begun.
        let Some(_token) = Token::take(self.board, key, self.worker) else { return };
        if self.add(key) == Some(None) {
            let number = begin_counter(self.board, key);
            let how = SetOptions::new();
            self.write_call(key, |cache| cache.add(key, count_text(key, number).as_bytes(), &how));
        }
    }

    /// Adds one; `None` if it could not be tried, `Some(None)` if the counter is missing.
    fn add(&self, key: u16) -> Option<Option<u64>> {
        let before = Before::sample(self.board, key);
        begin_addition(self.board, key);
        let sum = self.write_call(key, |cache| cache.incr(key))?;
        if let Some(sum) = sum {
            self.check(before.check_added(sum));
        }
        Some(sum)
    }
}
