//! Servers that refuse a tracker: the reason is said in words, and data calls work as far as they may.
#![cfg(unix)]

// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Error, Expiry, Far, Options, Tracking};
use server::Server;
use std::thread;
use std::time::{Duration, Instant};

struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

fn place(test: &str, more: &[&str]) -> Option<Place> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Some(Place { server: Server::start_with(&program, folder.path(), more).expect("the server starts"), folder })
}

impl Place {
    fn options(&self, login: &str) -> Options {
        Options::new(format!("unix://{login}{}", self.server.socket().display()))
            .prefix("app:")
            .max_staleness(Duration::from_millis(500))
            .near(kennel::Options::new().capacity(1 << 20))
    }

    fn open(&self, login: &str, near: &str) -> Far {
        self.options(login).open(self.folder.path().join(near)).unwrap()
    }
}

/// Waits for a problem that says all of this.
fn says(far: &Far, words: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let problem = far.problem().unwrap_or_default();
        if words.iter().all(|word| problem.contains(word)) {
            assert_eq!((far.proof_age(), far.stats().hits), (None, 0));
            return;
        }
        assert!(Instant::now() < deadline, "the problem is {problem:?}, without {words:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn works(far: &Far) {
    far.set("app:k", "v", Expiry::Never).unwrap();
    assert_eq!(far.get("app:k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(far.get("app:k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn a_server_that_speaks_resp2_only_serves_data_without_tracking() {
    let Some(place) = place("a_server_that_speaks_resp2_only", &["--rename-command", "HELLO", ""]) else { return };
    let far = place.open("", "near");
    works(&far);
    says(&far, &["does not speak RESP3", "Tracking::Off"]);
    let off = place.options("").tracking(Tracking::Off).open(place.folder.path().join("near-off")).unwrap();
    works(&off);
    assert_eq!((off.problem(), off.stats().hits), (None, 1));
}

#[test]
fn a_user_that_may_not_track_or_log_in_is_told_so() {
    let Some(place) = place("a_user_that_may_not_track", &[]) else { return };
    place.server.ask(&["ACL", "SETUSER", "app", "on", ">p@ss", "~*", "+@all", "-client|tracking"]);
    let far = place.open("app:p%40ss@", "near");
    works(&far);
    says(&far, &["may not use CLIENT TRACKING", "NOPERM"]);
    let wrong = place.open("app:wrong@", "near-wrong");
    let Err(error) = wrong.get("app:k") else { panic!("a wrong password") };
    assert!(matches!(&error, Error::Server(text) if text.contains("WRONGPASS")), "{error}");
    says(&wrong, &["WRONGPASS"]);
    let nobody = place.open("nobody:p@", "near-nobody");
    assert!(nobody.set("app:k", "v", Expiry::Never).is_err());
    says(&nobody, &["WRONGPASS"]);
}

#[test]
fn a_server_that_wants_a_password_says_so() {
    let Some(place) = place("a_server_that_wants_a_password", &["--masterauth", "x"]) else { return };
    place.server.ask(&["CONFIG", "SET", "requirepass", "s3cret"]);
    let far = place.open("", "near");
    let Err(error) = far.get("app:k") else { panic!("no password") };
    assert!(matches!(&error, Error::Server(text) if text.contains("NOAUTH")), "{error}");
    says(&far, &["wants a password", "NOAUTH"]);
    works(&place.open(":s3cret@", "near-with"));
}

#[test]
fn a_replica_is_not_the_master() {
    let Some(place) = place("a_replica_is_not_the_master", &["--replicaof", "127.0.0.1", "1"]) else { return };
    let far = place.open("", "near");
    let Err(error) = far.get("app:k") else { panic!("a replica") };
    assert!(error.to_string().contains("it is a replica, not a master"), "{error}");
    says(&far, &["it is a replica, not a master"]);
}

#[test]
fn a_place_where_nobody_listens_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix://{}", folder.path().join("nobody.sock").display());
    let options = Options::new(url).prefix("app:").near(kennel::Options::new().capacity(1 << 20));
    let far = options.open(folder.path().join("near")).unwrap();
    assert!(matches!(far.get("app:k"), Err(Error::Connection(_))));
    says(&far, &["nobody.sock"]);
}
