//! Commands on cache files and on their keys and values: the real program, one process for each command.

mod fixture;

use std::thread::sleep;
use std::time::Duration;

use fixture::{BINARY, Expect as _, Fixture, Outcome, kennel};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn create_says_what_it_made_and_never_replaces() -> Outcome {
    let fixture = Fixture::new()?;
    let again = fixture.run("create", ["--capacity", "4MiB"])?;
    again.expect_status(2).expect_stdout("").expect_error("kennel: ");

    let other = fixture.dir.path().join("other.cache");
    let made = kennel().arg("create").arg(&other).arg("--capacity=4MiB").output()?;
    let text = made.expect_status(0).text();
    assert!(text.contains("other.cache") && text.contains("MiB"), "{text}");
    Ok(())
}

#[test]
fn create_takes_every_option() -> Outcome {
    let dir = TempDir::new()?;
    let file = dir.path().join("all.cache");
    let args = "--capacity 8MiB --mean-item 1KiB --stripes 8 --locks none --lock-regions 4 \
                --mode 640 --seats 16 --after-crash verify --prefault";
    let made = kennel().arg("create").arg(&file).args(args.split_whitespace()).output()?;
    made.expect_status(0);
    let stat = kennel().arg("stat").arg(&file).arg("--json").output()?;
    let stats: Value = serde_json::from_slice(&stat.expect_status(0).stdout)?;
    assert_eq!(stats["stripes"], 8);
    assert_eq!(stats["lock_regions"], 4);
    assert_eq!(stats["mean_item"], 1024);
    assert_eq!(stats["seats"], 16);
    assert_eq!(stats["strategy"], "none");
    Ok(())
}

#[test]
fn create_knows_every_lock_strategy() -> Outcome {
    let dir = TempDir::new()?;
    for strategy in ["file", "lease", "process", "none", "rw-file"] {
        let file = dir.path().join(strategy);
        let made = kennel().arg("create").arg(&file).args(["--capacity", "1MiB", "--locks", strategy]).output()?;
        made.expect_status(0);
        kennel().arg("set").arg(&file).args(["key", "value"]).output()?.expect_status(0);
        let stat = kennel().arg("stat").arg(&file).arg("--json").output()?;
        let stats: Value = serde_json::from_slice(&stat.expect_status(0).stdout)?;
        assert_eq!(stats["strategy"], strategy);
    }
    Ok(())
}

#[test]
fn a_value_comes_back_unchanged() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["greeting", "hello"])?.expect_status(0).expect_stdout("");
    fixture.get("greeting")?.expect_status(0).expect_stdout("hello");
    fixture.run("set", ["greeting", ""])?.expect_status(0);
    fixture.get("greeting")?.expect_status(0).expect_stdout("");
    Ok(())
}

#[test]
fn a_miss_is_status_1_and_silent() -> Outcome {
    let fixture = Fixture::new()?;
    for args in [vec!["nobody"], vec!["nobody", "--json"]] {
        let output = fixture.run("get", &args)?;
        output.expect_status(1).expect_stdout("");
        assert!(output.stderr.is_empty());
    }
    Ok(())
}

#[test]
fn values_come_from_standard_input_as_they_are() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.feed("set", &["absent"], BINARY)?.expect_status(0);
    fixture.get("absent")?.expect_stdout(BINARY);
    fixture.feed("set", &["dash", "-"], b"piped\n")?.expect_status(0);
    fixture.get("dash")?.expect_stdout("piped\n");
    Ok(())
}

