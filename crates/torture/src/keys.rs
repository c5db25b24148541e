//! The keys of a round: their names and purposes.

use crate::board::{KEYS, PARTS, TYPED};

/// Whether a key is a counter.
pub fn is_counter(key: u16) -> bool {
    key.is_multiple_of(8) && usize::from(key) < KEYS
}

/// The part of the cache that a key belongs to; part 0 is the keys without a namespace.
pub fn part(key: u16) -> usize {
    usize::from(key) % PARTS
}

/// The name of a key in the cache; names differ in length.
pub fn name(key: u16) -> String {
    let long = if key % 5 == 1 { usize::from(key % 90) } else { 0 };
    format!("{key:05}{}", "-".repeat(long))
}

/// The key with a name.
pub fn named(bytes: &[u8]) -> Option<u16> {
    let key = std::str::from_utf8(bytes.get(..5)?).ok()?.parse().ok()?;
    (name(key).as_bytes() == bytes && usize::from(key) < KEYS + TYPED).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_keys() {
        (0..(KEYS + TYPED) as u16).for_each(|key| assert_eq!(named(name(key).as_bytes()), Some(key)));
        assert_eq!(named(b"00012--"), None);
        assert_eq!(named(b"x"), None);
    }
}
