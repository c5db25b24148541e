//! The keys that a workload asks for, and their values.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Bytes of a key.
pub const KEY_LEN: usize = 16;
/// The largest number of keys that a workload may have.
pub const MOST_KEYS: u32 = 1 << 30;

/// The key with a number.
#[must_use]
#[inline]
pub fn key(number: u64) -> [u8; KEY_LEN] {
    let mut key = *b"item:000........";
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

/// Fills `value` so that it identifies its key: it begins with the key's number, truncated if the value is shorter.
#[inline]
pub fn fill(number: u64, value: &mut [u8]) {
    let proof = number.to_le_bytes();
    let len = proof.len().min(value.len());
    value[..len].copy_from_slice(&proof[..len]);
}

/// Whether [`fill`] made this value, for this key and of this size.
#[must_use]
#[inline]
pub fn is_right(number: u64, value: &[u8], size: usize) -> bool {
    let proof = number.to_le_bytes();
    value.len() == size && value.starts_with(&proof[..proof.len().min(size)])
}

/// The distribution of requests over the keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Every key equally often.
    Uniform,
    /// The `n`-th most popular key in proportion to `1 / n^theta`.
    Zipf {
        /// The exponent: 0 is uniform, 0.99 is usual for caches.
        theta: f64,
    },
    /// A share of the keys gets a share of the requests; both parts are uniform.
    Hot {
        /// Share of the keys that are hot, from 0 to 1.
        keys: f64,
        /// Share of the requests that they get, from 0 to 1.
        requests: f64,
    },
    /// A recorded trace: a file of key numbers, 32 bits each, little-endian; see [`write_recording`].
    Recorded {
        /// The file.
        path: PathBuf,
    },
}

impl Keys {
    /// Draws `n` key numbers below `keys`; the same seed gives the same numbers. In a recording, each seed starts at
    /// another position, and the end wraps around to the beginning.
    ///
    /// # Errors
    /// The recording cannot be read, is empty, or has a number that is not below `keys`.
    pub fn draw(&self, keys: u32, n: usize, seed: u64) -> io::Result<Vec<u32>> {
        let mut rng = SmallRng::seed_from_u64(seed);
        Ok(match self {
            Keys::Uniform => (0..n).map(|_| rng.random_range(0..keys)).collect(),
            &Keys::Zipf { theta } => {
                let zipf = Zipf::new(f64::from(keys), theta).map_err(io::Error::other)?;
                // The distribution yields whole numbers from 1 to `keys`.
                (0..n).map(|_| (zipf.sample(&mut rng) as u32).clamp(1, keys) - 1).collect()
            }
            &Keys::Hot { keys: share, requests } => {
                let hot = ((f64::from(keys) * share) as u32).clamp(1, keys);
                let draw = |rng: &mut SmallRng| match hot < keys && !rng.random_bool(requests) {
                    true => rng.random_range(hot..keys),
                    false => rng.random_range(0..hot),
                };
                (0..n).map(|_| draw(&mut rng)).collect()
            }
            Keys::Recorded { path } => {
                let all = read_recording(path, keys)?;
                let start = rng.random_range(0..all.len());
                all.iter().cycle().skip(start).take(n).copied().collect()
            }
        })
    }
}

/// Writes key numbers for [`Keys::Recorded`].
///
/// # Errors
/// Errors of the file system.
pub fn write_recording(path: &Path, keys: impl IntoIterator<Item = u32>) -> io::Result<()> {
    let bytes: Vec<u8> = keys.into_iter().flat_map(u32::to_le_bytes).collect();
    std::fs::write(path, bytes)
}

fn read_recording(path: &Path, keys: u32) -> io::Result<Vec<u32>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path)?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    if numbers.is_empty() || !rest.is_empty() {
        return Err(invalid(format!("expected key numbers of 4 bytes each, found {} bytes", bytes.len())));
    }
    let numbers: Vec<u32> = numbers.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
    match numbers.iter().find(|&&number| number >= keys) {
        Some(number) => Err(invalid(format!("expected key numbers below {keys}, found {number}"))),
        None => Ok(numbers),
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::Uniform => f.write_str("uniform"),
            Keys::Zipf { theta } => write!(f, "zipf:{theta}"),
            Keys::Hot { keys, requests } => write!(f, "hot:{keys}:{requests}"),
            Keys::Recorded { .. } => f.write_str("trace"),
        }
    }
}

