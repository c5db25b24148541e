//! A forked child uses the far tier with connections and a keeper of its own.
#![cfg(unix)]
#![allow(unsafe_code, reason = "there is no safe fork")]

// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Expiry, Options};
use patience::until;
use server::Server;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work` in a child; the number of the child.
fn fork(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: no other thread of this process holds a lock of the C library for long; the child ends without running
    // what the parent registered for its end.
    match unsafe { libc::fork() } {
        0 => {
            let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
            // SAFETY: this only ends the child.
            unsafe { libc::_exit(status) }
        }
        pid => pid,
    }
}

fn wait(pid: libc::pid_t) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a local variable.
        if unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == pid {
            return libc::WEXITSTATUS(status);
        }
        if Instant::now() > deadline {
            // SAFETY: the child was not waited for, so its number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_child_has_connections_and_a_keeper_of_its_own_and_takes_the_seat_of_its_parent() {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    let options = Options::new(server.url()).prefix("app:").max_staleness(Duration::from_millis(300)).keepers(1);
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(folder.path().join("near")).unwrap();
    far.set("app:k", "parent", Expiry::Never).unwrap();
    until("the parent's tracker", || far.get("app:k").unwrap().is_some() && far.stats().hits > 0);
    assert_eq!(far.stats().tracked, 1);
    let of_child = far.clone();
    let child = fork(move || {
        assert_eq!(of_child.get("app:k").unwrap().as_deref(), Some(&b"parent"[..]));
        of_child.set("app:k", "child", Expiry::Never).unwrap();
        assert_eq!(of_child.get("app:k").unwrap().as_deref(), Some(&b"child"[..]));
        // The parent gives its seat up when it sees this.
        until("the child's tracker", || of_child.stats().tracked == 2);
        let hits = of_child.stats().hits;
        until("a near hit", || of_child.get("app:k").unwrap().is_some() && of_child.stats().hits > hits + 10);
    });
    until("the child's write", || far.get("app:k").unwrap().as_deref() == Some(b"child"));
    // Both still answer, each over connections of its own.
    for n in 0..50 {
        far.set("app:n", n.to_string(), Expiry::Never).unwrap();
        assert_eq!(far.get_fresh("app:n").unwrap(), Some(n.to_string().into_bytes()));
    }
    assert_eq!(far.stats().tracked, 1, "the child does not take a seat that is held");
    drop(far);
    until("the end of the parent's connection, whose socket the child has, too", || {
        let list = server.ask(&["CLIENT", "LIST"]);
        let list = String::from_utf8_lossy(list.as_bytes().unwrap_or_default()).into_owned();
        list.lines().filter(|line| line.contains("flags=B") || line.contains("flags=tB")).count() <= 1
    });
    assert_eq!(wait(child), 0, "the child failed");
}

#[test]
fn a_stopped_tracker_is_replaced_by_a_volunteer_until_it_goes_on() {
    let Some(program) = server::program() else { return };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    let t = Duration::from_millis(300);
    let options = Options::new(server.url()).prefix("app:").max_staleness(t).keepers(1);
    let options = options.near(kennel::Options::new().capacity(1 << 20));
    let near = folder.path().join("near");
    let of_child = (options.clone(), near.clone());
    let holder = fork(move || {
        let _far = of_child.0.open(&of_child.1).unwrap();
        thread::sleep(Duration::from_secs(60));
    });
    let trackers = || {
        let list = server.ask(&["CLIENT", "LIST"]);
        let list = String::from_utf8_lossy(list.as_bytes().unwrap_or_default()).into_owned();
        list.lines()
            .filter(|line| line.split(' ').any(|field| field.starts_with("flags=") && field.contains('B')))
            .count()
    };
    until("the holder to track", || trackers() == 1);
    let far = options.open(&near).unwrap();
    let is_near = || {
        let hits = far.stats().absent_hits;
        far.get("app:nothing").unwrap();
        far.get("app:nothing").unwrap();
        far.stats().absent_hits > hits
    };
    until("the holder's proof", is_near);
    assert_eq!(far.stats().tracked, 0);
    // SAFETY: the child was not waited for, so its number is its own.
    let signal = |signal| assert_eq!(unsafe { libc::kill(holder, signal) }, 0);
    signal(libc::SIGSTOP);
    let stopped = Instant::now();
    thread::sleep(t + t / 4);
    until("a volunteer", || far.stats().proofs > 0);
    assert!(stopped.elapsed() < t * 20, "after {:?}", stopped.elapsed());
    until("the volunteer's proof", is_near);
    signal(libc::SIGCONT);
    until("the volunteer to leave", || trackers() == 1 && far.problem().is_none());
    let proofs = far.stats().proofs;
    thread::sleep(t * 2);
    assert_eq!(far.stats().proofs, proofs, "only the holder proves");
    assert!(is_near());
    signal(libc::SIGKILL);
    wait(holder);
    until("the seat", || far.stats().proofs > proofs);
}

/// Runs `work` while this thread holds all lock regions from this one on.
fn holding(near: &kennel::Cache, region: u32, work: &dyn Fn()) {
    if region == near.stats().lock_regions {
        return work();
    }
    near.while_locked(region, || holding(near, region + 1, work)).unwrap();
}

#[test]
fn a_tracker_that_is_stopped_while_it_holds_all_stripes_costs_far_reads_and_no_wrong_value() {
    let Some(program) = server::program() else { return };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    let t = Duration::from_millis(500);
    let options = Options::new(server.url()).prefix("app:").max_staleness(t).keepers(1);
    let options = options.near(kennel::Options::new().capacity(1 << 20).stripes(4));
    let near = folder.path().join("near");
    let of_child = (options.clone(), near.clone());
    let stopped = fork(move || {
        let far = of_child.0.open(&of_child.1).unwrap();
        until("a proof", || far.stats().proofs > 0);
        let file = kennel::Options::new().open(&of_child.1).unwrap();
        // SAFETY: this stops the process itself.
        holding(&file, 0, &|| assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0));
        thread::sleep(Duration::from_secs(60));
    });
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{stopped}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    until("the tracker to stop", is_stopped);
    let far = options.open(&near).unwrap();
    let value = |far: &kennel_far::Far| String::from_utf8(far.get("app:k").unwrap().unwrap_or_default()).unwrap();
    for n in 0..5 {
        far.set("app:k", n.to_string(), Expiry::Never).unwrap();
        assert_eq!(value(&far), n.to_string());
    }
    until("a volunteer's proof", || far.stats().proofs > 0);
    server.ask(&["SET", "app:k", "of another"]);
    let changed = Instant::now();
    until("the other's value", || {
        let began = changed.elapsed();
        let is_new = value(&far) == "of another";
        assert!(is_new || began < t, "not seen {began:?} later");
        is_new
    });
    far.set("app:k", "own", Expiry::Never).unwrap();
    assert_eq!(value(&far), "own");
    let stats = far.stats();
    assert!(stats.escalations > 0 && stats.fills == 0 && stats.unshielded == 0, "{stats:?}");
    // SAFETY: the child was not waited for, so its number is its own.
    let signal = |signal| assert_eq!(unsafe { libc::kill(stopped, signal) }, 0);
    signal(libc::SIGCONT);
    until("a near hit", || {
        let hits = far.stats().hits;
        value(&far) == "own" && far.stats().hits > hits
    });
    signal(libc::SIGKILL);
    wait(stopped);
}

#[test]
fn children_that_are_forked_while_other_threads_are_in_calls_do_not_hang() {
    let Some(program) = server::program() else { return };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    let options = Options::new(server.url()).prefix("app:").max_staleness(Duration::from_millis(100));
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(folder.path().join("near")).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..3 {
            let (far, is_over) = (&far, &is_over);
            scope.spawn(move || {
                for n in 0.. {
                    if is_over.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    far.set(format!("app:{thread}"), n.to_string(), Expiry::Never).unwrap();
                    far.get_fresh(format!("app:{thread}")).unwrap();
                    far.get(format!("app:{thread}")).unwrap();
                }
            });
        }
        let statuses: Vec<i32> = (0..20)
            .map(|n| {
                let of_child = far.clone();
                let child = fork(move || {
                    let key = format!("app:child:{n}");
                    of_child.set(&key, "v", Expiry::Never).unwrap();
                    assert_eq!(of_child.get(&key).unwrap().as_deref(), Some(&b"v"[..]));
                });
                wait(child)
            })
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(statuses, [0; 20]);
    });
}
