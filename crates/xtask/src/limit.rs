//! Ends a command that takes far longer than it should, so that a test that hangs becomes an error that names it.

use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often the command is looked at.
const PERIOD: Duration = Duration::from_millis(50);

/// Runs a command, and kills it with all that it started if it has not ended within `limit`, or when `is_over` says that
/// nobody waits for it.
pub(crate) fn run(command: &mut Command, limit: Duration, is_over: &AtomicBool) -> Result<ExitStatus> {
    let mut child = command.spawn().context("could not start cargo")?;
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if is_over.load(Ordering::SeqCst) {
            kill_all(&mut child);
            bail!("ended, because another step failed");
        }
        thread::sleep(PERIOD);
    }
    let running = kill_all(&mut child);
    bail!("expected an end within {} s, found still running: {}", limit.as_secs(), running.join("; "));
}

/// Kills a process and its descendants; the command lines of those that had started nothing themselves.
fn kill_all(child: &mut Child) -> Vec<String> {
    let family = descendants(child.id());
    let parents: Vec<u32> = family.iter().map(|process| process.parent).collect();
    let leaves = family.iter().filter(|process| !parents.contains(&process.id)).map(|process| process.line()).collect();
    let _ = child.kill();
    for process in &family {
        // A program instead of a call, since this crate has no unsafe code. One that has ended meanwhile is no failure.
        let _ = Command::new("kill").args(["-KILL", &process.id.to_string()]).status();
    }
    let _ = child.wait();
    leaves
}

struct Process {
    id: u32,
    parent: u32,
}

impl Process {
    fn line(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        format!("process {}, {}", self.id, String::from_utf8_lossy(&line).replace('\0', " ").trim_end())
    }
}

/// All descendants of a process, itself first; itself alone where there is no `/proc`.
fn descendants(root: u32) -> Vec<Process> {
    let all: Vec<Process> = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process_of).collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.id));
        next += 1;
    }
    let parent_of = |id: u32| all.iter().find(|process| process.id == id).map_or(0, |process| process.parent);
    family.into_iter().map(|id| Process { id, parent: parent_of(id) }).collect()
}

fn process_of(entry: fs::DirEntry) -> Option<Process> {
    let id = entry.file_name().to_str()?.parse().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name of the program stands in parentheses and may contain anything; the state and the parent follow.
    let (_, rest) = stat.rsplit_once(')')?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some(Process { id, parent })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_for_which_nobody_waits_is_killed() {
        let begin = Instant::now();
        assert!(run(&mut shell("sleep 60; true"), MINUTE, &AtomicBool::new(true)).is_err());
        assert!(begin.elapsed() < MINUTE / 2, "it was waited for");
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_ends_in_time_is_left_alone() {
        assert_eq!(run(&mut shell("exit 3"), MINUTE, &AtomicBool::new(false)).unwrap().code(), Some(3));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_what_it_started_and_named() {
        let begin = Instant::now();
        let limit = Duration::from_millis(300);
        let error =
            run(&mut shell("sleep 61 & sleep 62; true"), limit, &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(begin.elapsed() < Duration::from_secs(30), "it was waited for");
        assert!(error.contains("sleep 61") && error.contains("sleep 62") && !error.contains("sh -c"), "{error}");
        for id in error.split("process ").skip(1).filter_map(|rest| rest.split(',').next()) {
            let runs = || fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
            // The system ends a killed process when it gets to it.
            while runs() {
                assert!(begin.elapsed() < MINUTE, "process {id} still runs");
                thread::sleep(PERIOD);
            }
        }
    }
}
