//! A step: a cargo command as data.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::limit;
use crate::toolchain::{self, Toolchain};

/// The limit of a step that may take as long as its caller asked for.
const UNLIMITED: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// A cargo command that passes or fails, run at the root of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    name: String,
    toolchain: Toolchain,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    component: Option<&'static str>,
    filter: Option<String>,
    harness_args: Vec<String>,
    limit: Duration,
    is_beside: bool,
}

impl Step {
    /// A step that runs cargo of the toolchain in use with `args`, which blanks separate.
    pub(crate) fn cargo(name: impl Into<String>, args: &str) -> Self {
        Self {
            name: name.into(),
            toolchain: Toolchain::InUse,
            args: args.split_whitespace().map(str::to_owned).collect(),
            env: Vec::new(),
            component: None,
            filter: None,
            harness_args: Vec::new(),
            limit: UNLIMITED,
            is_beside: false,
        }
    }

    /// Adds one argument for cargo, which may contain blanks.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Makes the step run on the nightly toolchain.
    pub(crate) fn nightly(self) -> Self {
        Self { toolchain: Toolchain::Nightly, ..self }
    }

    /// Sets an environment variable for this step.
    pub(crate) fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// Makes the step build in its own folder inside the target folder. A step that sets `RUSTFLAGS` needs this:
    /// otherwise it and the other steps invalidate each other's builds.
    pub(crate) fn target_dir(self, name: &str) -> Self {
        let path = toolchain::target_dir().join(name);
        self.env("CARGO_TARGET_DIR", path.to_string_lossy())
    }

    /// Declares the rustup component that the step needs.
    pub(crate) fn component(mut self, name: &'static str) -> Self {
        self.component = Some(name);
        self
    }

    /// Runs only the tests whose names contain `filter`. The step fails if no test matches, because cargo itself passes
    /// when a filter selects nothing, after a rename for example.
    pub(crate) fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Sets the arguments for the test binary, which follow `--`.
    pub(crate) fn harness_args(mut self, args: Vec<String>) -> Self {
        self.harness_args = args;
        self
    }

    /// Ends the step if it takes longer.
    pub(crate) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Makes the step run beside those that are not of this kind, at the lowest priority: it takes only the time in which
    /// they wait. Its builds must not share a folder with theirs, and it must not depend on time.
    pub(crate) fn beside(self) -> Self {
        Self { is_beside: true, ..self }
    }

