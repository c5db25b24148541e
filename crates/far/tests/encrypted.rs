//! A cluster and a master behind sentinels that speak TLS. Without a server that was built with it, these tests say so and
//! are left out.
#![cfg(unix)]

#[path = "common/authority.rs"]
mod authority;
// The test `cluster` uses the rest of it.
#[allow(dead_code)]
#[path = "common/nodes.rs"]
mod nodes;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/port.rs"]
mod port;
// The test `sentinel` uses the rest of it.
#[allow(dead_code)]
#[path = "common/sentinels.rs"]
mod sentinels;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use authority::Authority;
use kennel_far::resp::Value;
use kennel_far::{Error, Expiry, Far, Options, Tls};
use nodes::{Certificate, Cluster, slots_of};
use patience::until;
use port::free_port;
use sentinels::{Sentinel, ask, named_by, order_failover};
use server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);

/// A program that speaks TLS, and the files of a server at this host. All show one another the same certificate.
struct Place {
    program: PathBuf,
    files: Certificate,
    folder: tempfile::TempDir,
}

fn place(test: &str) -> Option<Place> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, key) = authority.issue("server", &["127.0.0.1"], 2100);
    let files = Certificate { authority: authority.file(), certificate, key };
    let options = options_of(&files, free_port());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let speaks_tls = |program: &PathBuf| Server::start_with(program, folder.path(), &options).is_some();
    let program = server::programs().into_iter().find(speaks_tls);
    if program.is_none() {
        println!("{test}: left out, because there is no redis-server or valkey-server that was built with TLS");
    }
    Some(Place { program: std::path::absolute(program?).unwrap(), files, folder })
}

fn options_of(files: &Certificate, port: u16) -> Vec<String> {
    let [authority, certificate, key] =
        [&files.authority, &files.certificate, &files.key].map(|file| file.display().to_string());
    let own = ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let more = ["--tls-ca-cert-file", &authority, "--tls-replication", "yes"];
    own.into_iter().chain(more).map(str::to_owned).collect()
}

impl Place {
    fn tls(&self) -> Tls {
        Tls::new().authorities(&self.files.authority).identity(&self.files.certificate, &self.files.key)
    }

    fn options(&self, url: String, tls: Tls) -> Options {
        let options = Options::new(url).prefix("app:").max_staleness(T).timeout(Duration::from_secs(10));
        options.tls(tls).near(kennel::Options::new().capacity(1 << 20))
    }

