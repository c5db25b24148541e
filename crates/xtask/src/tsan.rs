//! `cargo xtask tsan`: the library's tests under ThreadSanitizer, which sees two threads that touch the same memory
//! without an order between them, one of them not atomically.
//!
//! Memory that is mapped is touched only by atomic words there (`--cfg kennel_tsan` takes the loop of words instead of
//! the assembly block, which the sanitizer does not see into), so what it could find is in what a process shares among
//! its threads: handles, members, locks, lists. It does not model fences: that a racing copy is checked afterwards
//! it cannot know, and need not, since the copy is atomic.
//!
//! The other packages are left out: their tests start processes, and what threads they have share memory through the
//! library, or as the compiler allows.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::step::Step;
use crate::{runner, toolchain};

/// The standard library is built anew, with the sanitizer in it; that needs a target by name.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A child of a fork of several threads starts threads of its own; the sanitizer would end it for that. What a test
/// expects a cut file to end in is not the sanitizer's to answer. And by default each process with a second thread waits
/// for a second before it ends: the tests start thousands.
const OPTIONS: &str = "die_after_fork=0 handle_sigbus=0 atexit_sleep_ms=0";

/// Tests that are left out, by what their names contain: the sanitizer would find nothing there, and make an hour of
/// them. It looks at the threads of one process, and a store to the file is atomic whoever does it.
const EXCLUDED: [(&str, &str); 16] = [
    ("a_death_at_every_step", "the engine on one thread"),
    ("whatever_of_", "the engine on one thread"),
    ("never_lie", "the engine, or a cache, on one thread"),
    ("rings_wrap_around", "the engine on one thread"),
    ("a_full_index_evicts", "the engine on one thread"),
    ("a_kill_", "processes of one thread each, killed by the thousand"),
    ("killed_twice", "processes of one thread each, killed by the thousand"),
    ("a_mixture_of_pages", "one thread opens thousands of files"),
    ("mixtures_honour_syncs", "one thread opens thousands of files"),
    ("an_opener_that_dies", "one thread opens thousands of files"),
    ("random_damage", "one thread opens thousands of files"),
    ("no_damaged_byte", "one thread opens thousands of files"),
    ("with_a_planted_damage", "one thread opens thousands of files"),
    ("hundreds_of_processes", "processes of one thread each"),
    ("a_thousand_processes", "processes of one thread each"),
    ("four_processes_of_fifty", "more threads than come to their end in time; others do the same with fewer"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests whose name contains this
    #[arg(default_value = "")]
    filter: String,
    /// Run only this test file of `tests/`, or `lib` for the unit tests; all without it
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Arguments for the test binaries, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "the sanitizer is set up for {TARGET} only");
    toolchain::ensure_nightly(&["rust-src"])?;
    let which = match args.only.as_deref() {
        None => "--lib --tests".to_owned(),
        Some("lib") => "--lib".to_owned(),
        Some(name) => format!("--test {name}"),
    };
    let line = format!("test -p kennel --all-features -Zbuild-std --target {TARGET} --no-fail-fast {which}");
    let mut step = Step::cargo("tsan", &line)
        .nightly()
        .env("RUSTFLAGS", "-Zsanitizer=thread --cfg kennel_tsan --cfg kennel_test_hooks")
        .env("TSAN_OPTIONS", OPTIONS)
        .target_dir("tsan")
        .harness_args(harness_args(args.args));
    if !args.filter.is_empty() {
        step = step.filter(args.filter);
    }
    runner::run(&[step], |_| runner::this_command())
}

fn harness_args(asked: Vec<String>) -> Vec<String> {
    let excluded = EXCLUDED.iter().flat_map(|&(name, _)| ["--skip".to_owned(), name.to_owned()]);
    excluded.chain(asked).collect()
}
