//! What to measure: the cells of a matrix, and the settings that all cells share.

use crate::keys::{KEY_LEN, Keys, MOST_KEYS};
use crate::size::format_size;
use crate::strategies::{Strategies, is_one_lock, takes};
use kennel::LargePages;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The largest number of processes in one cell.
pub const MOST_PROCESSES: u32 = 256;
/// The largest number of threads in one process of a cell.
pub const MOST_THREADS: u32 = 256;
/// The largest number of lock regions of a cache file.
const MOST_REGIONS: u32 = 4096;
/// The size in bytes of the largest value. Each thread keeps two in memory: one to write, and one to read into.
const LARGEST_VALUE: usize = 64 << 20;
/// The largest number of keys of one call.
const MOST_OF_BATCH: u32 = 10_000;
/// The smallest and the largest total size, in bytes, of the records of all keys of a cell.
const DATA_SIZES: (u64, u64) = (64 << 10, 64 << 30);
/// The number of stripes of a file that has fewer lock regions than this.
const FEWEST_STRIPES: u32 = 16;
/// The smallest number of records that must fit into a stripe. With fewer, a value may be too large for the stripe.
const RECORDS_PER_STRIPE: u64 = 64;

/// One combination to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the lock strategy.
    pub strategy: String,
    /// Lock regions, a power of two.
    pub regions: u32,
    /// Processes that share the file.
    pub processes: u32,
    /// Threads in each process.
    pub threads: u32,
    /// Share of the operations that write, in percent.
    pub write_percent: f64,
    /// Bytes of each value.
    pub value_size: usize,
    /// Distribution of the keys.
    pub keys: Keys,
    /// Keys of one call: 1 for single reads and writes, more for batches.
    pub batch: u32,
    /// Bytes of the records of all keys together; `None`: the plan says how many keys there are.
    pub data_size: Option<u64>,
    /// Whether the file lies in large pages.
    #[serde(with = "by_name")]
    pub large_pages: LargePages,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { strategy, regions, processes, threads, write_percent, value_size, keys, batch, .. } = self;
        write!(f, "{strategy}, {regions} regions, {processes} x {threads} threads, ")?;
        write!(f, "{write_percent} % writes, {value_size} B, {keys}")?;
        if *batch > 1 {
            write!(f, ", batches of {batch}")?;
        }
        let Self { data_size, large_pages, .. } = self;
        if let Some(bytes) = data_size {
            write!(f, ", {} of data", format_size(*bytes))?;
        }
        if *large_pages == LargePages::Auto { Ok(()) } else { write!(f, ", large pages: {large_pages}") }
    }
}

/// A choice of large pages by its name.
mod by_name {
    use kennel::LargePages;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(large: &LargePages, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(large)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LargePages, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The lists of which all combinations are measured.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of `Cell`")]
pub struct Matrix {
    pub strategies: Vec<String>,
    pub regions: Vec<u32>,
    pub processes: Vec<u32>,
    pub threads: Vec<u32>,
    pub write_percents: Vec<f64>,
    pub value_sizes: Vec<usize>,
    pub keys: Vec<Keys>,
    pub batches: Vec<u32>,
    /// Bytes of the records of all keys together; empty: the plan says how many keys there are.
    pub data_sizes: Vec<u64>,
    pub large_pages: Vec<LargePages>,
}

/// A combination that makes no sense, and the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The combination.
    pub what: String,
    /// The reason.
    pub why: String,
}

/// The settings that all cells share.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Number of different keys.
    pub items: u32,
    /// Bytes of records that the file holds; by default 1.5 times what all items need.
    pub capacity: Option<u64>,
    /// How long each cell is measured in each round.
    #[serde(rename = "seconds", serialize_with = "in_seconds")]
    pub measured: Duration,
    /// How long each cell runs before it is measured.
    #[serde(rename = "warm_up_seconds", serialize_with = "in_seconds")]
    pub warm_up: Duration,
    /// How often each cell is measured; a round measures all cells, one after the other.
    pub rounds: u32,
    /// Operations a second, of all threads of a cell together; `None` means as fast as possible.
    pub rate: Option<f64>,
    /// Seed of everything random, including the hash seed of the file.
    #[serde(serialize_with = "in_digits")]
    pub seed: u64,
    /// Whether each thread stays on one processor.
    pub pin: bool,
    /// The directory for the cache files; by default in memory if there is a file system for that.
    pub directory: Option<PathBuf>,
    /// Whether to keep each measured latency.
    pub keep_samples: bool,
    /// Whether to count system calls, in extra runs.
    pub count_calls: bool,
}

