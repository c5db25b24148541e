//! `cargo xtask package`: each crate that is to be published builds from its package alone.
//!
//! The packages take each other from a registry that cargo makes for the length of the command, as if all had been
//! published. They are built without the flags of `.cargo/config.toml`, as they are for everybody else.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::runner;
use crate::step::Step;

/// The crates, and what each of their packages must have beside its sources.
const CRATES: [&str; 4] = ["kennel", "kennel-conformance", "kennel-harness", "kennel-cli"];
const FILES: [&str; 4] = ["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

pub(crate) fn run() -> Result<ExitCode> {
    for name in CRATES {
        check_files(name)?;
    }
    runner::run(&[build()], |_| runner::this_command())
}

fn build() -> Step {
    let names: String = CRATES.iter().map(|name| format!(" --package {name}")).collect();
    Step::cargo("package", &format!("package --allow-dirty{names}")).env("RUSTFLAGS", "").target_dir("package")
}

fn check_files(name: &str) -> Result<()> {
    let mut files = Vec::new();
    let list = Step::cargo("list", "package --allow-dirty --list --package").arg(name);
    list.run_line_by_line(|line| files.push(line.to_owned()))?;
    let missing: Vec<_> = FILES.into_iter().filter(|file| !files.iter().any(|found| found == file)).collect();
    ensure!(missing.is_empty(), "the package of {name} lacks {}", missing.join(" and "));
    let stray = files
        .iter()
        .find(|file| file.starts_with("target") || file.starts_with('.') && !file.starts_with(".cargo_vcs"));
    ensure!(stray.is_none(), "the package of {name} has {stray:?}, which is of no use to anybody else");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_built_together_and_without_flags() {
        let line = build().to_string();
        assert!(line.contains("RUSTFLAGS=") && line.contains("cargo package"), "{line}");
        assert!(CRATES.iter().all(|name| line.contains(&format!("--package {name}"))), "{line}");
    }
}