/// `uniform`, `zipf:THETA`, or `hot:KEYS:REQUESTS` with shares from 0 to 1.
impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected uniform, zipf:THETA or hot:SHARE-OF-KEYS:SHARE-OF-REQUESTS, found \"{text}\"");
        let number = |text: &str, most: f64| {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            let is_in_range = (0.0..=most).contains(&number);
            if is_in_range { Ok(number) } else { Err(format!("{text} in \"{text}\" is not from 0 to {most}")) }
        };
        match *text.split(':').collect::<Vec<_>>() {
            ["uniform"] => Ok(Keys::Uniform),
            ["zipf", theta] => Ok(Keys::Zipf { theta: number(theta, 10.0)? }),
            ["hot", keys, requests] => Ok(Keys::Hot { keys: number(keys, 1.0)?, requests: number(requests, 1.0)? }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 200_000;

    /// The share of all drawn keys that lie in a range.
    fn share(drawn: &[u32], range: std::ops::Range<u32>) -> f64 {
        drawn.iter().filter(|&number| range.contains(number)).count() as f64 / drawn.len() as f64
    }

    #[test]
    fn the_same_seed_draws_the_same_keys() {
        for keys in [Keys::Uniform, Keys::Zipf { theta: 0.99 }, Keys::Hot { keys: 0.1, requests: 0.9 }] {
            let draw = |seed| keys.draw(1000, 100, seed).unwrap();
            assert_eq!(draw(1), draw(1));
            assert_ne!(draw(1), draw(2));
        }
    }

    #[test]
    fn uniform_keys_are_drawn_alike() {
        let drawn = Keys::Uniform.draw(1000, N, 1).unwrap();
        assert!((share(&drawn, 0..100) - 0.1).abs() < 0.01);
        assert!((share(&drawn, 900..1000) - 0.1).abs() < 0.01);
    }

    #[test]
    fn zipf_keys_have_the_shares_of_the_law() {
        let (keys, theta) = (1000, 0.99);
        let drawn = Keys::Zipf { theta }.draw(keys, N, 1).unwrap();
        let weight = |rank: u32| f64::from(rank).powf(-theta);
        let all: f64 = (1..=keys).map(weight).sum();
        for number in [0, 1, 9] {
            let (found, expected) = (share(&drawn, number..number + 1), weight(number + 1) / all);
            assert!((found - expected).abs() < 0.1 * expected, "key {number}: expected {expected}, found {found}");
        }
        let (found, expected) = (share(&drawn, 500..1000), (501..=keys).map(weight).sum::<f64>() / all);
        assert!((found - expected).abs() < 0.1 * expected, "the colder half: expected {expected}, found {found}");
        assert!(drawn.iter().all(|&number| number < keys));
    }

    #[test]
    fn an_exponent_of_zero_is_uniform() {
        let drawn = Keys::Zipf { theta: 0.0 }.draw(1000, N, 1).unwrap();
        assert!((share(&drawn, 0..100) - 0.1).abs() < 0.01);
    }

    #[test]
    fn hot_keys_get_their_share() {
        let drawn = Keys::Hot { keys: 0.05, requests: 0.8 }.draw(1000, N, 1).unwrap();
        assert!((share(&drawn, 0..50) - 0.8).abs() < 0.01);
        assert!((share(&drawn, 50..1000) - 0.2).abs() < 0.01);
        // If all keys are hot, there are no cold keys to draw.
        assert_eq!(Keys::Hot { keys: 1.0, requests: 0.0 }.draw(10, 100, 1).unwrap().len(), 100);
    }

    #[test]
    fn a_recording_is_played_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        write_recording(&path, [3, 1, 2]).unwrap();
        let keys = Keys::Recorded { path: path.clone() };
        let drawn = keys.draw(4, 7, 1).unwrap();
        assert!(drawn.windows(2).all(|pair| [[3, 1], [1, 2], [2, 3]].contains(&[pair[0], pair[1]])), "{drawn:?}");
        let too_few = keys.draw(3, 7, 1).unwrap_err().to_string();
        assert!(too_few.contains("expected key numbers below 3, found 3"), "{too_few}");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert!(keys.draw(4, 7, 1).unwrap_err().to_string().contains("found 3 bytes"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["uniform", "zipf:0.99", "hot:0.1:0.9"] {
            assert_eq!(name.parse::<Keys>().unwrap().to_string(), name);
        }
        for wrong in ["", "zipf", "zipf:x", "zipf:-1", "hot:0.1", "hot:2:0.5", "uniform:1", "zipf:NaN"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_value_proves_its_key_and_its_size() {
        for size in [0, 1, 7, 8, 64] {
            let mut value = vec![9; size];
            fill(0x0102_0304_0506_0708, &mut value);
            assert!(is_right(0x0102_0304_0506_0708, &value, size));
            assert!(!is_right(0x0102_0304_0506_0708, &value, size + 1));
            assert_eq!(is_right(0x0102_0304_0506_0709, &value, size), size == 0);
        }
    }
}
