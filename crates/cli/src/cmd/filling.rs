//! Stores saved items in a cache file: what `kennel load` and `kennel copy` have in common.

use std::fmt;
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Error, NamespaceOptions, RestoreOptions, Restored, SavedItem};
use kennel_harness::human::{count, plural};

use crate::message::of_cache;
use crate::output::warn;
use crate::stream::{BLOCK, Namespace};

/// Which items are stored.
#[derive(Args)]
pub struct FillArgs {
    /// Replace what the file holds for a key. By default that is kept, because it is newer.
    #[arg(long)]
    replace: bool,
    /// Store items for which there is no room like new ones, so that others are evicted. By default they are left out, and
    /// nothing that the file holds is evicted: the file keeps what it has and gets the most used items that fit.
    #[arg(long)]
    evict: bool,
}

/// How many items are stored together at most.
const BATCH: usize = 4096;

/// A cache file that is being filled.
pub struct Filling<'c> {
    cache: &'c Cache,
    how: RestoreOptions,
    pub tally: Tally,
}

/// What became of the items.
#[derive(Debug, Default)]
pub struct Tally {
    stored: u64,
    kept: u64,
    expired: u64,
    no_room: u64,
    pub too_large: u64,
    no_namespace: u64,
}

impl FillArgs {
    pub fn fill<'c>(&self, cache: &'c Cache) -> Filling<'c> {
        let how = RestoreOptions::new().replace(self.replace).evict(self.evict);
        Filling { cache, how, tally: Tally::default() }
    }
}

impl Filling<'_> {
    /// Adds a namespace with its default times, unless the file has one of that name, which keeps its own.
    pub fn namespace(&self, namespace: &Namespace) -> kennel::Result<()> {
        let Namespace { name, ttl_ms, soft_ttl_ms, absence_ttl_ms, jitter } = namespace;
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
        match self.cache.namespace(name, &options) {
            Err(error @ (Error::NamespacesFull { .. } | Error::BadOption { .. })) => {
                warn(&format!("the items of namespace {name:?} are left out: {}", of_cache(&error)));
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Stores items, and returns how many there were. What the file cannot hold is counted; any other error ends the work.
    pub fn store<B: AsRef<[u8]>>(&mut self, items: impl IntoIterator<Item = SavedItem<B>>) -> kennel::Result<u64> {
        let (mut batch, mut bytes, mut all) = (Vec::with_capacity(BATCH), 0, 0);
        for item in items {
            bytes += item.key.as_ref().len() + item.value.as_ref().map_or(0, |value| value.as_ref().len());
            batch.push(item);
            all += 1;
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
        for result in self.cache.restore_multi(items, &self.how) {
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

/// One sentence: `12 items; 3 had expired`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", plural(self.stored, "item"))?;
        let others = [
            (self.kept, "were there already"),
            (self.expired, "had expired"),
            (self.no_room, "did not fit, the least used ones"),
            (self.too_large, "were too large for the file"),
            (self.no_namespace, "are of namespaces for which the file has no room"),
        ];
        others.iter().filter(|(n, _)| *n != 0).try_for_each(|(n, what)| write!(f, "; {} {what}", count(*n)))
    }
}
