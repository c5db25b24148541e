//! TLS, by the crate `rustls` with the cryptography of the crate `ring`.

use crate::error::{Error, Result};
use crate::socket::{is_pause, left, lost};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, InvalidMessage, RootCertStore};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How to speak TLS, for URLs that begin with `rediss://`: see [`Options::tls`](crate::Options::tls). It needs the feature
/// `tls`.
///
/// The server must show a certificate that is valid now, was issued by a known authority, and names the host of the URL.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
}

impl Tls {
    /// Trusts the authorities that this system trusts, sends no client certificate, and expects the host of the URL as
    /// the server's name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A PEM file with the certificates of the authorities that are trusted, in place of the system's.
    #[must_use]
    pub fn authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities = Some(file.into());
        self
    }

    /// PEM files with the client's certificate, followed by those of its issuers, and with its private key. Redis asks
    /// for a client certificate unless `tls-auth-clients` says otherwise.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name or IP address that the server's certificate must have, in place of the host that the URL or a sentinel
    /// names.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the files.
    pub(crate) fn client(&self) -> Result<Client> {
        let provider = Arc::new(ring::default_provider());
        let bad = |error: rustls::Error| Error::option("tls", error.to_string(), "certificates and a key that fit");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), Arc::clone(&provider));
        let verifier =
            verifier.build().map_err(|error| Error::option("authorities", error.to_string(), CERTIFICATES))?;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(bad)?;
        let builder = builder.with_webpki_verifier(verifier);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable("identity", key, KEY))?;
                builder.with_client_auth_cert(certificates("identity", certificate)?, secret).map_err(bad)?
            }
        };
        let server_name = self.server_name.as_deref().map(name).transpose()?;
        Ok(Client { config: Arc::new(config), server_name })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.authorities else {
            // Certificates of this system that cannot be read are left out, as other programs do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return match roots.is_empty() {
                false => Ok(roots),
                true => {
                    Err(Error::option("authorities", "none, and this system has none that can be read", CERTIFICATES))
                }
            };
        };
        for certificate in certificates("authorities", file)? {
            let bad = |error: rustls::Error| {
                Error::option("authorities", format!("{}: {error}", file.display()), CERTIFICATES)
            };
            roots.add(certificate).map_err(bad)?;
        }
        Ok(roots)
    }
}

const CERTIFICATES: &str = "a PEM file of certificates";
const KEY: &str = "a PEM file of a private key";

fn certificates(option: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = unreadable(option, file, CERTIFICATES);
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found = found.map_err(bad)?;
    if found.is_empty() {
        return Err(Error::option(option, format!("{} without a certificate", file.display()), CERTIFICATES));
    }
    Ok(found)
}

fn unreadable(
    option: &'static str,
    file: &Path,
    expected: &'static str,
) -> impl FnOnce(rustls::pki_types::pem::Error) -> Error {
    let file = file.display().to_string();
    move |error| Error::option(option, format!("{file}: {error}"), expected)
}

fn name(text: &str) -> Result<ServerName<'static>> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| Error::option("server_name", format!("{text:?}"), "the name or IP address of a host"))
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A connection after its handshake.
pub(crate) struct Encrypted {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Encrypted {
    pub(crate) fn new(socket: TcpStream, client: &Client, host: &str, deadline: Instant) -> Result<Self> {
        let name = client.server_name.clone().map_or_else(|| name(host), Ok)?;
        let tls =
            ClientConnection::new(Arc::clone(&client.config), name).map_err(|error| lost(io::Error::other(error)))?;
        let mut stream = Self { tls, socket };
        stream.shake_hands(deadline).map_err(|error| Error::Connection(explained(&error)))?;
        Ok(stream)
    }

    /// The socket, for its timeouts and its shutdown.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn shake_hands(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            self.socket.set_write_timeout(Some(left(deadline)))?;
            self.flush()?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            self.socket.set_read_timeout(Some(left(deadline)))?;
            match self.receive() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline && self.tls.is_handshaking() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Reads from the socket once.
    fn receive(&mut self) -> io::Result<usize> {
        let len = self.tls.read_tls(&mut self.socket)?;
        if let Err(error) = self.tls.process_new_packets() {
            // Sends the alert that tells the server about the error.
            let _ = self.flush();
            return Err(io::Error::other(error));
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns what is decrypted already, or what one read from the socket adds. A record may need several reads: then
    /// this fails as if the socket had timed out, so a caller's deadline holds however slowly bytes come.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.tls.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        self.receive().map_err(|error| io::Error::new(error.kind(), explained(&error)))?;
        // Sends the answer to a change of keys.
        self.flush()?;
        self.tls.reader().read(into)
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self.tls.writer().write(bytes)?;
            bytes = &bytes[len..];
            self.flush()?;
        }
        Ok(())
    }
}

/// What went wrong, in words that say what to do.
fn explained(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "TLS: the server answered something else: is it a port without TLS?".into()
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("TLS: the server refused the connection: {alert:?}: does it ask for a certificate of the client?")
        }
        Some(error) => format!("TLS: {error}"),
        None if is_pause(error) => {
            "TLS: the server did not finish the handshake in time: is it a port without TLS?".into()
        }
        None if error.kind() == ErrorKind::UnexpectedEof => {
            "TLS: the server closed the connection in the handshake".into()
        }
        None => format!("TLS: {error}"),
    }
}
