//! `cargo xtask go`: the package for Go in `crates/go`.

use std::process::ExitCode;

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

pub(crate) fn run() -> Result<ExitCode> {
    let tools = [("go", "version"), ("gofmt", "-h"), ("cc", "--version"), ("pkg-config", "--version")];
    if !cfg!(unix) || bindings::missing("the package for Go", &tools, DEBIAN) {
        return Ok(ExitCode::SUCCESS);
    }
    let library = Library::installed()?;
    let go = |args: &[&str]| {
        let mut command = library.command(args[0]);
        command.current_dir(toolchain::root().join("crates/go")).args(&args[1..]);
        // The module has no dependencies: nothing is to be downloaded.
        command.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
        command.env("GOCACHE", absolute(toolchain::target_dir().join("go")));
        command
    };
    let unformatted = go(&["gofmt", "-l", "."]).output().context("could not start gofmt")?;
    ensure!(unformatted.stdout.is_empty(), "gofmt: {}", String::from_utf8_lossy(&unformatted.stdout));
    succeed(&mut go(&["go", "vet", "./..."]))?;
    succeed(&mut go(&["go", "test", "./..."]))?;
    Ok(ExitCode::SUCCESS)
}
