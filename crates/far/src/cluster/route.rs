//! Data calls to a cluster: to the slot's master, and where redirects lead.
//!
//! Calls follow the map of the near file, so all processes of a host take the same route. A call that is redirected
//! asks the nodes which slots they have, changes the map accordingly, and deletes the key in the near tiers of all
//! masters before it returns: a master that does not know yet that it lost a slot answers as before, also to its
//! tracker.

use super::redirect::Redirect;
use super::view::View;
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::nears::Nears;
use crate::redis::{Question, RedisStore, Sent};
use crate::settings::Settings;
use crate::slots::slot;
use crate::store::{Answer, Fetched, Reply};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many redirects and temporary errors a call follows.
const MOST_STEPS: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After a lost connection, the nodes are asked at most once in this time which of them has its slots.
const LOOK_EVERY_US: u64 = 100_000;
/// The most connection pools that are kept.
const MOST_STORES: usize = 512;

pub(crate) struct Router {
    settings: Arc<Settings>,
    nears: Arc<Nears>,
    stores: Mutex<HashMap<String, Arc<RedisStore>>>,
    /// Host time at which the nodes were last asked because a connection was lost.
    looked: AtomicU64,
}

/// The master that answered without a redirect.
pub(crate) struct From {
    /// Its number in the map.
    pub number: usize,
    pub store: Arc<RedisStore>,
}

/// The answers of one master. They may be stored in its near tier if they are `from` it.
pub(crate) struct Part {
    pub from: Option<From>,
    /// The indices of the keys.
    pub at: Vec<usize>,
    pub fetched: Fetched,
}

/// The answers for keys, and the errors of the other keys by their indices.
#[derive(Default)]
pub(crate) struct Answers {
    pub parts: Vec<Part>,
    pub failed: Vec<(usize, Error)>,
}

/// A question to one master.
struct Call {
    address: String,
    at: Vec<usize>,
    from: Option<From>,
    store: Arc<RedisStore>,
    question: Question,
    /// `None`: a new connection is needed.
    sent: Option<Result<Sent>>,
}

/// A master that did not answer.
struct Lost {
    address: String,
    at: Vec<usize>,
    error: Error,
}

/// The route of a call so far.
struct Way {
    address: String,
    is_asking: bool,
    /// Nodes that were asked before.
    passed: Vec<String>,
    pause: Duration,
}

impl Router {
    pub(crate) fn new(settings: &Arc<Settings>, nears: &Arc<Nears>) -> Self {
        let (settings, nears) = (Arc::clone(settings), Arc::clone(nears));
        Self { settings, nears, stores: Mutex::default(), looked: AtomicU64::new(0) }
    }

    /// The values of keys. Each master is asked once for all of its keys, and all of them at the same time. If a master
    /// does not answer, only its own keys fail.
    pub(crate) fn fetch(&self, keys: &[&[u8]]) -> Answers {
        let deadline = Instant::now() + self.settings.timeout;
        let (mut answers, mut lost) = (Answers::default(), Vec::new());
        self.ask_all(self.by_place(keys, 0..keys.len(), &mut answers), keys, deadline, &mut answers, &mut lost);
        // Another master may by now have the slots of a lost one.
        let mut moved = Vec::new();
        for Lost { address, at, error } in std::mem::take(&mut lost) {
            if Instant::now() < deadline && self.may_look() {
                drop(self.look(slot(keys[at[0]])));
            }
            for i in at {
                match self.place(slot(keys[i])) {
                    Ok(place) if place != address && Instant::now() < deadline => moved.push(i),
                    _ => answers.failed.push((i, error.again())),
                }
            }
        }
        if !moved.is_empty() {
            self.ask_all(self.by_place(keys, moved, &mut answers), keys, deadline, &mut answers, &mut lost);
            for Lost { at, error, .. } in lost {
                answers.failed.extend(at.into_iter().map(|i| (i, error.again())));
            }
        }
        answers
    }

    /// The indices of keys by the addresses of their masters.
    fn by_place(
        &self,
        keys: &[&[u8]],
        at: impl IntoIterator<Item = usize>,
        answers: &mut Answers,
    ) -> BTreeMap<String, Vec<usize>> {
        let mut of_nodes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for i in at {
            match self.place(slot(keys[i])) {
                Ok(place) => of_nodes.entry(place).or_default().push(i),
                Err(error) => answers.failed.push((i, error)),
            }
        }
        of_nodes
    }