#[test]
fn keys_may_be_any_bytes() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.feed("set", &["--key-hex", "00ff0a"], BINARY)?.expect_status(0);
    fixture.run("get", ["--key-hex", "00FF0A"])?.expect_status(0).expect_stdout(BINARY);
    fixture.run("keys", ["--hex"])?.expect_stdout("00ff0a\n");
    fixture.run("keys", ["--null"])?.expect_stdout(b"\x00\xff\n\0");
    fixture.run("keys", ["--hex", "--key-hex", "--prefix", "00ff"])?.expect_stdout("00ff0a\n");
    fixture.run("delete", ["--key-hex", "00ff0a"])?.expect_status(0);
    fixture.run("get", ["--key-hex", "00ff0a"])?.expect_status(1);
    for wrong in ["0", "xy"] {
        fixture.run("get", ["--key-hex", wrong])?.expect_status(2).expect_error("hexadecimal");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn arguments_need_not_be_text() -> Outcome {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = Fixture::new()?;
    let raw = OsStr::from_bytes(b"\xff\xfe");
    fixture.run("set", [raw, raw])?.expect_status(0);
    fixture.run("get", [raw])?.expect_status(0).expect_stdout(b"\xff\xfe");
    fixture.run("get", ["--key-hex", "fffe"])?.expect_status(0).expect_stdout(b"\xff\xfe");
    Ok(())
}

#[test]
fn get_tells_everything_in_json() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["plain", "hello", "--flags", "7"])?.expect_status(0);
    let plain = fixture.json("get", &["plain", "--json"])?;
    assert_eq!(plain["key"], "plain");
    assert_eq!(plain["value"], "hello");
    assert_eq!(plain["flags"], 7);
    assert!(plain["stamp"].as_str().is_some_and(|stamp| stamp.parse::<u64>().is_ok()));
    assert!(plain["expires"].is_null());

    fixture.feed("set", &["--key-hex", "ff", "--ttl", "1h"], b"\xff\x00")?.expect_status(0);
    let binary = fixture.json("get", &["--key-hex", "ff", "--json"])?;
    assert_eq!(binary["key_hex"], "ff");
    assert_eq!(binary["value_hex"], "ff00");
    assert!(binary["expires"].as_u64() > Some(1_700_000_000_000), "{binary}");
    Ok(())
}

#[test]
fn add_and_replace_ask_whether_the_key_is_there() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "1", "--replace"])?.expect_status(1);
    fixture.get("k")?.expect_status(1);
    fixture.run("set", ["k", "2", "--add"])?.expect_status(0);
    fixture.run("set", ["k", "3", "--add"])?.expect_status(1);
    fixture.get("k")?.expect_stdout("2");
    fixture.run("set", ["k", "4", "--replace"])?.expect_status(0);
    fixture.get("k")?.expect_stdout("4");
    fixture.run("set", ["k", "5", "--add", "--replace"])?.expect_status(2);
    Ok(())
}

#[test]
fn values_expire() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["brief", "x", "--ttl", "50ms"])?.expect_status(0);
    fixture.run("set", ["kept", "x", "--ttl", "1h"])?.expect_status(0);
    sleep(Duration::from_millis(100));
    fixture.get("brief")?.expect_status(1);
    fixture.get("kept")?.expect_status(0);
    Ok(())
}

#[test]
fn a_namespace_has_keys_of_its_own() -> Outcome {
    let fixture = Fixture::new()?;
    let missing = "kennel: no namespace \"pages\": expected one of the file's: it has none\n";
    for name in ["get", "touch", "delete", "incr"] {
        let given = if name == "touch" { vec!["1", "--no-expiry"] } else { vec!["1"] };
        let output = fixture.run(name, given.into_iter().chain(["--namespace", "pages"]))?;
        assert_eq!((output.expect_status(1).stderr.as_slice(), name), (missing.as_bytes(), name));
    }
    fixture.run("set", ["1", "page", "--namespace", "pages"])?.expect_status(0);
    fixture.run("set", ["1", "plain"])?.expect_status(0);
    fixture.run("get", ["1", "--namespace", "pages"])?.expect_status(0).expect_stdout("page");
    fixture.get("1")?.expect_status(0).expect_stdout("plain");
    fixture.run("incr", ["n", "--initial", "1", "--namespace", "pages"])?.expect_status(0).expect_stdout("1\n");
    fixture.run("delete", ["n", "--namespace", "pages"])?.expect_status(0);
    fixture.run("keys", ["--namespace", "pages"])?.expect_status(0).expect_stdout("1\n");
    fixture.run("keys", ["--namespace", "paegs"])?.expect_status(1).expect_stdout("");
    fixture.run("clear", ["--namespace", "pages"])?.expect_status(0);
    fixture.run("keys", [""; 0])?.expect_status(0).expect_stdout("1\n");
    fixture.get("1")?.expect_stdout("plain");
    fixture.run("clear", ["--namespace", "pages", "--remove"])?.expect_status(0);
    let output = fixture.run("clear", ["--namespace", "pages", "--remove"])?;
    assert_eq!(output.expect_status(1).stderr.as_slice(), missing.as_bytes());
    fixture.run("clear", ["--remove"])?.expect_status(2);
    fixture.get("1")?.expect_stdout("plain");
    Ok(())
}

