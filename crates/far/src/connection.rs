//! A blocking connection that speaks RESP3. Every wait has an end.

use crate::address::{Address, Endpoint};
use crate::error::{Error, Result};
use crate::resp::{Decoder, Item, Value, encode};
use crate::socket::{left, lost};
use crate::stream::Stream;
use std::time::{Duration, Instant};

/// The most memory that one reply or push may need.
const LARGEST_FRAME: usize = 64 << 20;
const READ_SIZE: usize = 64 << 10;

/// A connection that speaks RESP3.
pub(crate) struct Connection {
    stream: Stream,
    endpoint: Endpoint,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects, and logs in to the database of the address, within `limit`.
    pub(crate) fn open(address: &Address, endpoint: &Endpoint, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        let mut connection = Self::dial(address, endpoint, deadline)?;
        connection.greet(address, deadline)?;
        connection.stream.set_write_timeout(limit).map_err(lost)?;
        Ok(connection)
    }

    /// Connects without a login.
    pub(crate) fn dial(address: &Address, endpoint: &Endpoint, deadline: Instant) -> Result<Self> {
        let stream = Stream::connect(address, endpoint, deadline)?;
        stream.set_write_timeout(left(deadline)).map_err(lost)?;
        let decoder = Decoder::new(LARGEST_FRAME);
        Ok(Self { stream, endpoint: endpoint.clone(), decoder, buffer: vec![0; READ_SIZE] })
    }

    /// The server to which it leads.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn greet(&mut self, address: &Address, deadline: Instant) -> Result<()> {
        let mut hello = vec!["HELLO", "3"];
        if let Some(password) = &address.password {
            hello.extend(["AUTH", address.user.as_deref().unwrap_or("default"), password]);
        }
        self.ask(&hello, deadline).map_err(|error| match error {
            Error::Server(text) => Error::Server(explained(text)),
            other => other,
        })?;
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
    fn received(&mut self) -> Result<Option<Value>> {
        self.decoder.next_value().map_err(|malformed| Error::Connection(malformed.to_string()))
    }

    /// The next item that has arrived already: a reply, a push, or a key of an invalidation.
    pub(crate) fn next_item(&mut self) -> Result<Option<Item<'_>>> {
        self.decoder.next_item().map_err(|malformed| Error::Connection(malformed.to_string()))
    }

    /// Reads what has arrived, and waits for it if nothing has. `false`: nothing came in this time.
    pub(crate) fn read(&mut self, wait: Duration) -> Result<bool> {
        let Some(len) = self.stream.read(&mut self.buffer, wait).map_err(lost)? else { return Ok(false) };
        self.decoder.feed(&self.buffer[..len]);
        Ok(true)
    }
}

/// Explains a server's refusal of a login.
fn explained(text: String) -> String {
    if text.starts_with("NOAUTH") {
        return format!("it wants a password, and the URL has none: {text}");
    }
    if text.starts_with("NOPROTO") || text.starts_with("ERR unknown command") {
        return format!("it does not speak RESP3, so use `Tracking::Off`: {text}");
    }
    text
}

/// The name of a command, without its arguments, which may be secret.
fn shown<A: AsRef<[u8]>>(command: &[A]) -> String {
    command.first().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Place, Reach};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn open(address: &Address, limit: Duration) -> Result<Connection> {
        let Place::Server(endpoint) = &address.place else { panic!("{address:?}") };
        Connection::open(address, endpoint, limit)
    }

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
        (place, Address::parse(&url, &Reach::default()).unwrap(), answering)
    }

    #[test]
    fn a_connection_says_who_it_is_and_every_wait_ends() {
        let limit = Duration::from_millis(500);
        let (_place, address, server_end) = server(b"%1\r\n+proto\r\n:3\r\n");
        let mut connection = open(&address, limit).unwrap();
        assert_eq!(connection.receive(Instant::now() + Duration::from_millis(5)).unwrap(), None);
        let hello = server_end.join().unwrap();
        assert_eq!(hello, b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\nsecret\r\n");
        assert!(matches!(connection.receive(Instant::now() + limit), Err(Error::Connection(_))), "it was closed");

        let (_place, address, _) = server(b"-WRONGPASS no\r\n");
        let refused = open(&address, limit).err().unwrap();
        assert!(matches!(&refused, Error::Server(text) if text.contains("WRONGPASS")), "{refused}");
        let (_place, address, _) = server(b"HTTP/1.1 400\r\n");
        assert!(matches!(open(&address, limit), Err(Error::Connection(_))));
        let (_place, address, _) = server(b"");
        assert!(open(&address, limit).is_err());
    }
}
