//! The program of each language, ready to be started.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::language::Language;
use crate::cmd::command::this_program;

const C: &str = include_str!("speakers/speaker.c");
const GO: &str = include_str!("speakers/speaker.go");
const NODE: &str = include_str!("speakers/speaker.cjs");
const PHP: &str = include_str!("speakers/speaker.php");
const PYTHON: &str = include_str!("speakers/speaker.py");
const RUBY: &str = include_str!("speakers/speaker.rb");
const SHELL: &str = include_str!("speakers/speaker.sh");

/// The package for Go, if this program was built in a checkout that is still there.
const GO_PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../go");

pub struct Speaker {
    pub language: Language,
    /// The language and its version.
    pub version: String,
    /// The program and its first arguments.
    pub(super) command: Vec<OsString>,
}

impl Speaker {
    /// Writes a program into a folder, compiles it, and asks it for the version of its language, which the program
    /// tells only if its language has the package of Kennel. An error says what is missing.
    pub fn prepared(language: Language, folder: &Path) -> Result<Self, String> {
        let folder = folder.join(language.name());
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let written = |name: &str, text: &str| -> Result<OsString, String> {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path.into())
        };
        let run_by = |variable, usual, name: &str, text| -> Result<Vec<OsString>, String> {
            let mut command = words_of(variable, usual);
            command.push(written(name, text)?);
            Ok(command)
        };
        let command = match language {
            Language::Rust => vec![this_program().into(), "demo-speaker".into()],
            Language::Shell => run_by("SHELL_COMMAND", "sh", "speaker.sh", SHELL)?,
            Language::Python => run_by("PYTHON", "python3", "speaker.py", PYTHON)?,
            Language::Php => run_by("PHP", "php", "speaker.php", PHP)?,
            Language::Node => run_by("NODE", "node", "speaker.cjs", NODE)?,
            Language::Ruby => run_by("RUBY", "ruby", "speaker.rb", RUBY)?,
            Language::C => {
                written("speaker.c", C)?;
                compiled_c(&folder)?
            }
            Language::Go => {
                written("main.go", GO)?;
                compiled_go(&folder)?
            }
        };
        let mut speaker = Self { language, version: String::new(), command };
        speaker.version = first_line(&said_by(&mut speaker.command("version"))?);
        Ok(speaker)
    }

    /// A command that does an action.
    pub fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg(action).env("KENNEL", this_program());
        command
    }
}

/// The words of a variable, which name a program and its first arguments.
fn words_of(variable: &str, usual: &str) -> Vec<OsString> {
    let named = std::env::var(variable).unwrap_or_default();
    let words: Vec<OsString> = named.split_whitespace().map(OsString::from).collect();
    if words.is_empty() { vec![usual.into()] } else { words }
}

fn compiled_c(folder: &Path) -> Result<Vec<OsString>, String> {
    let flags = said_by(Command::new("pkg-config").args(["--cflags", "--libs", "kennel"]))?;
    let program = folder.join("speaker");
    let mut compiler = command_of(&words_of("CC", "cc"));
    compiler.arg(folder.join("speaker.c")).args(flags.split_whitespace()).arg("-o").arg(&program);
    said_by(&mut compiler)?;
    Ok(vec![program.into()])
}

fn compiled_go(folder: &Path) -> Result<Vec<OsString>, String> {
    let package = std::env::var_os("KENNEL_GO").map_or_else(|| PathBuf::from(GO_PACKAGE), PathBuf::from);
    let package = package.canonicalize().map_err(|error| {
        format!("the package for Go was not found, which KENNEL_GO can name: {}: {error}", package.display())
    })?;
    let module =
        format!("module speaker\n\ngo 1.19\n\nrequire kennel v0.0.0\n\nreplace kennel => {}\n", package.display());
    fs::write(folder.join("go.mod"), module).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut compiler = command_of(&words_of("GO", "go"));
    // Nothing has to be downloaded.
    compiler.current_dir(folder).args(["build", "-o", "speaker", "."]).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    said_by(&mut compiler)?;
    Ok(vec![folder.join("speaker").into()])
}

fn command_of(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Runs a program to its end and returns its output; an error is the line of its standard error that says most.
pub fn said_by(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} was not found"),
        _ => format!("{name}: {error}"),
    })?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    let complaint = complaint_of(&said(&output.stderr)).unwrap_or_else(|| output.status.to_string());
    Err(format!("{name}: {complaint}"))
}

/// The line of an error message that says most: the one that names an error, or else the first.
fn complaint_of(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| line.contains("Error: ")).or_else(|| lines().next()).map(str::to_owned)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_the_line_that_names_an_error() {
        let python =
            "Traceback (most recent call last):\n  File \"x\"\nModuleNotFoundError: No module named 'kennel'\n";
        assert_eq!(complaint_of(python).unwrap(), "ModuleNotFoundError: No module named 'kennel'");
        assert_eq!(complaint_of("\nPackage kennel was not found\nPerhaps\n").unwrap(), "Package kennel was not found");
        assert_eq!(complaint_of(" \n"), None);
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        assert_eq!(said_by(&mut Command::new("no-such-program")).unwrap_err(), "no-such-program was not found");
    }
}
