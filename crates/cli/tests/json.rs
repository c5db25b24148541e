//! Every field that `--json` prints is in `docs/json.md`, with its type, and every field there is printed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "fixture/fields.rs"]
mod fields;

use fields::{Fields, documented};

fn kennel(args: &[&str], directory: &Path) -> Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_kennel")).args(args).current_dir(directory).output().expect("it runs");
    match output.stdout[..] {
        [] => Value::Null,
        ref bytes => serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{args:?}: {error}")),
    }
}

/// A file with text and other bytes in it.
fn filled() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let create = Command::new(env!("CARGO_BIN_EXE_kennel"))
        .args(["create", "cache", "--capacity", "1M", "--stripes", "2", "--namespace-reads", "yes"])
        .current_dir(dir.path())
        .output();
    assert!(create.expect("it runs").status.success());
    for args in [
        &["set", "cache", "text", "some value", "--ttl", "1h"][..],
        &["set", "cache", "--key-hex", "ff", "other value"],
    ] {
        assert_eq!(kennel(args, dir.path()), Value::Null);
    }
    dir
}

#[test]
fn get_prints_what_is_documented() {
    let dir = filled();
    let cache = kennel::Options::new().open(dir.path().join("cache")).expect("a cache");
    cache.set([0xff], [0xff, 0]).expect("room");
    let mut fields = Fields::of("get");
    for args in [&["get", "cache", "text", "--json"][..], &["get", "cache", "--key-hex", "ff", "--json"]] {
        fields.check(&kennel(args, dir.path()), "");
    }
    fields.expect_all(&[]);
}

/// Two stamps that differ in the last digits only must not be equal for a reader that has no integers.
#[test]
fn a_stamp_is_told_exactly() {
    let dir = filled();
    let path = dir.path().join("cache");
    let stamp =
        |key| kennel::Options::new().open_read_only(&path).expect("a cache").get_item(key).expect("a value").stamp.0;
    let told = kennel(&["get", "cache", "text", "--json"], dir.path());
    assert_eq!(told["stamp"].as_str(), Some(stamp("text").to_string().as_str()));
}

#[test]
fn stat_prints_what_is_documented() {
    let dir = filled();
    let mut fields = Fields::of("stat");
    fields.check(&kennel(&["stat", "cache", "--json"], dir.path()), "");
    let cache = kennel::Options::new().open(dir.path().join("cache")).expect("a cache");
    cache.namespace("named", &kennel::NamespaceOptions::new()).expect("a namespace");
    assert!(cache.get("text").is_some());
    let mut all = kennel(&["stat", "cache", "--json", "--stripes"], dir.path());
    fields.check(&all, "");
    // As if somebody had been killed.
    let repair = kennel::Repair::default();
    all["stripe_stats"][0]["last_repair"] = serde_json::to_value(repair).expect("numbers and text");
    all["stripe_stats"][0]["intent"] = "set".into();
    fields.check(&all, "");
    fields.expect_all(&[]);
}

