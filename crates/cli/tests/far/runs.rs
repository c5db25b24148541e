//! `check`, `bench` and `demo`: short runs.

use serde_json::Value;

use crate::fields::Fields;
use crate::fixture::{Expect as _, kennel};
use crate::server::{Place, program};

#[test]
fn a_check_finds_nothing_and_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    place.ask(&[b"SET", b"mine", b"1"]);
    let check = kennel().args(["far", "check", &place.url(), "--seconds", "3", "--workers", "2"]).output().unwrap();
    let text = check.expect_status(0).text();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("reads ") && last.ends_with(", violations 0"), "{text}");
    let reads: u64 = last.split([' ', ',']).nth(1).unwrap().parse().unwrap();
    assert!(reads > 100, "{text}");
    // Probes end by themselves after two seconds.
    let is_left = |key: &&String| !key.contains(":probe:") && *key != "mine";
    let keys = place.keys();
    assert_eq!(keys.iter().find(is_left), None);
    assert!(keys.contains(&"mine".to_owned()));
}

#[test]
fn a_check_that_proves_nothing_is_an_error() {
    let Some(place) = Place::new() else { return };
    // This user may not track.
    place.ask(&[b"ACL", b"SETUSER", b"worker", b"on", b">pw", b"~*", b"+@all", b"-client|tracking"]);
    let url = place.url().replace("unix://", "unix://worker:pw@");
    let check = kennel().args(["far", "check", &url, "--seconds", "1", "--workers", "1"]).output().unwrap();
    check.expect_status(2).expect_error("nothing was checked").expect_error("NOPERM");
}

#[test]
fn a_bench_has_a_row_for_each_call() {
    let Some(place) = Place::new() else { return };
    let bench =
        |more: &[&str]| kennel().args(["far", "bench", &place.url(), "--seconds", "0.05"]).args(more).output().unwrap();
    let text = bench(&[]).expect_status(0).text();
    for part in ["a hit in the near cache", "get_fresh", "fetched and stored", "another host", "median"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let document: Value = serde_json::from_slice(&bench(&["--json"]).stdout).unwrap();
    let mut fields = Fields::of("far bench");
    fields.check(&document, "");
    fields.expect_all(&[]);
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() == 6 && rows.iter().all(|row| row["median_ns"].as_u64() > Some(0)), "{document}");
    assert!(place.keys().iter().all(|key| key.contains(":probe:")), "{:?}", place.keys());
    bench(&["--seconds", "0"]).expect_status(2);
}

#[test]
fn the_demo_kills_trackers_and_reports() {
    let Some(program) = program() else { return };
    let output = kennel().args(["far", "demo", "--seconds", "4", "--server"]).arg(&program).output().unwrap();
    let text = output.expect_status(0).text();
    for part in ["8 workers on 2 hosts", "needed no server", "per 1,000 reads", "SIGKILL", "  wrong         0 of "] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let of = |name: &str| text.lines().filter_map(|line| line.trim().strip_prefix(name)).next_back().unwrap();
    let killed: u64 = of("killed").split_whitespace().next().unwrap().parse().unwrap();
    assert!(killed >= 1, "{text}");
}

#[test]
fn a_demo_without_a_server_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let demo =
        |args: &[&str]| kennel().args(["far", "demo"]).args(args).env("PATH", "").current_dir(dir.path()).output();
    demo(&[]).unwrap().expect_status(2).expect_error("--server").expect_error("--url");
    demo(&["--server", "/bin/false"]).unwrap().expect_status(2).expect_error("/bin/false does not serve");
    demo(&["--server", "/none"]).unwrap().expect_status(2).expect_error("/none");
}
