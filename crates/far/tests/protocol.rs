//! What a server pushes to a tracker for each command: this is pinned, since the promises rest on it. Redis 7.0 and 8.2
//! push the same.
#![cfg(unix)]

// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::resp::{Decoder, Value, encode};
use server::Server;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connection, and the pushes that came over it.
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    pushes: Vec<Vec<Value>>,
}

impl Connection {
    fn open(server: &Server) -> Self {
        let stream = UnixStream::connect(server.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, decoder: Decoder::new(1 << 20), pushes: Vec::new() }
    }

    fn ask<P: AsRef<[u8]>>(&mut self, command: &[P]) -> Value {
        let mut out = Vec::new();
        encode(command, &mut out);
        self.stream.write_all(&out).unwrap();
        loop {
            match self.decoder.next_value().unwrap() {
                Some(Value::Push(parts)) => self.pushes.push(parts),
                Some(reply) => return reply,
                None => {
                    let mut bytes = [0; 4096];
                    let len = self.stream.read(&mut bytes).unwrap();
                    assert_ne!(len, 0, "the server closed the connection");
                    self.decoder.feed(&bytes[..len]);
                }
            }
        }
    }

    /// The keys that were pushed up to now, in their order by name; `everything` for a push without keys.
    fn pushed(&mut self) -> Vec<String> {
        self.ask(&["PING"]);
        let mut keys = Vec::new();
        for parts in self.pushes.drain(..) {
            match parts.as_slice() {
                [kind, Value::Array(list)] if kind.as_bytes() == Some(b"invalidate") => {
                    keys.extend(list.iter().map(text))
                }
                [_, Value::Null] => keys.push("everything".to_owned()),
                other => panic!("{other:?}"),
            }
        }
        keys.sort();
        keys
    }
}

fn text(value: &Value) -> String {
    String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap()
}

/// Commands, and what is pushed for them to who tracks `app:`.
const PUSHED: [(&[&str], &[&str]); 40] = [
    (&["SET", "app:k", "new"], &["app:k"]),
    (&["SET", "app:k", "old"], &["app:k"]),
    (&["SET", "app:k", "new", "KEEPTTL"], &["app:k"]),
    (&["SETEX", "app:k", "60", "new"], &["app:k"]),
    (&["GETSET", "app:k", "new"], &["app:k"]),
    (&["MSET", "app:other", "1", "app:k", "new"], &["app:k", "app:other"]),
    (&["MSETNX", "app:x", "1", "app:y", "2"], &["app:x", "app:y"]),
    (&["APPEND", "app:k", "!"], &["app:k"]),
    (&["SETRANGE", "app:k", "0", "g"], &["app:k"]),
    (&["SETBIT", "app:k", "1", "0"], &["app:k"]),
    (&["BITOP", "NOT", "app:k", "app:from"], &["app:k"]),
    (&["INCRBY", "app:n", "2"], &["app:n"]),
    (&["INCRBYFLOAT", "app:n", "0.5"], &["app:n"]),
    (&["DEL", "app:k"], &["app:k"]),
    (&["UNLINK", "app:k"], &["app:k"]),
    (&["GETDEL", "app:k"], &["app:k"]),
    (&["RENAME", "app:from", "app:k"], &["app:from", "app:k"]),
    (&["RENAME", "app:k", "app:to"], &["app:k", "app:to"]),
    (&["RENAME", "app:from", "other"], &["app:from"]),
    (&["COPY", "app:from", "app:k", "REPLACE"], &["app:k"]),
    (&["MOVE", "app:k", "1"], &["app:k"]),
    (&["SORT", "app:numbers", "BY", "nosort", "STORE", "app:k"], &["app:k"]),
    (&["LMOVE", "app:numbers", "app:list", "LEFT", "RIGHT"], &["app:list", "app:numbers"]),
    (&["HSET", "app:h", "field", "1"], &["app:h"]),
    (&["PFADD", "app:pf", "a"], &["app:pf"]),
    (&["EVAL", "return redis.call('SET', KEYS[1], 'script')", "1", "app:k"], &["app:k"]),
    // Times to live: the near tier keeps them, so a change of one must be told.
    (&["GETEX", "app:k", "PX", "60000"], &["app:k"]),
    (&["PERSIST", "app:timed"], &["app:timed"]),
    (&["PEXPIREAT", "app:k", "1000"], &["app:k"]),
    (&["PEXPIRE", "app:k", "0"], &["app:k"]),
    (&["FLUSHDB"], &["everything"]),
    (&["FLUSHALL"], &["everything"]),
    // Nothing is pushed for a swap of databases: trackers notice it by a marker.
    (&["SWAPDB", "0", "1"], &[]),
    // What changes nothing, or other keys.
    (&["GET", "app:k"], &[]),
    (&["TOUCH", "app:k"], &[]),
    (&["SET", "app:k", "new", "NX"], &[]),
    (&["DEL", "app:none"], &[]),
    (&["EXPIRE", "app:none", "1"], &[]),
    (&["SET", "other", "v"], &[]),
    (&["COPY", "app:from", "other"], &[]),
];

