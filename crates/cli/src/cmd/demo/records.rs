//! The records of the demo: realistic keys, and values that can be checked.

use std::io::Write as _;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

/// The number of different keys. With [`MEAN_ITEM`] they take about twice the capacity of the demo's file, so that it
/// must evict.
const KEYS: u32 = 60_000;

/// The skew of the popularity of keys, with a value that is usual for caches.
const SKEW: f64 = 0.99;

/// The least and the greatest size of a value in bytes. The logarithms of sizes are uniformly distributed.
const SIZES: (f64, f64) = (100.0, 4096.0);

/// The mean size of a record, key and value together.
pub const MEAN_ITEM: u64 = 1100;

/// No value is longer than this number of bytes.
pub const MAX_VALUE: usize = 8192;

/// The text in front of the checksum, which ends every value with eight hexadecimal digits and `"}`.
const CHECKSUM: &[u8] = b"\",\"crc32\":\"";
const CHECKSUM_LEN: usize = CHECKSUM.len() + 8 + 2;

const PROSE: &str = "Waxed canvas field bag with brass buckles, two inner pockets and a strap that \
can be shortened; ships within two days, free returns for a month, rated by those who bought it. ";

/// Draws keys, popular ones more often.
pub struct Popularity(Zipf<f64>);

impl Popularity {
    pub fn new() -> Result<Self, rand_distr::ZipfError> {
        Zipf::new(f64::from(KEYS), SKEW).map(Self)
    }

    /// The number of a key, from 0 for the most popular.
    pub fn draw(&self, rng: &mut SmallRng) -> u32 {
        // The distribution gives whole numbers from 1 to KEYS.
        self.0.sample(rng) as u32 - 1
    }
}

/// Writes the key with this number: of ten keys six are user profiles, three are prices, and one is a session.
pub fn write_key(number: u32, key: &mut Vec<u8>) {
    key.clear();
    // Writing to a Vec cannot fail.
    let _ = match number % 10 {
        0..=5 => write!(key, "user:{number:06}:profile"),
        6..=8 => write!(key, "product:{number:05}:price"),
        _ => write!(key, "session:{:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    };
}

/// Makes values, each of which contains its key, its writer, a version, and a checksum of all these.
pub struct Maker {
    writer: u32,
    version: u64,
    prose: Vec<u8>,
}

impl Maker {
    pub fn new(writer: u32) -> Self {
        let prose = PROSE.bytes().cycle().take(2 * MAX_VALUE).collect();
        Self { writer, version: 0, prose }
    }

    pub fn write_value(&mut self, key: &[u8], rng: &mut SmallRng, value: &mut Vec<u8>) {
        self.version += 1;
        value.clear();
        value.extend_from_slice(b"{\"key\":\"");
        value.extend_from_slice(key);
        // Writing to a Vec cannot fail.
        let _ = write!(value, "\",\"version\":{},\"writer\":{},\"text\":\"", self.version, self.writer);
        let rest = draw_size(rng).saturating_sub(value.len() + CHECKSUM_LEN);
        let from = rng.random_range(0..PROSE.len());
        value.extend_from_slice(&self.prose[from..from + rest]);
        value.extend_from_slice(CHECKSUM);
        let sum = crc32fast::hash(value);
        let _ = write!(value, "{sum:08x}\"}}");
    }
}

fn draw_size(rng: &mut SmallRng) -> usize {
    let (least, most) = SIZES;
    (least * (most / least).powf(rng.random::<f64>())) as usize
}

/// Checks the value that was read for `key`; the error says what is wrong.
pub fn check(key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let Some((body, sum)) = value.len().checked_sub(10).map(|at| value.split_at(at)) else {
        return Err("too short to be a value of the demo");
    };
    let sum = sum.strip_suffix(b"\"}").and_then(|digits| std::str::from_utf8(digits).ok());
    if sum.and_then(|digits| u32::from_str_radix(digits, 16).ok()) != Some(crc32fast::hash(body)) {
        return Err("the checksum does not match");
    }
    let of_key = body
        .strip_prefix(b"{\"key\":\"")
        .and_then(|rest| rest.strip_prefix(key))
        .is_some_and(|rest| rest.starts_with(b"\""));
    if of_key { Ok(()) } else { Err("the value is that of another key") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn record(number: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        write_key(number, &mut key);
        Maker::new(7).write_value(&key, &mut SmallRng::seed_from_u64(number.into()), &mut value);
        (key, value)
    }

    #[test]
    fn a_value_proves_itself_and_is_json() {
        for number in 0..1000 {
            let (key, value) = record(number);
            assert_eq!(check(&key, &value), Ok(()));
            assert!(value.len() < MAX_VALUE);
            let document: serde_json::Value = serde_json::from_slice(&value).unwrap();
            assert_eq!(document["key"].as_str().unwrap().as_bytes(), key);
        }
    }

    #[test]
    fn any_changed_byte_is_found() {
        let (key, value) = record(3);
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert!(check(&key, &changed).is_err(), "byte {at}");
        }
        for len in 0..value.len() {
            assert!(check(&key, &value[..len]).is_err(), "cut to {len} bytes");
        }
    }

    #[test]
    fn the_value_of_another_key_is_found() {
        let (_, value) = record(1);
        let (other, _) = record(2);
        assert!(check(&other, &value).is_err());
    }

    #[test]
    fn popular_keys_come_up_more_often() {
        let popularity = Popularity::new().unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn: Vec<u32> = (0..10_000).map(|_| popularity.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|&number| number < KEYS));
        let popular = drawn.iter().filter(|&&number| number < KEYS / 100).count();
        assert!(popular > 5_000, "{popular} of 10,000 draws are of the first hundredth");
    }
}
