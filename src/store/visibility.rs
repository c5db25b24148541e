//! Whether a record counts: one answer for reads, writes, evictions and rebuilds.

use super::epochs::Invalidation;
use super::record::{Extension, Head};
use super::table::Store;
use crate::shm::Memory;

/// What a record tells a caller that looks for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// The key has this value.
    Value,
    /// The key is known to have no value. Only a caller that would create the value sees the record.
    Absence,
    /// The record has expired.
    Expired,
    /// The cache, the record's namespace, or one of its tags was invalidated after the record was begun.
    Cleared,
}

impl Visibility {
    /// Whether a caller sees the record.
    #[inline]
    pub(crate) fn is_seen(self, sees_absence: bool) -> bool {
        self == Visibility::Value || (sees_absence && self == Visibility::Absence)
    }
}

impl<M: Memory> Store<M> {
    /// The visibility of the record at an offset, whose header is loaded.
    #[inline]
    pub(crate) fn visibility(&self, at: u64, head: Head, now_ms: impl FnOnce() -> u64) -> Visibility {
        self.visibility_with(head, self.extension(at, head), now_ms)
    }

    /// [`visibility`](Self::visibility) of a record whose extension is loaded, too. `now_ms` is called only for a
    /// record that expires.
    #[inline(always)]
    pub(crate) fn visibility_with(&self, head: Head, extension: Extension, now_ms: impl FnOnce() -> u64) -> Visibility {
        let namespace = self.namespace_epochs(extension.namespace());
        if head.epoch() < self.epochs().hard()
            || extension.namespace_epoch() < namespace.hard()
            || extension.tags.is_some_and(|tags| self.is_tag_invalidated(&tags, Invalidation::Hard))
        {
            Visibility::Cleared
        } else if head.is_expired(now_ms) {
            Visibility::Expired
        } else if extension.is_absence() {
            Visibility::Absence
        } else {
            Visibility::Value
        }
    }

    /// Whether an invalidation of the cache, of the record's namespace or of one of its tags has removed the record at an
    /// offset, whose header is loaded.
    #[inline(always)]
    pub(super) fn is_cleared(&self, at: u64, head: Head) -> bool {
        head.epoch() < self.epochs().hard() || (head.is_extended() && self.is_extended_cleared(at, head))
    }

    #[inline(never)]
    fn is_extended_cleared(&self, at: u64, head: Head) -> bool {
        // Whether it has expired makes no difference, so the time is not asked for.
        self.visibility(at, head, || 0) == Visibility::Cleared
    }

    /// Whether a record is older than the last soft invalidation of the cache, of its namespace or of one of its tags.
    #[inline(always)]
    pub(crate) fn is_outdated(&self, head: Head, extension: Extension) -> bool {
        head.epoch() < self.epochs().soft()
            || (head.is_extended()
                && (extension.namespace_epoch() < self.namespace_epochs(extension.namespace()).soft()
                    || extension.tags.is_some_and(|tags| self.is_tag_invalidated(&tags, Invalidation::Soft))))
    }
}
