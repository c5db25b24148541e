//! A blocking connection that speaks RESP3. Every wait has an end.

use crate::address::{Address, Endpoint};
use crate::error::{Error, Result};
use crate::resp::{Decoder, Value, encode};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The most memory that one reply or push may need.
const LARGEST_FRAME: usize = 64 << 20;
const READ_SIZE: usize = 64 << 10;
/// The system takes a timeout of zero for none.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        let wait = Some(wait.max(SHORTEST_WAIT));
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(wait),
            Stream::Unix(stream) => stream.set_read_timeout(wait),
        }
    }

    fn set_write_timeout(&self, wait: Duration) -> io::Result<()> {
        let wait = Some(wait.max(SHORTEST_WAIT));
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(wait),
            Stream::Unix(stream) => stream.set_write_timeout(wait),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// A connection after `HELLO 3`, in the database of its address.
pub(crate) struct Connection {
    stream: Stream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects within `limit`. The resolution of a host's name takes as long as the system lets it.
    pub(crate) fn open(address: &Address, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        let stream = connect(address, limit)?;
        stream.set_write_timeout(limit).map_err(Error::io("set the timeout of a socket"))?;
        let decoder = Decoder::new(LARGEST_FRAME);
        let mut connection = Self { stream, decoder, buffer: vec![0; READ_SIZE] };
        connection.greet(address, deadline)?;
        Ok(connection)
    }

    fn greet(&mut self, address: &Address, deadline: Instant) -> Result<()> {
        let mut hello = vec!["HELLO", "3"];
        if let Some(password) = &address.password {
            hello.extend(["AUTH", address.user.as_deref().unwrap_or("default"), password]);
        }
        self.ask(&hello, deadline)?;
        if address.database != 0 {
            self.ask(&["SELECT", &address.database.to_string()], deadline)?;
        }
        Ok(())
    }

    /// Sends commands together.
    pub(crate) fn send(&mut self, commands: &[&[&[u8]]]) -> Result<()> {
        let mut out = Vec::new();
        commands.iter().for_each(|command| encode(command, &mut out));
        self.stream.write_all(&out).map_err(lost)
    }

    /// Sends a command and waits for its reply. Pushes that come before it are dropped: nothing is tracked yet.
    ///
    /// # Errors
    /// [`Error::Server`] for an error of the server.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, command: &[A], deadline: Instant) -> Result<Value> {
        let parts: Vec<&[u8]> = command.iter().map(AsRef::as_ref).collect();
        self.send(&[&parts])?;
        loop {
            match self.receive(deadline)? {
                None => return Err(Error::Connection(format!("no answer in time to {}", shown(command)))),
                Some(Value::Push(_)) => {}
                Some(Value::Error(error)) => return Err(Error::Server(format!("{error} (to {})", shown(command)))),
                Some(reply) => return Ok(reply),
            }
        }
    }

    /// The next reply or push. `None`: none came until the deadline.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            if let Some(value) = self.received()? {
                return Ok(Some(value));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.read(left)? && left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// A reply or push that has arrived already.
    pub(crate) fn received(&mut self) -> Result<Option<Value>> {
        self.decoder.next_value().map_err(|malformed| Error::Connection(malformed.to_string()))
    }

    /// Reads what has arrived, and waits for it if nothing has. `false`: nothing came in this time.
    pub(crate) fn read(&mut self, wait: Duration) -> Result<bool> {
        self.stream.set_read_timeout(wait).map_err(lost)?;
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err(Error::Connection("the server closed the connection".into())),
            Ok(len) => {
                self.decoder.feed(&self.buffer[..len]);
                Ok(true)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                Ok(false)
            }
            Err(error) => Err(lost(error)),
        }
    }
}

impl Drop for Connection {
    /// Ends the connection, and not only this process's descriptor: a forked child may have another, and the server would
    /// go on filling a buffer that nobody reads.
    fn drop(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// The name of a command: its arguments may be secret.
fn shown<A: AsRef<[u8]>>(command: &[A]) -> String {
    command.first().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned()).unwrap_or_default()
}

fn lost(error: io::Error) -> Error {
    Error::Connection(error.to_string())
}

fn connect(address: &Address, limit: Duration) -> Result<Stream> {
    let (host, port) = match &address.endpoint {
        Endpoint::Unix(path) => return UnixStream::connect(path).map(Stream::Unix).map_err(lost),
        Endpoint::Tcp(host, port) => (host.as_str(), *port),
    };
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for place in (host, port).to_socket_addrs().map_err(lost)? {
        match TcpStream::connect_timeout(&place, limit.max(SHORTEST_WAIT)) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(lost)?;
                return Ok(Stream::Tcp(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(lost(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A server that answers the first command with `reply`, and returns what it was sent.
    fn server(reply: &'static [u8]) -> (tempfile::TempDir, Address, thread::JoinHandle<Vec<u8>>) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = vec![0; 1000];
            let len = stream.read(&mut command).unwrap();
            stream.write_all(reply).unwrap();
            thread::sleep(Duration::from_millis(50));
            command.truncate(len);
            command
        });
        let url = format!("unix://app:secret@{}", path.display());
        (place, Address::parse(&url).unwrap(), answering)
    }

    #[test]
    fn a_connection_says_who_it_is_and_every_wait_ends() {
        let limit = Duration::from_millis(500);
        let (_place, address, server_end) = server(b"%1\r\n+proto\r\n:3\r\n");
        let mut connection = Connection::open(&address, limit).unwrap();
        assert_eq!(connection.receive(Instant::now() + Duration::from_millis(5)).unwrap(), None);
        let hello = server_end.join().unwrap();
        assert_eq!(hello, b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\nsecret\r\n");
        assert!(matches!(connection.receive(Instant::now() + limit), Err(Error::Connection(_))), "it was closed");

        let (_place, address, _) = server(b"-WRONGPASS no\r\n");
        let refused = Connection::open(&address, limit).err().unwrap();
        assert!(matches!(&refused, Error::Server(text) if text.contains("WRONGPASS")), "{refused}");
        let (_place, address, _) = server(b"HTTP/1.1 400\r\n");
        assert!(matches!(Connection::open(&address, limit), Err(Error::Connection(_))));
        let (_place, address, _) = server(b"");
        assert!(Connection::open(&address, limit).is_err());
    }
}
