//! The options of a far tier, by their names in Python.

use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::options::{Given, Opening, bad};
use kennel_far::{Degraded, Options, Tls, Tracking};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::path::PathBuf;
use std::time::Duration;

/// Sets one option from the value that Python gave.
type Set = fn(Options, &Given<'_, '_>) -> Outcome<Options>;

/// The options: their names in Python, and how they are set. `kennel.far.FarCache` has a parameter for each.
const OPTIONS: [(&str, Set); 11] = [
    ("max_staleness", |to, given| Ok(to.max_staleness(time(given)?))),
    ("tracking", |to, given| Ok(to.tracking(if given.flag()? { Tracking::On } else { Tracking::Off }))),
    ("degraded", |to, given| Ok(to.degraded(degraded(given)?))),
    ("hot_keys", |to, given| Ok(to.hot_keys(given.number()?))),
    ("keepers", |to, given| Ok(to.keepers(given.number()? as usize))),
    ("probe", |to, given| Ok(to.probe(given.flag()?))),
    ("near_ttl", |to, given| Ok(to.near_ttl(time(given)?))),
    ("absence_ttl", |to, given| Ok(to.absence_ttl(time(given)?))),
    ("near_max_value", |to, given| Ok(to.near_max_value(usize::try_from(given.size()?).unwrap_or(usize::MAX)))),
    ("fetch_wait", |to, given| Ok(to.fetch_wait(time(given)?))),
    ("timeout", |to, given| Ok(to.timeout(time(given)?))),
];

fn degraded(given: &Given<'_, '_>) -> Outcome<Degraded> {
    match given.is::<String>("text")?.as_str() {
        "bypass" => Ok(Degraded::Bypass),
        "brief" => Ok(Degraded::Brief),
        other => Err(bad(given.name, other, "bypass or brief").into()),
    }
}

fn time(given: &Given<'_, '_>) -> Outcome<Duration> {
    Ok(given.is::<Seconds>("seconds or a timedelta")?.0.min(LONGEST))
}

/// The options about TLS, by their names in redis-py.
const TLS: [&str; 4] = ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_server_name"];
/// The options with the user and the password of the sentinels.
const SENTINELS: [&str; 2] = ["sentinel_username", "sentinel_password"];

/// Sets the options of the connection, which must be checked together.
fn reach(mut to: Options, far: &Bound<'_, PyDict>) -> Outcome<Options> {
    let given = |name| far.get_item(name).map(|value| value.filter(|value| !value.is_none()));
    let file = |name: &'static str| -> Outcome<Option<PathBuf>> {
        given(name)?.map(|value| Given { name, value: &value }.is("a path")).transpose()
    };
    let text = |name: &'static str| -> Outcome<Option<String>> {
        given(name)?.map(|value| Given { name, value: &value }.is("text")).transpose()
    };
    let [authorities, certificate, key] = [file(TLS[0])?, file(TLS[1])?, file(TLS[2])?];
    let name = text(TLS[3])?;
    if authorities.is_some() || certificate.is_some() || key.is_some() || name.is_some() {
        let tls = authorities.into_iter().fold(Tls::new(), Tls::authorities);
        let tls = name.into_iter().fold(tls, Tls::server_name);
        to = to.tls(match (certificate, key) {
            (Some(certificate), Some(key)) => tls.identity(certificate, key),
            (None, None) => tls,
            _ => return Err(PyTypeError::new_err("ssl_certfile and ssl_keyfile: expected both, found one").into()),
        });
    }
    match (text(SENTINELS[0])?, text(SENTINELS[1])?) {
        (user, Some(password)) => Ok(to.sentinel_login(user.unwrap_or_default(), password)),
        (Some(_), None) => Err(PyTypeError::new_err("sentinel_username: expected a sentinel_password with it").into()),
        (None, None) => Ok(to),
    }
}

/// A time longer than any wait, but short enough that sums of times do not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The names of the options.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.into_iter().map(|(name, _)| name).chain(TLS).chain(SENTINELS)
}

/// Reads the options of the far tier and those of the near file. An option that is `None` keeps its default.
pub(crate) fn read(
    url: &str,
    prefixes: Vec<Vec<u8>>,
    far: &Bound<'_, PyDict>,
    near: &Bound<'_, PyDict>,
) -> Outcome<Options> {
    let mut options = prefixes.into_iter().fold(Options::new(url), Options::prefix);
    for (name, value) in far {
        let name = name.cast::<PyString>().map_err(PyErr::from)?.to_cow()?;
        if TLS.contains(&&*name) || SENTINELS.contains(&&*name) {
            continue;
        }
        let Some((name, set)) = OPTIONS.into_iter().find(|(known, _)| *known == name) else {
            return Err(PyTypeError::new_err(format!("{name} is not an option of a far tier")).into());
        };
        if !value.is_none() {
            options = set(options, &Given { name, value: &value })?;
        }
    }
    Ok(reach(options, far)?.near(Opening::from_dict(near)?.into_options()))
}
