//! Each error is really produced, and its message states what was expected, what was found, and what to do.
//!
//! `NetworkFilesystem` cannot be produced without mounting a network or user-space file system; only its message is
//! checked here.

mod common;

use common::raw::{Raw, header};
use common::{Place, must_end};
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use kennel::{Cache, Error, Expiry, LockStrategy, OnMismatch, Options, SetOptions};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn small() -> Options {
    Options::new().capacity(64 << 10).stripes(2).seats(2)
}

/// The path of the cache file in messages.
fn real(place: &Place) -> String {
    common::real(place.dir()).join("cache").display().to_string()
}

#[track_caller]
fn message<T>(result: kennel::Result<T>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn io_names_what_was_tried_where_and_why_not() {
    let place = Place::new();
    let missing = place.dir().join("missing");
    let error = small().create(missing.join("cache")).unwrap_err();
    let Error::Io { what, path, source } = &error else { panic!("{error}") };
    assert_eq!((*what, path, source.kind()), ("find the directory", &missing, io::ErrorKind::NotFound));
    assert_eq!(error.to_string(), format!("cannot find the directory {}: {source}", missing.display()));
    // A directory is not a file.
    fs::create_dir(place.path()).unwrap();
    let said = format!(
        "{}: file type: expected a regular file, found a directory; this is not a cache file, so it is left alone: \
         choose another path, or remove it yourself",
        real(&place)
    );
    assert_eq!(message(small().open(place.path())), said);
}

#[test]
fn not_found_and_exists_name_the_file_and_what_to_do() {
    let place = Place::new();
    assert_eq!(
        message(small().open(place.path())),
        format!("no cache file at {}: create one with `kennel create` or `Options::create`", real(&place))
    );
    let _cache = small().create(place.path()).unwrap();
    assert_eq!(
        message(small().create(place.path())),
        format!("{} exists already: open it, or destroy it first", real(&place))
    );
}

#[test]
fn bad_file_names_the_part_of_the_header() {
    let place = Place::new();
    let nearly_nothing = |at: usize| {
        let mut bytes = vec![0; 1 << 20];
        bytes[at] = 1;
        bytes
    };
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("length", Vec::new(), "length: expected at least 4096 bytes, found 0 bytes"),
        ("length", b"KENNELca".to_vec(), "length: expected at least 4096 bytes, found 8 bytes"),
        ("length", vec![0; 4095], "length: expected at least 4096 bytes, found 4095 bytes"),
        ("magic", nearly_nothing(4095), "magic: expected 0x61634c454e4e454b, found 0x0000000000000000"),
        ("magic", nearly_nothing((1 << 20) - 1), "magic: expected 0x61634c454e4e454b, found 0x0000000000000000"),
        ("magic", b"#!/bin/sh\n".repeat(1000), "magic: expected 0x61634c454e4e454b, found 0x732f6e69622f2123"),
    ];
    for (part, bytes, said) in cases {
        fs::write(place.path(), &bytes).unwrap();
        for opened in [small().open(place.path()), small().open_read_only(place.path())] {
            let error = opened.unwrap_err();
            assert!(matches!(&error, Error::BadFile { field, .. } if *field == part), "{error}");
            let advice = "this is not a cache file, so it is left alone: choose another path, or remove it yourself if \
                          you know that it once was one";
            assert_eq!(error.to_string(), format!("{}: {said}; {advice}", real(&place)));
        }
        assert!(matches!(small().destroy(place.path()), Err(Error::BadFile { .. })), "it is not ours to remove");
        let recreate = small().on_mismatch(OnMismatch::Recreate);
        assert!(matches!(recreate.open_or_create(place.path()), Err(Error::BadFile { .. })), "nor to replace");
        assert!(fs::read(place.path()).unwrap() == bytes);
    }
}

