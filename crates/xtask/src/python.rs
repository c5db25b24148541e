//! `cargo xtask python` and `cargo xtask wheel`: the Python package in `crates/python`. It is not a member of the
//! workspace, so that building the engine does not need Python.
//!
//! Both use a virtual environment in `target/python-venv`, made from `crates/python/requirements.txt`, which pins every
//! package. Making it needs a network; after that none is needed until the file changes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

use crate::built_from::BuiltFrom;
use crate::step::Step;
use crate::toolchain::{self, Toolchain};
use crate::wine;

/// In a folder that a program made from requirements: what they were.
pub(crate) const REQUIREMENTS: &str = "made-from-requirements.txt";
/// The oldest Python that the package and the pinned packages of its tests support.
const OLDEST: (u32, u32) = (3, 9);
/// The package that `cargo xtask uwsgi` adds to the environment.
const UWSGI: &str = "uwsgi==2.0.31";

#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Arguments for pytest, such as -k django
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct WheelArgs {
    /// Arguments for maturin, such as --target aarch64-unknown-linux-gnu
    #[arg(last = true)]
    args: Vec<String>,
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("python", "run --quiet --package xtask -- python")
}

/// Lints the crate, installs the package as `pip install ./crates/python` does, and runs its tests.
pub(crate) fn test(args: &TestArgs) -> Result<ExitCode> {
    let package = Package::prepared()?;
    package.cargo(&["fmt", "--check"])?;
    package.lint(&[])?;
    package.install()?;
    let pytest = ["-m", "pytest"].into_iter().chain(args.args.iter().map(String::as_str));
    package.python(&pytest.collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// Tests the package in workers of uWSGI. `test` leaves this out, because building uWSGI takes a minute.
pub(crate) fn test_under_uwsgi() -> Result<ExitCode> {
    let package = Package::prepared()?;
    package.install()?;
    package.python(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check", UWSGI])?;
    package.python(&["-m", "pytest", "-m", "uwsgi"])?;
    Ok(ExitCode::SUCCESS)
}

/// Builds a wheel into `target/wheels`.
pub(crate) fn wheel(args: &WheelArgs) -> Result<ExitCode> {
    let wheels = absolute(toolchain::target_dir().join("wheels"));
    Package::prepared()?.wheel(&wheels, &args.args)?;
    println!("the wheel is in {}", wheels.display());
    Ok(ExitCode::SUCCESS)
}

/// The package, and the virtual environment that builds and tests it.
pub(crate) struct Package {
    pub(crate) folder: PathBuf,
    /// The Python of the environment.
    pub(crate) python: PathBuf,
    environment: PathBuf,
}

impl Package {
    pub(crate) fn prepared() -> Result<Self> {
        let folder = toolchain::root().join("crates/python");
        let environment = absolute(toolchain::target_dir().join("python-venv"));
        let within = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        let package = Self { folder, python: environment.join(within), environment };
        package.prepare()?;
        Ok(package)
    }

    /// Makes the environment, unless there is one made from the same requirements and, if `PYTHON` is set, by that
    /// Python.
    fn prepare(&self) -> Result<()> {
        let requirements = self.folder.join("requirements.txt");
        let named = named_python().unwrap_or_default();
        let made = BuiltFrom::read(self.environment.join(REQUIREMENTS), &[requirements], &named)?;
        if made.is_current() {
            return Ok(());
        }
        let python = find_python()?;
        println!("making the Python environment {}", self.environment.display());
        succeed(Command::new(python).args(["-m", "venv", "--clear"]).arg(&self.environment))
            .context("could not make a Python environment (on Debian the package python3-venv is needed)")?;
        self.python(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"])?;
        made.write()
    }

    /// Installs the package into the environment, as `pip install ./crates/python` does.
    pub(crate) fn install(&self) -> Result<()> {
        let built = self.built_from()?;
        built.forget();
        // Without build isolation: the environment already has the pinned maturin.
        let install =
            ["-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--force-reinstall", "."];
        self.python(&install)?;
        built.write()
    }

    /// Installs the package, unless the environment has it as it is now.
    pub(crate) fn install_if_changed(&self) -> Result<()> {
        if self.built_from()?.is_current() { Ok(()) } else { self.install() }
    }

    fn built_from(&self) -> Result<BuiltFrom> {
        let parts = ["src", "crates/stream", "crates/python", "Cargo.toml"];
        let sources: Vec<_> = parts.iter().map(|part| toolchain::root().join(part)).collect();
        let compiler = Toolchain::InUse.cargo().arg("--version").output().context("could not start cargo")?;
        let compiler = String::from_utf8_lossy(&compiler.stdout).into_owned();
        BuiltFrom::read(self.environment.join("installed-from"), &sources, &compiler)
    }

    /// Builds a wheel into a folder, with `args` for maturin.
    pub(crate) fn wheel(&self, into: &Path, args: &[String]) -> Result<()> {
        let out = into.to_string_lossy();
        let maturin = ["-m", "maturin", "build", "--release", "--locked", "--out", &out];
        let mut command = self.python_command(maturin.into_iter().chain(args.iter().map(String::as_str)))?;
        if !cfg!(windows) && args.iter().any(|arg| arg.ends_with(wine::TARGET)) {
            wine::ensure_tools(&[wine::MINGW], false)?;
            toolchain::ensure_target(wine::TARGET)?;
            command.env(wine::LINKER.0, wine::LINKER.1);
        }
        self.run(&mut command)
    }

    /// Lints the crate; `args` may name a target.
    pub(crate) fn lint(&self, args: &[&str]) -> Result<()> {
        self.cargo(&[&["clippy", "--locked", "--all-targets"], args, &["--", "-D", "warnings"]].concat())
    }

    /// Runs the environment's Python in the folder of the package.
    pub(crate) fn python(&self, args: &[&str]) -> Result<()> {
        self.run(&mut self.python_command(args.iter().copied())?)
    }

    fn python_command<'a>(&self, args: impl Iterator<Item = &'a str>) -> Result<Command> {
        let mut command = Command::new(&self.python);
        command.args(args).env("VIRTUAL_ENV", &self.environment).env_remove("PYTHONHOME").env_remove("PYTHONPATH");
        // pip runs the program `maturin`.
        command.env("PATH", self.path_with_programs()?);
        Ok(command)
    }

    fn path_with_programs(&self) -> Result<OsString> {
        let programs = self.python.parent().map(Path::to_owned);
        let others = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&others)))
            .context("the path of the Python environment cannot be part of PATH")
    }

    fn cargo(&self, args: &[&str]) -> Result<()> {
        self.run(Toolchain::InUse.cargo().args(args).env("PYO3_PYTHON", &self.python))
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        // A separate folder, because this is another workspace with other versions of its dependencies.
        let target = absolute(toolchain::target_dir().join("python"));
        succeed(command.current_dir(&self.folder).env("CARGO_TARGET_DIR", target))
    }
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("could not start {program}"))?;
    let args = command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    ensure!(status.success(), "{program} {args}: {status}");
    Ok(())
}

