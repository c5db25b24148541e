//! The address of a server and the login for it, as a URL gives them.

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// A server, a user and a database.
#[derive(Clone)]
pub(crate) struct Address {
    pub place: Place,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: i64,
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::Client>,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Server(Endpoint),
    /// The master that sentinels name.
    Master(Sentinels),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Sentinels, and the name under which they watch a master.
#[derive(Clone)]
pub(crate) struct Sentinels {
    pub places: Vec<Endpoint>,
    /// The index of the sentinel that answered last.
    pub first: Arc<AtomicUsize>,
    pub master: String,
    /// The user and the password of the sentinels themselves.
    pub login: Option<(Option<String>, String)>,
}

/// In a URL, `%` and two hexadecimal digits stand for a byte.
const FORMS: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// with TLS, \
     unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE], or \
     redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[?db=DATABASE]";

const NO_CODE: &str = "a `%` without two hexadecimal digits";
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The kinds of URLs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Server,
    Unix,
    Sentinels,
}

impl Address {
    /// Parses a URL.
    pub(crate) fn parse(url: &str, how: &Reach) -> Result<Self> {
        // A message never shows the URL itself, which may contain a password.
        let bad = |what: &str| Error::option("url", what, FORMS);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("no `://`"))?;
        let (form, is_encrypted) = match scheme {
            "redis" | "valkey" => (Form::Server, false),
            "rediss" | "valkeys" => (Form::Server, true),
            "unix" | "redis+unix" => (Form::Unix, false),
            "redis-sentinel" | "valkey-sentinel" => (Form::Sentinels, false),
            "rediss-sentinel" | "valkeys-sentinel" => (Form::Sentinels, true),
            _ => return Err(bad(&format!("the scheme {scheme}"))),
        };
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let text = |part: &str| decode(part).ok_or_else(|| bad(NO_CODE));
        let (mut user, mut password) = (None, None);
        if let Some(login) = login {
            let (name, secret) = login.split_once(':').ok_or_else(|| bad("a user without a password"))?;
            user = Some(text(name)?).filter(|name| !name.is_empty());
            password = Some(text(secret)?);
        }
        let between = if form == Form::Server { "/" } else { "?db=" };
        let (place, database) = place.split_once(between).unwrap_or((place, ""));
        let database = match database {
            "" => 0,
            digits => digits.parse::<u32>().map_err(|_| bad(&format!("the database {digits:?}")))?.into(),
        };
        let place = match form {
            Form::Server => tcp(place, SERVER_PORT).map(Place::Server),
            Form::Unix => unix(place).map(Place::Server),
            Form::Sentinels => sentinels(place, how).map(Place::Master),
        };
        let place = place.map_err(bad)?;
        if how.sentinel_login.is_some() && form != Form::Sentinels {
            return Err(Error::option("sentinel_login", "the login of sentinels", "a URL that names sentinels"));
        }
        #[cfg(feature = "tls")]
        let tls = how.tls(is_encrypted)?;
        #[cfg(not(feature = "tls"))]
        if is_encrypted {
            return Err(bad(&format!("the scheme {scheme}, which needs the feature `tls` of this library")));
        }
        Ok(Self {
            place,
            user,
            password,
            database,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// The address of another server, `HOST:PORT`, with the same login and database.
    pub(crate) fn at(&self, place: &str) -> Result<Self> {
        let parts = place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) =
            parts.ok_or_else(|| Error::Answer { expected: "an address of a node", found: place.to_owned() })?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { place: Place::Server(Endpoint::Tcp(host, port)), ..self.clone() })
    }
}

/// What the options say about the connection to a server, apart from the URL.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::Tls>,
    pub sentinel_login: Option<(Option<String>, String)>,
}

#[cfg(feature = "tls")]
impl Reach {
    fn tls(&self, is_encrypted: bool) -> Result<Option<crate::tls::Client>> {
        match (&self.tls, is_encrypted) {
            (None, false) => Ok(None),
            // A caller that gives certificates does not want its password sent without TLS.
            (Some(_), false) => Err(Error::option("tls", "certificates", "a URL that begins with `rediss`")),
            (tls, true) => tls.clone().unwrap_or_default().client().map(Some),
        }
    }
}

/// The nodes of a cluster that a URL names: `redis-cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]`. `None`:
/// the URL is not that of a cluster.
pub(crate) fn nodes(url: &str, how: &Reach) -> Result<Option<Vec<Address>>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
    let Some(scheme) = scheme.strip_suffix("-cluster") else { return Ok(None) };
    let (login, places) = rest.rsplit_once('@').map_or(("", rest), |(login, _)| rest.split_at(login.len() + 1));
    let places = places.strip_suffix('/').unwrap_or(places);
    let address = |place: &str| Address::parse(&format!("{scheme}://{login}{place}"), how);
    let nodes = places.split(',').map(address).collect::<Result<Vec<_>>>()?;
    match nodes.iter().find(|node| node.database != 0 || !matches!(node.place, Place::Server(Endpoint::Tcp(..)))) {
        Some(_) => Err(Error::option("url", "a database or a path", "hosts: a cluster has database 0 only")),
        None => Ok(Some(nodes)),
    }
}