#[test]
fn a_file_that_was_cut_off_or_is_of_another_format_is_a_bad_file() {
    let place = Place::new();
    drop(small().create(place.path()).unwrap());
    let raw = Raw::load(&place.path());
    let file = fs::OpenOptions::new().write(true).open(place.path()).unwrap();
    let len = raw.bytes.len() as u64;
    for cut in [4096, len / 2, len - 1] {
        file.set_len(cut).unwrap();
        let said = message(small().open(place.path()));
        assert!(said.contains(&format!("file length: expected {len}, found {cut}: it was cut off")), "{said}");
    }
    drop(file);
    for (at, field) in [(header::FORMAT, "format version"), (16, "layout fingerprint")] {
        let mut other = raw.clone();
        other.bytes[at] += 1;
        other.save();
        let error = small().open(place.path()).unwrap_err();
        let Error::BadFile { field: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, field);
        // This advice helps here, unlike for a file that is not a cache: see below.
        assert!(error.to_string().ends_with("destroy it and create it again"), "{error}");
    }
    // Sizes of areas that no build has, with the right checksum.
    for (at, expected) in
        [(header::SAMPLES, "samples: expected 0 or 144, found 7"), (504, "reserved_fixed: expected zero")]
    {
        let mut later = raw.clone();
        later.set(at, 7);
        let check = xxhash_rust::xxh3::xxh3_64(&later.bytes[32..512]);
        later.set(header::CHECK, check);
        later.save();
        let said = message(small().open(place.path()));
        assert!(said.contains(expected), "{said}");
    }
    raw.save();
    // If asked for, a file of an older or newer format is replaced or destroyed.
    let anew = small().on_mismatch(OnMismatch::Recreate).open(place.path()).unwrap();
    anew.set("key", "value").unwrap();
    drop(anew);
    small().destroy(place.path()).unwrap();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn no_damaged_byte_of_the_header_is_a_panic() {
    for strategy in [LockStrategy::File, LockStrategy::Lease, LockStrategy::None] {
        let place = Place::new();
        let cache = small().locks(strategy).create(place.path()).unwrap();
        cache.set("key", "value").unwrap();
        drop(cache);
        let raw = Raw::load(&place.path());
        // A few words stand for all of the reserved part.
        for at in (0..160).chain((160..512).step_by(24)).chain(512..704) {
            for flip in [0x01, 0xff] {
                let mut bad = raw.clone();
                bad.bytes[at] ^= flip;
                bad.save();
                let path = place.path();
                let opened = must_end("the use of a file with a damaged header", move || {
                    let reader = Options::new().verify_reads(true).open_read_only(&path);
                    reader.iter().for_each(|cache| drop((cache.get("key"), cache.stats(), cache.verify())));
                    let opened = Options::new().verify_reads(true).open(&path);
                    opened.iter().for_each(|cache| {
                        let value = cache.get("key");
                        assert!(value.is_none() || value.as_deref() == Some(b"value"));
                        let _ = (cache.set("key", "value"), cache.stats(), cache.verify(), cache.clear());
                    });
                    opened.map(drop)
                });
                match opened {
                    Ok(()) => assert!(at >= 512, "byte {at} is covered by the header's checks"),
                    Err(Error::BadFile { .. }) => assert!(at < 512, "byte {at}"),
                    Err(Error::LocksLost { .. }) => assert!((512..552).contains(&at), "byte {at}"),
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
        raw.save();
        assert_eq!(Cache::open(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]), "undamaged again");
    }
}

#[test]
fn mismatch_names_what_was_asked_what_the_file_has_and_the_ways_out() {
    let place = Place::new();
    let _cache = small().create(place.path()).unwrap();
    assert_eq!(
        message(Options::new().capacity(1 << 20).open(place.path())),
        format!(
            "{}: option capacity: asked for 1048576, the file has 65536; change the option, use the file as it is \
             (`OnMismatch::UseExisting`), or replace it (`OnMismatch::Recreate`)",
            real(&place)
        )
    );
    let said = message(Options::new().locks(LockStrategy::Process).open(place.path()));
    assert!(said.contains("option locks: asked for process, the file has file"), "{said}");
}

#[test]
fn locks_lost_names_the_directory_when_the_file_was_moved_away_from_it() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    let id = cache.stats().file_id;
    drop(cache);
    let moved = place.dir().join("moved");
    fs::rename(place.path(), &moved).unwrap();
    let said = message(small().open(&moved));
    let expected = common::real(place.dir()).join("moved.locks").join(&id);
    assert!(said.contains(&format!("expected the directory {}, found none", expected.display())), "{said}");
    assert!(said.contains("was moved") && said.contains("restore the directory, or destroy the cache file"), "{said}");
    // As the message says: it works if both are moved together.
    fs::rename(place.dir().join("cache.locks"), place.dir().join("moved.locks")).unwrap();
    drop(small().open(&moved).unwrap());
    // Another directory of that name is not the one that others lock.
    let other = place.dir().join("other");
    fs::create_dir(&other).unwrap();
    fs::remove_dir_all(&expected).unwrap();
    fs::rename(&other, &expected).unwrap();
    let said = message(small().open(&moved));
    assert!(said.contains("expected inode") && said.contains("found"), "{said}");
    small().destroy(&moved).unwrap();
}

#[test]
fn locks_lost_comes_from_a_write_whose_lock_file_is_gone_or_another() {
    let place = Place::new();
    let cache = small().lock_regions(1).create(place.path()).unwrap();
    let directory = place.dir().join("cache.locks").join(cache.stats().file_id);
    let lock = directory.join("0000.lock");
    fs::rename(&lock, place.dir().join("kept")).unwrap();
    let error = cache.set("key", "value").unwrap_err();
    assert!(matches!(error, Error::LocksLost { .. }), "{error}");
    assert!(error.to_string().contains("found none"), "{error}");
    fs::write(&lock, "").unwrap();
    let error = cache.set("key", "value").unwrap_err();
    assert!(matches!(error, Error::LocksLost { .. }) && error.to_string().contains("it was replaced"), "{error}");
    assert!(cache.get("key").is_none(), "nothing was written without the lock");
    fs::rename(place.dir().join("kept"), &lock).unwrap();
    cache.set("key", "value").unwrap();
    // A missing lease is a lost lock set, too, for a process that would have to make a second one.
    place.take_away(&directory.join("000000.lease"));
    let said = message(small().open(place.path()));
    assert!(said.contains("expected the lease file") && said.contains("are lost"), "{said}");
}

/// A custom strategy whose locks can never be acquired.
struct Never;

impl LockFactory for Never {
    fn name(&self) -> &str {
        "never"
    }

    fn id(&self) -> u64 {
        1001
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Never))
    }
}

