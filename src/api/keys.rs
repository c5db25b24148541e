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
    /// The namespace whose keys these are.
    namespace: Option<Arc<Namespace>>,
    /// What the keys begin with.
    prefix: Vec<u8>,
    found: vec::IntoIter<BucketItem>,
}

impl Cache {
    /// The keys of this handle's namespace. Without a namespace, or if it has a [key
    /// mangler](crate::NamespaceOptions::key_mangler) and its keys cannot be recognized, these are the stored keys of
    /// the whole file.
    ///
    /// The iterator is not a snapshot. It returns each key that stays in the cache during the scan, perhaps twice if
    /// its record moves meanwhile, and may return keys that are stored or removed during the scan. It takes no lock,
    /// except for a bucket that stays half changed because its writer was killed.
    pub fn keys(&self) -> Keys {
        self.keys_with([])
    }

    /// Those of the [`keys`](Self::keys) that begin with a prefix. The whole file is searched: this takes as long as all
    /// keys do. To remove a group of values often, give them a [namespace](Self::namespace) of their own.
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
