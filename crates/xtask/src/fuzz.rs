//! `cargo xtask fuzz`: runs each fuzz target for an equal share of the time.
//!
//! The committed seeds of a target are in `fuzz/seeds/TARGET`. The fuzzer writes new inputs to `fuzz/corpus/TARGET` and
//! crashes to `fuzz/artifacts/TARGET`; git ignores both.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::runner;
use crate::step::Step;
use crate::toolchain::{self, Toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to fuzz, in seconds for all targets together
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Targets to run; all if none is given
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let fuzz = toolchain::root().join("fuzz");
    ensure!(fuzz.join("Cargo.toml").is_file(), "expected fuzz targets in fuzz/Cargo.toml, found no such file");
    toolchain::ensure_nightly(&[])?;
    ensure_cargo_fuzz()?;
    let targets = choose(list_targets()?, &args.targets)?;
    let share = share(args.seconds, targets.len());
    let steps = targets.iter().map(|target| step(&fuzz, target, share)).collect::<Result<Vec<_>>>()?;
    runner::run(&steps, |step| format!("cargo xtask fuzz --seconds {share} {}", step.name()))
}

/// The step that fuzzes one target. libFuzzer writes to the first folder and only reads the others, so the committed
/// seeds do not change.
fn step(fuzz: &Path, target: &str, seconds: u64) -> Result<Step> {
    let corpus = fuzz.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("could not create the folder {}", corpus.display()))?;
    let seeds = if fuzz.join("seeds").join(target).is_dir() { format!("fuzz/seeds/{target}") } else { String::new() };
    let command = format!("fuzz run {target} fuzz/corpus/{target} {seeds}");
    Ok(Step::cargo(target, &command).nightly().harness_args(vec![format!("-max_total_time={seconds}")]))
}

fn list_targets() -> Result<Vec<String>> {
    let listed = Toolchain::Nightly
        .cargo()
        .args(["fuzz", "list"])
        .stderr(Stdio::inherit())
        .output()
        .context("could not start cargo fuzz")?;
    ensure!(listed.status.success(), "cargo fuzz list: {}", listed.status);
    let text = String::from_utf8_lossy(&listed.stdout);
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn choose(all: Vec<String>, wanted: &[String]) -> Result<Vec<String>> {
    ensure!(!all.is_empty(), "expected fuzz targets in fuzz/Cargo.toml, found none");
    if wanted.is_empty() {
        return Ok(all);
    }
    for name in wanted {
        ensure!(all.contains(name), "expected a fuzz target ({}), found {name}", all.join(", "));
    }
    Ok(wanted.to_vec())
}

/// The seconds for each target, at least one: libFuzzer takes 0 as no limit.
fn share(seconds: u64, targets: usize) -> u64 {
    let targets = u64::try_from(targets).unwrap_or(u64::MAX).max(1);
    (seconds / targets).max(1)
}

fn ensure_cargo_fuzz() -> Result<()> {
    if is_cargo_fuzz_installed() {
        return Ok(());
    }
    let installed = Toolchain::InUse
        .cargo()
        .args(["install", "cargo-fuzz", "--locked"])
        .status()
        .context("could not start cargo")?;
    ensure!(
        installed.success() && is_cargo_fuzz_installed(),
        "cargo-fuzz is missing and could not be installed; install it by hand with: \
         cargo install cargo-fuzz --locked"
    );
    Ok(())
}

fn is_cargo_fuzz_installed() -> bool {
    let mut command: Command = Toolchain::Nightly.cargo();
    command
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn no_target_fuzzes_without_end() {
        assert_eq!(share(60, 4), 15);
        assert_eq!(share(2, 4), 1);
    }

    #[test]
    fn an_unknown_target_is_named() {
        let error = choose(names(&["open", "record"]), &names(&["recrod"])).unwrap_err();
        assert_eq!(error.to_string(), "expected a fuzz target (open, record), found recrod");
    }

    #[test]
    fn without_names_all_targets_run() {
        let all = names(&["open", "record"]);
        assert_eq!(choose(all.clone(), &[]).unwrap(), all);
    }
}
