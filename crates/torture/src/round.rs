//! A round: one cache file of a random shape, workers that use it, and a check of what they leave behind.
//!
//! A run consists of rounds, so that it covers many shapes and verifies the invariants several times. In one of three
//! rounds the file is [replaced](crate::replacer) while the workers run; then the counters of the cache and the final
//! verification are those of the last file, and the lock strategy shown is that of the first. In the others, the workers
//! [resize](crate::sizes) it.

use crate::board::{Board, KEYS, Word};
use crate::durable::look_after_a_restart;
use crate::history::{Before, Wrong, begin_counter, count_text};
use crate::keys::{is_counter, name};
use crate::killer::{Killer, Manner, Toll};
use crate::parts::Parts;
use crate::random::Random;
use crate::replacer::Replacer;
use crate::report::Total;
use anyhow::{Context, Result};
use kennel::{Cache, LockStrategy, Options, Wait};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// The largest number of violations that are printed at the end; further ones are only counted.
const PRINTED: usize = 10;

pub struct Round<'a> {
    pub locks: LockStrategy,
    pub processes: usize,
    pub seed: u64,
    pub fault: Option<&'a str>,
    /// Whether the cache file is replaced again and again.
    pub replaces: bool,
    pub end: Instant,
}

/// The shape of a round's cache, and one of twice the size for the file that replaces it. The keys need several times
/// as much space, so there is always eviction.
fn shape(random: &mut Random) -> (u64, [Options; 2], String) {
    // The largest values need 32 KiB for each stripe.
    let (capacity, stripes): (u64, u32) =
        random.pick(&[(128 << 10, 1), (128 << 10, 4), (256 << 10, 2), (256 << 10, 8)]);
    let lock_regions = stripes >> random.below(2).min(u64::from(stripes.ilog2()));
    let mean_item = random.pick(&[64, 300, 1000]);
    // With few claims, some keys are created without protection.
    let claims = random.pick(&[64, 64, 8, 2]);
    // In some rounds positions run out early, which empties stripes.
    let ending = random.one_in(3);
    let options = Options::new()
        .capacity(capacity)
        .stripes(stripes)
        .lock_regions(lock_regions)
        .mean_item(mean_item)
        .claims(claims)
        .seats(128)
        .seed(random.next())
        .near_last_position(ending);
    let ends = if ending { ", near the last position" } else { "" };
    let shown = format!(
        "{} KiB, {stripes} stripes, {lock_regions} locks, {claims} claims, items of {mean_item}{ends}",
        capacity >> 10
    );
    (capacity, [options.clone(), options.capacity(2 * capacity)], shown)
}

impl Round<'_> {
    /// Runs the round and adds its results.
    pub fn run(&self, directory: &Path, total: &mut Total) -> Result<()> {
        let mut random = Random(self.seed);
        let (capacity, sizes, shape) = shape(&mut random);
        let manner = Manner::random(&mut random, self.fault);
        let path = directory.join("cache");
        let cache = sizes[0].clone().locks(self.locks.clone()).create(&path).context("create the cache")?;
        let board = Board::create(&directory.join("board"))?;
        board.word(Word::LeastCapacity).store(if self.replaces { 0 } else { capacity }, SeqCst);
        // The namespaces must exist before any process can be killed.
        Parts::of(&cache).context("make the namespaces")?;
        let toll = self.kill(directory, &board, manner, sizes)?;
        // This handle follows the replacement to the last file.
        Parts::of(&cache).context("find the namespaces, or make those of a new file")?;
        let mut at_the_end = look_at_the_end(&cache, &board);
        let counters = cache.stats().counters;
        at_the_end.extend(look_after_a_restart(cache, &path));
        for wrong in toll.faults.iter().chain(at_the_end.iter().take(PRINTED)) {
            println!("violation: {wrong}; seed {:#x}", self.seed);
        }
        let violations = board.get(Word::Violations) + (toll.faults.len() + at_the_end.len()) as u64;
        println!(
            "round with {} locks, {shape}, lock wait {} ms: seed {:#x}, kills {}, stops {}, forks {}, replacements {}, operations {}, \
             hits checked {}, busy {}, invalidations {}, of tags {}, flushes that held {}, repairs {}, evictions {}, longest wait {:.1} ms ({:.1} ms with \
             stops), violations {violations}",
            self.locks,
            manner.lock_wait_ms,
            self.seed,
            toll.kills,
            toll.stops,
            board.get(Word::Forks),
            board.get(Word::Replaced),
            board.get(Word::Operations),
            board.get(Word::Hits),
            board.get(Word::Busy),
            board.get(Word::Invalidations),
            board.get(Word::TagInvalidations),
            board.get(Word::Flushes),
            counters.repairs,
            counters.evictions(),
            board.get(Word::LongestNs) as f64 / 1e6,
            board.get(Word::LongestStoppedNs) as f64 / 1e6,
        );
        println!("  claims: {}", claims(&board, &toll));
        if !self.replaces {
            println!("  resizes: {}", resizes(&board));
        }
        total.kills += toll.kills;
        total.operations += board.get(Word::Operations);
        total.violations += violations;
        total.longest_ns = total.longest_ns.max(board.get(Word::LongestNs));
        Ok(())
    }

    fn kill(&self, directory: &Path, board: &Board, manner: Manner, sizes: [Options; 2]) -> Result<Toll> {
        let program = std::env::current_exe().context("find this program")?;
        let start = |number: u64| {
            let mut command = Command::new(&program);
            command.arg("worker").arg(directory.join("board")).arg(directory.join("cache"));
            command.arg((self.seed ^ number << 40).to_string()).arg((self.processes * 3 / 2 + 1).to_string());
            command.arg(manner.lock_wait_ms.to_string());
            self.fault.iter().for_each(|fault| {
                command.arg("--fault").arg(fault);
            });
            command.stdin(Stdio::null());
            command
        };
        // With an injected fault, one finding is enough.
        let enough = |board: &Board| self.fault.is_some() && board.get(Word::Violations) > 0;
        let path = directory.join("cache");
        let is_file = matches!(self.locks, LockStrategy::File);
        let other = if is_file { LockStrategy::Lease } else { LockStrategy::File };
        let strategies = [self.locks.clone(), other];
        let replacer = Replacer { board, path: &path, sizes, strategies, random: Random(self.seed ^ 1) };
        std::thread::scope(|scope| {
            let replacer = self.replaces.then(|| scope.spawn(|| replacer.run()));
            let toll = Killer::new(board, &start, self.seed, manner).run(self.processes, self.end, enough);
            board.word(Word::Stop).store(1, SeqCst);
            let fault = replacer.and_then(|thread| thread.join().expect("the replacer does not panic"));
            toll.map(|mut toll| {
                toll.faults.extend(fault);
                toll
            })
        })
    }
}

