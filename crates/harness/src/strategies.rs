//! The lock strategies to measure: those of the library, and those that a program adds.

use kennel::LockStrategy;

/// Names of strategies. A strategy that the library does not have on this system is left out.
const BUILT_IN: [&str; 5] = ["file", "lease", "process", "none", "rw-file"];

/// A set of lock strategies by name.
///
/// The process that measures and its workers must make the same set.
#[derive(Clone, Debug)]
pub struct Strategies(Vec<LockStrategy>);

impl Default for Strategies {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Strategies {
    /// The strategies of the library.
    #[must_use]
    pub fn built_in() -> Self {
        Self(BUILT_IN.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Adds a strategy, or replaces the one with the same name.
    #[must_use]
    pub fn with(mut self, strategy: LockStrategy) -> Self {
        self.0.retain(|other| other.name() != strategy.name());
        self.0.push(strategy);
        self
    }

    /// The strategy with a name.
    ///
    /// # Errors
    /// No strategy has this name; the text lists all names.
    pub fn named(&self, name: &str) -> Result<LockStrategy, String> {
        let found = self.0.iter().find(|strategy| strategy.name() == name);
        found
            .cloned()
            .ok_or_else(|| format!("no lock strategy \"{name}\": expected one of {}", self.names().join(", ")))
    }

    /// Names of the strategies that several processes can share.
    #[must_use]
    pub fn shared(&self) -> Vec<String> {
        let shared = self.0.iter().filter(|strategy| takes(strategy, 2, 1).is_ok());
        shared.map(|strategy| strategy.name().to_owned()).collect()
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(LockStrategy::name).collect()
    }
}

/// Checks that a strategy allows this many processes and threads to write.
pub(crate) fn takes(strategy: &LockStrategy, processes: u32, threads: u32) -> Result<(), &'static str> {
    match strategy {
        LockStrategy::Process if processes > 1 => Err("it is for one process"),
        LockStrategy::None if processes > 1 || threads > 1 => Err("it is for one thread of one process"),
        _ => Ok(()),
    }
}

/// Whether a strategy has at most one lock, however many lock regions there are.
pub(crate) fn is_one_lock(strategy: &LockStrategy) -> bool {
    matches!(strategy, LockStrategy::RwFile | LockStrategy::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_s_are_found_by_their_names() {
        let strategies = Strategies::built_in();
        for name in ["file", "process", "none", "rw-file"] {
            assert_eq!(strategies.named(name).unwrap().name(), name);
        }
        let error = strategies.named("spin").unwrap_err();
        assert!(error.starts_with("no lock strategy \"spin\": expected one of file, "), "{error}");
    }

    #[test]
    fn one_of_the_same_name_is_replaced() {
        let strategies = Strategies::built_in().with(LockStrategy::File);
        assert_eq!(strategies.names().len(), Strategies::built_in().names().len());
    }
}
