//! Handled signals interrupt system calls, and no call of the far tier.
#![cfg(unix)]
#![allow(unsafe_code, reason = "there is no safe way to send a signal to a thread")]

// The test `real` uses all of it.
#[path = "common/port.rs"]
mod port;
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Expiry, Far, Options, RedisStore, Store};
use port::free_port;
use server::Server;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn handle(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Handles the signal, and asks for no system call to be begun again.
fn handle_signals() {
    let handler: extern "C" fn(libc::c_int) = handle;
    // SAFETY: zero is a value of each field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the handler only adds to an atomic word.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
}

/// Does work while its thread gets a signal a thousand times a second.
fn interrupted<R>(work: impl FnOnce() -> R) -> R {
    handle_signals();
    // SAFETY: this has no precondition.
    let (this, is_done) = (unsafe { libc::pthread_self() }, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                // SAFETY: the thread does not end before this one.
                unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(1));
            }
        });
        let before = SIGNALS.load(Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(work));
        is_done.store(true, Ordering::Release);
        let done = done.unwrap_or_else(|panic| resume_unwind(panic));
        assert!(SIGNALS.load(Ordering::Relaxed) > before, "no signal came");
        done
    })
}

/// Lets a server answer nobody for a moment. It is told so by a thread that gets no signals.
fn pause(server: &Server) {
    thread::scope(|scope| drop(scope.spawn(|| server.ask(&["CLIENT", "PAUSE", "200", "ALL"])).join().unwrap()));
}

fn calls_go_on(server: &Server, far: &Far) {
    let large = vec![b'x'; 8 << 20];
    interrupted(|| {
        for _ in 0..2 {
            pause(server);
            let began = Instant::now();
            far.set("app:k", &large, Expiry::Never).unwrap();
            assert!(began.elapsed() > Duration::from_millis(100), "the server did not pause");
            pause(server);
            assert_eq!(far.get_fresh("app:k").unwrap().unwrap().len(), large.len());
            pause(server);
            assert_eq!(far.get_multi(&["app:k", "app:none"]).unwrap()[1], None);
            pause(server);
            assert!(far.delete("app:k").unwrap());
        }
    });
}

#[test]
fn a_call_that_signals_interrupt_goes_on() {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let port = free_port();
    let server = Server::start_with(&program, folder.path(), &["--port", &port.to_string()]).unwrap();
    for url in [server.url(), format!("redis://127.0.0.1:{port}")] {
        let near = folder.path().join(format!("near-{}", url.len()));
        // No connection is made before the first call, and the keeper's thread gets no signals.
        let options = Options::new(url).prefix("app:").near(kennel::Options::new().capacity(1 << 20));
        let far = options.timeout(Duration::from_secs(20)).open(near).unwrap();
        calls_go_on(&server, &far);
    }
}

/// A Unix socket for whose server the system holds no more connections, and the one that it holds.
fn full_socket(folder: &Path) -> (PathBuf, UnixListener, UnixStream) {
    let path = folder.join("server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // SAFETY: the descriptor is that of the listener.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let first = UnixStream::connect(&path).unwrap();
    (path, listener, first)
}

/// A server that is behind with accepting makes those who connect wait, where a signal ends the wait.
#[test]
fn a_connection_that_signals_interrupt_comes_about() {
    let folder = tempfile::tempdir().unwrap();
    let (path, listener, first) = full_socket(folder.path());
    let store = RedisStore::open(&format!("unix://{}", path.display()), Duration::from_secs(20)).unwrap();
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        drop((listener.accept().unwrap(), first));
        let (mut stream, _) = listener.accept().unwrap();
        let mut command = [0; 1000];
        assert!(stream.read(&mut command).unwrap() > 0);
        stream.write_all(b"-NOPERM no\r\n-NOPERM no\r\n").unwrap();
        assert!(stream.read(&mut command).unwrap() > 0);
        stream.write_all(b"+PONG\r\n").unwrap();
    });
    let began = Instant::now();
    let reply = interrupted(|| store.call(&[b"PING"])).unwrap();
    assert!(began.elapsed() > Duration::from_millis(100), "the connection did not wait");
    assert_eq!(reply.value.as_bytes(), Some(b"PONG".as_slice()));
    server.join().unwrap();
}

/// A server that is stopped accepts nobody: who connects to it waits for as long as was asked for.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_nobody_accepts_is_given_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _listener, _first) = full_socket(folder.path());
    let limit = Duration::from_millis(200);
    let store = RedisStore::open(&format!("unix://{}", path.display()), limit).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let began = Instant::now();
        let plain = store.call(&[b"PING"]).unwrap_err();
        let waited = began.elapsed();
        done.send((plain, waited, interrupted(|| store.call(&[b"PING"])).unwrap_err())).unwrap();
    });
    // Without a limit the thread would wait for ever, and the test with it.
    let (plain, waited, disturbed) = is_done.recv_timeout(Duration::from_secs(20)).expect("a wait without an end");
    assert!(waited >= limit - Duration::from_millis(20), "{waited:?}");
    for error in [plain, disturbed] {
        assert!(matches!(&error, kennel_far::Error::Connection(text) if text.contains("did not accept")), "{error}");
    }
}
