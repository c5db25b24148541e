//! Which memoized commands this process runs within: a command that asks for its own result would wait for itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The environment variable that a command finds set when it is run by `kennel memo`.
pub const VARIABLE: &str = "KENNEL_MEMO_RUNNING";

const SEPARATOR: &str = ":";

/// The commands that this process runs within, and the one that it is about.
pub struct Nesting {
    outer: OsString,
    own: String,
}

impl Nesting {
    /// Of the invocation with this key in this cache file.
    pub fn of(key: &[u8], cache: Option<&Path>) -> Self {
        let cache = cache.map_or(&[][..], |cache| cache.as_os_str().as_encoded_bytes());
        let own = xxh3_64_with_seed(key, xxh3_64_with_seed(cache, 0));
        Self { outer: env::var_os(VARIABLE).unwrap_or_default(), own: format!("{own:016x}") }
    }

    /// Whether the command runs already, and this process is part of that run.
    pub fn is_within_itself(&self) -> bool {
        self.outer.to_string_lossy().split(SEPARATOR).any(|outer| outer == self.own)
    }

    /// The variable for the command itself.
    pub fn variable(&self) -> OsString {
        let separator = if self.outer.is_empty() { "" } else { SEPARATOR };
        [&self.outer, OsStr::new(separator), OsStr::new(&self.own)].into_iter().collect()
    }
}
