//! A far tier that a test plays: it decides when each answer and each push comes.

use crate::patience::until;
use kennel_far::resp::{Decoder, Value, encode};
use kennel_far::{Answer, Error, Far, Fetched, Options, Reply, Result, Store, TimeToLive};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Long enough for a busy machine.
pub const T: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// The far tier: what its keys say, and what it does to its trackers.
pub struct Stage {
    pub place: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    values: Mutex<HashMap<Vec<u8>, Valued>>,
    run_id: Mutex<String>,
    role: Mutex<String>,
    /// The ends of the connections on which tracking is on, or was.
    trackers: Mutex<Vec<UnixStream>>,
    holds_pongs: AtomicBool,
    holds_pushes: AtomicBool,
    refuses_dials: AtomicBool,
    fails_calls: AtomicBool,
    pings: AtomicUsize,
    fetches: AtomicUsize,
    killed: Mutex<Vec<String>>,
}

/// A value and its time to live.
type Valued = (Vec<u8>, TimeToLive);

impl Stage {
    pub fn new() -> Self {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let state = Arc::<State>::default();
        *state.run_id.lock().unwrap() = "run-1".into();
        *state.role.lock().unwrap() = "master".into();
        let listener = UnixListener::bind(place.path().join("socket")).unwrap();
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.refuses_dials.load(Ordering::SeqCst) {
                    continue;
                }
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serve(&serving, stream));
            }
        });
        Self { place, state }
    }

    pub fn options(&self) -> Options {
        let store = self.store();
        Options::new(format!("unix://{}", self.place.path().join("socket").display()))
            .prefix("k")
            .max_staleness(T)
            .probe(false)
            .near(kennel::Options::new().capacity(1 << 20))
            .store(move || Ok(Box::new(store.clone())))
    }

    /// The data calls of this far tier.
    pub fn store(&self) -> PlayedStore {
        PlayedStore(Arc::clone(&self.state))
    }

    pub fn near(&self) -> PathBuf {
        self.place.path().join("near")
    }

    /// A handle that tracks, after its first proof, with connections to the server.
    pub fn tracked(&self) -> Far {
        let far = self.options().open(self.near()).unwrap();
        self.set_silently("k-first", "0");
        self.until_trusted(&far);
        far
    }

    /// Reads until the near tier answers.
    pub fn until_trusted(&self, far: &Far) {
        until("the near tier to be proved", || {
            let hits = far.stats().hits;
            far.get("k-first").unwrap();
            far.get("k-first").unwrap();
            far.stats().hits > hits
        });
    }

    /// Changes a value, and tells the trackers unless pushes are held.
    pub fn set(&self, key: &str, value: &str) {
        self.set_silently(key, value);
        if !self.state.holds_pushes.load(Ordering::SeqCst) {
            self.push(key);
        }
    }

    pub fn set_silently(&self, key: &str, value: &str) {
        self.set_for(key, value, TimeToLive::Unlimited);
    }

    pub fn set_for(&self, key: &str, value: &str, ttl: TimeToLive) {
        self.state.values.lock().unwrap().insert(key.into(), (value.into(), ttl));
    }

    pub fn remove(&self, key: &str) {
        self.state.values.lock().unwrap().remove(key.as_bytes());
    }

    pub fn push(&self, key: &str) {
        self.state.tell(&invalidation(key));
    }

    pub fn push_null(&self) {
        self.state.tell(">2\r\n$10\r\ninvalidate\r\n_\r\n");
    }

    pub fn hold_pongs(&self, hold: bool) {
        self.state.holds_pongs.store(hold, Ordering::SeqCst);
    }

    pub fn hold_pushes(&self, hold: bool) {
        self.state.holds_pushes.store(hold, Ordering::SeqCst);
    }

    pub fn fail_calls(&self, fail: bool) {
        self.state.fails_calls.store(fail, Ordering::SeqCst);
    }

    pub fn refuse_dials(&self, refuse: bool) {
        self.state.refuses_dials.store(refuse, Ordering::SeqCst);
    }

    pub fn set_role(&self, role: &str) {
        *self.state.role.lock().unwrap() = role.into();
    }

    /// Data calls reach another run from now on.
    pub fn set_run(&self, run: &str) {
        *self.state.run_id.lock().unwrap() = run.into();
    }

    /// Cuts all trackers off.
    pub fn cut(&self) {
        for stream in self.state.trackers.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Waits until another ping has come, whether it is answered or not.
    pub fn next_ping(&self) {
        let before = self.state.pings.load(Ordering::SeqCst);
        until("a ping", || self.state.pings.load(Ordering::SeqCst) > before);
    }

    pub fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    pub fn trackers(&self) -> usize {
        self.state.trackers.lock().unwrap().len()
    }

    pub fn killed(&self) -> Vec<String> {
        self.state.killed.lock().unwrap().clone()
    }
}

impl State {
    fn tell(&self, text: &str) {
        self.trackers.lock().unwrap().retain_mut(|stream| stream.write_all(text.as_bytes()).is_ok());
    }
}

