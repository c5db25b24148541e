//! Namespaces: named parts of the cache with defaults and epochs of their own.
//!
//! A record names its namespace by number, from 1; number 0 means no namespace. Entries are added under the lock of
//! stripe 0 and never removed. The hash of the name is stored last, so a process that is killed while it adds leaves an
//! unused entry.

use super::epochs::{Epochs, NamespaceEpochs};
use super::intent::Intent;
use super::read::CheckedRecord;
use super::slot::Slot;
use super::stripe_guard::{StripeGuard, slots};
use super::table::Store;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::{NAMESPACE_LEN, NAMESPACE_NAME, NAMESPACE_WORDS, at};
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};
use xxhash_rust::xxh3::xxh3_64;

/// The bits of a namespace's flags that hold the jitter.
pub(super) const JITTER: u64 = (1 << 10) - 1;
/// The highest jitter: a time to live may be shortened to nothing.
pub(crate) const MOST_JITTER: u16 = 1000;

/// Defaults in a namespace's entry: times to live in milliseconds, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub hard_ttl_ms: u64,
    pub soft_ttl_ms: u64,
    pub none_ttl_ms: u64,
    /// The part of a time to live, in thousandths, by which it is shortened at most.
    pub jitter: u16,
}

/// Never 0, which marks an unused entry.
fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes()).max(1)
}

