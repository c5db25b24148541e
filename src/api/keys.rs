//! The iterator over the keys of a cache.

use super::cache::Cache;
use super::namespace::Namespace;
use super::stripe_lock::lock_for_read;
use crate::file::AttachedFile;
use crate::store::CrashState;
use crossbeam::utils::Backoff;
use std::fmt;
use std::sync::Arc;
use std::vec;

/// How often a scan looks at a bucket that is being changed before it takes the lock of the stripe.
const LOOKS: u32 = 64;

/// An iterator over the keys of a cache in arbitrary order: see [`Cache::keys`]. It reads one bucket at a time.
#[must_use = "an iterator reads nothing until it is used"]
pub struct Keys {
    /// The file with which the scan began; `None` if all reads of it miss.
    opened: Option<Arc<AttachedFile>>,
    /// The next bucket: its stripe, and its number in the stripe.
    next: (u32, u64),
    /// The namespace whose keys these are.
    namespace: Option<Arc<Namespace>>,
    /// What the keys begin with.
    prefix: Vec<u8>,
    found: vec::IntoIter<Vec<u8>>,
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
        let opened = self.readable().filter(|opened| !opened.is_foreign()).map(|opened| opened.clone());
        let (namespace, prefix) = (self.shared_namespace(), prefix.as_ref().to_vec());
        Keys { opened, next: (0, 0), namespace, prefix, found: Vec::new().into_iter() }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("next", &self.next).finish_non_exhaustive()
    }
}

impl std::iter::FusedIterator for Keys {}

impl Iterator for Keys {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let opened = self.opened.as_ref()?;
        loop {
            let mut found = self.found.by_ref().filter_map(|key| callers_key(self.namespace.as_deref(), key));
            if let Some(key) = found.find(|key| key.starts_with(&self.prefix)) {
                return Some(key);
            }
            let (stripe, bucket) = self.next;
            if stripe >= opened.geometry().shape.stripes {
                return None;
            }
            self.next = if bucket + 1 < opened.geometry().buckets { (stripe, bucket + 1) } else { (stripe + 1, 0) };
            if let Some(keys) = keys_of(opened, stripe, bucket) {
                self.found = keys.into_iter();
            }
        }
    }
}

fn callers_key(namespace: Option<&Namespace>, stored: Vec<u8>) -> Option<Vec<u8>> {
    match namespace {
        Some(namespace) => namespace.callers_key(stored),
        None => Some(stored),
    }
}

/// The keys of a bucket; `None` if the scan passes them over, because the stripe is to be emptied, or others do not stop
/// changing the bucket.
fn keys_of(opened: &AttachedFile, stripe: u32, bucket: u64) -> Option<Vec<Vec<u8>>> {
    if opened.store.distrust(stripe) == CrashState::Discard {
        return None;
    }
    let now_ms = opened.settings.time.now_ms();
    let keys = || {
        let mut keys = Vec::new();
        opened.store.keys_of_bucket(stripe, bucket, now_ms, &mut keys).then_some(keys)
    };
    let backoff = Backoff::new();
    for _ in 0..LOOKS {
        if let Some(keys) = keys() {
            return Some(keys);
        }
        backoff.snooze();
    }
    // The writer may be dead: the process that locks the stripe completes what the writer left.
    let guard = lock_for_read(opened, stripe)?;
    guard.settle_bucket(opened.geometry().bucket(stripe, bucket));
    keys()
}
