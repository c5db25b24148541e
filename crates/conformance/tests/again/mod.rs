//! Child processes of a test program: the program itself, restricted to its test `child`.

use std::env;
use std::process::{Command, Stdio};

const WHAT: &str = "KENNEL_CONFORMANCE_WHAT";
const TASK: &str = "KENNEL_CONFORMANCE_TASK";

/// The command of a child process with a task of this kind.
pub fn again(what: &str, task: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture"]).env(WHAT, what).env(TASK, task);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// In the test `child`: the kind of the task, and the task. `None` if the test runs without a task.
pub fn task() -> Option<(String, String)> {
    Some((env::var(WHAT).ok()?, env::var(TASK).ok()?))
}
