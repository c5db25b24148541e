//! What a server has to do for many readers, counted at the server; and storms of changes.
#![cfg(unix)]

// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/proxy.rs"]
mod proxy;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::resp::Value;
use kennel_far::{Create, Degraded, Expiry, Far, Fetched, Options, RedisStore, Reply, Result, Store};
use patience::{Over, until};
use proxy::Proxy;
use server::Server;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);
const KEYS: usize = 200;

struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

/// A server, unless there is no program.
fn place() -> Option<Place> {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Some(Place { server: Server::start(&program, folder.path()), folder })
}

impl Place {
    fn options(&self) -> Options {
        Options::new(self.server.url())
            .prefix("app:")
            .max_staleness(T)
            .fetch_wait(Duration::from_secs(10))
            .near(kennel::Options::new().capacity(1 << 20))
    }

    fn open(&self, options: &Options, near: &str) -> Far {
        options.open(self.folder.path().join(near)).unwrap()
    }

    /// Fetches that the server answered: each asks for a time to live, which nobody else does.
    fn fetches(&self) -> u64 {
        let Value::Bytes(info) = self.server.ask(&["INFO", "commandstats"]) else { panic!("no statistics") };
        let info = String::from_utf8(info).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    fn trackers(&self) -> usize {
        let Value::Bytes(list) = self.server.ask(&["CLIENT", "LIST"]) else { panic!("no list") };
        let list = String::from_utf8(list).unwrap();
        let flags = list.lines().filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("flags=")));
        flags.filter(|flags| flags.contains('B')).count()
    }
}

fn trusted(far: &Far) {
    until("the near tier to be proved", || {
        let before = far.stats();
        far.get("app:nothing").unwrap();
        far.get("app:nothing").unwrap();
        let after = far.stats();
        after.absent_hits > before.absent_hits && after.brief_hits == before.brief_hits
    });
}

/// Lets all handles read all keys at the same time; how often the server was asked, and how many bypasses there were.
fn read_all(place: &Place, handles: &[Far]) -> (u64, u64) {
    let bypasses = || handles.iter().map(|far| far.stats().bypasses).sum::<u64>();
    let before = (place.fetches(), bypasses());
    let start = Barrier::new(handles.len());
    thread::scope(|scope| {
        for far in handles {
            scope.spawn(|| {
                start.wait();
                for key in 0..KEYS {
                    assert_eq!(far.get(format!("app:{key}")).unwrap(), Some(b"v".to_vec()));
                }
            });
        }
    });
    (place.fetches() - before.0, bypasses() - before.1)
}

fn set_all(place: &Place) {
    (0..KEYS).for_each(|key| _ = place.server.ask(&["SET", &format!("app:{key}"), "v"]));
}

#[test]
fn the_server_is_asked_once_for_each_key_and_host_however_many_read() {
    let Some(place) = place() else { return };
    set_all(&place);
    for (near, readers) in [("near-1", 1), ("near-6", 6)] {
        let handles: Vec<Far> = (0..readers).map(|_| place.open(&place.options(), near)).collect();
        handles.iter().for_each(trusted);
        let (fetches, bypasses) = read_all(&place, &handles);
        // A reader that lost the proof for a moment asks by itself; on a machine that is busy this happens.
        assert_eq!(fetches, KEYS as u64 + bypasses, "{readers} readers");
        assert!(bypasses < KEYS as u64 / 2, "{readers} readers: {bypasses} bypasses");
        assert!(place.trackers() <= 2, "{} connections track", place.trackers());
        let (fetches, bypasses) = read_all(&place, &handles);
        assert_eq!(fetches, bypasses, "{readers} readers, again");
        drop(handles);
        until("the end of the trackers", || place.trackers() == 0);
    }
}

