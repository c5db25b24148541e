//! The tap: a sample of the keys that reads ask for.

use super::cache::Cache;
use super::scan::items_without_lock;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::store::tap::TapCursor;
use std::fmt;
use std::sync::Arc;

/// A sample of what the reads of all processes ask for: see [`Cache::tap`].
pub struct Tap {
    opened: Arc<AttachedFile>,
    cursor: TapCursor,
    /// Whether this observer chose the keys.
    is_master: bool,
}

/// A key of which a [`Tap`] knows the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TappedKey {
    /// The stored key.
    pub key: Vec<u8>,
    /// How many bytes of the capacity its item takes.
    pub record_len: u64,
}

impl Cache {
    /// Begins to sample reads: those of keys whose hash has none of the bits of `mask`. With n bits that is one key in 2^n,
    /// and all reads of it, whether they hit or miss. Bits 12 to 63 select keys of all stripes. The observer calls
    /// [`drain`](Tap::drain) again and again: for each thread that reads, the file has room for 15 samples between two
    /// calls.
    ///
    /// Reads under a lock, as those of [`take`](Cache::take), are not sampled, nor are those of
    /// [`get_or_create`](Cache::get_or_create) where reads verify checksums.
    ///
    /// A read with a sampled key takes some nanoseconds longer, and no other read does. When the observer is dropped, no
    /// read is sampled any more. If it is killed, sampling goes on until another one begins and ends. There is one mask in a
    /// file: of two observers at the same time, each gets what the later one chose.
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
    /// [`BadOption`](Error::BadOption) for a mask of 0, and if the file has no room for [samples](crate::Options::samples);
    /// [`ReadOnly`](Error::ReadOnly), and the other errors of a write.
    pub fn tap(&self, mask: u64) -> Result<Tap> {
        let opened = Arc::clone(&*self.current()?);
        let mut tap = Tap { opened, cursor: TapCursor::default(), is_master: false };
        tap.check()?;
        tap.select(mask)?;
        Ok(tap)
    }

    /// An observer of what another one chose, such as a read-only handle can have: it changes nothing in the file, and while
    /// nobody else samples, it sees nothing.
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) if the file has no room for [samples](crate::Options::samples).
    pub fn watch_tap(&self) -> Result<Tap> {
        let tap = Tap { opened: self.opened(), cursor: TapCursor::default(), is_master: false };
        tap.check()?;
        Ok(tap)
    }

    /// The stored key with a hash that a [`Tap`] showed, if it has a value. Nothing is locked or marked as read.
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
    /// [`BadOption`](Error::BadOption) for a mask of 0.
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

    /// The mask in the file: that of the observer that selected keys last, or 0 if no read is sampled.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.opened.store.sample_mask()
    }

    /// Calls `each` with the hash of the key of each read that was sampled since the last call. Reads of one thread are in
    /// their order; those of different threads are not. Returns how many reads were lost, since there was room for no more.
    pub fn drain(&mut self, each: impl FnMut(u64)) -> u64 {
        self.opened.store.drain_tap(&mut self.cursor, each)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Not in a forked child that has inherited the observer.
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