fn in_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// A 64-bit number as text: many readers of JSON would round it as a number.
fn in_digits<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            items: 100_000,
            capacity: None,
            measured: Duration::from_millis(500),
            warm_up: Duration::from_millis(100),
            rounds: 3,
            rate: None,
            seed: 1,
            pin: false,
            directory: None,
            keep_samples: false,
            count_calls: true,
        }
    }
}

/// The error of an impossible plan or matrix.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{what}: expected {expected}, found {found}")]
pub struct PlanError {
    what: &'static str,
    expected: String,
    found: String,
}

fn check(ok: bool, what: &'static str, expected: impl ToString, found: impl ToString) -> Result<(), PlanError> {
    if ok { Ok(()) } else { Err(PlanError { what, expected: expected.to_string(), found: found.to_string() }) }
}

impl Plan {
    /// Checks whether the plan can be carried out.
    ///
    /// # Errors
    /// The first number that is out of its range.
    pub fn check(&self) -> Result<(), PlanError> {
        let items = 1..=MOST_KEYS;
        check(items.contains(&self.items), "keys", format!("1 to {MOST_KEYS}"), self.items)?;
        check(!self.measured.is_zero(), "seconds", "more than 0", self.measured.as_secs_f64())?;
        check(self.rounds > 0, "rounds", "at least 1", self.rounds)?;
        let rate = self.rate.unwrap_or(1.0);
        check(rate.is_finite() && rate > 0.0, "rate", "more than 0 operations a second", rate)
    }

    /// The number of keys of a cell.
    pub(crate) fn items_of(&self, cell: &Cell) -> u32 {
        let record = kennel::record_size(KEY_LEN, cell.value_size);
        cell.data_size.map_or(self.items, |bytes| (bytes / record).clamp(1, MOST_KEYS.into()) as u32)
    }

    /// The size of a cell's file and its stripes, the same number for each lock region.
    pub(crate) fn sizes(&self, cell: &Cell) -> (u64, u32) {
        let stripes = cell.regions.max(FEWEST_STRIPES);
        let record = kennel::record_size(KEY_LEN, cell.value_size);
        let all = u64::from(self.items_of(cell)) * record * 3 / 2;
        let least = u64::from(stripes) * RECORDS_PER_STRIPE * record;
        (self.capacity.unwrap_or_else(|| all.max(least)), stripes)
    }
}

impl Matrix {
    /// The cells, with those that differ least next to each other, and the combinations that were left out because they
    /// make no sense.
    ///
    /// # Errors
    /// A number is out of its range, or a strategy does not exist.
    pub fn cells(&self, strategies: &Strategies) -> Result<(Vec<Cell>, Vec<LeftOut>), PlanError> {
        self.check(strategies)?;
        let (mut cells, mut left_out) = (Vec::new(), Vec::new());
        for cell in self.combinations() {
            match self.why_not(&cell, strategies) {
                None => cells.push(cell),
                Some(why) => left_out.push(why),
            }
        }
        left_out.sort_by(|one, other| one.what.cmp(&other.what));
        left_out.dedup();
        let nothing = left_out.first().map_or("nothing to measure", |left| &left.why);
        check(!cells.is_empty(), "the matrix", "at least one combination that can be measured", nothing)?;
        Ok((cells, left_out))
    }

