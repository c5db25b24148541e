//! A batch of a cluster whose masters are played by the test: who is asked when, and what a master that fails costs.
#![cfg(unix)]

use kennel_far::resp::{Decoder, Value};
use kennel_far::{Error, Far, Options, Tracking};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What a master does with a `GET`.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// It answers at once.
    Well,
    /// It answers when all masters have been asked.
    Together,
    /// It answers nothing.
    Silent,
    /// It answers nothing, not even who it is.
    Deaf,
}

/// Two masters, each with half of the slots.
struct Masters {
    ports: [u16; 2],
    moods: Mutex<[Mood; 2]>,
    /// How often each was asked for keys.
    asked: [AtomicUsize; 2],
    waiting: Mutex<usize>,
    all_asked: Condvar,
}

impl Masters {
    fn start() -> Arc<Self> {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let masters = Arc::new(Self {
            ports: [0, 1].map(|i: usize| listeners[i].local_addr().unwrap().port()),
            moods: Mutex::new([Mood::Well; 2]),
            asked: Default::default(),
            waiting: Mutex::new(0),
            all_asked: Condvar::new(),
        });
        for (number, listener) in listeners.into_iter().enumerate() {
            let masters = Arc::clone(&masters);
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let masters = Arc::clone(&masters);
                    thread::spawn(move || masters.serve(number, stream));
                }
            });
        }
        masters
    }

    fn serve(&self, number: usize, mut stream: TcpStream) -> Option<()> {
        let (mut decoder, mut bytes) = (Decoder::new(1 << 20), [0; 1 << 12]);
        loop {
            let len = stream.read(&mut bytes).ok().filter(|len| *len > 0)?;
            decoder.feed(&bytes[..len]);
            let mut commands = Vec::new();
            while let Some(Value::Array(parts)) = decoder.next_value().ok()? {
                let text = |part: &Value| String::from_utf8_lossy(part.as_bytes().unwrap_or_default()).into_owned();
                commands.push(parts.iter().map(text).collect::<Vec<_>>());
            }
            let mood = self.moods.lock().unwrap()[number];
            if commands.iter().any(|command| command[0] == "GET") {
                self.asked[number].fetch_add(1, Ordering::SeqCst);
                if mood == Mood::Silent || mood == Mood::Together && !self.are_all_asked() {
                    continue;
                }
            }
            if mood == Mood::Deaf {
                continue;
            }
            let replies: String = commands.iter().map(|command| self.reply(number, command)).collect();
            stream.write_all(replies.as_bytes()).ok()?;
        }
    }

    /// Waits until each master has a question.
    fn are_all_asked(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap();
        *waiting += 1;
        self.all_asked.notify_all();
        let until = Instant::now() + Duration::from_secs(2);
        while !waiting.is_multiple_of(2) && Instant::now() < until {
            waiting = self.all_asked.wait_timeout(waiting, Duration::from_millis(50)).unwrap().0;
        }
        waiting.is_multiple_of(2)
    }

    fn reply(&self, number: usize, command: &[String]) -> String {
        let bulk = |text: String| format!("${}\r\n{text}\r\n", text.len());
        match command[0].as_str() {
            "ROLE" => "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".into(),
            "INFO" => bulk(format!("run_id:{number}\r\n")),
            "GET" | "PTTL" if master_of(&command[1]) != number => {
                format!("-MOVED {} 127.0.0.1:{}\r\n", slot(&command[1]), self.ports[1 - number])
            }
            "GET" => bulk(format!("of {number}")),
            "PTTL" => ":-1\r\n".into(),
            "CLUSTER" => {
                let line = |other: usize| {
                    let myself = if other == number { "myself," } else { "" };
                    let slots = ["0-8191", "8192-16383"][other];
                    format!(
                        "id{other} 127.0.0.1:{}@1 {myself}master - 0 0 {} connected {slots}\n",
                        self.ports[other],
                        other + 1
                    )
                };
                bulk(line(0) + &line(1))
            }
            other => format!("-ERR {other}\r\n"),
        }
    }

    fn become_of(&self, moods: [Mood; 2]) {
        *self.moods.lock().unwrap() = moods;
    }

    fn open(&self, folder: &tempfile::TempDir, near: &str, timeout: Duration) -> Far {
        let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", self.ports[0], self.ports[1]);
        let options = Options::new(url).prefix("app:").tracking(Tracking::Off).timeout(timeout);
        let near_options = kennel::Options::new().capacity(1 << 20);
        options.max_staleness(Duration::from_secs(60)).near(near_options).open(folder.path().join(near)).unwrap()
    }
}

