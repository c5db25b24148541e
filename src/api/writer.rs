//! A key that is about to be written, with its hash, and the id and the defaults of its namespace.

use super::count::count;
use super::namespace::Namespace;
use super::set_options::SetOptions;
use super::stripe_lock::wait_for_region;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::attached::Membership;
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::KeyLocation;
use crate::store::NamespaceId;
use crate::store::copied::Copied;
use crate::store::counters::MemberCount;
use crate::store::find::Entry;
use crate::store::namespace::Defaults;
use crate::store::record::{MAX_KEY, Metadata, NewRecord};
use crate::store::stripe_guard::StripeGuard;
use crate::store::tag_words::{MAX_TAGS, TagNumbers};
use crate::sync::locks::RegionGuard;
use std::time::Duration;

/// A key that is about to be written.
pub(super) struct Writer<'f, 'k> {
    pub opened: &'f AttachedFile,
    pub key: Key<'k>,
    pub location: KeyLocation,
    pub namespace: NamespaceId,
    pub defaults: Defaults,
    lock_wait: Duration,
}

impl<'f, 'k> Writer<'f, 'k> {
    /// A writer for a stored key. Without a namespace it has no defaults.
    #[inline(always)]
    pub(super) fn new(
        opened: &'f AttachedFile,
        namespace: Option<&Namespace>,
        key: &'k [u8],
        lock_wait: Duration,
    ) -> Result<Self> {
        let place = namespace_of(opened, namespace, key, lock_wait)?;
        Ok(Self::at(opened, place, key, lock_wait))
    }

    /// A writer for a stored key whose namespace's id is known. The hot path uses this, because a writer within a
    /// `Result` would be copied.
    #[inline(always)]
    pub(super) fn at(
        opened: &'f AttachedFile,
        (namespace, defaults): (NamespaceId, Defaults),
        key: &'k [u8],
        lock_wait: Duration,
    ) -> Self {
        let key = opened.store.key(key);
        Self { opened, key, location: opened.store.locate(&key), namespace, defaults, lock_wait }
    }

    pub(super) fn stripe(&self) -> u32 {
        self.location.stripe
    }

