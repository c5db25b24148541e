//! `cargo xtask minimal`: checks that the library, the suite for lock strategies and the command line build with the
//! oldest dependencies that the manifests allow.
//!
//! Cargo writes the resolved versions to the lock file of a workspace. Ours must not change, so they are resolved in a
//! copy of the workspace. The cargo option is unstable; `RUSTC_BOOTSTRAP` makes every cargo accept it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::step::Step;
use crate::{runner, toolchain};

/// The packages that are checked.
const PACKAGES: &str = "--package kennel --package kennel-conformance --package kennel-cli";
/// Names that are not copied, in every folder.
const LEFT_OUT: [&str; 2] = ["target", "Cargo.lock"];

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("minimal", "run --quiet --package xtask -- minimal")
}

pub(crate) fn run() -> Result<ExitCode> {
    let copy = place();
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("could not remove {}", copy.display()))?;
    }
    copy_folder(toolchain::root(), &copy)?;
    runner::run(&steps(&copy), |_| runner::this_command())
}

/// The folder of the copy, as an absolute path: the path of the target folder may be relative to the workspace.
fn place() -> PathBuf {
    toolchain::root().join(toolchain::target_dir()).join("minimal").join("workspace")
}

fn steps(copy: &Path) -> [Step; 2] {
    let manifest = copy.join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    [
        Step::cargo("resolve", "generate-lockfile -Zdirect-minimal-versions --manifest-path")
            .arg(&manifest)
            .env("RUSTC_BOOTSTRAP", "1"),
        Step::cargo("check", &format!("check --locked {PACKAGES} --all-features --manifest-path"))
            .arg(&manifest)
            .target_dir("minimal"),
    ]
}

/// Copies a folder without hidden files and the names [`LEFT_OUT`].
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if !is_wanted(&entry.file_name()) {
            continue;
        }
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy)?;
        } else if path.is_file() {
            fs::copy(&path, &copy).with_context(|| format!("could not copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_wanted(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && !LEFT_OUT.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_manifests_and_sources_but_no_lock_file() {
        for name in ["Cargo.toml", "src", "crates", "benches"] {
            assert!(is_wanted(OsStr::new(name)), "{name}");
        }
        for name in ["Cargo.lock", "target", ".git", ".cargo"] {
            assert!(!is_wanted(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn only_the_resolver_gets_unstable_options() {
        let [resolve, check] = steps(Path::new("copy"));
        assert!(resolve.to_string().starts_with("RUSTC_BOOTSTRAP=1 cargo generate-lockfile -Zdirect-minimal-versions"));
        assert!(check.to_string().contains("cargo check --locked") && !check.to_string().contains("BOOTSTRAP"));
    }
}
