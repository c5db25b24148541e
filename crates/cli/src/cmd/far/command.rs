//! The commands of `kennel far`.

use clap::{Args, Subcommand};

use super::{bench, check, demo, keep, keys, stat};
use crate::cmd::outcome::CliResult;

/// Use and inspect a near cache in front of Redis or Valkey.
///
/// All processes of a host share the near cache, which is a cache file. The server reports which keys change, and one
/// process of the host, the tracker, deletes them from the file. No value that is read is older than --max-staleness.
/// docs/far-tier.md has the details.
///
/// The exit status is 1 for a miss, or when stat or check found something wrong. Otherwise it is 0 after success, and 2
/// after an error.
///
/// Examples: kennel far demo; kennel far keep redis://10.0.0.5 /dev/shm/app.kennel --prefix app:
#[derive(Args)]
pub struct FarArgs {
    #[command(subcommand)]
    command: FarCommand,
}

#[derive(Subcommand)]
enum FarCommand {
    Demo(demo::DemoArgs),
    Keep(keep::KeepArgs),
    Stat(stat::StatArgs),
    Get(keys::GetArgs),
    Set(keys::SetArgs),
    Delete(keys::DeleteArgs),
    Check(check::CheckArgs),
    Bench(bench::BenchArgs),
}

pub fn run(args: FarArgs) -> CliResult {
    match args.command {
        FarCommand::Demo(args) => demo::run(&args),
        FarCommand::Keep(args) => keep::run(&args),
        FarCommand::Stat(args) => stat::run(&args),
        FarCommand::Get(args) => keys::get(&args),
        FarCommand::Set(args) => keys::set(args),
        FarCommand::Delete(args) => keys::delete(&args),
        FarCommand::Check(args) => check::run(&args),
        FarCommand::Bench(args) => bench::run(&args),
    }
}
