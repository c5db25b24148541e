//! The measured work: reads and writes by the threads of one worker process.

use crate::keys::{KEY_LEN, Keys, fill, is_right, key};
use crate::latency::Latency;
use crate::pace::{Due, Pacer};
use crate::strategies::Strategies;
use crate::task::{Counts, End, Job, Outcome};
use crate::usage::{self, Usage};
use crate::work::{WorkError, open, wait_for_start};
use kennel::{Cache, SetOptions, Values};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Operations between two readings of the clock.
const BATCH: usize = 64;
/// Without a rate, one operation in this many is timed, because reading the clock takes a considerable part of the time
/// of a read.
pub const TIMED_EVERY: usize = 16;
/// Fewest and most operations that are drawn before the start; the list then repeats.
const DRAWN: (usize, usize) = (1 << 16, 1 << 21);
/// A thread sleeps until this long before the end of a wait, and spins for the rest.
const SPIN: Duration = Duration::from_micros(80);
/// The bit that marks a drawn operation as a write.
const WRITES: u32 = 1 << 31;

/// Does a job, and returns its outcome.
pub(crate) fn work(job: &Job, strategies: &Strategies) -> Result<Outcome, WorkError> {
    let cache = open(&job.cell.strategy, job.cell.large_pages, &job.file, strategies)?;
    let threads = job.cell.threads;
    let mut hands = (0..threads).map(|number| Hand::new(job, &cache, number)).collect::<Result<Vec<_>, _>>()?;
    wait_for_start()?;
    let stage = Stage { job, barrier: Barrier::new(threads as usize), failed: AtomicBool::new(false) };
    let works: Vec<Result<Work, WorkError>> = std::thread::scope(|scope| {
        let running: Vec<_> = hands.iter_mut().map(|hand| scope.spawn(|| stage.perform(hand))).collect();
        let panicked = |_| Err(WorkError::Io(io::Error::other("a thread panicked")));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut outcome = Outcome::default();
    let (mut reads, mut writes) = (Latency::new(), Latency::new());
    for (hand, work) in hands.iter().zip(works) {
        let work = work?;
        outcome.counts.add(&hand.counts);
        outcome.elapsed = outcome.elapsed.max(work.elapsed);
        outcome.usage = outcome.usage.or(work.usage);
        reads.add(&hand.read_latency);
        writes.add(&hand.write_latency);
    }
    if let Some(path) = &job.samples {
        write_samples(path, &hands)?;
    }
    outcome.read_latency = reads.buckets();
    outcome.write_latency = writes.buckets();
    Ok(outcome)
}

/// The state that the threads of one process share.
struct Stage<'a> {
    job: &'a Job,
    barrier: Barrier,
    failed: AtomicBool,
}

/// How long one thread worked; the first thread of a process also reports the usage of the process.
struct Work {
    elapsed: Duration,
    usage: Option<Usage>,
}

impl Stage<'_> {
    /// Does the warm-up, and then the measured work. A thread that fails still arrives at the barriers; otherwise the
    /// other threads would wait forever.
    fn perform(&self, hand: &mut Hand<'_>) -> Result<Work, WorkError> {
        let warm = self.note(self.warm_up(hand));
        hand.forget();
        let is_first = self.barrier.wait().is_leader();
        let before = if is_first { usage::now() } else { None };
        let start = Instant::now();
        // If a thread has failed, the others end, too, because their numbers would mean nothing.
        let done = match warm {
            Ok(()) if !self.failed.load(Ordering::Relaxed) => self.note(self.measure(hand)),
            other => other,
        };
        let elapsed = start.elapsed();
        self.barrier.wait();
        let usage = before.and_then(|before| Some(usage::now()? - before));
        done.map(|()| Work { elapsed, usage })
    }

    fn note<T>(&self, result: Result<T, WorkError>) -> Result<T, WorkError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn warm_up(&self, hand: &mut Hand<'_>) -> Result<(), WorkError> {
        if self.job.pin {
            usage::pin(self.job.process * self.job.cell.threads + hand.number)?;
        }
        match self.job.end {
            End::After(_) => hand.work_for(self.job.warm_up),
            End::Operations(_) => Ok(()),
        }
    }

    fn measure(&self, hand: &mut Hand<'_>) -> Result<(), WorkError> {
        match (self.job.end, self.job.rate) {
            (End::Operations(operations), _) => (0..operations).try_for_each(|_| hand.operate(None)),
            (End::After(time), None) => hand.work_for(time),
            (End::After(time), Some(rate)) => {
                let threads = self.job.cell.threads;
                let number = self.job.process * threads + hand.number;
                hand.work_at(&Pacer::new(rate, number, self.job.cell.processes * threads), time)
            }
        }
    }
}