    /// Locks the key's stripe for the duration of `work`.
    #[inline(always)]
    pub(super) fn with_stripe<R>(&self, work: impl FnOnce(&mut StripeGuard<'f, Mapping>) -> R) -> Result<R> {
        let (joined, lock) = self.lock()?;
        self.opened.with_stripe(joined, self.stripe(), lock, work)
    }

    /// [`with_stripe`](Self::with_stripe) for a `work` that uses the rings only to put items into them.
    #[inline(always)]
    pub(super) fn with_stripe_to_put<R>(&self, work: impl FnOnce(&mut StripeGuard<'f, Mapping>) -> R) -> Result<R> {
        let head = self.opened.store.stripe_head(self.stripe());
        let (joined, lock) = self.lock()?;
        self.opened.with_stripe_to_put(joined, head, lock, work)
    }

    #[inline(always)]
    fn lock(&self) -> Result<(&'f Membership, RegionGuard<'f>)> {
        let (opened, stripe, limit) = (self.opened, self.stripe(), self.lock_wait);
        let joined = opened.member_within(limit)?;
        let lock = opened.lock_at_once(joined, stripe, || wait_for_region(joined, opened, stripe, limit))?;
        Ok((joined, lock))
    }

    /// Whether a read would return the value of the key's entry. If reads verify checksums, the checksum of the entry
    /// must be valid.
    pub(super) fn would_read(&self, guard: &StripeGuard<'_, Mapping>, entry: Option<&Entry>) -> bool {
        let verify = self.opened.settings.verify_reads;
        entry.is_some_and(|entry| {
            guard.is_seen(entry, false)
                && (!verify || matches!(guard.copied(&self.key, entry, true, false), Ok(Some(_))))
        })
    }

    /// The key's entry and a copy of it, if a read would return its value.
    pub(super) fn current(&self, guard: &StripeGuard<'_, Mapping>) -> Result<Option<(Entry, Copied)>> {
        let Some(entry) = guard.find_current(&self.key) else { return Ok(None) };
        let copied = guard.copied(&self.key, &entry, self.opened.settings.verify_reads, false);
        Ok(copied.map_err(Error::no_memory(entry.value_len))?.map(|copied| (entry, copied)))
    }

    /// Whether the options allow the value to be stored now. The caller has already loaded the epochs that the record
    /// will have, so an invalidation after this call finds the record outdated.
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption).
    #[inline(always)]
    pub(super) fn may_store(&self, how: &SetOptions) -> Result<bool> {
        let Some(moment) = &how.moment else { return Ok(true) };
        let may = moment.is_still(self.opened, self.namespace, &how.tag_numbers())?;
        if !may {
            count(self.opened, MemberCount::Voided);
        }
        Ok(may)
    }

    /// The record to write. Its size is not checked yet.
    #[inline(always)]
    pub(super) fn draft<'v>(&self, value: &'v [u8], how: &SetOptions) -> NewRecord<'v>
    where
        'k: 'v,
    {
        // The closure borrows only the clock, so that the writer itself can stay in registers.
        let time = &self.opened.settings.time;
        let now_ms = || time.now_ms();
        let (expires_ms, metadata) = how.times(self.defaults, now_ms);
        let metadata = Metadata { namespace: self.namespace.number(), ..metadata }.if_any();
        // The clock of tags is loaded before the stripe is locked, and so before any look at the old value.
        let clock = || match &how.moment {
            None => self.opened.store.tag_clock(),
            Some(moment) => moment.tag_clock(self.opened),
        };
        let metadata = metadata.map(|metadata| Metadata {
            created_ms: now_ms(),
            tag_clock: if metadata.tags.is_empty() { 0 } else { clock() },
            ..metadata
        });
        NewRecord::new(self.key, value, expires_ms, metadata)
    }
}

/// The id and the defaults of the namespace of a stored key.
#[inline(always)]
pub(super) fn namespace_of(
    opened: &AttachedFile,
    namespace: Option<&Namespace>,
    key: &[u8],
    lock_wait: Duration,
) -> Result<(NamespaceId, Defaults)> {
    if key.len() > MAX_KEY {
        return Err(Error::KeyTooLong { size: key.len(), limit: MAX_KEY });
    }
    match namespace {
        Some(namespace) => namespace.in_file(opened, lock_wait),
        None => Ok((NamespaceId::NONE, Defaults::default())),
    }
}

/// The metadata that a new record takes over from the one that it replaces. An extended record stays extended, even if
/// the creation time is its only metadata.
pub(super) fn metadata_of(copied: &Copied) -> Option<Metadata> {
    copied.head.is_extended().then(|| copied.extension.metadata())
}

/// Whether a file can hold a record: its size fits, and so do its tags.
#[inline]
pub(super) fn check_size(opened: &AttachedFile, draft: &NewRecord<'_>) -> Result<()> {
    let (size, limit) = (draft.units() * 8, opened.geometry().largest_record);
    if size > limit {
        return Err(Error::TooLarge { size, limit });
    }
    match draft.tags() {
        Some(tags) => check_tags(opened, tags),
        None => Ok(()),
    }
}

#[cold]
fn check_tags(opened: &AttachedFile, tags: &TagNumbers) -> Result<()> {
    match tags.too_many() {
        Some(found) => Err(Error::TooManyTags { found, limit: MAX_TAGS }),
        None if opened.store.has_tags() => Ok(()),
        None => Err(Error::BadOption {
            option: "tags",
            given: format!("a tag in {}, which has no tables for tags", opened.real.display()),
            expected: "a file that was created with tables for tags".into(),
        }),
    }
}
