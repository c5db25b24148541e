//! Finding a master: at a fixed address, or through sentinels.
//!
//! Sentinels are asked in turn, beginning with the one that answered last. The server that a sentinel names is
//! verified: if it is no master, it is not used, and the next sentinel is asked.

use crate::address::{Address, Endpoint, Place, Sentinels};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::resp::Value;
use crate::store::unexpected;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connects to the server of an address, or to the master that its sentinels name, within `limit`.
pub(crate) fn connect(address: &Address, limit: Duration) -> Result<Connection> {
    find(address, Instant::now() + limit, |endpoint, deadline| {
        let mut connection = Connection::open(address, endpoint, left(deadline))?;
        if matches!(address.place, Place::Master(_)) && keeps(Rule::NamedAreMasters) {
            check_master(&connection.ask(&["ROLE"], deadline)?)?;
        }
        Ok(connection)
    })
}

/// Calls `attempt` with the server of an address, or with the master that each sentinel in turn names, until an attempt
/// succeeds.
pub(crate) fn find<R>(
    address: &Address,
    deadline: Instant,
    mut attempt: impl FnMut(&Endpoint, Instant) -> Result<R>,
) -> Result<R> {
    let sentinels = match &address.place {
        Place::Server(endpoint) => return attempt(endpoint, deadline),
        Place::Master(sentinels) => sentinels,
    };
    let (mut failures, mut tried) = (Vec::new(), Vec::new());
    let count = sentinels.places.len();
    let first = sentinels.first.load(Ordering::Relaxed);
    for i in 0..count {
        let at = (first + i) % count;
        // The sentinels that are left share the time that is left.
        let turn = Instant::now() + left(deadline) / (count - i) as u32;
        let place = &sentinels.places[at];
        let found = ask(address, sentinels, place, turn).and_then(|master| {
            if tried.contains(&master) {
                return Err(Error::Connection(format!("{master}, too")));
            }
            let found = attempt(&master, turn).map_err(|error| match error {
                Error::Connection(text) => Error::Connection(format!("it names {}", said_of(&master, &text))),
                Error::Server(text) => Error::Server(format!("it names {}", said_of(&master, &text))),
                other => other,
            });
            tried.push(master);
            found
        });
        match found {
            Ok(found) => {
                sentinels.first.store(at, Ordering::Relaxed);
                return Ok(found);
            }
            Err(error) => failures.push(format!("sentinel {}", said_of(place, &bare(error)))),
        }
    }
    let failures = failures.join("; ");
    Err(Error::Connection(format!("no sentinel leads to the master {:?}: {failures}", sentinels.master)))
}

/// Asks a sentinel where the master is, over a new connection.
fn ask(address: &Address, sentinels: &Sentinels, place: &Endpoint, deadline: Instant) -> Result<Endpoint> {
    let mut connection = greet(address, sentinels, place, deadline)?;
    named(&mut connection, sentinels, deadline)
}

/// Connects to a sentinel.
pub(crate) fn greet(
    address: &Address,
    sentinels: &Sentinels,
    place: &Endpoint,
    deadline: Instant,
) -> Result<Connection> {
    let mut connection = Connection::dial(address, place, deadline)?;
    if let Some((user, password)) = &sentinels.login {
        let login = ["AUTH"].into_iter().chain(user.as_deref()).chain([password.as_str()]);
        connection.ask(&login.collect::<Vec<_>>(), deadline)?;
    }
    Ok(connection)
}

/// The master that a sentinel names.
pub(crate) fn named(connection: &mut Connection, sentinels: &Sentinels, deadline: Instant) -> Result<Endpoint> {
    let reply = connection.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &sentinels.master], deadline)?;
    let text = |part: &Value| Some(std::str::from_utf8(part.as_bytes()?).ok()?.to_owned());
    match &reply {
        Value::Null => Err(Error::Server(format!("it watches no master {:?}", sentinels.master))),
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
            _ => None,
        }
        .map(|(host, port)| Endpoint::Tcp(host, port))
        .ok_or_else(|| unexpected("the address of a master", &reply)),
        other => Err(unexpected("the address of a master", other)),
    }
}

/// Checks that this is what a master replies to `ROLE`.
pub(crate) fn check_master(role: &Value) -> Result<()> {
    let name = match role {
        Value::Array(parts) => parts.first().and_then(Value::as_bytes),
        _ => None,
    };
    match name {
        Some(b"master") => Ok(()),
        Some(b"slave") => Err(Error::Server("it is a replica, not a master".into())),
        _ => Err(unexpected("the role of a master", role)),
    }
}

/// The text of an error without the beginning that names its kind: the error that combines the texts has its own.
fn bare(error: Error) -> String {
    match error {
        Error::Server(text) | Error::Connection(text) => text,
        other => other.to_string(),
    }
}

/// The text of an error, preceded once by the place that it concerns.
fn said_of(place: &Endpoint, text: &str) -> String {
    let named = format!("{place}: ");
    format!("{named}{}", text.strip_prefix(&named).unwrap_or(text))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
