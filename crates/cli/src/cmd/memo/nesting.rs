//! The memoized commands that this process runs inside of: a command that asks for its own result would wait for
//! itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The environment variable that `kennel memo` sets for the command: the identities of all running outer commands.
pub const VARIABLE: &str = "KENNEL_MEMO_RUNNING";

const SEPARATOR: &str = ":";

/// The outer commands, and the command of this invocation.
pub struct Nesting {
    outer: OsString,
    own: String,
}

impl Nesting {
    /// The nesting of the invocation with this key in this cache file.
    pub fn of(key: &[u8], cache: Option<&Path>) -> Self {
        let cache = cache.map_or(&[][..], |cache| cache.as_os_str().as_encoded_bytes());
        let own = xxh3_64_with_seed(key, xxh3_64_with_seed(cache, 0));
        Self { outer: env::var_os(VARIABLE).unwrap_or_default(), own: format!("{own:016x}") }
    }

    /// Whether this process is part of a run of the same command.
    pub fn is_within_itself(&self) -> bool {
        self.outer.to_string_lossy().split(SEPARATOR).any(|outer| outer == self.own)
    }

    /// The value of the variable for the command.
    pub fn variable(&self) -> OsString {
        let separator = if self.outer.is_empty() { "" } else { SEPARATOR };
        [&self.outer, OsStr::new(separator), OsStr::new(&self.own)].into_iter().collect()
    }
}
