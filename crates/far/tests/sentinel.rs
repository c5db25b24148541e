//! The master that sentinels name, with real sentinels. Without a server's program, these tests say so and are left out.
#![cfg(unix)]

#[path = "common/port.rs"]
mod port;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::resp::{Decoder, Value, encode};
use kennel_far::{Error, Expiry, Far, Options};
use port::free_port;
use server::Server;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_secs(1);

/// A sentinel, which knows the master as `main`.
struct Sentinel {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Sentinel {
    fn start(program: &Path, folder: &Path, master: u16, more: &str) -> Self {
        let port = free_port();
        let text = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 5000\n{more}\n"
        );
        fs::write(folder.join("sentinel.conf"), text).unwrap();
        let mut sentinel = Self { program: program.into(), folder: folder.into(), port, child: None };
        sentinel.restart();
        sentinel
    }

    fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.program);
        command.args(["sentinel.conf", "--sentinel"]).current_dir(&self.folder);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("a sentinel", || ask(self.port, &["PING"]).is_some());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Executes a command over a connection of its own.
fn ask(port: u16, command: &[&str]) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut out = Vec::new();
    encode(command, &mut out);
    stream.write_all(&out).ok()?;
    let (mut decoder, mut bytes) = (Decoder::new(1 << 20), [0; 1 << 12]);
    loop {
        if let Some(value) = decoder.next_value().ok()? {
            return Some(value);
        }
        let len = stream.read(&mut bytes).ok().filter(|len| *len > 0)?;
        decoder.feed(&bytes[..len]);
    }
}

/// A master, its replica, and a sentinel that knows both.
struct Place {
    sentinel: Sentinel,
    master: Server,
    replica: Server,
    ports: [u16; 2],
    folder: tempfile::TempDir,
}

fn place(test: &str, sentinel: &str) -> Option<Place> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let place = |name: &str| {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        place
    };
    let ports = [free_port(), free_port()];
    let [of_master, of_replica] = ports.map(|port| port.to_string());
    let master = Server::start_with(&program, &place("master"), &["--port", &of_master]).unwrap();
    let as_replica = ["--port", &of_replica, "--replicaof", "127.0.0.1", &of_master];
    let replica = Server::start_with(&program, &place("replica"), &as_replica).unwrap();
    let sentinel = Sentinel::start(&program, &place("sentinel"), ports[0], sentinel);
    let known = |reply: Option<Value>| matches!(reply, Some(Value::Array(replicas)) if replicas.len() == 1);
    if sentinel_is_open(&sentinel) {
        until("the sentinel to know the replica", || known(ask(sentinel.port, &["SENTINEL", "REPLICAS", "main"])));
    }
    until("the replica's link", || {
        let info = replica.ask(&["INFO", "replication"]);
        String::from_utf8_lossy(info.as_bytes().unwrap()).contains("master_link_status:up")
    });
    Some(Place { sentinel, master, replica, ports, folder })
}

/// Whether it answers without a password.
fn sentinel_is_open(sentinel: &Sentinel) -> bool {
    !matches!(ask(sentinel.port, &["PING"]), Some(Value::Error(_)))
}

impl Place {
    fn options(&self, sentinels: &[u16], name: &str) -> Options {
        let places: Vec<_> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Options::new(format!("redis-sentinel://{}/{name}", places.join(",")))
            .prefix("app:")
            .max_staleness(T)
            .timeout(Duration::from_secs(3))
            .near(kennel::Options::new().capacity(1 << 20))
    }

