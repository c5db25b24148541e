//! The server of the demo: one that runs, or one that is started for it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kennel_far::{RedisStore, Store};
use kennel_harness::interrupt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cmd::far::workers::{Worker, read_task};
use crate::cmd::outcome::{AnyError, CliResult};

const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
/// Where `cargo xtask far` puts the server that it brings, from the root of the repository.
const BROUGHT: &str = "target/far/redis-server";
const LONGEST_START: Duration = Duration::from_secs(20);

/// A server's program: one that is named, one in the search path, or the one that `cargo xtask far` has brought.
pub fn program(named: Option<&Path>) -> Result<PathBuf, AnyError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    let mut in_path = env::split_paths(&paths).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let found =
        in_path.find(|path| path.is_file()).or_else(|| Some(PathBuf::from(BROUGHT)).filter(|path| path.is_file()));
    found.ok_or_else(|| {
        "no redis-server or valkey-server in the search path. Install one (apt install redis-server), name it with \
         --server, take one that runs with --url, or, in the repository, bring one with \"cargo xtask far --bring\""
            .into()
    })
}

/// A server that ends with the demo, however the demo ends: a process of this program runs it, and kills it at the end.
pub struct Server {
    keeper: Worker,
    pub url: String,
}

/// The task of that process.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    program: PathBuf,
    folder: PathBuf,
}

const LOG: &str = "server.log";

impl Server {
    /// Starts a server on a Unix socket in a folder.
    pub fn start(program: &Path, folder: &Path) -> Result<Self, AnyError> {
        let program = if program.components().count() > 1 { std::path::absolute(program)? } else { program.to_owned() };
        let url = format!("unix://{}", folder.join("server.sock").display());
        let keeper = Worker::start("far-demo-server", &Task { program: program.clone(), folder: folder.to_owned() })?;
        let mut server = Self { keeper, url };
        server.wait_for_answer(&program, &folder.join(LOG))?;
        Ok(server)
    }

    fn wait_for_answer(&mut self, program: &Path, log: &Path) -> Result<(), AnyError> {
        let deadline = Instant::now() + LONGEST_START;
        let store = RedisStore::open(&self.url, Duration::from_secs(1))?;
        while store.call(&[b"PING"]).is_err() {
            if self.keeper.is_alive().is_err() || Instant::now() > deadline || interrupt::is_asked() {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned();
                return Err(format!("{} does not serve: {last}", program.display()).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

/// Runs the server until the standard input ends, or the server does.
pub fn run_server() -> CliResult {
    let task: Task = read_task()?;
    let mut command = Command::new(&task.program);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "server.sock"]);
    let output = fs::File::create(task.folder.join(LOG))?;
    let started = command.current_dir(&task.folder).stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).spawn();
    let mut server = started.map_err(|error| format!("cannot start {}: {error}", task.program.display()))?;
    let pid = Pid::from_raw(server.id() as i32);
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = kill(pid, Signal::SIGKILL);
    });
    server.wait()?;
    Ok(ExitCode::FAILURE)
}