#[test]
fn without_any_tracker_the_server_is_asked_once_in_t() {
    let Some(place) = place() else { return };
    set_all(&place);
    let options = place.options().degraded(Degraded::Brief).keepers(0).max_staleness(Duration::from_secs(60));
    let handles: Vec<Far> = (0..6).map(|_| place.open(&options, "near")).collect();
    assert_eq!(read_all(&place, &handles), (KEYS as u64, 0));
    let brief_hits: u64 = handles.iter().map(|far| far.stats().brief_hits).sum();
    assert_eq!(brief_hits, 5 * KEYS as u64);

    let created = AtomicUsize::new(0);
    thread::scope(|scope| {
        for far in &handles {
            scope.spawn(|| {
                let made = far.get_or_create("app:report", &Create::new(), || {
                    created.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(50));
                    Ok::<_, String>(b"made".to_vec())
                });
                assert_eq!(made.unwrap(), b"made");
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 1);
    handles[0].set("app:report", "newer", Expiry::Never).unwrap();
    handles.iter().for_each(|far| assert_eq!(far.get("app:report").unwrap(), Some(b"newer".to_vec())));
}

/// A store whose answers are some milliseconds on the way, so that a value that changes all the time has changed again
/// before it is here.
struct Distant(RedisStore);

impl Store for Distant {
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        let fetched = self.0.fetch(keys);
        thread::sleep(Duration::from_millis(5));
        fetched
    }

    fn call(&self, command: &[&[u8]]) -> Result<Reply> {
        self.0.call(command)
    }

    fn renew(&self) {
        self.0.renew();
    }
}

#[test]
fn a_counter_under_storm_is_left_out_and_never_old() {
    let Some(place) = place() else { return };
    let url = place.server.url();
    let distant = move || Ok(Box::new(Distant(RedisStore::open(&url, Duration::from_secs(5))?)) as Box<dyn Store>);
    let far = place.open(&place.options().hot_keys(3).store(distant), "near");
    trusted(&far);
    let (last, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let store = RedisStore::open(&place.server.url(), Duration::from_secs(5)).unwrap();
            while !is_over.load(Ordering::SeqCst) {
                let reply = store.call(&[b"INCR", b"app:hits"]).unwrap();
                let Value::Int(now) = reply.value else { panic!("{:?}", reply.value) };
                last.store(now as u64, Ordering::SeqCst);
            }
        });
        let _over = Over(&is_over);
        let mut newest = 0;
        until("the counter to be left out", || {
            // What had been counted T before this read began is the least that it may find.
            let least = last.load(Ordering::SeqCst);
            thread::sleep(T + T / 20);
            for _ in 0..200 {
                let found =
                    far.get("app:hits").unwrap().map_or(0, |text| String::from_utf8(text).unwrap().parse().unwrap());
                assert!(found >= least && found >= newest, "found {found} after {newest}; {least} were counted before");
                newest = found;
            }
            far.stats().hot_keys > 0
        });
    });
    let stats = far.stats();
    assert!(stats.bypasses > 100, "{stats:?}");
    assert_eq!(place.fetches(), stats.fills + stats.voided + stats.bypasses, "{stats:?}");
}

#[test]
fn a_tracker_that_a_storm_cuts_off_comes_back_and_nothing_is_old() {
    let Some(place) = place() else { return };
    place.server.ask(&["CONFIG", "SET", "client-output-buffer-limit", "normal 262144 0 0"]);
    let proxy = Proxy::start(&place.folder.path().join("proxy"), &place.server.socket());
    let url = place.server.url();
    let options = Options::new(format!("unix://{}", place.folder.path().join("proxy").display()))
        .prefix("app:")
        .max_staleness(T)
        .near(kennel::Options::new().capacity(1 << 20))
        .store(move || Ok(Box::new(RedisStore::open(&url, Duration::from_secs(5))?) as Box<dyn Store>));
    let far = place.open(&options, "near");
    trusted(&far);
    place.server.ask(&["SET", "app:k", "v1"]);
    until("a near value", || {
        let hits = far.stats().hits;
        far.get("app:k").unwrap();
        far.stats().hits > hits
    });
    proxy.freeze(true);
    let before = place.trackers();
    let storm = "for i = 1, 20000 do redis.call('SET', 'app:storm:' .. i, i) end redis.call('SET', 'app:k', 'v2')";
    until("the server to cut the tracker off", || {
        place.server.ask(&["EVAL", storm, "0"]);
        place.trackers() < before
    });
    let changed = Instant::now();
    thread::sleep(T.saturating_sub(changed.elapsed()));
    assert_eq!(far.get("app:k").unwrap(), Some(b"v2".to_vec()));
    let (tracked, flushes) = (far.stats().tracked, far.stats().flushes);
    proxy.freeze(false);
    until("another connection and a flush", || far.stats().tracked > tracked && far.stats().flushes > flushes);
    trusted(&far);
    assert_eq!(far.get("app:k").unwrap(), Some(b"v2".to_vec()));
}
