//! `kennel far keep`: a tracker that runs for as long as a service does.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use kennel_far::resp::Value;
use kennel_far::{Far, Options, Stats};
use kennel_harness::interrupt;
use kennel_harness::size::parse_size;

use super::server::{ServerArgs, TlsArgs};
use super::tier::NearArgs;
use crate::cmd::outcome::{AnyError, CliResult};
use crate::output::print_line;
use crate::time::parse_duration;

/// Keep a near cache up to date: a tracker in the foreground, for systemd or as a sidecar.
///
/// Processes that use a near cache track by themselves, so most hosts do not need this command. It is for hosts on
/// which no such process runs for long (cron jobs, PHP requests), or whose processes must not track (keepers 0). The
/// command waits for a seat, tracks while it has one, and reports what it does in lines on standard output. SIGTERM and
/// SIGINT end it with exit status 0; its seat is then free at once.
///
/// Example: kennel far keep redis://10.0.0.5 /dev/shm/app.kennel --prefix app:
#[derive(Args)]
pub struct KeepArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    near: NearArgs,
    /// A prefix of the keys in the near cache; may be given up to eight times, and must be the same in all processes of
    /// the host. An empty prefix means all keys.
    #[arg(long, value_name = "PREFIX", required = true)]
    prefix: Vec<OsString>,
    /// The greatest age of a value that is read. It must be the same in all processes of the host.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    max_staleness: Duration,
    /// How many processes of the host track at the same time: 1 or 2.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=2))]
    keepers: u64,
    /// The size of the near file, if this command creates it.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    capacity: u64,
    /// Do not test whether changes are pushed. By default a new tracker changes a key under each prefix, and proves
    /// nothing until the server has pushed these changes.
    #[arg(long)]
    no_probe: bool,
}

/// How often the state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the command checks whether the near file is still there.
const FILE_EVERY: Duration = Duration::from_secs(1);
/// How long the command waits at its end for the tracker, which may be connecting. The system closes what is left.
const LONGEST_END: Duration = Duration::from_secs(2);
/// How long a question to the server may take.
const TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(args: &KeepArgs) -> CliResult {
    interrupt::watch()?;
    let url = args.server.url()?;
    let mut far = args.open(&url)?;
    say(&format!(
        "keeping {} for {}, prefixes {}, max staleness {:?}",
        args.near.file.display(),
        args.server.shown(),
        args.prefix.iter().map(|prefix| prefix.to_string_lossy()).collect::<Vec<_>>().join(" "),
        args.max_staleness,
    ));
    let mut log = Log::new(args.max_staleness);
    loop {
        let file = identity(&args.near.file);
        if watch(&far, &mut log, || identity(&args.near.file) == file) {
            break;
        }
        say("the near file was removed or replaced: opening it again");
        end(far);
        far = args.open(&url)?;
        log.begin_again();
    }
    say("ending: a signal asked for it");
    end(far);
    Ok(ExitCode::SUCCESS)
}

impl KeepArgs {
    fn open(&self, url: &str) -> Result<Far, AnyError> {
        let near = self.near.options().capacity(self.capacity);
        let options = self
            .tls
            .options(url)
            .max_staleness(self.max_staleness)
            .keepers(self.keepers as usize)
            .probe(!self.no_probe)
            .timeout(TIMEOUT)
            .near(near);
        let prefixes = self.prefix.iter().cloned().map(OsString::into_vec);
        Ok(prefixes.fold(options, Options::prefix).open(&self.near.file)?)
    }
}

/// Writes a line for the log of a service. If it cannot be written, the tracker goes on.
fn say(line: &str) {
    let _ = print_line(line);
}