fn unix(place: &str) -> Result<Endpoint, &'static str> {
    let path = PathBuf::from(decode(place).ok_or(NO_CODE)?);
    if path.is_absolute() { Ok(Endpoint::Unix(path)) } else { Err("a path that is not absolute") }
}

fn tcp(place: &str, usual_port: u16) -> Result<Endpoint, &'static str> {
    let (host, port) = host_and_port(place, usual_port).ok_or("a port that is not a number")?;
    if host.is_empty() { Err("no host") } else { Ok(Endpoint::Tcp(host, port)) }
}

fn sentinels(place: &str, how: &Reach) -> Result<Sentinels, &'static str> {
    let (hosts, master) = place.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or("no name of a master")?;
    let places: Result<_, _> = hosts.split(',').map(|host| tcp(host, SENTINEL_PORT)).collect();
    let (places, master) = (places?, decode(master).ok_or(NO_CODE)?);
    Ok(Sentinels { places, first: Arc::default(), master, login: how.sentinel_login.clone() })
}

fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = if rest.is_empty() { usual } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((text.to_owned(), usual)),
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for Sentinels {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("places", &self.places).field("master", &self.master).finish_non_exhaustive()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("place", &self.place)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address> {
        Address::parse(url, &Reach::default())
    }

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp(host.into(), port)
    }

    fn server(address: &Address) -> Endpoint {
        let Place::Server(endpoint) = &address.place else { panic!("{address:?}") };
        endpoint.clone()
    }

    #[test]
    fn urls_name_a_place_a_user_and_a_database() {
        let of = |url| parse(url).unwrap();
        assert_eq!(server(&of("redis://10.0.0.5")), at("10.0.0.5", 6379));
        let full = of("redis://app:p%40ss%3a@cache.internal:6380/3");
        assert_eq!((server(&full), full.database), (at("cache.internal", 6380), 3));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("app"), Some("p@ss:")));
        assert!(!format!("{full:?}").contains("p@ss"), "a password is never printed");
        assert_eq!(of("redis://:secret@h").user, None);
        assert_eq!(server(&of("valkey://[::1]:7000/0")), at("::1", 7000));
        let unix = of("unix:///run/redis.sock?db=2");
        assert_eq!((server(&unix), unix.database), (Endpoint::Unix("/run/redis.sock".into()), 2));
        assert_eq!(of("redis+unix://:p@/s").password.as_deref(), Some("p"));
        assert_eq!([at("::1", 7), at("h", 8)].map(|place| place.to_string()), ["[::1]:7", "h:8"]);
    }

    #[test]
    fn urls_of_sentinels_name_their_places_and_a_master() {
        let login = Some((None, "s3cret".to_owned()));
        let how = Reach { sentinel_login: login.clone(), ..Reach::default() };
        let address = Address::parse("redis-sentinel://app:pw@s1:5000,s2,[::1]:7/my%2Fmaster?db=4", &how).unwrap();
        let Place::Master(sentinels) = &address.place else { panic!("{address:?}") };
        assert_eq!(sentinels.places, [at("s1", 5000), at("s2", 26379), at("::1", 7)]);
        assert_eq!((sentinels.master.as_str(), &sentinels.login, address.database), ("my/master", &login, 4));
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some("app"), Some("pw")));
        assert!(!format!("{address:?}").contains("s3cret"));
        for url in ["redis-sentinel://s1", "redis-sentinel://s1/", "redis-sentinel:///m", "redis-sentinel://s1,/m"] {
            assert!(matches!(parse(url), Err(Error::Option { .. })), "{url}");
        }
        assert!(matches!(Address::parse("redis://h", &how), Err(Error::Option { option: "sentinel_login", .. })));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_are_used_or_refused() {
        let how = Reach { tls: Some(crate::tls::Tls::new()), ..Reach::default() };
        assert!(matches!(Address::parse("redis://h", &how), Err(Error::Option { option: "tls", .. })));
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let nodes = |url| nodes(url, &Reach::default());
        let found = nodes("redis-cluster://app:p%2C@h1:7000,h2,[::1]:7002/").unwrap().unwrap();
        let places: Vec<_> = found.iter().map(server).collect();
        assert_eq!(places, [at("h1", 7000), at("h2", 6379), at("::1", 7002)]);
        assert!(found.iter().all(|node| node.password.as_deref() == Some("p,")));
        assert!(nodes("redis://h1,h2").unwrap().is_none());
        assert_eq!(server(&found[0].at("10.0.0.2:7003").unwrap()), at("10.0.0.2", 7003));
        assert_eq!(server(&found[0].at("::1:7003").unwrap()), at("::1", 7003));
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
            assert!(matches!(parse(url), Err(Error::Option { .. })), "{url}");
        }
        let error = parse("redis://u:hunter2@h:port").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
