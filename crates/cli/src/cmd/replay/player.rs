//! Plays requests on a cache, checks every hit, and counts.

use std::ops::AddAssign;

use kennel::{Cache, Error};

use crate::trace::{KEY_LEN, Key};

/// How many requests of the whole trace are played together. With several processes none is more than two such chunks
/// ahead of another, which preserves the order of the trace to that extent.
pub(super) const CHUNK: usize = 128;

/// One request to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) key: Key,
    /// The size of the value.
    pub(super) size: u32,
}

/// The results of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) hits: u64,
    /// The sum of the sizes of the requested values.
    pub(super) bytes: u64,
    pub(super) hit_bytes: u64,
    /// How many misses had a value too large for the cache.
    pub(super) too_large: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.bytes += other.bytes;
        self.hit_bytes += other.hit_bytes;
        self.too_large += other.too_large;
    }
}

/// A request failed or returned a wrong value.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlayError {
    #[error("key {key}: {error}")]
    Cache { key: Key, error: Error },

    #[error("key {key}: expected a value of {expected} bytes, found one of {found}")]
    WrongLength { key: Key, expected: usize, found: usize },

    #[error("key {key}: expected a value that repeats the key, found other bytes in it")]
    WrongContent { key: Key },
}

/// Plays requests on one cache.
pub(super) struct Player {
    cache: Cache,
    /// The greatest length of a value that the cache may accept.
    longest: usize,
    /// A buffer for the value that is read or written, as long as the longest value so far.
    buffer: Vec<u8>,
}

impl Player {
    pub(super) fn new(cache: Cache) -> Self {
        let longest = usize::try_from(cache.stats().largest_record).unwrap_or(usize::MAX);
        Self { cache, longest, buffer: Vec::new() }
    }

    pub(super) fn play(&mut self, jobs: &[Job]) -> Result<Tally, PlayError> {
        let mut tally = Tally::default();
        for job in jobs {
            tally += self.play_one(job)?;
        }
        Ok(tally)
    }

    fn play_one(&mut self, job: &Job) -> Result<Tally, PlayError> {
        let size = u64::from(job.size);
        let asked = Tally { requests: 1, bytes: size, ..Tally::default() };
        if self.get(job)? {
            return Ok(Tally { hits: 1, hit_bytes: size, ..asked });
        }
        let is_stored = self.set(job)?;
        Ok(Tally { too_large: u64::from(!is_stored), ..asked })
    }

    /// Whether the cache has the value. A wrong value is an error.
    fn get(&mut self, job: &Job) -> Result<bool, PlayError> {
        let key = job.key;
        let room = self.room(job);
        let found = self.cache.get_into(key.as_bytes(), &mut self.buffer[..room]);
        match found.map_err(|error| PlayError::Cache { key, error })? {
            Some(len) => check(key, &self.buffer[..room], len).map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether the cache stored the value.
    fn set(&mut self, job: &Job) -> Result<bool, PlayError> {
        let key = job.key;
        let room = self.room(job);
        let value = &mut self.buffer[..room];
        fill(key, value);
        match self.cache.set(key.as_bytes(), value) {
            Ok(()) => Ok(true),
            Err(Error::TooLarge { .. }) => Ok(false),
            Err(error) => Err(PlayError::Cache { key, error }),
        }
    }

    /// The length of the value of `job`; grows the buffer to that length.
    ///
    /// A value that is too long for the cache is cut to one byte more than the limit: the cache still refuses it, and
    /// large sizes in a trace take no memory.
    fn room(&mut self, job: &Job) -> usize {
        let room = (job.size as usize).min(self.longest.saturating_add(1));
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        room
    }
}

/// Fills `value` with the contents for `key`.
fn fill(key: Key, value: &mut [u8]) {
    for part in value.chunks_mut(KEY_LEN) {
        part.copy_from_slice(&key.as_bytes()[..part.len()]);
    }
}

/// Checks that the value found has `len` bytes, the length of `value`, and the contents that [`fill`] writes.
fn check(key: Key, value: &[u8], len: usize) -> Result<(), PlayError> {
    if len != value.len() {
        return Err(PlayError::WrongLength { key, expected: value.len(), found: len });
    }
    let is_right = value.chunks(KEY_LEN).all(|part| key.as_bytes().starts_with(part));
    if is_right { Ok(()) } else { Err(PlayError::WrongContent { key }) }
}

#[cfg(test)]
mod tests {
    use kennel::Options;

    use super::*;

    struct Stage {
        cache: Cache,
        player: Player,
        _dir: tempfile::TempDir,
    }

    fn stage() -> Stage {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options::new().capacity(1 << 20);
        let cache = options.create(dir.path().join("cache")).expect("a cache");
        Stage { player: Player::new(cache.clone()), cache, _dir: dir }
    }

    fn job(key: u64, size: u32) -> Job {
        Job { key: Key::from(key), size }
    }

    #[test]
    fn a_key_that_was_played_is_a_hit() {
        let mut stage = stage();
        let jobs = [job(1, 100), job(2, 0), job(1, 100), job(2, 0), job(3, 33)];
        let expected = Tally { requests: 5, hits: 2, bytes: 233, hit_bytes: 100, too_large: 0 };
        assert_eq!(stage.player.play(&jobs).expect("right values"), expected);
    }

    #[test]
    fn a_value_that_is_too_large_is_counted_and_not_built() {
        let mut stage = stage();
        let tally = stage.player.play(&[job(1, u32::MAX), job(1, u32::MAX)]).expect("no error");
        assert_eq!((tally.hits, tally.too_large), (0, 2));
        assert_eq!(tally.bytes, 2 * u64::from(u32::MAX));
        assert!(stage.player.buffer.len() <= 1 << 20);
    }

    #[test]
    fn a_wrong_value_is_an_error() {
        let key = Key::from(7);
        let mut right = [0; 40];
        fill(key, &mut right);
        let mut changed = right;
        changed[39] ^= 1;
        let cases = [
            (&right[..39], "key 7: expected a value of 40 bytes, found one of 39"),
            (&changed[..], "key 7: expected a value that repeats the key, found other bytes in it"),
        ];
        for (wrong, message) in cases {
            let mut stage = stage();
            stage.cache.set(key.as_bytes(), wrong).expect("stored");
            let error = stage.player.play(&[job(7, 40)]).expect_err("a wrong value");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_longer_value_than_expected_is_an_error() {
        let mut stage = stage();
        stage.cache.set(Key::from(7).as_bytes(), [0; 41]).expect("stored");
        let error = stage.player.play(&[job(7, 40)]).expect_err("a wrong value");
        assert!(error.to_string().starts_with("key 7: "), "{error}");
    }
}
