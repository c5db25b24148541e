//! `cargo xtask windows`: lints, builds and tests the whole workspace as Windows programs, which run under Wine. Then
//! it builds the Python package for Windows and runs its tests in the Python of python.org.
//!
//! Wine is not Windows; where the two are known to differ, the test says which one it follows. All files that this
//! command makes are in `target/windows`: the builds, a Wine prefix and that Python.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::cross_check::WINDOWS;
use crate::step::Step;
use crate::wine::{self, LINKER, TARGET, Wine};
use crate::wine_python::WinePython;
use crate::{python, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests of this language
    #[arg(long)]
    only: Option<Language>,
    /// Test only this package of the workspace
    #[arg(short, long)]
    package: Option<String>,
    /// Run only this integration test; may be given several times
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Do not install missing packages, but report them
    #[arg(long)]
    no_install: bool,
    /// Arguments for the test programs, such as a filter or --nocapture; with `--only python` for pytest
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    Python,
}

impl Args {
    /// Whether to run the tests of a language: those of both, unless the arguments choose one.
    fn wants(&self, language: Language) -> bool {
        let of_rust = self.package.is_some() || !self.test.is_empty() || !self.args.is_empty();
        self.only.map_or(language == Language::Rust || !of_rust, |only| only == language)
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    wine::ensure_tools(&[wine::MINGW, wine::WINE], args.no_install)?;
    toolchain::ensure_target(TARGET)?;
    let home = toolchain::target_dir().join("windows");
    let wine = Wine::new(&home)?;
    // A failure in one language does not keep the tests of the other from running.
    let rust = args.wants(Language::Rust).then(|| test_rust(&args, &home, &wine));
    let python = args.wants(Language::Python).then(|| test_python(&args, &home, &wine));
    wine.stop();
    rust.into_iter().chain(python).collect::<Result<()>>()?;
    Ok(ExitCode::SUCCESS)
}

fn test_rust(args: &Args, home: &Path, wine: &Wine) -> Result<()> {
    WINDOWS.lints().env("CARGO_TARGET_DIR", home.to_string_lossy()).run()?;
    let mut tally = Tally::default();
    let tests = tests(args, home, wine).run_line_by_line(|line| tally.read(line));
    println!("\nRust: {tally} on {TARGET} under {}", wine.version);
    tests?;
    ensure!(tally.programs > 0 && tally.ran() > 0, "expected at least one test to run, found none");
    Ok(())
}

/// A step that builds for Windows, in a separate folder.
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
        .env(LINKER.0, LINKER.1)
        .env("WINEPREFIX", wine.prefix.to_string_lossy())
        .env("WINEDEBUG", "-all")
        .harness_args(args.args.clone())
}

fn test_python(args: &Args, home: &Path, wine: &Wine) -> Result<()> {
    let package = python::Package::prepared()?;
    package.lint(&["--target", TARGET])?;
    let python = WinePython::prepared(&package, wine, &home.join("python"))?;
    python.install(&package, &wheel(&package, home)?)?;
    let mut last = String::new();
    let tested = python.test(&package, &args.args, |line| line.clone_into(&mut last));
    println!("\nPython: {} on {TARGET} under {}", last.trim_matches(['=', ' ']), wine.version);
    tested
}

/// Builds the wheel and returns its path.
fn wheel(package: &python::Package, home: &Path) -> Result<PathBuf> {
    let wheels = python::absolute(home.join("wheels"));
    if wheels.exists() {
        std::fs::remove_dir_all(&wheels)?;
    }
    package.wheel(&wheels, &["--target".to_owned(), TARGET.to_owned()])?;
    let built = std::fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(built.len() == 1, "expected one wheel in {}, found {}", wheels.display(), built.len());
    Ok(built[0].clone())
}

/// The results of the test programs, added up.
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
    fn what_is_named_for_one_language_is_run_in_that_language_alone() {
        let args = |only, test: &[&str]| Args {
            only,
            package: None,
            test: test.iter().map(ToString::to_string).collect(),
            no_install: false,
            args: Vec::new(),
        };
        let wants = |args: Args| (args.wants(Language::Rust), args.wants(Language::Python));
        assert_eq!(wants(args(None, &[])), (true, true));
        assert_eq!(wants(args(None, &["kill"])), (true, false));
        assert_eq!(wants(args(Some(Language::Rust), &[])), (true, false));
        assert_eq!(wants(args(Some(Language::Python), &[])), (false, true));
    }

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
