//! `kennel dump`, `load` and `copy`: what comes back, what does not, and what is said about it.

mod fixture;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use fixture::{Expect as _, Outcome, kennel};
use kennel::{Cache, CreateOptions, Expiry, NamespaceOptions, Options, SavedItem, SetOptions};
use tempfile::TempDir;

type Items = BTreeMap<Vec<u8>, SavedItem>;

/// Cache files and streams in a directory of their own.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self(TempDir::new()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn create(&self, name: &str, capacity: u64) -> kennel::Result<Cache> {
        Options::new().capacity(capacity).mean_item(64).stripes(1).create(self.path(name))
    }

    /// Runs a command in the directory, with `input` on its standard input.
    fn run(&self, line: &str, input: &[u8]) -> Result<Output, Box<dyn Error>> {
        let mut command = kennel();
        command.args(line.split(' ')).current_dir(self.0.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        let input = input.to_owned();
        // A command that refuses its input does not read it.
        let feeding = std::thread::spawn(move || _ = stdin.write_all(&input));
        let output = child.wait_with_output()?;
        feeding.join().map_err(|_| "the pipe broke")?;
        Ok(output)
    }

    /// The names of all files that are no cache's.
    fn names(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let names = fs::read_dir(self.0.path())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names = names.collect::<std::io::Result<Vec<_>>>()?;
        Ok(names.into_iter().filter(|name| !name.ends_with(".cache") && !name.ends_with(".locks")).collect())
    }
}

fn all(cache: &Cache) -> Items {
    cache.hottest_first().map(|item| (item.key.clone(), item)).collect()
}

/// Whether two items are the same for their readers, wherever they lie.
fn is_same(one: &SavedItem, other: &SavedItem) -> bool {
    (&one.value, &one.namespace, one.flags) == (&other.value, &other.namespace, other.flags)
        && one.follows_reads == other.follows_reads
        && (one.expires, one.soft_expires, one.created) == (other.expires, other.soft_expires, other.created)
}

#[track_caller]
fn assert_same(found: &Items, items: &Items) {
    assert_eq!(found.len(), items.len());
    for (key, item) in found {
        assert!(items.get(key).is_some_and(|of| is_same(of, item)), "{}", String::from_utf8_lossy(key));
    }
}

/// Bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Stores items of all kinds.
fn fill(cache: &Cache, plain: usize) -> Outcome {
    let hour = Expiry::After(Duration::from_secs(3600));
    for i in 0..plain {
        cache.set(format!("plain {i}"), format!("{i:03}").repeat(30))?;
    }
    cache.set("", [0xff, 0, 10])?;
    cache.set_with("flags", "f", &SetOptions::new().flags(u32::MAX).expiry(hour).soft_expiry(hour))?;
    // Larger than a frame.
    cache.set("large", noise(2_500_000))?;
    cache.set("large and regular", vec![7; 1_500_000])?;
    let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(36_000)).jitter(0.5))?;
    pages.set("front", "hello")?;
    let sessions = cache.namespace("sessions", &NamespaceOptions::new().idle(Duration::from_secs(36_000)))?;
    sessions.set("4f2a", "user 7")?;
    sessions.set_with("fixed", "user 7", &SetOptions::new().expiry(hour))?;
    cache.namespace("empty", &NamespaceOptions::new().absence_ttl(Duration::from_secs(5)))?;
    cache.get_or_create("created", &CreateOptions::new(), || "by a creator")?;
    cache.get_or_create_optional("absent", &CreateOptions::new().absence_expiry(hour), || None::<Vec<u8>>)?;
    (0..3).for_each(|_| assert!(cache.get("plain 7").is_some()));
    Ok(())
}