impl LockRegions for Never {
    fn lock(&self, _: u32, _: Duration) -> Result<(), LockError> {
        Err(LockError::Busy)
    }

    fn unlock(&self, _: u32) {}
}

#[test]
fn unknown_strategy_names_the_strategy_of_the_file() {
    let place = Place::new();
    let never = LockStrategy::Custom(Arc::new(Never));
    let cache = small().locks(never.clone()).create(place.path()).unwrap();
    assert_eq!(cache.stats().strategy, "never");
    assert_eq!(
        message(small().open(place.path())),
        format!(
            "{}: locked by strategy never (id 1001), which this program does not have; it was opened with file",
            real(&place)
        )
    );
    drop(small().locks(never).open(place.path()).unwrap());
    assert!(matches!(cache.set("key", "value"), Err(Error::Busy { .. })), "it never gives a lock");
}

#[test]
fn open_elsewhere_says_that_strategy_process_allows_one_process() {
    let place = Place::new();
    let cache = small().locks(LockStrategy::Process).create(place.path()).unwrap();
    let error = small().open(place.path()).unwrap_err();
    assert!(matches!(&error, Error::OpenElsewhere(path) if path == cache.path()), "{error}");
    assert!(error.to_string().starts_with(&real(&place)) && error.to_string().contains("`process`"), "{error}");
    drop(cache);
    drop(small().open(place.path()).unwrap());
}

