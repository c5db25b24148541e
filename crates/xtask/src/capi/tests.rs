//! The tests in C: each program of `crates/capi/tests` in several builds, and an example that has the installed prefix alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{PRIVATE_LIBS, SONAME, cargo, folder, install, link, succeed, target};

/// Warnings are errors.
const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-g"];
/// How to install what the tests need on Debian.
const DEBIAN: &str = "gcc g++ libc6-dev binutils pkg-config valgrind libc6-dbg";

/// Where the tests run.
struct Place {
    /// The build for tests: not optimized, and with panics to be planted.
    library: PathBuf,
    programs: PathBuf,
    /// On a file system that is no overlay, if there is one.
    files: tempfile::TempDir,
}

pub(super) fn run() -> Result<()> {
    if !cfg!(target_os = "linux") || !has("cc") {
        println!("left out: the tests in C, which need Linux and a C compiler; on Debian: apt-get install {DEBIAN}");
        return Ok(());
    }
    cargo(&["build", "--locked", "--features", "planted-panic"])?;
    let shm = Path::new("/dev/shm");
    let files = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let place = Place {
        library: target().join("debug"),
        programs: target().join("programs"),
        files: files.context("could not make a folder for the tests")?,
    };
    fs::create_dir_all(&place.programs).context("could not make the folder of the programs")?;
    link("libkennel.so", &place.library.join(SONAME))?;
    for name in ["test", "many", "older", "panic"] {
        place.run(&place.compile(name, name, &["-std=c11"])?)?;
    }
    place.compile("test", "test-c99", &["-std=gnu99", "-O2"])?;
    place.run(&place.link_static("test")?)?;
    let stays = place.compile("stays", "stays", &["-std=gnu11", "-Wno-pedantic", "-ldl"])?;
    succeed(Command::new(stays).arg(place.library.join(SONAME)))?;
    place.sanitized()?;
    place.under_valgrind()?;
    place.in_cpp()?;
    place.installed()
}

