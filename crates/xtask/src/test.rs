//! `cargo xtask test`: every check of the project. What passes here passes in CI, which runs the same.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::step::Step;
use crate::{loom, minimal, python, runner, torture};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this step alone; may be given several times
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
    /// Leave this step out; may be given several times
    #[arg(long, value_name = "STEP", value_parser = step_names(), conflicts_with = "only")]
    skip: Vec<String>,
}

/// The checks, quick ones first.
#[rustfmt::skip]
fn steps() -> Vec<Step> {
    vec![
        Step::cargo("format", "fmt --all --check").component("rustfmt"),
        Step::cargo("clippy", "clippy --workspace --all-targets --all-features -- -D warnings").component("clippy"),
        Step::cargo("doc", "doc --workspace --no-deps --all-features").env("RUSTDOCFLAGS", "-D warnings"),
        Step::cargo("test", "test --workspace --all-features"),
        minimal::step(),
        loom::step(),
        torture::step(),
        torture::planted_step(),
        python::step(),
    ]
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chosen = choose(steps(), &args.only, &args.skip);
    ensure!(!chosen.is_empty(), "--skip leaves no step to run");
    runner::run(&chosen, |step| format!("cargo xtask test --only {}", step.name()))
}

fn choose(steps: Vec<Step>, only: &[String], skip: &[String]) -> Vec<Step> {
    let names = |list: &[String], step: &Step| list.iter().any(|name| name == step.name());
    steps.into_iter().filter(|step| only.is_empty() || names(only, step)).filter(|step| !names(skip, step)).collect()
}

fn step_names() -> PossibleValuesParser {
    steps().iter().map(|step| step.name().to_owned()).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(only: &[&str], skip: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        choose(steps(), &owned(only), &owned(skip)).iter().map(|step| step.name().to_owned()).collect()
    }

    #[test]
    fn without_options_every_step_runs() {
        assert_eq!(chosen(&[], &[]).len(), steps().len());
    }

    #[test]
    fn only_keeps_the_order_of_the_table() {
        assert_eq!(chosen(&["test", "format"], &[]), ["format", "test"]);
    }

    #[test]
    fn skip_leaves_out() {
        assert_eq!(
            chosen(&[], &["loom", "doc", "torture"]),
            ["format", "clippy", "test", "minimal", "planted", "python"]
        );
    }

    #[test]
    fn step_names_are_unique() {
        let mut names = chosen(&[], &[]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), steps().len());
    }
}
