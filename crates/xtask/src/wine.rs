//! Wine and the compiler for Windows programs: finds them, and installs them where possible.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The target whose programs run under Wine.
pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";
/// The environment variable, and its value, that tells cargo the linker for [`TARGET`].
pub(crate) const LINKER: (&str, &str) = ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", COMPILER);

const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// Where Debian installs those programs of Wine that are not in `PATH`.
const WINE_HOME: &str = "/usr/lib/wine";

/// A program that is needed, and the Debian packages that contain it.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) packages: &'static [&'static str],
    pub(crate) find: fn() -> Option<PathBuf>,
}

pub(crate) const MINGW: Tool =
    Tool { name: COMPILER, packages: &["gcc-mingw-w64-x86-64", "mingw-w64-x86-64-dev"], find: || find(COMPILER) };
pub(crate) const WINE: Tool = Tool { name: "wine64", packages: &["wine64"], find: wine_program };

/// Installs missing tools where that needs no password, and fails otherwise.
pub(crate) fn ensure_tools(tools: &[Tool], no_install: bool) -> Result<()> {
    let missing = || tools.iter().filter(|tool| (tool.find)().is_none());
    let named = || missing().map(|tool| tool.name).collect::<Vec<_>>().join(" and ");
    let packages: Vec<_> = missing().flat_map(|tool| tool.packages).copied().collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    // Only root may install packages, and other distributions have other names for them.
    if no_install || !is_root() || find("apt-get").is_none() {
        bail!("{} is missing; on Debian it comes with: {by_hand}", named());
    }
    println!("=== {} is missing: {by_hand}", named());
    let apt = |args: &[&str]| -> Result<()> {
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        ensure!(status.success(), "apt-get {}: {status}", args.join(" "));
        Ok(())
    };
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], &packages[..]].concat())?;
    ensure!(missing().next().is_none(), "{} is missing after {by_hand}", named());
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Finds a program in `PATH` or in the folder of Wine.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain([PathBuf::from(WINE_HOME)]);
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The 64-bit loader itself if it has a name of its own, because the script `wine` complains about a missing 32-bit
/// loader.
fn wine_program() -> Option<PathBuf> {
    find("wine64").or_else(|| find("wine"))
}

/// Wine with its own prefix.
pub(crate) struct Wine {
    pub(crate) program: PathBuf,
    pub(crate) prefix: PathBuf,
    pub(crate) version: String,
}

impl Wine {
    /// Makes the prefix unless it exists.
    pub(crate) fn new(home: &Path) -> Result<Self> {
        let program = wine_program().context("wine64 was not found")?;
        fs::create_dir_all(home).with_context(|| format!("could not create {}", home.display()))?;
        // Wine does not accept relative paths.
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

    pub(crate) fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all").env("WINEARCH", "win64").stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Result<String> {
        let output = self.command(&self.program).args(args).output().context("could not start Wine")?;
        ensure!(output.status.success(), "wine {}: {}", args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Builds the library of random numbers that Wine lacks before version 9. Without it a program ends with status 53
    /// and no message.
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

    /// Ends the processes that still run in this prefix.
    pub(crate) fn stop(&self) {
        if let Some(server) = find("wineserver") {
            // The server may have ended already.
            let _ = self.command(server).arg("-k").status();
        }
    }
}