#[test]
fn metrics_serves_what_is_documented() {
    let dir = filled();
    let cache = kennel::Options::new().open(dir.path().join("cache")).expect("a cache");
    let named = cache.namespace("named", &kennel::NamespaceOptions::new()).expect("a namespace");
    let expiry = kennel::Expiry::After(std::time::Duration::from_secs(60));
    named.set_with("key", "value", &kennel::SetOptions::new().expiry(expiry)).expect("stored");
    let mut server = Command::new(env!("CARGO_BIN_EXE_kennel"))
        .args(["metrics", "--listen", "127.0.0.1:0", "cache", "missing"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line).expect("its address");
    let address = line.trim().trim_start_matches("serving http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(b"GET /stats.json HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    server.kill().and_then(|()| server.wait()).expect("it ends");
    let document: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let mut fields = Fields::of("metrics");
    fields.check(&document, "");
    fields.expect_all(&[]);
    let stats = document["caches"][0]["stats"].as_object().expect("an object");
    let stat: BTreeSet<_> = documented("stat").into_keys().filter_map(|name| name.split(['.', '[']).next()).collect();
    assert!(stats.keys().all(|name| stat.contains(name.as_str())), "{stats:?}");
    assert!(!stats.contains_key("path") && !stats.contains_key("file_id"));
}

#[test]
fn verify_prints_what_is_documented() {
    let dir = filled();
    let mut fields = Fields::of("verify");
    fields.check(&kennel(&["verify", "cache", "--json"], dir.path()), "");
    let path = dir.path().join("cache");
    let mut bytes = fs::read(&path).expect("the file");
    let at = bytes.windows(10).position(|window| window == b"some value").expect("the record");
    bytes[at..at + 10].copy_from_slice(b"no  record");
    fs::write(&path, bytes).expect("the file");
    fields.check(&kennel(&["verify", "cache", "--json"], dir.path()), "");
    fields.expect_all(&[]);
}

#[test]
fn advise_prints_what_is_documented() {
    let dir = filled();
    let mut fields = Fields::of("advise");
    let unread = kennel(&["advise", "cache", "--for", "50ms", "--no-sample", "--json"], dir.path());
    fields.check(&unread, "");
    assert!(unread["hit_ratio"].is_null() && unread["sizes"].as_array().is_some_and(Vec::is_empty), "{unread}");
    let path = dir.path().join("sampled");
    let cache = kennel::Options::new().capacity(4 << 20).samples(true).create(&path).expect("a cache");
    for number in 0..1000_u32 {
        cache.set(number.to_le_bytes(), [0; 64]).expect("room");
    }
    let advise = Command::new(env!("CARGO_BIN_EXE_kennel"))
        .args(["advise", "sampled", "--for", "1s", "--json"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut advise = Some(advise);
    let output = loop {
        (0..1000_u32).for_each(|number| assert!(cache.contains(number.to_le_bytes())));
        std::thread::sleep(std::time::Duration::from_millis(20));
        if advise.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_some()) {
            break advise.take().expect("it has ended").wait_with_output().expect("its output");
        }
    };
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    fields.check(&told, "");
    assert_eq!(told["sizes"].as_array().map(Vec::len), Some(4), "{told}");
    fields.expect_all(&[]);
}

#[test]
fn bench_prints_what_is_documented() {
    let dir = TempDir::new().expect("a directory");
    let run = |line: &str| {
        let line = format!("bench --seconds 0.02 --warm-up 0.01 --rounds 1 --json {line}");
        kennel(&line.split_whitespace().collect::<Vec<_>>(), dir.path())
    };
    let mut fields = Fields::of("bench");
    let largest = u64::MAX;
    let all =
        run(&format!("--keys 50 --locks file,process --processes 1,2 --writes 50 --no-syscalls --seed {largest}"));
    assert_eq!(all["plan"]["seed"].as_str(), Some(largest.to_string().as_str()));
    fields.check(&all, "");
    let rest =
        "--keys 50 --locks file --processes 1 --writes 0 --rate 100 --directory . --capacity 1M --distribution uniform";
    fields.check(&run(rest), "");
    fields.check(&run("--data-sizes 256KiB --locks file --processes 1 --no-syscalls"), "");
    // Counted only where strace is.
    fields.expect_all(&["cells[].system_calls.per_operation"]);
}

#[cfg(all(unix, feature = "far"))]
#[test]
fn far_stat_prints_what_is_documented() {
    let dir = TempDir::new().expect("a directory");
    let url = format!("unix://{}", dir.path().join("none").display());
    let open = kennel_far::Options::new(url).prefix("app:").open(dir.path().join("near"));
    let far = open.expect("no server is needed");
    let stat = || kennel(&["far", "stat", "near", "--json"], dir.path());
    // What a process reports, and its problem, come within two seconds.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while stat()["tiers"][0]["processes"][0]["problem"].is_null() {
        assert!(std::time::Instant::now() < deadline, "{}", stat());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut fields = Fields::of("far stat");
    let mut all = stat();
    fields.check(&all, "");
    // As in a cluster.
    all["tiers"][0]["masters"] =
        serde_json::json!([{ "id": "a1", "address": "10.0.0.5:7000", "slots": 5461, "proof_age_ms": 12.5 }]);
    fields.check(&all, "");
    fields.expect_all(&[]);
    drop(far);
}
