//! A master, its replica and a sentinel, and what befalls them. The tests `sentinel` and `planted_sentinel` share it.

use crate::patience::{Over, until};
use crate::port::free_port;
use crate::server::{self, Server};
use kennel_far::resp::{Value, encode};
use kennel_far::{Error, Expiry, Far, Options};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const T: Duration = Duration::from_secs(1);

/// A sentinel, which knows the master as `main`.
pub struct Sentinel {
    program: PathBuf,
    folder: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

impl Sentinel {
    pub fn start(program: &Path, folder: &Path, master: u16, more: &str) -> Self {
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

    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.program);
        command.args(["sentinel.conf", "--sentinel"]).current_dir(&self.folder);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("a sentinel", || ask(self.port, &["PING"]).is_some());
    }

    pub fn kill(&mut self) {
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
pub fn ask(port: u16, command: &[&str]) -> Option<Value> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    server::replies(stream, &[command.to_vec()], 1 << 20)?.pop()
}

/// A master, its replica, and a sentinel that knows both.
pub struct Place {
    pub sentinel: Sentinel,
    pub master: Server,
    pub replica: Server,
    pub ports: [u16; 2],
    folder: tempfile::TempDir,
}

pub fn place(test: &str, sentinel: &str) -> Option<Place> {
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
    // The servers wait five seconds for more replicas otherwise.
    let as_master = ["--port", &of_master, "--repl-diskless-sync-delay", "0"];
    let master = Server::start_with(&program, &place("master"), &as_master).unwrap();
    let as_replica = ["--port", &of_replica, "--replicaof", "127.0.0.1", &of_master];
    let replica = Server::start_with(&program, &place("replica"), &as_replica).unwrap();
    // A sentinel asks a master for its replicas at first, and then every ten seconds.
    until("the replica's link", || {
        let info = replica.ask(&["INFO", "replication"]);
        String::from_utf8_lossy(info.as_bytes().unwrap()).contains("master_link_status:up")
    });
    let sentinel = Sentinel::start(&program, &place("sentinel"), ports[0], sentinel);
    let known = |reply: Option<Value>| matches!(reply, Some(Value::Array(replicas)) if replicas.len() == 1);
    if sentinel_is_open(&sentinel) {
        until("the sentinel to know the replica", || known(ask(sentinel.port, &["SENTINEL", "REPLICAS", "main"])));
    }
    Some(Place { sentinel, master, replica, ports, folder })
}

/// Whether it answers without a password.
fn sentinel_is_open(sentinel: &Sentinel) -> bool {
    !matches!(ask(sentinel.port, &["PING"]), Some(Value::Error(_)))
}

impl Place {
    pub fn options(&self, sentinels: &[u16], name: &str) -> Options {
        let places: Vec<_> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Options::new(format!("redis-sentinel://{}/{name}", places.join(",")))
            .prefix("app:")
            .max_staleness(T)
            .timeout(Duration::from_secs(3))
            .near(kennel::Options::new().capacity(1 << 20))
    }

    pub fn near(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn open(&self) -> Far {
        // A sentinel that is gone does not matter.
        let far = self.options(&[free_port(), self.sentinel.port], "main").open(self.near("near")).unwrap();
        trusted(&far);
        far
    }

    /// What a data call and the tracker say.
    pub fn refusal(&self, options: &Options, near: &str) -> String {
        let far = options.open(self.near(near)).unwrap();
        let Err(Error::Connection(text)) = far.get("app:k") else { panic!("a server was used") };
        until(&format!("the tracker's {text:?}"), || far.problem().is_some_and(|problem| problem.contains(&text)));
        assert_eq!(far.stats().proofs, 0);
        text
    }
}

/// Reads until the near tier answers.
pub fn trusted(far: &Far) {
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

/// What the new master acknowledged T before a read began must be what the read finds, or newer.
fn check(writes: &[Written], reads: &[Seen], [old, new]: [u16; 2], failed: Instant) {
    let newest = |master: u16, before: Instant| {
        let known = writes.iter().filter(|write| write.master == master && write.at + T < before);
        known.map(|write| write.version).max()
    };
    let mut after = 0;
    for (began, found) in reads {
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
}

/// Another host writes to whatever master the sentinel names, while this one reads and `fail` makes the master another.
pub fn no_read_is_older_than_t(place: &mut Place, fail: impl FnOnce(&mut Place)) -> Far {
    let far = place.open();
    let (port, new) = (place.sentinel.port, place.ports[1]);
    let (is_over, writes, reads) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(Vec::<Seen>::new()));
    let named = || named_by(port);
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
        let _over = Over(&is_over);
        thread::sleep(T);
        let failed = Instant::now();
        fail(place);
        until("the sentinel to name the other server", || named() == new);
        thread::sleep(T * 3);
        failed
    });
    check(&writes.into_inner().unwrap(), &reads.into_inner().unwrap(), place.ports, failed);
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(place.replica.ask(&["GET", "app:k"]), Value::Bytes(b"v".to_vec()));
    assert!(far.get("app:k").unwrap().is_some());
    far
}

fn fail_over(place: &mut Place) {
    order_failover(place.sentinel.port);
}

pub fn order_failover(sentinel: u16) {
    assert_eq!(ask(sentinel, &["SENTINEL", "FAILOVER", "main"]), Some(Value::Bytes(b"OK".to_vec())));
}

/// The port of the master that a sentinel names; 0: none.
pub fn named_by(sentinel: u16) -> u16 {
    match ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]) {
        Some(Value::Array(parts)) => String::from_utf8_lossy(parts[1].as_bytes().unwrap()).parse().unwrap(),
        _ => 0,
    }
}

pub fn a_failover_on_demand_is_followed_although_the_old_master_still_serves() {
    let Some(mut place) = place("a_failover_on_demand", "") else { return };
    trusted(&no_read_is_older_than_t(&mut place, fail_over));
}

pub fn connections_are_renewed_although_nobody_proves_the_new_master() {
    let Some(mut place) = place("connections_are_renewed", "") else { return };
    place.replica.ask(&["ACL", "SETUSER", "default", "-client|tracking"]);
    let far = no_read_is_older_than_t(&mut place, fail_over);
    assert!(far.problem().is_some_and(|problem| problem.contains("NOPERM")), "{:?}", far.problem());
}

pub fn a_master_that_became_a_replica_is_not_read_over_old_connections() {
    let Some(place) = place("a_master_that_became_a_replica", "") else { return };
    let far = place.options(&[place.sentinel.port], "main").keepers(0).open(place.near("near")).unwrap();
    far.set("app:k", "v", Expiry::Never).unwrap();
    // The sentinel does not know, and will name this server until it does.
    place.master.ask(&["REPLICAOF", "127.0.0.1", &place.ports[1].to_string()]);
    assert!(matches!(far.get("app:k"), Err(Error::Connection(text)) if text.contains("replica")));
    assert!(far.set("app:k", "w", Expiry::Never).is_err());
}

pub fn a_sentinel_that_names_a_replica_is_not_believed() {
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