/// The value of the environment variable `PYTHON`.
fn named_python() -> Option<String> {
    std::env::var("PYTHON").ok().filter(|name| !name.is_empty())
}

/// The Python that `PYTHON` names, else the first of the usual names that is new enough.
pub(crate) fn find_python() -> Result<String> {
    let named = named_python();
    let usual = ["python3", "python", "py"].map(str::to_owned);
    let candidates = named.map_or_else(|| usual.to_vec(), |name| vec![name]);
    let versions = candidates.iter().filter_map(|name| Some((name, version(name)?))).collect::<Vec<_>>();
    let found = versions.iter().find(|(_, version)| *version >= OLDEST);
    found.map(|(name, _)| (*name).clone()).ok_or_else(|| {
        let seen = match versions.as_slice() {
            [] => "found no Python".to_owned(),
            [(name, (major, minor)), ..] => format!("found {name} {major}.{minor}"),
        };
        anyhow!(
            "the Python package: expected Python {}.{} or later, {seen} (looked for {}); install it, set PYTHON to it, or \
             leave the step out: cargo xtask test --skip python",
            OLDEST.0,
            OLDEST.1,
            candidates.join(", ")
        )
    })
}

fn version(python: &str) -> Option<(u32, u32)> {
    let ask = "import sys; print(*sys.version_info[:2])";
    let told = Command::new(python).args(["-c", ask]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&told.stdout))
}

fn parse_version(told: &str) -> Option<(u32, u32)> {
    let (major, minor) = told.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The absolute form of a path in the target folder. `CARGO_TARGET_DIR` may be relative to the caller's folder, and the
/// commands of this file run in another one.
pub(crate) fn absolute(path: impl AsRef<Path>) -> PathBuf {
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        std::path::absolute(&path).unwrap_or_else(|_| path.as_ref().to_owned())
    } else {
        toolchain::root().join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("3 9\n"), Some((3, 9)));
        assert!(parse_version("3 8\n").unwrap() < OLDEST && parse_version("3 13\r\n").unwrap() >= OLDEST);
        assert_eq!(parse_version("Python was not found"), None);
    }
}
