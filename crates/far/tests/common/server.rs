//! A real server, which a test starts, kills and starts again.

use kennel_far::resp::{Decoder, Value, encode};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Sends commands together over a connection, and returns the replies, each of at most `most` bytes.
pub fn replies<A: AsRef<[u8]>>(mut stream: impl Read + Write, commands: &[Vec<A>], most: usize) -> Option<Vec<Value>> {
    let (mut out, mut replies) = (Vec::new(), Vec::new());
    commands.iter().for_each(|command| encode(command, &mut out));
    stream.write_all(&out).ok()?;
    let (mut decoder, mut bytes) = (Decoder::new(most), [0; 1 << 14]);
    while replies.len() < commands.len() {
        match decoder.next_value().ok()? {
            Some(value) => replies.push(value),
            None => {
                let len = stream.read(&mut bytes).ok().filter(|len| *len > 0)?;
                decoder.feed(&bytes[..len]);
            }
        }
    }
    Some(replies)
}

/// The server's program: `KENNEL_FAR_SERVER`, one that `cargo xtask far` has brought, or one in the search path.
pub fn program() -> Option<PathBuf> {
    programs().into_iter().next()
}

/// All programs of servers, the one to be used first.
pub fn programs() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("KENNEL_FAR_SERVER") {
        return vec![named.into()];
    }
    let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/far/redis-server");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let names = ["redis-server", "valkey-server"];
    let in_path = std::env::split_paths(&paths).flat_map(|folder| names.map(|name| folder.join(name)));
    std::iter::once(brought).chain(in_path).filter(|path| path.is_file()).collect()
}

/// A server on a Unix socket in a folder, which keeps what it acknowledged over a kill.
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    more: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub fn start(program: &Path, folder: &Path) -> Self {
        Self::start_with(program, folder, &[]).expect("the server starts")
    }

    /// Starts a server with more options; `None` if it ends at once, because it does not know them.
    pub fn start_with(program: &Path, folder: &Path, more: &[&str]) -> Option<Self> {
        let more = more.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { program: program.into(), folder: folder.into(), more, child: None };
        server.try_restart().then_some(server)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("server.sock")
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn restart(&mut self) {
        assert!(self.try_restart(), "the server starts");
    }

    fn try_restart(&mut self) -> bool {
        self.kill();
        let options = ["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"];
        let child = Command::new(&self.program)
            .args(options)
            .args(["--unixsocket", "server.sock", "--loglevel", "warning", "--enable-debug-command", "yes"])
            .args(&self.more)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the server starts"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.try_ask(&["PING"]) != Some(Value::Bytes(b"PONG".to_vec())) {
            assert!(Instant::now() < deadline, "the server does not answer");
            if !matches!(self.child.as_mut().map(Child::try_wait), Some(Ok(None))) {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Executes a command over a connection of its own.
    pub fn ask(&self, command: &[&str]) -> Value {
        self.try_ask(command).expect("the server answers")
    }

    pub fn try_ask(&self, command: &[&str]) -> Option<Value> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        replies(stream, &[command.to_vec()], 1 << 24)?.pop()
    }

    /// Closes the connections of trackers; returns how many.
    pub fn cut_trackers(&self) -> usize {
        let Some(Value::Bytes(list)) = self.try_ask(&["CLIENT", "LIST"]) else { return 0 };
        let list = String::from_utf8_lossy(&list).into_owned();
        let field = |line: &str, name: &str| {
            line.split(' ').find_map(|field| field.strip_prefix(name)).map(str::to_owned).unwrap_or_default()
        };
        // The flag of a client that tracks prefixes.
        let trackers = list.lines().filter(|line| field(line, "flags=").contains('B'));
        trackers.filter(|line| self.try_ask(&["CLIENT", "KILL", "ID", &field(line, "id=")]).is_some()).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