/// The slot of a key.
fn slot(key: &str) -> u16 {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 })
    });
    crc % 16384
}

/// The master that has the slot of a key.
fn master_of(key: &str) -> usize {
    usize::from(slot(key) / 8192)
}

/// A key whose slot a master has.
fn key(master: usize, text: &str) -> String {
    let mut keys = (0..).map(|n| format!("app:{text}:{n}"));
    keys.find(|key| master_of(key) == master).unwrap()
}

fn is_near(far: &Far, key: &str) -> bool {
    far.get_near(key, |len| vec![0; len]).is_some()
}

#[test]
fn the_masters_of_a_batch_are_asked_at_the_same_time() {
    let (masters, folder) = (Masters::start(), tempfile::tempdir().unwrap());
    let far = masters.open(&folder, "near", Duration::from_secs(5));
    // Who has which slots is asked first.
    assert_eq!(far.get(key(0, "map")).unwrap().unwrap(), b"of 0");
    assert_eq!(far.get(key(1, "map")).unwrap().unwrap(), b"of 1");
    masters.become_of([Mood::Together; 2]);
    let asked = || masters.asked.each_ref().map(|asked| asked.load(Ordering::SeqCst));
    let before = asked();
    // Over connections that are there already.
    let keys = [key(1, "a"), key(0, "a"), key(1, "b"), key(0, "b")];
    let expected = ["of 1", "of 0", "of 1", "of 0"].map(|value| Some(value.as_bytes().to_vec()));
    assert_eq!(far.get_multi(&keys).unwrap(), expected);
    assert_eq!(asked(), before.map(|asked| asked + 1), "each was asked once for all of its keys");
    // Over new ones.
    let far = masters.open(&folder, "near", Duration::from_secs(5));
    let keys = [key(1, "c"), key(0, "c")];
    assert_eq!(far.get_multi(&keys).unwrap(), expected[..2]);
}

#[test]
fn a_master_that_does_not_answer_costs_the_others_neither_values_nor_time() {
    let (masters, folder) = (Masters::start(), tempfile::tempdir().unwrap());
    let timeout = Duration::from_millis(600);
    for (sick, mood) in [(0, Mood::Silent), (1, Mood::Silent), (0, Mood::Deaf), (1, Mood::Deaf)] {
        masters.become_of([Mood::Well; 2]);
        let name = format!("{sick}-{}", mood == Mood::Deaf);
        let far = masters.open(&folder, "near", timeout);
        if mood == Mood::Silent {
            // Its connection is there.
            [0, 1].iter().for_each(|master| drop(far.get(key(*master, &format!("first-{name}"))).unwrap()));
        }
        let mut moods = [Mood::Well; 2];
        moods[sick] = mood;
        masters.become_of(moods);
        let keys = [key(sick, &name), key(1 - sick, &name), key(1 - sick, &format!("second-{name}"))];
        let began = Instant::now();
        let failed = far.get_multi(&keys);
        assert!(matches!(failed, Err(Error::Connection(_))), "{name}: {failed:?}");
        assert!(began.elapsed() < timeout * 2, "{name} took {:?}", began.elapsed());
        assert_eq!(keys.each_ref().map(|key| is_near(&far, key)), [false, true, true], "{name}");
        masters.become_of([Mood::Well; 2]);
        let values = far.get_multi(&keys).unwrap();
        let expected = [sick, 1 - sick, 1 - sick].map(|master| Some(format!("of {master}").into_bytes()));
        assert_eq!(values, expected, "{name}: its claims are free again");
    }
}
