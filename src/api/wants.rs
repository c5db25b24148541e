//! What a read extracts from a record: the value into a vector or a buffer, the whole item, or nothing.

use super::item::{Changed, Item, ItemId, Known, is_stale};
use super::values::Values;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::Memory;
use crate::store::Store;
use crate::store::copied::Copied;
use crate::store::read::{Extract, RecordRef};
use std::alloc::{Layout, handle_alloc_error};
use std::collections::TryReserveError;

/// What a read extracts from a record in the file, or from a private copy whose checksum was checked.
pub(super) trait Want: Extract {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Self::Out;

    /// What to return when there is no memory for the copy. By default the process ends, as with Rust's collections.
    fn no_memory(&mut self, _: TryReserveError, needed: usize) -> Self::Out {
        handle_alloc_error(Layout::array::<u8>(needed).unwrap_or(Layout::new::<u8>()))
    }
}

/// The value in a vector. Its length is checked before memory is allocated.
pub(super) struct Value;

impl Extract for Value {
    type Out = Vec<u8>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Vec<u8>> {
        if !store.validate(found) {
            return None;
        }
        let mut value = Vec::with_capacity(found.value_len);
        store.mem.append_out(found.value_at(), found.value_len, &mut value);
        Some(value)
    }
}

impl Want for Value {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) -> Vec<u8> {
        copied.value
    }
}

/// Extracts from a copy of the whole record. The record is validated first, so that its length can be trusted.
fn copied<M: Memory, T: Want>(store: &Store<M>, found: &RecordRef<'_>, want: &mut T) -> Option<T::Out> {
    store.validate(found).then(|| match store.copied(found) {
        Ok(copied) => want.take_copied(store, copied),
        Err(error) => want.no_memory(error, found.value_len),
    })
}

/// The value, appended to the buffer of a batch. A lookup that must be repeated leaves bytes behind; the next lookup,
/// or the end of the batch, cuts them off first.
pub(super) struct Append<'a>(pub &'a mut Values);

impl Extract for Append<'_> {
    type Out = ();

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<()> {
        let bytes = self.0.open_end();
        // The length is checked before memory is allocated.
        if bytes.capacity() - bytes.len() < found.value_len && !store.validate(found) {
            return None;
        }
        store.mem.append_out(found.value_at(), found.value_len, bytes);
        Some(())
    }
}

impl Want for Append<'_> {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) {
        self.0.open_end().extend_from_slice(&copied.value);
    }
}

/// The value with its flags, stamp and times.
pub(super) struct WholeItem<'a>(pub &'a Time);

impl Extract for WholeItem<'_> {
    type Out = Item;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Item> {
        copied(store, found, self)
    }
}

impl Want for WholeItem<'_> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Item {
        Known::of(store, copied, self.0).item
    }
}

/// The whole item, or an error if there is no memory for it. With `ABSENCE`, negative entries are found, too.
pub(super) struct TryWhole<'a, const ABSENCE: bool>(pub &'a Time);

impl<const ABSENCE: bool> Extract for TryWhole<'_, ABSENCE> {
    type Out = Result<Known>;
    const SEES_ABSENCE: bool = ABSENCE;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Known>> {
        copied(store, found, self)
    }
}

impl<const ABSENCE: bool> Want for TryWhole<'_, ABSENCE> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Result<Known> {
        Ok(Known::of(store, copied, self.0))
    }

    fn no_memory(&mut self, error: TryReserveError, needed: usize) -> Result<Known> {
        Err(Error::no_memory(needed)(error))
    }
}

/// The whole item, or that it is still the one that the caller knows. A copy whose checksum was checked is always new:
/// the caller's own value proves nothing about the bytes in the file.
pub(super) struct IfChanged<'a> {
    pub known: ItemId,
    pub time: &'a Time,
}

impl Extract for IfChanged<'_> {
    type Out = Result<Changed>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Changed>> {
        if found.head.stamp != self.known.stamp.0 || store.lineage() != self.known.lineage {
            return copied(store, found, self);
        }
        // Most records without an extension are fresh: only a soft invalidation of the whole cache makes them stale.
        let extension = store.extension(found.at, found.head);
        Some(Ok(Changed::Same { is_stale: is_stale(store, found.head, extension, self.time) }))
    }
}

