//! `kennel far keep`, and the commands beside it.

use serde_json::Value;
use std::process::Stdio;

use crate::fixture::Expect as _;
use crate::server::{Place, send, wait_until};

const APP: [&str; 2] = ["--prefix", "app:"];

#[test]
fn a_kept_near_cache_answers_and_tells_of_itself() {
    let Some(place) = Place::new() else { return };
    place.ask(&[b"SET", b"app:1", b"one"]);
    let keep = place.keep(&APP);
    keep.wait_for("proved, after");
    wait_until("nothing is reported", || place.is_proved());
    // The settings are those of the processes that use the file.
    place.run("get", &["app:1"]).expect_status(0).expect_stdout("one");
    place.run("set", &["app:1", "two", "--ttl", "1h"]).expect_status(0).expect_stdout("");
    place.run("get", &["app:1"]).expect_status(0).expect_stdout("two");
    place.run("get", &["app:1", "--fresh"]).expect_status(0).expect_stdout("two");
    assert!(matches!(place.ask(&[b"PTTL", b"app:1"]), kennel_far::resp::Value::Int(1..=3_600_000)));
    place.run("get", &["--key-hex", "6170703a31"]).expect_status(0).expect_stdout("two");
    place.run("delete", &["app:1", "app:none"]).expect_status(1);
    place.run("get", &["app:1"]).expect_status(1).expect_stdout("");
    place.run("set", &["other", "x"]).expect_status(0);
    place.run("get", &["other"]).expect_status(0).expect_stdout("x");

    let text = place.stat(&[]).expect_status(0).text();
    for part in ["Near cache of app:", ": proved\n", "  seat-", " process ", "pushes ", "1 with keepers"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    wait_until("no push is counted", || {
        let stat: Value = serde_json::from_slice(&place.stat(&["--json"]).stdout).unwrap();
        stat["tiers"][0]["counters"]["pushes"].as_u64() > Some(0)
    });
    let pid = keep.child.id();
    let stat: Value = serde_json::from_slice(&place.stat(&["--json"]).stdout).unwrap();
    let held: Vec<&Value> =
        stat["tiers"][0]["seats"].as_array().unwrap().iter().filter(|seat| seat["held"] == true).collect();
    assert!(held.len() == 1 && held[0]["pid"] == pid && held[0]["connections"][0].is_u64(), "{stat}");
    assert_eq!(stat["tiers"][0]["processes"][0]["pid"], pid);

    keep.wait_for("warning: the server limits neither");
    assert_eq!(keep.end("TERM"), Some(0));
    place.stat(&[]).expect_status(1);
    let free = place.stat(&[]).text();
    assert!(free.contains(" free\n") && free.contains("no running process"), "{free}");
    place.run("get", &["app:1"]).expect_status(2).expect_error("give its --prefix");
    place.run("get", &["app:1", "--prefix", "app:"]).expect_status(1);
}

#[test]
fn a_limited_server_is_not_warned_of() {
    let Some(mut place) = Place::without_server() else { return };
    place.start(&["--client-output-buffer-limit", "normal", "64mb", "16mb", "30"]);
    let keep = place.keep(&APP);
    keep.wait_for("proved, after");
    wait_until("nothing is reported", || place.is_proved());
    let said = keep.said();
    assert_eq!(keep.end("INT"), Some(0));
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn a_second_keeper_waits_for_a_seat_and_takes_over() {
    let Some(place) = Place::new() else { return };
    let first = place.keep(&[APP[0], APP[1], "--keepers", "1"]);
    first.wait_for("proved, after");
    let log = std::fs::File::create(place.dir.path().join("second.log")).unwrap();
    let mut second = place.command("keep", &[APP[0], APP[1], "--keepers", "1"]).stdout(log).spawn().unwrap();
    let said = || std::fs::read_to_string(place.dir.path().join("second.log")).unwrap();
    wait_until("the second sees no proof", || said().contains("proved by other processes"));
    assert!(!said().contains("has seat"), "{}", said());
    send("KILL", first.child.id());
    wait_until("the second takes no seat", || said().contains("has seat-0"));
    wait_until("nothing is proved", || place.is_proved());
    send("TERM", second.id());
    assert_eq!(second.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_that_comes_later_is_waited_for() {
    let Some(mut place) = Place::without_server() else { return };
    let keep = place.keep(&APP);
    keep.wait_for("problem: cannot reach the server");
    place.stat(&[]).expect_status(1);
    place.start(&[]);
    keep.wait_for("proved, after");
    wait_until("nothing is reported", || place.is_proved());
    assert_eq!(keep.end("TERM"), Some(0));
}

#[test]
fn a_password_comes_from_a_file_and_a_wrong_one_is_told() {
    let Some(mut place) = Place::without_server() else { return };
    place.start(&["--requirepass", "s3cret/@"]);
    let file = |text: &str| {
        let path = place.dir.path().join(format!("password-{}", text.len()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("s3cret/@\nignored"), file("wrong"));
    let keep = place.keep(&[APP[0], APP[1], "--password-file", &wrong]);
    keep.wait_for("problem: the server answered: WRONGPASS");
    assert!(!keep.said().contains("wrong\n"), "{}", keep.said());
    wait_until("the problem is not in the file", || place.stat(&[]).text().contains("WRONGPASS"));
    place.stat(&[]).expect_status(1);
    assert_eq!(keep.end("TERM"), Some(0));
    let keep = place.keep(&[APP[0], APP[1], "--password-file", &right]);
    keep.wait_for("proved, after");
    place.run("set", &["app:1", "x", "--password-file", &right, "--prefix", "app:"]).expect_status(0);
    place.run("get", &["app:1", "--prefix", "app:"]).expect_status(2).expect_error("NOAUTH");
    place.run("get", &["app:1", "--password-file", "none"]).expect_status(2).expect_error("cannot read the password");
}

#[test]
fn a_near_file_that_is_removed_is_made_anew() {
    let Some(place) = Place::new() else { return };
    let keep = place.keep(&APP);
    keep.wait_for("proved, after");
    std::fs::remove_file(&place.near).unwrap();
    keep.wait_for("the near file was removed or replaced");
    wait_until("the new file is not proved", || place.is_proved());
    assert_eq!(keep.end("TERM"), Some(0));
}

/// Whoever reads its lines may leave, and a service may have no output at all.
#[test]
fn a_tracker_needs_no_output() {
    let Some(place) = Place::new() else { return };
    for has_reader in [true, false] {
        let mut command = place.command("keep", &APP);
        let mut child = if has_reader {
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            child
        } else {
            let line = format!("exec {} far keep {} near --prefix app: >&- 2>&-", program(), place.url());
            std::process::Command::new("sh").args(["-c", &line]).current_dir(place.dir.path()).spawn().unwrap()
        };
        wait_until("nothing is proved", || place.is_proved());
        send("TERM", child.id());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

fn program() -> String {
    crate::fixture::kennel().get_program().to_string_lossy().into_owned()
}