    pub(crate) fn is_beside(&self) -> bool {
        self.is_beside
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Fails if the rustup component of the step is missing; the error says how to add it.
    pub(crate) fn check_component(&self) -> Result<()> {
        let (Some(component), Some(subcommand)) = (self.component, self.args.first()) else {
            return Ok(());
        };
        let found = self
            .toolchain
            .cargo()
            .args([subcommand, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        ensure!(
            found,
            "step {name} needs {component}, which is not installed; add it with: \
             rustup component add {component} (or leave the step out with --skip {name})",
            name = self.name,
        );
        Ok(())
    }

    /// Runs the step on the caller's terminal.
    pub(crate) fn run(&self) -> Result<()> {
        self.run_until(&AtomicBool::new(false), None)
    }

    /// Runs the step at the lowest priority, until `is_over`; what it printed.
    pub(crate) fn run_beside(&self, is_over: &AtomicBool) -> (Result<()>, Vec<u8>) {
        let path = toolchain::target_dir().join(format!("{}.log", self.name));
        let result = self.run_into(&path, is_over);
        (result, fs::read(&path).unwrap_or_default())
    }

    fn run_into(&self, path: &Path, is_over: &AtomicBool) -> Result<()> {
        let log = File::create(path).with_context(|| format!("could not create {}", path.display()))?;
        self.run_until(is_over, Some(&log))
    }

    /// Runs the step until `is_over`, on the caller's terminal or with its output in a file.
    fn run_until(&self, is_over: &AtomicBool, log: Option<&File>) -> Result<()> {
        let output = || log.map_or_else(|| Ok(Stdio::inherit()), |log| log.try_clone().map(Stdio::from));
        if let Some(filter) = &self.filter {
            self.check_filter(filter, output()?)?;
        }
        let mut command = self.command(&self.harness_args);
        command.stdout(output()?).stderr(output()?);
        if log.is_some() {
            command.stdin(Stdio::null());
        }
        let status = limit::run(&mut command, self.limit, is_over)?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Runs the step, passes its output on to the terminal, and calls `read` for each line.
    pub(crate) fn run_line_by_line(&self, read: impl FnMut(&str)) -> Result<()> {
        println!("\n=== {}: {self}", self.name);
        let mut command = self.command(&self.harness_args);
        let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
        let printed = child.stdout.take().context("the step has no output")?;
        pass_on(printed, read)?;
        let status = child.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Runs a step that must fail, and returns its standard error.
    pub(crate) fn fails(&self) -> Result<String> {
        let output = self.command(&self.harness_args).output().context("could not start cargo")?;
        ensure!(!output.status.success(), "{self}: expected a failure, found success");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn check_filter(&self, filter: &str, errors: Stdio) -> Result<()> {
        let mut harness_args = vec!["--list".to_owned()];
        harness_args.extend_from_slice(&self.harness_args);
        let listed = self
            .command(&harness_args)
            // All seeds of miri give the same list.
            .env_remove("MIRIFLAGS")
            .stderr(errors)
            .output()
            .context("could not start cargo")?;
        ensure!(listed.status.success(), "{}", listed.status);
        ensure!(
            count_listed(&String::from_utf8_lossy(&listed.stdout)) > 0,
            "expected a test whose name contains \"{filter}\", found none, so the step would check nothing"
        );
        Ok(())
    }

    fn command(&self, harness_args: &[String]) -> Command {
        let mut command = self.toolchain.cargo();
        command.args(self.cargo_args(harness_args)).envs(self.env.iter().map(|(key, value)| (key, value)));
        if self.is_beside { at_lowest_priority(&command) } else { command }
    }

    fn cargo_args<'a>(&'a self, harness_args: &'a [String]) -> impl Iterator<Item = &'a str> {
        let separator = (!harness_args.is_empty()).then_some("--");
        let args = self.args.iter().chain(&self.filter).map(String::as_str);
        args.chain(separator).chain(harness_args.iter().map(String::as_str))
    }
}

/// The step as a shell command.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.env {
            write!(f, "{key}={} ", quoted(value))?;
        }
        f.write_str(self.toolchain.cargo_line())?;
        self.cargo_args(&self.harness_args).try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// The same command at the lowest priority, where there is a program that gives it one.
fn at_lowest_priority(command: &Command) -> Command {
    let mut lowered = Command::new(if cfg!(unix) { OsStr::new("nice") } else { command.get_program() });
    if cfg!(unix) {
        lowered.args(["-n", "19"]).arg(command.get_program());
    }
    lowered.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => lowered.env(key, value),
            None => lowered.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        lowered.current_dir(folder);
    }
    lowered
}

/// `word` quoted for a shell.
pub(crate) fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'$*?&|;<>()".contains(c)) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.to_owned()
    }
}

/// Counts the tests in the output of a test binary's `--list`.
fn count_listed(listing: &str) -> usize {
    listing.lines().filter(|line| line.ends_with(": test")).count()
}

/// Passes a program's output on to the terminal, and calls `read` for each line.
pub(crate) fn pass_on(printed: impl Read, mut read: impl FnMut(&str)) -> io::Result<()> {
    for line in BufReader::new(printed).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{}", line.trim_end());
        read(line.trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_a_line_for_a_shell() {
        let step = Step::cargo("models", "test  --lib")
            .env("RUSTFLAGS", "--cfg loom")
            .filter("loom_")
            .harness_args(vec!["--test-threads=1".into(), "it's".into()]);
        assert_eq!(step.to_string(), r"RUSTFLAGS='--cfg loom' cargo test --lib loom_ -- --test-threads=1 'it'\''s'");
    }

    #[test]
    fn a_nightly_step_says_so() {
        let step = Step::cargo("ub", "miri test").nightly();
        assert_eq!(step.to_string(), "cargo +nightly miri test");
    }

    #[test]
    fn only_tests_are_counted_in_a_listing() {
        let listing = "a::loom_one: test\nb::loom_two: test\nc::fast: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(count_listed(listing), 2);
        assert_eq!(count_listed("\n0 tests, 0 benchmarks\n"), 0);
    }
}
