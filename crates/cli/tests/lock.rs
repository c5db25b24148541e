//! `kennel lock` at its edges: signals, and locks of more keys than a file takes.
#![cfg(unix)]

mod place;

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use place::{Place, expect, expect_failure};

/// A cache file with room for few locks, and `kennel lock` on it.
fn locked(place: &Place, args: &[&str]) -> Command {
    if !place.cache.exists() {
        let create = ["create", "memo.cache", "--capacity", "1M", "--stripes", "1", "--claims", "4"];
        assert!(place.command(create).output().unwrap().status.success());
    }
    place.command([&["lock", "memo.cache"], args].concat())
}

fn send(signal: &str, to: &Child) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &to.id().to_string()]).status().unwrap().success());
}

/// One who is told to end has not ended: until then the next holder would run beside it.
#[test]
fn a_signal_frees_the_lock_when_the_command_has_ended() {
    for (name, number) in [("TERM", 15), ("HUP", 1)] {
        let place = Place::new();
        let script =
            format!("trap 'echo told >> log' {name}; echo in >> log; while [ ! -e go ]; do sleep 0.05; done; exit 7");
        let holder = locked(&place, &["key", "--", "sh", "-c", &script]).spawn().unwrap();
        place.wait_for_runs(1);
        send(name, &holder);
        place.wait_for_runs(2);
        sleep(Duration::from_millis(100));
        let other = locked(&place, &["key", "--wait", "0s", "--", "echo", "beside it"]).output().unwrap();
        expect_failure(&other, 1, "the key is locked");
        place.write("go", "");
        expect(&holder.wait_with_output().unwrap(), 7, "", "");
        assert_eq!(place.read("log"), "in\ntold\n");

        // A command that does not know the signal ends by it.
        let holder = locked(&place, &["key", "--", "sh", "-c", "echo in >> log; exec sleep 1000"]).spawn().unwrap();
        place.wait_for_runs(3);
        sleep(Duration::from_millis(100));
        send(name, &holder);
        expect(&holder.wait_with_output().unwrap(), 128 + number, "", "");
        expect(&locked(&place, &["key", "--wait", "0s", "--", "echo", "mine"]).output().unwrap(), 0, "mine\n", "");
    }
}

/// `nohup`, and shells that start something in the background, have signals ignored; a handler of ours would end that.
#[test]
fn a_signal_that_is_ignored_stays_so_for_the_command() {
    let place = Place::new();
    expect(&locked(&place, &["key", "--", "true"]).output().unwrap(), 0, "", "");
    let kennel = env!("CARGO_BIN_EXE_kennel");
    let inner = "for signal in HUP INT TERM; do kill -$signal $$; done; echo survived";
    for command in [format!("lock {} key", place.cache.display()), format!("memo --cache {}", place.cache.display())] {
        let script = format!("trap '' HUP INT TERM; {kennel} {command} -- sh -c '{inner}'");
        let output = place_shell(&place, &script).output().unwrap();
        expect(&output, 0, "survived\n", "");
    }
}

fn place_shell(place: &Place, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(place.dir.path());
    shell
}

/// A script that takes "locked by another" for "somebody does it already" must not be told so when nobody does.
#[test]
fn that_no_more_keys_can_be_locked_is_no_conflict() {
    let place = Place::new();
    let script = "echo in >> log; while [ ! -e go ]; do sleep 0.05; done";
    let hold = |key: u32| locked(&place, &[&format!("key {key}"), "--", "sh", "-c", script]).spawn().unwrap();
    let holders: Vec<Child> = (0..4).map(hold).collect();
    place.wait_for_runs(4);
    let output = locked(&place, &["another key", "--wait", "50ms", "--", "echo", "no"]).output().unwrap();
    expect_failure(&output, 125, "expected a free claim for the key");
    expect_failure(&output, 125, "kennel create --claims");
    let output = locked(&place, &["key 0", "--wait", "50ms", "--", "echo", "no"]).output().unwrap();
    expect_failure(&output, 1, "the key is locked");
    // Without a limit it waits for room as for the key itself.
    let waiting = locked(&place, &["another key", "--", "echo", "yes"]).spawn().unwrap();
    place.write("go", "");
    for holder in holders {
        expect(&holder.wait_with_output().unwrap(), 0, "", "");
    }
    expect(&waiting.wait_with_output().unwrap(), 0, "yes\n", "");
    fs::remove_file(place.dir.path().join("go")).unwrap();
}
