//! Processes of a measurement. Each gets its task in the first line of its standard input, and ends when that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A worker's process. Dropping it kills the process.
pub struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(task: &impl Serialize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let says = child.stdout.take().map(BufReader::new).context("a worker has no output")?;
        let mut input = child.stdin.take().context("a worker has no input")?;
        writeln!(input, "{}", serde_json::to_string(task)?)?;
        child.stdin = Some(input);
        Ok(Self { child, says })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the worker says next.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        ensure!(self.says.read_line(&mut line)? > 0, "a worker ended early");
        Ok(serde_json::from_str(&line)?)
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The time for which processors have worked for a process; zero where the system does not tell.
pub fn processor_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = |text: String| text.split(' ').next()?.parse::<u64>().ok();
    let times = threads.filter_map(|thread| nanos(std::fs::read_to_string(thread.path().join("schedstat")).ok()?));
    Duration::from_nanos(times.sum())
}

/// The task of this worker.
pub fn task<T: DeserializeOwned>() -> Result<T> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let task = serde_json::from_str(&line)?;
    kennel_harness::interrupt::end_with_input()?;
    Ok(task)
}

/// Says something to the parent.
pub fn say(what: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}
