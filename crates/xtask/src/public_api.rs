//! `cargo xtask public-api`: the public interface of the library is what `tests/public-api.txt` says.
//!
//! Nightly's rustdoc describes the interface as JSON; the program in `crates/public-api` makes a text of that and
//! compares. Nothing of Kennel runs.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

const TEXT: &str = "tests/public-api.txt";
/// The features for users.
const FEATURES: &str = "serde,tokio,typed";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the text anew, and show what changed
    #[arg(long)]
    update: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    toolchain::ensure_nightly(&[])?;
    runner::run(&steps(args.update), |_| runner::this_command())
}

fn steps(update: bool) -> [Step; 2] {
    let json = toolchain::target_dir().join("public-api/doc/kennel.json");
    let describe =
        format!("rustdoc --quiet -p kennel --lib --features {FEATURES} -- -Zunstable-options --output-format json");
    let compare = Step::cargo("compare", "run --quiet --manifest-path crates/public-api/Cargo.toml --")
        .target_dir("public-api-text")
        .arg(&json.to_string_lossy())
        .arg(TEXT);
    [
        Step::cargo("describe", &describe).nightly().target_dir("public-api"),
        if update { compare.arg("--update") } else { compare },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_update_writes_the_text() {
        let [describe, compare] = steps(false);
        assert!(describe.to_string().contains("cargo +nightly rustdoc"), "{describe}");
        assert!(compare.to_string().ends_with(TEXT), "{compare}");
        assert!(steps(true)[1].to_string().ends_with("--update"));
    }
}
