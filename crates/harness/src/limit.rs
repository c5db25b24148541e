//! A lower bound for a read from any cache in a mapped file, to compare Kennel with.
//!
//! It hashes the key, loads the line of a random bucket, and copies the value out of the record that the bucket leads
//! to. The mapping is of the same kind as the cache's, with as many buckets and records and the same keys. Each key has
//! its own record: otherwise fewer records would be touched than in the cache, and more of them would lie in the
//! processor's caches. Nothing is compared, checked or counted, so no cache can be that fast; the distance shows what a
//! cache's checks cost.
#![allow(unsafe_code, reason = "a file is mapped; everything else here is plain loads and stores")]

use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a bucket: a cache line. Its first word determines which of the other words belongs to a key.
const BUCKET: usize = 64;
const WORDS: usize = BUCKET / 8;
/// Bytes of a record's header.
const HEADER: usize = 32;
const SEED: u64 = 1;
/// Multipliers tried for a bucket. One in 163 maps seven keys to seven different words; none does so for more keys, of
/// which some then share a word.
const TRIES: u64 = 4096;

/// A mapping to read from.
#[derive(Debug)]
pub struct Limit {
    map: MmapMut,
    buckets: u64,
    records_at: usize,
    record: usize,
    before_value: usize,
}

impl Limit {
    /// Creates a file, which must not exist, with as many buckets as the cache has and a record for each key. The keys
    /// have the same length, in the order in which the cache stored them. A value of `value_size` bytes is all ones;
    /// the last eight bytes of a value of 16 or more are the record's number.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn create<K: AsRef<[u8]>>(path: &Path, buckets: u64, keys: &[K], value_size: usize) -> io::Result<Self> {
        let key_len = keys.first().map_or(0, |key| key.as_ref().len());
        let record = kennel::record_size(key_len, value_size) as usize;
        let before_value = record - value_size.next_multiple_of(8);
        debug_assert!(before_value >= HEADER);
        let records_at = buckets as usize * BUCKET;
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len((records_at + keys.len() * record) as u64)?;
        // SAFETY: the file was created just now, in a directory of our own; nobody else opens or truncates it.
        let map = unsafe { MmapMut::map_mut(&file) }?;
        let mut limit = Self { map, buckets, records_at, record, before_value };
        limit.link(keys);
        limit.map[records_at..].fill(1);
        for (number, record) in limit.map[records_at..].chunks_exact_mut(record).enumerate() {
            if value_size >= 16 {
                record[before_value + value_size - 8..before_value + value_size].copy_from_slice(&number.to_le_bytes());
            }
        }
        Ok(limit)
    }

    /// Makes the bucket of each key lead to its record.
    fn link<K: AsRef<[u8]>>(&mut self, keys: &[K]) {
        let mut by_bucket: Vec<(usize, u64, usize)> = keys
            .iter()
            .enumerate()
            .map(|(record, key)| {
                let hash = xxh3_64_with_seed(key.as_ref(), SEED);
                (self.bucket(hash), hash, record)
            })
            .collect();
        by_bucket.sort_unstable();
        for keys in by_bucket.chunk_by(|one, other| one.0 == other.0) {
            let (bucket, ..) = keys[0];
            let alone = |multiplier: u64| {
                let taken = keys.iter().fold(0u8, |taken, key| taken | 1 << word_of(key.1, multiplier));
                taken.count_ones()
            };
            let odd = (1..=TRIES).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let multiplier = odd.clone().find(|&odd| alone(odd) as usize == keys.len());
            let multiplier = multiplier.or_else(|| odd.max_by_key(|&odd| alone(odd))).unwrap_or(1);
            self.set_word(bucket, 0, multiplier);
            keys.iter().for_each(|key| self.set_word(bucket, word_of(key.1, multiplier), key.2 as u64));
        }
    }

    fn set_word(&mut self, bucket: usize, word: usize, value: u64) {
        let at = bucket + word * 8;
        self.map[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        ((u128::from(hash) * u128::from(self.buckets)) >> 64) as usize * BUCKET
    }

    #[inline]
    fn word(&self, bucket: usize, word: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.map[bucket + word * 8..bucket + word * 8 + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Copies out the value that a key leads to; `into` is as long as the values.
    #[inline]
    pub fn get_into(&self, key: &[u8], into: &mut [u8]) {
        let hash = xxh3_64_with_seed(key, SEED);
        let bucket = self.bucket(hash);
        let record = self.word(bucket, word_of(hash, self.word(bucket, 0))) as usize;
        let value = self.records_at + record * self.record + self.before_value;
        into.copy_from_slice(&self.map[value..value + into.len()]);
    }
}

/// The word of its bucket, counted from 1, that belongs to a key.
#[inline]
fn word_of(hash: u64, multiplier: u64) -> usize {
    let spread = hash.wrapping_mul(multiplier) >> 32;
    1 + ((spread * (WORDS as u64 - 1)) >> 32) as usize
}
