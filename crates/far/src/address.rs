//! Where a server is and as whom to talk to it: what a URL says.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// A server, a user and a database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub endpoint: Endpoint,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `unix://[[USER]:PASSWORD@]PATH[?db=DATABASE]`, in which `%`
/// stands before the hexadecimal code of a byte.
const FORMS: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]";

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        // A message never shows the URL itself, which may contain a password.
        let bad = |what: &str| Error::option("url", what, FORMS);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("no `://`"))?;
        let is_unix = match scheme {
            "redis" | "valkey" => false,
            "unix" | "redis+unix" => true,
            _ => return Err(bad(&format!("the scheme {scheme}"))),
        };
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let text = |part: &str| decode(part).ok_or_else(|| bad("a `%` without two hexadecimal digits"));
        let (mut user, mut password) = (None, None);
        if let Some(login) = login {
            let (name, secret) = login.split_once(':').ok_or_else(|| bad("a user without a password"))?;
            user = Some(text(name)?).filter(|name| !name.is_empty());
            password = Some(text(secret)?);
        }
        let number = |text: &str| match text {
            "" => Ok(0),
            digits => digits.parse::<u32>().map(i64::from).map_err(|_| bad(&format!("the database {digits:?}"))),
        };
        let (endpoint, database) = if is_unix {
            let (path, database) = place.split_once("?db=").unwrap_or((place, ""));
            (Endpoint::Unix(text(path)?.into()), number(database)?)
        } else {
            let (host, database) = place.split_once('/').unwrap_or((place, ""));
            let (host, port) = host_and_port(host).ok_or_else(|| bad("a port that is not a number"))?;
            (Endpoint::Tcp(host, port), number(database)?)
        };
        match &endpoint {
            Endpoint::Tcp(host, _) if host.is_empty() => Err(bad("no host")),
            Endpoint::Unix(path) if !path.is_absolute() => Err(bad("a path that is not absolute")),
            _ => Ok(Self { endpoint, user, password, database }),
        }
    }

    /// Another server, `HOST:PORT`, for the same user.
    pub(crate) fn at(&self, place: &str) -> Result<Self> {
        let parts = place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) =
            parts.ok_or_else(|| Error::Answer { expected: "an address of a node", found: place.to_owned() })?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { endpoint: Endpoint::Tcp(host, port), ..self.clone() })
    }
}

/// The nodes of a cluster that a URL names: `redis-cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]`. `None`: it is
/// the URL of a server.
pub(crate) fn nodes(url: &str) -> Result<Option<Vec<Address>>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
    let Some(scheme) = scheme.strip_suffix("-cluster") else { return Ok(None) };
    let (login, places) = rest.rsplit_once('@').map_or(("", rest), |(login, _)| rest.split_at(login.len() + 1));
    let places = places.strip_suffix('/').unwrap_or(places);
    let address = |place: &str| Address::parse(&format!("{scheme}://{login}{place}"));
    let nodes = places.split(',').map(address).collect::<Result<Vec<_>>>()?;
    match nodes.iter().find(|node| node.database != 0 || !matches!(node.endpoint, Endpoint::Tcp(..))) {
        Some(_) => Err(Error::option("url", "a database or a path", "hosts: a cluster has database 0 only")),
        None => Ok(Some(nodes)),
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = if rest.is_empty() { 6379 } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((text.to_owned(), 6379)),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("endpoint", &self.endpoint)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp(host.into(), port)
    }

    #[test]
    fn urls_name_a_place_a_user_and_a_database() {
        let of = |url| Address::parse(url).unwrap();
        assert_eq!(of("redis://10.0.0.5").endpoint, tcp("10.0.0.5", 6379));
        let full = of("redis://app:p%40ss%3a@cache.internal:6380/3");
        assert_eq!((full.endpoint.clone(), full.database), (tcp("cache.internal", 6380), 3));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("app"), Some("p@ss:")));
        assert!(!format!("{full:?}").contains("p@ss"), "a password is never printed");
        assert_eq!(of("redis://:secret@h").user, None);
        assert_eq!(of("valkey://[::1]:7000/0").endpoint, tcp("::1", 7000));
        let unix = of("unix:///run/redis.sock?db=2");
        assert_eq!((unix.endpoint, unix.database), (Endpoint::Unix("/run/redis.sock".into()), 2));
        assert_eq!(of("redis+unix://:p@/s").password.as_deref(), Some("p"));
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let found = nodes("redis-cluster://app:p%2C@h1:7000,h2,[::1]:7002/").unwrap().unwrap();
        let places: Vec<_> = found.iter().map(|node| node.endpoint.clone()).collect();
        assert_eq!(places, [tcp("h1", 7000), tcp("h2", 6379), tcp("::1", 7002)]);
        assert!(found.iter().all(|node| node.password.as_deref() == Some("p,")));
        assert_eq!(nodes("redis://h1,h2").unwrap(), None);
        assert_eq!(found[0].at("10.0.0.2:7003").unwrap().endpoint, tcp("10.0.0.2", 7003));
        assert_eq!(found[0].at("::1:7003").unwrap().endpoint, tcp("::1", 7003));
        assert!(found[0].at("10.0.0.2").is_err());
        for url in
            ["redis-cluster://", "redis-cluster://h1,", "redis-cluster://h1/1", "unix-cluster:///s", "x-cluster://h"]
        {
            assert!(matches!(nodes(url), Err(Error::Option { .. })), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in ["h:1", "http://h", "redis://", "redis://h:x", "redis://h/x", "unix://rel", "redis://a:%zz@h"] {
            assert!(matches!(Address::parse(url), Err(Error::Option { .. })), "{url}");
        }
        let error = Address::parse("redis://u:hunter2@h:port").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
