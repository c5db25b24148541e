//! Namespaces: named parts of the cache with defaults and epochs of their own.
//!
//! A record names its namespace by number, from 1; number 0 means no namespace. Entries are added and removed under the
//! lock of stripe 0. The hash of the name is stored last, so a process that is killed while it adds an entry leaves
//! that entry unused.
//!
//! ```text
//! a removal stores   hash of the name 0 -> generation + 1 -> hard epoch + 1 -> length of the name 0
//! a lookup loads     generation -> hash of the name
//! a write loads      epochs -> generation, under the lock of the key's stripe
//! ```
//!
//! *A thread that finds the name has loaded a generation from before the removal.* *A writer whose generation is still
//! the present one has loaded epochs from before the removal, or has found the entry after it.* So a value that an old
//! handle writes bears an epoch below the new one, or epoch 0 if the handle notices the removal. Such a value is gone:
//! no read finds it under the next name of the entry. If an entry has no hash but its name has a length, a process was
//! killed while it removed or added a namespace there. The process that takes the entry next repeats the steps.

use super::epochs::{Epochs, Invalidation, LAST_GENERATION, NamespaceEpochs, NamespaceId};
use super::intent::Intent;
use super::read::CheckedRecord;
use super::record::Extension;
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

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Done,
    /// There is no namespace of that name.
    Absent,
    /// Callers have stored words in the namespace. These words never fall, so the namespace cannot be removed.
    HasWords,
}

