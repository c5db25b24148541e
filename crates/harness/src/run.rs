//! The measurement: rounds over the cells, and the results.

use crate::bound;
use crate::calls::{self, Calls};
use crate::crew::{self, CrewError};
use crate::keys::{KEY_LEN, fill, key};
use crate::latency::{Latency, Percentiles};
use crate::machine::Machine;
use crate::place;
use crate::plan::{Cell, LeftOut, Plan, PlanError};
use crate::stats::{Fairness, Spread};
use crate::strategies::Strategies;
use crate::task::{Counts, End, Job, Launcher, Outcome, Task};
use crate::usage::Usage;
use kennel::{Cache, LargePages, Options};
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The results of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The machine.
    pub machine: Machine,
    /// The plan.
    pub plan: Plan,
    /// The measured cells, in their order.
    pub cells: Vec<Measured>,
    /// The combinations that were left out because they make no sense.
    pub left_out: Vec<LeftOut>,
}

/// A cell with less than this share of its rate is behind.
const KEPT: f64 = 0.95;

impl Results {
    /// The cells that could not keep the rate. Operations that were due but had not begun at the end are in no latency.
    pub fn behind(&self) -> impl Iterator<Item = &Measured> {
        let least = self.plan.rate.unwrap_or(0.0) * KEPT;
        self.cells.iter().filter(move |one| one.throughput.median < least)
    }
}

/// The results of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The cell.
    pub cell: Cell,
    /// Bytes of records that its file holds.
    pub capacity: u64,
    /// Stripes of its file.
    pub stripes: u32,
    /// Operations a second of all threads together, over the rounds.
    pub throughput: Spread,
    /// Operations a second in each round, in order.
    pub rounds: Vec<f64>,
    /// Counts of all rounds together.
    pub counts: Counts,
    /// Latencies of the timed reads.
    pub read_latency: Option<Percentiles>,
    /// Latencies of the timed writes.
    pub write_latency: Option<Percentiles>,
    /// Fairness between the processes, as the median of the rounds. Sums over all rounds would look fair if each round
    /// had a different winner.
    pub fairness: Fairness,
    /// Processor time per operation, in nanoseconds. `None` with a rate, since it would include the waiting.
    pub cpu_ns: Option<CpuTime>,
    /// Context switches per operation.
    pub switches: Option<Switches>,
    /// System calls per operation.
    pub system_calls: Calls,
    /// Nanoseconds that a read from a file of this size takes at least; only for cells with a size of their data.
    pub limit_ns: Option<Spread>,
    /// All latencies of reads, for plots.
    #[serde(skip)]
    pub reads: Latency,
    /// All latencies of writes, for plots.
    #[serde(skip)]
    pub writes: Latency,
}

/// Processor time per operation, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CpuTime {
    /// In the program's own code.
    pub user: f64,
    /// In the operating system.
    pub system: f64,
}

/// Context switches per operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Switches {
    /// A thread gave up its processor, mostly to wait.
    pub voluntary: f64,
    /// The system took a thread off its processor.
    pub involuntary: f64,
}

/// Errors that stop a measurement.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan or the matrix asks for something impossible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A strategy does not exist.
    #[error("{0}")]
    Strategy(String),
    /// The cache file could not be created or filled.
    #[error("{cell}: {error}")]
    Cache {
        /// Name of the cell.
        cell: String,
        /// The error.
        error: Box<kennel::Error>,
    },
    /// A worker failed.
    #[error("{cell}: {error}")]
    Crew {
        /// Name of the cell.
        cell: String,
        /// The error.
        error: CrewError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The caller stopped the measurement.
    #[error("interrupted before the end")]
    Interrupted,
}

/// The progress of a measurement.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Number of finished runs.
    pub done: usize,
    /// Number of runs in all.
    pub of: usize,
    /// The next cell.
    pub cell: &'a Cell,
}

/// A measurement: a matrix of cells, each with one or more worker processes.
pub struct Bench<'a> {
    plan: Plan,
    strategies: &'a Strategies,
    launcher: Launcher<'a>,
    samples: Option<PathBuf>,
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("plan", &self.plan).field("samples", &self.samples).finish_non_exhaustive()
    }
}