    /// The product of all lists.
    fn combinations(&self) -> Vec<Cell> {
        let first = Cell {
            strategy: String::new(),
            regions: 0,
            processes: 0,
            threads: 0,
            write_percent: 0.0,
            value_size: 0,
            keys: Keys::Uniform,
            batch: 1,
            data_size: None,
            large_pages: LargePages::Auto,
        };
        let data: Vec<Option<u64>> = self.data_sizes.iter().copied().map(Some).collect();
        let data = if data.is_empty() { vec![None] } else { data };
        let cells = expand(vec![first], &data, |cell, bytes| cell.data_size = bytes);
        let cells = expand(cells, &self.large_pages, |cell, large| cell.large_pages = large);
        let cells = expand(cells, &self.batches, |cell, batch| cell.batch = batch);
        let cells = expand(cells, &self.keys, |cell, keys| cell.keys = keys);
        let cells = expand(cells, &self.value_sizes, |cell, size| cell.value_size = size);
        let cells = expand(cells, &self.write_percents, |cell, percent| cell.write_percent = percent);
        let cells = expand(cells, &self.regions, |cell, regions| cell.regions = regions);
        let cells = expand(cells, &self.processes, |cell, processes| cell.processes = processes);
        let cells = expand(cells, &self.threads, |cell, threads| cell.threads = threads);
        expand(cells, &self.strategies, |cell, strategy| cell.strategy = strategy)
    }

    fn why_not(&self, cell: &Cell, strategies: &Strategies) -> Option<LeftOut> {
        let Cell { strategy, regions, processes, threads, .. } = cell;
        let found = strategies.named(strategy).ok()?;
        if is_one_lock(&found) && self.regions.first() != Some(regions) {
            let why = "the strategy has at most one lock for all regions, so one number is enough".into();
            return Some(LeftOut { what: format!("{strategy} with {regions} lock regions"), why });
        }
        let why = takes(&found, *processes, *threads).err()?;
        let what = format!("{strategy} with {processes} processes of {threads} threads");
        Some(LeftOut { what, why: why.into() })
    }

    fn check(&self, strategies: &Strategies) -> Result<(), PlanError> {
        for name in &self.strategies {
            let names = || format!("one of {}", strategies.names().join(", "));
            check(strategies.named(name).is_ok(), "lock strategy", names(), name)?;
        }
        for &regions in &self.regions {
            let ok = regions.is_power_of_two() && regions <= MOST_REGIONS;
            check(ok, "lock regions", format!("a power of two up to {MOST_REGIONS}"), regions)?;
        }
        for &processes in &self.processes {
            let ok = (1..=MOST_PROCESSES).contains(&processes);
            check(ok, "processes", format!("1 to {MOST_PROCESSES}"), processes)?;
        }
        for &threads in &self.threads {
            let ok = (1..=MOST_THREADS).contains(&threads);
            check(ok, "threads", format!("1 to {MOST_THREADS}"), threads)?;
        }
        for &percent in &self.write_percents {
            check((0.0..=100.0).contains(&percent), "share of writes", "0 to 100 percent", percent)?;
        }
        for &size in &self.value_sizes {
            check(size <= LARGEST_VALUE, "value size", format!("at most {LARGEST_VALUE} bytes"), size)?;
        }
        for &batch in &self.batches {
            check((1..=MOST_OF_BATCH).contains(&batch), "batch", format!("1 to {MOST_OF_BATCH}"), batch)?;
        }
        for &bytes in &self.data_sizes {
            let expected = format!("{} to {}", format_size(DATA_SIZES.0), format_size(DATA_SIZES.1));
            check((DATA_SIZES.0..=DATA_SIZES.1).contains(&bytes), "data size", expected, format_size(bytes))?;
        }
        Ok(())
    }
}

