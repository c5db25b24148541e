//! What the steps of the packages for other languages share: they use the C library as it is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::capi;

/// The C library, installed in the target folder for the packages' tests.
pub(crate) struct Library {
    prefix: PathBuf,
}

impl Library {
    pub(crate) fn installed() -> Result<Self> {
        Ok(Self { prefix: capi::install_for_tests()? })
    }

    /// A command whose compilers and programs find the library.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let lib = self.prefix.join("lib");
        let mut command = Command::new(program.as_ref());
        command.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).env("LD_LIBRARY_PATH", &lib);
        command
    }
}

/// Names what is missing of the programs, each with its arguments that ask for its version, and the packages of Debian
/// that contain it.
pub(crate) fn missing(what: &str, tools: &[(&str, &str)], packages: &str) -> bool {
    let is_there = |program: &str, asked: &str| {
        let output = Command::new(program).arg(asked).stdout(Stdio::null()).stderr(Stdio::null()).status();
        output.is_ok_and(|status| status.success())
    };
    let missing: Vec<&str> =
        tools.iter().filter(|(program, asked)| !is_there(program, asked)).map(|&(program, _)| program).collect();
    if !missing.is_empty() {
        println!("left out: {what}, without {}; on Debian: apt-get install {packages}", missing.join(" and "));
    }
    !missing.is_empty()
}
