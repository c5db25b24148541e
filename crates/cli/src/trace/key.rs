//! The names of objects in traces, as keys of 16 bytes.
//!
//! ```text
//! a number       | number, little-endian, 8 bytes | eight times 0xFE |
//! a short text   | 1 to 16 bytes of UTF-8 | 0xFF up to 16 bytes       |
//! anything else  | its 128-bit xxh3 hash                              |
//! ```
//!
//! Neither 0xFE nor 0xFF occurs in UTF-8. So the keys of numbers and of short texts are all different, and only hashes
//! can collide, which is negligibly unlikely with 128 bits.

use std::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The length of every [`Key`].
pub const KEY_LEN: usize = 16;

const NUMBER_LEN: usize = size_of::<u64>();
const NUMBER_MARK: [u8; KEY_LEN - NUMBER_LEN] = [0xFE; KEY_LEN - NUMBER_LEN];
const TEXT_PAD: u8 = 0xFF;

/// The name of an object of a trace, in the form of a key of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; KEY_LEN]);

impl Key {
    /// The key for a name in text form. A decimal number gives the key of that number, so that an object has the same
    /// key in all formats.
    pub fn from_text(text: &[u8]) -> Self {
        if let Some(number) = canonical_number(text) {
            return Self::from(number);
        }
        if text.len() <= KEY_LEN && str::from_utf8(text).is_ok() {
            let mut bytes = [TEXT_PAD; KEY_LEN];
            bytes[..text.len()].copy_from_slice(text);
            return Self(bytes);
        }
        Self(xxh3_128(text).to_le_bytes())
    }

    /// The key with these bytes, which [`as_bytes`](Self::as_bytes) returned.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// A hash of the key that is the same in every process.
    pub fn spread(&self) -> u64 {
        xxh3_64(&self.0)
    }

    fn as_number(&self) -> Option<u64> {
        let number = self.0.strip_suffix(&NUMBER_MARK)?;
        Some(u64::from_le_bytes(number.try_into().ok()?))
    }

    fn as_text(&self) -> Option<&str> {
        let len = self.0.iter().position(|&byte| byte == TEXT_PAD);
        str::from_utf8(&self.0[..len.unwrap_or(KEY_LEN)]).ok()
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        let mut bytes = [0; KEY_LEN];
        bytes[..NUMBER_LEN].copy_from_slice(&number.to_le_bytes());
        bytes[NUMBER_LEN..].copy_from_slice(&NUMBER_MARK);
        Self(bytes)
    }
}

/// Shows the name of the object if the key contains it, else the key in hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.as_number() {
            return write!(out, "{number}");
        }
        if let Some(text) = self.as_text() {
            return write!(out, "{text:?}");
        }
        write!(out, "0x{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The number whose canonical notation is `text`. `007` and `+7` are not canonical: they would get the same key as `7`,
/// although they are different names in the trace.
fn canonical_number(text: &[u8]) -> Option<u64> {
    let is_canonical = text == b"0" || text.first() != Some(&b'0');
    if is_canonical { decimal(text) } else { None }
}

/// Reads a number that consists of decimal digits only, without sign or blanks.
pub(super) fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let only_digits = text.iter().all(u8::is_ascii_digit);
    if only_digits { str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_its_bytes_and_a_mark() {
        let key = Key::from(0x0102);
        assert_eq!(key.as_bytes()[..8], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(key.as_bytes()[8..], [0xFE; 8]);
    }

    #[test]
    fn a_number_has_one_key_in_digits_and_in_binary() {
        assert_eq!(Key::from_text(b"0"), Key::from(0));
        assert_eq!(Key::from_text(b"42932745"), Key::from(42_932_745));
        assert_eq!(Key::from_text(b"18446744073709551615"), Key::from(u64::MAX));
    }

    #[test]
    fn what_only_resembles_a_number_is_text() {
        for text in ["007", "+7", "-7", " 7", "7.0", "18446744073709551616"] {
            assert_ne!(Key::from_text(text.as_bytes()), Key::from(7), "{text}");
        }
        assert_ne!(Key::from_text(b"00"), Key::from_text(b"0"));
    }

    #[test]
    fn a_short_text_is_padded_and_a_long_one_hashed() {
        assert_eq!(Key::from_text(b"abc").as_bytes()[..4], *b"abc\xFF");
        assert_eq!(Key::from_text(b"0123456789abcdef").as_bytes(), b"0123456789abcdef");
        let long = b"0123456789abcdefg";
        assert_eq!(Key::from_text(long).as_bytes(), &xxh3_128(long).to_le_bytes());
    }

    #[test]
    fn a_text_does_not_pass_for_the_number_with_the_same_bytes() {
        let number = u64::from_le_bytes(*b"abcdefgh");
        assert_ne!(Key::from_text(b"abcdefgh"), Key::from(number));
    }

    #[test]
    fn bytes_that_are_not_text_are_hashed_lest_they_imitate_the_padding() {
        assert_ne!(Key::from_text(b"abc\xFF"), Key::from_text(b"abc"));
        assert_ne!(Key::from_text(Key::from(7).as_bytes()), Key::from(7));
    }

    #[test]
    fn a_key_shows_the_name_that_it_holds() {
        assert_eq!(Key::from(42).to_string(), "42");
        assert_eq!(Key::from_text(b"page:1").to_string(), "\"page:1\"");
        let hashed = Key::from_bytes([0xFC; KEY_LEN]).to_string();
        assert_eq!(hashed, format!("0x{}", "fc".repeat(KEY_LEN)));
    }

    proptest! {
        #[test]
        fn different_short_texts_have_different_keys(a in "[^0-9]{1,4}", b in "[^0-9]{1,4}") {
            let same_key = Key::from_text(a.as_bytes()) == Key::from_text(b.as_bytes());
            prop_assert_eq!(same_key, a == b);
        }

        #[test]
        fn the_name_of_a_number_and_of_a_short_text_can_be_read_back(
            number: u64,
            text in "[a-z:/]{1,16}",
        ) {
            prop_assert_eq!(Key::from(number).to_string(), number.to_string());
            prop_assert_eq!(Key::from_text(text.as_bytes()).to_string(), format!("{text:?}"));
        }

        #[test]
        fn any_bytes_have_a_key_that_can_be_shown(
            text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert!(!Key::from_text(&text).to_string().is_empty());
        }
    }
}
