//! The tap: a sample of the keys that callers read.

use super::cache::Cache;
use super::scan::items_without_lock;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::store::tap::TapCursor;
use std::fmt;
use std::sync::Arc;

/// A sample of the reads of all processes: see [`Cache::tap`].
pub struct Tap {
    opened: Arc<AttachedFile>,
    cursor: TapCursor,
    /// Whether this observer chose which keys are sampled.
    is_master: bool,
}

/// A key whose hash a [`Tap`] reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TappedKey {
    /// The stored key.
    pub key: Vec<u8>,
    /// How many bytes of the capacity the key's item takes.
    pub record_len: u64,
}

impl Cache {
    /// Begins to sample reads: those of keys whose hash has none of the bits of `mask` set. With n bits in the mask,
    /// one key in 2^n is sampled, with all its reads, hits and misses. Choose bits from 12 to 63, which select keys of
    /// all stripes. The observer calls [`drain`](Tap::drain) repeatedly. Between two calls the file has room for 15
    /// samples per reading thread.
    ///
    /// Reads under a lock, such as those of [`take`](Cache::take), are not sampled; nor are reads by
    /// [`get_or_create`](Cache::get_or_create) where reads verify checksums.
    ///
    /// A read of a sampled key takes some nanoseconds longer; other reads do not. When the observer is dropped,
    /// sampling ends. If its process is killed, sampling continues until another observer begins and ends. A file has
    /// one mask: if there are two observers at the same time, both get the keys that the later one chose.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(4 << 20).samples(true).create(dir.path().join("cache"))?;
    /// cache.set("greeting", "hello")?;
    /// let mut tap = cache.tap(1 << 63)?; // every second key
    /// let mut asked = 0;
    /// tap.drain(|_| {}); // from here on
    /// let _ = cache.get("greeting");
    /// tap.drain(|hash| {
    ///     asked += 1;
    ///     assert_eq!(tap_name(&cache, hash), Some(b"greeting".to_vec()));
    /// });
    /// # fn tap_name(cache: &kennel::Cache, hash: u64) -> Option<Vec<u8>> { cache.tapped_key(hash).map(|found| found.key) }
    /// # assert!(asked <= 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a mask of 0, and if the file has no room for
    /// [samples](crate::Options::samples); [`ReadOnly`](Error::ReadOnly); and the other errors of [`set`](Cache::set).
    pub fn tap(&self, mask: u64) -> Result<Tap> {
        let opened = Arc::clone(&*self.current()?);
        let mut tap = Tap { opened, cursor: TapCursor::default(), is_master: false };
        tap.check()?;
        tap.select(mask)?;
        Ok(tap)
    }

    /// An observer of the keys that another observer chose. It changes nothing in the file, so a read-only handle can
    /// have one. While no other observer samples, it sees nothing.
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) if the file has no room for [samples](crate::Options::samples).
    pub fn watch_tap(&self) -> Result<Tap> {
        let tap = Tap { opened: self.opened(), cursor: TapCursor::default(), is_master: false };
        tap.check()?;
        Ok(tap)
    }

    /// The stored key with this hash, which a [`Tap`] reported, if the key has a value. Nothing is locked or marked as
    /// read.
    #[must_use]
    pub fn tapped_key(&self, hash: u64) -> Option<TappedKey> {
        let opened = self.scanned()?;
        let geometry = opened.geometry();
        let key = Key { bytes: &[], hash };
        let items = items_without_lock(&opened, key.stripe(geometry.shape.stripes), key.bucket(geometry.buckets))?;
        let found = items.into_iter().find(|item| opened.store.key(&item.key).hash == hash)?;
        Some(TappedKey { key: found.key, record_len: found.head.units() * 8 })
    }
}

impl Tap {
    fn check(&self) -> Result<()> {
        if self.opened.geometry().shape.samples == 0 {
            return Err(Error::BadOption {
                option: "samples",
                given: "no".into(),
                expected: "a file that was created with room for samples of reads".into(),
            });
        }
        Ok(())
    }

    /// Selects other keys: see [`Cache::tap`].
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a mask of 0; [`ReadOnly`](Error::ReadOnly); and the other errors of
    /// [`set`](Cache::set).
    pub fn select(&mut self, mask: u64) -> Result<()> {
        if mask == 0 {
            let expected = "at least one bit: without any, no read is sampled".into();
            return Err(Error::BadOption { option: "mask", given: "0".into(), expected });
        }
        // A read-only handle may not write to the file.
        self.opened.member()?;
        self.opened.store.set_sample_mask(mask);
        self.is_master = true;
        Ok(())
    }

    /// The mask in the file, which the last observer that selected keys set; 0 if no read is sampled.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.opened.store.sample_mask()
    }

    /// Calls `each` with the key's hash for each read that was sampled since the last call; the first call reports
    /// nothing. Reads of one thread come in their order; those of different threads do not. Returns how many samples
    /// were lost, because there was no room for them.
    pub fn drain(&mut self, each: impl FnMut(u64)) -> u64 {
        self.opened.store.drain_tap(&mut self.cursor, each)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A forked child has inherited the observer, but must not end the sampling.
        if self.is_master && self.opened.joined().is_some() {
            self.opened.store.set_sample_mask(0);
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("mask", &self.mask()).finish_non_exhaustive()
    }
}
