//! The results of a run.

use std::fmt;

#[derive(Default)]
pub struct Total {
    pub kills: u64,
    pub operations: u64,
    pub violations: u64,
    /// The longest operation while no process was stopped.
    pub longest_ns: u64,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, operations, violations, longest_ns } = self;
        let longest_ms = longest_ns.div_ceil(1_000_000);
        write!(f, "kills {kills}, operations {operations}, violations {violations}, longest wait {longest_ms} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_form_that_scripts_read() {
        let total = Total { kills: 3, operations: 70_000, violations: 0, longest_ns: 12_300_001 };
        assert_eq!(total.to_string(), "kills 3, operations 70000, violations 0, longest wait 13 ms");
    }
}
