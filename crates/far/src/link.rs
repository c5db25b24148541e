//! The protocol of the crate `redis` over this crate's own stream, so that data calls connect to a server as the
//! tracker does.

use crate::address::{Address, Endpoint};
use crate::error::Result;
use crate::stream::Stream;
use redis::{ConnectionLike, RedisResult, Value};
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

/// A connection after its login.
pub(crate) struct Link {
    wire: Wire,
    parser: redis::Parser,
    database: i64,
    is_open: bool,
}

/// A stream that waits at most `timeout` for each arrival of bytes.
struct Wire {
    stream: Stream,
    timeout: Duration,
}

impl Link {
    /// Connects and logs in.
    pub(crate) fn open(
        address: &Address,
        endpoint: &Endpoint,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<RedisResult<Self>> {
        let stream = Stream::connect(address, endpoint, deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let wire = Wire { stream, timeout: left };
        let mut link = Self { wire, parser: redis::Parser::new(), database: address.database, is_open: true };
        Ok(link.log_in(address, timeout).map(|()| link))
    }

    fn log_in(&mut self, address: &Address, timeout: Duration) -> RedisResult<()> {
        self.wire.stream.set_write_timeout(self.wire.timeout)?;
        if let Some(password) = &address.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(&address.user);
            auth.arg(password).exec(self)?;
        }
        if address.database != 0 {
            redis::cmd("SELECT").arg(address.database).exec(self)?;
        }
        self.wire.timeout = timeout;
        self.wire.stream.set_write_timeout(timeout)?;
        Ok(())
    }

    /// Sends commands together.
    pub(crate) fn send(&mut self, commands: &[u8]) -> RedisResult<()> {
        let sent = self.wire.stream.write_all(commands).map_err(Into::into);
        self.noted(sent)
    }

    /// Receives this many replies.
    pub(crate) fn receive(&mut self, replies: usize) -> RedisResult<Vec<Value>> {
        let received = (0..replies).map(|_| self.parser.parse_value(&mut self.wire)).collect();
        self.noted(received)
    }

    /// Sets how long it waits for each arrival of bytes from now on.
    pub(crate) fn wait_for(&mut self, timeout: Duration) {
        self.wire.timeout = timeout;
    }

    fn exchange(&mut self, commands: &[u8], replies: usize) -> RedisResult<Vec<Value>> {
        self.send(commands)?;
        self.receive(replies)
    }

    fn noted<R>(&mut self, done: RedisResult<R>) -> RedisResult<R> {
        // After an error, the unread rest of an answer would be taken for the next answer.
        self.is_open &= done.is_ok();
        done
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(len) = self.stream.read(into, left)? {
                return Ok(len);
            }
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server did not answer in time"));
            }
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.exchange(command, 1).map(|mut replies| replies.pop().unwrap_or(Value::Nil))
    }

    fn req_packed_commands(&mut self, commands: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.exchange(commands, offset + count).map(|mut replies| replies.split_off(offset))
    }

    fn get_db(&self) -> i64 {
        self.database
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").exec(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}
