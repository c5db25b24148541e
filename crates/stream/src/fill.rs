//! Stores saved items in a cache file.

use std::time::Duration;

use kennel::{Cache, Error, NamespaceOptions, RestoreOptions, Restored, SavedItem};

use super::frame::BLOCK;
use super::item::Namespace;

/// How many items are stored together at most.
const BATCH: usize = 4096;

/// How a cache file is filled.
#[derive(Clone, Copy, Debug, Default)]
pub struct FillOptions {
    /// What happens to the values that the file already has.
    pub restore: RestoreOptions,
    /// Whether items that bear tags are stored, too. It is unknown whether their tags were invalidated after the items
    /// were saved.
    pub tagged: bool,
}

/// A cache file that is being filled.
#[derive(Debug)]
pub struct Filling<'c> {
    cache: &'c Cache,
    how: FillOptions,
    /// What became of the items so far.
    pub tally: Tally,
}

/// What became of saved items: how many there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They are stored.
    pub stored: u64,
    /// The file has a value for the key.
    pub kept: u64,
    /// They have expired.
    pub expired: u64,
    /// They bear tags, and such items were not asked for.
    pub tagged: u64,
    /// There was no room for them.
    pub no_room: u64,
    /// They are larger than any item of the file.
    pub too_large: u64,
    /// The file has no room for their namespace.
    pub no_namespace: u64,
}

impl<'c> Filling<'c> {
    /// Begins to fill a file.
    #[must_use]
    pub fn new(cache: &'c Cache, how: FillOptions) -> Self {
        Self { cache, how, tally: Tally::default() }
    }

    /// Adds a namespace with its default times, unless the file has one of that name, which keeps its own. The error in `Ok`
    /// says why it cannot be added; its items will be left out.
    ///
    /// # Errors
    /// Any other error of the file.
    pub fn namespace(&self, namespace: &Namespace) -> kennel::Result<Option<Error>> {
        let Namespace { name, ttl_ms, soft_ttl_ms, absence_ttl_ms, idle_ms, jitter } = namespace;
        let mut options = NamespaceOptions::new().jitter(f64::from(*jitter) / 1000.0);
        let time = |ms: u64| (ms != 0).then(|| Duration::from_millis(ms));
        if let Some(ttl) = time(*ttl_ms) {
            options = options.ttl(ttl);
        }
        if let Some(ttl) = time(*soft_ttl_ms) {
            options = options.soft_ttl(ttl);
        }
        if let Some(ttl) = time(*absence_ttl_ms) {
            options = options.absence_ttl(ttl);
        }
        if let Some(time) = time(*idle_ms) {
            options = options.idle(time);
        }
        match self.cache.namespace(name, &options) {
            Err(error @ (Error::NamespacesFull { .. } | Error::BadOption { .. })) => Ok(Some(error)),
            other => other.map(|_| None),
        }
    }

    /// Stores items, and returns how many there were. Items that the file cannot hold are counted in `tally`.
    ///
    /// # Errors
    /// Any other error, which ends the work.
    pub fn store<B: AsRef<[u8]>>(&mut self, items: impl IntoIterator<Item = SavedItem<B>>) -> kennel::Result<u64> {
        let (mut batch, mut bytes, mut all) = (Vec::with_capacity(BATCH), 0, 0);
        for item in items {
            all += 1;
            if !self.how.tagged && !item.tags.is_empty() {
                self.tally.tagged += 1;
                continue;
            }
            bytes += item.key.as_ref().len() + item.value.as_ref().map_or(0, |value| value.as_ref().len());
            batch.push(item);
            if batch.len() == BATCH || bytes > BLOCK {
                self.store_batch(&batch)?;
                batch.clear();
                bytes = 0;
            }
        }
        self.store_batch(&batch)?;
        Ok(all)
    }

    fn store_batch<B: AsRef<[u8]>>(&mut self, items: &[SavedItem<B>]) -> kennel::Result<()> {
        for result in self.cache.restore_multi(items, &self.how.restore) {
            let number = match result {
                Ok(Restored::Stored) => &mut self.tally.stored,
                Ok(Restored::Kept) => &mut self.tally.kept,
                Ok(Restored::Expired) => &mut self.tally.expired,
                Ok(_) => &mut self.tally.no_room,
                Err(Error::TooLarge { .. } | Error::KeyTooLong { .. }) => &mut self.tally.too_large,
                Err(Error::NamespacesFull { .. } | Error::BadOption { .. }) => &mut self.tally.no_namespace,
                Err(error) => return Err(error),
            };
            *number += 1;
        }
        Ok(())
    }
}
