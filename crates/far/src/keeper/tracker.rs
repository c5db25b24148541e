//! One connection of a tracker, from dialing to its loss.
//!
//! The promises depend on the order of the steps:
//!
//! 1. Dial; find out which run of the server answers, and that it is a master. Adopt the generation of that identity, or
//!    begin one.
//! 2. Track. `on` is the host time after the reply: from then on every change is pushed over this connection.
//! 3. Become *covered*: by a hard invalidation, or because another tracker has proved a time after `on`.
//! 4. Apply pushes in their order, and ping. When a ping is answered, everything that was pushed before its answer is
//!    applied first. Then the time at which the ping *before* it was sent is proved, in the file to which the changes
//!    were applied: if another file has taken its place, the session ends.

use super::batch::Batch;
use super::member::Member;
use super::pace::Pace;
use super::seat::Holder;
use super::shared::{Ended, Post, Shared};
use super::watch::Watch;
use crate::address::Address;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::master::{check_master, connect};
use crate::near::Near;
use crate::redis::run_id;
use crate::resp::{Item, Value};
use crate::store::unexpected;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Keys of pushes that are deleted together.
const BATCH: usize = 1024;
/// A tracker that its process stops goes on for this time at most.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// A keeper begins a generation of a namespace at most once in this time.
const BEGIN_EVERY_US: u64 = 2_000_000;

/// A server to track. In a cluster it has a name, `HOST:PORT`.
pub(super) struct Place {
    pub name: String,
    pub address: Address,
}

pub(super) struct Session<'a> {
    post: &'a Post<'a>,
    shared: &'a Shared,
    place: &'a Place,
    near: Arc<Near>,
    connection: Connection,
    run_id: String,
    /// The lineage of the file to which the session applies changes. The session proves nothing about another file that
    /// takes its place.
    lineage: u64,
    generation: u64,
    /// What must be the same in each ping.
    check: Check,
    /// Host time from which on all changes are pushed.
    on: u64,
    is_covered: bool,
    /// Keys that were pushed and are not deleted yet.
    batch: Batch,
    pace: Pace,
    ping: Option<Ping>,
    next_ping: Instant,
    /// When the last answered ping was sent.
    answered: Option<u64>,
    last_proof: u64,
    clocks: Option<Clocks>,
    /// Keys whose pushes the probe still waits for.
    probes: Vec<Vec<u8>>,
    /// Whether sentinels still name this server.
    watch: Option<Watch>,
}

/// How a ping finds out that its server holds other data than before.
enum Check {
    /// The value of a key that names the database.
    Marker(Vec<u8>),
    /// The slots of a master of a cluster.
    Slots(Member),
}

/// A question of a ping, in the order of its answers.
#[derive(Clone, Copy)]
enum Question {
    Role,
    Marker,
    State,
    Nodes,
    Time,
    Ping,
}

/// A ping that is not answered yet.
struct Ping {
    sent: u64,
    at: Instant,
    /// The questions that are not answered yet.
    open: VecDeque<Question>,
    server_us: Option<u64>,
}

/// How far other clocks were ahead of the host's time, in microseconds.
#[derive(Clone, Copy)]
struct Clocks {
    wall: i64,
    server: Option<i64>,
}

impl<'a> Session<'a> {
    /// Tracks a server until its connection is lost. `true` beside the outcome: something was proved.
    pub(super) fn run(post: &'a Post<'a>, place: &'a Place) -> (Result<Ended>, bool) {
        match Self::join(post, place) {
            Ok(Some(mut session)) => {
                let ended = session.track();
                (ended, session.last_proof != 0)
            }
            Ok(None) => (Ok(Ended::Left), false),
            Err(error) => (Err(error), false),
        }
    }

