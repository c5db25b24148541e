//! `cargo xtask capi`: the C library in `crates/capi`. It is not a member of the workspace.
//!
//! With `--prefix` it installs the library, its header and `kennel.pc`. Without it, it lints the crate, compares the header
//! with the code, and compiles and runs the tests in C. What the machine cannot run is left out, and named.

mod header;
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::python::absolute;
use crate::step::Step;
use crate::toolchain::{self, Toolchain};

/// The number of the interface, which changes when something breaks.
pub(crate) const SONAME: &str = "libkennel.so.0";
/// What a program that is linked with the static library needs besides it.
const PRIVATE_LIBS: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install into this folder: lib, lib/pkgconfig and include
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
    /// The folder that the installed files will be moved to, if it is another one
    #[arg(long, value_name = "DIR", requires = "prefix")]
    destination: Option<PathBuf>,
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("capi", "run --quiet --package xtask -- capi")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.prefix {
        Some(prefix) => {
            // The command may run in another folder than the caller's.
            let prefix = std::path::absolute(prefix).context("no such prefix")?;
            install(&prefix, args.destination.as_deref().unwrap_or(&prefix))?;
            println!("installed into {}", prefix.display());
        }
        None => {
            header::check(&folder())?;
            cargo(&["fmt", "--check"])?;
            cargo(&["clippy", "--locked", "--all-features", "--", "-D", "warnings"])?;
            tests::run()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The crate.
fn folder() -> PathBuf {
    toolchain::root().join("crates/capi")
}

/// The build folder: this is another workspace with other versions of its dependencies.
fn target() -> PathBuf {
    absolute(toolchain::target_dir().join("capi"))
}

/// Runs cargo in the crate.
fn cargo(args: &[&str]) -> Result<()> {
    let mut command = Toolchain::InUse.cargo();
    succeed(command.current_dir(folder()).args(args).env("CARGO_TARGET_DIR", target()))
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Builds the library for use, and installs it.
pub(crate) fn install(prefix: &Path, destination: &Path) -> Result<()> {
    cargo(&["build", "--locked", "--release"])?;
    let built = target().join("release");
    let (libraries, headers) = (prefix.join("lib"), prefix.join("include"));
    for folder in [&libraries.join("pkgconfig"), &headers] {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    copy(&folder().join("include/kennel.h"), &headers.join("kennel.h"))?;
    copy(&built.join("libkennel.a"), &libraries.join("libkennel.a"))?;
    let shared = if cfg!(target_os = "macos") { "libkennel.dylib" } else { "libkennel.so" };
    if shared.ends_with(".so") {
        copy(&built.join(shared), &libraries.join(SONAME))?;
        link(SONAME, &libraries.join(shared))?;
    } else {
        copy(&built.join(shared), &libraries.join(shared))?;
    }
    let pc = libraries.join("pkgconfig/kennel.pc");
    fs::write(&pc, pkg_config(destination)).with_context(|| format!("could not write {}", pc.display()))
}

/// Copies a file over another one. Programs that have the old file mapped keep it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("could not copy {} to {}", from.display(), new.display()))?;
    fs::rename(&new, to).with_context(|| format!("could not replace {}", to.display()))
}

#[cfg(unix)]
fn link(to: &str, at: &Path) -> Result<()> {
    let _ = fs::remove_file(at);
    std::os::unix::fs::symlink(to, at).with_context(|| format!("could not link {}", at.display()))
}

#[cfg(not(unix))]
fn link(to: &str, at: &Path) -> Result<()> {
    copy(&at.with_file_name(to), at)
}

fn pkg_config(prefix: &Path) -> String {
    format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\nName: kennel\nDescription: A cache in one \
         memory-mapped file that processes share\nVersion: {}\nCflags: -I${{includedir}}\nLibs: -L${{libdir}} \
         -lkennel\nLibs.private: {PRIVATE_LIBS}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod checks {
    use super::*;

    /// Needs no compiler, so it runs with the tests of the workspace as well.
    #[test]
    fn the_header_declares_what_the_library_defines() {
        header::check(&folder()).unwrap();
    }

    #[test]
    fn pkg_config_names_the_prefix() {
        let text = pkg_config(Path::new("/opt/kennel"));
        assert!(text.starts_with("prefix=/opt/kennel\nlibdir=${prefix}/lib\n"), "{text}");
    }
}