impl Want for IfChanged<'_> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Result<Changed> {
        Ok(Changed::New(Known::of(store, copied, self.time).item))
    }

    fn no_memory(&mut self, error: TryReserveError, needed: usize) -> Result<Changed> {
        Err(Error::no_memory(needed)(error))
    }
}

/// The value, or an error if there is no memory for it.
pub(super) struct TryValue;

impl Extract for TryValue {
    type Out = Result<Vec<u8>>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Vec<u8>>> {
        copied(store, found, self)
    }
}

impl Want for TryValue {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) -> Result<Vec<u8>> {
        Ok(copied.value)
    }

    fn no_memory(&mut self, error: TryReserveError, needed: usize) -> Result<Vec<u8>> {
        Err(Error::no_memory(needed)(error))
    }
}

/// The length of the value. The value is copied to the caller's buffer if it fits.
pub(super) struct Into<'a>(pub &'a mut [u8]);

impl Extract for Into<'_> {
    type Out = usize;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<usize> {
        if let Some(room) = self.0.get_mut(..found.value_len) {
            store.mem.copy_out(found.value_at(), room);
        }
        Some(found.value_len)
    }
}

impl Want for Into<'_> {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) -> usize {
        if let Some(room) = self.0.get_mut(..copied.value.len()) {
            room.copy_from_slice(&copied.value);
        }
        copied.value.len()
    }
}

/// The value in memory that the caller allocates for it. The length is checked before the caller is asked.
pub(super) struct In<F>(pub F);

/// The memory that the caller allocated is too small for the value.
pub(super) struct TooSmall {
    pub needed: usize,
    pub given: usize,
}

impl<B: AsMut<[u8]>, F: FnMut(usize) -> B> Extract for In<F> {
    type Out = Result<B, TooSmall>;
    const RUNS_CALLERS_CODE: bool = true;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Self::Out> {
        if !store.validate(found) {
            return None;
        }
        let mut made = (self.0)(found.value_len);
        let (needed, given) = (found.value_len, made.as_mut().len());
        let Some(room) = made.as_mut().get_mut(..needed) else { return Some(Err(TooSmall { needed, given })) };
        store.mem.copy_out(found.value_at(), room);
        Some(Ok(made))
    }
}

impl<B: AsMut<[u8]>, F: FnMut(usize) -> B> Want for In<F> {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) -> Self::Out {
        let mut made = (self.0)(copied.value.len());
        let (needed, given) = (copied.value.len(), made.as_mut().len());
        let Some(room) = made.as_mut().get_mut(..needed) else { return Err(TooSmall { needed, given }) };
        room.copy_from_slice(&copied.value);
        Ok(made)
    }
}

/// Nothing of the value: a hit says that there is one.
pub(super) struct Nothing;

impl Extract for Nothing {
    type Out = ();

    #[inline(always)]
    fn take<M: Memory>(&mut self, _: &Store<M>, _: &RecordRef) -> Option<()> {
        Some(())
    }
}

impl Want for Nothing {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, _: Copied) {}
}

/// What `want` extracts, if the record passes its checksum; otherwise `None`.
pub(super) struct Sound<'a, T> {
    pub key: Key<'a>,
    pub want: &'a mut T,
}

impl<T: Want> Extract for Sound<'_, T> {
    type Out = Option<T::Out>;
    const SEES_ABSENCE: bool = T::SEES_ABSENCE;
    const RUNS_CALLERS_CODE: bool = T::RUNS_CALLERS_CODE;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Self::Out> {
        if !store.validate(found) {
            return None;
        }
        let copied = match store.copied(found) {
            Ok(copied) => copied,
            Err(error) => return Some(Some(self.want.no_memory(error, found.value_len))),
        };
        // A copy that mixes two records is not damage.
        if !store.validate(found) {
            return None;
        }
        let is_true = store.is_true(&copied, &self.key, T::SEES_ABSENCE);
        Some(is_true.then(|| self.want.take_copied(store, copied)))
    }
}