#[test]
fn a_file_that_may_not_be_written_is_an_error_unless_it_is_only_read() {
    let place = Place::new();
    small().create(place.path()).unwrap().set("key", "value").unwrap();
    let read_only = |yes| {
        let mut permissions = fs::metadata(place.path()).unwrap().permissions();
        permissions.set_readonly(yes);
        fs::set_permissions(place.path(), permissions).unwrap();
    };
    read_only(true);
    if fs::OpenOptions::new().write(true).open(place.path()).is_ok() {
        println!("skipped: this user may write everything");
        return;
    }
    let error = small().open(place.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { what: "open", .. }), "{error}");
    assert!(matches!(small().destroy(place.path()), Err(Error::Io { what: "open", .. })));
    assert_eq!(small().open_read_only(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
    read_only(false);
    small().open(place.path()).unwrap().set("key", "other").unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_not_trusted_unless_that_is_asked_for() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let place = Place::new();
    let mode = |bits| fs::set_permissions(place.path(), fs::Permissions::from_mode(bits)).unwrap();
    drop(small().create(place.path()).unwrap());
    for bits in [0o620, 0o602, 0o666] {
        mode(bits);
        let expected = format!(
            "{} is not trusted: expected a file that only its owner writes, found mode {bits:o}; if you trust everyone who \
             can write to it, open it with `trust`",
            real(&place)
        );
        assert_eq!(message(small().open(place.path())), expected);
        assert_eq!(message(small().open_read_only(place.path())), expected);
        assert_eq!(message(small().open_or_create(place.path())), expected);
        assert!(matches!(small().destroy(place.path()), Err(Error::NotTrusted { .. })));
        drop(small().trust(true).open(place.path()).unwrap());
    }
    mode(0o644);
    drop(small().open(place.path()).unwrap());
    match chown(place.path(), Some(12_345), None) {
        Ok(()) => {
            let said = message(small().open(place.path()));
            assert!(said.contains("expected a file of user ") && said.contains("found one of user 12345"), "{said}");
            drop(small().trust(true).open(place.path()).unwrap());
        }
        Err(error) => eprintln!("skipped: a file of another user needs the right to give files away: {error}"),
    }
}

#[test]
fn network_filesystem_says_which_and_what_to_do() {
    let error = Error::NetworkFilesystem { path: PathBuf::from("/net/cache"), kind: "NFS".into() };
    assert_eq!(
        error.to_string(),
        "/net/cache lies on NFS, where mappings or locks are not coherent; use a local file system, or `allow_network` if \
         only one host uses it and you know that its locks work"
    );
}

/// NTFS and ReFS reserve the length of a file when it is set, so the call reports a disk that is too small. Wine makes
/// every file sparse: there only the number of the error can be tested, in `src/platform/windows.rs`.
#[cfg(windows)]
#[test]
fn more_than_the_disk_has_is_an_error_at_create_and_nothing_is_left_behind() {
    if std::env::var_os("WINEPREFIX").is_some() {
        eprintln!("skipped: a full disk, since Wine never has one");
        return;
    }
    let place = Place::new();
    let error = Options::new().capacity(1 << 43).stripes(1 << 12).create(place.path()).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    assert!(error.to_string().contains(&real(&place)), "{error}");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn seats_full_says_how_many_there_are() {
    let place = Place::new();
    let one = small().seats(1).create(place.path()).unwrap();
    assert_eq!(
        message(Options::new().open(place.path())),
        format!("all 1 seats of {} are taken by living processes; create it with more (`seats`)", real(&place))
    );
    assert!(Options::new().open_read_only(place.path()).is_ok(), "a reader takes no seat");
    drop(one);
    drop(Options::new().open(place.path()).unwrap());
}

#[test]
fn bad_option_names_the_option_its_value_and_what_it_may_be() {
    let place = Place::new();
    let cases: [(&str, Options, &str); 12] = [
        ("stripes", small().stripes(3), "option stripes: expected a power of two from 1 to 4096, found 3"),
        ("stripes", small().stripes(0), "option stripes: expected a power of two from 1 to 4096, found 0"),
        ("stripes", small().stripes(8192), "option stripes: expected a power of two from 1 to 4096, found 8192"),
        (
            "lock_regions",
            small().lock_regions(4),
            "option lock_regions: expected a power of two from 1 to the 2 stripes, found 4",
        ),
        (
            "lock_regions",
            small().lock_regions(0),
            "option lock_regions: expected a power of two from 1 to the 2 stripes, found 0",
        ),
        (
            "capacity",
            small().capacity(0),
            "option capacity: expected 4096 to 17592186044416 bytes with 2 stripes, found 0",
        ),
        (
            "capacity",
            small().capacity(u64::MAX),
            "option capacity: expected 4096 to 17592186044416 bytes with 2 stripes, found 18446744073709551615",
        ),
        ("mean_item", small().mean_item(0), "option mean_item: expected 1 to the capacity of 65536 bytes, found 0"),
        (
            "mean_item",
            small().mean_item(u64::MAX),
            "option mean_item: expected 1 to the capacity of 65536 bytes, found 18446744073709551615",
        ),
        ("seats", small().seats(0), "option seats: expected 1 to 1048576, found 0"),
        ("seats", small().seats(u32::MAX), "option seats: expected 1 to 1048576, found 4294967295"),
        (
            "locks",
            small().locks(LockStrategy::Custom(Arc::new(LongName))),
            "option locks: expected a name of 1 to 32 bytes",
        ),
    ];
    for (name, options, said) in cases {
        for made in [options.create(place.path()), options.open_or_create(place.path())] {
            let error = made.unwrap_err();
            assert!(matches!(&error, Error::BadOption { option, .. } if *option == name), "{error}");
            assert!(error.to_string().starts_with(said), "{error}");
        }
        assert_eq!(place.names(), [""; 0], "nothing was made");
    }
    assert_eq!(message(small().create("/")), "option path: expected the path of a file, found /");
    assert_eq!(
        "lease-less".parse::<LockStrategy>().unwrap_err().to_string(),
        "no lock strategy \"lease-less\": expected file, lease, process, none or rw-file"
    );
}

/// A strategy whose name does not fit into the header.
struct LongName;

impl LockFactory for LongName {
    fn name(&self) -> &str {
        "a name that is longer than the header has room for"
    }

    fn id(&self) -> u64 {
        1002
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Never))
    }
}

