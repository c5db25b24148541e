//! Self-proving values.
//!
//! ```text
//! word 0     proof       63..48 key | 47..32 writer | 31..0 number of the write
//! word 1     (63..20 expiry in milliseconds, 0: never | 19..0 length) xor mix(proof)
//! word 2     mix(word 1 + proof)
//! word i     proof + i * STEP        so that swapped words are found, too
//! the rest   the first bytes of the next word
//! ```
//!
//! Any single word identifies the key and the write that made the value, so a mixture of two values, a truncated value,
//! or one that belongs to another key cannot pass.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Shortest value: its first three words.
pub const LEAST: usize = 24;
const LEN_BITS: u32 = 20;

/// The statements of a value about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub key: u16,
    pub writer: u16,
    pub number: u32,
    /// Milliseconds since 1970; 0: never.
    pub expires_ms: u64,
}

impl Value {
    fn proof(self) -> u64 {
        u64::from(self.key) << 48 | u64::from(self.writer) << 32 | u64::from(self.number)
    }

    /// The value in `len` bytes, at least [`LEAST`].
    pub fn bytes(self, len: usize) -> Vec<u8> {
        let second = (self.expires_ms << LEN_BITS | len as u64) ^ mix(self.proof());
        let word = |i: usize| match i {
            1 => second,
            2 => mix(second.wrapping_add(self.proof())),
            _ => self.proof().wrapping_add((i as u64).wrapping_mul(STEP)),
        };
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|i| word(i).to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// The value that the bytes state, if all of them agree.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let word = |bytes: &[u8], i: usize| {
            let mut word = [0; 8];
            let found = bytes.iter().skip(i * 8).take(8);
            word.iter_mut().zip(found).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(word)
        };
        if bytes.len() < LEAST {
            return Err(format!("{} bytes, fewer than any value has", bytes.len()));
        }
        let proof = word(bytes, 0);
        let value = Self {
            key: (proof >> 48) as u16,
            writer: (proof >> 32) as u16,
            number: proof as u32,
            expires_ms: (word(bytes, 1) ^ mix(proof)) >> LEN_BITS,
        };
        let whole = value.bytes(bytes.len());
        match whole.iter().zip(bytes).position(|(expected, found)| expected != found) {
            None => Ok(value),
            Some(at) => {
                let i = at / 8;
                let (len, Self { key, writer, number, .. }) = (bytes.len(), value);
                let (expected, found) = (word(&whole, i), word(bytes, i));
                Err(format!(
                    "a torn value of {len} bytes: it begins as write {number} of key {key} by {writer}, \
                     but word {i} is {found:#018x}, not {expected:#018x}"
                ))
            }
        }
    }
}

/// The finaliser of MurmurHash3.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: Value = Value { key: 7, writer: 900, number: 12345, expires_ms: 1_700_000_000_123 };

    #[test]
    fn a_value_of_any_length_says_what_it_was_made_of() {
        for len in [24, 25, 31, 32, 511, 512, 513, 4099, 20_000] {
            assert_eq!(Value::parse(&VALUE.bytes(len)), Ok(VALUE), "{len}");
        }
    }

    #[test]
    fn no_changed_byte_and_no_other_length_passes() {
        let bytes = VALUE.bytes(61);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(Value::parse(&changed).is_err(), "byte {at}");
        }
        assert!(Value::parse(&bytes[..60]).is_err());
        assert!(Value::parse(&[]).is_err());
    }

    #[test]
    fn a_mixture_of_two_values_is_torn_wherever_they_meet() {
        let (old, new) = (VALUE.bytes(200), Value { number: 12346, ..VALUE }.bytes(200));
        for at in (8..200).step_by(8) {
            let mixed = [&new[..at], &old[at..]].concat();
            assert!(Value::parse(&mixed).unwrap_err().contains("torn"), "{at}");
        }
        let mut swapped = old.clone();
        swapped[40..48].copy_from_slice(&old[64..72]);
        assert!(Value::parse(&swapped).is_err());
    }
}