#[test]
fn touch_changes_when() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "v", "--ttl", "1h"])?.expect_status(0);
    fixture.run("touch", ["k", "--no-expiry"])?.expect_status(0);
    assert!(fixture.json("get", &["k", "--json"])?["expires"].is_null());
    fixture.run("touch", ["k", "--ttl", "50ms"])?.expect_status(0);
    sleep(Duration::from_millis(100));
    fixture.get("k")?.expect_status(1);
    fixture.run("touch", ["nobody", "--no-expiry"])?.expect_status(1);
    fixture.run("touch", ["k"])?.expect_status(2);
    fixture.run("touch", ["k", "--ttl", "1h", "--no-expiry"])?.expect_status(2);
    Ok(())
}

#[test]
fn incr_counts_both_ways() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("incr", ["n"])?.expect_status(1).expect_stdout("");
    fixture.run("incr", ["n", "--initial", "40"])?.expect_status(0).expect_stdout("40\n");
    fixture.run("incr", ["n", "--initial", "40"])?.expect_stdout("41\n");
    fixture.run("incr", ["n", "--by", "9"])?.expect_stdout("50\n");
    fixture.run("incr", ["n", "--down", "--by", "8"])?.expect_stdout("42\n");
    fixture.run("incr", ["n", "--down", "--by", "99"])?.expect_status(2).expect_error("42 - 99");
    fixture.run("incr", ["n", "--by", "0"])?.expect_stdout("42\n");
    fixture.run("set", ["n", "many"])?.expect_status(0);
    fixture.run("incr", ["n"])?.expect_status(2).expect_error("kennel: ");
    Ok(())
}

#[test]
fn delete_removes_the_keys_with_a_prefix() -> Outcome {
    let fixture = Fixture::new()?;
    for key in ["user:1", "user:2", "page:1"] {
        fixture.run("set", [key, "x"])?.expect_status(0);
        fixture.run("set", [key, "x", "--namespace", "pages"])?.expect_status(0);
    }
    fixture.run("delete", ["--prefix", "user:"])?.expect_status(0);
    fixture.run("delete", ["--prefix", "user:"])?.expect_status(1);
    fixture.run("get", ["user:1"])?.expect_status(1);
    fixture.run("get", ["page:1"])?.expect_status(0);
    fixture.run("get", ["user:1", "--namespace", "pages"])?.expect_status(0);
    fixture.run("delete", ["--prefix", "7573", "--key-hex", "--namespace", "pages"])?.expect_status(0);
    fixture.run("get", ["user:1", "--namespace", "pages"])?.expect_status(1);
    fixture.run("get", ["page:1", "--namespace", "pages"])?.expect_status(0);
    fixture.run("delete", ["--prefix", "", "--namespace", "none"])?.expect_status(1);
    fixture.run("delete", ["key", "--prefix", "user:"])?.expect_status(2);
    Ok(())
}

#[test]
fn delete_removes_what_is_there_and_tells_of_what_is_not() -> Outcome {
    let fixture = Fixture::new()?;
    for key in ["a", "b", "c"] {
        fixture.run("set", [key, "v"])?.expect_status(0);
    }
    fixture.run("delete", ["a", "b"])?.expect_status(0);
    fixture.run("delete", ["a", "c"])?.expect_status(1);
    for key in ["a", "b", "c"] {
        fixture.get(key)?.expect_status(1);
    }
    fixture.run("delete", [""; 0])?.expect_status(2);
    Ok(())
}

#[test]
fn keys_lists_what_is_asked_for() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("keys", [""; 0])?.expect_status(0).expect_stdout("");
    for key in ["user:1", "user:2", "page:1"] {
        fixture.run("set", [key, "v"])?.expect_status(0);
    }
    let listed = fixture.run("keys", ["--prefix", "user:"])?;
    let text = listed.expect_status(0).text();
    let mut users: Vec<&str> = text.lines().collect();
    users.sort_unstable();
    assert_eq!(users, ["user:1", "user:2"]);
    assert_eq!(fixture.run("keys", [""; 0])?.text().lines().count(), 3);
    Ok(())
}

#[test]
fn clear_empties_and_destroy_removes() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "v"])?.expect_status(0);
    fixture.run("clear", [""; 0])?.expect_status(0);
    fixture.get("k")?.expect_status(1);
    fixture.run("flush", [""; 0])?.expect_status(0);
    fixture.run("destroy", [""; 0])?.expect_status(0);
    assert!(!fixture.file.exists());
    assert_eq!(fixture.dir.path().read_dir()?.count(), 0, "something was left behind");
    fixture.run("destroy", [""; 0])?.expect_status(2);
    Ok(())
}

