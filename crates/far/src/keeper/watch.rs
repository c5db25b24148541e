//! A thread that asks sentinels, while a tracker tracks, whether its master is still the master.
//!
//! Sentinels promote a replica some seconds before they demote the old master, which answers pings as a master until
//! then. A tracker that asked the server alone would prove values that the new master no longer has.

use crate::address::{Address, Endpoint, Place, Sentinels};
use crate::connection::Connection;
use crate::master::{greet, named};
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The shortest and the longest time between two questions to sentinels.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a sentinel may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Dropping it ends the thread soon after.
pub(super) struct Watch(Arc<State>);

#[derive(Default)]
struct State {
    has_moved: AtomicBool,
    is_over: AtomicBool,
}

impl Watch {
    /// Watches whether sentinels still name this server, if there are sentinels.
    pub(super) fn start(address: &Address, server: &Endpoint, interval: Duration) -> Option<std::io::Result<Self>> {
        let Place::Master(sentinels) = &address.place else { return None };
        let state = Arc::<State>::default();
        let (address, server, sentinels) = (address.clone(), server.clone(), sentinels.clone());
        let of_thread = Arc::clone(&state);
        let pause = interval.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let thread = thread::Builder::new().name("kennel-far sentinel".into());
        let started = thread.spawn(move || watch(&of_thread, &address, &sentinels, &server, pause));
        Some(started.map(|_| Self(state)))
    }

    /// Whether a sentinel named another server.
    pub(super) fn has_moved(&self) -> bool {
        self.0.has_moved.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn watch(state: &State, address: &Address, sentinels: &Sentinels, server: &Endpoint, pause: Duration) {
    let mut connected: Option<Connection> = None;
    while !state.is_over.load(Ordering::Relaxed) {
        let deadline = Instant::now() + PATIENCE;
        let at = sentinels.first.load(Ordering::Relaxed) % sentinels.places.len();
        let connection = match connected.take() {
            Some(connection) => Ok(connection),
            None => greet(address, sentinels, &sentinels.places[at], deadline),
        };
        let asked = connection.and_then(|mut connection| {
            let named = named(&mut connection, sentinels, deadline)?;
            Ok((connection, named))
        });
        match asked {
            Ok((connection, named)) => {
                connected = Some(connection);
                if is_another(&named, server) {
                    return state.has_moved.store(true, Ordering::Relaxed);
                }
            }
            // The next sentinel is asked, again and again: without any sentinel there is no failover either.
            Err(_) => sentinels.first.store(at + 1, Ordering::Relaxed),
        }
        thread::sleep(pause);
    }
}

/// Whether two endpoints have no address in common: sentinels may name one server by its host name and by its IP
/// address.
fn is_another(a: &Endpoint, b: &Endpoint) -> bool {
    let (Endpoint::Tcp(host_a, port_a), Endpoint::Tcp(host_b, port_b)) = (a, b) else { return a != b };
    if a == b {
        return false;
    }
    let places = |host: &str, port: u16| (host, port).to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
    let places_b = places(host_b, *port_b);
    !places(host_a, *port_a).iter().any(|place| places_b.contains(place))
}