    /// Dials and begins to track. `None`: the node of a cluster is no master.
    fn join(post: &'a Post<'a>, place: &'a Place) -> Result<Option<Self>> {
        let shared = post.shared;
        let (settings, nears) = (&shared.settings, &shared.nears);
        nears.base.agree()?;
        let deadline = Instant::now() + settings.patience();
        let mut connection = connect(&place.address, settings.patience())?;
        let (check, near) = if settings.is_cluster() {
            let Some(member) = Member::join(shared, &mut connection, &place.name, deadline)? else { return Ok(None) };
            let near = member.near(nears)?;
            (Check::Slots(member), near)
        } else {
            check_master(&connection.ask(&["ROLE"], deadline)?)?;
            (Check::Marker(Vec::new()), Arc::clone(&nears.base))
        };
        let run_id = run_of(&mut connection, deadline)?;
        // The lineage is read before anything else of the file: what is read later may come from a successor, in which
        // nothing is proved.
        let lineage = near.lineage().ok_or_else(|| Error::Connection("the near file cannot be read".into()))?;
        let generation = agree(shared, &near, lineage, settings.scope().identity(&run_id))?;
        let check = match check {
            Check::Marker(_) => Check::Marker(marker(&mut connection, &settings.marker(), deadline)?),
            slots => slots,
        };
        take_over(&mut connection, post, &run_id, deadline)?;
        let mut track: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON", b"BCAST"];
        settings.prefixes.iter().for_each(|prefix| track.extend([b"PREFIX".as_slice(), prefix]));
        connection.ask(&track, deadline).map_err(about_tracking)?;
        let on = near.clock.now();
        shared.counters.tracked.add(1);
        let watch = Watch::start(&place.address, connection.endpoint(), settings.ping_interval());
        let watch = watch.transpose().map_err(Error::io("start the thread that asks sentinels"))?;
        Ok(Some(Self {
            post,
            shared,
            place,
            near,
            connection,
            run_id,
            lineage,
            generation,
            check,
            on,
            is_covered: false,
            batch: Batch::default(),
            pace: Pace::default(),
            ping: None,
            next_ping: Instant::now(),
            answered: None,
            last_proof: 0,
            clocks: None,
            probes: Vec::new(),
            watch,
        }))
    }

    /// Tracks until the connection is lost or the keeper is stopped.
    fn track(&mut self) -> Result<Ended> {
        // If nothing was proved for a while, no process uses values that a flush would remove.
        if !self.near.was_proved_within(self.shared.settings.pace_us()) {
            self.cover_by_flush()?;
        }
        self.probe()?;
        loop {
            if self.shared.is_stopped() {
                self.post.seat().forget(&self.run_id);
                return Ok(Ended::Stopped);
            }
            self.check_place()?;
            self.shared.report_if_due();
            self.ping_if_due()?;
            self.receive(self.next_wait())?;
            if !self.is_covered {
                self.try_to_cover()?;
            }
            if self.post.is_volunteer && self.is_relieved() {
                self.post.seat().forget(&self.run_id);
                return Ok(Ended::Relieved);
            }
        }
    }

    /// Ends the session, and takes its proofs back, when sentinels name another master: the old one may still answer
    /// pings, and does not push the changes of the new one.
    fn check_place(&self) -> Result<()> {
        if !self.watch.as_ref().is_some_and(Watch::has_moved) || !keeps(Rule::TrackersHearSentinels) {
            return Ok(());
        }
        if keeps(Rule::MovesEndProofs) {
            self.near.end_generation(self.lineage, self.generation)?;
        }
        Err(Error::Connection("the sentinels name another master".into()))
    }

    fn next_wait(&self) -> Duration {
        let now = Instant::now();
        let until = match &self.ping {
            Some(ping) => ping.at + self.shared.settings.patience(),
            None => self.next_ping,
        };
        until.saturating_duration_since(now).min(self.shared.settings.ping_interval()).min(LONGEST_WAIT)
    }

    /// Reads what has arrived and handles it. Keys are collected, so that many are deleted together. While pushes come
    /// without a pause, some gather before the next read.
    fn receive(&mut self, wait: Duration) -> Result<()> {
        let began = Instant::now();
        let has_read = self.connection.read(wait)?;
        let waited = began.elapsed();
        let mut pushes = 0;
        while let Some(item) = self.connection.next_item()? {
            match item {
                Item::Key(key) => {
                    self.batch.add(key);
                    if self.batch.len() == BATCH {
                        self.apply()?;
                    }
                }
                Item::Invalidation(keys) => {
                    pushes += 1;
                    self.shared.counters.pushed_keys.add(keys);
                }
                Item::Value(Value::Push(parts)) => {
                    pushes += u64::from(is_invalidation(&parts));
                    self.pushed(parts)?;
                }
                Item::Value(reply) => self.replied(&reply)?,
            }
        }
        self.apply()?;
        self.shared.counters.pushes.add(pushes);
        if let Some(rest) = self.pace.rest_after(waited, has_read && pushes > 0) {
            thread::sleep(rest);
        }
        Ok(())
    }

