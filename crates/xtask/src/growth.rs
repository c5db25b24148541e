//! `cargo xtask growth`: draws how the cost of an operation grows, for `docs/benchmarks.md`.
//!
//! Each plot is a run of `kennel bench`, which varies one parameter and writes the plot.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::runner;
use crate::step::Step;

const PLOTS: &str = "docs/plots";

/// The runs: a name, and what each varies.
const RUNS: [(&str, &str); 5] = [
    ("data", "--locks lease --processes 1 --distribution uniform --large-pages never,always"),
    ("processes", "--locks file,lease --processes 1,2,4,8,16,32,64"),
    (
        "value size",
        "--locks lease --processes 1 --distribution uniform --data-sizes 64MiB \
         --value-size 16B,64B,256B,1KiB,4KiB,16KiB,64KiB",
    ),
    (
        "batch",
        "--locks lease --processes 1 --distribution uniform --data-sizes 256MiB --writes 0 --batch 1,4,16,64,256,1000",
    ),
    ("regions", "--locks file,lease --processes 8 --writes 50 --regions 1,4,16,64,256"),
];
/// Sizes of the data, with seven minutes for all runs, and all of them.
const DATA: [&str; 2] = ["256KiB,1MiB,4MiB,16MiB,64MiB,256MiB,1GiB", ",4GiB,8GiB"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also measure 4 and 8 GiB of data, which takes some 15 minutes more and 15 GiB of memory
    #[arg(long)]
    large: bool,
    /// Where to write the plots [default: docs/plots]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Run only the plots whose name contains this: data, processes, value size, batch, regions
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    runner::run(&steps(&args)?, |_| runner::this_command())
}

fn steps(args: &Args) -> Result<Vec<Step>> {
    // Relative paths are made absolute, because the steps run at the root of the workspace.
    let to = args.to.as_ref().map_or(Ok(PLOTS.into()), std::path::absolute)?;
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let data = if args.large { DATA.concat() } else { DATA[0].to_owned() };
    let step = |&(name, varied): &(&str, &str)| {
        let common = "bench --no-syscalls --seconds 0.3 --warm-up 0.1 --rounds 3";
        let mut words: Vec<String> = format!("{common} {varied}").split_whitespace().map(str::to_owned).collect();
        if name == "data" {
            words.push(format!("--data-sizes={data}"));
        }
        words.push(format!("--plots={}", to.display()));
        let title = format!("cost by {name}");
        Step::cargo(&title, "run --quiet --release --package kennel-cli").harness_args(words)
    };
    Ok(RUNS.iter().filter(|(name, _)| is_wanted(name)).map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_a_step() {
        let args =
            |large, only: &[&str]| Args { large, to: None, only: only.iter().map(ToString::to_string).collect() };
        assert_eq!(steps(&args(false, &[])).unwrap().len(), RUNS.len());
        assert_eq!(steps(&args(false, &["batch"])).unwrap().len(), 1);
    }

    #[test]
    fn the_document_shows_the_plots_and_names_the_command() {
        let document = std::fs::read_to_string(crate::toolchain::root().join("docs/benchmarks.md")).unwrap();
        for name in ["data", "processes", "value-size", "batch", "regions"] {
            let plot = format!("plots/cost-by-{name}.svg");
            assert!(document.contains(&format!("]({plot})")), "{plot} is not shown");
            assert!(crate::toolchain::root().join("docs").join(&plot).exists(), "{plot} does not exist");
        }
        assert!(document.contains("cargo xtask growth"));
    }
}