#[test]
fn what_is_dumped_and_loaded_is_the_same() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 64 << 20)?;
    fill(&from, 20_000)?;
    let stream = place.run("dump from.cache", b"")?;
    stream.expect_status(0);
    let to = Options::new().capacity(32 << 20).mean_item(64).stripes(2).create(place.path("to.cache"))?;
    place.run("load to.cache", &stream.stdout)?.expect_status(0).expect_stdout("Loaded 20,009 items.\n");
    assert_same(&all(&to), &all(&from));
    let mut names = to.namespaces();
    names.sort();
    assert_eq!(names, ["empty", "pages", "sessions"]);
    for name in names {
        assert_eq!(to.namespace_defaults(&name), from.namespace_defaults(&name), "{name}");
    }
    assert_eq!(all(&to).values().filter(|item| item.follows_reads).count(), 1);
    assert!(to.verify().is_ok());
    // And by way of a file.
    let dumped = place.run("dump from.cache -o stream", b"")?;
    assert!(dumped.expect_status(0).text().starts_with("Dumped 20,009 items to stream, "), "{}", dumped.text());
    to.clear()?;
    place.run("load to.cache stream", b"")?.expect_status(0);
    assert_same(&all(&to), &all(&from));
    place.run("load to.cache stream", b"")?.expect_stdout("Loaded 0 items; 20,009 were there already.\n");
    place.run("load to.cache - --replace", &stream.stdout)?.expect_stdout("Loaded 20,009 items.\n");
    assert_eq!(place.names()?, ["stream"]);
    Ok(())
}

#[test]
fn a_namespace_or_a_prefix_is_dumped_alone() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 16 << 20)?;
    fill(&from, 100)?;
    from.namespace("pages", &NamespaceOptions::new())?.set("back", "bye")?;
    let keys = |arguments: &str| -> Result<Vec<String>, Box<dyn Error>> {
        let stream = place.run(&format!("dump from.cache {arguments}"), b"")?;
        stream.expect_status(0);
        let to = place.create("to.cache", 16 << 20)?;
        place.run("load to.cache", &stream.stdout)?.expect_status(0);
        let mut keys: Vec<_> = to.keys().map(|key| String::from_utf8_lossy(&key).into_owned()).collect();
        keys.sort();
        Options::new().destroy(to.path())?;
        Ok(keys)
    };
    assert_eq!(keys("--namespace pages")?, ["pages\0back", "pages\0front"]);
    assert_eq!(keys("--namespace pages --prefix fr")?, ["pages\0front"]);
    assert_eq!(keys("--prefix fla")?, ["flags"]);
    assert_eq!(keys("--prefix 666c6167 --key-hex")?, ["flags"]);
    place.run("dump from.cache --namespace nosuch", b"")?.expect_status(1).expect_error("no namespace");
    Ok(())
}

/// The lengths at which a stream's frames end.
fn frame_ends(stream: &[u8]) -> Vec<usize> {
    let mut ends = vec![48];
    while let Some(&at) = ends.last().filter(|&&at| at < stream.len()) {
        let stored = u32::from_le_bytes([stream[at + 16], stream[at + 17], stream[at + 18], stream[at + 19]]);
        ends.push(at + 32 + stored as usize);
    }
    ends
}

#[test]
fn of_a_cut_stream_what_is_whole_is_loaded() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 32 << 20)?;
    fill(&from, 20_000)?;
    let (stream, items) = (place.run("dump from.cache", b"")?.stdout, all(&from));
    let ends = frame_ends(&stream);
    assert!(ends.len() > 6 && ends.last() == Some(&stream.len()), "{ends:?}");
    let to = place.create("to.cache", 32 << 20)?;
    let mut most = 0;
    for &end in &ends {
        for len in [end, end + 7, end + 40].into_iter().filter(|len| *len < stream.len()) {
            to.clear()?;
            let loaded = place.run("load to.cache", &stream[..len])?;
            loaded.expect_status(1).expect_error("standard input: the stream is cut behind");
            let found = all(&to);
            assert!(
                found.iter().all(|(key, item)| items.get(key).is_some_and(|of| is_same(of, item))),
                "cut to {len} bytes"
            );
            assert!(found.len() >= most, "{} after {most}", found.len());
            most = found.len();
        }
    }
    assert!(most > 15_000, "{most}");
    for (len, says) in
        [(0, "found something else"), (3, "found something else"), (20, "the head of the stream is damaged")]
    {
        place.run("load to.cache", &stream[..len])?.expect_status(2).expect_error(says);
    }
    assert!(to.verify().is_ok());
    Ok(())
}