    /// Sends all questions, and then waits for the answers.
    fn ask_all(
        &self,
        of_nodes: BTreeMap<String, Vec<usize>>,
        keys: &[&[u8]],
        deadline: Instant,
        answers: &mut Answers,
        lost: &mut Vec<Lost>,
    ) {
        let mut calls = Vec::with_capacity(of_nodes.len());
        for (address, at) in of_nodes {
            let asked: Vec<&[u8]> = at.iter().map(|i| keys[*i]).collect();
            match self.from(&address).and_then(|from| Ok((from, self.store(&address)?))) {
                Ok((from, store)) => {
                    let question = Question::new(&asked, false);
                    let sent = store.send(&question).map(Ok);
                    calls.push(Call { address, at, from, store, question, sent });
                }
                Err(error) => lost.push(Lost { address, at, error }),
            }
        }
        connect_all(&mut calls, deadline);
        for Call { address, at, from, store, question, sent } in calls {
            let sent = sent.unwrap_or_else(|| store.send_anew(&question, deadline));
            match sent.and_then(|sent| store.receive(sent, &question, deadline)) {
                Ok(fetched) => self.take(Part { from, at, fetched }, &address, keys, answers),
                Err(error) => lost.push(Lost { address, at, error }),
            }
        }
    }

    /// Takes the answers of a master, and follows its redirects.
    fn take(&self, all: Part, address: &str, keys: &[&[u8]], answers: &mut Answers) {
        let Part { from, at, fetched } = all;
        let mut part = Part { from, at: Vec::new(), fetched: Fetched { answers: Vec::new(), ..fetched } };
        for (i, answer) in at.into_iter().zip(fetched.answers) {
            match &answer {
                Answer::Refused(error) if Redirect::of(error, address).is_some() => match self.fetch_one(keys[i], i) {
                    Ok(other) => answers.parts.push(other),
                    Err(error) => answers.failed.push((i, error)),
                },
                _ => {
                    part.at.push(i);
                    part.fetched.answers.push(answer);
                }
            }
        }
        answers.parts.push(part);
    }

    fn fetch_one(&self, key: &[u8], i: usize) -> Result<Part> {
        let (fetched, from) = self.follow(slot(key), &[key], true, |store, address, is_asking| {
            let mut fetched = store.fetch_as(&[key], is_asking)?;
            match fetched.answers.pop() {
                Some(Answer::Refused(error)) if Redirect::of(&error, address).is_some() => Err(error),
                answer => {
                    fetched.answers.extend(answer);
                    Ok(fetched)
                }
            }
        })?;
        Ok(Part { from, at: vec![i], fetched })
    }

    /// Executes a command once, at the master of the key `beside`: a node does not execute a command that it redirects.
    pub(crate) fn call(
        &self,
        command: &[&[u8]],
        beside: Option<&[u8]>,
        changes: &[&[u8]],
    ) -> Result<(Reply, Option<From>)> {
        let slot_of = slot(beside.unwrap_or_default());
        if let Some(other) = changes.iter().find(|key| slot(key) != slot_of) {
            let shown = |key: &[u8]| format!("{:?}", String::from_utf8_lossy(key));
            return Err(Error::Slots(shown(beside.unwrap_or_default()), shown(other)));
        }
        self.follow(slot_of, changes, false, |store, _, is_asking| store.call_as(command, is_asking))
    }

    /// Asks the master of a slot, and the nodes to which its answers lead.
    fn follow<R>(
        &self,
        slot: u16,
        keys: &[&[u8]],
        is_read: bool,
        ask: impl Fn(&RedisStore, &str, bool) -> Result<R>,
    ) -> Result<(R, Option<From>)> {
        let mut way = Way { address: self.place(slot)?, is_asking: false, passed: Vec::new(), pause: FIRST_PAUSE };
        for _ in 0..MOST_STEPS {
            let from = if way.passed.is_empty() { self.from(&way.address)? } else { None };
            let store = self.store(&way.address)?;
            match ask(&store, &way.address, way.is_asking) {
                Ok(answer) => {
                    self.arrived(&way, keys);
                    return Ok((answer, from));
                }
                Err(error) => self.next(&mut way, slot, is_read, error)?,
            }
        }
        self.arrived(&way, keys);
        Err(Error::Server(format!("no node of the cluster has slot {slot}: {MOST_STEPS} of them were asked")))
    }