#[test]
fn what_is_pushed_for_each_command() {
    let Some(program) = server::program() else {
        println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    let (mut tracker, mut other) = (Connection::open(&server), Connection::open(&server));
    tracker.ask(&["HELLO", "3"]);
    let tracking = tracker.ask(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "app:"]);
    assert_eq!(tracking.as_bytes(), Some(&b"OK"[..]));
    for (command, expected) in PUSHED {
        prepare(&mut other);
        tracker.pushed();
        let reply = other.ask(command);
        assert!(!matches!(reply, Value::Error(_)), "{command:?}: {reply:?}");
        assert_eq!(tracker.pushed(), expected, "{command:?}");
    }
    in_a_transaction(&mut tracker, &mut other);
    restored(&mut tracker, &mut other);
    expired(&mut tracker, &mut other);
}

fn prepare(other: &mut Connection) {
    let commands: [&[&str]; 5] = [
        &["FLUSHALL"],
        &["MSET", "app:from", "moved", "app:k", "old"],
        &["LPUSH", "app:numbers", "1"],
        &["SET", "app:timed", "1", "EX", "100"],
        &["PFADD", "app:pf", "z"],
    ];
    commands.into_iter().for_each(|command| _ = other.ask(command));
}

/// Its keys come when it is executed, and not before.
fn in_a_transaction(tracker: &mut Connection, other: &mut Connection) {
    tracker.pushed();
    let commands: [&[&str]; 3] = [&["MULTI"], &["INCR", "app:a"], &["INCR", "app:b"]];
    commands.into_iter().for_each(|command| _ = other.ask(command));
    assert_eq!(tracker.pushed(), [""; 0]);
    other.ask(&["EXEC"]);
    assert_eq!(tracker.pushed(), ["app:a", "app:b"]);
}

fn restored(tracker: &mut Connection, other: &mut Connection) {
    prepare(other);
    let Value::Bytes(dump) = other.ask(&["DUMP", "app:from"]) else { panic!("no dump") };
    tracker.pushed();
    let restore: [&[u8]; 5] = [b"RESTORE", b"app:k", b"0", &dump, b"REPLACE"];
    other.ask(&restore);
    assert_eq!(tracker.pushed(), ["app:k"]);
}

/// The end of a time to live is pushed when the server removes the key, which a read of it makes it do.
fn expired(tracker: &mut Connection, other: &mut Connection) {
    other.ask(&["SET", "app:k", "v", "PX", "1"]);
    tracker.pushed();
    std::thread::sleep(Duration::from_millis(5));
    other.ask(&["GET", "app:k"]);
    assert_eq!(tracker.pushed(), ["app:k"]);
}
