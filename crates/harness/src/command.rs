//! The options of `kennel bench`, and of `bench` in a program for your own strategy.

use crate::human;
use crate::interrupt;
use crate::keys::Keys;
use crate::plan::{Matrix, Plan};
use crate::report;
use crate::run::{Bench, Progress, Results};
use crate::size::parse_size;
use crate::strategies::Strategies;
use crate::task::Launcher;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kennel::LargePages;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Any error that stops a measurement.
pub type BenchError = Box<dyn Error + Send + Sync>;

/// Command line options for the combinations to measure and the way to measure them.
#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    /// Lock strategies to compare, separated by commas. Default: all that several processes can share.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    locks: Vec<String>,
    /// Numbers of lock regions: powers of two up to 4096. The file has at least as many stripes.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "64")]
    regions: Vec<u32>,
    /// Numbers of processes that share the file.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4")]
    processes: Vec<u32>,
    /// Numbers of threads in each process.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    threads: Vec<u32>,
    /// Shares of the operations that write, in percent; the others read.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "5")]
    writes: Vec<f64>,
    /// Sizes of the values, such as 64B or 4KiB.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "64B", value_parser = parse_value_size)]
    value_size: Vec<usize>,
    /// Bytes of the records of all keys together, such as 256KiB,16MiB,1GiB. They determine the number of keys. The
    /// report then shows how the cost of an operation grows with the data, and compares it with the least work that a
    /// read from a file of that size must do. Default: the size that --keys gives.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_size, conflicts_with = "keys")]
    data_sizes: Vec<u64>,
    /// Whether the files lie in large pages: auto, always or never.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "auto")]
    large_pages: Vec<LargePages>,
    /// Numbers of keys of one call: 1 for single reads and writes, more for batches.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    batch: Vec<u32>,
    /// Distribution of the keys: uniform; zipf:THETA; or hot:KEYS:REQUESTS, where a share of the keys gets a share of
    /// the requests, such as hot:0.1:0.9.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "zipf:0.99")]
    distribution: Vec<Keys>,
    /// Number of different keys.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    keys: u32,
    /// Bytes of records that the file holds. Default: 1.5 times what all keys need.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: Option<u64>,
    /// How long each combination is measured in each round.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    seconds: Duration,
    /// How long each combination runs before it is measured.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = parse_seconds)]
    warm_up: Duration,
    /// Number of rounds; each measures all combinations, one after the other.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Operations a second, of all processes together. A latency then counts from the time when the operation was due,
    /// so that a stall also counts for the operations that it delayed. Default: as fast as possible.
    #[arg(long, value_name = "PER-SECOND")]
    rate: Option<f64>,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep each thread on one processor (Linux).
    #[arg(long)]
    pin: bool,
    /// Directory for the cache files. Default: /dev/shm where it exists, else the directory for temporary files.
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Do not count system calls. Counting them takes extra runs under strace.
    #[arg(long)]
    no_syscalls: bool,
    /// Write each measured latency to a file, as CSV.
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Write a page with plots, for a browser.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the plots that show how cost grows to a directory, as SVG: cost-by-data.svg and others, one for each list of
    /// several numbers.
    #[arg(long, value_name = "PATH")]
    plots: Option<PathBuf>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Recorded keys: see [`write_recording`](crate::write_recording).
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file with the recording.
    pub path: PathBuf,
    /// Number of different keys in it.
    pub keys: u32,
}

