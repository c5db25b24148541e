//! The server: a few threads, each of which answers one connection at a time, within a time limit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Answer, MOST_HEAD, Parsed, Status, parse};

/// The number of threads. Each serves one connection at a time; further connections wait in the listener's queue.
const THREADS: usize = 4;
/// The time for a whole connection: a client that is slower is cut off, so it cannot keep a thread.
const LIMIT: Duration = Duration::from_secs(5);
/// The pause after a failed accept, such as one for lack of descriptors, which would fail again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Bytes of a refused request that are read after the answer. A socket that is closed with unread bytes resets the
/// connection, and the client might lose the answer.
const MOST_LEFT: usize = 64 << 10;

/// Answers requests until the process ends. `answer` makes the answer to a path.
pub fn serve(listener: &TcpListener, answer: impl Fn(&str) -> Answer + Sync) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    match listener.accept() {
                        // An error on a connection concerns only its client.
                        Ok((stream, _)) => drop(connection(&stream, Instant::now() + LIMIT, &answer)),
                        Err(_) => thread::sleep(AFTER_FAILURE),
                    }
                }
            });
        }
    });
}

fn connection(stream: &TcpStream, until: Instant, answer: impl Fn(&str) -> Answer) -> io::Result<()> {
    let mut stream = Limited { stream, until };
    let (answer, is_head) = match read_head(&mut stream)? {
        Parsed::Request(request) => (answer(&request.path), request.is_head),
        Parsed::Refused(status) => (Answer::error(status), false),
        // The client closed the connection.
        Parsed::Partial => return Ok(()),
    };
    stream.write_all(&answer.bytes(is_head))?;
    stream.stream.shutdown(Shutdown::Write)?;
    let mut rest = stream.take(MOST_LEFT as u64);
    io::copy(&mut rest, &mut io::sink()).map(drop)
}

fn read_head(stream: &mut Limited<'_>) -> io::Result<Parsed> {
    let (mut head, mut len) = ([0; MOST_HEAD], 0);
    loop {
        let more = match stream.read(&mut head[len..]) {
            Ok(more) => more,
            Err(error) if is_late(&error) => return Ok(Parsed::Refused(Status::TooLate)),
            Err(error) => return Err(error),
        };
        len += more;
        match parse(&head[..len]) {
            Parsed::Partial if more > 0 => {}
            parsed => return Ok(parsed),
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A stream whose reads and writes end at a moment.
struct Limited<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Limited<'_> {
    /// The time that is left. It is not zero, which would be no timeout for a socket.
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Limited<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buf)
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // The answer to a client whose request came too late still gets a short time to be sent.
        self.stream.set_write_timeout(Some(self.left().unwrap_or(AFTER_FAILURE)))?;
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