#[test]
fn key_too_long_too_large_and_buffer_too_small_name_size_and_limit() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    assert_eq!(message(cache.set(vec![0; 65_536], "")), "a key of 65536 bytes: expected at most 65535");
    let limit = cache.stats().largest_record + kennel::record_size(0, 0);
    assert_eq!(
        message(cache.set("key", vec![0; 60_000])),
        format!(
            "an item of 60040 bytes (header, key and value): expected at most {limit}; fewer stripes or a larger capacity \
             allow larger items"
        )
    );
    cache.set("key", "value").unwrap();
    let mut buf = [1; 4];
    assert_eq!(message(cache.get_into("key", &mut buf)), "a buffer of 4 bytes for a value of 5");
    assert_eq!(buf, [1; 4], "nothing was copied");
}

#[test]
fn not_a_number_and_overflow_leave_the_value_as_it_was() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    let long = "9".repeat(40);
    let cases = [
        ("", "\"\""),
        ("12x", "\"12x\""),
        ("-1", "\"-1\""),
        ("+1", "\"+1\""),
        (" 1", "\" 1\""),
        ("18446744073709551616", "\"18446744073709551616\""),
        (&long, &*format!("\"{}\"...", &long[..32])),
    ];
    for (value, found) in cases {
        cache.set("n", value).unwrap();
        for result in [cache.incr("n", 1), cache.decr("n", 1)] {
            assert_eq!(message(result), format!("not a number: expected 1 to 20 decimal digits, found {found}"));
        }
        assert_eq!(cache.get("n").as_deref(), Some(value.as_bytes()));
    }
    let most = u64::MAX.to_string();
    cache.set("n", &most).unwrap();
    assert_eq!(message(cache.incr("n", 1)), format!("{most} + 1 is not a number from 0 to {most}"));
    assert_eq!(cache.get("n").as_deref(), Some(most.as_bytes()));
    cache.set("n", "7").unwrap();
    assert_eq!(message(cache.decr("n", 8)), format!("7 - 8 is not a number from 0 to {most}"));
    assert_eq!(cache.get("n").as_deref(), Some(&b"7"[..]));
    assert_eq!((cache.decr("n", 7).unwrap(), cache.incr("n", u64::MAX).unwrap()), (Some(0), Some(u64::MAX)));
}

#[test]
fn busy_says_which_stripe_and_how_long_and_nothing_is_written() {
    let place = Place::new();
    let cache = small().lock_wait(Duration::from_millis(20)).create(place.path()).unwrap();
    cache.set("key", "before").unwrap();
    let directory = place.dir().join("cache.locks").join(cache.stats().file_id);
    // As with a stopped process: all stripes are locked, and stay so.
    let held: Vec<_> = (0..2)
        .map(|n| {
            let file = fs::File::open(directory.join(format!("{n:04}.lock"))).unwrap();
            fs2::FileExt::lock_exclusive(&file).unwrap();
            file
        })
        .collect();
    let (stripe, how) = (Raw::load(&place.path()).stripe_of(b"key"), SetOptions::new());
    let expected =
        format!("stripe {stripe} was locked by another thread or process for 20ms; a stopped process may hold it");
    let refused = [
        message(cache.set("key", "after")),
        message(cache.add("key", "after", &how)),
        message(cache.delete("key")),
        message(cache.touch("key", Expiry::Never)),
        message(cache.incr("key", 1)),
        message(cache.set_multi(&[("key", "after")], &how).remove(0)),
    ];
    refused.iter().for_each(|said| assert_eq!(*said, expected));
    assert!(matches!(cache.flush(), Err(Error::Busy { .. })));
    assert_eq!(cache.stats().counters.busy, 6, "only the writes that gave up, not the flush");
    assert_eq!(cache.get("key").as_deref(), Some(&b"before"[..]), "reads need no lock");
    drop(held);
    cache.set("key", "after").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"after"[..]));
}

#[test]
fn read_only_names_the_file() {
    let place = Place::new();
    drop(small().create(place.path()).unwrap());
    let reader = small().open_read_only(place.path()).unwrap();
    assert_eq!(message(reader.set("key", "value")), format!("{} was opened read-only", real(&place)));
}
