//! `cargo xtask instructions`: counts the instructions of the hot calls, and fails if a count grew.
//!
//! Valgrind counts them through `gungraun`. Its runner is a separate program and must have the same version as the
//! library in `crates/instructions`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::runner;
use crate::step::Step;
use crate::toolchain::{self, Toolchain};

/// The version of gungraun in `crates/instructions/Cargo.toml`.
const RUNNER: &str = "0.20.0";
const PACKAGE: &str = "crates/instructions";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Count this revision first, and fail if a call takes more now. Without it, the previous counts are shown for
    /// comparison
    #[arg(long, value_name = "REVISION")]
    against: Option<String>,
    /// The growth of a count that is a failure, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0)]
    limit: f64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure_tools()?;
    let Some(revision) = &args.against else {
        return runner::run(&[bench("now", Path::new(PACKAGE), &[])], |_| runner::this_command());
    };
    let base = Base::check_out(revision)?;
    let limits = format!("--callgrind-limits=ir={}%", args.limit);
    let steps = [
        bench("before", &base.0.join(PACKAGE), &["--save-baseline=before"]),
        bench("now", Path::new(PACKAGE), &["--baseline=before", &limits]),
    ];
    runner::run(&steps, |_| runner::this_command())
}

/// The step that counts one revision. Both revisions share a build folder and a folder for counts. The path of the
/// latter is absolute, because gungraun would resolve a relative one in the package that it counts, and there are two
/// packages.
fn bench(name: &str, package: &Path, args: &[&str]) -> Step {
    let manifest = package.join("Cargo.toml");
    Step::cargo(name, &format!("bench --quiet --bench calls --manifest-path {}", manifest.display()))
        .target_dir("instructions")
        .env("GUNGRAUN_HOME", counts().to_string_lossy())
        .harness_args(args.iter().map(|&arg| arg.to_owned()).collect())
}

fn counts() -> PathBuf {
    let folder = toolchain::root().join(toolchain::target_dir()).join("instructions/counts");
    std::path::absolute(&folder).unwrap_or(folder)
}

/// A checkout of an older revision with today's `crates/instructions`, so that both revisions are counted in the same
/// way.
struct Base(PathBuf);

impl Base {
    fn check_out(revision: &str) -> Result<Self> {
        let folder = toolchain::target_dir().join("instructions-before");
        let folder = std::path::absolute(toolchain::root().join(folder))?;
        // Removes the checkout of an interrupted run.
        drop(Self(folder.clone()));
        let added = git(&["worktree", "add", "--detach", "--force", &folder.to_string_lossy(), revision])?;
        ensure!(added, "git has no revision {revision} or could not check it out");
        let base = Self(folder);
        copy(&toolchain::root().join(PACKAGE), &base.0.join(PACKAGE))?;
        Ok(base)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if self.0.exists() {
            // A checkout that remains is in the target folder, and the next run removes it.
            let _ = git(&["worktree", "remove", "--force", &self.0.to_string_lossy()]);
        }
    }
}

fn git(args: &[&str]) -> Result<bool> {
    let status = Command::new("git").args(args).current_dir(toolchain::root()).stdout(Stdio::null()).status();
    Ok(status.context("git was not found")?.success())
}

/// Copies the files of a small folder over those of another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

fn ensure_tools() -> Result<()> {
    ensure!(
        says("valgrind", "--version").is_some(),
        "valgrind was not found; on Debian: sudo apt-get install --no-install-recommends valgrind libc6-dbg"
    );
    if says("gungraun-runner", "--version").is_some_and(|version| version.ends_with(RUNNER)) {
        return Ok(());
    }
    let version = format!("={RUNNER}");
    let installed = Toolchain::InUse
        .cargo()
        .args(["install", "gungraun-runner", "--locked", "--version", &version])
        .status()
        .context("could not start cargo")?;
    ensure!(
        installed.success(),
        "gungraun-runner {RUNNER} is missing and could not be installed; install it by hand with: \
         cargo install gungraun-runner --locked --version {version}"
    );
    Ok(())
}

fn says(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_of_the_library_s_version() {
        let manifest = toolchain::root().join(PACKAGE).join("Cargo.toml");
        let text = fs::read_to_string(manifest).unwrap();
        assert!(text.contains(&format!("\ngungraun = \"={RUNNER}\"\n")));
    }

    #[test]
    fn a_comparison_names_what_it_compares_with() {
        let step = bench("now", Path::new(PACKAGE), &["--baseline=before"]).to_string();
        let manifest = Path::new(PACKAGE).join("Cargo.toml");
        let expected = format!("--manifest-path {} -- --baseline=before", manifest.display());
        assert!(step.contains(&expected), "{step}");
    }

    #[test]
    fn a_folder_is_copied_with_what_is_in_it() {
        let target = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        copy(&toolchain::root().join(PACKAGE), &target).unwrap();
        let copied = target.join("benches/calls.rs").is_file();
        fs::remove_dir_all(&target).unwrap();
        assert!(copied);
    }
}
