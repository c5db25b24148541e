//! The server, on a Unix socket.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kennel_far::resp::Value;
use kennel_far::{RedisStore, Store as _};

pub struct Server {
    child: Child,
    pub socket: PathBuf,
    pub store: RedisStore,
}

impl Server {
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        let program = std::path::absolute(program)?;
        let socket = folder.join("server.sock");
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "server.sock"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let store = RedisStore::open(&url(&socket), Duration::from_secs(5))?;
        let server = Self { child, socket, store };
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.ask(&[b"PING"]).is_err() {
            ensure!(Instant::now() < deadline, "the server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub fn url(&self) -> String {
        url(&self.socket)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ask(&self, command: &[&[u8]]) -> Result<Value> {
        Ok(self.store.call(command)?.value)
    }

    pub fn version(&self) -> Result<String> {
        let info = self.ask(&[b"INFO", b"server"])?;
        let text = info.as_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let version = text.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(format!("server {}", version.unwrap_or("of an unknown version").trim()))
    }
}

fn url(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
