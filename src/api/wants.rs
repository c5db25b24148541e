//! What a read extracts from a record: the value in a vector or a buffer, the whole item, or nothing.

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

/// Something that a read extracts, either from a record in the file, or from a private copy with a verified checksum.
pub(super) trait Want: Extract {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Self::Out;

    /// The result if there is no memory for the copy. By default the process ends, as with Rust's collections.
    fn no_memory(&mut self, _: TryReserveError, needed: usize) -> Self::Out {
        handle_alloc_error(Layout::array::<u8>(needed).unwrap_or(Layout::new::<u8>()))
    }
}

/// The value in a vector. Its length is validated before memory is allocated.
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

/// The value in a vector, with the caller's flags.
#[cfg(feature = "typed")]
pub(super) struct Flagged;

#[cfg(feature = "typed")]
impl Extract for Flagged {
    type Out = (u32, Vec<u8>);

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<(u32, Vec<u8>)> {
        let flags = store.caller_flags(found.at, found.head);
        Some((flags, Value.take(store, found)?))
    }
}

#[cfg(feature = "typed")]
impl Want for Flagged {
    fn take_copied<M: Memory>(&mut self, _: &Store<M>, copied: Copied) -> (u32, Vec<u8>) {
        (copied.extension.caller_flags(), copied.value)
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
/// or the end of the batch, cuts them off.
pub(super) struct Append<'a>(pub &'a mut Values);

impl Extract for Append<'_> {
    type Out = ();

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<()> {
        let bytes = self.0.open_end();
        // The length is validated before memory is allocated.
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

/// The item with the length of its value, or an error if there is no memory for the value. The value is appended as by
/// [`Append`].
pub(super) struct AppendItem<'a> {
    pub values: &'a mut Values,
    pub time: &'a Time,
}

impl Extract for AppendItem<'_> {
    type Out = Result<Item<usize>>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Item<usize>>> {
        let len = found.value_len;
        let bytes = self.values.open_end();
        // The length is validated before memory is allocated.
        if bytes.capacity() - bytes.len() < len {
            if !store.validate(found) {
                return None;
            }
            if let Err(error) = bytes.try_reserve(len) {
                return Some(Err(Error::no_memory(len)(error)));
            }
        }
        store.mem.append_out(found.value_at(), len, bytes);
        Some(Ok(Item::of(store, found.head, store.extension(found.at, found.head), self.time, len)))
    }
}

impl Want for AppendItem<'_> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Result<Item<usize>> {
        let len = copied.value.len();
        let bytes = self.values.open_end();
        bytes.try_reserve(len).map_err(Error::no_memory(len))?;
        bytes.extend_from_slice(&copied.value);
        Ok(Item::of(store, copied.head, copied.extension, self.time, len))
    }

    fn no_memory(&mut self, error: TryReserveError, needed: usize) -> Result<Item<usize>> {
        Err(Error::no_memory(needed)(error))
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

/// The whole item, or an error if there is no memory for it. With `ABSENCE`, remembered absences are found, too.
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

/// If the key still has the value that the caller holds, whether this value is stale; otherwise `None`.
pub(super) struct Unchanged<'a> {
    pub known: ItemId,
    pub time: &'a Time,
}

impl Extract for Unchanged<'_> {
    type Out = Option<bool>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Option<bool>> {
        if found.head.stamp != self.known.stamp.0 || store.lineage() != self.known.lineage {
            return Some(None);
        }
        Some(Some(is_stale(store, found.head, store.extension(found.at, found.head), self.time)))
    }

    #[inline(always)]
    fn is_use(out: &Option<bool>) -> bool {
        out.is_some()
    }
}

/// The whole item, or the fact that it is still the one that the caller holds. A copy whose checksum was verified is
/// always new, because the caller's own value proves nothing about the bytes in the file.
pub(super) struct IfChanged<'a>(pub Unchanged<'a>);

impl Extract for IfChanged<'_> {
    type Out = Result<Changed>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Changed>> {
        match self.0.take(store, found)? {
            Some(is_stale) => Some(Ok(Changed::Same { is_stale })),
            None => copied(store, found, self),
        }
    }
}

