//! The command line: the commands that it can name, and which code runs each.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::{CommandFactory as _, Parser, Subcommand};

use super::command::OWN_FAILURE;
use super::outcome::{CliResult, FAILED};
use super::{
    advise, bench, clear, completions, copy, create, delete, demo, destroy, dump, flush, get, incr, invalidate, keys,
    load, lock, man, memo, metrics, replay, resize, set, stat, touch, verify,
};

#[cfg(all(unix, feature = "far"))]
use super::far;
#[cfg(feature = "top")]
use super::top;

const ABOUT: &str = "Kennel is a cache in one memory-mapped file that any number of processes share.";

const AFTER_HELP: &str = "\
Exit status: 0 for a hit or for success, 1 for a miss (or when verify found problems), 2 for an error.

Sizes are bytes, or numbers with a unit: K, M, G and T (or KiB, MiB, GiB and TiB) are powers of \
1024; kB, MB, GB and TB are powers of 1000. Times are numbers with a unit: ms, s, m, h or d. Both may \
have a fraction: 1.5G, 0.5s.

Examples:
  kennel demo
  kennel create /dev/shm/my.cache --capacity 256MiB
  kennel set /dev/shm/my.cache greeting hello --ttl 5m
  kennel get /dev/shm/my.cache greeting";

#[derive(Parser)]
#[command(name = "kennel", version, about = ABOUT, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A command line that accepts only the commands that run other commands.
#[derive(Parser)]
#[command(name = "kennel")]
struct WrapperCli {
    #[command(subcommand)]
    wrapper: Wrapper,
}

/// A command line that accepts only the internal commands.
#[derive(Parser)]
#[command(name = "kennel")]
struct InternalCli {
    #[command(subcommand)]
    command: Internal,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one value of it")]
enum Command {
    Demo(demo::DemoArgs),
    Create(create::CreateArgs),
    Get(get::GetArgs),
    Set(set::SetArgs),
    Delete(delete::DeleteArgs),
    Touch(touch::TouchArgs),
    Incr(incr::IncrArgs),
    Keys(keys::KeysArgs),
    Clear(clear::ClearArgs),
    Invalidate(invalidate::InvalidateArgs),
    Flush(flush::FlushArgs),
    Dump(dump::DumpArgs),
    Load(load::LoadArgs),
    Copy(copy::CopyArgs),
    Resize(resize::ResizeArgs),
    Destroy(destroy::DestroyArgs),
    #[command(flatten)]
    Wrapper(Wrapper),
    Stat(stat::StatArgs),
    #[cfg(feature = "top")]
    Top(top::TopArgs),
    Metrics(metrics::MetricsArgs),
    Advise(advise::AdviseArgs),
    #[cfg(all(unix, feature = "far"))]
    Far(far::FarArgs),
    Verify(verify::VerifyArgs),
    Replay(replay::ReplayArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    fn run(self) -> CliResult {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Create(args) => create::run(args),
            Self::Get(args) => get::run(args),
            Self::Set(args) => set::run(args),
            Self::Delete(args) => delete::run(args),
            Self::Touch(args) => touch::run(args),
            Self::Incr(args) => incr::run(args),
            Self::Keys(args) => keys::run(args),
            Self::Clear(args) => clear::run(&args),
            Self::Invalidate(args) => invalidate::run(&args),
            Self::Flush(args) => flush::run(&args),
            Self::Dump(args) => dump::run(args),
            Self::Load(args) => load::run(&args),
            Self::Copy(args) => copy::run(&args),
            Self::Resize(args) => resize::run(&args),
            Self::Destroy(args) => destroy::run(&args),
            Self::Wrapper(wrapper) => wrapper.run(),
            Self::Stat(args) => stat::run(&args),
            #[cfg(feature = "top")]
            Self::Top(args) => top::run(&args),
            Self::Metrics(args) => metrics::run(&args),
            Self::Advise(args) => advise::run(&args),
            #[cfg(all(unix, feature = "far"))]
            Self::Far(args) => far::run(args),
            Self::Verify(args) => verify::run(&args),
            Self::Replay(args) => replay::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Completions(args) => completions::run(&args, Cli::command()),
            Self::Man(args) => man::run(&args, Cli::command()),
        }
    }
}

/// The commands that run another command and end with its exit status, so that their own failures need another status.
#[derive(Subcommand)]
enum Wrapper {
    Memo(memo::MemoArgs),
    Lock(lock::LockArgs),
}

impl Wrapper {
    /// Reads an ordinary command line without clap; `None` if it needs clap.
    fn plain(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        if words.next()? == "memo" { memo::MemoArgs::plain(words).map(Self::Memo) } else { None }
    }

