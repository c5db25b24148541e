//! `kennel demo --languages`, with what every Unix system has. `cargo xtask languages` runs it with the packages.
#![cfg(unix)]

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fixture::{Outcome, kennel};
use tempfile::TempDir;

fn printed(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn the_languages_of_every_system_agree() -> Outcome {
    let output = kennel().args(["demo", "--languages=shell,rust"]).output()?;
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for expected in ["POSIX shell            read 2 of 2", "4 programs missed", "1 creation,", "2 of 2 programs"] {
        assert!(said.contains(expected), "{said}");
    }
    Ok(())
}

#[test]
fn a_named_language_that_is_missing_is_a_failure() -> Outcome {
    let output = kennel().args(["demo", "--languages=rust,ruby"]).env("RUBY", "no-such-ruby").output()?;
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert!(printed(&output).contains("Ruby: no-such-ruby was not found"), "{}", printed(&output));
    let output = kennel().args(["demo", "--languages"]).env("RUBY", "no-such-ruby").output()?;
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert!(printed(&output).contains("left out   Ruby, since no-such-ruby was not found; see docs/ruby.md"));
    Ok(())
}

/// A shell that reads what nobody stored.
#[test]
fn a_language_that_disagrees_is_found() -> Outcome {
    let dir = TempDir::new()?;
    let liar = dir.path().join("liar");
    fs::write(&liar, "#!/bin/sh\ncase $2 in get) echo nonsense ;; *) exec sh \"$@\" ;; esac\n")?;
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o700))?;
    let output = kennel().args(["demo", "--languages=rust,shell"]).env("SHELL_COMMAND", &liar).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(printed(&output).contains("POSIX shell            read 0 of 2"), "{}", printed(&output));
    Ok(())
}