fn invalidation(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

/// Serves one connection of a tracker.
fn serve(state: &State, mut stream: UnixStream) {
    let mut decoder = Decoder::new(1 << 20);
    let mut bytes = [0; 4096];
    let mut marker: Option<Vec<u8>> = None;
    let id = 100 + state.trackers.lock().unwrap().len();
    loop {
        let Ok(len @ 1..) = stream.read(&mut bytes) else { return };
        decoder.feed(&bytes[..len]);
        while let Some(Value::Array(parts)) = decoder.next_value().unwrap() {
            let parts: Vec<String> = parts.iter().map(text).collect();
            let command: Vec<&str> = parts.iter().map(String::as_str).collect();
            let reply = match command.as_slice() {
                ["HELLO", ..] => "%1\r\n+proto\r\n:3\r\n".into(),
                ["ROLE"] => format!("*3\r\n+{}\r\n:0\r\n*0\r\n", state.role.lock().unwrap()),
                ["INFO", "server"] => {
                    let info = "redis_version:8.2.3\r\nrun_id:run-1\r\n";
                    format!("${}\r\n{info}\r\n", info.len())
                }
                ["CLIENT", "ID"] => format!(":{id}\r\n"),
                ["CLIENT", "KILL", "ID", id] => {
                    state.killed.lock().unwrap().push((*id).into());
                    ":1\r\n".into()
                }
                ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k"] => {
                    state.trackers.lock().unwrap().push(stream.try_clone().unwrap());
                    "+OK\r\n".into()
                }
                ["SET", _, value, "NX"] => {
                    marker = Some(value.as_bytes().to_vec());
                    "+OK\r\n".into()
                }
                // A probe.
                ["SET", key, _, "PX", _] => {
                    if !state.holds_pushes.load(Ordering::SeqCst) {
                        state.tell(&invalidation(key));
                    }
                    "+OK\r\n".into()
                }
                ["GET", _] => {
                    let mut out = Vec::new();
                    encode(&[marker.clone().unwrap_or_default()], &mut out);
                    // The string without the head of its array.
                    String::from_utf8(out[4..].to_vec()).unwrap()
                }
                ["TIME"] => time(),
                ["PING", pong] => {
                    state.pings.fetch_add(1, Ordering::SeqCst);
                    while state.holds_pongs.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    format!("${}\r\n{pong}\r\n", pong.len())
                }
                other => panic!("the test does not play {other:?}"),
            };
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The reply to `TIME`.
fn time() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (s, us) = (now.as_secs().to_string(), now.subsec_micros().to_string());
    format!("*2\r\n${}\r\n{s}\r\n${}\r\n{us}\r\n", s.len(), us.len())
}

fn text(part: &Value) -> String {
    String::from_utf8(part.as_bytes().unwrap_or_default().to_vec()).unwrap()
}

/// Where a thread's next fetch stops.
#[derive(Clone, Copy, PartialEq)]
pub enum At {
    BeforeFetch,
    AfterFetch,
}

/// Where a thread stops, how it says so, and by what it goes on.
type Gate = (At, Sender<()>, Receiver<()>);

thread_local! {
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

fn pass(at: At) {
    let gate = GATE.with_borrow_mut(|gate| gate.take_if(|(here, ..)| *here == at));
    if let Some((_, arrived, go)) = gate {
        arrived.send(()).unwrap();
        go.recv().unwrap();
    }
}

/// A call in a thread of its own, which stops at its first fetch.
pub struct Stopped<R> {
    thread: JoinHandle<R>,
    go: Sender<()>,
}

impl<R: Send + 'static> Stopped<R> {
    /// Runs `work` until its fetch arrives there.
    pub fn at(at: At, work: impl FnOnce() -> R + Send + 'static) -> Self {
        let (arrived, has_arrived) = channel();
        let (go, may_go) = channel();
        let thread = thread::spawn(move || {
            GATE.set(Some((at, arrived, may_go)));
            work()
        });
        has_arrived.recv_timeout(PATIENCE).expect("the call fetches");
        Self { thread, go }
    }

    pub fn go(self) -> R {
        self.go.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

#[derive(Clone)]
pub struct PlayedStore(Arc<State>);

impl Store for PlayedStore {
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        pass(At::BeforeFetch);
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let values = self.0.values.lock().unwrap();
        let answer = |key: &&[u8]| match values.get(*key) {
            Some((value, _)) if value == b"no string" => Answer::Refused(Error::Server("WRONGTYPE".into())),
            Some((value, ttl)) => Answer::Value(value.clone(), *ttl),
            None => Answer::Absent,
        };
        let answers = keys.iter().map(answer).collect();
        drop(values);
        let run_id = self.0.run_id.lock().unwrap().as_str().into();
        pass(At::AfterFetch);
        Ok(Fetched { run_id, answers })
    }

    /// Executes `SET`, `DEL` and `BOOM`, without a push: that is left to the test.
    fn call(&self, command: &[&[u8]]) -> Result<Reply> {
        if command[0] == b"BOOM" {
            panic!("a client that panics");
        }
        if command[0] == b"SET" {
            self.0.values.lock().unwrap().insert(command[1].into(), (command[2].into(), TimeToLive::Unlimited));
        }
        if self.0.fails_calls.load(Ordering::SeqCst) {
            return Err(Error::Connection("timed out".into()));
        }
        let run_id = self.0.run_id.lock().unwrap().as_str().into();
        Ok(Reply { run_id, value: Value::Bytes(b"OK".to_vec()) })
    }

    fn renew(&self) {}
}