/// Defaults in a namespace's entry: times to live in milliseconds, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub hard_ttl_ms: u64,
    pub soft_ttl_ms: u64,
    pub none_ttl_ms: u64,
    /// How long a value lives that no caller uses.
    pub idle_ttl_ms: u64,
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
    #[inline]
    pub(crate) fn namespace_epochs(&self, namespace: u16) -> Epochs {
        if namespace == 0 || u32::from(namespace) > self.geometry.shape.namespaces {
            return Epochs(0);
        }
        Epochs(self.namespace_word(namespace, at!(Namespace.epochs)).get())
    }

    /// The epochs for a value that is written to a namespace. If the namespace was removed they are 0, so that the
    /// value is gone.
    #[inline]
    pub(crate) fn epochs_of(&self, namespace: NamespaceId) -> Epochs {
        let epochs = self.namespace_epochs(namespace.number());
        if namespace == NamespaceId::NONE {
            return epochs;
        }
        // Pairs with the fence in `end_namespace`: a thread that has read the epochs of a removal sees its generation.
        fence(Ordering::Acquire);
        if self.is_current(namespace) { epochs } else { Epochs(0) }
    }

    /// Whether a namespace has not been removed.
    #[inline]
    pub(crate) fn is_current(&self, namespace: NamespaceId) -> bool {
        self.has_namespace(namespace.number()) && self.generation(namespace.number()) == namespace.generation()
    }

    #[inline]
    fn has_namespace(&self, namespace: u16) -> bool {
        (1..=self.geometry.shape.namespaces).contains(&u32::from(namespace))
    }

    /// How often the entry was removed.
    #[inline]
    fn generation(&self, namespace: u16) -> u64 {
        self.namespace_word(namespace, at!(Namespace.generation)).load(Ordering::Acquire) & LAST_GENERATION
    }

    /// A namespace with the epochs for a value that is written to it.
    pub(crate) fn namespace_at_start(&self, namespace: NamespaceId) -> NamespaceEpochs {
        NamespaceEpochs::new(namespace.number(), self.epochs_of(namespace))
    }

    /// A namespace with its current epochs.
    pub(crate) fn namespace_now(&self, namespace: u16) -> NamespaceEpochs {
        NamespaceEpochs::new(namespace, self.namespace_epochs(namespace))
    }

    /// The namespace with this name, if it was added.
    pub(crate) fn namespace_named(&self, name: &str) -> Option<NamespaceId> {
        let hash = name_hash(name);
        self.namespaces().find_map(|namespace| {
            let word = |field| self.namespace_word(namespace, field);
            // Before the hash: a thread that sees the generation of a removal does not find the name.
            let generation = self.generation(namespace);
            let is_found = word(at!(Namespace.name_hash)).load(Ordering::Acquire) == hash
                && word(at!(Namespace.name_len)).get() == name.len() as u64
                && self.namespace_name(namespace)[..name.len()] == *name.as_bytes();
            is_found.then(|| NamespaceId::new(namespace, generation))
        })
    }

    /// The names of all namespaces.
    pub(crate) fn namespace_names(&self) -> Vec<String> {
        self.named_namespaces().map(|(_, name)| name).collect()
    }

    /// The numbers and names of all namespaces.
    pub(crate) fn named_namespaces(&self) -> impl Iterator<Item = (u16, String)> {
        self.namespaces().filter_map(|namespace| {
            let hash = self.namespace_word(namespace, at!(Namespace.name_hash)).load(Ordering::Acquire);
            if hash == 0 {
                return None;
            }
            let name = self.namespace_name_of(namespace)?;
            // If the entry gets another name meanwhile, this name is a mixture of both, and does not have this hash.
            (name_hash(&name) == hash).then_some((namespace, name))
        })
    }

    /// The id of the namespace that has this number now; [`NamespaceId::NONE`] for number 0, and for a number beyond
    /// the last.
    pub(crate) fn namespace_numbered(&self, namespace: u16) -> NamespaceId {
        if self.has_namespace(namespace) {
            NamespaceId::new(namespace, self.generation(namespace))
        } else {
            NamespaceId::NONE
        }
    }

    /// Whether the namespace of a record was invalidated or removed after the record was begun. If it was not,
    /// everything that this thread has loaded from the namespace's entry before this call is from the record's time.
    pub(crate) fn has_lost_namespace(&self, extension: Extension) -> bool {
        fence(Ordering::Acquire);
        extension.namespace_epoch() < self.namespace_epochs(extension.namespace()).hard()
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
            idle_ttl_ms: word(at!(Namespace.idle_ttl_ms)),
            jitter: ((word(at!(Namespace.flags)) & JITTER) as u16).min(MOST_JITTER),
        }
    }

    /// [`namespace_defaults`](Self::namespace_defaults) for the number that a record bears, which may be a damaged one.
    pub(super) fn defaults_of_record(&self, namespace: u16) -> Defaults {
        if self.has_namespace(namespace) { self.namespace_defaults(namespace) } else { Defaults::default() }
    }

    /// The first `N` callers' words of a namespace, in order. They mean nothing to the engine. Each load comes after
    /// this thread's earlier loads and before its later ones. `None` if the namespace was removed.
    #[inline]
    pub(crate) fn callers_words<const N: usize>(&self, namespace: NamespaceId) -> Option<[u64; N]> {
        if N > NAMESPACE_WORDS || !self.has_namespace(namespace.number()) {
            return None;
        }
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.load_callers_word(namespace.number(), index);
        }
        self.is_current(namespace).then_some(words)
    }

    /// One of the callers' words of a namespace: see [`callers_words`](Self::callers_words).
    #[inline]
    pub(crate) fn callers_word(&self, namespace: NamespaceId, index: usize) -> Option<u64> {
        if index >= NAMESPACE_WORDS || !self.has_namespace(namespace.number()) {
            return None;
        }
        let word = self.load_callers_word(namespace.number(), index);
        self.is_current(namespace).then_some(word)
    }

    #[inline]
    fn load_callers_word(&self, namespace: u16, index: usize) -> u64 {
        fence(Ordering::Acquire);
        self.word_of_caller(namespace, index).load(Ordering::Acquire)
    }

    /// Raises a callers' word; returns its old value. A thread that loads the new value sees what this thread did
    /// before the call. A thread that sees what this thread does after the call loads the new value. The caller holds
    /// the lock of stripe 0, or has found the word above 0: a namespace with such a word is not removed.
    pub(crate) fn raise_callers_word(&self, namespace: NamespaceId, index: usize, value: u64) -> Option<u64> {
        self.callers_word(namespace, index)?;
        let before = self.word_of_caller(namespace.number(), index).raise(Step::Namespace, value, Ordering::AcqRel);
        // An invalidation may follow, and stores its epoch with `Relaxed`.
        fence(Ordering::Release);
        Some(before)
    }

    fn word_of_caller(&self, namespace: u16, index: usize) -> Word<'_> {
        self.namespace_word(namespace, at!(Namespace.words) + index as u64 * 8)
    }

    fn has_words(&self, namespace: u16) -> bool {
        (0..NAMESPACE_WORDS).any(|index| self.word_of_caller(namespace, index).get() != 0)
    }

    /// Removes a namespace with all its values, and frees its entry for another name. The caller holds the lock of
    /// stripe 0, and has removed the values if [`can_raise`](Self::can_raise) says no.
    pub(super) fn remove_namespace(&self, name: &str) -> Removal {
        let Some(namespace) = self.namespace_named(name) else { return Removal::Absent };
        if self.has_words(namespace.number()) {
            return Removal::HasWords;
        }
        self.namespace_word(namespace.number(), at!(Namespace.name_hash)).set(Step::Namespace, 0);
        self.end_namespace(namespace.number());
        Removal::Done
    }

    /// Whether an invalidation of a namespace can raise its epochs: some are left, and none can have been lost in a
    /// crash.
    pub(crate) fn can_raise(&self, namespace: NamespaceId) -> bool {
        let epochs = self.namespace_epochs(namespace.number());
        self.mem.word(at!(unverified)).get() == 0 && epochs.after(Invalidation::Hard).is_some()
    }

    /// Separates an entry that has no name any more from the values that were written under its last name. Returns
    /// `false` if its generations or epochs are used up, or if its epochs do not count because of a crash; the entry
    /// then stays unused. The caller holds the lock of stripe 0.
    fn end_namespace(&self, namespace: u16) -> bool {
        let generation = self.generation(namespace);
        if generation == LAST_GENERATION {
            return false;
        }
        let word = |field| self.namespace_word(namespace, field);
        // A thread that sees the new generation does not find the old name.
        word(at!(Namespace.generation)).store(Step::Namespace, generation + 1, Ordering::Release);
        // A thread that reads the new epochs sees the new generation.
        fence(Ordering::Release);
        if !self.raise_epoch(namespace, Invalidation::Hard) {
            return false;
        }
        // The length is stored last: if a death leaves a length of 0, the epochs have risen.
        word(at!(Namespace.name_len)).store(Step::Namespace, 0, Ordering::Release);
        true
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
    /// Finds a namespace by name, or adds it; `None` if all entries are used. This is the guard of stripe 0, whose lock
    /// every process takes to add a namespace. The name has at most [`NAMESPACE_NAME`] bytes.
    pub(crate) fn add_namespace(&mut self, name: &str, defaults: Defaults) -> Option<NamespaceId> {
        let store = self.store;
        if let Some(namespace) = store.namespace_named(name) {
            return Some(namespace);
        }
        let word = |namespace, field| store.namespace_word(namespace, field);
        let namespace = store.namespaces().find(|&namespace| {
            word(namespace, at!(Namespace.name_hash)).get() == 0
                && (word(namespace, at!(Namespace.name_len)).get() == 0 || store.end_namespace(namespace))
        })?;
        let set = |field, value| word(namespace, field).set(Step::Namespace, value);
        store.forget_reads(namespace);
        // A thread that reads a part of this name sees the epochs that separate it from the last name.
        fence(Ordering::Release);
        set(at!(Namespace.hard_ttl_ms), defaults.hard_ttl_ms);
        set(at!(Namespace.soft_ttl_ms), defaults.soft_ttl_ms);
        set(at!(Namespace.none_ttl_ms), defaults.none_ttl_ms);
        set(at!(Namespace.idle_ttl_ms), defaults.idle_ttl_ms);
        set(at!(Namespace.flags), u64::from(defaults.jitter));
        set(at!(Namespace.name_len), name.len() as u64);
        let name_at = store.geometry.namespaces_at + (u64::from(namespace) - 1) * NAMESPACE_LEN + at!(Namespace.name);
        let mut padded = [0; NAMESPACE_NAME];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        store.mem.copy_in(Step::Namespace, name_at, &padded);
        word(namespace, at!(Namespace.name_hash)).store(Step::Namespace, name_hash(name), Ordering::Release);
        Some(NamespaceId::new(namespace, store.generation(namespace)))
    }

    /// Gives a namespace an idle time, unless it has one, or was removed. The stripe is number 0, as for
    /// [`add_namespace`](Self::add_namespace).
    pub(crate) fn add_idle_time(&mut self, namespace: NamespaceId, idle_ttl_ms: u64) {
        let word = self.store.namespace_word(namespace.number(), at!(Namespace.idle_ttl_ms));
        if self.store.is_current(namespace) && word.get() == 0 {
            word.set(Step::Namespace, idle_ttl_ms);
        }
    }

    /// [`Store::remove_namespace`]. The stripe is number 0.
    pub(crate) fn remove_namespace_named(&mut self, name: &str) -> Removal {
        self.store.remove_namespace(name)
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