    fn near(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Far {
        // A sentinel that is gone does not matter.
        let far = self.options(&[free_port(), self.sentinel.port], "main").open(self.near("near")).unwrap();
        trusted(&far);
        far
    }

    /// What a data call and the tracker say.
    fn refusal(&self, options: &Options, near: &str) -> String {
        let far = options.open(self.near(near)).unwrap();
        let Err(Error::Connection(text)) = far.get("app:k") else { panic!("a server was used") };
        until(&format!("the tracker's {text:?}"), || far.problem().is_some_and(|problem| problem.contains(&text)));
        assert_eq!(far.stats().proofs, 0);
        text
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads until the near tier answers.
fn trusted(far: &Far) {
    until("the near tier to be proved", || {
        let hits = far.stats().absent_hits;
        drop(far.get("app:nothing"));
        far.stats().absent_hits > hits
    });
}

/// A write that a master acknowledged.
struct Written {
    at: Instant,
    master: u16,
    version: u64,
}

/// A read: when it began, and what it found.
type Seen = (Instant, Option<u64>);

/// Another host writes to whatever master the sentinel names, while this one reads and `fail` makes the master another.
/// What the new master acknowledged T before a read began must be what the read finds, or newer.
fn no_read_is_older_than_t(place: &mut Place, fail: impl FnOnce(&mut Place)) -> Far {
    let far = place.open();
    let (port, [old, new]) = (place.sentinel.port, place.ports);
    let (is_over, writes, reads) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(Vec::<Seen>::new()));
    let named = || {
        let Some(Value::Array(parts)) = ask(port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]) else { return 0 };
        String::from_utf8_lossy(parts[1].as_bytes().unwrap()).parse().unwrap()
    };
    let write = || {
        for version in 1.. {
            let master = named();
            let is_done = ask(master, &["SET", "app:n", &version.to_string()]) == Some(Value::Bytes(b"OK".to_vec()));
            if is_done {
                writes.lock().unwrap().push(Written { at: Instant::now(), master, version });
            }
            thread::sleep(Duration::from_millis(10));
            if is_over.load(Ordering::SeqCst) {
                return;
            }
        }
    };
    let read = || {
        while !is_over.load(Ordering::SeqCst) {
            let began = Instant::now();
            if let Ok(found) = far.get("app:n") {
                let version = found.map(|text| String::from_utf8(text).unwrap().parse().unwrap());
                reads.lock().unwrap().push((began, version));
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    let failed = thread::scope(|scope| {
        scope.spawn(write);
        (0..3).for_each(|_| drop(scope.spawn(read)));
        thread::sleep(T * 2);
        let failed = Instant::now();
        fail(place);
        until("the sentinel to name the other server", || named() == new);
        thread::sleep(T * 5);
        is_over.store(true, Ordering::SeqCst);
        failed
    });
    let (writes, reads) = (writes.into_inner().unwrap(), reads.into_inner().unwrap());
    let newest = |master: u16, before: Instant| {
        let known = writes.iter().filter(|write| write.master == master && write.at + T < before);
        known.map(|write| write.version).max()
    };
    let mut after = 0;
    for (began, found) in &reads {
        // What the old master acknowledged, the new one may have lost.
        let least = newest(new, *began).or_else(|| newest(old, *began).filter(|_| *began < failed));
        assert!(
            *found >= least,
            "{found:?} in place of {least:?}, {:?} after the failure",
            began.duration_since(failed)
        );
        after += usize::from(newest(new, *began).is_some());
    }
    assert!(after > 100, "{after} reads of what the new master has");
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(place.replica.ask(&["GET", "app:k"]), Value::Bytes(b"v".to_vec()));
    assert!(far.get("app:k").unwrap().is_some());
    far
}

#[test]
fn a_failover_on_demand_is_followed_although_the_old_master_still_serves() {
    let Some(mut place) = place("a_failover_on_demand", "") else { return };
    trusted(&no_read_is_older_than_t(&mut place, fail_over));
}

fn fail_over(place: &mut Place) {
    let reply = ask(place.sentinel.port, &["SENTINEL", "FAILOVER", "main"]);
    assert_eq!(reply, Some(Value::Bytes(b"OK".to_vec())));
}

#[test]
fn connections_are_renewed_although_nobody_proves_the_new_master() {
    let Some(mut place) = place("connections_are_renewed", "") else { return };
    place.replica.ask(&["ACL", "SETUSER", "default", "-client|tracking"]);
    let far = no_read_is_older_than_t(&mut place, fail_over);
    assert!(far.problem().is_some_and(|problem| problem.contains("NOPERM")), "{:?}", far.problem());
}

#[test]
fn the_death_of_a_master_is_followed() {
    let Some(mut place) = place("the_death_of_a_master", "") else { return };
    trusted(&no_read_is_older_than_t(&mut place, |place| place.master.kill()));
}

#[test]
fn a_master_that_became_a_replica_is_not_read_over_old_connections() {
    let Some(place) = place("a_master_that_became_a_replica", "") else { return };
    let far = place.options(&[place.sentinel.port], "main").keepers(0).open(place.near("near")).unwrap();
    far.set("app:k", "v", Expiry::Never).unwrap();
    // The sentinel does not know, and will name this server until it does.
    place.master.ask(&["REPLICAOF", "127.0.0.1", &place.ports[1].to_string()]);
    assert!(matches!(far.get("app:k"), Err(Error::Connection(text)) if text.contains("replica")));
    assert!(far.set("app:k", "w", Expiry::Never).is_err());
}

#[test]
fn while_all_sentinels_are_down_the_known_master_serves() {
    let Some(mut place) = place("while_all_sentinels_are_down", "") else { return };
    let far = place.open();
    place.sentinel.kill();
    thread::sleep(T * 2);
    let before = far.stats();
    far.set("app:k", "v", Expiry::Never).unwrap();
    until("more proofs", || far.stats().proofs > before.proofs + 3);
    assert_eq!(far.stats().tracked, before.tracked);
    let text = place.refusal(&place.options(&[free_port(), place.sentinel.port], "main"), "near-of-another");
    assert_eq!(text.matches("sentinel 127.0.0.1:").count(), 2, "{text}");
    place.sentinel.restart();
    let other = place.options(&[place.sentinel.port], "main").open(place.near("near-of-another")).unwrap();
    until("the sentinel to be back", || other.get("app:k").is_ok_and(|found| found.is_some()));
    trusted(&other);
}

#[test]
fn a_sentinel_that_names_a_replica_is_not_believed() {
    let Some(place) = place("a_sentinel_that_names_a_replica", "") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (liar, replica) = (listener.local_addr().unwrap().port(), place.ports[1].to_string());
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let replica = replica.clone();
            thread::spawn(move || {
                let mut bytes = [0; 1000];
                while let Ok(1..) = client.read(&mut bytes) {
                    let mut out = Vec::new();
                    encode(&["127.0.0.1", &replica], &mut out);
                    if client.write_all(&out).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let far = place.options(&[liar, place.sentinel.port], "main").open(place.near("near")).unwrap();
    trusted(&far);
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(place.master.ask(&["GET", "app:k"]), Value::Bytes(b"v".to_vec()));
    let text = place.refusal(&place.options(&[liar], "main"), "near-of-liar");
    assert!(text.contains("replica"), "{text}");
}

#[test]
fn a_name_that_no_sentinel_knows_and_a_password_that_it_wants_are_clear_errors() {
    let Some(place) = place("a_name_that_no_sentinel_knows", "requirepass s3cret") else { return };
    let options = |name: &str| place.options(&[place.sentinel.port], name);
    let text = place.refusal(&options("main"), "near-a");
    assert!(text.contains("NOAUTH"), "{text}");
    let text = place.refusal(&options("main").sentinel_login("", "wrong"), "near-b");
    assert!(text.contains("WRONGPASS") && !text.contains("wrong"), "{text}");
    let text = place.refusal(&options("other").sentinel_login("", "s3cret"), "near-c");
    assert!(text.contains("it watches no master \"other\""), "{text}");
    for user in ["", "default"] {
        trusted(&options("main").sentinel_login(user, "s3cret").open(place.near("near")).unwrap());
    }
}
