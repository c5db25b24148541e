//! TLS to a real server that was built with it. Without one, these tests say so and are left out.
#![cfg(unix)]

#[path = "common/authority.rs"]
mod authority;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[path = "common/port.rs"]
mod port;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use authority::Authority;
use kennel_far::{Error, Expiry, Far, Options, Tls};
use patience::until;
use port::free_port;
use server::Server;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);
/// Until a call gives up.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Place {
    server: Server,
    port: u16,
    authority: Authority,
    folder: tempfile::TempDir,
}

/// A server that shows a certificate for these names; it asks for one of the client if `asks`.
fn place(test: &str, names: &[&str], year_of_end: i32, asks: bool) -> Option<Place> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, key) = authority.issue("server", names, year_of_end);
    let port = free_port();
    let file = authority.file();
    let [certificate, key, file] = [&certificate, &key, &file].map(|path| path.to_str().unwrap());
    let (number, asks) = (port.to_string(), if asks { "yes" } else { "no" });
    let options = ["--tls-port", &number, "--tls-cert-file", certificate, "--tls-key-file", key];
    let more = ["--tls-ca-cert-file", file, "--tls-auth-clients", asks];
    let options = [&options[..], &more[..]].concat();
    let started =
        server::programs().into_iter().find_map(|program| Server::start_with(&program, folder.path(), &options));
    let Some(server) = started else {
        println!("{test}: left out, because there is no redis-server or valkey-server that was built with TLS");
        return None;
    };
    Some(Place { server, port, authority, folder })
}

impl Place {
    fn tls(&self) -> Tls {
        Tls::new().authorities(self.authority.file())
    }

    fn options(&self, host: &str, port: u16, tls: Tls) -> Options {
        let options = Options::new(format!("rediss://{host}:{port}")).prefix("app:").max_staleness(T).timeout(TIMEOUT);
        options.tls(tls).near(kennel::Options::new().capacity(1 << 20))
    }

    fn open(&self, options: &Options) -> Far {
        options.open(self.folder.path().join("near")).unwrap()
    }

    /// What a data call and the tracker say of a server that they do not use.
    fn refusal(&self, options: &Options) -> String {
        let far = self.open(options);
        let began = Instant::now();
        let Err(Error::Connection(text)) = far.get("app:k") else { panic!("it was used") };
        assert!(began.elapsed() < TIMEOUT * 2, "{text} after {:?}", began.elapsed());
        until(&format!("the tracker's {text:?}"), || far.problem().is_some_and(|problem| problem.contains(&text)));
        assert_eq!(far.stats().proofs, 0);
        text
    }
}

/// Reads until the near tier answers.
fn trusted(far: &Far) {
    until("the near tier to be proved", || {
        let hits = far.stats().absent_hits;
        far.get("app:nothing").unwrap();
        far.stats().absent_hits > hits
    });
}