    /// Handles a push other than a list of invalidated keys.
    fn pushed(&mut self, mut parts: Vec<Value>) -> Result<()> {
        if !is_invalidation(&parts) {
            return Ok(());
        }
        match parts.pop() {
            // The server invalidates all keys, for example after `FLUSHALL`.
            Some(Value::Null) => {
                self.probes.clear();
                self.batch.clear();
                self.flush()
            }
            other => Err(unexpected("keys in an invalidation", &other.unwrap_or(Value::Null))),
        }
    }

    /// Deletes what was pushed.
    fn apply(&mut self) -> Result<()> {
        if self.batch.len() == 0 {
            return Ok(());
        }
        let keys = self.batch.keys();
        self.probes.retain(|probe| !keys.contains(&probe.as_slice()));
        self.near.delete_multi(&keys);
        self.batch.clear();
        self.near.must_be(self.lineage)
    }

    fn flush(&self) -> Result<()> {
        if self.near.flush() {
            return Ok(());
        }
        Err(Error::Connection("the near tier cannot be invalidated".into()))
    }

    fn cover_by_flush(&mut self) -> Result<()> {
        if keeps(Rule::JoiningFlushes) {
            self.flush()?;
        }
        self.cover();
        Ok(())
    }

    /// From now on answered pings prove something, so the next one follows at once.
    fn cover(&mut self) {
        self.is_covered = true;
        self.next_ping = Instant::now();
    }

    /// Becomes covered by another tracker's proof, or by a flush if none comes in time.
    fn try_to_cover(&mut self) -> Result<()> {
        let near = &self.near;
        let proof = near.proof();
        if proof.generation() == self.generation && proof.low() > self.on && near.is_fresh(proof) {
            self.cover();
            return Ok(());
        }
        let pace = self.shared.settings.pace_us();
        if near.clock.now().saturating_sub(self.on) > pace || !near.was_proved_within(pace) {
            return self.cover_by_flush();
        }
        Ok(())
    }

    fn ping_if_due(&mut self) -> Result<()> {
        let now = Instant::now();
        if let Some(ping) = &self.ping {
            let is_late = now.duration_since(ping.at) > self.shared.settings.patience();
            return if is_late { Err(Error::Connection("a ping was not answered in time".into())) } else { Ok(()) };
        }
        if now < self.next_ping {
            return Ok(());
        }
        if !self.post.is_volunteer {
            self.shared.nears.base.beat();
        }
        // The time before the first byte is sent: what is proved later must not be later than this.
        let sent = self.near.clock.now();
        let open: VecDeque<Question> = match &mut self.check {
            Check::Marker(_) => [Question::Role, Question::Marker, Question::Time, Question::Ping].into(),
            Check::Slots(member) => {
                let nodes = member.is_due().then_some(Question::Nodes);
                let first = [Question::Role, Question::State].into_iter();
                first.chain(nodes).chain([Question::Time, Question::Ping]).collect()
            }
        };
        let marker = self.shared.settings.marker();
        let commands: Vec<Vec<&[u8]>> = open.iter().map(|question| question.words(&marker)).collect();
        let commands: Vec<&[&[u8]]> = commands.iter().map(Vec::as_slice).collect();
        self.connection.send(&commands)?;
        self.ping = Some(Ping { sent, at: now, open, server_us: None });
        self.next_ping = now + self.shared.settings.ping_interval();
        Ok(())
    }

    fn replied(&mut self, reply: &Value) -> Result<()> {
        let Some(ping) = &mut self.ping else { return Err(unexpected("no reply", reply)) };
        let sent = ping.sent;
        match (ping.open.pop_front(), &mut self.check) {
            (Some(Question::Role), _) => check_master(reply),
            (Some(Question::Marker), Check::Marker(marker)) if reply.as_bytes() == Some(marker) => Ok(()),
            (Some(Question::Marker), _) => {
                // The database was swapped or emptied. For a swap, the server pushes nothing.
                self.apply()?;
                self.flush()?;
                Err(unexpected("the marker of the database", reply))
            }
            (Some(Question::State), Check::Slots(member)) => member.check_state(reply),
            (Some(Question::Nodes), Check::Slots(member)) => member.check_slots(self.shared, reply, sent),
            (Some(Question::Time), _) => {
                ping.server_us = Some(server_time(reply)?);
                Ok(())
            }
            (Some(Question::Ping), _) if reply.as_bytes() == Some(b"kennel") => self.answered(),
            _ => Err(unexpected("the answer to a ping", reply)),
        }
    }

