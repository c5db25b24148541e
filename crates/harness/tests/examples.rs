//! The strategies of the examples keep the contract of locks, survive the kill test, and can be measured.
#![cfg(target_os = "linux")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The program of an example. `cargo test` builds the examples before the tests; `--test examples` alone does not.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let profile = test.ancestors().nth(2).expect("target/PROFILE");
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let built = Command::new(cargo).args(["build", "-p", "kennel-harness", "--example", name]).status();
        assert!(built.expect("cargo").success());
    }
    program
}

/// Runs the program, and returns its output.
fn run(name: &str, args: &[&str]) -> String {
    let output = Command::new(program(name)).args(args).output().expect("a program");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{name} {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn check(name: &str, strategy: &str) {
    let conformance = run(name, &["conformance"]);
    let skipped: Vec<&str> = conformance.lines().filter(|line| line.contains("skipped")).collect();
    assert!(conformance.contains("held     the lock of a killed process is released"), "{conformance}");
    assert!(conformance.contains("held     a forked child does not hold its parent's locks"), "{conformance}");
    // Like most strategies, this one has no locks that readers share.
    assert!(matches!(skipped[..], [line] if line.contains("readers share")), "{conformance}");

    let kill = run(name, &["kill", "--kills", "25"]);
    assert!(
        kill.starts_with(&format!("lock strategy {strategy}: ")) && kill.contains("verify found nothing"),
        "{kill}"
    );

    let locks = format!("--locks={strategy},file");
    let quick = "--seconds 0.05 --warm-up 0.01 --rounds 1 --processes 2 --regions 4 --keys 500 --writes 50 --json";
    let args: Vec<&str> = ["bench", &locks, "--no-syscalls"].into_iter().chain(quick.split(' ')).collect();
    let results: Value = serde_json::from_str(&run(name, &args)).expect("JSON");
    let measured: Vec<&Value> = results["cells"].as_array().expect("cells").iter().collect();
    assert_eq!(measured.len(), 2);
    assert_eq!(measured[0]["cell"]["strategy"], strategy);
    assert!(measured.iter().all(|one| one["counts"]["writes"].as_u64() > Some(0)), "{results}");
}

#[test]
fn a_robust_mutex_is_a_lock_strategy() {
    check("pthread_mutex", "pthread-mutex");
}

#[test]
fn a_byte_of_a_file_is_a_lock_strategy() {
    check("ofd_lock", "ofd-lock");
}
