//! A worker of the demo: reads and writes until its input ends or it is killed.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use kennel::{Cache, Options};
use kennel_harness::interrupt;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::records::{self, Maker, Popularity};
use super::sample::{Latencies, Sample, histogram};
use crate::cmd::outcome::{AnyError, CliResult};

/// The interval of reports. It is short, because a killed worker lives for about a tenth of a second, and what it has
/// not reported is not counted.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// The number of operations between two checks of the clock and the stop flag.
const BATCH: u32 = 64;

/// One in this many operations is timed. Reading the clock takes about a tenth of the time of a read, which would
/// reduce the throughput.
const TIMED_EVERY: u32 = 16;

/// The share of operations that read; the others write.
const READS: f64 = 0.9;

/// Read and write a cache for the demo (started by the demo itself).
#[derive(Args)]
pub struct WorkerArgs {
    file: PathBuf,
    #[arg(long)]
    seed: u64,
}

pub fn run_worker(args: &WorkerArgs) -> CliResult {
    // Ctrl-C reaches every process of the terminal. The parent ends the run, and a worker waits for the end of its
    // input.
    interrupt::watch()?;
    let stop = watch_standard_input();
    let mut worker = Worker::new(args)?;
    let mut out = io::stdout().lock();
    while !stop.load(Ordering::Relaxed) {
        worker.work_for(REPORT_EVERY)?;
        worker.report(&mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets the flag when standard input ends, because the parent closed it or has ended.
fn watch_standard_input() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&stop);
    std::thread::spawn(move || {
        // The parent writes nothing, so the read returns only when the input ends.
        let _ = io::stdin().lock().read(&mut [0]);
        mark.store(true, Ordering::Relaxed);
    });
    stop
}

struct Worker {
    cache: Cache,
    rng: SmallRng,
    popularity: Popularity,
    maker: Maker,
    operations: u32,
    key: Vec<u8>,
    value: Vec<u8>,
    read_buffer: Vec<u8>,
    sample: Sample,
    read_latency: Histogram<u64>,
    write_latency: Histogram<u64>,
}

impl Worker {
    fn new(args: &WorkerArgs) -> Result<Self, AnyError> {
        Ok(Self {
            cache: Options::new().open(&args.file)?,
            rng: SmallRng::seed_from_u64(args.seed),
            popularity: Popularity::new()?,
            maker: Maker::new(std::process::id()),
            operations: 0,
            key: Vec::new(),
            value: Vec::new(),
            read_buffer: vec![0; records::MAX_VALUE],
            sample: Sample::default(),
            read_latency: histogram()?,
            write_latency: histogram()?,
        })
    }

    fn work_for(&mut self, time: Duration) -> kennel::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            for _ in 0..BATCH {
                self.operate()?;
            }
        }
        Ok(())
    }

    /// One operation on one key. A miss is followed by a write, as in a program that fetches the value from elsewhere.
    fn operate(&mut self) -> kennel::Result<()> {
        self.operations = self.operations.wrapping_add(1);
        records::write_key(self.popularity.draw(&mut self.rng), &mut self.key);
        if self.rng.random_bool(READS) && self.read()? {
            return Ok(());
        }
        self.write()
    }

    /// Reads the key, checks the value, and returns whether it was a hit.
    fn read(&mut self) -> kennel::Result<bool> {
        let start = self.clock();
        let found = self.cache.get_into(&self.key, &mut self.read_buffer)?;
        record(&mut self.read_latency, start);
        self.sample.reads += 1;
        if let Some(len) = found {
            self.sample.hits += 1;
            self.check(len);
        }
        Ok(found.is_some())
    }

    fn check(&mut self, len: usize) {
        if let Err(what) = records::check(&self.key, &self.read_buffer[..len]) {
            let key = String::from_utf8_lossy(&self.key);
            self.sample.wrong += 1;
            self.sample.wrong_example = Some(format!("{key}: {what}"));
        }
    }

    fn write(&mut self) -> kennel::Result<()> {
        self.maker.write_value(&self.key, &mut self.rng, &mut self.value);
        let start = self.clock();
        self.cache.set(&self.key, &self.value)?;
        record(&mut self.write_latency, start);
        self.sample.writes += 1;
        Ok(())
    }

    /// The current time, if this operation is timed.
    fn clock(&self) -> Option<Instant> {
        self.operations.is_multiple_of(TIMED_EVERY).then(Instant::now)
    }

    /// Reports what happened since the last report, and resets the counts.
    fn report(&mut self, out: &mut impl io::Write) -> Result<(), AnyError> {
        let mut sample = std::mem::take(&mut self.sample);
        sample.read_latency = Latencies::of(&self.read_latency);
        sample.write_latency = Latencies::of(&self.write_latency);
        self.read_latency.reset();
        self.write_latency.reset();
        let mut line = serde_json::to_vec(&sample)?;
        line.push(b'\n');
        out.write_all(&line)?;
        out.flush()?;
        Ok(())
    }
}

fn record(histogram: &mut Histogram<u64>, start: Option<Instant>) {
    if let Some(start) = start {
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        histogram.saturating_record(nanos);
    }
}