/// One thread at work.
struct Hand<'a> {
    cache: &'a Cache,
    /// Number of the thread in its process.
    number: u32,
    /// Key numbers; the highest bit marks a write.
    drawn: Vec<u32>,
    at: usize,
    value: Vec<u8>,
    into: Vec<u8>,
    batch: Batch,
    counts: Counts,
    read_latency: Latency,
    write_latency: Latency,
    /// Each measured latency, if they are kept; the highest bit marks a write.
    samples: Option<Vec<u64>>,
}

/// The buffers for a call with several keys.
struct Batch {
    /// Keys of one call.
    size: usize,
    numbers: Vec<u64>,
    keys: Vec<[u8; KEY_LEN]>,
    values: Values,
}

impl Batch {
    fn of(size: usize) -> Self {
        Self { size, numbers: Vec::with_capacity(size), keys: Vec::with_capacity(size), values: Values::new() }
    }
}

/// The mark of a write among the samples.
const WRITE_SAMPLE: u64 = 1 << 63;

impl<'a> Hand<'a> {
    fn new(job: &Job, cache: &'a Cache, number: u32) -> Result<Self, WorkError> {
        let seed = job.seed ^ (u64::from(job.process) << 32) ^ (u64::from(number) << 16);
        Ok(Self {
            cache,
            number,
            drawn: draw(&job.cell.keys, job.items, job.cell.write_percent, seed)?,
            at: 0,
            value: vec![0x5a; job.cell.value_size],
            into: vec![0; job.cell.value_size],
            batch: Batch::of(job.cell.batch as usize),
            counts: Counts::default(),
            read_latency: Latency::new(),
            write_latency: Latency::new(),
            samples: job.samples.is_some().then(Vec::new),
        })
    }

    /// Discards the counts of the warm-up.
    fn forget(&mut self) {
        self.counts = Counts::default();
        self.read_latency = Latency::new();
        self.write_latency = Latency::new();
        self.samples.iter_mut().for_each(Vec::clear);
    }

    /// Works as fast as possible, and times one operation in [`TIMED_EVERY`].
    fn work_for(&mut self, time: Duration) -> Result<(), WorkError> {
        let start = Instant::now();
        while start.elapsed() < time {
            for n in 0..BATCH {
                let timed = n % TIMED_EVERY == 0;
                self.operate(timed.then(Instant::now))?;
            }
        }
        Ok(())
    }

    /// Works at the pace of a rate, and times each operation from when it was due.
    fn work_at(&mut self, pacer: &Pacer, time: Duration) -> Result<(), WorkError> {
        let start = Instant::now();
        let end = time.as_nanos() as u64;
        let mut operation = 0;
        while pacer.due(operation) < end {
            let due = start + Duration::from_nanos(pacer.due(operation));
            while let Due::In(nanos) = pacer.at(operation, start.elapsed().as_nanos() as u64) {
                match Duration::from_nanos(nanos).checked_sub(SPIN) {
                    Some(long) => std::thread::sleep(long),
                    None => std::hint::spin_loop(),
                }
            }
            // A thread that cannot keep the pace must still end in time.
            if start.elapsed() > time {
                break;
            }
            self.operate(Some(due))?;
            operation += 1;
        }
        Ok(())
    }

    /// One operation, whose latency counts from `since`. A write follows a read that misses, as in a program that then
    /// fetches the value from its source.
    #[inline]
    fn operate(&mut self, since: Option<Instant>) -> Result<(), WorkError> {
        if self.batch.size > 1 {
            return self.operate_on_many(since);
        }
        let drawn = self.next_drawn();
        let number = u64::from(drawn & !WRITES);
        if drawn & WRITES != 0 {
            return self.write(number, since);
        }
        let found = self.cache.get_into(key(number), &mut self.into)?;
        self.time(since, false);
        self.counts.reads += 1;
        match found {
            Some(len) if is_right(number, self.into.get(..len).unwrap_or(&[]), self.value.len()) => {
                self.counts.hits += 1;
                Ok(())
            }
            Some(found) => Err(WorkError::WrongValue { key: number, expected: self.value.len(), found }),
            None => self.write(number, None),
        }
    }

    #[inline]
    fn next_drawn(&mut self) -> u32 {
        let drawn = self.drawn[self.at];
        self.at = if self.at + 1 == self.drawn.len() { 0 } else { self.at + 1 };
        drawn
    }