/// A summary of the resizes in a round.
fn resizes(board: &Board) -> String {
    let ms = |word| board.get(word) as f64 / 1e6;
    format!(
        "{} of {} that began, {} killed or killed a moment later, writers kept waiting for {:.1} ms at most, longest {:.1} ms",
        board.get(Word::Resized),
        board.get(Word::ResizesBegun),
        board.get(Word::ResizersKilled),
        ms(Word::LongestClosedNs),
        ms(Word::LongestResizeNs),
    )
}

/// A summary of the claims in a round.
fn claims(board: &Board, toll: &Toll) -> String {
    let takeovers = board.get(Word::Takeovers);
    format!(
        "created {}, unprotected {}, voided {}, typed {}, locked {}, timed out {}, holders killed {}, taken over {takeovers} after \
         {:.1} ms on average and {:.1} ms at most, longest way to a claim {:.1} ms",
        board.get(Word::Created),
        board.get(Word::Unprotected),
        board.get(Word::Voided),
        board.get(Word::TypedCreated),
        board.get(Word::Locked),
        board.get(Word::TimedOut),
        toll.orphaned,
        board.get(Word::TakeoverNs) as f64 / takeovers.max(1) as f64 / 1e6,
        board.get(Word::LongestTakeoverNs) as f64 / 1e6,
        board.get(Word::LongestClaimNs) as f64 / 1e6,
    )
}

/// The problems after all workers have ended: violated invariants, wrong contents, or a cache that can no longer be
/// used.
fn look_at_the_end(cache: &Cache, board: &Board) -> Vec<String> {
    let verification = cache.verify();
    let mut wrong: Vec<String> =
        verification.problems.iter().map(|problem| format!("at the end: verify: {problem:?}")).collect();
    if !verification.unchecked.is_empty() {
        wrong.push(format!("at the end: verify left stripes {:?} unchecked", verification.unchecked));
    }
    let dropped = cache.stats().counters.dropped;
    if dropped != 0 {
        wrong.push(format!("at the end: {dropped} records were dropped as damaged"));
    }
    for key in 0..KEYS as u16 {
        let before = Before::sample(board, key);
        let found = cache.get(name(key));
        if let Some(Err(Wrong { expected, found, .. })) = found.map(|found| before.check_hit(&found, None)) {
            wrong.push(format!("at the end: key {key}: expected {expected}; found {found}"));
        }
        match cache.lock(name(key), Wait::For(Duration::from_secs(20))) {
            Ok(lock) => drop(lock),
            Err(error) => wrong.push(format!("at the end: key {key}: a dead process keeps its claim: {error}")),
        }
        let value = if is_counter(key) { count_text(key, begin_counter(board, key)) } else { "the end".into() };
        match cache.set(name(key), &value) {
            Ok(()) if cache.get(name(key)).is_some_and(|found| found == value.as_bytes()) => {}
            other => wrong.push(format!("at the end: key {key}: a value that was just set is missing: {other:?}")),
        }
    }
    wrong
}