#[test]
fn of_a_damaged_stream_what_is_whole_is_loaded() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 32 << 20)?;
    fill(&from, 20_000)?;
    let (stream, items) = (place.run("dump from.cache", b"")?.stdout, all(&from));
    let ends = frame_ends(&stream);
    let to = place.create("to.cache", 32 << 20)?;
    let load = |bytes: &[u8], says: &str| -> Result<usize, Box<dyn Error>> {
        to.clear()?;
        place.run("load to.cache", bytes)?.expect_status(1).expect_error(says);
        let found = all(&to);
        assert!(
            found.iter().all(|(key, item)| items.get(key).is_some_and(|of| is_same(of, item))),
            "a wrong item came out"
        );
        Ok(found.len())
    };
    for pair in ends.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        // The content of a frame: others are read.
        let mut bytes = stream.clone();
        bytes[(start + 32 + end) / 2] ^= 0x10;
        let found = load(&bytes, "1 frame is damaged or missing")?;
        assert!(end == stream.len() || found > 0, "{found}");
        // Its head: nothing behind it is read.
        let mut bytes = stream.clone();
        bytes[start + 14] ^= 1;
        load(&bytes, "the stream is damaged behind")?;
        // The whole frame is missing, or is there twice.
        if end < stream.len() {
            load(&[&stream[..start], &stream[end..]].concat(), "1 frame is damaged or missing")?;
            load(&[&stream[..end], &stream[start..]].concat(), "damaged or missing")?;
        }
    }
    assert!(to.verify().is_ok());
    Ok(())
}

#[test]
fn what_is_no_stream_is_refused() -> Outcome {
    let place = Place::new()?;
    let cache = place.create("a.cache", 4 << 20)?;
    cache.set("key", "value")?;
    let stream = place.run("dump a.cache", b"")?.stdout;
    place.run("load a.cache a.cache", b"")?.expect_status(2).expect_error("found a cache file; use \"kennel copy\"");
    place.run("load a.cache", b"hello")?.expect_status(2).expect_error("found something else");
    place.run("load a.cache nosuch", b"")?.expect_status(2).expect_error("cannot read the stream nosuch");
    place.run("load a.cache .", b"")?.expect_status(2);
    place.run("load nosuch.cache", &stream)?.expect_status(2).expect_error("create one with \"kennel create\"");
    let mut later = stream.clone();
    later[8] = 2;
    place.run("load a.cache", &later)?.expect_status(2).expect_error("found version 2");
    let mut damaged = stream;
    damaged[20] ^= 1;
    place.run("load a.cache", &damaged)?.expect_status(2).expect_error("the head of the stream is damaged");
    Ok(())
}

