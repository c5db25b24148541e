//! The tracker of a cluster: a session with each master, in a thread of its own, all with one seat.

use super::attempts::Attempts;
use super::shared::{Ended, Post, Shared};
use super::tracker::{Place, Session};
use crate::cluster::View;
use crate::error::{Error, Result};
use crate::master::connect;
use crate::settings::micros;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The shortest and the longest time between two looks for new masters.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// A keeper that proves nothing for this long gives its seat back.
const LEAVE_AFTER: Duration = Duration::from_secs(10);
/// A session needs little stack.
const STACK: usize = 256 << 10;

/// Tracks all masters with a seat until it is to be given back.
pub(super) fn hold(post: &Post<'_>) {
    let shared = post.shared;
    shared.is_over.store(false, Ordering::Relaxed);
    let is_relieved = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut sessions: BTreeMap<String, ScopedJoinHandle<'_, ()>> = BTreeMap::new();
        let mut attempts = Attempts::default();
        let mut proved = shared.nears.base.clock.now();
        while !shared.is_stopped() && !is_relieved.load(Ordering::Relaxed) {
            if !post.is_volunteer {
                shared.nears.base.beat();
            }
            sessions.retain(|_, session| !session.is_finished());
            let mut missing = wanted(shared);
            missing.retain(|id, _| !sessions.contains_key(id));
            for (id, address) in missing {
                let name = format!("kennel-far {address}");
                let (of_session, is_relieved) = (id.clone(), &is_relieved);
                let work = move || keep(post, &of_session, &address, is_relieved);
                match thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, work) {
                    Ok(session) => drop(sessions.insert(id, session)),
                    Err(error) => shared.note("", Some(format!("cannot start a thread: {error}"))),
                }
            }
            let now = shared.nears.base.clock.now();
            proved = proved.max(shared.proved.load(Ordering::Relaxed));
            let silence = now.saturating_sub(proved);
            if silence > micros(LEAVE_AFTER.max(shared.settings.pace() * 4)) {
                break;
            }
            if (sessions.is_empty() || silence > micros(shared.settings.patience())) && !find(shared, &mut attempts) {
                break;
            }
            shared.pause((shared.settings.pace() / 10).clamp(SHORTEST_LOOK, LONGEST_LOOK));
        }
        shared.is_over.store(true, Ordering::Relaxed);
        sessions.values().for_each(|session| session.thread().unpark());
    });
    shared.is_over.store(false, Ordering::Relaxed);
}

/// The addresses of the masters by their ids: the masters that the node asked last saw, and those of the map.
fn wanted(shared: &Shared) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::clone(&shared.seen.load());
    if let Some(map) = shared.nears.atlas().and_then(|atlas| atlas.current()) {
        for (_, master) in map.masters() {
            wanted.entry(master.id.clone()).or_insert_with(|| master.address.clone());
        }
    }
    wanted
}

/// Tracks one master, as long as the cluster has it.
fn keep(post: &Post<'_>, id: &str, address: &str, is_relieved: &AtomicBool) {
    let shared = post.shared;
    let mut attempts = Attempts::default();
    let place = shared.settings.node(address).map(|node| Place { name: address.to_owned(), address: node });
    while !shared.is_stopped() && wanted(shared).get(id).is_some_and(|now| now == address) {
        let (ended, has_proved) = match &place {
            Ok(place) => Session::run(post, place),
            Err(error) => (Err(Error::Connection(error.to_string())), false),
        };
        match ended {
            Ok(Ended::Relieved) => is_relieved.store(true, Ordering::Relaxed),
            Ok(Ended::Stopped) => {}
            Ok(Ended::Left) => break,
            Err(error) => {
                shared.note(address, Some(error.to_string()));
                attempts.again(shared, has_proved);
                continue;
            }
        }
        return;
    }
    shared.note(address, None);
}

/// Asks the known nodes, one after the other, for the masters. `false`: this failed many times.
fn find(shared: &Shared, attempts: &mut Attempts) -> bool {
    match ask_any(shared) {
        Ok(()) => {
            shared.note("", None);
            true
        }
        Err(error) => {
            shared.note("", Some(error.to_string()));
            attempts.again(shared, false)
        }
    }
}

fn ask_any(shared: &Shared) -> Result<()> {
    let mut failed = Error::Connection("no node of the cluster is known".into());
    let seeds = shared.settings.seed_places();
    for place in wanted(shared).into_values().chain(seeds) {
        if shared.is_stopped() {
            return Ok(());
        }
        match ask(shared, &place) {
            Ok(()) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn ask(shared: &Shared, place: &str) -> Result<()> {
    let patience = shared.settings.patience();
    let deadline = Instant::now() + patience;
    let mut connection = connect(&shared.settings.node(place)?, patience)?;
    let asked = shared.nears.base.clock.now();
    let reply = connection.ask(&["CLUSTER", "NODES"], deadline)?;
    let text = reply.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let view = View::parse(&text, place, asked)
        .ok_or_else(|| Error::Connection(format!("{place} does not tell the nodes of its cluster")))?;
    shared.saw(&view);
    shared.nears.join(&view)
}
