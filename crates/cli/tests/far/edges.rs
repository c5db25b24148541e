//! What is not as it should be: files, rights, descriptors, servers and arguments.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::fixture::{Expect as _, kennel};
use crate::server::Place;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

#[test]
fn what_is_no_near_file_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let stat = |name: &str| kennel().args(["far", "stat"]).arg(at(name)).output().unwrap();
    stat("missing").expect_status(2).expect_error("no near file at");
    std::fs::write(at("text"), "not a cache").unwrap();
    stat("text").expect_status(2).expect_error("kennel: ");
    std::fs::create_dir(at("folder")).unwrap();
    stat("folder").expect_status(2).expect_error("kennel: ");
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    // Without a writer, to open it would wait for ever.
    stat("fifo").expect_status(2).expect_error("kennel: ");
    let keep = |name: &str| {
        let mut command = kennel();
        command.args(["far", "keep", "unix:///nowhere"]).arg(at(name)).args(["--prefix", "a"]);
        command.output().unwrap()
    };
    for name in ["fifo", "folder", "text", "none/near"] {
        keep(name).expect_status(2).expect_error("kennel: ").expect_stdout("");
    }
    kennel().arg("create").arg(at("plain")).args(["--capacity", "1M"]).output().unwrap().expect_status(0);
    stat("plain").expect_status(1).expect_error("no process has used");
}

#[test]
fn rights_that_are_missing_are_told() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let near = dir.path().join("near");
    kennel().arg("create").arg(&near).args(["--capacity", "1M"]).output().unwrap().expect_status(0);
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = |args: &[&str]| kennel().args(args).uid(65534).gid(65534).output();
    // Where the program lies in a folder of root's, nobody else can start it.
    if let Ok(denied) = nobody(&["far", "stat", &near.display().to_string()]) {
        denied.expect_status(2).expect_error("ermission denied");
        let new = dir.path().join("new").display().to_string();
        let kept = nobody(&["far", "keep", "unix:///nowhere", &new, "--prefix", "a"]).unwrap();
        kept.expect_status(2).expect_error("ermission denied");
    }
    chown(&near, Some(65534), None).unwrap();
    std::fs::set_permissions(&near, std::fs::Permissions::from_mode(0o666)).unwrap();
    let stat = |more: &[&str]| kennel().args(["far", "stat"]).arg(&near).args(more).output().unwrap();
    stat(&[]).expect_status(2).expect_error("use --trust");
    stat(&["--trust"]).expect_status(1);
}

#[test]
fn few_descriptors_are_told() {
    let Some(place) = Place::new() else { return };
    let program = kennel().get_program().to_string_lossy().into_owned();
    let said = |limit: u32| {
        let line = format!(
            "ulimit -n {limit}; exec timeout -s TERM 4 {program} far keep {} {} --prefix app:",
            place.url(),
            place.near.display()
        );
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        (output.status.code(), output.text() + &String::from_utf8_lossy(&output.stderr))
    };
    let mut failures = 0;
    for limit in [4, 5, 6, 7, 8, 9, 10] {
        let (status, text) = said(limit);
        let is_told = text.contains("Too many open files") || text.contains("os error 24");
        assert!(is_told || text.contains("proved, after"), "{limit}: {status:?} {text}");
        assert!(!text.contains("panicked"), "{text}");
        failures += u32::from(is_told);
    }
    assert!(failures > 0);
    assert!(said(64).1.contains("proved, after"));
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("unix://{}", dir.path().join("none.sock").display());
    for command in ["check", "bench", "demo"] {
        let url = if command == "demo" { format!("--url={url}") } else { url.clone() };
        let output = kennel().args(["far", command, &url]).output().unwrap();
        output.expect_status(2).expect_error("cannot reach the server");
    }
}

#[test]
fn arguments_that_cannot_hold_are_refused() {
    let Some(place) = Place::new() else { return };
    place.run("keep", &[]).expect_status(2).expect_error("--prefix");
    place.run("keep", &["--prefix", "a", "--max-staleness", "1ms"]).expect_status(2).expect_error("--max-staleness: ");
    place.run("keep", &["--prefix", "a", "--prefix", "ab"]).expect_status(2).expect_error("--prefix: expected");
    place.run("keep", &["--prefix", "a", "--keepers", "3"]).expect_status(2).expect_error("--keepers");
    place.run("keep", &["--prefix", "a", "--password-file", "none"]).expect_status(2).expect_error("password");
    let keep =
        |url: &str| kennel().args(["far", "keep", url]).arg(&place.near).args(["--prefix", "a"]).output().unwrap();
    keep("http://u:hunter2@h").expect_status(2).expect_error("URL: expected");
    assert!(!String::from_utf8_lossy(&keep("http://u:hunter2@h").stderr).contains("hunter2"));
    let check =
        kennel().args(["far", "check", &place.url(), "--max-staleness", "20ms", "--hosts", "0"]).output().unwrap();
    check.expect_status(2).expect_error("--hosts");
    place.run("delete", &[]).expect_status(2).expect_error("KEY");
    let other = place.keep(&["--prefix", "a"]);
    other.wait_for("proved, after");
    place
        .run("keep", &["--prefix", "a", "--max-staleness", "2s"])
        .expect_status(2)
        .expect_error("another --max-staleness");
}
