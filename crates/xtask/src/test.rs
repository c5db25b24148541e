//! `cargo xtask test`: every check of the project. CI runs the same command.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::cross_check::{MACOS, WINDOWS};
use crate::library_tests::{PACKAGES, main_tests};
use crate::plan::{Plan, Planned};
use crate::step::Step;
use crate::{capi, far, go, languages, loom, minimal, node, php, python, ruby, runner, torture};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the format check, the library's unit tests and its main integration tests: less than five minutes on
    /// two cores in a fresh clone
    #[arg(long, conflicts_with_all = ["only", "skip"])]
    quick: bool,
    /// Run only this step; may be given several times
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
    /// Leave this step out; may be given several times
    #[arg(long, value_name = "STEP", value_parser = step_names(), conflicts_with = "only")]
    skip: Vec<String>,
}

/// All checks, quick ones first.
#[rustfmt::skip] // A table: a step, a time in seconds, a size in megabytes, a purpose.
fn all_steps() -> Vec<Planned> {
    vec![
        planned(format_step(), 1, 0, "the layout of the code"),
        planned(
            Step::cargo("clippy", "clippy --workspace --all-targets --all-features -- -D warnings").component("clippy"),
            130, 450, "lints, in the whole workspace",
        ),
        planned(
            Step::cargo("doc", "doc --workspace --no-deps --all-features").env("RUSTDOCFLAGS", "-D warnings"),
            25, 20, "the documentation, without warnings such as broken links",
        ),
        planned(far::bring_step(), 15, 150, "a Redis server for the tests of the far tier, unless there is one"),
        planned(
            Step::cargo("test", "test --workspace --all-features --no-fail-fast"),
            680, 2600, "unit, integration and documentation tests",
        ),
        planned(minimal::step().beside(), 63, 280, "the build with the oldest dependencies that the manifests allow"),
        planned(loom::step().beside(), 288, 350, "the models, under every interleaving of their threads"),
        planned(MACOS.step().beside(), 110, 500, "types and lints for macOS, where rustup can install its target"),
        planned(WINDOWS.step().beside(), 80, 450, "types and lints for Windows, likewise"),
        planned(torture::step(), 87, 200, "20 s of processes that are killed while they use one cache"),
        planned(torture::faults_step(), 90, 30, "whether the torture finds injected faults"),
        planned(capi::step(), 120, 900, "the C library: lints, and tests in C"),
        planned(php::step(), 120, 100, "the PHP extension, the suites of PSR-16 and PSR-6, and workers that are killed"),
        planned(node::step(), 120, 400, "the package for Node.js: its tests, Keyv's, the types, and the packed package"),
        planned(go::step(), 20, 50, "the package for Go"),
        planned(ruby::step(), 20, 1, "the gem for Ruby, with the store of Rails"),
        planned(python::step(), 200, 1250, "the Python package: lints and tests"),
        planned(languages::step(), 40, 5, "one file that programs in all languages share"),
    ]
}

/// The checks of `--quick`: two packages, built once.
fn quick_steps() -> Vec<Planned> {
    let tests = format!("test {PACKAGES} --all-features --lib {}", main_tests());
    let about = "unit tests and main integration tests of the library";
    vec![planned(format_step(), 1, 0, "the layout of the code"), planned(Step::cargo("main", &tests), 120, 600, about)]
}

/// A step that is ended when it takes several times as long as it should, because something in it hangs.
fn planned(step: Step, seconds: u32, megabytes: u32, about: &'static str) -> Planned {
    let limit = Duration::from_secs(600) + Duration::from_secs(seconds.into()) * 3;
    // A step beside the others gets what they leave.
    let limit = if step.is_beside() { limit * 2 } else { limit };
    Planned { step: step.limit(limit), about, seconds, megabytes }
}

fn format_step() -> Step {
    Step::cargo("format", "fmt --all --check").component("rustfmt")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chosen = if args.quick { quick_steps() } else { choose(all_steps(), &args.only, &args.skip) };
    ensure!(!chosen.is_empty(), "--skip leaves no step to run");
    print!("{}", Plan(&chosen));
    let steps: Vec<Step> = chosen.into_iter().map(|planned| planned.step).collect();
    let code = runner::run(&steps, |step| match args.quick {
        true => "cargo xtask test --quick".to_owned(),
        false => format!("cargo xtask test --only {}", step.name()),
    })?;
    if args.quick && code == ExitCode::SUCCESS {
        println!("run all checks with: cargo xtask test");
    }
    Ok(code)
}

fn choose(steps: Vec<Planned>, only: &[String], skip: &[String]) -> Vec<Planned> {
    let names = |list: &[String], planned: &Planned| list.iter().any(|name| name == planned.step.name());
    let is_chosen = |planned: &Planned| (only.is_empty() || names(only, planned)) && !names(skip, planned);
    steps.into_iter().filter(is_chosen).collect()
}

fn step_names() -> PossibleValuesParser {
    all_steps().iter().map(|planned| planned.step.name().to_owned()).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[Planned]) -> Vec<&str> {
        steps.iter().map(|planned| planned.step.name()).collect()
    }

    fn chosen(only: &[&str], skip: &[&str]) -> Vec<Planned> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        choose(all_steps(), &owned(only), &owned(skip))
    }

    #[test]
    fn without_options_every_step_runs() {
        assert_eq!(names(&chosen(&[], &[])), names(&all_steps()));
    }

    #[test]
    fn only_keeps_the_order_of_the_table() {
        assert_eq!(names(&chosen(&["test", "format"], &[])), ["format", "test"]);
    }

    #[test]
    fn skip_leaves_out() {
        let chosen = chosen(&[], &["loom", "doc", "torture"]);
        assert_eq!(
            names(&chosen),
            [
                "format",
                "clippy",
                "server",
                "test",
                "minimal",
                "macos",
                "windows",
                "faults",
                "capi",
                "php",
                "node",
                "go",
                "ruby",
                "python",
                "languages"
            ]
        );
    }

    #[test]
    fn step_names_are_unique() {
        let steps = all_steps();
        let mut names = names(&steps);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), steps.len());
    }

    #[test]
    fn the_plan_names_every_step_that_runs_and_no_other() {
        for steps in [chosen(&[], &["loom"]), chosen(&["doc", "python"], &[]), quick_steps()] {
            let plan = Plan(&steps).to_string();
            let (_, rows) = plan.split_once("what it checks\n").unwrap();
            let listed: Vec<&str> = rows.lines().filter_map(|row| row.split_whitespace().next()).collect();
            assert_eq!(listed, names(&steps));
        }
    }

    /// The promise that `--help` and the README make.
    #[test]
    fn the_quick_run_takes_less_than_five_minutes() {
        assert!(quick_steps().iter().map(|planned| planned.seconds).sum::<u32>() < 5 * 60);
    }
}