impl Want for IfChanged<'_> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Result<Changed> {
        Ok(Changed::New(Known::of(store, copied, self.0.time).item))
    }

    fn no_memory(&mut self, error: TryReserveError, needed: usize) -> Result<Changed> {
        Err(Error::no_memory(needed)(error))
    }
}

/// The value, or an error if there is no memory for it.
pub(super) struct TryValue;

impl Extract for TryValue {
    type Out = Result<Vec<u8>>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Result<Vec<u8>>> {
        let no_memory = Error::no_memory(found.value_len);
        store.validate(found).then(|| store.value_at(found.value_at(), found.value_len).map_err(no_memory))
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

/// The value, for a caller that can also get it in another way. If there is no memory for the value, the look finds
/// nothing.
pub(super) struct AtHand;

/// Values up to this length are allocated like other small objects, without a test whether there is enough memory.
const SMALL: usize = 4096;

impl Extract for AtHand {
    type Out = Vec<u8>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Vec<u8>> {
        if found.value_len <= SMALL {
            return Value.take(store, found);
        }
        store.validate(found).then(|| store.value_at(found.value_at(), found.value_len).ok())?
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

/// The value in memory that the caller allocates for it. The length is validated before the caller allocates.
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

/// The item, with the length of its value. The value is copied to the caller's buffer if it fits.
pub(super) struct ItemInto<'a> {
    pub buf: &'a mut [u8],
    pub time: &'a Time,
}

impl Extract for ItemInto<'_> {
    type Out = Item<usize>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Item<usize>> {
        if !store.validate(found) {
            return None;
        }
        let len = Into(self.buf).take(store, found)?;
        Some(Item::of(store, found.head, store.extension(found.at, found.head), self.time, len))
    }
}

impl Want for ItemInto<'_> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Item<usize> {
        let (head, extension) = (copied.head, copied.extension);
        let len = Into(self.buf).take_copied(store, copied);
        Item::of(store, head, extension, self.time, len)
    }
}

/// The item, with its value in memory that the caller allocates for it.
pub(super) struct ItemIn<'a, F> {
    pub room: F,
    pub time: &'a Time,
}

impl<B: AsMut<[u8]>, F: FnMut(usize) -> B> Extract for ItemIn<'_, F> {
    type Out = Result<Item<B>, TooSmall>;
    const RUNS_CALLERS_CODE: bool = true;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Self::Out> {
        let made = In(&mut self.room).take(store, found)?;
        let extension = store.extension(found.at, found.head);
        Some(made.map(|made| Item::of(store, found.head, extension, self.time, made)))
    }
}

impl<B: AsMut<[u8]>, F: FnMut(usize) -> B> Want for ItemIn<'_, F> {
    fn take_copied<M: Memory>(&mut self, store: &Store<M>, copied: Copied) -> Self::Out {
        let (head, extension) = (copied.head, copied.extension);
        let made = In(&mut self.room).take_copied(store, copied)?;
        Ok(Item::of(store, head, extension, self.time, made))
    }
}

/// Nothing of the value: a hit says that there is a value.
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

/// What `want` extracts from a record that the caller accepts. Otherwise `None`, and the look does not count as a use
/// of the record.
pub(super) struct If<T, F> {
    pub want: T,
    pub accepts: F,
}

impl<T: Extract, F: Fn(&RecordRef<'_>) -> bool> Extract for If<T, F> {
    type Out = Option<T::Out>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Self::Out> {
        if (self.accepts)(found) { self.want.take(store, found).map(Some) } else { Some(None) }
    }

    #[inline(always)]
    fn is_use(taken: &Self::Out) -> bool {
        taken.is_some()
    }
}

/// What `want` extracts, if the checksum of the record is valid; otherwise `None`.
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
        // A copy of which parts belong to two different records is not damage, but must be repeated.
        if !store.validate(found) {
            return None;
        }
        let is_true = store.is_true(&copied, &self.key, T::SEES_ABSENCE);
        Some(is_true.then(|| self.want.take_copied(store, copied)))
    }
}
