//! `cargo xtask windows`: the whole workspace is linted, built and tested as Windows programs, which run under Wine.
//!
//! Wine is not Windows; where the two are known to differ, the test says which it follows. Everything that this makes
//! lies in `target/windows`: the builds, and a Wine prefix of its own.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::step::Step;
use crate::toolchain;

const TARGET: &str = "x86_64-pc-windows-gnu";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// Debian's packages of what is called here.
const PACKAGES: [&str; 3] = ["gcc-mingw-w64-x86-64", "mingw-w64-x86-64-dev", "wine64"];
/// Where Debian puts Wine's programs that are not on the path.
const WINE_HOME: &str = "/usr/lib/wine";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Test this package alone
    #[arg(short, long)]
    package: Option<String>,
    /// Run this integration test alone; may be given several times
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Install nothing: say what is missing
    #[arg(long)]
    no_install: bool,
    /// Arguments for the test programs, such as a filter or --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    ensure_tools(args.no_install)?;
    toolchain::ensure_target(TARGET)?;
    let home = toolchain::target_dir().join("windows");
    let wine = Wine::new(&home)?;
    let lints = ["-D".to_owned(), "warnings".to_owned()];
    step("clippy", "clippy --workspace --all-targets --all-features --target", &home)
        .component("clippy")
        .harness_args(lints.into())
        .run()?;
    let mut tally = Tally::default();
    let tests = tests(&args, &home, &wine).run_line_by_line(|line| tally.read(line));
    wine.stop();
    println!("\n{} on {TARGET} under {}", tally, wine.version);
    tests?;
    ensure!(tally.programs > 0 && tally.ran() > 0, "no test was run");
    Ok(ExitCode::SUCCESS)
}

/// A step that builds for Windows, in a folder of its own.
fn step(name: &str, args: &str, home: &Path) -> Step {
    Step::cargo(name, args).arg(TARGET).env("CARGO_TARGET_DIR", home.to_string_lossy())
}

fn tests(args: &Args, home: &Path, wine: &Wine) -> Step {
    let which = match &args.package {
        Some(package) => format!("test --package {package} --all-features --no-fail-fast"),
        None => "test --workspace --all-features --no-fail-fast".to_owned(),
    };
    let named = args.test.iter().fold(which, |line, test| line + " --test " + test);
    step("test", &(named + " --target"), home)
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", wine.program.to_string_lossy())
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", COMPILER)
        .env("WINEPREFIX", wine.prefix.to_string_lossy())
        .env("WINEDEBUG", "-all")
        .harness_args(args.args.clone())
}

/// Sees to it that compiler and Wine are there: installs them where that is possible without asking.
fn ensure_tools(no_install: bool) -> Result<()> {
    if missing().is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", PACKAGES.join(" "));
    let found = missing().join(" and ");
    // Nobody but root may, and elsewhere than on Debian the packages have other names.
    if no_install || !is_root() || find("apt-get").is_none() {
        bail!("{found} is missing; on Debian it comes with: {by_hand}");
    }
    println!("=== {found} is missing: {by_hand}");
    let apt = |args: &[&str]| -> Result<()> {
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        ensure!(status.success(), "apt-get {}: {status}", args.join(" "));
        Ok(())
    };
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], &PACKAGES[..]].concat())?;
    let still = missing();
    ensure!(still.is_empty(), "{} is missing after {by_hand}", still.join(" and "));
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let tools = [(COMPILER, find(COMPILER).is_some()), ("wine64", wine_program().is_some())];
    tools.into_iter().filter(|(_, found)| !found).map(|(tool, _)| tool).collect()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A program on the path, or among those of Wine.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain([PathBuf::from(WINE_HOME)]);
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The 64-bit loader itself, where it has a name of its own: the script before it complains of the 32-bit one.
fn wine_program() -> Option<PathBuf> {
    find("wine64").or_else(|| find("wine"))
}

/// Wine with a prefix of its own.
struct Wine {
    program: PathBuf,
    prefix: PathBuf,
    version: String,
}

impl Wine {
    /// Makes the prefix, unless it is there.
    fn new(home: &Path) -> Result<Self> {
        let program = wine_program().context("wine64 was not found")?;
        fs::create_dir_all(home).with_context(|| format!("could not create {}", home.display()))?;
        // Wine takes no relative path.
        let home = fs::canonicalize(home)?;
        let mut wine = Self { program, prefix: home.join("wine"), version: String::new() };
        wine.version = wine.output(&["--version"])?;
        if !wine.prefix.join("system.reg").is_file() {
            println!("=== making the Wine prefix {}", wine.prefix.display());
            wine.output(&["wineboot", "--init"])?;
        }
        wine.ensure_random(&home)?;
        Ok(wine)
    }

    fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all").env("WINEARCH", "win64").stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Result<String> {
        let output = self.command(&self.program).args(args).output().context("could not start Wine")?;
        ensure!(output.status.success(), "wine {}: {}", args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Builds the library of random numbers, which Wine has since version 9; without it a program ends with status 53
    /// and says nothing.
    fn ensure_random(&self, home: &Path) -> Result<()> {
        let library = self.prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
        if library.is_file() {
            return Ok(());
        }
        let source = home.join("bcryptprimitives.c");
        fs::write(&source, include_str!("bcryptprimitives.c"))?;
        let mut compiler = Command::new(COMPILER);
        compiler.args(["-shared", "-O2", "-o"]).args([&library, &source]).arg("-ladvapi32");
        let status = compiler.status().context("could not start the compiler")?;
        ensure!(status.success(), "{COMPILER} of {}: {status}", source.display());
        Ok(())
    }

    /// Ends what still runs in this prefix, and in no other.
    fn stop(&self) {
        if let Some(server) = find("wineserver") {
            // It may have ended by itself.
            let _ = self.command(server).arg("-k").status();
        }
    }
}

/// What the test programs said of themselves.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Reads a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn read(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        let mut words = counts.split([' ', ';']).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let Ok(number) = word.parse::<u64>() else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }

    fn ran(&self) -> u64 {
        self.passed + self.failed
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { programs, passed, failed, ignored } = self;
        write!(
            f,
            "{} tests ran in {programs} programs: {passed} passed, {failed} failed, {ignored} ignored",
            self.ran()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        tally.read("running 4 tests");
        tally.read("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.read("test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s");
        assert_eq!(tally, Tally { programs: 2, passed: 5, failed: 5, ignored: 1 });
        assert_eq!(tally.to_string(), "10 tests ran in 2 programs: 5 passed, 5 failed, 1 ignored");
    }
}
