//! A stream of bytes to a server: TCP, TCP with TLS, or a Unix socket. Every wait has an end.

use crate::address::{Address, Endpoint};
use crate::error::{Error, Result};
use crate::socket::{SHORTEST_WAIT, is_pause, left, lost};
#[cfg(feature = "tls")]
use crate::tls::Encrypted;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<Encrypted>),
}

impl Stream {
    /// Connects, with a handshake if the address asks for TLS. The deadline does not limit the resolution of a host's
    /// name.
    pub(crate) fn connect(address: &Address, endpoint: &Endpoint, deadline: Instant) -> Result<Self> {
        let (host, port) = match endpoint {
            Endpoint::Unix(path) => return connect_unix(path, deadline).map(Stream::Unix).map_err(at(endpoint)),
            Endpoint::Tcp(host, port) => (host.as_str(), *port),
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for place in (host, port).to_socket_addrs().map_err(at(endpoint))? {
            match TcpStream::connect_timeout(&place, left(deadline)) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(lost)?;
                    #[cfg(feature = "tls")]
                    if let Some(tls) = &address.tls {
                        return Encrypted::new(stream, tls, host, deadline).map(Box::new).map(Stream::Tls);
                    }
                    #[cfg(not(feature = "tls"))]
                    let _ = address;
                    return Ok(Stream::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(at(endpoint)(last))
    }

    pub(crate) fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        let wait = Some(wait.max(SHORTEST_WAIT));
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(wait),
            Stream::Tcp(stream) => stream.set_read_timeout(wait),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.socket().set_read_timeout(wait),
        }
    }

    pub(crate) fn set_write_timeout(&self, wait: Duration) -> io::Result<()> {
        let wait = Some(wait.max(SHORTEST_WAIT));
        match self {
            Stream::Unix(stream) => stream.set_write_timeout(wait),
            Stream::Tcp(stream) => stream.set_write_timeout(wait),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.socket().set_write_timeout(wait),
        }
    }

    /// Reads what has arrived. If nothing has, it waits for one arrival of bytes; TLS may need several of these before
    /// it can decrypt anything. `None`: there was nothing to return in this time.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        self.set_read_timeout(wait)?;
        let read = match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.read(into),
        };
        match read {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            Ok(len) => Ok(Some(len)),
            Err(error) if is_pause(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.write_all(bytes),
        }
    }
}

impl Drop for Stream {
    /// Ends the connection, and does not only close this process's descriptor: a forked child may have another
    /// descriptor, and the server would go on filling a buffer that no process reads.
    fn drop(&mut self) {
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.socket().shutdown(Shutdown::Both),
        };
    }
}

/// Connects to a socket. If the server's queue of connections to accept is full, this waits until the deadline: on
/// Linux, the send timeout limits this wait, too. If a signal interrupts the wait, it begins anew: the server has not
/// seen the attempt.
#[cfg(target_os = "linux")]
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let stream = UnixStream::from(socket);
    loop {
        stream.set_write_timeout(Some(left(deadline)))?;
        match connect(&stream, &address) {
            Ok(()) => return Ok(stream),
            Err(Errno::INTR) if Instant::now() < deadline => {}
            Err(Errno::INTR | Errno::AGAIN) => {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server did not accept a connection in time"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects to a socket. Other systems refuse at once if the server's queue is full.
#[cfg(not(target_os = "linux"))]
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::Interrupted && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

/// The error of a connection that could not be made.
fn at(endpoint: &Endpoint) -> impl Fn(io::Error) -> Error {
    move |error| Error::Connection(format!("{endpoint}: {error}"))
}
