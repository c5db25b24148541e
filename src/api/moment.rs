//! A moment, taken before a value is read or computed. A value that was invalidated since then is not stored.

use super::cache::Cache;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::store::NamespaceId;
use crate::store::tag_words::{TagNumbers, TagWords};
use crate::store::{Epochs, Invalidation, NamespaceEpochs};
use std::fmt;

/// The invalidations up to one moment: see [`Cache::moment`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    file: [u64; 2],
    epochs: Epochs,
    namespace: NamespaceEpochs,
    tag_clock: u64,
    /// Whether a later invalidation would raise the epochs. It would not if the epochs are used up, or while stripes
    /// are to be checked after a crash; then nothing would show the invalidation.
    shows_invalidations: bool,
}

impl Cache {
    /// The present moment of this handle's namespace, for a value that is computed first and stored later by
    /// [`SetOptions::as_of`](crate::SetOptions::as_of). If the value was invalidated in between, it is not stored.
    /// [`get_or_create`](Cache::get_or_create) does this by itself.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{Invalidation, SetOptions};
    /// let moment = cache.moment()?;
    /// let total = "computed from what was there before";
    /// // Meanwhile another process changes the data.
    /// cache.invalidate(Invalidation::Hard)?;
    /// cache.set_with("total", total, &SetOptions::new().as_of(moment))?;
    /// assert_eq!(cache.get("total"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`set`](Cache::set), if the handle has a namespace that must first be added to the file, or if the file
    /// was replaced.
    pub fn moment(&self) -> Result<Moment> {
        let file = self.current()?;
        let namespace = match self.in_namespace() {
            Some(namespace) => namespace.in_file(&file, self.lock_wait())?.0,
            None => NamespaceId::NONE,
        };
        Ok(Moment::now(&file, namespace))
    }
}

impl Moment {
    fn now(opened: &AttachedFile, namespace: NamespaceId) -> Self {
        let store = &opened.store;
        let (epochs, in_namespace) = (store.epochs(), store.namespace_at_start(namespace));
        let can_rise = |epochs: Epochs| epochs.after(Invalidation::Hard).is_some();
        Self {
            file: opened.own_id(),
            epochs,
            namespace: in_namespace,
            tag_clock: store.tag_clock(),
            shows_invalidations: store.unsettled() == 0 && can_rise(epochs) && can_rise(in_namespace.epochs()),
        }
    }

    /// The clock of tags at that moment, or the present one if it is lower because a crash set it back.
    pub(super) fn tag_clock(&self, opened: &AttachedFile) -> u64 {
        self.tag_clock.min(opened.store.tag_clock())
    }

    /// Whether nothing was invalidated since then that covers the keys of this namespace, or values with these tags.
    /// Where the moment has a higher number than the file has now, the present number counts.
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a moment of another file or namespace.
    #[cold]
    pub(super) fn is_still(&self, opened: &AttachedFile, namespace: NamespaceId, tags: &TagNumbers) -> Result<bool> {
        let now = Self::now(opened, namespace);
        let refuse = |given: &str, expected: &str| {
            Err(Error::BadOption { option: "as_of", given: given.into(), expected: expected.into() })
        };
        if self.file != now.file {
            return refuse("a moment of another file, or of one that was replaced", "a moment of this file");
        }
        if self.namespace.namespace() != now.namespace.namespace() {
            return refuse("a moment of another namespace", "a moment of the handle's namespace");
        }
        let namespace = (self.namespace.epochs(), now.namespace.epochs());
        let is_same = self.epochs.at_most(now.epochs) == now.epochs && namespace.0.at_most(namespace.1) == namespace.1;
        let tagged = TagWords::pack(self.tag_clock(opened), tags);
        let is_covered = |how| tagged.is_some_and(|tags| opened.store.is_tag_invalidated(&tags, how));
        Ok(is_same && self.shows_invalidations && !is_covered(Invalidation::Hard) && !is_covered(Invalidation::Soft))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment").field("namespace", &self.namespace.namespace()).finish_non_exhaustive()
    }
}
