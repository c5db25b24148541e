//! The server on the command line.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use kennel_far::resp::Value;
use kennel_far::{Far, Options, Tls};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::cmd::outcome::AnyError;

/// How long a command waits for the server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A key that no program uses.
const NO_KEY: &str = "kennel-far-none:";

#[derive(Args)]
pub struct ServerArgs {
    /// The server: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE],
    /// redis-cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...], or, for a master that sentinels know,
    /// redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[?db=DATABASE]. With rediss in place of
    /// redis, the connection uses TLS.
    url: String,
    /// Read the password from the first line of this file. Other users of the machine can see a password in the URL, as
    /// they see all command lines. The URL may then name a user: redis://USER@HOST.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,
}

impl ServerArgs {
    /// The URL with its password.
    pub fn url(&self) -> Result<String, AnyError> {
        let Some(path) = &self.password_file else { return Ok(self.url.clone()) };
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read the password from {}: {error}", path.display()))?;
        with_password(&self.url, text.lines().next().unwrap_or_default()).map_err(Into::into)
    }

    /// The URL without user and password.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// TLS with the server, for a URL that begins with rediss.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct TlsArgs {
    /// Trust the authorities in this PEM file, in place of those that the system trusts.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to a server that asks for one, a PEM file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name that the server's certificate must have, in place of the URL's host.
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
}

impl TlsArgs {
    /// Options for a server at this URL.
    pub fn options(&self, url: &str) -> Options {
        let options = Options::new(url);
        let identity = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        if self.tls_ca.is_none() && identity.is_none() && self.tls_name.is_none() {
            return options;
        }
        let tls = self.tls_ca.iter().fold(Tls::new(), Tls::authorities);
        let tls = self.tls_name.iter().fold(tls, Tls::server_name);
        options.tls(identity.into_iter().fold(tls, |tls, (certificate, key)| tls.identity(certificate, key)))
    }
}

fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "the server".to_owned() };
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

fn with_password(url: &str, password: &str) -> Result<String, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("URL: expected a \"://\", found none")?;
    let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(user, place)| (user, place));
    if user.contains(':') {
        return Err("--password-file: expected a URL without a password, found one with a password");
    }
    let escaped: String = password.bytes().map(escaped).collect();
    Ok(format!("{scheme}://{user}:{escaped}@{place}"))
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") }
}

/// A server that answers, for a command's own questions. The URL may be of any kind that the library knows.
pub struct Server {
    far: Far,
    /// How long it takes to answer: the median of five times.
    pub round_trip: Duration,
    // The near file, which stays empty, is removed last.
    _folder: TempDir,
}

impl Server {
    pub fn reach(url: &str, tls: &TlsArgs) -> Result<Self, AnyError> {
        let folder = tempfile::Builder::new().prefix("kennel-far-").tempdir()?;
        let near = kennel::Options::new().capacity(1 << 20).stripes(1);
        let options = tls.options(url).prefix(NO_KEY).keepers(0).timeout(TIMEOUT).near(near);
        let far = options.open(folder.path().join("none"))?;
        let mut times = Vec::new();
        for _ in 0..5 {
            let begin = Instant::now();
            far.get_fresh(NO_KEY)?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok(Self { far, round_trip: times[2], _folder: folder })
    }

    pub fn ask(&self, command: &[&str]) -> kennel_far::Result<Value> {
        self.far.call(command, &[""; 0])
    }

    pub fn is_cluster(&self) -> bool {
        !self.far.masters().is_empty()
    }
}

/// A random prefix for the keys of a command on a user's server, which no other program uses.
pub fn random_prefix(command: &str) -> String {
    // A hasher of the standard library has random keys.
    let number = RandomState::new().build_hasher().finish();
    format!("kennel-far-{command}-{number:016x}:")
}

/// The keys of a command on a user's server. They are removed when this is dropped.
pub struct Keys<'a> {
    server: &'a Server,
    names: Vec<String>,
}

impl<'a> Keys<'a> {
    /// These keys, and the key with which trackers mark the database.
    pub fn new(server: &'a Server, prefix: &str, names: impl Iterator<Item = String>) -> Self {
        Self { server, names: names.chain([format!("{prefix}kennel-far:database")]).collect() }
    }

    pub fn remove(&self) {
        for name in &self.names {
            // If the server is gone, the keys stay.
            if self.server.far.delete(name).is_err() {
                return;
            }
        }
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_into_the_url_and_is_not_shown() {
        assert_eq!(with_password("redis://h:1/2", "p@s:s").unwrap(), "redis://:p%40s%3as@h:1/2");
        assert_eq!(with_password("unix://app@/run/s", "x").unwrap(), "unix://app:x@/run/s");
        assert!(with_password("redis://:a@h", "x").is_err() && with_password("h", "x").is_err());
        assert_eq!(shown("redis://app:p@ss@h:1/2"), "redis://h:1/2");
        assert_eq!(shown("unix:///run/s"), "unix:///run/s");
        assert!(!shown("secret").contains("secret"));
    }
}
