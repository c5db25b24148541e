//! The iterator over the keys of a cache.

use super::cache::Cache;
use super::namespace::Namespace;
use super::scan::Scan;
use crate::store::read::BucketItem;
use std::fmt;
use std::sync::Arc;
use std::vec;

/// An iterator over the keys of a cache in arbitrary order: see [`Cache::keys`]. It reads one bucket at a time.
#[must_use = "an iterator reads nothing until it is used"]
pub struct Keys {
    scan: Scan,
    /// The namespace whose keys are returned; `None` for all keys.
    namespace: Option<Arc<Namespace>>,
    /// The prefix of the keys that are returned.
    prefix: Vec<u8>,
    found: vec::IntoIter<BucketItem>,
}

impl Cache {
    /// The keys of this handle's namespace. Without a namespace these are the stored keys of the whole file. A
    /// namespace with a [key mangler](crate::NamespaceOptions::key_mangler) also returns all stored keys, because its
    /// own cannot be recognized.
    ///
    /// The iterator is not a snapshot. It returns each key that stays in the cache during the scan, perhaps twice if
    /// its record moves meanwhile, and may return keys that are stored or removed during the scan. It takes no lock,
    /// except for a bucket that stays half changed, for example because its writer was killed.
    pub fn keys(&self) -> Keys {
        self.keys_with([])
    }

    /// The [`keys`](Self::keys) that begin with a prefix. This searches the whole file, and so takes as long as reading
    /// all keys. If you often remove a group of values, give the group a [namespace](Self::namespace) of its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// for key in ["user:1", "user:2", "page:1"] {
    ///     cache.set(key, "x")?;
    /// }
    /// let users: Vec<_> = cache.keys_with("user:").collect();
    /// assert_eq!(users.len(), 2);
    /// assert_eq!(cache.delete_multi(&users).len(), 2);
    /// assert_eq!(cache.keys().collect::<Vec<_>>(), [b"page:1"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_with(&self, prefix: impl AsRef<[u8]>) -> Keys {
        let (namespace, prefix) = (self.shared_namespace(), prefix.as_ref().to_vec());
        Keys { scan: self.scan(), namespace, prefix, found: Vec::new().into_iter() }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl std::iter::FusedIterator for Keys {}

impl Iterator for Keys {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut found = self.found.by_ref().filter_map(|item| callers_key(self.namespace.as_deref(), item.key));
            if let Some(key) = found.find(|key| key.starts_with(&self.prefix)) {
                return Some(key);
            }
            self.found = self.scan.next_bucket()?.1.into_iter();
        }
    }
}

fn callers_key(namespace: Option<&Namespace>, stored: Vec<u8>) -> Option<Vec<u8>> {
    match namespace {
        Some(namespace) => namespace.callers_key(stored),
        None => Some(stored),
    }
}
