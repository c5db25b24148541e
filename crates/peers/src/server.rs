//! Cache servers on this host. Each is started here, on a Unix socket in a temporary directory, and killed at the end.

use crate::keys::Key;
use crate::stores::Store;
use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The command that installs both, on Debian and its descendants.
const INSTALL: &str = "sudo apt-get install --no-install-recommends memcached redis-server";

/// The servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memcached,
    Redis,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Memcached => "memcached, Unix socket",
            Kind::Redis => "Redis, Unix socket",
        }
    }

    /// Enough memory for the keys, one serving thread, and no writes to a disk.
    fn command(self, socket: &Path) -> Command {
        let mut command;
        match self {
            Kind::Memcached => {
                command = Command::new("memcached");
                command.arg("-s").arg(socket).args(["-m", "512", "-t", "1"]);
                // It refuses to run as root unless told which user to switch to; this changes nothing for other users.
                command.args(["-u", "root"]);
            }
            Kind::Redis => {
                command = Command::new("redis-server");
                command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(socket);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// A running server, and a connection to it.
pub struct Server {
    kind: Kind,
    process: Child,
    connection: RefCell<BufReader<UnixStream>>,
}

impl Server {
    /// Starts a server and connects to it.
    pub fn start(kind: Kind, directory: &Path) -> Result<Self> {
        let socket = directory.join(format!("{kind:?}.socket"));
        let mut command = kind.command(&socket);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut process =
            command.spawn().with_context(|| format!("{program} cannot be started; install it: {INSTALL}"))?;
        let start = Instant::now();
        let connection = loop {
            match UnixStream::connect(&socket) {
                Ok(connection) => break connection,
                Err(error) if start.elapsed() > PATIENCE => {
                    let _ = process.kill();
                    let _ = process.wait();
                    return Err(error).with_context(|| format!("{program} does not answer"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Ok(Self { kind, process, connection: RefCell::new(BufReader::new(connection)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the server has already ended, which does no harm.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(connection: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    ensure!(connection.read_line(&mut line)? > 0, "the server closed the connection");
    Ok(line)
}

/// Reads a value and its line end.
fn value(connection: &mut impl Read, into: &mut [u8]) -> Result<()> {
    connection.read_exact(into)?;
    let mut end = [0; 2];
    connection.read_exact(&mut end)?;
    ensure!(end == *b"\r\n", "the value is longer than it should be");
    Ok(())
}

/// One request and one answer, in the protocol of each server.
impl Store for Server {
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        let connection = &mut *self.connection.borrow_mut();
        match self.kind {
            Kind::Memcached => {
                connection.get_mut().write_all(&[&b"get "[..], key, b"\r\n"].concat())?;
                if line(connection)? == "END\r\n" {
                    return Ok(false);
                }
                value(connection, into)?;
                ensure!(line(connection)? == "END\r\n", "expected the end of the answer");
                Ok(true)
            }
            Kind::Redis => {
                connection.get_mut().write_all(&[&b"*2\r\n$3\r\nGET\r\n$16\r\n"[..], key, b"\r\n"].concat())?;
                if line(connection)? == "$-1\r\n" {
                    return Ok(false);
                }
                value(connection, into)?;
                Ok(true)
            }
        }
    }

    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        let connection = &mut *self.connection.borrow_mut();
        let len = value.len();
        let (request, expected) = match self.kind {
            Kind::Memcached => {
                let head = format!(" 0 0 {len}\r\n");
                ([&b"set "[..], key, head.as_bytes(), value, b"\r\n"].concat(), "STORED\r\n")
            }
            Kind::Redis => {
                let head = format!("\r\n${len}\r\n");
                ([&b"*3\r\n$3\r\nSET\r\n$16\r\n"[..], key, head.as_bytes(), value, b"\r\n"].concat(), "+OK\r\n")
            }
        };
        connection.get_mut().write_all(&request)?;
        match line(connection)? {
            answer if answer == expected => Ok(()),
            answer => bail!("expected {expected:?}, found {answer:?}"),
        }
    }
}
