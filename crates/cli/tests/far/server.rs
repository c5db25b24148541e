//! A server for a test, and commands beside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kennel_far::resp::Value;
use kennel_far::{RedisStore, Store as _};
use tempfile::TempDir;

use crate::fixture::kennel;

const PATIENCE: Duration = Duration::from_secs(60);

/// The server's program: `KENNEL_FAR_SERVER`, one that `cargo xtask far` has brought, or one in the search path.
pub fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KENNEL_FAR_SERVER") {
        return Some(named.into());
    }
    let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/far/redis-server");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let names = ["redis-server", "valkey-server"];
    let in_path = std::env::split_paths(&paths).flat_map(|folder| names.map(|name| folder.join(name)));
    let found = std::iter::once(brought).chain(in_path).find(|path| path.is_file());
    if found.is_none() {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far --bring` brings one");
    }
    found
}

/// A folder with a server's socket, and a near file.
pub struct Place {
    program: PathBuf,
    pub dir: TempDir,
    pub near: PathBuf,
    child: Option<Child>,
}

impl Place {
    /// With a server that runs; `None` where there is none.
    pub fn new() -> Option<Self> {
        let mut place = Self::without_server()?;
        place.start(&[]);
        Some(place)
    }

    pub fn without_server() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        Some(Self { program: program()?, near: dir.path().join("near"), dir, child: None })
    }

    pub fn start(&mut self, more: &[&str]) {
        let child = Command::new(&self.program)
            .args(["--port", "0", "--save", "", "--unixsocket", "s.sock"])
            .args(more)
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        wait_until("the server does not answer", || {
            let answer = RedisStore::open(&self.url(), Duration::from_secs(1)).unwrap().call(&[b"PING"]);
            answer.is_ok() || answer.unwrap_err().to_string().contains("Authentication")
        });
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.dir.path().join("s.sock").display())
    }

    pub fn ask(&self, command: &[&[u8]]) -> Value {
        RedisStore::open(&self.url(), Duration::from_secs(5)).unwrap().call(command).unwrap().value
    }

    /// The keys that the server has.
    pub fn keys(&self) -> Vec<String> {
        let Value::Array(keys) = self.ask(&[b"KEYS", b"*"]) else { return Vec::new() };
        keys.iter().filter_map(Value::as_bytes).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// `kennel far NAME URL FILE ARGS`
    pub fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = kennel();
        command.args(["far", name, &self.url()]).arg(&self.near).args(args).stdin(Stdio::null());
        command
    }

    pub fn run(&self, name: &str, args: &[&str]) -> Output {
        self.command(name, args).output().unwrap()
    }

    pub fn stat(&self, args: &[&str]) -> Output {
        kennel().args(["far", "stat"]).arg(&self.near).args(args).output().unwrap()
    }

    pub fn is_proved(&self) -> bool {
        self.stat(&[]).status.code() == Some(0)
    }

    /// A tracker whose lines go to a file.
    pub fn keep(&self, args: &[&str]) -> Keep {
        let log = self.dir.path().join("keep.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = self.command("keep", args).stdout(file).spawn().unwrap();
        Keep { child, log }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub struct Keep {
    pub child: Child,
    log: PathBuf,
}

impl Keep {
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    pub fn wait_for(&self, line: &str) {
        wait_until(&format!("{line:?} is not said"), || self.said().contains(line));
    }

    /// Ends it by a signal; returns its exit status.
    pub fn end(mut self, signal: &str) -> Option<i32> {
        send(signal, self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn send(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}
