//! A walk over keys.

use crate::keys::Key;

/// A walk over keys that continues where the last one ended.
pub struct Walk<'a> {
    keys: &'a [Key],
    at: usize,
}

impl<'a> Walk<'a> {
    /// A walk from the first key.
    pub fn new(keys: &'a [Key]) -> Self {
        Self { keys, at: 0 }
    }

    /// A walk that begins at a place.
    pub fn from(keys: &'a [Key], at: usize) -> Self {
        Self { keys, at }
    }

    /// The next key, and a step of this many keys behind it.
    #[inline]
    pub fn step(&mut self, by: usize) -> &'a Key {
        let key = &self.keys[self.at];
        self.at += by;
        if self.at >= self.keys.len() {
            self.at = 0;
        }
        key
    }

    /// The next `n` keys; fewer at the end.
    pub fn next_few(&mut self, n: usize) -> &'a [Key] {
        let few = &self.keys[self.at..(self.at + n).min(self.keys.len())];
        self.at = if self.at + n >= self.keys.len() { 0 } else { self.at + n };
        few
    }
}
