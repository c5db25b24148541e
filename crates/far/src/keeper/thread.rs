//! The thread of a keeper.

use super::attempts::Attempts;
use super::members;
use super::seat::{SEATS, Seat, VOLUNTEER};
use super::shared::{Post, Shared, jittered};
use super::tracker::{Place, Session};
use crate::error::{Error, Result};
use crate::nears::Nears;
use crate::settings::Settings;
use crate::stats::Counters;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The shortest and the longest time between two looks for a seat.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// The keeper of a process. Dropping it ends its thread and gives its seat back.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

impl Keeper {
    pub(crate) fn start(settings: &Arc<Settings>, nears: &Arc<Nears>, counters: &Arc<Counters>) -> Result<Self> {
        let shared = Arc::new(Shared::new(settings, nears, counters));
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("kennel-far keeper".into()).spawn(move || keep(&of_thread));
        let thread = thread.map_err(Error::io("start the keeper's thread"))?;
        Ok(Self { shared, thread: Some(thread), process: std::process::id() })
    }

    /// Why this process's keeper proves nothing; `None` if it has no problem.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared.problem()
    }

    /// The name of the seat that this process has.
    pub(crate) fn seat(&self) -> Option<String> {
        self.shared.seat.load().as_deref().cloned()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let thread = self.thread.take();
        // A forked child has the handle of a thread that runs in its parent only.
        if self.process != std::process::id() {
            return std::mem::forget(thread);
        }
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = thread {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

fn keep(shared: &Shared) {
    let seats = Seats::of(shared);
    while let Some((seat, is_volunteer)) = seats.wait(shared) {
        shared.seat.store(Some(Arc::new(seat.short_name())));
        let post = Post { shared, seat: Mutex::new(seat), is_volunteer };
        if shared.settings.is_cluster() {
            members::hold(&post)
        } else {
            hold(&post)
        }
        post.seat().clear();
        shared.seat.store(None);
    }
    shared.report_end();
}

/// Tracks with a seat until it is to be given back.
fn hold(post: &Post<'_>) {
    let mut attempts = Attempts::default();
    let place = Place { name: String::new(), address: post.shared.settings.address.clone() };
    while !post.shared.is_stopped() {
        let (ended, has_proved) = Session::run(post, &place);
        match ended {
            Ok(_) => return,
            Err(error) => post.shared.note("", Some(error.to_string())),
        }
        if !attempts.again(post.shared, has_proved) {
            return;
        }
    }
}

/// The seats beside a near file.
struct Seats {
    of_trackers: Vec<PathBuf>,
    of_volunteer: PathBuf,
}

impl Seats {
    fn of(shared: &Shared) -> Self {
        let (near, namespace) = (shared.nears.base.path(), shared.settings.scope().namespace());
        let path = |seat: &str| Seat::path(near, &namespace, seat);
        Self {
            of_trackers: SEATS[..shared.settings.keepers].iter().map(|seat| path(seat)).collect(),
            of_volunteer: path(VOLUNTEER),
        }
    }

    /// Waits for a seat. `true` beside it: it is the volunteer's. `None`: the keeper is stopped.
    fn wait(&self, shared: &Shared) -> Option<(Seat, bool)> {
        let near = shared.nears.base.path();
        let look = (shared.settings.pace() / 10).clamp(SHORTEST_LOOK, LONGEST_LOOK);
        let since = shared.nears.base.clock.now();
        let mut first = getrandom::u32().unwrap_or(0) as usize;
        while !shared.is_stopped() {
            // Each keeper begins with a random seat, and with another one each time, so that not all of them try the
            // same seat first.
            first = first.wrapping_add(1);
            let seats = self.of_trackers.len();
            let order = (0..seats).map(|i| &self.of_trackers[first.wrapping_add(i) % seats]);
            for path in order {
                match Seat::try_take(near, path) {
                    Ok(Some(seat)) => return Some((seat, false)),
                    Ok(None) => {}
                    Err(error) => {
                        shared.note("", Some(format!("cannot take the seat {}: {error}", path.display())));
                    }
                }
            }
            if is_volunteer_needed(shared, since)
                && let Ok(Some(seat)) = Seat::try_take(near, &self.of_volunteer)
            {
                return Some((seat, true));
            }
            shared.pause(jittered(look));
        }
        None
    }
}

/// Whether nothing was proved for 1.5 T, and no holder of a seat was at work, while this keeper waited: the holders are
/// stopped. A holder that cannot connect is at work, and a volunteer would do no better.
fn is_volunteer_needed(shared: &Shared, since: u64) -> bool {
    let near = &shared.nears.base;
    let long = shared.settings.pace_us() * 3 / 2;
    let has_waited = near.clock.now().saturating_sub(since) > long;
    has_waited && !shared.nears.was_proved_within(long) && !near.has_beaten_within(long)
}
