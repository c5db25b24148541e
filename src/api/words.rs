//! Words of a namespace for the caller: the engine stores them and does not know what they mean.

use super::cache::Cache;
use super::namespace::Namespace;
use crate::error::{Error, Result};

impl Cache {
    /// One of the four words (0 to 3) that the file keeps for the caller in the entry of this handle's namespace. `None`
    /// without a namespace, if the file does not have it, for another index, and while the file cannot be read.
    ///
    /// The words are 0 in a new file, after a restart of the host, and in a copy of the file. Between these events they
    /// only rise: see [`raise_namespace_word`](Cache::raise_namespace_word). A value that this handle reads after the
    /// word is not older than what the thread that raised the word saw before.
    #[must_use]
    #[inline]
    pub fn namespace_word(&self, index: usize) -> Option<u64> {
        let namespace = self.in_namespace()?;
        if let Some(file) = self.file.in_own_use()
            && file.is_plain_to_read(0)
        {
            return file.store.callers_word(namespace.number_in(&file)?, index);
        }
        self.word_otherwise(namespace, index)
    }

    /// A word in a file that is not ready for the fast path.
    #[cold]
    #[inline(never)]
    fn word_otherwise(&self, namespace: &Namespace, index: usize) -> Option<u64> {
        let opened = self.readable()?;
        if opened.is_foreign() {
            return None;
        }
        opened.store.callers_word(namespace.number_in(&opened)?, index)
    }

    /// Raises a word of this handle's namespace to a value, unless it is higher already. Returns what it held before, so
    /// of all callers that raise it past some value, exactly one learns that it was the first.
    ///
    /// A thread in any process that reads the new value also sees what this thread wrote and deleted before. A thread
    /// that sees an invalidation which this thread made afterwards, reads the new value.
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
    /// [`BadOption`](Error::BadOption) on a handle without a namespace and for an index above 3;
    /// [`ReadOnly`](Error::ReadOnly), [`NamespacesFull`](Error::NamespacesFull); and as [`set`](Cache::set).
    pub fn raise_namespace_word(&self, index: usize, value: u64) -> Result<u64> {
        let refused = |given: String, expected: &str| Error::BadOption {
            option: "word of a namespace",
            given,
            expected: expected.into(),
        };
        let namespace =
            self.in_namespace().ok_or_else(|| refused("no namespace".into(), "a handle with a namespace"))?;
        let opened = self.current()?;
        if opened.settings.read_only {
            return Err(Error::ReadOnly(opened.real.clone()));
        }
        let (number, _) = namespace.in_file(&opened, self.lock_wait)?;
        let before = opened.store.raise_callers_word(number, index, value);
        before.ok_or_else(|| refused(index.to_string(), "an index from 0 to 3"))
    }
}
