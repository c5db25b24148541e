//! `cargo xtask go`: the package for Go in `crates/go`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::bindings::{self, Library};
use crate::python::{absolute, succeed};
use crate::step::Step;
use crate::toolchain;

const DEBIAN: &str = "golang-go gcc libc6-dev pkg-config";

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("go", "run --quiet --package xtask -- go")
}

/// Whether this machine has what the package needs; what is missing is named.
pub(crate) fn is_here() -> bool {
    let tools = [("go", "version"), ("gofmt", "-h"), ("cc", "--version"), ("pkg-config", "--version")];
    cfg!(unix) && !bindings::missing("the package for Go", &tools, DEBIAN)
}

pub(crate) fn run() -> Result<ExitCode> {
    if !is_here() {
        return Ok(ExitCode::SUCCESS);
    }
    let library = Library::installed()?;
    let unformatted = command(&library, "gofmt").args(["-l", "."]).output().context("could not start gofmt")?;
    ensure!(unformatted.stdout.is_empty(), "gofmt: {}", String::from_utf8_lossy(&unformatted.stdout));
    succeed(command(&library, "go").args(["vet", "./..."]))?;
    succeed(command(&library, "go").args(["test", "./..."]))?;
    Ok(ExitCode::SUCCESS)
}

/// A program of Go in the package's folder.
pub(crate) fn command(library: &Library, program: &str) -> Command {
    let mut command = library.command(program);
    command.current_dir(toolchain::root().join("crates/go"));
    // The module has no dependencies: nothing is to be downloaded.
    command.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    command.env("GOCACHE", absolute(toolchain::target_dir().join("go")));
    command
}
