//! `cargo xtask far-figures`: the figures of the far tier, all in one run.
//!
//! The program is `crates/figures`, built with optimizations; this file finds or brings a server, and passes the arguments
//! on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::python::Package;
use crate::step::Step;
use crate::{far, runner, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server's program; by default one in the search path, or Redis 8.2 from a package of Python
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// One short round of each group, to see that it works: the figures mean little
    #[arg(long)]
    quick: bool,
    /// Also measure near hits from Python beside redis-py: builds the Python package; the server must be Redis 7.4 or later
    #[arg(long)]
    python: bool,
    /// Also write the rows to a file: [{"name", "value", "unit", "goals", "more_is_better", "of"}, ...]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only the groups whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Rounds of each group
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let server = far::server(args.server.as_deref())?;
    let rows = args.python.then(|| measure_in_python(&server, &args)).transpose()?;
    let mut program = program_args(args, server)?;
    program.extend(rows.map(|rows| format!("--rows={}", rows.display())));
    let step = Step::cargo("far-figures", "run --quiet --release --package kennel-figures").harness_args(program);
    runner::run(&[step], |_| runner::this_command())
}

/// Runs `crates/python/bench/far.py` with the package as it is installed for users; returns the file with its rows.
fn measure_in_python(server: &Path, args: &Args) -> Result<PathBuf> {
    let package = Package::prepared()?;
    package.install()?;
    let rows = std::path::absolute(toolchain::root().join(toolchain::target_dir()).join("far-rows.json"))?;
    let server = std::path::absolute(server)?;
    let (rounds, keys) = if args.quick { (1, 500) } else { (args.rounds, 5000) };
    let numbers = [rounds.to_string(), keys.to_string()];
    let (server, out) = (server.to_string_lossy(), rows.to_string_lossy());
    package.python(&[
        "bench/far.py",
        "--server",
        &server,
        "--rounds",
        &numbers[0],
        "--keys",
        &numbers[1],
        "--json",
        &out,
    ])?;
    Ok(rows)
}

/// The arguments for the program. Relative paths are made absolute, because the step runs at the root of the workspace.
fn program_args(Args { quick, json, only, rounds, .. }: Args, server: PathBuf) -> Result<Vec<String>> {
    let mut args = vec![format!("--server={}", std::path::absolute(server)?.display()), format!("--rounds={rounds}")];
    if quick {
        args.push("--quick".to_owned());
    }
    if let Some(json) = json {
        args.push(format!("--json={}", std::path::absolute(json)?.display()));
    }
    args.extend(only.into_iter().map(|part| format!("--only={part}")));
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_handed_on() {
        let args = Args {
            server: None,
            quick: true,
            python: false,
            json: Some("rows.json".into()),
            only: vec!["hit".into()],
            rounds: 3,
        };
        let args = program_args(args, "redis-server".into()).unwrap();
        assert_eq!((args[1].as_str(), args[2].as_str(), args[4].as_str()), ("--rounds=3", "--quick", "--only=hit"));
        for path in [args[0].strip_prefix("--server="), args[3].strip_prefix("--json=")] {
            assert!(path.is_some_and(|path| std::path::Path::new(path).is_absolute()), "{args:?}");
        }
    }
}
