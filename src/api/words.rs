//! Words of a namespace, for the caller's own use: the engine stores them and does not know what they mean.

use super::cache::Cache;
use super::namespace::Namespace;
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use crate::shm::layout::NAMESPACE_WORDS;
use crate::shm::mapping::Mapping;
use crate::store::NamespaceId;
use crate::store::Store;
use std::time::Duration;

/// How often a raise begins again because other callers removed the namespace meanwhile.
const ATTEMPTS: usize = 16;

impl Cache {
    /// One of the four words, numbered from 0 to 3, that the file keeps for the caller in the entry of this handle's
    /// namespace. `None` on a handle without a namespace, if the file does not have the namespace, for another index,
    /// and while the file cannot be read.
    ///
    /// The words are 0 in a new file, after a restart of the host, and in a copy of the file. Between these events they
    /// only rise: see [`raise_namespace_word`](Cache::raise_namespace_word). If this handle reads a word and then a
    /// value, the value is at least as new as those that the thread which raised the word saw before.
    #[must_use]
    #[inline]
    pub fn namespace_word(&self, index: usize) -> Option<u64> {
        let namespace = self.in_namespace()?;
        if let Some(file) = self.file.in_own_use()
            && file.is_plain_to_read(0)
            && let word @ Some(_) = file.store.callers_word(namespace.noted_in(&file)?, index)
        {
            return word;
        }
        self.words_otherwise(namespace, |store, id| store.callers_word(id, index))
    }

    /// The first `N` of these words, at most four, read in the order of their numbers: see
    /// [`namespace_word`](Cache::namespace_word). This hardly takes longer than to read one word. `None` if one of them
    /// cannot be read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// let pages = cache.namespace("pages", &kennel::NamespaceOptions::new())?;
    /// pages.raise_namespace_word(1, 7)?;
    /// assert_eq!(pages.namespace_words(), Some([0, 7]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn namespace_words<const N: usize>(&self) -> Option<[u64; N]> {
        let namespace = self.in_namespace()?;
        if let Some(file) = self.file.in_own_use()
            && file.is_plain_to_read(0)
            && let words @ Some(_) = file.store.callers_words(namespace.noted_in(&file)?)
        {
            return words;
        }
        self.words_otherwise(namespace, |store, id| store.callers_words(id))
    }

    /// Reads words when the file is not ready for the fast path, or when its entry of the namespace may belong to
    /// another one by now.
    #[cold]
    #[inline(never)]
    fn words_otherwise<R>(
        &self,
        namespace: &Namespace,
        read: impl FnOnce(&Store<Mapping>, NamespaceId) -> Option<R>,
    ) -> Option<R> {
        let opened = self.readable()?;
        if opened.is_foreign() {
            return None;
        }
        read(&opened.store, namespace.id_in(&opened)?)
    }

    /// Raises a word of this handle's namespace to `value`, unless it is higher already. Returns the word's previous
    /// value. So if several callers raise the word past some number, exactly one of them learns that it was the first.
    ///
    /// A thread in any process that reads the new value also sees what this thread wrote and deleted before the raise.
    /// A thread that sees an invalidation which this thread makes after the raise also reads the new value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// let pages = cache.namespace("pages", &kennel::NamespaceOptions::new())?;
    /// assert_eq!(pages.raise_namespace_word(0, 7)?, 0);
    /// assert_eq!(pages.raise_namespace_word(0, 3)?, 7);
    /// assert_eq!(pages.namespace_word(0), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) on a handle without a namespace, and for an index above 3;
    /// [`ReadOnly`](Error::ReadOnly); [`NamespacesFull`](Error::NamespacesFull); and the errors of [`set`](Cache::set).
    pub fn raise_namespace_word(&self, index: usize, value: u64) -> Result<u64> {
        // `None` would mean another lineage, and none is asked for.
        Ok(self.raise_word(None, index, value)?.unwrap_or_default())
    }

    /// [`raise_namespace_word`](Cache::raise_namespace_word), but only in the file with this [lineage](Cache::lineage).
    /// `None` means that this handle now uses another file, and that nothing was raised.
    ///
    /// With this a caller that knows something about one file does not raise a word in a file that has taken its place.
    /// A handle that has left a file does not return to it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// let pages = cache.namespace("pages", &kennel::NamespaceOptions::new())?;
    /// let lineage = pages.lineage().expect("a file");
    /// assert_eq!(pages.raise_namespace_word_of(lineage, 0, 7)?, Some(0));
    /// assert_eq!(pages.raise_namespace_word_of(lineage ^ 1, 0, 9)?, None);
    /// assert_eq!(pages.namespace_word(0), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`raise_namespace_word`](Cache::raise_namespace_word).
    pub fn raise_namespace_word_of(&self, lineage: u64, index: usize, value: u64) -> Result<Option<u64>> {
        self.raise_word(Some(lineage), index, value)
    }

    /// The lineage of the values in the file that this handle uses now: a random number that a file gets when it is
    /// created, or first opened as a copy, and keeps when it is [resized](Cache::resize). See
    /// [`Item::lineage`](crate::Item::lineage). `None` while the file cannot be read.
    #[must_use]
    pub fn lineage(&self) -> Option<u64> {
        Some(self.readable()?.store.lineage())
    }

    fn raise_word(&self, of: Option<u64>, index: usize, value: u64) -> Result<Option<u64>> {
        let refused = |given: String, expected: &str| Error::BadOption {
            option: "word of a namespace",
            given,
            expected: expected.into(),
        };
        let namespace =
            self.in_namespace().ok_or_else(|| refused("no namespace".into(), "a handle with a namespace"))?;
        if index >= NAMESPACE_WORDS {
            return Err(refused(index.to_string(), "an index from 0 to 3"));
        }
        // The lowest value that the word held before a raise in a file that was then closed. Its successor may or may
        // not have the new value.
        let mut lowest = u64::MAX;
        self.while_open(|| {
            let opened = self.current()?;
            if opened.settings.read_only {
                return Err(Error::ReadOnly(opened.real.clone()));
            }
            if of.is_some_and(|of| opened.store.lineage() != of) {
                return Ok(None);
            }
            for _ in 0..ATTEMPTS {
                let (id, _) = namespace.in_file(&opened, self.lock_wait)?;
                // The lock keeps the first raise and a removal of the namespace apart. Later raises need no lock for
                // this, because a namespace with a raised word cannot be removed. While the file is being resized, the
                // lock ensures that the new file has the new value, or that the caller has raised nothing.
                let is_raised = opened.store.callers_word(id, index).is_some_and(|word| word != 0);
                let _lock = if opened.is_being_resized() || !is_raised {
                    let lock = Patience::of_thread(self.lock_wait).lock_region(&opened, 0, Duration::MAX)?;
                    opened.must_be_open()?;
                    Some(lock)
                } else {
                    None
                };
                let Some(before) = opened.store.raise_callers_word(id, index, value) else { continue };
                lowest = lowest.min(before);
                opened.must_have_been_open()?;
                return Ok(Some(lowest));
            }
            Err(Error::Busy { stripe: 0, waited: self.lock_wait })
        })
    }
}
