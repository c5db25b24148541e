//! `cargo xtask macos-check`: type-checks and lints the whole workspace with its tests for macOS, on any system. It
//! links and runs nothing: only a Mac can show how a system call behaves there.

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
        // Some dependencies compile C code. The check does not need it, and a C compiler for macOS is rarely installed.
        .env("CC_aarch64_apple_darwin", "true")
        .env("AR_aarch64_apple_darwin", "true");
    runner::run(&[step], |_| runner::this_command())
}
