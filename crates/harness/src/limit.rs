//! The least that any cache in a mapped file must do for a read: what Kennel is measured against.
//!
//! Hash the key, load one word of a random bucket's line, copy the value out of the record that it leads to. Over a
//! mapping of the same kind, with as many buckets and records as the cache has, and the same keys. Nothing is
//! compared, checked or counted, so no cache can be that fast; how close one comes says what its checks cost.
#![allow(unsafe_code, reason = "a file is mapped; everything else here is plain loads and stores")]

use crate::keys::KEY_LEN;
use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a bucket: a cache line.
const BUCKET: usize = 64;
/// Bytes of a record before its value: a header of 32, and the key.
const BEFORE_VALUE: usize = 32 + KEY_LEN;
const SEED: u64 = 1;

/// A mapping to read from.
pub struct Limit {
    map: MmapMut,
    buckets: u64,
    records_at: usize,
    record: usize,
}

impl Limit {
    /// Makes a file, which must not exist, with as many buckets as the cache has, and records for `items` values.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path, buckets: u64, items: u32, value_size: usize) -> io::Result<Self> {
        let record = kennel::record_size(KEY_LEN, value_size) as usize;
        let records_at = buckets as usize * BUCKET;
        let len = records_at + items as usize * record;
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(len as u64)?;
        // SAFETY: the file was made right now, in a directory of ours; nobody else opens or cuts it.
        let mut map = unsafe { MmapMut::map_mut(&file) }?;
        let (words, _) = map[..records_at].as_chunks_mut::<8>();
        for (n, word) in words.iter_mut().enumerate() {
            // Scattered: each word leads to some record, and about all records are led to.
            let record = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % u64::from(items.max(1));
            *word = record.to_le_bytes();
        }
        map[records_at..].fill(1);
        Ok(Self { map, buckets, records_at, record })
    }

    /// Copies the value out that a key leads to; `into` is as long as the values are.
    #[inline]
    pub fn get_into(&self, key: &[u8], into: &mut [u8]) {
        let hash = xxh3_64_with_seed(key, SEED);
        let bucket = ((u128::from(hash) * u128::from(self.buckets)) >> 64) as usize;
        let word = bucket * BUCKET + (hash as usize & 7) * 8;
        let mut record = [0; 8];
        record.copy_from_slice(&self.map[word..word + 8]);
        let value = self.records_at + u64::from_le_bytes(record) as usize * self.record + BEFORE_VALUE;
        into.copy_from_slice(&self.map[value..value + into.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::key;

    #[test]
    fn every_key_leads_to_a_value() {
        let directory = tempfile::tempdir().unwrap();
        for (items, size) in [(1, 0), (1000, 64), (10, 4096)] {
            let limit = Limit::create(&directory.path().join(size.to_string()), 7, items, size).unwrap();
            let mut into = vec![0; size];
            (0..1000).for_each(|number| limit.get_into(&key(number), &mut into));
            assert!(into.iter().all(|&byte| byte == 1));
        }
    }
}
