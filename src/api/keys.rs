//! A scan of the keys.

use super::cache::Cache;
use crate::upkeep::Opened;
use crossbeam::utils::Backoff;
use std::vec;

/// Looks at a bucket that others are changing before its keys are passed over.
const LOOKS: u32 = 64;

/// The keys of a cache, in no order, one bucket at a time. See [`Cache::keys`].
pub struct Keys {
    cache: Cache,
    /// The next bucket: its stripe, and its number there.
    next: (u32, u64),
    found: vec::IntoIter<Vec<u8>>,
}

impl Cache {
    /// Goes through the keys. It takes no lock and is no snapshot: a key that is there throughout is returned
    /// once, others perhaps, and one that moves meanwhile perhaps twice.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys { cache: self.clone(), next: (0, 0), found: Vec::new().into_iter() }
    }
}

impl Iterator for Keys {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(key) = self.found.next() {
                return Some(key);
            }
            let opened = self.cache.opened();
            let (stripe, bucket) = self.next;
            if stripe >= opened.geometry().shape.stripes {
                return None;
            }
            self.next = if bucket + 1 < opened.geometry().buckets { (stripe, bucket + 1) } else { (stripe + 1, 0) };
            self.found = keys_of(opened, stripe, bucket).into_iter();
        }
    }
}

fn keys_of(opened: &Opened, stripe: u32, bucket: u64) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    if opened.is_foreign() {
        return keys;
    }
    let now_ms = opened.settings.time.now_ms();
    let backoff = Backoff::new();
    for _ in 0..LOOKS {
        keys.clear();
        if opened.store.keys_of_bucket(stripe, bucket, now_ms, &mut keys) {
            return keys;
        }
        backoff.snooze();
    }
    Vec::new()
}
