//! The two tables of crash points in `docs/guarantees.md`: the state after a kill at each step, and the steps of each
//! operation.

use kennel::LockStrategy;
use kennel::crash::Step;
use std::collections::BTreeSet;

/// A child was killed at a step of an operation.
#[derive(Clone, Copy)]
pub struct Reached {
    pub operation: &'static str,
    pub locks: &'static LockStrategy,
    pub step: Step,
}

const DOCUMENT: &str = include_str!("../../docs/guarantees.md");

/// The cells of the table under a heading, without its head.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &'static str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    lines.skip(2).map(cells).collect()
}

fn names_of(steps: impl IntoIterator<Item = Step>) -> BTreeSet<&'static str> {
    steps.into_iter().map(Step::name).collect()
}

/// Steps of strategy `lease` alone, which every locking operation reaches.
const OF_LEASE: [Step; 2] = [Step::LockWord, Step::SleepWord];

#[test]
fn every_step_has_its_row() {
    let rows = rows("### Crash points");
    let named: Vec<_> = rows.iter().map(|row| row[0]).collect();
    let all: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
    assert_eq!(named, all, "the rows of the table, and the steps in their order");
    for row in rows {
        assert!(row.len() == 4 && row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
    }
}

/// Every step belongs to an operation in which a child is killed, to the locks, or to a repair: see [`repairs`].
///
/// [`repairs`]: crate::repairs
#[test]
fn no_step_is_left_out() {
    let listed: BTreeSet<_> = operations().into_iter().flat_map(|(_, steps)| steps).collect();
    let of_others = |step: &Step| OF_LEASE.contains(step) || *step == Step::Repair;
    let expected: BTreeSet<_> = names_of(Step::ALL.iter().copied().filter(|step| !of_others(step)));
    assert_eq!(listed, expected);
}

/// The second table: operations and their steps.
fn operations() -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let steps = |cell: &'static str| cell.split(", ").map(|step| step.trim_matches('`')).collect();
    rows("### The steps of each operation").into_iter().map(|row| (row[0], steps(row[1]))).collect()
}

/// Compares the steps reached with the table's steps for these operations.
pub fn compare(of: &[&str], reached: &[Reached]) {
    let listed: Vec<_> = operations().into_iter().filter(|(operation, _)| of.contains(operation)).collect();
    let mut found = Vec::new();
    for &operation in of {
        for locks in crate::STRATEGIES {
            let here = reached.iter().filter(|here| here.operation == operation && here.locks.name() == locks.name());
            let steps: Vec<_> = here.map(|here| here.step).collect();
            let common = names_of(steps.iter().copied().filter(|step| !OF_LEASE.contains(step)));
            found.push((operation, locks.name(), common));
            let locked = steps.contains(&Step::LockWord);
            let of_a_locked_stripe = [Step::IntentKind, Step::Expiry, Step::ClaimTake];
            let locks_a_stripe = locks.name() == "lease" && of_a_locked_stripe.iter().any(|step| steps.contains(step));
            assert_eq!(locked, locks_a_stripe, "{operation} under {locks}: lock-word");
            let waited = locks.name() == "lease" && operation == "replace while others wait";
            assert_eq!(steps.contains(&Step::SleepWord), waited, "{operation} under {locks}: sleep-word");
        }
    }
    let shown = |steps: &BTreeSet<&str>| steps.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", ");
    let wrong: Vec<_> = found
        .iter()
        .filter(|(operation, _, steps)| listed.iter().all(|(listed, of)| (listed, of) != (operation, steps)))
        .map(|(operation, locks, steps)| format!("under {locks}:\n| {operation} | {} |", shown(steps)))
        .collect();
    assert!(wrong.is_empty(), "the steps reached differ from the table: {}", wrong.join("\n"));
    assert_eq!(listed.len(), of.len(), "rows of the table");
}