/// Each cell with each of the values.
fn expand<T: Clone>(cells: Vec<Cell>, values: &[T], set: impl Fn(&mut Cell, T)) -> Vec<Cell> {
    let with = |cell: &Cell, value: &T| {
        let mut cell = cell.clone();
        set(&mut cell, value.clone());
        cell
    };
    cells.iter().flat_map(|cell| values.iter().map(|value| with(cell, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(strategies: &[&str]) -> Matrix {
        Matrix {
            strategies: strategies.iter().map(|&name| name.to_owned()).collect(),
            regions: vec![1, 16],
            processes: vec![1, 2],
            threads: vec![1],
            write_percents: vec![5.0],
            value_sizes: vec![64],
            keys: vec![Keys::Uniform],
            batches: vec![1],
            data_sizes: Vec::new(),
            large_pages: vec![LargePages::Auto],
        }
    }

    #[test]
    fn the_size_of_the_data_says_how_many_keys_there_are() {
        let pages = vec![LargePages::Never, LargePages::Always];
        let matrix = Matrix { data_sizes: vec![1 << 20, 16 << 20], large_pages: pages, ..matrix(&["file"]) };
        let (cells, _) = matrix.cells(&Strategies::built_in()).unwrap();
        assert_eq!(cells.len(), 4 * 2 * 2);
        let plan = Plan::default();
        let record = kennel::record_size(KEY_LEN, 64);
        for cell in &cells {
            let bytes = cell.data_size.unwrap();
            assert_eq!(u64::from(plan.items_of(cell)), bytes / record);
            assert!(plan.sizes(cell).0 > bytes);
            assert_eq!(serde_json::from_str::<Cell>(&serde_json::to_string(cell).unwrap()).unwrap(), *cell);
        }
        assert_eq!(
            cells.last().unwrap().to_string(),
            "file, 16 regions, 2 x 1 threads, 5 % writes, 64 B, uniform, \
            16.0 MiB of data, large pages: always"
        );
    }

    #[test]
    fn every_combination_is_a_cell() {
        let (cells, left_out) = matrix(&["file"]).cells(&Strategies::built_in()).unwrap();
        let pairs: Vec<_> = cells.iter().map(|cell| (cell.regions, cell.processes)).collect();
        assert_eq!(pairs, [(1, 1), (1, 2), (16, 1), (16, 2)]);
        assert_eq!(left_out, []);
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_said() {
        let (cells, left_out) = matrix(&["rw-file", "none", "process"]).cells(&Strategies::built_in()).unwrap();
        let of = |name| cells.iter().filter(|cell| cell.strategy == name).count();
        assert_eq!((of("rw-file"), of("none"), of("process")), (2, 1, 2));
        let what: Vec<_> = left_out.iter().map(|left| left.what.as_str()).collect();
        assert!(what.contains(&"rw-file with 16 lock regions"), "{what:?}");
        assert!(what.contains(&"process with 2 processes of 1 threads"), "{what:?}");
    }

    #[test]
    fn numbers_out_of_range_are_told() {
        let told = |change: fn(&mut Matrix)| {
            let mut matrix = matrix(&["file"]);
            change(&mut matrix);
            matrix.cells(&Strategies::built_in()).unwrap_err().to_string()
        };
        assert_eq!(told(|m| m.regions = vec![3]), "lock regions: expected a power of two up to 4096, found 3");
        assert_eq!(told(|m| m.processes = vec![0]), "processes: expected 1 to 256, found 0");
        assert_eq!(told(|m| m.write_percents = vec![101.0]), "share of writes: expected 0 to 100 percent, found 101");
        assert!(told(|m| m.strategies = vec!["spin".into()]).starts_with("lock strategy: expected one of file"));
        assert!(told(|m| m.value_sizes = vec![usize::MAX]).starts_with("value size: expected at most"));
        assert_eq!(told(|m| m.batches = vec![0]), "batch: expected 1 to 10000, found 0");
        assert_eq!(told(|m| m.data_sizes = vec![7]), "data size: expected 64.0 KiB to 64.0 GiB, found 7 B");
        assert!(told(|m| m.strategies.clear()).starts_with("the matrix: expected at least one"));
    }

    #[test]
    fn a_plan_needs_time_and_rounds() {
        let told = |plan: Plan| plan.check().unwrap_err().to_string();
        assert_eq!(told(Plan { rounds: 0, ..Plan::default() }), "rounds: expected at least 1, found 0");
        assert_eq!(
            told(Plan { rate: Some(0.0), ..Plan::default() }),
            "rate: expected more than 0 operations a second, found 0"
        );
        assert!(told(Plan { measured: Duration::ZERO, ..Plan::default() }).starts_with("seconds: "));
        assert!(told(Plan { items: 0, ..Plan::default() }).starts_with("keys: "));
    }

    #[test]
    fn stripes_are_raised_to_match_the_regions_and_room_to_match_the_stripes() {
        let plan = Plan { items: 10, ..Plan::default() };
        let (cells, _) = matrix(&["file"]).cells(&Strategies::built_in()).unwrap();
        let cell = Cell { regions: 256, ..cells[0].clone() };
        let (capacity, stripes) = plan.sizes(&cell);
        assert_eq!(stripes, 256);
        assert_eq!(capacity, 256 * 64 * kennel::record_size(KEY_LEN, 64));
        assert_eq!(plan.sizes(&cells[0]).1, FEWEST_STRIPES);
    }
}