#[test]
fn paths_may_have_spaces_and_be_no_ascii() -> Outcome {
    let mut fixture = Fixture::new()?;
    fixture.run("destroy", [""; 0])?.expect_status(0);
    let folder = fixture.dir.path().join("ein schöner Zwinger");
    std::fs::create_dir(&folder)?;
    fixture.file = folder.join("犬 & co.cache");
    fixture.run("create", ["--capacity", "4MiB"])?.expect_status(0);
    fixture.run("set", ["Schlüssel", "Wert 値"])?.expect_status(0);
    fixture.get("Schlüssel")?.expect_stdout("Wert 値");
    let named = fixture.json("stat", &["--json"])?["path"].as_str().ok_or("no path")?.to_owned();
    assert!(named.ends_with("犬 & co.cache") && named.contains("ein schöner Zwinger"), "{named}");
    assert!(!named.starts_with(r"\\?\"), "{named}");
    fixture.run("destroy", [""; 0])?.expect_status(0);
    assert_eq!(folder.read_dir()?.count(), 0, "something was left behind");
    Ok(())
}

#[test]
fn what_another_process_has_open_is_destroyed_and_made_anew() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "v"])?.expect_status(0);
    let file = fixture.file.as_os_str();
    let program = kennel();
    // The process that holds the lock has the file open for writing while the other one destroys it.
    let destroy = ["key".as_ref(), "--".as_ref(), program.get_program(), "destroy".as_ref(), file];
    fixture.run("lock", destroy)?.expect_status(0);
    assert!(!fixture.file.exists());
    fixture.run("create", ["--capacity", "4MiB"])?.expect_status(0);
    fixture.get("k")?.expect_status(1);
    let create = ["key".as_ref(), "--".as_ref(), program.get_program(), "create".as_ref(), file];
    fixture.run("lock", create)?.expect_status(2).expect_error("exists");
    fixture.run("destroy", [""; 0])?.expect_status(0);
    assert_eq!(fixture.dir.path().read_dir()?.count(), 0, "something was left behind");
    Ok(())
}

#[test]
fn stat_is_for_people_and_for_programs() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "v"])?.expect_status(0);
    let text = fixture.run("stat", [""; 0])?.expect_status(0).text();
    for part in ["items            1\n", "MiB", "hit ratio", "evictions", "lock waits"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("Stripes"), "{text}");
    assert!(fixture.run("stat", ["--stripes"])?.text().contains("Stripes"));

    let stats = fixture.json("stat", &["--json"])?;
    assert_eq!(stats["items"], 1);
    assert!(stats["counters"]["sets"].is_u64());
    assert!(stats.get("stripe_stats").is_none());
    let stats = fixture.json("stat", &["--json", "--stripes"])?;
    let stripes = stats["stripe_stats"].as_array().map(Vec::len);
    assert_eq!(stripes.map(|n| n as u64), stats["stripes"].as_u64());
    Ok(())
}

#[test]
fn verify_finds_nothing_in_a_whole_file() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["k", "v"])?.expect_status(0);
    let text = fixture.run("verify", [""; 0])?.expect_status(0).text();
    assert!(text.starts_with("no problem in "), "{text}");
    let found = fixture.json("verify", &["--json"])?;
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn verify_lists_what_is_broken() -> Outcome {
    let fixture = Fixture::new()?;
    for key in ["a", "b", "c"] {
        fixture.run("set", [key, "some value"])?.expect_status(0);
    }
    break_records(&fixture.file)?;
    let output = fixture.run("verify", [""; 0])?;
    let text = output.expect_status(1).text();
    assert!(text.contains("stripe") && text.contains("problem"), "{text}");
    Ok(())
}

/// Overwrites the value of every record with other bytes.
fn break_records(file: &std::path::Path) -> Outcome {
    let mut bytes = std::fs::read(file)?;
    let places: Vec<usize> =
        bytes.windows(10).enumerate().filter(|(_, w)| w == b"some value").map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "no record is in the file");
    for at in places {
        bytes[at..at + 10].copy_from_slice(b"other text");
    }
    std::fs::write(file, bytes)?;
    Ok(())
}

#[test]
fn errors_name_the_file_and_the_cause() -> Outcome {
    let dir = TempDir::new()?;
    let absent = dir.path().join("absent.cache");
    for name in ["stat", "verify", "keys", "flush", "clear", "destroy"] {
        let output = kennel().arg(name).arg(&absent).output()?;
        output.expect_status(2).expect_stdout("").expect_error("kennel: ").expect_error("absent.cache");
    }
    let foreign = dir.path().join("foreign.cache");
    std::fs::write(&foreign, vec![b'x'; 1 << 16])?;
    let output = kennel().arg("get").arg(&foreign).arg("k").output()?;
    output.expect_status(2).expect_stdout("").expect_error("kennel: ");
    Ok(())
}