    /// Handles the answer to a ping: applies what was pushed before it, and then proves the time of the previous ping.
    fn answered(&mut self) -> Result<()> {
        let Some(ping) = self.ping.take() else { return Ok(()) };
        self.apply()?;
        let now = self.near.clock.now();
        self.shared.counters.round_trip_us.set(now.saturating_sub(ping.sent));
        if self.have_clocks_stepped(&ping, now) {
            self.flush()?;
        }
        let mut proven = self.answered.replace(ping.sent);
        if !keeps(Rule::ProofIsSending) {
            proven = Some(now);
        }
        if !self.is_covered {
            return Ok(());
        }
        match proven {
            Some(time) => self.prove(time),
            None => {
                // The second ping follows at once, so that a new tracker proves soon.
                self.next_ping = Instant::now();
                Ok(())
            }
        }
    }

    fn prove(&mut self, time: u64) -> Result<()> {
        if !self.near.prove(self.lineage, self.generation, time)? {
            return Err(Error::Connection(
                "another run of the server, or a failed deletion, took the proofs back".into(),
            ));
        }
        if self.last_proof == 0 {
            self.shared.note(&self.place.name, None);
        }
        self.last_proof = self.last_proof.max(time);
        self.shared.counters.proofs.add(1);
        self.shared.proved.store(self.near.clock.now(), Ordering::Relaxed);
        Ok(())
    }

    /// Whether another tracker proves: a volunteer is not needed then.
    fn is_relieved(&self) -> bool {
        let proof = self.near.proof();
        self.last_proof != 0 && proof.generation() == self.generation && proof.low() > self.last_proof
    }

    /// Whether the wall clock here or at the server was set by more than T since the last ping. Near values expire by
    /// the wall clock here, and the server pushes expired keys by its own.
    fn have_clocks_stepped(&mut self, ping: &Ping, now: u64) -> bool {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        let round_trip = now.saturating_sub(ping.sent);
        let middle = (ping.sent + round_trip / 2) as i64;
        let clocks = Clocks { wall: wall - now as i64, server: ping.server_us.map(|time| time as i64 - middle) };
        let most = self.shared.settings.staleness_us();
        let Some(before) = self.clocks.replace(clocks) else { return false };
        let server_step = before.server.zip(clocks.server).map_or(0, |(before, now)| before.abs_diff(now));
        before.wall.abs_diff(clocks.wall) > most || server_step > most + round_trip
    }

    /// Changes a key under each prefix over another connection, and waits for the pushes: a proxy or an access rule may
    /// suppress them.
    fn probe(&mut self) -> Result<()> {
        let settings = &self.shared.settings;
        if !settings.probe {
            return Ok(());
        }
        let patience = settings.patience();
        let mut other = connect(&self.place.address, patience)?;
        let deadline = Instant::now() + patience;
        for prefix in &settings.prefixes {
            let begin = [prefix.as_slice(), b"kennel-far:probe:", &random_text()?].concat();
            let Some(key) = self.check.key_here(begin) else { continue };
            let set: [&[u8]; 5] = [b"SET", &key, b"", b"PX", b"2000"];
            match other.ask(&set, deadline) {
                Ok(_) => self.probes.push(key),
                // The server has no memory or no replicas, or does not let this user write: this says nothing about
                // pushes.
                Err(Error::Server(_)) => {}
                Err(error) => return Err(error),
            }
        }
        while !self.probes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Server(
                    "the push of a changed key did not arrive: a proxy swallows pushes, the user of the tracker may not \
                     read the keys, or the prefixes are wrong"
                        .into(),
                ));
            }
            self.receive(left.min(Duration::from_millis(20)))?;
        }
        Ok(())
    }
}

/// Whether a push reports changed keys.
fn is_invalidation(parts: &[Value]) -> bool {
    parts.first().and_then(Value::as_bytes) == Some(b"invalidate")
}

impl Question {
    fn words(self, marker: &[u8]) -> Vec<&[u8]> {
        match self {
            Question::Role => vec![b"ROLE"],
            Question::Marker => vec![b"GET", marker],
            Question::State => vec![b"CLUSTER", b"INFO"],
            Question::Nodes => vec![b"CLUSTER", b"NODES"],
            Question::Time => vec![b"TIME"],
            Question::Ping => vec![b"PING", b"kennel"],
        }
    }
}

