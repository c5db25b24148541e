//! A proxy between trackers and the server, which a test freezes: its connections stay open, and nothing passes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub struct Proxy {
    is_frozen: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(at: &Path, to: &Path) -> Self {
        let listener = UnixListener::bind(at).unwrap();
        let is_frozen = Arc::<AtomicBool>::default();
        let (frozen, to) = (Arc::clone(&is_frozen), to.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (frozen, to) = (Arc::clone(&frozen), to.clone());
                thread::spawn(move || join(&frozen, client, &to));
            }
        });
        Self { is_frozen }
    }

    pub fn freeze(&self, freeze: bool) {
        self.is_frozen.store(freeze, Ordering::SeqCst);
    }
}

fn join(frozen: &Arc<AtomicBool>, client: UnixStream, to: &PathBuf) {
    wait(frozen);
    let Ok(server) = UnixStream::connect(to) else { return };
    let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let of_thread = Arc::clone(frozen);
    thread::spawn(move || pass(&of_thread, client, to_server));
    pass(frozen, server, to_client);
}

fn wait(frozen: &AtomicBool) {
    while frozen.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn pass(frozen: &AtomicBool, mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        wait(frozen);
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