impl<M: Memory> Store<M> {
    fn namespace_word(&self, namespace: u16, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.namespaces_at + (u64::from(namespace) - 1) * NAMESPACE_LEN + field)
    }

    /// The word with the epochs of a namespace, or of the whole cache if `namespace` is 0.
    pub(super) fn epochs_word(&self, namespace: u16) -> Word<'_> {
        if namespace == 0 { self.mem.word(at!(epochs)) } else { self.namespace_word(namespace, at!(Namespace.epochs)) }
    }

    /// The epochs of a namespace; 0 for number 0 and for a namespace that does not exist.
    pub(crate) fn namespace_epochs(&self, namespace: u16) -> Epochs {
        if namespace == 0 || u32::from(namespace) > self.geometry.shape.namespaces {
            return Epochs(0);
        }
        Epochs(self.namespace_word(namespace, at!(Namespace.epochs)).get())
    }

    /// A namespace with its current epochs.
    pub(crate) fn namespace_now(&self, namespace: u16) -> NamespaceEpochs {
        NamespaceEpochs::new(namespace, self.namespace_epochs(namespace))
    }

    /// The number of the namespace with this name, if it was added.
    pub(crate) fn namespace_named(&self, name: &str) -> Option<u16> {
        let hash = name_hash(name);
        self.namespaces().find(|&namespace| {
            let word = |field| self.namespace_word(namespace, field);
            word(at!(Namespace.name_hash)).load(Ordering::Acquire) == hash
                && word(at!(Namespace.name_len)).get() == name.len() as u64
                && self.namespace_name(namespace)[..name.len()] == *name.as_bytes()
        })
    }

    /// The names of all namespaces.
    pub(crate) fn namespace_names(&self) -> Vec<String> {
        let used = self
            .namespaces()
            .filter(|&namespace| self.namespace_word(namespace, at!(Namespace.name_hash)).load(Ordering::Acquire) != 0);
        used.filter_map(|namespace| self.namespace_name_of(namespace)).collect()
    }

    /// The name of a namespace; `None` for number 0, and for a number beyond the last.
    pub(crate) fn namespace_name_of(&self, namespace: u16) -> Option<String> {
        if namespace == 0 || u32::from(namespace) > self.geometry.shape.namespaces {
            return None;
        }
        let len = self.namespace_word(namespace, at!(Namespace.name_len)).get().min(NAMESPACE_NAME as u64) as usize;
        Some(String::from_utf8_lossy(&self.namespace_name(namespace)[..len]).into_owned())
    }

    /// The default times to live of a namespace.
    pub(crate) fn namespace_defaults(&self, namespace: u16) -> Defaults {
        let word = |field| self.namespace_word(namespace, field).get();
        Defaults {
            hard_ttl_ms: word(at!(Namespace.hard_ttl_ms)),
            soft_ttl_ms: word(at!(Namespace.soft_ttl_ms)),
            none_ttl_ms: word(at!(Namespace.none_ttl_ms)),
            jitter: ((word(at!(Namespace.flags)) & JITTER) as u16).min(MOST_JITTER),
        }
    }

    /// A word of a namespace that means nothing to the engine. The load stands between what this thread read before and
    /// what it reads after.
    #[inline]
    pub(crate) fn callers_word(&self, namespace: u16, index: usize) -> Option<u64> {
        let word = self.word_of_caller(namespace, index)?;
        fence(Ordering::Acquire);
        Some(word.load(Ordering::Acquire))
    }

    /// Raises a word that means nothing to the engine; returns what it held before. A thread that loads the new value
    /// sees what this thread did before. A thread that sees what this thread does after loads the new value.
    pub(crate) fn raise_callers_word(&self, namespace: u16, index: usize, value: u64) -> Option<u64> {
        let before = self.word_of_caller(namespace, index)?.raise(Step::Namespace, value, Ordering::AcqRel);
        // An invalidation, which may follow, stores its epoch without an ordering.
        fence(Ordering::Release);
        Some(before)
    }

    fn word_of_caller(&self, namespace: u16, index: usize) -> Option<Word<'_>> {
        let is_known = (1..=self.geometry.shape.namespaces).contains(&u32::from(namespace)) && index < NAMESPACE_WORDS;
        is_known.then(|| self.namespace_word(namespace, at!(Namespace.words) + index as u64 * 8))
    }

    fn namespaces(&self) -> impl Iterator<Item = u16> + use<M> {
        // A file has at most as many namespaces as a record can number.
        (1..=self.geometry.shape.namespaces).map(|namespace| namespace as u16)
    }

    fn namespace_name(&self, namespace: u16) -> [u8; NAMESPACE_NAME] {
        let mut name = [0; NAMESPACE_NAME];
        for (i, chunk) in name.chunks_exact_mut(8).enumerate() {
            let word = self.namespace_word(namespace, at!(Namespace.name) + i as u64 * 8);
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
        name
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Finds a namespace by name, or adds it; `None` if all entries are used. The stripe is number 0, whose lock every
    /// adder takes, and the name has at most [`NAMESPACE_NAME`] bytes.
    pub(crate) fn add_namespace(&mut self, name: &str, defaults: Defaults) -> Option<u16> {
        let store = self.store;
        if let Some(namespace) = store.namespace_named(name) {
            return Some(namespace);
        }
        let hash_of = |namespace| store.namespace_word(namespace, at!(Namespace.name_hash));
        let namespace = store.namespaces().find(|&namespace| hash_of(namespace).get() == 0)?;
        let set = |field, value| store.namespace_word(namespace, field).set(Step::Namespace, value);
        set(at!(Namespace.hard_ttl_ms), defaults.hard_ttl_ms);
        set(at!(Namespace.soft_ttl_ms), defaults.soft_ttl_ms);
        set(at!(Namespace.none_ttl_ms), defaults.none_ttl_ms);
        set(at!(Namespace.flags), u64::from(defaults.jitter));
        set(at!(Namespace.name_len), name.len() as u64);
        let name_at = store.geometry.namespaces_at + (u64::from(namespace) - 1) * NAMESPACE_LEN + at!(Namespace.name);
        let mut padded = [0; NAMESPACE_NAME];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        store.mem.copy_in(Step::Namespace, name_at, &padded);
        hash_of(namespace).store(Step::Namespace, name_hash(name), Ordering::Release);
        Some(namespace)
    }

    /// Removes all records of a namespace from this stripe. The caller does this when the namespace's epochs cannot be
    /// raised.
    pub(crate) fn remove_namespace(&mut self, namespace: u16) {
        self.void_all(|of| of.namespace() == namespace);
        // A key that is being created without a claim may lie in any bucket: a changed version voids its creation.
        self.buckets().for_each(|bucket_at| self.renew_bucket(bucket_at));
        for slot_at in self.buckets().flat_map(slots) {
            let slot = self.slot(slot_at);
            if !slot.is_live() || !self.is_held(slot) {
                continue;
            }
            let Some(CheckedRecord { at, head, .. }) = self.store.record_in(self.stripe, slot) else { continue };
            if head.is_extended() && self.store.extension(at, head).namespace() == namespace {
                self.unlink(Intent::Delete, slot_at, slot, Slot::EMPTY, head);
            }
        }
    }
}
