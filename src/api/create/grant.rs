//! Who may create a key: the holder of its claim, or a caller without protection or without the cache.

use super::claim::{Claim, Creation, Right, count_uncached};
use super::freshness::FreshnessPolicy;
use super::options::CreateOptions;
use crate::api::cache::Cache;
use crate::api::claim::{EpochSnapshot, HeldClaim};
use crate::api::count::count;
use crate::api::item::{Item, Known};
use crate::api::writer::Writer;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::store::tally::MemberCount;
use std::sync::Arc;

/// Rights to create stored keys.
impl Cache {
    /// The right of the one that holds the key's claim. It may have a value to be used meanwhile.
    pub(super) fn claimed(
        &self,
        key: &[u8],
        how: &CreateOptions,
        held: HeldClaim,
        began: EpochSnapshot,
        usable: Option<Item>,
    ) -> Result<Claim> {
        let opened = held.opened().clone();
        let mut creation = Creation::new(self, &opened, key, how, Right::Claimed(held), began);
        if let Some(namespace) = self.in_namespace() {
            creation.defaults = namespace.in_file(&opened, self.lock_wait())?.1;
        }
        creation.is_refresh = how.background && usable.is_some();
        creation.stale = usable;
        Ok(creation.into())
    }

    /// The right of a caller that nobody waits for.
    pub(super) fn unprotected(&self, key: &[u8], how: &CreateOptions) -> Result<Claim> {
        let file = self.current()?;
        let writer = Writer::new(&file, self.in_namespace(), key, self.lock_wait())?;
        let opened: &Arc<AttachedFile> = &file;
        count(opened, MemberCount::Unprotected);
        let began = EpochSnapshot::now(opened, writer.namespace);
        // Before the key is looked at, and before the creator looks at whatever it makes the value of.
        let seen = opened.store.bucket_view(&writer.key).version();
        let known = self.known(key)?;
        let policy = FreshnessPolicy::of(how);
        let is_usable =
            |known: &Known| !known.extension.is_absence() && !policy.is_too_old(known, &opened.settings.time);
        let mut creation = Creation::new(self, opened, key, how, Right::Unprotected(seen), began);
        creation.stale = known.filter(is_usable).map(|known| known.item);
        creation.defaults = writer.defaults;
        Ok(creation.into())
    }

    /// The right of a caller that does without the cache, which failed.
    pub(super) fn uncached(&self, key: &[u8], how: &CreateOptions, error: Error) -> Claim {
        let opened = self.opened();
        count_uncached(&opened);
        let began = EpochSnapshot::now(&opened, 0);
        Creation::new(self, &opened, key, how, Right::Uncached(error), began).into()
    }
}
