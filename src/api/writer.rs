//! A key that is about to be written, with its hash and the number and defaults of its namespace.

use super::namespace::Namespace;
use super::set_options::SetOptions;
use super::stripe_lock::lock_region;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::KeyLocation;
use crate::store::namespace::Defaults;
use crate::store::record::{MAX_KEY, Metadata, NewRecord};
use crate::store::stripe_guard::{Entry, StripeGuard};
use std::time::Duration;

/// A key that is about to be written.
pub(super) struct Writer<'f, 'k> {
    pub opened: &'f AttachedFile,
    pub key: Key<'k>,
    pub location: KeyLocation,
    pub namespace: u16,
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

    /// A writer for a stored key whose namespace is known by number. The hot path uses this, because a writer in a
    /// `Result` would be copied.
    #[inline(always)]
    pub(super) fn at(
        opened: &'f AttachedFile,
        (namespace, defaults): (u16, Defaults),
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
        let (opened, stripe) = (self.opened, self.stripe());
        let joined = opened.member_within(self.lock_wait)?;
        let lock = lock_region(joined, opened, stripe, self.lock_wait)?;
        opened.with_stripe(joined, stripe, lock, work)
    }

    /// Whether a read would return the value of the key's entry. If reads verify checksums, the entry must pass its
    /// own.
    pub(super) fn would_read(&self, guard: &StripeGuard<'_, Mapping>, entry: Option<&Entry>) -> bool {
        let verify = self.opened.settings.verify_reads;
        entry.is_some_and(|entry| {
            guard.is_seen(entry, false)
                && (!verify || matches!(guard.copied(&self.key, entry, true, false), Ok(Some(_))))
        })
    }

    /// The item to write. Its size is not checked yet.
    #[inline(always)]
    pub(super) fn draft<'v>(&self, value: &'v [u8], how: &SetOptions) -> NewRecord<'v>
    where
        'k: 'v,
    {
        // The closure borrows only the clock, so that the writer itself can stay in registers.
        let time = &self.opened.settings.time;
        let now_ms = || time.now_ms();
        let (expires_ms, metadata) = how.times(self.defaults, now_ms);
        let metadata = Metadata { namespace: self.namespace, ..metadata }.if_any();
        let metadata = metadata.map(|metadata| Metadata { created_ms: now_ms(), ..metadata });
        NewRecord::new(self.key, value, expires_ms, metadata)
    }
}

/// The number and the defaults of the namespace of a stored key.
#[inline(always)]
pub(super) fn namespace_of(
    opened: &AttachedFile,
    namespace: Option<&Namespace>,
    key: &[u8],
    lock_wait: Duration,
) -> Result<(u16, Defaults)> {
    if key.len() > MAX_KEY {
        return Err(Error::KeyTooLong { size: key.len(), limit: MAX_KEY });
    }
    match namespace {
        Some(namespace) => namespace.in_file(opened, lock_wait),
        None => Ok((0, Defaults::default())),
    }
}

/// Whether a record fits into the rings of a file.
#[inline]
pub(super) fn check_size(opened: &AttachedFile, draft: &NewRecord<'_>) -> Result<()> {
    let (size, limit) = (draft.units() * 8, opened.geometry().largest_record());
    if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
}