impl<'a> Bench<'a> {
    /// A measurement by a plan. The worker processes that `launcher` starts must know the same strategies.
    #[must_use]
    pub fn new(plan: Plan, strategies: &'a Strategies, launcher: Launcher<'a>) -> Self {
        Self { plan, strategies, launcher, samples: None }
    }

    /// Writes each measured latency to a file: `round,cell,process,thread,kind,nanoseconds`. Cells are numbered from 0
    /// in the order of the results.
    #[must_use]
    pub fn samples(mut self, path: Option<PathBuf>) -> Self {
        self.plan.keep_samples = path.is_some();
        self.samples = path;
        self
    }

    /// Measures all cells one after the other, in several rounds, each of which begins with a different cell, so that a
    /// disturbance of the machine affects all cells. Calls `progress` before each run; `false` stops the measurement.
    ///
    /// # Errors
    /// The first [`RunError`].
    pub fn run(
        &self,
        cells: Vec<Cell>,
        left_out: Vec<LeftOut>,
        mut progress: impl FnMut(&Progress<'_>) -> bool,
    ) -> Result<Results, RunError> {
        self.plan.check()?;
        let machine = Machine::this();
        let directory = place::directory(self.plan.directory.as_deref())?;
        let mut samples = self.samples.as_deref().map(Samples::create).transpose()?;
        let mut limits: Vec<(Cell, Vec<f64>)> = Vec::new();
        let mut tallies: Vec<Tally> = cells.iter().map(|_| Tally::default()).collect();
        let of = cells.len() * self.plan.rounds as usize + self.counted(&cells).count();
        let mut done = 0;
        let mut go_on = |cell: &Cell| {
            let wanted = progress(&Progress { done, of, cell });
            done += 1;
            if wanted { Ok(()) } else { Err(RunError::Interrupted) }
        };
        for round in 0..self.plan.rounds as usize {
            for turn in 0..cells.len() {
                let number = (turn + round * cells.len() / self.plan.rounds as usize) % cells.len();
                let cell = &cells[number];
                go_on(cell)?;
                let (outcomes, buckets) = self.measure(cell, round, directory.path())?;
                self.measure_limit(cell, round, buckets, directory.path(), &mut limits)?;
                if let Some(samples) = &mut samples {
                    samples.collect(round, number, cell.processes, directory.path())?;
                }
                tallies[number].add(outcomes);
            }
        }
        let mut counted: Vec<(&Cell, Calls)> = Vec::new();
        for cell in self.counted(&cells) {
            go_on(cell)?;
            counted.push((cell, self.count_calls(cell, directory.path())?));
        }
        let calls_of = |cell: &Cell| match counted.iter().find(|(other, _)| calls_alike(other, cell)) {
            Some((_, calls)) => calls.clone(),
            None => Calls::not(self.why_uncounted()),
        };
        let limit_of = |cell: &Cell| {
            let found = limits.iter().find(|(other, _)| *other == of_limit(cell));
            found.map(|(_, nanos)| Spread::of(nanos.iter().copied()))
        };
        let measured =
            cells.iter().zip(tallies).map(|(cell, tally)| self.sum_up(cell, tally, calls_of(cell), limit_of(cell)));
        let measured = measured.collect();
        samples.map_or(Ok(()), Samples::finish)?;
        Ok(Results { machine, plan: self.plan.clone(), cells: measured, left_out })
    }

    /// The cells for which system calls are counted: those that differ in more than the number of workers.
    fn counted<'c>(&self, cells: &'c [Cell]) -> impl Iterator<Item = &'c Cell> {
        let counts = self.plan.count_calls && calls::obstacle().is_none();
        let is_first = move |number: usize| !cells[..number].iter().any(|other| calls_alike(other, &cells[number]));
        cells.iter().enumerate().filter(move |&(number, _)| counts && is_first(number)).map(|(_, cell)| cell)
    }

    fn why_uncounted(&self) -> &'static str {
        match calls::obstacle() {
            Some(why) if self.plan.count_calls => why,
            _ => "it was not asked for",
        }
    }

    /// One run of one cell, on a fresh file.
    fn measure(&self, cell: &Cell, round: usize, directory: &Path) -> Result<(Vec<Outcome>, u64), RunError> {
        let (file, buckets) = self.fill_new_file(cell, directory)?;
        let task = |process| {
            Task::Load(Job {
                cell: cell.clone(),
                file: file.clone(),
                process,
                items: self.plan.items_of(cell),
                seed: self.seed_of(round),
                warm_up: self.plan.warm_up,
                end: End::After(self.plan.measured),
                rate: self.plan.rate,
                pin: self.plan.pin,
                samples: self.plan.keep_samples.then(|| samples_of(directory, process)),
            })
        };
        let tasks: Vec<Task> = (0..cell.processes).map(task).collect();
        let outcomes = crew::run(self.launcher, &tasks).map_err(|error| match error {
            CrewError::Interrupted => RunError::Interrupted,
            error => RunError::Crew { cell: cell.to_string(), error },
        });
        self.destroy(cell, &file)?;
        Ok((outcomes?, buckets))
    }

    fn seed_of(&self, round: usize) -> u64 {
        self.plan.seed.wrapping_add((round as u64) << 48)
    }

    /// Measures, once in each round, what a read from a file of a cell's size takes at least.
    fn measure_limit(
        &self,
        cell: &Cell,
        round: usize,
        buckets: u64,
        directory: &Path,
        limits: &mut Vec<(Cell, Vec<f64>)>,
    ) -> Result<(), RunError> {
        let key = of_limit(cell);
        let place = limits.iter().position(|(other, _)| *other == key);
        if cell.data_size.is_none() || place.is_some_and(|place| limits[place].1.len() > round) {
            return Ok(());
        }
        let (items, measured) = (self.plan.items_of(cell), self.plan.measured);
        let nanos = bound::nanoseconds(cell, buckets, items, self.seed_of(round), measured, directory)?;
        match place {
            Some(place) => limits[place].1.push(nanos),
            None => limits.push((key, vec![nanos])),
        }
        Ok(())
    }

    fn count_calls(&self, cell: &Cell, directory: &Path) -> Result<Calls, RunError> {
        let (file, _) = self.fill_new_file(cell, directory)?;
        let calls = calls::count(self.launcher, cell, &file, self.plan.items_of(cell), self.plan.seed);
        self.destroy(cell, &file)?;
        Ok(calls)
    }

    /// Makes a cache file, and sets every key once. Returns the file and the number of its buckets.
    fn fill_new_file(&self, cell: &Cell, directory: &Path) -> Result<(PathBuf, u64), RunError> {
        let failed = |error| RunError::Cache { cell: cell.to_string(), error: Box::new(error) };
        let file = directory.join("cache");
        let cache = self.options(cell)?.create(&file).map_err(failed)?;
        fill_cache(&cache, self.plan.items_of(cell), cell.value_size).map_err(failed)?;
        Ok((file, cache.stats().buckets))
    }

    fn options(&self, cell: &Cell) -> Result<Options, RunError> {
        let strategy = self.strategies.named(&cell.strategy).map_err(RunError::Strategy)?;
        let (capacity, stripes) = self.plan.sizes(cell);
        Ok(Options::new()
            .capacity(capacity)
            .mean_item((KEY_LEN + cell.value_size) as u64)
            .stripes(stripes)
            .lock_regions(cell.regions)
            .locks(strategy)
            .seats((cell.processes + 8).max(64))
            .seed(self.plan.seed)
            .large_pages(cell.large_pages)
            .prefault(true))
    }

    fn destroy(&self, cell: &Cell, file: &Path) -> Result<(), RunError> {
        let failed = |error| RunError::Cache { cell: cell.to_string(), error: Box::new(error) };
        self.options(cell)?.destroy(file).map_err(failed)
    }

    fn sum_up(&self, cell: &Cell, tally: Tally, system_calls: Calls, limit_ns: Option<Spread>) -> Measured {
        let (capacity, stripes) = self.plan.sizes(cell);
        let operations = tally.counts.operations().max(1) as f64;
        let per_operation = |time: Duration| time.as_nanos() as f64 / operations;
        let cpu_time = |usage: Usage| CpuTime { user: per_operation(usage.user), system: per_operation(usage.system) };
        let switches = |usage: Usage| Switches {
            voluntary: usage.voluntary_switches as f64 / operations,
            involuntary: usage.involuntary_switches as f64 / operations,
        };
        Measured {
            cell: cell.clone(),
            capacity,
            stripes,
            throughput: Spread::of(tally.rounds.iter().copied()),
            rounds: tally.rounds,
            counts: tally.counts,
            read_latency: tally.reads.percentiles(),
            write_latency: tally.writes.percentiles(),
            fairness: Fairness::median(&tally.fairness),
            cpu_ns: tally.usage.filter(|_| self.plan.rate.is_none()).map(cpu_time),
            switches: tally.usage.filter(|_| self.plan.rate.is_none()).map(switches),
            system_calls,
            limit_ns,
            reads: tally.reads,
            writes: tally.writes,
        }
    }
}