#[test]
fn what_expired_or_does_not_fit_is_left_out() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 32 << 20)?;
    fill(&from, 20_000)?;
    from.set_with("soon over", "x", &SetOptions::new().expiry(Expiry::After(Duration::from_secs(5))))?;
    place.run("dump from.cache -o stream", b"")?.expect_status(0);
    std::thread::sleep(Duration::from_millis(5100));
    let to = place.create("to.cache", 1 << 20)?;
    let loaded = place.run("load to.cache stream", b"")?;
    let text = loaded.expect_status(0).text();
    assert!(text.contains("; 1 had expired;") && text.contains("; 2 were too large for the file"), "{text}");
    assert!(text.contains("did not fit, the least used ones"), "{text}");
    assert!(to.contains("plain 7"), "what is used most is there");
    let counters = to.stats().counters;
    assert_eq!((counters.evictions_small, counters.evictions_main, counters.evictions_index), (0, 0, 0));
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_dump_that_cannot_be_written_leaves_nothing() -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new()?;
    let from = place.create("from.cache", 16 << 20)?;
    fill(&from, 1_000)?;
    place.run("dump from.cache -o from.cache", b"")?.expect_status(2).expect_error("is the cache file itself");
    place.run("dump from.cache -o no/such", b"")?.expect_status(2).expect_error("cannot write no/such");
    place.run("dump from.cache -o .", b"")?.expect_status(2).expect_error("cannot write .");
    place.run("dump nosuch.cache -o stream", b"")?.expect_status(2);
    assert_eq!(place.names()?, [""; 0]);
    let shell = |script: &str| -> Result<Output, Box<dyn Error>> {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", script]).current_dir(place.0.path()).env("kennel", kennel().get_program());
        Ok(sh.output()?)
    };
    // No file of more than 512 KiB: the stream is longer. A signal that is ignored is an error of the write.
    let limited = shell("trap '' XFSZ; ulimit -f 1024; exec $kennel dump from.cache -o stream")?;
    limited.expect_status(2).expect_error("cannot write stream");
    assert_eq!(place.names()?, [""; 0], "neither the file nor a part of it");
    // A reader that leaves.
    let left = shell("{ $kennel dump from.cache; echo $? > status; } | head -c 100 > part")?;
    assert_eq!(fs::read_to_string(place.path("status"))?.trim(), "2");
    left.expect_error("closed its pipe");
    // A pipe with a name, and a device.
    shell("mkfifo pipe; $kennel dump from.cache -o pipe & cat pipe > got; wait")?.expect_status(0);
    assert!(fs::read(place.path("got"))?.starts_with(b"KENNELdp"));
    shell("$kennel dump from.cache -o pipe > /dev/null & exec $kennel load from.cache pipe")?
        .expect_status(0)
        .expect_stdout("Loaded 0 items; 1,009 were there already.\n");
    place.run("dump from.cache -o /dev/null", b"")?.expect_status(0);
    // Only its owner reads what a cache of his held.
    fs::write(place.path("old"), "what was there before")?;
    place.run("dump from.cache -o old", b"")?.expect_status(0);
    assert!(fs::read(place.path("old"))?.starts_with(b"KENNELdp"));
    assert_eq!(fs::metadata(place.path("old"))?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[cfg(unix)]
fn signal(child: &std::process::Child, signal: nix::sys::signal::Signal) -> Outcome {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id())?), signal)?;
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_interrupted_dump_leaves_no_file() -> Outcome {
    use nix::sys::signal::Signal;
    let place = Place::new()?;
    let from = place.create("from.cache", 256 << 20)?;
    (0..300_000).try_for_each(|i| from.set(format!("key {i}"), noise(200)))?;
    let mut interrupted = 0;
    for round in 0..10 {
        let mut command = kennel();
        command.args(["dump", "from.cache", "-o", "stream"]).current_dir(place.0.path()).stderr(Stdio::piped());
        let child = command.stdout(Stdio::null()).spawn()?;
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while place.names()?.is_empty() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round));
        // A shell's background job, and its children, would ignore SIGINT.
        signal(&child, Signal::SIGTERM)?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            fs::remove_file(place.path("stream"))?;
        } else {
            output.expect_status(2).expect_error("interrupted before the end of the dump");
            interrupted += 1;
        }
        assert_eq!(place.names()?, [""; 0]);
    }
    assert!(interrupted > 0);
    Ok(())
}

/// Both ends: the process that loads is killed in the middle, and one that dumps the same file goes on.
#[cfg(unix)]
#[test]
fn a_load_that_is_killed_leaves_a_sound_file() -> Outcome {
    use nix::sys::signal::Signal;
    let place = Place::new()?;
    let from = place.create("from.cache", 64 << 20)?;
    fill(&from, 20_000)?;
    let (stream, items) = (place.run("dump from.cache", b"")?.stdout, all(&from));
    let to = place.create("to.cache", 64 << 20)?;
    for part in 1..5 {
        let mut command = kennel();
        command.args(["load", "to.cache"]).current_dir(place.0.path()).stdout(Stdio::null());
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        // What is written fills the pipe, and the process is in the middle of it.
        stdin.write_all(&stream[..stream.len() * part / 5])?;
        signal(&child, if part % 2 == 0 { Signal::SIGKILL } else { Signal::SIGTERM })?;
        child.wait()?;
        let dumped = place.run("dump to.cache", b"")?;
        dumped.expect_status(0);
        let copy = place.create("copy.cache", 64 << 20)?;
        place.run("load copy.cache", &dumped.stdout)?.expect_status(0);
        let found = all(&copy);
        assert!(
            found.iter().all(|(key, item)| items.get(key).is_some_and(|of| is_same(of, item))),
            "killed in part {part}"
        );
        Options::new().destroy(copy.path())?;
        let verified = to.verify();
        assert!(verified.is_ok() && verified.unchecked.is_empty(), "{:?}", verified.problems);
    }
    place.run("load to.cache", &stream)?.expect_status(0);
    // The next load completes it.
    assert_same(&all(&to), &items);
    Ok(())
}

