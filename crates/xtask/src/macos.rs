//! `cargo xtask macos-check`: the whole workspace, tests included, is type-checked and linted for macOS, wherever this
//! runs. Nothing is linked and nothing run: what a call does there, only a Mac can tell.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

const TARGET: &str = "aarch64-apple-darwin";

pub(crate) fn run() -> Result<ExitCode> {
    toolchain::ensure_target(TARGET)?;
    let step = Step::cargo("macos-check", "clippy --workspace --all-targets --all-features --target")
        .arg(TARGET)
        .harness_args(vec!["-D".into(), "warnings".into()])
        .component("clippy")
        // Some dependencies compile C code, which nobody reads here and no compiler may be there for.
        .env("CC_aarch64_apple_darwin", "true")
        .env("AR_aarch64_apple_darwin", "true");
    runner::run(&[step], |_| runner::this_command())
}
