//! `cargo xtask macos-check` and `cargo xtask windows-check`: type-check and lint the whole workspace with its tests for
//! another system, on any system. They link and run nothing: only that system can show how a call behaves there.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain, wine};

pub(crate) const MACOS: System = System {
    name: "macos",
    target: "aarch64-apple-darwin",
    c_tools: ["CC_aarch64_apple_darwin", "AR_aarch64_apple_darwin"],
};
pub(crate) const WINDOWS: System =
    System { name: "windows", target: wine::TARGET, c_tools: ["CC_x86_64_pc_windows_gnu", "AR_x86_64_pc_windows_gnu"] };

/// A system that the workspace is checked for.
pub(crate) struct System {
    name: &'static str,
    target: &'static str,
    /// Variables that name the compiler and the archiver of C for the target.
    c_tools: [&'static str; 2],
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pass, with a warning, where rustup cannot install the target: without a network, for example
    #[arg(long)]
    if_possible: bool,
}

impl System {
    /// The step of `cargo xtask test`.
    pub(crate) fn step(&self) -> Step {
        Step::cargo(self.name, &format!("run --quiet --package xtask -- {}-check --if-possible", self.name))
    }

    /// The lints of the workspace with its tests.
    pub(crate) fn lints(&self) -> Step {
        Step::cargo(self.name, "clippy --workspace --all-targets --all-features --target")
            .arg(self.target)
            .harness_args(vec!["-D".into(), "warnings".into()])
            .component("clippy")
    }

    pub(crate) fn check(&self, args: &Args) -> Result<ExitCode> {
        match toolchain::ensure_target(self.target) {
            Err(error) if args.if_possible => {
                println!("warning: not checked for {}: {error:#}", self.target);
                return Ok(ExitCode::SUCCESS);
            }
            other => other?,
        }
        let [compiler, archiver] = self.c_tools;
        let step = self
            .lints()
            // A folder of its own, so that it need not wait for another build.
            .target_dir("cross-check")
            // Some dependencies compile C code. The check does not need it, and a C compiler for another system is
            // rarely installed.
            .env(compiler, "true")
            .env(archiver, "true");
        runner::run(&[step], |_| runner::this_command())
    }
}
