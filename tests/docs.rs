//! The tests that `docs/guarantees.md` names exist.

use std::fs;
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/guarantees.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Headings of the promises, and whether each states that it is not kept yet.
fn promises() -> Vec<(&'static str, bool)> {
    let heading =
        |line: &'static str| line.strip_prefix("### ").filter(|heading| heading.starts_with(char::is_numeric));
    let split =
        |heading: &'static str| heading.split_once(": not yet").map_or((heading, false), |(name, _)| (name, true));
    DOCUMENT.lines().filter_map(heading).map(split).collect()
}

/// The table of promises and tests.
fn rows() -> Vec<(&'static str, &'static str)> {
    let (_, section) = DOCUMENT.split_once("\n### Which test keeps which promise\n").expect("the section");
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let (promise, tests) = line.trim_matches('|').split_once('|').expect("two cells");
        (promise.trim(), tests.trim())
    };
    lines.skip(2).map(cells).collect()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a source has a test with this name.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}()")));
    at.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
    })
}

#[test]
fn every_promise_that_is_kept_has_its_row() {
    let kept: Vec<_> = promises().into_iter().filter(|(_, not_yet)| !not_yet).map(|(name, _)| name).collect();
    let listed: Vec<_> = rows().into_iter().map(|(promise, _)| promise).collect();
    assert!(kept.len() > 8, "{kept:?}");
    assert_eq!(listed, kept);
}

#[test]
fn every_test_that_is_named_exists() {
    let mut named = 0;
    for (promise, tests) in rows() {
        let (mut file, mut source) = ("", String::new());
        for name in quoted(tests) {
            if name.ends_with(".rs") {
                source =
                    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{promise}: {name}: {error}"));
                file = name;
            } else if let Some(command) = name.strip_prefix("cargo xtask ") {
                assert!(root().join(format!("crates/xtask/src/{command}.rs")).is_file(), "{promise}: {name}");
            } else {
                assert!(is_test(&source, name), "{promise}: {name} is no test in {file}");
                named += 1;
            }
        }
    }
    assert!(named > 30, "{named}");
}

/// The files that the document names elsewhere.
#[test]
fn every_file_that_is_named_exists() {
    let is_file = |name: &&str| name.starts_with("tests/") || name.starts_with("src/") || name.starts_with("crates/");
    let gone: Vec<_> = quoted(DOCUMENT).filter(is_file).filter(|name| !root().join(name).exists()).collect();
    assert_eq!(gone, [""; 0]);
}