/// Which file is at the path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Reports what changes until a signal asks for the end (`true`), or the file is removed or replaced (`false`).
fn watch(far: &Far, log: &mut Log, is_same_file: impl Fn() -> bool) -> bool {
    let mut next_look = Instant::now() + FILE_EVERY;
    while !interrupt::is_asked() {
        let state = State {
            seat: far.seat(),
            is_proved: far.proof_age().is_some_and(|age| age <= log.max_staleness),
            problem: far.problem(),
            stats: far.stats(),
        };
        log.note(state).iter().for_each(|line| say(line));
        if log.is_first_proof() {
            limits(far).iter().for_each(|line| say(line));
        }
        if Instant::now() >= next_look {
            if !is_same_file() {
                return false;
            }
            next_look = Instant::now() + FILE_EVERY;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

/// Gives the seat back, within some time.
fn end(far: Far) {
    let (done, is_done) = mpsc::channel();
    let dropping = thread::Builder::new().spawn(move || {
        drop(far);
        let _ = done.send(());
    });
    if dropping.is_ok() {
        let _ = is_done.recv_timeout(LONGEST_END);
    }
}

/// Warns if nothing limits what the server keeps for a tracker that does not read.
fn limits(far: &Far) -> Option<String> {
    let config = |name: &str| match far.call(&["CONFIG", "GET", name], &[""; 0]) {
        Ok(Value::Array(parts)) => Some(parts.get(1).and_then(Value::as_bytes).map(<[u8]>::to_vec).unwrap_or_default()),
        _ => None,
    };
    // If the server does not let this user read its settings, there is no warning.
    let (buffers, clients) = (config("client-output-buffer-limit")?, config("maxmemory-clients")?);
    let is_unlimited = are_normal_clients_unlimited(&String::from_utf8_lossy(&buffers)) && is_zero(&clients);
    is_unlimited.then(|| {
        "warning: the server limits neither the output buffers of normal clients nor the memory of all clients. What it \
         keeps for a stopped tracker counts in maxmemory, and may evict keys. Set client-output-buffer-limit (normal 64mb \
         16mb 30, say) or maxmemory-clients"
            .to_owned()
    })
}

/// Whether the first two of the limits `normal HARD SOFT SECONDS` are 0.
fn are_normal_clients_unlimited(limits: &str) -> bool {
    let mut words = limits.split_whitespace().skip_while(|word| *word != "normal").skip(1);
    words.next() == Some("0") && words.next() == Some("0")
}

/// Servers before Redis 7 do not have the setting.
fn is_zero(value: &[u8]) -> bool {
    value.is_empty() || value == b"0"
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    seat: Option<String>,
    is_proved: bool,
    problem: Option<String>,
    stats: Stats,
}

/// What has been reported.
struct Log {
    max_staleness: Duration,
    last: Option<State>,
    unproved_since: Instant,
    has_proved: bool,
    is_first_proof: bool,
}

impl Log {
    fn new(max_staleness: Duration) -> Self {
        let unproved_since = Instant::now();
        Self { max_staleness, last: None, unproved_since, has_proved: false, is_first_proof: false }
    }

    fn begin_again(&mut self) {
        *self = Self { has_proved: self.has_proved, ..Self::new(self.max_staleness) };
    }

    /// Whether the last state was the first that was proved.
    fn is_first_proof(&self) -> bool {
        self.is_first_proof
    }

    /// The lines that report a new state.
    fn note(&mut self, state: State) -> Vec<String> {
        let last = self.last.replace(state.clone()).unwrap_or_default();
        let mut lines = Vec::new();
        self.is_first_proof = state.is_proved && !self.has_proved;
        self.has_proved |= state.is_proved;
        if state.seat != last.seat {
            lines.push(match &state.seat {
                Some(seat) => format!("has {seat}"),
                None => "gave its seat back, and waits for another".to_owned(),
            });
        }
        if state.stats.tracked > last.stats.tracked {
            lines.push("tracking: the server tells what changes".to_owned());
        }
        if state.problem != last.problem
            && let Some(problem) = &state.problem
        {
            lines.push(format!("problem: {problem}"));
        }
        if state.stats.flushes > last.stats.flushes {
            lines.push("flushed the near cache".to_owned());
        }
        if state.is_proved != last.is_proved {
            let by = if state.seat.is_some() { "" } else { " by other processes" };
            let after = self.unproved_since.elapsed().as_secs_f64();
            lines.push(match state.is_proved {
                true => format!("proved{by}, after {after:.2} s"),
                false => format!("not proved for {:?}: reads go to the server", self.max_staleness),
            });
            self.unproved_since = Instant::now();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_nothing_is_known() {
        let limits = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert!(are_normal_clients_unlimited(limits));
        assert!(!are_normal_clients_unlimited(&limits.replace("normal 0", "normal 67108864")));
        assert!(!are_normal_clients_unlimited(""));
        assert!(is_zero(b"0") && is_zero(b"") && !is_zero(b"5%"));
    }

    #[test]
    fn a_change_is_said_once() {
        let mut log = Log::new(Duration::from_secs(1));
        let waiting = State::default();
        assert_eq!(log.note(waiting.clone()), [""; 0]);
        let stats = |tracked| {
            let mut stats = Stats::default();
            stats.tracked = tracked;
            stats
        };
        let seated = State { seat: Some("seat-0".into()), stats: stats(1), ..waiting.clone() };
        assert_eq!(log.note(seated.clone()), ["has seat-0", "tracking: the server tells what changes"]);
        assert_eq!(log.note(seated.clone()), [""; 0]);
        let proved = State { is_proved: true, ..seated.clone() };
        assert!(log.note(proved.clone())[0].starts_with("proved, after ") && log.is_first_proof());
        assert!(log.note(proved.clone()).is_empty() && !log.is_first_proof());
        let lost = State { problem: Some("gone".into()), ..seated };
        assert_eq!(log.note(lost), ["problem: gone", "not proved for 1s: reads go to the server"]);
        assert!(!log.note(proved).is_empty() && !log.is_first_proof());
        let elsewhere = State { is_proved: true, ..waiting };
        assert_eq!(log.note(elsewhere), ["gave its seat back, and waits for another"]);
    }
}