    fn run(self) -> CliResult {
        match self {
            Self::Memo(args) => memo::run(&args),
            Self::Lock(args) => lock::run(args),
        }
    }
}

/// The commands that this program uses to start itself. Help, manual pages and completions leave them out.
#[derive(Subcommand)]
enum Internal {
    DemoWorker(demo::WorkerArgs),
    DemoHerd(demo::HerdArgs),
    DemoSpeaker(demo::SpeakerArgs),
    ReplayWorker(replay::WorkerArgs),
    BenchWorker(bench::WorkerArgs),
    MemoWorker(Box<memo::MemoArgs>),
    #[cfg(all(unix, feature = "far"))]
    FarCheckWorker,
    #[cfg(all(unix, feature = "far"))]
    FarDemoWorker,
    #[cfg(all(unix, feature = "far"))]
    FarDemoServer,
}

impl Internal {
    fn run(self) -> CliResult {
        match self {
            Self::DemoWorker(args) => demo::run_worker(&args),
            Self::DemoHerd(args) => demo::run_member(&args),
            Self::DemoSpeaker(args) => demo::run_speaker(&args),
            Self::ReplayWorker(args) => replay::run_worker(args),
            Self::BenchWorker(args) => bench::run_worker(&args),
            Self::MemoWorker(args) => memo::run_in_background(&args),
            #[cfg(all(unix, feature = "far"))]
            Self::FarCheckWorker => far::run_check_worker(),
            #[cfg(all(unix, feature = "far"))]
            Self::FarDemoWorker => far::run_demo_worker(),
            #[cfg(all(unix, feature = "far"))]
            Self::FarDemoServer => far::run_demo_server(),
        }
    }
}

/// Runs the command that the command line of this process names.
///
/// # Errors
/// The command line asks for help, or it is wrong.
pub fn run() -> Result<CliResult, clap::Error> {
    if is_internal(env::args_os().nth(1).as_deref()) {
        return InternalCli::try_parse().map(|cli| cli.command.run());
    }
    parse().map(Command::run)
}

/// Setting up clap's parser takes most of the time of a command that runs another command and finds its result in the
/// cache. So an ordinary command line of such a command is read without clap, and an unusual one with a parser that
/// lacks the options of all other commands. Only help and mistakes need the whole parser.
fn parse() -> Result<Command, clap::Error> {
    if let Some(wrapper) = Wrapper::plain(env::args_os().skip(1)) {
        return Ok(Command::Wrapper(wrapper));
    }
    if is_wrapper(env::args_os().nth(1).as_deref())
        && let Ok(cli) = WrapperCli::try_parse()
    {
        return Ok(Command::Wrapper(cli.wrapper));
    }
    Cli::try_parse().map(|cli| cli.command)
}

/// The exit status for a wrong command line that begins with the word `command`.
pub fn usage_status(command: Option<&OsStr>) -> u8 {
    if is_wrapper(command) { OWN_FAILURE } else { FAILED }
}

fn is_wrapper(command: Option<&OsStr>) -> bool {
    command.and_then(OsStr::to_str).is_some_and(Wrapper::has_subcommand)
}

fn is_internal(command: Option<&OsStr>) -> bool {
    command.and_then(OsStr::to_str).is_some_and(Internal::has_subcommand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