fn has(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn left_out(what: &str, package: &str) {
    println!("left out: {what}; on Debian: apt-get install {package}");
}

impl Place {
    fn compiler(&self, source: &Path, program: &Path) -> Command {
        let mut command = Command::new("cc");
        command.args(WARNINGS).arg("-I").arg(folder().join("include")).arg(source).arg("-o").arg(program);
        command
    }

    /// Compiles a program with the shared library.
    fn compile(&self, name: &str, to: &str, flags: &[&str]) -> Result<PathBuf> {
        let (source, program) = (folder().join(format!("tests/{name}.c")), self.programs.join(to));
        let mut command = self.compiler(&source, &program);
        command.arg("-L").arg(&self.library).arg("-lkennel").arg("-pthread");
        succeed(command.arg(format!("-Wl,-rpath,{}", self.library.display())).args(flags))?;
        Ok(program)
    }

    fn link_static(&self, name: &str) -> Result<PathBuf> {
        let program = self.programs.join("static");
        let mut command = self.compiler(&folder().join(format!("tests/{name}.c")), &program);
        succeed(command.arg(self.library.join("libkennel.a")).args(PRIVATE_LIBS.split(' ')))?;
        Ok(program)
    }

    fn run(&self, program: &Path) -> Result<()> {
        self.run_by(&mut Command::new(program))
    }

    /// Runs a program with a folder. What it prints is of interest only if it fails.
    fn run_by(&self, command: &mut Command) -> Result<()> {
        let output = command.arg(self.files.path()).env("RUST_BACKTRACE", "0").output();
        let output = output.with_context(|| format!("could not start {command:?}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        println!("passed: {command:?}");
        Ok(())
    }

    fn sanitized(&self) -> Result<()> {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let (source, program) = (self.programs.join("empty.c"), self.programs.join("empty"));
        fs::write(&source, "int main(void) { return 0; }\n").context("could not write a program")?;
        let built = self.compiler(&source, &program).args(flags).stderr(Stdio::null()).status();
        if !built.is_ok_and(|status| status.success()) {
            left_out("the address and undefined-behaviour sanitizers", "gcc");
            return Ok(());
        }
        for name in ["test", "many", "older", "panic"] {
            self.run(&self.compile(name, &format!("{name}-sanitized"), &flags)?)?;
        }
        Ok(())
    }

    fn under_valgrind(&self) -> Result<()> {
        if !has("valgrind") {
            left_out("valgrind", "valgrind libc6-dbg");
            return Ok(());
        }
        // Leaks are searched in programs that do not fork; the sanitizers search the one that does.
        for (name, leaks) in [("test", "no"), ("many", "full"), ("older", "full")] {
            let mut command = Command::new("valgrind");
            command.args(["--quiet", "--error-exitcode=99", "--fair-sched=yes", "--errors-for-leak-kinds=definite"]);
            self.run_by(command.arg(format!("--leak-check={leaks}")).arg(self.programs.join(name)))?;
        }
        Ok(())
    }

    fn in_cpp(&self) -> Result<()> {
        if !has("c++") {
            left_out("the header in C++", "g++");
            return Ok(());
        }
        let source = self.programs.join("header.cpp");
        let text = "#include <kennel.h>\nkennel_options o = KENNEL_OPTIONS_INIT;\nkennel_set_options s = \
                    KENNEL_SET_OPTIONS_INIT;\nkennel_create_options c = KENNEL_CREATE_OPTIONS_INIT;\nkennel_item i = \
                    KENNEL_ITEM_INIT;\nint main() { return kennel_version()[0] == 0; }\n";
        fs::write(&source, text).context("could not write a program")?;
        let program = self.programs.join("header");
        let mut command = Command::new("c++");
        command.args(WARNINGS).arg("-std=c++11").arg("-I").arg(folder().join("include")).arg(&source).arg("-o");
        command.arg(&program).arg("-L").arg(&self.library).arg("-lkennel");
        succeed(command.arg(format!("-Wl,-rpath,{}", self.library.display())))?;
        self.run(&program)
    }

    /// Installs the library, and compiles and runs the example in a folder that has nothing else.
    fn installed(&self) -> Result<()> {
        let alone = tempfile::tempdir().context("could not make a folder")?;
        let prefix = alone.path().join("prefix");
        install(&prefix, &prefix)?;
        check_exports(&prefix.join("lib").join(SONAME))?;
        if !has("pkg-config") {
            left_out("the example with the installed files", "pkg-config");
            return Ok(());
        }
        fs::copy(folder().join("examples/page.c"), alone.path().join("page.c"))
            .context("could not copy the example")?;
        let build = "cc -Wall -Wextra -Werror page.c $(pkg-config --cflags --libs kennel) -o page";
        let lib = prefix.join("lib");
        let sh = |line: &str| {
            let mut command = Command::new("sh");
            command.current_dir(alone.path()).args(["-ec", line]).env("PKG_CONFIG_PATH", lib.join("pkgconfig"));
            command.env("LD_LIBRARY_PATH", &lib);
            command
        };
        succeed(&mut sh(build))?;
        let file = self.files.path().join("pages.cache");
        let run = format!("./page '{}'", file.display());
        for expected in ["rendering\n<h1>Hello</h1>\n", "<h1>Hello</h1>\n"] {
            let output = sh(&run).output().context("could not run the example")?;
            let printed = String::from_utf8_lossy(&output.stdout);
            ensure!(
                printed == expected,
                "the example printed {printed:?}, {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        println!("passed: the example with the installed files alone");
        Ok(())
    }
}

/// The library exports nothing but the functions of the header.
fn check_exports(library: &Path) -> Result<()> {
    if !has("nm") {
        left_out("the list of exported symbols", "binutils");
        return Ok(());
    }
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output().context("could not run nm")?;
    ensure!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    names.sort_unstable();
    let header = fs::read_to_string(folder().join("include/kennel.h")).context("could not read kennel.h")?;
    let stray = names.iter().find(|name| !name.starts_with("kennel_") || !header.contains(&format!("{name}(")));
    ensure!(stray.is_none(), "{} exports {stray:?}", library.display());
    ensure!(names.len() > 20, "{} exports {names:?} only", library.display());
    println!("passed: the library exports {} symbols, all of the header", names.len());
    Ok(())
}
