//! The demo from start to end, and its command line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Options};
use kennel_harness::interrupt;
use tempfile::TempDir;

use super::director::{Director, Plan};
use super::languages::{self, Languages};
use super::report::Report;
use super::{herd, records};
use crate::cmd::outcome::{AnyError, CliResult, hit_or_miss};
use crate::output::{print_line, unless_reader_gone, with_spinner};

/// Small enough for the 64 MiB of /dev/shm that containers have.
const CAPACITY: u64 = 32 << 20;

/// Show Kennel at work: processes share one cache file, and some are killed in the middle of a change.
///
/// First, 32 threads of 4 processes ask at the same moment for a key that takes 200 ms to create: one of them creates
/// it, and the others wait for its value.
///
/// Then workers read and write realistic records, nine reads to one write, popular keys far more often than others.
/// Some workers are killed with SIGKILL at random moments and replaced, until one is caught in the middle of a change
/// and another process repairs it. Every value contains its key and a checksum, and every read checks both. The file is
/// temporary.
///
/// The exit status is 1 when a wrong value was read, a key was created twice, or the file did not verify.
///
/// With --languages, programs in all languages for which this machine has a package of Kennel share the file instead.
/// Each stores a value, and each reads the values of all. All miss one key together, and one creates it. All write
/// until they are killed. The programs are found as sh, python3, cc, php, node, go and ruby. The variables
/// SHELL_COMMAND, PYTHON, CC, PHP, NODE, GO and RUBY name other programs, with arguments, such as PHP="php -d
/// extension=kennel.so".
///
/// Example: kennel demo --seconds 10
#[derive(Args)]
pub struct DemoArgs {
    /// How long the workers run, in seconds.
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many worker processes share the file.
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    processes: u32,
    /// The seed of the random choices: keys, values, and which worker is killed when.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Programs in several languages share the file: all languages that this machine has, or those of a list, such as
    /// --languages=shell,rust,python,c,php,node,go,ruby, none of which may be missing.
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    #[arg(conflicts_with_all = ["seconds", "processes", "seed"])]
    languages: Option<Languages>,
}

pub fn run(args: &DemoArgs) -> CliResult {
    // This comes first: from here on a signal does not leave the file behind.
    interrupt::watch()?;
    let demo = TemporaryCache::build()?;
    if let Some(chosen) = &args.languages {
        let programs = temporary_dir(&std::env::temp_dir())?;
        return languages::run(chosen, &demo.cache, &demo.path, programs.path());
    }
    let plan = Plan { time: Duration::from_secs(args.seconds), processes: args.processes, seed: args.seed };
    print_line("Threads of several processes ask at the same time for one key that takes long to create.")?;
    let herd = herd::run(&demo.path)?;
    if interrupt::is_asked() {
        return Err("interrupted before the end".into());
    }
    let outcome = Director::new(&demo.cache, &demo.path, plan)?.run()?;
    let report = Report {
        processes: args.processes,
        verification: with_spinner("Checking every record", || demo.cache.verify()),
        stats: demo.cache.stats(),
        herd,
        outcome,
    };
    unless_reader_gone(report.print())?;
    Ok(hit_or_miss(report.is_good()))
}

/// The cache of the demo, in a temporary directory.
struct TemporaryCache {
    path: PathBuf,
    // Fields are dropped in this order: the file is closed before it is removed.
    cache: Cache,
    _dir: TempDir,
}

impl TemporaryCache {
    /// Creates the cache in memory, or in the temporary directory if there is no /dev/shm or it is full.
    fn build() -> Result<Self, AnyError> {
        Self::build_in(Path::new("/dev/shm")).or_else(|_| Self::build_in(&std::env::temp_dir()))
    }

    fn build_in(parent: &Path) -> Result<Self, AnyError> {
        let dir = temporary_dir(parent)?;
        let path = dir.path().join("demo.cache");
        let cache = Options::new().capacity(CAPACITY).mean_item(records::MEAN_ITEM).create(&path)?;
        Ok(Self { path, cache, _dir: dir })
    }
}

fn temporary_dir(parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("kennel-demo-").tempdir_in(parent)
}
