//! What a process pays to begin: the system calls of opening a cache file, one read, and closing it.
#![cfg(target_os = "linux")]

mod common;

use common::Place;
use common::children::{self, arg, command_through, say, start_command};
use kennel::{LockStrategy, Options};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn child() {
    children::serve(|task, args| match task {
        "open, get, close" => {
            for _ in 0..args[1].parse().unwrap() {
                let cache = Options::new().open(args[0]).unwrap();
                assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
            }
            say("done");
        }
        _ => panic!("no task {task}"),
    });
}

/// What is no call of an optimized program: the sum, and a check of the standard library before each close.
const IGNORED: [&str; 2] = ["total", "fcntl"];

/// The system calls of a process that opens a cache so often, by their names; `None` without `strace`.
fn calls(cache: &Path, times: u32, report: &Path) -> Option<BTreeMap<String, i64>> {
    let wrapper = ["strace", "-f", "-c", "-U", "calls,name", "-o", arg(report)];
    let mut process = start_command(command_through(&wrapper, "open, get, close", &[arg(cache), &times.to_string()]));
    let told = process.hear_all();
    let status = process.wait_with_input();
    if !status.success() || told != ["done"] {
        println!("skipped: strace cannot trace here: {status}, {told:?}");
        return None;
    }
    let text = std::fs::read_to_string(report).unwrap();
    let row = |line: &str| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    };
    Some(text.lines().filter_map(row).filter(|(name, _)| !IGNORED.contains(&name.as_str())).collect())
}

/// The calls of one opening, of ten more than the first, which also prepares the process.
#[test]
fn opening_reading_and_closing_takes_few_system_calls() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped: strace is not installed");
    }
    for (locks, most) in [(LockStrategy::Lease, 25), (LockStrategy::File, 25)] {
        let place = Place::in_memory();
        drop({
            let cache = Options::new().locks(locks.clone()).create(place.path()).unwrap();
            cache.set("key", "value").unwrap();
            cache
        });
        let report = place.dir().join("report");
        let Some(few) = calls(&place.path(), 1, &report) else { return };
        let Some(many) = calls(&place.path(), 11, &report) else { return };
        let more = |(name, count): (&String, &i64)| (name.clone(), (count - few.get(name).unwrap_or(&0)) as f64 / 10.0);
        let of_one: Vec<(String, f64)> = many.iter().map(more).filter(|(_, count)| *count >= 0.5).collect();
        let sum: f64 = of_one.iter().map(|(_, count)| count).sum();
        println!("{locks}: {sum} calls: {of_one:?}");
        assert!(sum <= f64::from(most) + 0.5, "{locks}: {sum} calls: {of_one:?}");
        assert!(sum > 5.0, "{locks}: the calls were not counted");
    }
}
