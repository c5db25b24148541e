//! `cargo xtask languages`: programs in all languages share one cache file.
//!
//! Builds the packages that this machine has the tools for, and runs `kennel demo --languages` with exactly those: it fails
//! if one of them cannot take part. With `--figures` it measures what calls cost in each language instead.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::bindings::{self, Library};
use crate::python::{Package, absolute, succeed};
use crate::step::Step;
use crate::toolchain::{self, Toolchain};
use crate::{go, node, php, ruby};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure what calls cost in each language, beside that language's own caches
    #[arg(long)]
    figures: bool,
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("languages", "run --quiet --package xtask -- languages")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let library = Library::installed()?;
    if args.figures {
        measure(&library)?
    } else {
        share(&library)?
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the demonstration, with the program that the tests of the workspace have built.
fn share(library: &Library) -> Result<()> {
    succeed(Toolchain::InUse.cargo().args(["build", "--quiet", "--workspace", "--all-features", "--bin", "kennel"]))?;
    let program = format!("debug/kennel{}", std::env::consts::EXE_SUFFIX);
    let mut command = library.command(absolute(toolchain::target_dir().join(program)));
    let mut languages = vec!["rust"];
    if cfg!(unix) {
        languages.push("shell");
    }
    let python = Package::prepared()?;
    python.install_if_changed()?;
    command.env("PYTHON", &python.python);
    languages.push("python");
    if has_c() {
        languages.push("c");
    }
    if let Some(extension) = php::extension()? {
        command.env("PHP", format!("php -d extension={}", extension.display()));
        languages.push("php");
    }
    if let Some(modules) = node::modules()? {
        command.env("NODE_PATH", modules);
        languages.push("node");
    }
    if go::is_here() {
        languages.push("go");
    }
    if let Some(folders) = ruby::load_path()? {
        command.env("RUBYLIB", folders);
        languages.push("ruby");
    }
    let status = command.arg("demo").arg(format!("--languages={}", languages.join(","))).status()?;
    ensure!(status.success(), "the languages do not agree: {status}");
    Ok(())
}

fn has_c() -> bool {
    let tools = [("cc", "--version"), ("pkg-config", "--version")];
    cfg!(unix) && !bindings::missing("C", &tools, "gcc libc6-dev pkg-config")
}

/// Runs the programs that measure, one after the other.
fn measure(library: &Library) -> Result<()> {
    let root = toolchain::root();
    let place = tempfile::tempdir().context("could not make a folder")?;
    if has_c() {
        println!("\n=== C");
        let build = "cc -O2 \"$0\" $(pkg-config --cflags --libs kennel) -o cost && ./cost cost.cache";
        let mut sh = library.command("sh");
        succeed(sh.current_dir(place.path()).args(["-c", build]).arg(root.join("crates/capi/bench/cost.c")))?;
    }
    if let Some(extension) = php::extension()? {
        println!("\n=== PHP");
        let mut php = library.command("php");
        php.arg("-d").arg(format!("extension={}", extension.display())).args(php::WITH_APCU);
        php.arg("-d").arg(format!("kennel.path={}", place.path().join("php.cache").display()));
        succeed(php.arg(root.join("crates/php/bench/cost.php")))?;
    }
    if let Some(peers) = node::peers()? {
        println!("\n=== Node.js");
        succeed(library.command("node").env("NODE_PATH", peers).arg(root.join("crates/node/bench/costs.js")))?;
    }
    if go::is_here() {
        println!("\n=== Go");
        succeed(go::command(library, "go").args(["test", "-run", "^$", "-bench", ".", "-benchtime", "300ms"]))?;
    }
    if let Some(folders) = ruby::load_path()? {
        println!("\n=== Ruby");
        let mut ruby = library.command("ruby");
        succeed(ruby.env("RUBYLIB", folders).arg(root.join("crates/ruby/bench/cost.rb")))?;
    }
    Ok(())
}
