//! `cargo xtask package`: each crate that is to be published builds from its package alone.
//!
//! The packages are unpacked beside each other, where nothing else of the repository is, and take each other from there.
//! They are built without the flags of `.cargo/config.toml`, as they are for everybody else. Cargo's own check of a package
//! would take the others from what it unpacked at its last run, as long as their versions are the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::step::Step;
use crate::{runner, toolchain};

/// The crates, and what each of their packages must have beside its sources.
const CRATES: [&str; 5] = ["kennel", "kennel-conformance", "kennel-far", "kennel-harness", "kennel-cli"];
const FILES: [&str; 4] = ["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];
/// The version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The build folder, under the target folder.
const TARGET: &str = "package";

pub(crate) fn run() -> Result<ExitCode> {
    for name in CRATES {
        check_files(name)?;
    }
    pack().run_line_by_line(|_| {})?;
    let alone = unpack()?;
    runner::run(&[build(&alone)], |_| runner::this_command())
}

fn pack() -> Step {
    let names: String = CRATES.iter().map(|name| format!(" --package {name}")).collect();
    Step::cargo("package", &format!("package --quiet --no-verify --allow-dirty{names}")).target_dir(TARGET)
}

fn build(alone: &Path) -> Step {
    let manifest = alone.join("Cargo.toml");
    Step::cargo("build", "build --workspace --manifest-path")
        .arg(&manifest.to_string_lossy())
        .env("RUSTFLAGS", "")
        .target_dir(TARGET)
}

/// Unpacks the packages into a workspace of their own.
fn unpack() -> Result<PathBuf> {
    let target = toolchain::root().join(toolchain::target_dir()).join(TARGET);
    let alone = target.join("alone");
    if alone.exists() {
        fs::remove_dir_all(&alone).with_context(|| format!("could not remove {}", alone.display()))?;
    }
    fs::create_dir_all(&alone).with_context(|| format!("could not make {}", alone.display()))?;
    for name in CRATES {
        let package = target.join("package").join(format!("{name}-{VERSION}.crate"));
        let status = Command::new("tar").arg("-xzf").arg(&package).arg("-C").arg(&alone).status();
        ensure!(status.context("tar was not found")?.success(), "tar could not unpack {}", package.display());
    }
    fs::write(alone.join("Cargo.toml"), workspace())?;
    // The versions of the dependencies that everything else here is built with.
    fs::copy(toolchain::root().join("Cargo.lock"), alone.join("Cargo.lock")).context("could not copy Cargo.lock")?;
    Ok(alone)
}

/// The manifest of that workspace.
fn workspace() -> String {
    let members: Vec<_> = CRATES.iter().map(|name| format!("\"{name}-{VERSION}\"")).collect();
    let patches: String = CRATES.iter().map(|name| format!("{name} = {{ path = \"{name}-{VERSION}\" }}\n")).collect();
    format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{patches}", members.join(", "))
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
    fn all_packages_are_built_without_flags() {
        let pack = pack().to_string();
        assert!(CRATES.iter().all(|name| pack.contains(&format!("--package {name}"))), "{pack}");
        let build = build(Path::new("alone")).to_string();
        assert!(build.contains("RUSTFLAGS=") && build.contains("cargo build --workspace"), "{build}");
    }

    #[test]
    fn the_packages_take_each_other_from_where_they_lie() {
        let manifest = workspace();
        let path = format!("kennel-cli-{VERSION}\"");
        assert_eq!(manifest.matches(&path).count(), 2, "{manifest}");
    }
}