    fn near(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a data call and the tracker say of servers that they do not use.
    fn refusal(&self, options: &Options, near: &str) -> String {
        let far = options.clone().timeout(Duration::from_secs(2)).open(self.near(near)).unwrap();
        let Err(Error::Connection(text)) = far.get("app:k") else { panic!("a server was used") };
        until("the tracker's problem", || far.problem().is_some());
        assert_eq!((far.stats().proofs, far.stats().fills), (0, 0));
        text
    }
}

/// Whether the near tier answered the last read, and with this value.
fn is_near(far: &Far, key: &str, value: &str) -> bool {
    let hits = far.stats().hits;
    far.get(key).is_ok_and(|found| found.as_deref() == Some(value.as_bytes())) && far.stats().hits > hits
}

/// A change by somebody else is seen by each read that begins T later.
fn sees(far: &Far, key: &str, value: &str, set: impl FnOnce()) {
    set();
    let changed = Instant::now();
    until("the other's value", || {
        let began = changed.elapsed();
        let is_new = far.get(key).unwrap().as_deref() == Some(value.as_bytes());
        assert!(is_new || began < T, "{key}: not seen {began:?} later");
        is_new
    });
    until("the other's value near", || is_near(far, key, value));
}

#[test]
fn a_cluster_is_tracked_and_its_redirects_are_followed() {
    let Some(place) = place("a_cluster_is_tracked") else { return };
    let cluster = Cluster::start_with(&place.program, place.folder.path(), Some(place.files.clone()));
    let options = place.options(cluster.url(), place.tls());
    let far = options.open(place.near("near")).unwrap();
    let is_proved = || {
        let slots: usize = far.masters().iter().map(|master| master.slots).sum();
        slots == 16_384 && far.proof_age().is_some_and(|age| age < T)
    };
    until("all masters to be proved", is_proved);
    let keys: Vec<String> = (0..3)
        .map(|master| {
            let mut keys = (0..).map(|n| format!("app:{n}"));
            keys.find(|key| slots_of(master).contains(&cluster.slot_of(key))).unwrap()
        })
        .collect();
    for (node, key) in keys.iter().enumerate() {
        far.set(key, "v", Expiry::Never).unwrap();
        until("a near value", || is_near(&far, key, "v"));
        sees(&far, key, "w", || drop(cluster.nodes[node].ask(&["SET", key, "w"])));
    }
    // Nothing of this went around the encryption: the port without it has this test's connections only.
    for node in &cluster.nodes[..3] {
        let clients = node.text(&["CLIENT", "LIST"]);
        let of_plain = clients.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{} ", node.port)));
        assert_eq!(of_plain.count(), 1, "{clients}");
        assert!(clients.lines().any(|line| line.contains(&format!("laddr=127.0.0.1:{} ", node.public))), "{clients}");
    }
    let slot = cluster.slot_of(&keys[0]);
    cluster.move_slot(slot, 0, 1);
    cluster.until("the slot to move", |cluster| cluster.owner(slot) == Some(1));
    far.set(&keys[0], "x", Expiry::Never).unwrap();
    until("a near value at the new master", || is_near(&far, &keys[0], "x"));
    sees(&far, &keys[0], "y", || drop(cluster.nodes[1].ask(&["SET", &keys[0], "y"])));
    assert!(cluster.fail_over(3, slots_of(0).start));
    until("all masters to be proved", is_proved);
    let key = (0..).map(|n| format!("app:after-{n}"));
    let key = key.into_iter().find(|key| cluster.owner(cluster.slot_of(key)) == Some(3)).unwrap();
    far.set(&key, "v", Expiry::Never).unwrap();
    sees(&far, &key, "w", || drop(cluster.nodes[3].ask(&["SET", &key, "w"])));
    let stranger = Authority::new(place.folder.path(), "stranger");
    let text = place.refusal(&place.options(cluster.url(), place.tls().authorities(stranger.file())), "near-b");
    assert!(text.contains("UnknownIssuer"), "{text}");
    let bare = Tls::new().authorities(&place.files.authority);
    let text = place.refusal(&place.options(cluster.url(), bare), "near-c");
    assert!(text.contains("certificate of the client"), "{text}");
}

/// A server and its options, at a port with TLS; `master`: of which it is a replica.
fn server(place: &Place, name: &str, port: u16, master: Option<u16>) -> Server {
    let folder = place.near(name);
    fs::create_dir(&folder).unwrap();
    let mut options = options_of(&place.files, port);
    if let Some(master) = master {
        options.extend(["--replicaof".into(), "127.0.0.1".into(), master.to_string()]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Server::start_with(&place.program, &folder, &options).unwrap()
}

/// A sentinel at two ports, of which the second speaks TLS.
fn sentinel(place: &Place, name: &str, files: &Certificate, master: u16) -> (Sentinel, u16) {
    let (folder, port) = (place.near(name), free_port());
    fs::create_dir(&folder).unwrap();
    let show = |file: &Path| file.display().to_string();
    let own = format!("tls-cert-file {}\ntls-key-file {}", show(&files.certificate), show(&files.key));
    let more =
        format!("tls-port {port}\n{own}\ntls-ca-cert-file {}\ntls-replication yes", show(&place.files.authority));
    (Sentinel::start(&place.program, &folder, master, &more), port)
}

#[test]
fn sentinels_lead_to_a_master_and_to_the_next_one() {
    let Some(place) = place("sentinels_lead_to_a_master") else { return };
    let ports = [free_port(), free_port()];
    let master = server(&place, "master", ports[0], None);
    let replica = server(&place, "replica", ports[1], Some(ports[0]));
    let (watching, port) = sentinel(&place, "sentinel", &place.files, ports[0]);
    until(
        "the sentinel to know the replica",
        || matches!(ask(watching.port, &["SENTINEL", "REPLICAS", "main"]), Some(Value::Array(known)) if known.len() == 1),
    );
    until("the replica's link", || {
        let info = replica.ask(&["INFO", "replication"]);
        String::from_utf8_lossy(info.as_bytes().unwrap()).contains("master_link_status:up")
    });
    // One whose certificate nobody vouches for is passed over.
    let stranger = Authority::new(place.folder.path(), "stranger");
    let (certificate, key) = stranger.issue("strange", &["127.0.0.1"], 2100);
    let strange = Certificate { certificate, key, ..place.files.clone() };
    let (_liar, of_liar) = sentinel(&place, "liar", &strange, ports[1]);
    let url = |sentinels: &str| format!("rediss-sentinel://{sentinels}/main");
    let both = url(&format!("127.0.0.1:{of_liar},127.0.0.1:{port}"));
    let far = place.options(both, place.tls()).open(place.near("near")).unwrap();
    far.set("app:k", "v", Expiry::Never).unwrap();
    until("a near value", || is_near(&far, "app:k", "v"));
    sees(&far, "app:k", "w", || drop(master.ask(&["SET", "app:k", "w"])));
    order_failover(watching.port);
    until("the sentinel to name the other server", || named_by(watching.port) == ports[1]);
    // The old one acknowledges writes, too, until the sentinel has made a replica of it.
    until("a write at the new master", || {
        let is_done = far.set("app:n", "v", Expiry::Never).is_ok();
        is_done && replica.ask(&["GET", "app:n"]) == Value::Bytes(b"v".to_vec())
    });
    until("a near value", || is_near(&far, "app:n", "v"));
    sees(&far, "app:n", "w", || drop(replica.ask(&["SET", "app:n", "w"])));
    let text = place.refusal(&place.options(url(&format!("127.0.0.1:{of_liar}")), place.tls()), "near-b");
    assert!(text.contains("UnknownIssuer"), "{text}");
    let plain = url(&format!("127.0.0.1:{}", watching.port));
    let text = place.refusal(&place.options(plain, place.tls()), "near-c");
    assert!(text.contains("TLS"), "{text}");
    thread::sleep(T);
    assert!(is_near(&far, "app:n", "w"));
}