    /// One call for several keys, which counts as one operation for each. The first of them decides whether it writes.
    fn operate_on_many(&mut self, since: Option<Instant>) -> Result<(), WorkError> {
        let first = self.next_drawn();
        self.batch.numbers.clear();
        self.batch.numbers.push(u64::from(first & !WRITES));
        for _ in 1..self.batch.size {
            let number = u64::from(self.next_drawn() & !WRITES);
            self.batch.numbers.push(number);
        }
        self.batch.keys.clear();
        self.batch.keys.extend(self.batch.numbers.iter().map(|&number| key(number)));
        if first & WRITES != 0 { self.write_many(since) } else { self.read_many(since) }
    }

    fn read_many(&mut self, since: Option<Instant>) -> Result<(), WorkError> {
        self.cache.get_multi_into(&self.batch.keys, &mut self.batch.values);
        self.time(since, false);
        self.counts.reads += self.batch.size as u64;
        let mut missed = Vec::new();
        for (&number, found) in self.batch.numbers.iter().zip(self.batch.values.iter()) {
            match found {
                Some(value) if is_right(number, value, self.value.len()) => self.counts.hits += 1,
                Some(value) => {
                    let (expected, found) = (self.value.len(), value.len());
                    return Err(WorkError::WrongValue { key: number, expected, found });
                }
                None => missed.push(number),
            }
        }
        missed.into_iter().try_for_each(|number| self.write(number, None))
    }

    fn write_many(&mut self, since: Option<Instant>) -> Result<(), WorkError> {
        let size = self.value.len();
        let values = self.batch.numbers.iter().map(|&number| {
            let mut value = vec![0x5a; size];
            fill(number, &mut value);
            value
        });
        let items: Vec<_> = self.batch.keys.iter().zip(values).collect();
        let results = self.cache.set_multi(&items, &SetOptions::new());
        self.time(since, true);
        self.counts.writes += results.len() as u64;
        for result in results {
            match result {
                Err(kennel::Error::Busy { .. }) => self.counts.busy += 1,
                result => result?,
            }
        }
        Ok(())
    }

    #[inline]
    fn write(&mut self, number: u64, since: Option<Instant>) -> Result<(), WorkError> {
        fill(number, &mut self.value);
        let result = self.cache.set(key(number), &self.value);
        self.time(since, true);
        self.counts.writes += 1;
        match result {
            Err(kennel::Error::Busy { .. }) => self.counts.busy += 1,
            result => result?,
        }
        Ok(())
    }

    #[inline]
    fn time(&mut self, since: Option<Instant>, is_write: bool) {
        let Some(since) = since else { return };
        let nanos = since.elapsed().as_nanos() as u64;
        let latency = if is_write { &mut self.write_latency } else { &mut self.read_latency };
        latency.record(nanos);
        if let Some(samples) = &mut self.samples {
            samples.push(nanos | if is_write { WRITE_SAMPLE } else { 0 });
        }
    }
}

/// Draws the operations of one thread: enough to include most keys, and few enough to be quick.
pub(crate) fn draw(keys: &Keys, items: u32, write_percent: f64, seed: u64) -> io::Result<Vec<u32>> {
    let n = (2 * items as usize).clamp(DRAWN.0, DRAWN.1);
    let mut drawn = keys.draw(items, n, seed)?;
    let mut rng = SmallRng::seed_from_u64(!seed);
    for operation in &mut drawn {
        if rng.random_bool(write_percent / 100.0) {
            *operation |= WRITES;
        }
    }
    Ok(drawn)
}

/// One line for each latency: thread, `read` or `write`, nanoseconds.
fn write_samples(path: &PathBuf, hands: &[Hand<'_>]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for hand in hands {
        for sample in hand.samples.iter().flatten() {
            let kind = if sample & WRITE_SAMPLE == 0 { "read" } else { "write" };
            writeln!(out, "{},{kind},{}", hand.number, sample & !WRITE_SAMPLE)?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_writes_is_drawn() {
        let share = |percent| {
            let drawn = draw(&Keys::Uniform, 1000, percent, 1).unwrap();
            drawn.iter().filter(|&operation| operation & WRITES != 0).count() as f64 / drawn.len() as f64
        };
        assert_eq!(share(0.0), 0.0);
        assert_eq!(share(100.0), 1.0);
        assert!((share(5.0) - 0.05).abs() < 0.005, "{}", share(5.0));
    }
}
