//! The library's tests under a tool that slows them down: what `memcheck` and `tsan` have in common.

use crate::step::Step;

/// The packages whose tests are run.
pub(crate) const PACKAGES: &str = "-p kennel -p kennel-conformance";

/// The main integration tests: what one process does with a cache, what several do with claims and locks, and the suite
/// for the built-in lock strategies. The other test files start thousands of processes or make thousands of cache files.
pub(crate) const MAIN: [&str; 9] =
    ["built_in", "claims", "create", "expiry", "locks", "namespaces", "sizes", "stale", "values"];

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Selection {
    /// Run the tests whose name contains this
    #[arg(default_value = "")]
    filter: String,
    /// Run only the test file of this name, or `lib` for the unit tests
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Arguments for the test binaries, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

impl Selection {
    /// Makes `step`, a `cargo test`, run the selected tests: those that cargo's options `all` choose, unless `--only`
    /// names others. Tests whose names contain one of `excluded` are skipped.
    pub(crate) fn apply_to<'a>(self, step: Step, all: &str, excluded: impl IntoIterator<Item = &'a str>) -> Step {
        let targets = match self.only.as_deref() {
            None => all.to_owned(),
            Some("lib") => "--lib".to_owned(),
            Some(name) => format!("--test {name}"),
        };
        let skips = excluded.into_iter().flat_map(|name| ["--skip".to_owned(), name.to_owned()]);
        let step = targets.split_whitespace().fold(step, Step::arg).harness_args(skips.chain(self.args).collect());
        if self.filter.is_empty() { step } else { step.filter(self.filter) }
    }
}

/// Cargo's options that choose the [`MAIN`] tests.
pub(crate) fn main_tests() -> String {
    MAIN.map(|name| format!("--test {name}")).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(only: Option<&str>, filter: &str) -> String {
        let only = only.map(str::to_owned);
        let selection = Selection { filter: filter.to_owned(), only, args: vec!["--nocapture".into()] };
        selection.apply_to(Step::cargo("tool", "test"), "--lib --tests", ["slow"]).to_string()
    }

    #[test]
    fn the_main_tests_exist() {
        let folders = ["tests", "crates/conformance/tests"].map(|folder| crate::toolchain::root().join(folder));
        let exists = |name: &str| folders.iter().any(|folder| folder.join(format!("{name}.rs")).is_file());
        assert!(MAIN.into_iter().all(exists));
    }

    #[test]
    fn only_replaces_what_runs_by_default() {
        let rest = "-- --skip slow --nocapture";
        assert_eq!(selected(None, ""), format!("cargo test --lib --tests {rest}"));
        assert_eq!(selected(Some("lib"), ""), format!("cargo test --lib {rest}"));
        assert_eq!(selected(Some("values"), "hit"), format!("cargo test --test values hit {rest}"));
    }
}
