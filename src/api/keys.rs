//! A scan of the keys.

use super::cache::Cache;
use super::namespace::Namespace;
use super::stripe_lock::lock_for_read;
use crate::file::AttachedFile;
use crate::store::CrashState;
use crossbeam::utils::Backoff;
use std::fmt;
use std::sync::Arc;
use std::vec;

/// The number of looks at a bucket that others are changing, before the scan locks its stripe.
const LOOKS: u32 = 64;

/// The keys of a cache, in no order, one bucket at a time. See [`Cache::keys`].
#[must_use = "an iterator reads nothing until it is used"]
pub struct Keys {
    /// The file that the scan began on, unless it is one that reads miss in.
    opened: Option<Arc<AttachedFile>>,
    /// The next bucket: its stripe, and its number there.
    next: (u32, u64),
    /// The namespace whose keys these are.
    namespace: Option<Arc<Namespace>>,
    found: vec::IntoIter<Vec<u8>>,
}

impl Cache {
    /// The keys of this handle's namespace, or the stored keys of the whole file if it has none. Where the namespace has a
    /// [key mangler](crate::NamespaceOptions::key_mangler), its keys cannot be told from others, and these are the stored
    /// keys of the whole file, too.
    ///
    /// This is not a snapshot. A key that has a value throughout is returned; others may be, and a key whose record moves
    /// meanwhile may be returned twice. The scan takes no lock, except for a bucket that a killed process left half
    /// changed.
    pub fn keys(&self) -> Keys {
        let opened = self.readable().filter(|opened| !opened.is_foreign()).map(|opened| opened.clone());
        Keys { opened, next: (0, 0), namespace: self.shared_namespace(), found: Vec::new().into_iter() }
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
            if let Some(key) = self.found.find_map(|key| callers_key(self.namespace.as_deref(), key)) {
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