impl BenchOptions {
    /// Measures, prints the results to `out`, and writes the files that the options ask for. The keys of a recording,
    /// if there is one, replace those of the distributions. On a signal that asks the process to end, it removes its
    /// files first.
    ///
    /// # Errors
    /// Whatever stopped the measurement, with the combination that was being measured.
    pub fn run(
        &self,
        strategies: &Strategies,
        launcher: Launcher<'_>,
        recording: Option<Recording>,
        out: &mut dyn Write,
    ) -> Result<(), BenchError> {
        // The files in memory would outlive a killed process, so after a signal the process must remove them before it
        // ends.
        interrupt::watch()?;
        // Fail before an hour of work, not after it.
        self.report.as_deref().map_or(Ok(()), can_be_written)?;
        let results = self.measure(strategies, launcher, recording)?;
        if let Some(path) = &self.report {
            std::fs::write(path, report::page(&results)).map_err(|error| about(path, &error))?;
        }
        if let Some(folder) = &self.plots {
            write_plots(folder, &results)?;
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&results)?)?;
        } else {
            write!(out, "{}", report::text(&results))?;
            let written = [("page", &self.report), ("samples", &self.samples)];
            for (what, path) in written {
                path.iter().try_for_each(|path| writeln!(out, "{what}: {}", path.display()))?;
            }
        }
        Ok(out.flush()?)
    }

    fn measure(
        &self,
        strategies: &Strategies,
        launcher: Launcher<'_>,
        recording: Option<Recording>,
    ) -> Result<Results, BenchError> {
        let (mut plan, mut matrix) = (self.plan(), self.matrix(strategies));
        if let Some(Recording { path, keys }) = recording {
            if !matrix.data_sizes.is_empty() {
                return Err("--data-sizes: expected none, since the trace says how many keys there are".into());
            }
            plan.items = keys;
            matrix.keys = vec![Keys::Recorded { path }];
        }
        let (cells, left_out) = matrix.cells(strategies)?;
        let bar = Bar::new();
        let bench = Bench::new(plan, strategies, launcher).samples(self.samples.clone());
        let results = bench.run(cells, left_out, |progress| {
            bar.show(progress);
            !interrupt::is_asked()
        });
        Ok(results?)
    }

    fn plan(&self) -> Plan {
        Plan {
            items: self.keys,
            capacity: self.capacity,
            measured: self.seconds,
            warm_up: self.warm_up,
            rounds: self.rounds,
            rate: self.rate,
            seed: self.seed,
            pin: self.pin,
            directory: self.directory.clone(),
            keep_samples: self.samples.is_some(),
            count_calls: !self.no_syscalls,
        }
    }

    fn matrix(&self, strategies: &Strategies) -> Matrix {
        Matrix {
            strategies: if self.locks.is_empty() { strategies.shared() } else { self.locks.clone() },
            regions: self.regions.clone(),
            processes: self.processes.clone(),
            threads: self.threads.clone(),
            write_percents: self.writes.clone(),
            value_sizes: self.value_size.clone(),
            keys: self.distribution.clone(),
            batches: self.batch.clone(),
            data_sizes: self.data_sizes.clone(),
            large_pages: self.large_pages.clone(),
        }
    }
}

fn parse_value_size(text: &str) -> Result<usize, String> {
    usize::try_from(parse_size(text)?).map_err(|_| format!("\"{text}\" is more than this machine can address"))
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected seconds such as 0.5 or 10, found \"{text}\"");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes the first plot of each kind, under the name of the kind.
fn write_plots(folder: &Path, results: &Results) -> Result<(), BenchError> {
    std::fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
    for (name, svg) in report::plots(results) {
        let path = folder.join(format!("{name}.svg"));
        std::fs::write(&path, svg?).map_err(|error| about(&path, &error))?;
    }
    Ok(())
}

fn can_be_written(path: &Path) -> io::Result<()> {
    let opened = std::fs::File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| about(path, &error))
}

/// A progress bar on standard error, if that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed} of about {duration}  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, progress: &Progress<'_>) {
        self.0.set_length(progress.of as u64);
        self.0.set_position(progress.done as u64);
        self.0.set_message(format!(
            "{}, {}",
            progress.cell.strategy,
            human::plural(progress.cell.processes.into(), "process")
        ));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bench: BenchOptions,
    }

    fn parse(line: &str) -> Result<BenchOptions, String> {
        let args = std::iter::once("bench").chain(line.split_whitespace());
        Cli::try_parse_from(args).map(|cli| cli.bench).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_what_several_processes_share_is_compared() {
        let strategies = Strategies::built_in();
        let args = parse("").unwrap();
        let matrix = args.matrix(&strategies);
        assert!(matrix.strategies.contains(&"file".to_owned()) && matrix.strategies.contains(&"rw-file".to_owned()));
        assert!(!matrix.strategies.contains(&"process".to_owned()) && !matrix.strategies.contains(&"none".to_owned()));
        assert!(matrix.cells(&strategies).is_ok() && args.plan().check().is_ok());
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let args = parse(
            "--locks file,none --regions 1,16 --value-size 64B,4KiB --distribution uniform,hot:0.1:0.9 \
             --data-sizes 256KiB,8GiB --large-pages never,always",
        );
        let matrix = args.unwrap().matrix(&Strategies::built_in());
        assert_eq!(matrix.strategies, ["file", "none"]);
        assert_eq!(matrix.regions, [1, 16]);
        assert_eq!(matrix.value_sizes, [64, 4096]);
        assert_eq!(matrix.data_sizes, [256 << 10, 8 << 30]);
        assert_eq!(matrix.large_pages, [LargePages::Never, LargePages::Always]);
        assert_eq!(matrix.keys, [Keys::Uniform, Keys::Hot { keys: 0.1, requests: 0.9 }]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (line, told) in [
            ("--seconds soon", "expected seconds such as 0.5 or 10, found \"soon\""),
            ("--seconds=-1", "expected seconds such as 0.5 or 10, found \"-1\""),
            ("--distribution normal", "expected uniform, zipf:THETA"),
            ("--value-size 64Q", "unknown unit"),
            ("--data-sizes 64Q", "unknown unit"),
            ("--large-pages some", "expected auto, always or never"),
            ("--data-sizes 1MiB --keys 7", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
