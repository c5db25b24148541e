//! The built-in lock strategies keep the contract of locks.

mod again;

use again::again;
use kennel::LockStrategy;
use kennel_conformance::{Report, Suite};

#[test]
fn child() {
    if let Some((strategy, task)) = again::task() {
        kennel_conformance::child(&strategy.parse().unwrap(), &task);
    }
}

fn run_suite(strategy: LockStrategy) -> Report {
    let name = strategy.name().to_owned();
    let again = |task: &str| again(&name, task);
    let report = Suite::new(strategy, &again).run().unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}");
    report
}

/// The number of checks that ran, and the number of those that were skipped.
fn counts(report: &Report) -> (usize, usize) {
    let skipped = report.checks.iter().filter(|check| check.skipped.is_some()).count();
    (report.checks.len() - skipped, skipped)
}

#[test]
fn file_keeps_the_contract() {
    let report = run_suite(LockStrategy::File);
    assert!(report.held("processes exclude each other") && report.held("the lock of a killed process is released"));
    if cfg!(unix) {
        // The check of readers is skipped, because reads take no lock.
        assert_eq!(counts(&report), (14, 1), "{report}");
    }
}

#[test]
fn lease_keeps_the_contract() {
    let report = run_suite(LockStrategy::Lease);
    assert!(report.held("processes exclude each other") && report.held("the lock of a killed process is released"));
    if cfg!(unix) {
        assert_eq!(counts(&report), (14, 1), "{report}");
    }
}

#[test]
fn rw_file_keeps_the_contract() {
    let report = run_suite(LockStrategy::RwFile);
    assert!(report.held("readers share the lock, a writer excludes them"));
    if cfg!(unix) {
        // The skipped check needs several locks, and this strategy has one lock for all regions.
        assert_eq!(counts(&report), (14, 1), "{report}");
    }
}

#[test]
fn process_keeps_the_contract_among_threads() {
    let report = run_suite(LockStrategy::Process);
    assert!(report.held("threads exclude each other") && report.held("regions do not wait for each other"));
    assert!(!report.held("processes exclude each other"));
    assert_eq!(counts(&report), (5, 10), "{report}");
}

#[test]
fn none_has_nothing_to_keep() {
    let report = run_suite(LockStrategy::None);
    assert_eq!(counts(&report), (0, 15), "{report}");
}