impl Check {
    /// A key with this beginning that belongs to the server; `None` if there is none.
    fn key_here(&self, begin: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Check::Marker(_) => Some(begin),
            Check::Slots(member) => member.key_here(&begin),
        }
    }
}

/// Explains a server's refusal to track.
fn about_tracking(error: Error) -> Error {
    let Error::Server(text) = error else { return error };
    if text.starts_with("NOPERM") {
        return Error::Server(format!("the user of the URL may not use CLIENT TRACKING: {text}"));
    }
    if text.to_lowercase().contains("unknown") {
        return Error::Server(format!("it has no CLIENT TRACKING, so use `Tracking::Off`: {text}"));
    }
    Error::Server(text)
}

/// The run of the server.
fn run_of(connection: &mut Connection, deadline: Instant) -> Result<String> {
    let info = connection.ask(&["INFO", "server"], deadline)?;
    let text = info.as_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    run_id(&text).map(str::to_owned).ok_or_else(|| unexpected("`run_id` in INFO", &info))
}

/// The generation of an identity; begins one if the current generation belongs to another identity. While that identity
/// is proved, it keeps its place: two trackers that reach different servers must not displace each other for ever.
fn agree(shared: &Shared, near: &Near, lineage: u64, identity: u64) -> Result<u64> {
    let proof = near.proof();
    // A proof of the future, from a wrong clock, would keep all trackers from proving anything.
    let is_of_future = proof.age(near.clock.now()).is_none();
    if let Some(generation) = near.generation_of(identity).filter(|_| !is_of_future) {
        return Ok(generation);
    }
    if !is_of_future && near.was_proved_within(2 * shared.settings.pace_us()) {
        return Err(Error::Server("the trackers of this host reach another server, which is proved".into()));
    }
    // A file has room for 65 535 generations: a process whose deletions all fail must not use them up in an hour.
    let now = near.clock.now();
    if now.saturating_sub(near.began.load(Ordering::Relaxed)) < BEGIN_EVERY_US {
        return Err(Error::Connection("proofs were taken back a moment ago".into()));
    }
    near.began.store(now, Ordering::Relaxed);
    near.begin_generation(lineage, identity)?.or_else(|| near.generation_of(identity)).ok_or_else(|| {
        Error::Connection("another tracker begins a generation, or none is left in this near file".into())
    })
}

/// The marker of the database, which is made if it is missing.
fn marker(connection: &mut Connection, key: &[u8], deadline: Instant) -> Result<Vec<u8>> {
    let value = random_text()?;
    let set: [&[u8]; 4] = [b"SET", key, &value, b"NX"];
    connection.ask(&set, deadline)?;
    let get: [&[u8]; 2] = [b"GET", key];
    let reply = connection.ask(&get, deadline)?;
    reply.as_bytes().map(<[u8]>::to_vec).ok_or_else(|| unexpected("the marker of the database", &reply))
}

/// Closes the connection of the seat's last holder at the server, and names the new one.
fn take_over(connection: &mut Connection, post: &Post<'_>, run_id: &str, deadline: Instant) -> Result<()> {
    let reply = connection.ask(&["CLIENT", "ID"], deadline)?;
    let Value::Int(client_id) = reply else { return Err(unexpected("the number of a connection", &reply)) };
    let last = post.seat().last_holder(run_id);
    if let Some(last) = last.filter(|last| *last != client_id) {
        match connection.ask(&["CLIENT", "KILL", "ID", &last.to_string()], deadline) {
            // The connection is gone already, or this user may not close connections.
            Ok(_) | Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    post.seat().name(Holder { client_id, run_id: run_id.to_owned() });
    Ok(())
}

/// The microseconds in a reply to `TIME`.
fn server_time(reply: &Value) -> Result<u64> {
    let Value::Array(parts) = reply else { return Err(unexpected("the time of the server", reply)) };
    let number = |part: &Value| std::str::from_utf8(part.as_bytes()?).ok()?.parse::<u64>().ok();
    match parts.as_slice() {
        [seconds, micros] => number(seconds).zip(number(micros)).map(|(s, us)| s.saturating_mul(1_000_000) + us),
        _ => None,
    }
    .ok_or_else(|| unexpected("the time of the server", reply))
}

/// Sixteen random hexadecimal digits.
fn random_text() -> Result<Vec<u8>> {
    let number = getrandom::u64().map_err(|error| Error::Io { what: "get random bytes", source: error.into() })?;
    Ok(format!("{number:016x}").into_bytes())
}
