//! The commands: one file each.

mod bench;
mod clear;
mod command;
mod completions;
mod create;
mod delete;
mod demo;
mod destroy;
mod flush;
mod get;
mod incr;
mod invalidate;
mod keys;
mod lock;
mod man;
mod memo;
mod replay;
mod set;
mod stat;
mod touch;
mod verify;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::Subcommand;

/// What a command ends with: its exit status, or the error that stopped it.
pub type CliResult = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// The exit status of a miss, and of problems found by a check.
const MISSED: u8 = 1;

/// The exit status of an error. Clap uses the same for a wrong command line.
pub const FAILED: u8 = 2;

/// The exit status of a wrong command line, of which this is the first word.
pub fn usage_status(command: Option<&OsStr>) -> u8 {
    if is_wrapper(command) { command::OWN_FAILURE } else { FAILED }
}

/// Whether this first word of a command line names a command that runs another.
pub fn is_wrapper(command: Option<&OsStr>) -> bool {
    command.and_then(OsStr::to_str).is_some_and(Wrapper::has_subcommand)
}

/// Whether this first word of a command line is one that this program starts itself with.
pub fn is_internal(command: Option<&OsStr>) -> bool {
    command.and_then(OsStr::to_str).is_some_and(Internal::has_subcommand)
}

/// Success for a hit, and the status of a miss otherwise.
fn hit_or_miss(hit: bool) -> ExitCode {
    if hit { ExitCode::SUCCESS } else { ExitCode::from(MISSED) }
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Command {
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
    Destroy(destroy::DestroyArgs),
    #[command(flatten)]
    Wrapper(Wrapper),
    Stat(stat::StatArgs),
    Verify(verify::VerifyArgs),
    Replay(replay::ReplayArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    pub fn run(self) -> CliResult {
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
            Self::Destroy(args) => destroy::run(&args),
            Self::Wrapper(wrapper) => wrapper.run(),
            Self::Stat(args) => stat::run(&args),
            Self::Verify(args) => verify::run(&args),
            Self::Replay(args) => replay::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        }
    }
}

/// The commands that this program starts itself with. No help, manual or completion names them.
#[derive(Subcommand)]
pub enum Internal {
    DemoWorker(demo::WorkerArgs),
    DemoHerd(demo::HerdArgs),
    ReplayWorker(replay::WorkerArgs),
    BenchWorker(bench::WorkerArgs),
    MemoWorker(memo::MemoArgs),
}

impl Internal {
    pub fn run(self) -> CliResult {
        match self {
            Self::DemoWorker(args) => demo::run_worker(&args),
            Self::DemoHerd(args) => demo::run_member(&args),
            Self::ReplayWorker(args) => replay::run_worker(args),
            Self::BenchWorker(args) => bench::run_worker(&args),
            Self::MemoWorker(args) => memo::run_in_background(&args),
        }
    }
}

/// The commands that end as the command does that they run, so that their own failures need a status of their own.
#[derive(Subcommand)]
pub enum Wrapper {
    Memo(memo::MemoArgs),
    Lock(lock::LockArgs),
}

impl Wrapper {
    /// What an ordinary command line asks for; `None` if the parser has to read it.
    pub fn plain(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        if words.next()? == "memo" { memo::MemoArgs::plain(words).map(Self::Memo) } else { None }
    }

    fn run(self) -> CliResult {
        match self {
            Self::Memo(args) => memo::run(&args),
            Self::Lock(args) => lock::run(args),
        }
    }
}
