//! `cargo xtask tsan`: the tests of the library and of the suite for lock strategies under ThreadSanitizer, which finds data races: two threads access the same
//! memory without synchronization, and at least one of the accesses is not atomic.
//!
//! With `--cfg kennel_tsan` the library accesses mapped memory through atomic words only; the assembly block, which the
//! sanitizer cannot see into, is replaced by a loop of words. So a race that it reports is in what the threads of one
//! process share: handles, members, locks, lists. The sanitizer does not model fences. It cannot know that a racing
//! copy is validated afterwards, and does not have to, because the copy is atomic.
//!
//! Other packages are left out: their tests start processes, and their threads share memory only through the library or
//! in ways that the compiler checks.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::library_tests::{PACKAGES, Selection};
use crate::step::Step;
use crate::{runner, toolchain};

/// `-Zbuild-std`, which builds the standard library with the sanitizer, needs a target by name.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `die_after_fork=0`: the child of a process with several threads may start threads of its own. `handle_sigbus=0`:
/// tests of truncated files expect the signal themselves. `atexit_sleep_ms=0`: by default each process with a second
/// thread sleeps for a second before it exits, and the tests start thousands of processes.
const OPTIONS: &str = "die_after_fork=0 handle_sigbus=0 atexit_sleep_ms=0";

/// Tests that are skipped, by parts of their names, each with the reason: together they would run for an hour, and the
/// sanitizer could find nothing. It checks the threads of one process, and every store to the file is atomic.
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
    ("four_processes_of_fifty", "more threads than finish in time; other tests do the same with fewer"),
];

pub(crate) fn run(selection: Selection) -> Result<ExitCode> {
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "the sanitizer is set up for {TARGET} only");
    toolchain::ensure_nightly(&["rust-src"])?;
    let line = format!("test {PACKAGES} --all-features -Zbuild-std --target {TARGET} --no-fail-fast");
    let step = Step::cargo("tsan", &line)
        .nightly()
        .env("RUSTFLAGS", "-Zsanitizer=thread --cfg kennel_tsan --cfg kennel_test_hooks")
        .env("TSAN_OPTIONS", OPTIONS)
        .target_dir("tsan");
    let excluded = EXCLUDED.iter().map(|&(name, _)| name);
    runner::run(&[selection.apply_to(step, "--lib --tests", excluded)], |_| runner::this_command())
}
