//! The herd: many threads of several processes miss one key at the same moment, and one of them creates its value.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use kennel::{Cache, CreateOptions, Options};
use kennel_harness::interrupt;
use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::cmd::command::this_program;
use crate::cmd::outcome::{AnyError, CliResult};
use crate::output::print_line;

const PROCESSES: u32 = 4;
const THREADS: u32 = 8;
const KEY: &str = "report:slow";
const VALUE: &[u8] = b"what took so long to make";

/// How long a creation takes.
const CREATION: Duration = Duration::from_millis(200);

/// The result, added up over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Herd {
    pub threads: u32,
    /// How many times the value was created.
    pub creations: u32,
    /// How many threads received the value.
    pub served: u32,
    /// How long the last thread waited for the value, in milliseconds.
    pub last_ms: u64,
}

impl Herd {
    pub const PROCESSES: u32 = PROCESSES;
    pub const CREATION: Duration = CREATION;

    /// Whether exactly one thread created the value and all received it.
    pub fn is_good(&self) -> bool {
        self.creations == 1 && self.served == self.threads
    }

    fn and(self, other: Self) -> Self {
        Self {
            threads: self.threads + other.threads,
            creations: self.creations + other.creations,
            served: self.served + other.served,
            last_ms: self.last_ms.max(other.last_ms),
        }
    }
}

/// Runs the herd on a cache file that lacks the key.
pub fn run(file: &Path) -> Result<Herd, AnyError> {
    let start = |_| Member::start(Command::new(this_program()).arg("demo-herd").arg(file));
    let mut members = (0..PROCESSES).map(start).collect::<io::Result<Vec<_>>>()?;
    // All processes must have opened the file before one starts.
    for member in &mut members {
        member.hear()?;
    }
    members.iter_mut().for_each(Member::release);
    members.iter_mut().try_fold(Herd::default(), |herd, member| Ok(herd.and(serde_json::from_str(&member.hear()?)?)))
}

/// Run as one process of the herd (started by the demo itself).
#[derive(Args)]
pub struct HerdArgs {
    file: PathBuf,
}

pub fn run_member(args: &HerdArgs) -> CliResult {
    // As with the workers, only the parent reacts to signals.
    interrupt::watch()?;
    let cache = Options::new().open(&args.file)?;
    print_line("ready")?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&miss_together(&cache))?)?;
    Ok(ExitCode::SUCCESS)
}

fn miss_together(cache: &Cache) -> Herd {
    let (creations, served) = (AtomicU32::new(0), AtomicU32::new(0));
    let start = Instant::now();
    let create = || {
        creations.fetch_add(1, Ordering::Relaxed);
        sleep(CREATION);
        Ok::<_, AnyError>(VALUE.to_vec())
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let got = cache.get_or_create(KEY, &CreateOptions::new(), create);
                served.fetch_add(got.is_ok_and(|value| value == VALUE).into(), Ordering::Relaxed);
            });
        }
    });
    let last_ms = start.elapsed().as_millis() as u64;
    Herd { threads: THREADS, creations: creations.into_inner(), served: served.into_inner(), last_ms }
}