/// Sets every key of a workload once.
///
/// # Errors
/// Errors of [`Cache::set`].
pub fn fill_cache(cache: &Cache, items: u32, value_size: usize) -> kennel::Result<()> {
    let mut value = vec![0x5a; value_size];
    (0..u64::from(items)).try_for_each(|number| {
        fill(number, &mut value);
        cache.set(key(number), &value)
    })
}

/// The parameters of a cell on which its limit depends.
fn of_limit(cell: &Cell) -> Cell {
    Cell {
        strategy: String::new(),
        regions: 1,
        processes: 1,
        threads: 1,
        write_percent: 0.0,
        batch: 1,
        large_pages: LargePages::Auto,
        ..cell.clone()
    }
}

/// Whether a single process would make the same system calls in both cells.
fn calls_alike(one: &Cell, other: &Cell) -> bool {
    let alone = |cell: &Cell| Cell { processes: 1, threads: 1, ..cell.clone() };
    alone(one) == alone(other)
}

/// The sums over all rounds of a cell.
#[derive(Default)]
struct Tally {
    rounds: Vec<f64>,
    counts: Counts,
    /// The fairness of each round.
    fairness: Vec<Fairness>,
    usage: Option<Usage>,
    reads: Latency,
    writes: Latency,
}

impl Tally {
    fn add(&mut self, outcomes: Vec<Outcome>) {
        let by_process: Vec<u64> = outcomes.iter().map(|outcome| outcome.counts.operations()).collect();
        self.fairness.push(Fairness::of(&by_process));
        let mut throughput = 0.0;
        for outcome in &outcomes {
            throughput += outcome.counts.operations() as f64 / outcome.elapsed.as_secs_f64().max(1e-9);
            self.counts.add(&outcome.counts);
            self.reads.add_buckets(&outcome.read_latency);
            self.writes.add_buckets(&outcome.write_latency);
            if let Some(usage) = outcome.usage {
                *self.usage.get_or_insert_default() += usage;
            }
        }
        self.rounds.push(throughput);
    }
}

/// The file into which a worker writes its samples.
fn samples_of(directory: &Path, process: u32) -> PathBuf {
    directory.join(format!("samples-{process}"))
}

/// The file of all samples.
struct Samples {
    out: BufWriter<File>,
}

impl Samples {
    fn create(path: &Path) -> io::Result<Self> {
        let file =
            File::create(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let mut out = BufWriter::new(file);
        writeln!(out, "round,cell,process,thread,kind,nanoseconds")?;
        Ok(Self { out })
    }

    /// Appends the samples of the workers of one run, and removes their files.
    fn collect(&mut self, round: usize, cell: usize, processes: u32, directory: &Path) -> io::Result<()> {
        for process in 0..processes {
            let path = samples_of(directory, process);
            for line in BufReader::new(File::open(&path)?).lines() {
                writeln!(self.out, "{round},{cell},{process},{}", line?)?;
            }
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}