/// A proxy that passes on what the server sends in pieces of a few bytes, and all in all no more than `most` bytes.
struct Proxy {
    port: u16,
    most: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(to: u16, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, most) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(most)));
        let left = Arc::clone(&most);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let left = Arc::clone(&left);
                thread::spawn(move || {
                    let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                    client.set_nodelay(true).unwrap();
                    let (of_client, of_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let unlimited = AtomicUsize::new(usize::MAX);
                    thread::spawn(move || pass(of_client, of_server, &unlimited, 1 << 16));
                    pass(server, client, &left, 7);
                });
            }
        });
        Self { port, most }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, most: &AtomicUsize, piece: usize) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        for piece in bytes[..len].chunks(piece) {
            while most.load(Ordering::SeqCst) < piece.len() {
                thread::sleep(Duration::from_millis(5));
            }
            most.fetch_sub(piece.len(), Ordering::SeqCst);
            if to.write_all(piece).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn both_sides_show_certificates_and_every_call_works() {
    let Some(place) = place("both_sides_show_certificates", &["localhost", "127.0.0.1"], 2100, true) else { return };
    let (certificate, key) = place.authority.issue("client", &[], 2100);
    let tls = place.tls().identity(certificate, key);
    for (host, near) in [("127.0.0.1", "near-a"), ("localhost", "near-b")] {
        let far = place.options(host, place.port, tls.clone()).open(place.folder.path().join(near)).unwrap();
        trusted(&far);
        far.set("app:k", "v", Expiry::Never).unwrap();
        assert_eq!(far.get("app:k").unwrap().as_deref(), Some(&b"v"[..]));
        // Larger than a record of TLS, and than what is read at once.
        let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        far.set("app:large", &large, Expiry::Never).unwrap();
        assert!(far.get("app:large").unwrap() == Some(large));
        assert_eq!(far.incr("app:n", 5).unwrap(), if near == "near-a" { 5 } else { 10 });
        until("a near value", || {
            let hits = far.stats().hits;
            far.get("app:k").unwrap();
            far.stats().hits > hits
        });
        place.server.ask(&["SET", "app:k", "other"]);
        until("a push", || far.get("app:k").unwrap().as_deref() == Some(b"other"));
        // A burst of pushes, of which TLS decrypts several at once.
        let pushed = far.stats().pushed_keys;
        place.server.ask(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'app:' .. i, i) end", "0"]);
        until("5000 pushes", || far.stats().pushed_keys >= pushed + 5000);
    }
    let text = place.refusal(&place.options("127.0.0.1", place.port, place.tls()));
    assert!(text.contains("certificate of the client"), "{text}");
    let stranger = Authority::new(place.folder.path(), "stranger").issue("stranger-client", &[], 2100);
    let text = place.refusal(&place.options("127.0.0.1", place.port, place.tls().identity(stranger.0, stranger.1)));
    assert!(text.contains("refused the connection"), "{text}");
}

#[test]
fn a_server_that_is_not_the_right_one_is_not_used() {
    let Some(place) = place("a_server_that_is_not_the_right_one", &["cache.internal"], 2100, false) else { return };
    let named = place.tls().server_name("cache.internal");
    trusted(&place.open(&place.options("127.0.0.1", place.port, named.clone())));
    let text = place.refusal(&place.options("127.0.0.1", place.port, place.tls()));
    assert!(text.contains("not valid for name"), "{text}");
    let text = place.refusal(&place.options("127.0.0.1", place.port, place.tls().server_name("other.internal")));
    assert!(text.contains("not valid for name"), "{text}");
    let stranger = Authority::new(place.folder.path(), "stranger");
    let text = place.refusal(&place.options("127.0.0.1", place.port, named.authorities(stranger.file())));
    assert!(text.contains("UnknownIssuer"), "{text}");
    // Without a CA file, the system's authorities decide.
    if let Ok(far) = place
        .options("localhost", place.port, Tls::new().server_name("cache.internal"))
        .open(place.folder.path().join("near"))
    {
        assert!(far.get("app:k").is_err());
    }
}

#[test]
fn a_certificate_that_has_expired_is_refused() {
    let Some(place) = place("a_certificate_that_has_expired", &["localhost"], 2021, false) else { return };
    let text = place.refusal(&place.options("localhost", place.port, place.tls()));
    assert!(text.contains("expired"), "{text}");
}

#[test]
fn a_port_without_tls_and_tls_at_a_plain_url_are_clear_errors() {
    let Some(place) = place("a_port_without_tls", &["localhost"], 2100, false) else { return };
    let plain = free_port();
    place.server.ask(&["CONFIG", "SET", "port", &plain.to_string()]);
    let text = place.refusal(&place.options("localhost", plain, place.tls()));
    assert!(text.contains("is it a port without TLS?") || text.contains("closed the connection"), "{text}");
    let far =
        Options::new(format!("redis://localhost:{}", place.port)).prefix("app:").max_staleness(T).timeout(TIMEOUT);
    let far = far.open(place.folder.path().join("near")).unwrap();
    let began = Instant::now();
    assert!(matches!(far.get("app:k"), Err(Error::Connection(_))));
    until("the tracker's problem", || far.problem().is_some());
    assert!(began.elapsed() < TIMEOUT * 3);
    // Something that is no server at all.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in web.incoming().flatten() {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let text = place.refusal(&place.options("localhost", port, place.tls()));
    assert!(text.contains("is it a port without TLS?"), "{text}");
}

#[test]
fn a_handshake_that_stops_half_way_ends_in_time() {
    let Some(place) = place("a_handshake_that_stops_half_way", &["127.0.0.1"], 2100, false) else { return };
    for most in [0, 3, 100, 700] {
        let proxy = Proxy::start(place.port, most);
        let began = Instant::now();
        let far = place
            .options("127.0.0.1", proxy.port, place.tls())
            .keepers(0)
            .timeout(T)
            .open(place.folder.path().join("near"));
        let Err(Error::Connection(text)) = far.unwrap().get("app:k") else { panic!("it was used") };
        assert!(text.contains("in time"), "{text}");
        assert!((T..T * 3).contains(&began.elapsed()), "{most} bytes: {:?}", began.elapsed());
    }
}

#[test]
fn records_may_come_in_pieces_and_stop_in_the_middle() {
    let Some(place) = place("records_may_come_in_pieces", &["127.0.0.1"], 2100, false) else { return };
    let proxy = Proxy::start(place.port, usize::MAX >> 1);
    let far = place.open(&place.options("127.0.0.1", proxy.port, place.tls()));
    trusted(&far);
    let value: Vec<u8> = (0..100_000_u32).map(|i| (i % 13) as u8).collect();
    far.set("app:k", &value, Expiry::Never).unwrap();
    assert!(far.get("app:k").unwrap().as_ref() == Some(&value));
    // From now on records end in the middle: nothing is proved any more, and calls end in time.
    proxy.most.store(10, Ordering::SeqCst);
    thread::sleep(T + T / 2);
    let began = Instant::now();
    let Err(Error::Connection(text)) = far.get("app:k") else { panic!("a value came") };
    assert!(began.elapsed() < TIMEOUT * 3, "{text} after {:?}", began.elapsed());
    until("the tracker to give up", || far.problem().is_some_and(|problem| problem.contains("in time")));
    proxy.most.store(usize::MAX >> 1, Ordering::SeqCst);
    until("the next connection", || far.get("app:k").is_ok_and(|found| found.as_ref() == Some(&value)));
    trusted(&far);
}

#[test]
fn files_that_do_not_fit_are_refused_when_the_far_tier_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, key) = authority.issue("client", &[], 2100);
    let (_, other_key) = authority.issue("other", &[], 2100);
    let empty = folder.path().join("empty");
    fs::write(&empty, "no certificate").unwrap();
    let missing = folder.path().join("missing");
    let tls = || Tls::new().authorities(authority.file());
    let bad = [
        Tls::new().authorities(&missing),
        Tls::new().authorities(&empty),
        Tls::new().authorities(&key),
        tls().identity(&missing, &key),
        tls().identity(&certificate, &missing),
        tls().identity(&certificate, &certificate),
        tls().identity(&certificate, &other_key),
        tls().server_name("no name"),
    ];
    for tls in bad {
        let options = Options::new("rediss://localhost").prefix("app:").tls(tls.clone());
        let opened = options.open(folder.path().join("near"));
        assert!(matches!(opened, Err(Error::Option { .. })), "{tls:?}");
        println!("{}", opened.unwrap_err());
    }
    let plain = Options::new("redis://localhost").prefix("app:").tls(tls());
    assert!(matches!(plain.open(folder.path().join("near")), Err(Error::Option { option: "tls", .. })));
}