    /// Finds where to ask after this error; returns the error if there is no such place.
    fn next(&self, way: &mut Way, slot: u16, is_read: bool, error: Error) -> Result<()> {
        match Redirect::of(&error, &way.address) {
            Some(Redirect::Moved(address)) => way.go(address, false),
            Some(Redirect::Ask(address)) => way.go(address, true),
            Some(Redirect::TryAgain) => {
                way.wait();
                way.go(self.place(slot)?, false);
            }
            Some(Redirect::Down) => {
                way.wait();
                let next = self.look(slot)?.unwrap_or_else(|| way.address.clone());
                way.go(next, false);
            }
            None if matches!(error, Error::Connection(_)) && self.may_look() => {
                let next = self.look(slot).ok().flatten().filter(|next| *next != way.address);
                match next.filter(|_| is_read) {
                    Some(next) => way.go(next, false),
                    None => return Err(error),
                }
            }
            None => return Err(error),
        }
        Ok(())
    }

    /// Changes the map after redirects: all processes of the host are to know the route before the caller gets the
    /// answer.
    fn arrived(&self, way: &Way, keys: &[&[u8]]) {
        if way.passed.is_empty() {
            return;
        }
        if keeps(Rule::RedirectsChangeMap) {
            for address in way.passed.iter().chain([&way.address]) {
                // A node that does not say what it has is left to the trackers.
                drop(self.learn(address));
            }
        }
        keys.iter().filter(|key| self.settings.covers(key)).for_each(|key| self.nears.delete_everywhere(key));
    }

    /// The address of a slot's master, or of a node that knows the master.
    fn place(&self, slot: u16) -> Result<String> {
        let map = self.nears.atlas().map(|atlas| atlas.last_known()).unwrap_or_default();
        let owner = map.owner(slot).and_then(|number| map.master(number));
        if let Some(master) = owner.or_else(|| map.masters().next().map(|(_, master)| master)) {
            return Ok(master.address.clone());
        }
        self.look(slot)?.ok_or_else(|| Error::Server(format!("no master of the cluster has slot {slot}")))
    }

    /// The master at this address, if the map has it.
    fn from(&self, address: &str) -> Result<Option<From>> {
        let Some(number) = self.nears.atlas().and_then(|atlas| atlas.last_known().number_at(address)) else {
            return Ok(None);
        };
        Ok(Some(From { number, store: self.store(address)? }))
    }

    fn store(&self, address: &str) -> Result<Arc<RedisStore>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(address) {
            return Ok(Arc::clone(store));
        }
        if stores.len() >= MOST_STORES {
            stores.clear();
        }
        let store = Arc::new(RedisStore::of_node(self.settings.node(address)?, self.settings.timeout));
        stores.insert(address.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn may_look(&self) -> bool {
        let now = self.nears.base.clock.now();
        let last = self.looked.load(Ordering::Relaxed);
        now.saturating_sub(last) > LOOK_EVERY_US
            && self.looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Asks the known nodes, one after the other, which node has a slot.
    fn look(&self, slot: u16) -> Result<Option<String>> {
        let map = self.nears.atlas().map(|atlas| atlas.last_known()).unwrap_or_default();
        let mut nodes: Vec<String> = map.masters().map(|(_, master)| master.address.clone()).collect();
        nodes.extend(self.settings.seed_places());
        let mut failed = None;
        for address in nodes {
            match self.learn(&address) {
                Ok(view) if view.own.is_master && view.own.slots.has(slot) => return Ok(Some(address)),
                Ok(view) => {
                    if let Some(other) = view.masters.into_iter().find(|other| other.slots.has(slot)) {
                        drop(self.learn(&other.address));
                        return Ok(Some(other.address));
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Asks a node what it has, and changes the map accordingly.
    fn learn(&self, address: &str) -> Result<View> {
        let asked = self.nears.base.clock.now();
        let reply = self.store(address)?.call_as(&[b"CLUSTER", b"NODES"], false)?.value;
        let text = reply.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let view = View::parse(&text, address, asked).ok_or_else(|| Error::Answer {
            expected: "the nodes of a cluster",
            found: text.chars().take(80).collect(),
        })?;
        self.nears.join(&view)?;
        Ok(view)
    }
}

/// Makes the missing connections, if there are several, at the same time, so that a master that does not accept takes
/// no time from the others.
fn connect_all(calls: &mut [Call], deadline: Instant) {
    let mut missing: Vec<&mut Call> = calls.iter_mut().filter(|call| call.sent.is_none()).collect();
    if missing.len() < 2 {
        return;
    }
    thread::scope(|scope| {
        for call in &mut missing {
            let connect = || call.sent = Some(call.store.send_anew(&call.question, deadline));
            // If no thread can be started, the connection is made later.
            drop(thread::Builder::new().name("kennel-far connect".into()).spawn_scoped(scope, connect));
        }
    });
}

impl Way {
    fn go(&mut self, address: String, is_asking: bool) {
        self.passed.push(std::mem::replace(&mut self.address, address));
        self.is_asking = is_asking;
    }

    fn wait(&mut self) {
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
