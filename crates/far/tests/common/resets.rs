//! Somebody does something to the near file again and again, while threads read what another host writes. The tests `reset`
//! and `planted_reset` share it.

use crate::patience::{Over, comes_to};
use crate::server::{self, Server};
use kennel_far::{Degraded, Far, Fetched, Options, RedisStore, Reply, Result, Store};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(300);
/// How often the near file is reset.
const RESETS: u64 = 20;

/// What is read and written.
#[derive(Clone, Copy)]
pub struct Work {
    /// One of them is written every three milliseconds.
    pub keys: usize,
    /// How long the slowest of four answers of the server is on its way: so a later answer overtakes an earlier one.
    pub answers_take: Duration,
}

struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

impl Place {
    fn near(&self) -> PathBuf {
        self.folder.path().join("near")
    }

    fn open(&self, keepers: usize, degraded: Degraded, answers_take: Duration) -> Far {
        let url = self.server.url();
        let store = move || {
            let store = RedisStore::open(&url, Duration::from_secs(10))?;
            Ok(Box::new(Slow { store, answers_take, answers: AtomicU64::new(0) }) as Box<dyn Store>)
        };
        let options = Options::new(self.server.url()).prefix("app:").max_staleness(T).keepers(keepers);
        options.degraded(degraded).store(store).near(file()).open(self.near()).unwrap()
    }
}

/// A server whose answers take a while, each another one.
struct Slow {
    store: RedisStore,
    answers_take: Duration,
    answers: AtomicU64,
}

impl Store for Slow {
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        let fetched = self.store.fetch(keys);
        let quarter = self.answers.fetch_add(1, Ordering::Relaxed) % 4;
        thread::sleep(self.answers_take * quarter as u32 / 3);
        fetched
    }

    fn call(&self, command: &[&[u8]]) -> Result<Reply> {
        self.store.call(command)
    }

    fn renew(&self) {
        self.store.renew();
    }
}

pub fn file() -> kennel::Options {
    kennel::Options::new().capacity(1 << 20)
}

fn is_near(far: &Far, key: &str) -> bool {
    let hits = far.stats().hits;
    far.get(key).unwrap();
    far.stats().hits > hits
}

/// What was written and read, and when.
struct Run {
    begin: Instant,
    names: Vec<String>,
    /// The time in microseconds and the number of each acknowledged write, by key.
    written: Vec<Mutex<Vec<(u64, u64)>>>,
    /// The highest number that was read of each key.
    seen: Vec<AtomicU64>,
    is_over: AtomicBool,
    /// The promise that was broken, in words.
    broken: Mutex<Option<String>>,
}

impl Run {
    fn new(keys: usize) -> Self {
        Self {
            begin: Instant::now(),
            names: (0..keys).map(|key| format!("app:{key}")).collect(),
            written: (0..keys).map(|_| Mutex::default()).collect(),
            seen: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            is_over: AtomicBool::new(false),
            broken: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A writer that nobody of this host knows.
    fn write(&self, server: &Server) {
        for n in (1_u64..).take_while(|_| !self.is_over()) {
            let key = n as usize % self.names.len();
            server.ask(&["SET", &self.names[key], &n.to_string()]);
            self.written[key].lock().unwrap().push((self.now(), n));
            thread::sleep(Duration::from_millis(3));
        }
    }

    /// Reads all keys in turn: no read is older than T, and none is older than an earlier one.
    fn read(&self, far: &Far) {
        while !self.is_over() {
            for (key, name) in self.names.iter().enumerate() {
                let before = self.seen[key].load(Ordering::SeqCst);
                let began = self.now();
                let found = far.get(name).unwrap();
                let found: u64 = found.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
                let limit = began.saturating_sub(T.as_micros() as u64);
                let known = self.written[key].lock().unwrap();
                let past = known.partition_point(|(at, _)| *at < limit);
                let least = past.checked_sub(1).map_or(0, |last| known[last].1);
                drop(known);
                if found < least.max(before) {
                    let broken =
                        format!("{found} of {name} was read after {before}, and {least} was written more than T ago");
                    *self.broken.lock().unwrap() = Some(broken);
                    return self.is_over.store(true, Ordering::SeqCst);
                }
                self.seen[key].fetch_max(found, Ordering::SeqCst);
            }
            thread::sleep(Duration::from_micros(300));
        }
    }
}

/// Threads of three handles read what somebody writes, while `reset` does something to the near file, again and again. An
/// error says which promise was broken.
pub fn under_reads(
    test: &str,
    degraded: Degraded,
    work: Work,
    reset: impl Fn(&Path),
) -> std::result::Result<(), String> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return Ok(());
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let place = Place { server: Server::start(&program, folder.path()), folder };
    let handles = [2, 2, 0].map(|keepers| place.open(keepers, degraded, work.answers_take));
    let run = Run::new(work.keys);
    run.names.iter().for_each(|name| drop(place.server.ask(&["SET", name, "0"])));
    thread::scope(|scope| {
        let _over = Over(&run.is_over);
        scope.spawn(|| run.write(&place.server));
        for far in &handles {
            scope.spawn(|| run.read(far));
        }
        for n in (0..RESETS).take_while(|_| !run.is_over()) {
            // Some resets come before a tracker has found the file, others while it proves.
            thread::sleep(Duration::from_millis(n % 7 * 20 + 40));
            reset(&place.near());
        }
        let is_proved = || handles[2].proof_age().is_some_and(|age| age < T);
        assert!(comes_to(|| is_proved() || run.is_over()), "{test}: no tracker found the file");
    });
    if let Some(broken) = run.broken.into_inner().unwrap() {
        return Err(broken);
    }
    handles.iter().for_each(|far| assert!(comes_to(|| is_near(far, &run.names[0])), "{test}: nothing is near"));
    Ok(())
}

pub fn emptied(near: &Path) {
    file().open(near).unwrap().clear().unwrap();
}
