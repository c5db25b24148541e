//! A walk over keys.

use crate::keys::Key;
use anyhow::{Result, ensure};

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

/// Reads that depend on each other: the bytes that a read gave are part of the next key. They are ones, so they change
/// nothing, but the processor cannot know that before it has them. This is the cost of one call in a program that uses the
/// values it reads.
pub fn one_after_another(
    walk: &mut Walk<'_>,
    into: &mut [u8],
    n: usize,
    mut get: impl FnMut(&Key, &mut [u8]) -> Result<bool>,
) -> Result<()> {
    into.fill(1);
    for _ in 0..n {
        let mut key = *walk.step(1);
        key.iter_mut().zip(&*into).for_each(|(byte, read)| *byte ^= read ^ 1);
        ensure!(get(&key, into)?, "a key is missing");
    }
    Ok(())
}
