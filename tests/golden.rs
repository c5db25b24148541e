//! The format is pinned: a file created in a fixed way has exactly the words of `tests/golden/format-3.txt`, and a file
//! made of those words can be read. A file of the format before is refused, or replaced if the options say so.
//!
//! When the format changes on purpose, raise its number and run this test with `KENNEL_GOLDEN=write`, which writes the
//! words to a file named after the new number.

mod common;

use common::raw::{Raw, header};
use common::{Place, TestClock, moment};
use kennel::{
    AfterCrash, Cache, CreateOptions, Expiry, Invalidation, Lookup, NamespaceOptions, OnMismatch, Options, SetOptions,
    Stored, Wait,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

const NOW: u64 = 1_700_000_000_000;
/// A word that depends on the machine, the process or the time.
const ANY: &str = "any";

/// The words of a file of format 2, from before format 3 was drawn.
const FORMAT_2: &str = include_str!("golden/format-2.txt");

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-3.txt")
}

fn options() -> Options {
    Options::new()
        .capacity(4 << 10)
        .mean_item(50)
        .stripes(2)
        .seats(1)
        .namespaces(2)
        .claims(2)
        .tags(64)
        .namespace_reads(true)
        .samples(true)
        .seed(0x0123_4567_89ab_cdef)
        .numbers_from(1)
        .locks(kennel::LockStrategy::None)
        .after_crash(AfterCrash::Verify)
        .clock(TestClock::at(NOW))
}

/// One of everything that a file can hold.
fn fill(cache: &Cache) {
    cache.set("plain", "a value").unwrap();
    cache.set("", "of the empty key").unwrap();
    let how = SetOptions::new().expiry(Expiry::At(moment(NOW + 86_400_000))).flags(0xf1a6);
    cache.set_with("flags and expiry", "another value", &how).unwrap();
    cache.set("deleted", "gone").unwrap();
    assert!(cache.delete("deleted").unwrap());
    cache.set("in place", "first").unwrap();
    cache.set("in place", "second").unwrap();
    assert!(cache.touch("in place", Expiry::At(moment(NOW + 60_000))).unwrap());
    cache.set("replaced", "short").unwrap();
    cache.set("replaced", [b'l'; 100]).unwrap();
    assert!(cache.contains("plain"));
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let times = NamespaceOptions::new().ttl(minutes(60)).soft_ttl(minutes(10)).absence_ttl(minutes(1));
    let namespace = cache.namespace("a region", &times).unwrap();
    cache.namespace("another", &NamespaceOptions::new()).unwrap().set("key", "of another").unwrap();
    cache
        .namespace("another", &NamespaceOptions::new().idle(minutes(30)))
        .unwrap()
        .set("idle", "while it is read")
        .unwrap();
    namespace.set("cleared", "gone").unwrap();
    namespace.invalidate(Invalidation::Hard).unwrap();
    namespace.invalidate(Invalidation::Soft).unwrap();
    let Lookup::Create(claim) = namespace.claim("created", &CreateOptions::new()).unwrap() else {
        panic!("it is missing")
    };
    assert!(matches!(claim.store("under a claim").unwrap(), Stored::Yes(_)));
    let Lookup::Create(claim) = namespace.claim("none", &CreateOptions::new()).unwrap() else {
        panic!("it is missing")
    };
    assert!(matches!(claim.store_absence().unwrap(), Stored::Yes(_)));
    cache.invalidate_tags(&["before"], Invalidation::Hard).unwrap();
    cache.set_with("tagged", "of tags", &SetOptions::new().tags(&["one", "two", "three", "four", "five"])).unwrap();
    cache.set_with("of a tag", "gone", &SetOptions::new().tags(&["hard"])).unwrap();
    cache.invalidate_tags(&["hard"], Invalidation::Hard).unwrap();
    cache.invalidate_tags(&["two"], Invalidation::Soft).unwrap();
    let tap = cache.tap(1 << 63).unwrap();
    ["plain", "in place", "replaced"].iter().for_each(|key| assert!(cache.contains(key)));
    drop(tap);
}

fn check(cache: &Cache) {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let values = cache.get_multi(&["plain", "", "flags and expiry", "deleted", "in place", "replaced"]);
    let long = Some(vec![b'l'; 100]);
    assert_eq!(values, [text("a value"), text("of the empty key"), text("another value"), None, text("second"), long]);
    let item = cache.get_item("flags and expiry").unwrap();
    assert_eq!((item.flags, item.expires), (0xf1a6, Some(moment(NOW + 86_400_000))));
    assert_eq!(cache.get_item("in place").unwrap().expires, Some(moment(NOW + 60_000)));
    assert_eq!(cache.namespaces(), ["a region", "another"]);
    let namespace = cache.namespace("a region", &NamespaceOptions::new()).unwrap();
    assert_eq!((namespace.get("cleared"), namespace.get("created")), (None, text("under a claim")));
    let item = namespace.get_item("created").unwrap();
    assert_eq!((item.expires, item.soft_expires), (Some(moment(NOW + 3_600_000)), Some(moment(NOW + 600_000))));
    assert!(!item.is_stale);
    assert!(matches!(namespace.claim("none", &CreateOptions::new()).unwrap(), Lookup::Absent));
    assert_eq!(cache.namespace("another", &NamespaceOptions::new()).unwrap().get("key"), text("of another"));
    assert_eq!(cache.namespace_defaults("another").unwrap().idle, Some(Duration::from_secs(1800)));
    let item = cache.namespace("another", &NamespaceOptions::new()).unwrap().get_item("idle").unwrap();
    assert_eq!(item.expires, Some(moment(NOW + 1_800_000)));
    let item = cache.get_item("tagged").unwrap();
    assert_eq!((&item.value[..], item.is_stale), (&b"of tags"[..], true));
    assert!(!cache.contains("of a tag"));
    // Without a lock, `verify` skips a stripe that nobody has written to since it was copied.
    assert_eq!(cache.verify().problems, []);
}