#[test]
fn what_bears_tags_is_loaded_only_if_that_is_asked_for() -> Outcome {
    let place = Place::new()?;
    let (from, to) = (place.create("from.cache", 1 << 20)?, place.create("to.cache", 1 << 20)?);
    from.set("plain", "1")?;
    for count in 1..=16 {
        let tags: Vec<String> = (0..count).map(|tag| format!("tag {tag}")).collect();
        from.set_with(format!("tagged {count}"), "2", &SetOptions::new().tags(&tags))?;
    }
    let stream = place.run("dump from.cache", b"")?.stdout;
    let loaded = place.run("load to.cache", &stream)?;
    assert!(loaded.expect_status(0).text().contains("1 item; 16 bear tags"), "{}", loaded.text());
    assert_eq!(to.keys().count(), 1);
    place.run("load to.cache --tagged", &stream)?.expect_status(0);
    assert_eq!(to.keys().count(), 17);
    let count = |entry: kennel::Entry| (entry.key, entry.tags);
    let sorted = |cache: &Cache| cache.entries().map(count).collect::<std::collections::BTreeMap<_, _>>();
    assert_eq!(sorted(&to), sorted(&from));
    to.invalidate_tags(&["tag 3"], kennel::Invalidation::Hard)?;
    assert_eq!(to.keys().count(), 4);
    place.run("copy from.cache copy.cache --tagged", b"")?.expect_status(0);
    assert_eq!(Cache::open(place.path("copy.cache"))?.keys().count(), 17);
    // A number of tags that no item has: what follows is lost, and nothing hangs.
    for damage in [0, 17, 255] {
        let mut bytes = stream.clone();
        let last = bytes.len() / 2;
        bytes[last] = damage;
        place.run("load to.cache --tagged", &bytes)?;
    }
    Ok(())
}

#[test]
fn a_copy_may_have_another_size() -> Outcome {
    let place = Place::new()?;
    let from = place.create("from.cache", 32 << 20)?;
    fill(&from, 1_000)?;
    place.run("copy from.cache like.cache", b"")?.expect_status(0).expect_stdout("Copied 1,009 items.\n");
    let like = Cache::open(place.path("like.cache"))?;
    assert_same(&all(&like), &all(&from));
    assert_eq!((like.stats().capacity, like.stats().strategy), (32 << 20, from.stats().strategy));
    assert_ne!(like.get_item("plain 1").ok_or("lost")?.id(), from.get_item("plain 1").ok_or("lost")?.id());
    assert_eq!(like.namespace_defaults("pages"), from.namespace_defaults("pages"));
    place.run("copy from.cache larger.cache --capacity 48MiB", b"")?.expect_status(0);
    assert_eq!(Cache::open(place.path("larger.cache"))?.stats().capacity, 48 << 20);
    place.run("copy from.cache larger.cache --capacity 40MiB", b"")?.expect_status(2).expect_error("--capacity");
    place.run("copy from.cache larger.cache", b"")?.expect_stdout("Copied 0 items; 1,009 were there already.\n");
    place.run("copy from.cache larger.cache --replace", b"")?.expect_stdout("Copied 1,009 items.\n");
    place.run("copy from.cache from.cache", b"")?.expect_status(2).expect_error("are one file");
    place.run("copy nosuch.cache new.cache", b"")?.expect_status(2).expect_error("no cache file");
    assert!(!place.path("new.cache").exists());
    Ok(())
}
