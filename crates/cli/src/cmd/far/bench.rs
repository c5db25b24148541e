//! `kennel far bench`: what calls of the far tier cost on this host and with this server.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use kennel::{Cache, NamespaceOptions};
use kennel_far::{Expiry, Far, inspect};
use kennel_harness::human::{count, latency};
use kennel_harness::interrupt;
use serde_json::json;

use super::server::{Keys, Server, ServerArgs, TlsArgs, random_prefix};
use crate::cmd::outcome::{AnyError, CliResult};
use crate::output::{print_json, print_line};

/// Measure what calls cost on this host and with this server, one at a time.
///
/// Two temporary near files stand for two hosts. All keys begin with a random prefix, and are removed at the end.
///
/// Example: kennel far bench redis://10.0.0.5
#[derive(Args)]
pub struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    /// How long each row is measured, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
    /// The size of values in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    value_size: usize,
    /// Write a JSON object instead; docs/json.md lists its fields.
    #[arg(long)]
    json: bool,
}

const KEYS: u64 = 1000;
const BATCH: usize = 16;
const STALENESS: Duration = Duration::from_secs(1);
/// How long a tracker may take to prove, and a change to be pushed.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &BenchArgs) -> CliResult {
    interrupt::watch()?;
    if !(0.01..=3600.0).contains(&args.seconds) {
        return Err("--seconds: expected a number from 0.01 to 3600".into());
    }
    let url = args.server.url()?;
    let server = Server::reach(&url, &args.tls)?;
    let prefix = random_prefix("bench");
    let names: Vec<String> = (0..KEYS).map(|key| format!("{prefix}{key}")).collect();
    let keys = Keys::new(&server, &prefix, names.iter().cloned());
    let rows = Bench::new(&url, &prefix, &names, args)?.run()?;
    drop(keys);
    if args.json {
        let rows: Vec<_> = rows.iter().map(Row::document).collect();
        print_json(&json!({ "value_size": args.value_size, "rows": rows }))?;
        return Ok(std::process::ExitCode::SUCCESS);
    }
    print_line(format_args!("{:<52} {:>10} {:>10} {:>10}", "", "median", "99 %", "calls"))?;
    rows.iter().try_for_each(print_line)?;
    Ok(std::process::ExitCode::SUCCESS)
}

/// The times of a call, in nanoseconds.
struct Row {
    name: &'static str,
    times: Vec<u64>,
}

impl Row {
    fn at(&self, part: f64) -> u64 {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * part) as usize).copied().unwrap_or(0)
    }

    fn document(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "median_ns": self.at(0.5),
            "p99_ns": self.at(0.99),
            "calls": self.times.len(),
        })
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (median, high) = (latency(self.at(0.5)), latency(self.at(0.99)));
        write!(f, "{:<52} {median:>10} {high:>10} {:>10}", self.name, count(self.times.len() as u64))
    }
}

struct Bench<'a> {
    names: &'a [String],
    here: Far,
    there: Far,
    /// The near cache of the other host, as the engine sees it: in a cluster, one for each master.
    near_there: Vec<Cache>,
    value: Vec<u8>,
    time: Duration,
    // The files are removed last.
    _folder: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(url: &str, prefix: &str, names: &'a [String], args: &BenchArgs) -> Result<Self, AnyError> {
        let in_memory = || tempfile::Builder::new().prefix("kennel-far-bench-").tempdir_in("/dev/shm");
        let folder = in_memory().or_else(|_| tempfile::tempdir())?;
        let open = |name: &str| {
            let near = kennel::Options::new().capacity(8 << 20);
            let options = args.tls.options(url).prefix(prefix).max_staleness(STALENESS).near(near);
            options.open(folder.path().join(name))
        };
        let (here, there) = (open("here")?, open("there")?);
        wait_for_proof(&here)?;
        wait_for_proof(&there)?;
        let near_there = near_caches(&folder.path().join("there"))?;
        let time = Duration::from_secs_f64(args.seconds);
        let value = vec![b'v'; args.value_size];
        names.iter().try_for_each(|name| here.set(name, &value, Expiry::Never))?;
        Ok(Self { names, here, there, near_there, value, time, _folder: folder })
    }

    fn run(&self) -> Result<Vec<Row>, AnyError> {
        let far = &self.here;
        for name in self.names {
            far.get(name)?;
        }
        let name = |i: u64| &self.names[i as usize % self.names.len()];
        let batch: Vec<&String> = self.names.iter().take(BATCH).collect();
        Ok(vec![
            self.row("get, a hit in the near cache", |i| far.get(name(i)).map(drop), |_| Ok(()))?,
            self.row("get_multi of 16 hits", |_| far.get_multi(&batch).map(drop), |_| Ok(()))?,
            self.row("get_fresh, a read of the server", |i| far.get_fresh(name(i)).map(drop), |_| Ok(()))?,
            self.row(
                "get, a miss: fetched and stored",
                |i| far.get(name(i)).map(drop),
                |i| far.set(name(i), &self.value, Expiry::Never),
            )?,
            self.row("set", |i| far.set(name(i), &self.value, Expiry::Never), |_| Ok(()))?,
            self.row(
                "from a write's reply to its end on another host",
                |_| self.wait_for_end(),
                |i| {
                    self.there.get(name(0))?;
                    far.set(name(0), i.to_string(), Expiry::Never)
                },
            )?,
        ])
    }

    /// Waits until the other host's near cache does not have the first key any more.
    fn wait_for_end(&self) -> kennel_far::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.near_there.iter().any(|near| near.contains(&self.names[0])) && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Times a call again and again. What `before` does before each call is not timed.
    fn row(
        &self,
        name: &'static str,
        call: impl Fn(u64) -> kennel_far::Result<()>,
        before: impl Fn(u64) -> kennel_far::Result<()>,
    ) -> Result<Row, AnyError> {
        let (end, mut times, mut i) = (Instant::now() + self.time, Vec::new(), 0);
        while Instant::now() < end {
            if interrupt::is_asked() {
                return Err("interrupted before the end".into());
            }
            before(i)?;
            let begin = Instant::now();
            call(i)?;
            times.push(begin.elapsed().as_nanos() as u64);
            i += 1;
        }
        times.sort_unstable();
        Ok(Row { name, times })
    }
}

fn wait_for_proof(far: &Far) -> Result<(), AnyError> {
    let deadline = Instant::now() + PATIENCE;
    while far.proof_age().is_none_or(|age| age > STALENESS) {
        if Instant::now() > deadline || interrupt::is_asked() {
            return Err(format!("nothing is proved: {}", far.problem().unwrap_or_default()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn near_caches(path: &Path) -> Result<Vec<Cache>, AnyError> {
    let options = kennel::Options::new();
    let tier = inspect(path, &options)?.pop().ok_or("the near file has no near cache")?;
    let file = options.open_read_only(path)?;
    let names = file.namespaces().into_iter().filter(|name| name.starts_with(&tier.namespace));
    Ok(names.map(|name| file.namespace(&name, &NamespaceOptions::new())).collect::<kennel::Result<_>>()?)
}