/// The nonzero words of a file by their offset, with a placeholder for those that differ from run to run.
fn words(raw: &Raw) -> BTreeMap<usize, String> {
    let claims = (0..raw.stripes()).flat_map(|stripe| (0..2).map(move |claim| (stripe, claim)));
    // Task and start time.
    let of_claims = claims.map(|(stripe, claim)| raw.claim(stripe, claim)).flat_map(|at| [at + 32, at + 40]);
    let mut any: Vec<usize> = of_claims.collect();
    any.extend([header::DATA_INODE, header::DATA_INODE + 8, header::BOOT_ID, header::BOOT_ID + 8]);
    // Where a new file cannot be without a name, it is created in its lock directory, which then exists.
    any.push(header::LOCK_DIR_INODE);
    // Process id of the member.
    any.push(4096 + 24);
    // Times.
    let timed = raw.histogram(0)..raw.histogram(3);
    let text = |at: usize| if any.contains(&at) { ANY.to_owned() } else { format!("{:016x}", raw.word(at)) };
    let listed = |at: &usize| any.contains(at) || raw.word(*at) != 0;
    let words = (0..raw.bytes.len()).step_by(8).filter(|at| !timed.contains(at));
    words.filter(listed).map(|at| (at, text(at))).collect()
}

fn parse(text: &str) -> (usize, BTreeMap<usize, String>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let len = lines.next().unwrap().strip_prefix("length ").unwrap().parse().unwrap();
    let word = |line: &str| {
        let (at, word) = line.split_once(' ').unwrap();
        (usize::from_str_radix(at, 16).unwrap(), word.to_owned())
    };
    (len, lines.map(word).collect())
}

#[test]
fn a_file_has_the_very_words_that_the_format_had_when_it_was_pinned() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    fill(&cache);
    let lock = cache.lock("locked", Wait::No).unwrap();
    let raw = Raw::load(&place.path());
    let stripe = raw.stripe_of(b"locked");
    assert!((0..2).any(|claim| raw.word(raw.claim(stripe, claim)) & 0xff == 2), "a lock is held");
    let found = words(&raw);
    drop(lock);
    check(&cache);
    if std::env::var("KENNEL_GOLDEN").is_ok_and(|what| what == "write") {
        let mut text = format!(
            "# The words of a small cache file that are not zero: offset and value, hexadecimal.\n\
                                # Written by tests/golden.rs.\nlength {}\n",
            raw.bytes.len()
        );
        found.iter().for_each(|(at, word)| writeln!(text, "{at:05x} {word}").unwrap());
        let path = golden().with_file_name(format!("format-{}.txt", raw.half(header::FORMAT)));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (len, pinned) = parse(&std::fs::read_to_string(golden()).unwrap());
    assert_eq!(raw.bytes.len(), len, "length of the file");
    let differing = |at: &&usize| found.get(at) != pinned.get(at);
    let differ: Vec<_> = found.keys().chain(pinned.keys()).filter(differing).collect();
    if let Some(at) = differ.first() {
        let shown = |words: &BTreeMap<usize, String>| words.get(at).cloned().unwrap_or("0".into());
        let (is, was) = (shown(&found), shown(&pinned));
        panic!(
            "{} words differ, the first at {at:#x}: pinned {was}, now {is}; see the head of this file",
            differ.len()
        );
    }
}

/// A file made of listed words.
fn file_of(text: &str) -> Place {
    let (len, words) = parse(text);
    let mut bytes = vec![0; len];
    for (at, word) in words.iter().filter(|(_, word)| *word != ANY) {
        bytes[*at..at + 8].copy_from_slice(&u64::from_str_radix(word, 16).unwrap().to_le_bytes());
    }
    let place = Place::new();
    std::fs::write(place.path(), bytes).unwrap();
    place
}

#[test]
fn a_file_of_format_2_is_refused_and_left_alone_or_replaced() {
    let place = file_of(FORMAT_2);
    let before = std::fs::read(place.path()).unwrap();
    for mismatch in [OnMismatch::Fail, OnMismatch::UseExisting] {
        let error = options().on_mismatch(mismatch).open_or_create(place.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("format version: expected 3, found 2"), "{text}");
        assert_eq!(std::fs::read(place.path()).unwrap(), before, "{mismatch}");
    }
    let cache = options().on_mismatch(OnMismatch::Recreate).open_or_create(place.path()).unwrap();
    assert_eq!((cache.stats().format, cache.get("plain")), (3, None));
    fill(&cache);
    check(&cache);
}

#[test]
fn a_file_of_the_pinned_words_is_read() {
    let place = file_of(&std::fs::read_to_string(golden()).unwrap());
    // The inode number differs, so the file counts as a copy, whose checksums are checked.
    let options = Options::new().trust(true).clock(TestClock::at(NOW));
    let cache = options.open(place.path()).unwrap();
    check(&cache);
    assert!(!cache.is_claimed("locked"));
}
