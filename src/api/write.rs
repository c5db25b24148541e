//! The write path: hash the key, lock its stripe, look it up, store. A write locks one stripe at a time.

use super::cache::Cache;
use super::item::Stamp;
use super::namespace::Namespace;
use super::set_options::SetOptions;
use super::stripe_lock::Patience;
use super::writer::{Writer, check_size, metadata_of, namespace_of};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::flush::flush;
use crate::shm::mapping::Mapping;
use crate::store::Invalidation;
use crate::store::find::Entry;
use crate::store::record::{NewRecord, RecordEpochs};
use crate::store::stripe_guard::StripeGuard;
use std::time::Duration;

/// The outcome of [`Cache::compare_and_swap`] and [`Cache::swap_value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Swap {
    /// The value was the expected one and was replaced; this is the new stamp.
    Stored(Stamp),
    /// The key was written since the stamp was read; nothing was stored.
    Changed,
    /// The key has no value; nothing was stored.
    Absent,
}

impl Cache {
    /// Stores a value with the default times of the handle's namespace. Without a namespace it does not expire.
    ///
    /// # Errors
    /// [`KeyTooLong`](Error::KeyTooLong) if the stored key has more than 65 535 bytes; [`TooLarge`](Error::TooLarge):
    /// see [`Stats::largest_record`](crate::Stats::largest_record); [`Busy`](Error::Busy) if the stripe's lock cannot
    /// be taken within [`lock_wait`](Cache::lock_wait); [`ReadOnly`](Error::ReadOnly);
    /// [`NamespacesFull`](Error::NamespacesFull) if the handle's namespace must be added to the file again;
    /// [`SeatsFull`](Error::SeatsFull) if this process must first join the file, as after a fork; and
    /// [`LocksLost`](Error::LocksLost), [`NotFound`](Error::NotFound) and [`Io`](Error::Io) if the files were removed
    /// or cannot be used. All writes have these errors, as far as they apply.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.while_open(|| self.set_plain(key, value))
    }

    /// A `set` without options and without a namespace, compiled without the tests that these need. It has its own
    /// closure, because a closure that it shared with [`set_stored`](Self::set_stored) would not be inlined.
    fn set_plain(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.has_namespace != 0 {
            return self.set_by_default(key, value);
        }
        self.put(
            None,
            key,
            |writer| NewRecord::new(writer.key, value, 0, None),
            |_, guard, entry, draft, epochs| {
                guard.put(draft, entry, epochs);
            },
        )
    }

    /// [`set`](Cache::set) in a namespace, which may have default times.
    #[cold]
    fn set_by_default(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.set_with(key, value, &SetOptions::default()).map(|_| ())
    }

    /// Stores a value with options such as its expiry and flags, and returns its stamp.
    ///
    /// # Errors
    /// Those of [`set`](Cache::set); [`TooManyTags`](Error::TooManyTags); and [`BadOption`](Error::BadOption) for tags
    /// in a file without room for tags, or for a moment of another file or namespace.
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<Stamp> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.set_stored(key, value.as_ref(), how)))
    }

    /// Stores a value if the key has none. Returns whether it was stored.
    ///
    /// # Errors
    /// Those of [`set_with`](Cache::set_with).
    pub fn add(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.add_stored(key, value.as_ref(), how)))
    }

    /// Stores a value if the key already has one. Returns whether it was stored.
    ///
    /// # Errors
    /// Those of [`set_with`](Cache::set_with).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.replace_stored(key, value.as_ref(), how)))
    }

    /// Stores a value if the key still has the value with this stamp, as [`get_item`](Cache::get_item) returns it.
    ///
    /// # Errors
    /// Those of [`set_with`](Cache::set_with).
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        stamp: Stamp,
        value: impl AsRef<[u8]>,
        how: &SetOptions,
    ) -> Result<Swap> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.swap_stored(key, stamp, value.as_ref(), how)))
    }

    /// Adds `delta` to a number, and returns the new number, or `None` if the key has no value. A number is from 0 to
    /// 2^64 - 1, stored as decimal text, as in memcached, so that every client can read it. The item keeps its expiry,
    /// soft expiry, flags and tags.
    ///
    /// # Errors
    /// [`NotANumber`](Error::NotANumber); [`Overflow`](Error::Overflow) if the result exceeds 2^64 - 1, and the value
    /// stays as it was; [`NoMemory`](Error::NoMemory); and the errors of [`set`](Cache::set).
    pub fn incr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.with_stored_key(key.as_ref(), |key| {
            self.while_open(|| self.add_to_stored(key, delta, '+', u64::checked_add, None))
        })
    }

    /// Subtracts `delta` from a number: the counterpart of [`incr`](Cache::incr).
    ///
    /// # Errors
    /// The errors of [`incr`](Cache::incr), with [`Overflow`](Error::Overflow) if the result is below 0.
    pub fn decr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.with_stored_key(key.as_ref(), |key| {
            self.while_open(|| self.add_to_stored(key, delta, '-', u64::checked_sub, None))
        })
    }

    /// Adds to a number like [`incr`](Cache::incr). If the key has no value, stores `initial`, to which `delta` is not
    /// added. Both happen under one hold of the stripe's lock, so no other caller's addition is lost. `how` applies to
    /// a new number only. Returns the number that the key then has.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{Expiry, SetOptions};
    /// use std::time::Duration;
    /// // At most a hundred requests a minute, which begins with the first of them.
    /// let minute = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60)));
    /// let is_allowed = cache.incr_or("requests of 192.0.2.1", 1, 1, &minute)? <= 100;
    /// assert!(is_allowed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`incr`](Cache::incr) and of [`set_with`](Cache::set_with).
    pub fn incr_or(&self, key: impl AsRef<[u8]>, delta: u64, initial: u64, how: &SetOptions) -> Result<u64> {
        self.with_stored_key(key.as_ref(), |key| {
            self.while_open(|| self.add_or_store(key, delta, '+', u64::checked_add, (initial, how)))
        })
    }

    /// Subtracts from a number like [`decr`](Cache::decr). If the key has no value, stores `initial`: the counterpart
    /// of [`incr_or`](Cache::incr_or).
    ///
    /// # Errors
    /// The errors of [`decr`](Cache::decr) and of [`set_with`](Cache::set_with).
    pub fn decr_or(&self, key: impl AsRef<[u8]>, delta: u64, initial: u64, how: &SetOptions) -> Result<u64> {
        self.with_stored_key(key.as_ref(), |key| {
            self.while_open(|| self.add_or_store(key, delta, '-', u64::checked_sub, (initial, how)))
        })
    }

    /// Changes when a key expires. Returns whether the key has a value.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.touch_stored(key, expiry)))
    }

    /// Removes a key. Returns whether it had a value.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.delete_stored(key)))
    }

    /// Removes a key if it still has the value with this stamp, as [`get_item`](Cache::get_item) returns it. Returns
    /// whether the key was removed.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn compare_and_delete(&self, key: impl AsRef<[u8]>, stamp: Stamp) -> Result<bool> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.delete_stored_if(key, stamp)))
    }

    /// Stores many items, and returns the result of each, in the order of the items. The items are stored one by one,
    /// not atomically; if a key occurs several times, its last value wins. Each result may be an error of
    /// [`set_with`](Cache::set_with). This is faster than single `set`s, because the memory of the next keys is fetched
    /// while one item is stored. If the lock strategy makes a system call to lock, a stripe is locked once for up to 64
    /// items.
    #[must_use = "each item is stored, or not, by itself"]
    pub fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, items: &[(K, V)], how: &SetOptions) -> Vec<Result<()>> {
        match self.in_namespace() {
            None => self.set_stored_multi(items, how),
            Some(namespace) => {
                let stored = items.iter().map(|item| (namespace.stored_key(item.0.as_ref()), item.1.as_ref()));
                self.set_stored_multi(&stored.collect::<Vec<(Vec<u8>, &[u8])>>(), how)
            }
        }
    }

    /// Removes many keys, and returns for each whether it had a value, in the order of the keys. Each result may be an
    /// error of [`set`](Cache::set). The cost is like that of [`set_multi`](Self::set_multi).
    #[must_use = "each item is deleted, or not, by itself"]
    pub fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        match self.in_namespace() {
            None => self.delete_stored_multi(keys),
            Some(namespace) => self.delete_stored_multi(&namespace.stored_keys(keys)),
        }
    }

    /// Removes all values of this handle's namespace, or those of the whole file if the handle has no namespace, for
    /// all processes. The time does not depend on the number of values.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn clear(&self) -> Result<()> {
        self.invalidate(Invalidation::Hard)
    }

    /// Invalidates all values of this handle's namespace, or those of the whole file if the handle has no namespace,
    /// for all processes. A hard invalidation removes them, like [`clear`](Cache::clear); a soft one makes them stale.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn invalidate(&self, how: Invalidation) -> Result<()> {
        self.while_open(|| self.invalidate_current(how))
    }

    fn invalidate_current(&self, how: Invalidation) -> Result<()> {
        let opened = self.current()?.clone();
        match self.in_namespace() {
            None => invalidate(&opened, 0, how, self.lock_wait, |guard| {
                guard.void_all(|_| true);
                guard.empty();
            }),
            Some(namespace) => {
                let number = namespace.in_file(&opened, self.lock_wait)?.0.number();
                invalidate(&opened, number, how, self.lock_wait, |guard| guard.remove_namespace(number))
            }
        }
    }

    /// Makes the present contents of the whole file durable: they survive a crash of the operating system, unless a
    /// process writes to the file after the flush and before the crash. Returns whether the flush succeeded; it does
    /// not if another thread or process wrote during the flush.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set).
    pub fn flush(&self) -> Result<bool> {
        self.while_open(|| {
            let opened = self.current()?.clone();
            flush(&opened)
        })
    }
}

/// The writes, with stored keys.
impl Cache {
    fn set_stored(&self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<Stamp> {
        self.put(
            self.in_namespace(),
            key,
            |writer| writer.draft(value, how),
            |writer, guard, entry, draft, epochs| {
                writer.may_store(how).map(|may| Stamp(if may { guard.put(draft, entry, epochs) } else { 0 }))
            },
        )?
    }

    fn add_stored(&self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<bool> {
        self.put_if(key, value, how, |writer, guard, entry| !writer.would_read(guard, entry))
            .map(|stored| stored.is_some())
    }

    fn replace_stored(&self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<bool> {
        self.put_if(key, value, how, |writer, guard, entry| writer.would_read(guard, entry))
            .map(|stored| stored.is_some())
    }

    fn swap_stored(&self, key: &[u8], stamp: Stamp, value: &[u8], how: &SetOptions) -> Result<Swap> {
        let mut absent = false;
        let stored = self.put_if(key, value, how, |writer, guard, entry| {
            absent = !writer.would_read(guard, entry);
            let same = entry.filter(|entry| !absent && entry.head.stamp == stamp.0);
            same.inspect(|entry| guard.mark(entry)).is_some()
        })?;
        Ok(match stored {
            Some(stamp) => Swap::Stored(stamp),
            None if absent => Swap::Absent,
            None => Swap::Changed,
        })
    }

    fn touch_stored(&self, key: &[u8], expiry: Expiry) -> Result<bool> {
        let file = self.current()?;
        let writer = Writer::new(&file, None, key, self.lock_wait)?;
        let expires_ms = expiry.to_ms(|| writer.opened.settings.time.now_ms());
        writer.with_stripe(|guard| {
            let entry = guard
                .find_in(writer.location.bucket_at, &writer.key)
                .filter(|entry| writer.would_read(guard, Some(entry)));
            if let Some(entry) = &entry {
                guard.touch(entry, expires_ms);
                guard.mark(entry);
            }
            entry.is_some()
        })
    }

    fn delete_stored(&self, key: &[u8]) -> Result<bool> {
        let file = self.current()?;
        let writer = Writer::new(&file, None, key, self.lock_wait)?;
        writer.with_stripe(|guard| delete_in(guard, &writer))
    }

    pub(super) fn delete_stored_if(&self, key: &[u8], stamp: Stamp) -> Result<bool> {
        let file = self.current()?;
        let writer = Writer::new(&file, None, key, self.lock_wait)?;
        writer.with_stripe(|guard| {
            let entry = guard
                .find_in(writer.location.bucket_at, &writer.key)
                .filter(|entry| entry.head.stamp == stamp.0 && writer.would_read(guard, Some(entry)));
            let Some(entry) = entry else { return false };
            guard.void(&writer.key);
            guard.remove(&entry);
            true
        })
    }

    fn set_stored_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, items: &[(K, V)], how: &SetOptions) -> Vec<Result<()>> {
        self.write_multi(
            self.in_namespace(),
            items,
            |(key, _)| key.as_ref(),
            |writer, seen, (_, value), locks| {
                let draft = writer.draft(value.as_ref(), how);
                check_size(writer.opened, &draft)?;
                locks.with_stripe_to_put(writer.opened, writer.stripe(), |guard| {
                    let epochs = guard.epochs_now(writer.namespace);
                    if writer.may_store(how)? {
                        let entry = guard.find_seen(seen, writer.location.bucket_at, &writer.key);
                        guard.put(&draft, entry.as_ref(), epochs);
                    }
                    Ok(())
                })
            },
            |writer, (_, value)| {
                let draft = writer.draft(value.as_ref(), how);
                check_size(writer.opened, &draft).map(|()| draft)
            },
            |writer, guard, draft| set_in(guard, writer, draft, how),
        )
        .into_iter()
        .map(|written| written.and_then(|stored| stored))
        .collect()
    }

    fn delete_stored_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        self.write_multi(
            None,
            keys,
            AsRef::as_ref,
            |writer, _, _, locks| locks.with_stripe(writer.opened, writer.stripe(), |guard| delete_in(guard, writer)),
            |_, _| Ok(()),
            |writer, guard, ()| delete_in(guard, writer),
        )
    }

    /// Stores a value if `wanted` accepts the key's entry, which may have expired or been invalidated.
    #[inline(always)]
    fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        how: &SetOptions,
        wanted: impl FnOnce(&Writer<'_, '_>, &StripeGuard<'_, Mapping>, Option<&Entry>) -> bool,
    ) -> Result<Option<Stamp>> {
        self.put(
            self.in_namespace(),
            key,
            |writer| writer.draft(value, how),
            |writer, guard, entry, draft, epochs| {
                let may = writer.may_store(how)? && wanted(writer, guard, entry);
                Ok(may.then(|| Stamp(guard.put(draft, entry, epochs))))
            },
        )?
    }

    /// Prepares a record and locks the key's stripe. Then `store_in` may replace the key's entry by the record. The
    /// entry may have expired or been invalidated.
    #[inline(always)]
    fn put<'k, R>(
        &self,
        namespace: Option<&Namespace>,
        key: &'k [u8],
        draft: impl FnOnce(&Writer<'_, 'k>) -> NewRecord<'k>,
        store_in: impl FnOnce(
            &Writer<'_, '_>,
            &mut StripeGuard<'_, Mapping>,
            Option<&Entry>,
            &NewRecord<'_>,
            RecordEpochs,
        ) -> R,
    ) -> Result<R> {
        let file = self.current()?;
        let place = namespace_of(&file, namespace, key, self.lock_wait)?;
        let writer = Writer::at(&file, place, key, self.lock_wait);
        let store = &writer.opened.store;
        let seen = store.see_record(store.bucket_view_at(writer.location, &writer.key));
        let draft = draft(&writer);
        check_size(writer.opened, &draft)?;
        writer.with_stripe_to_put(|guard| {
            let epochs = guard.epochs_now(writer.namespace);
            let entry = guard.find_seen(&seen, writer.location.bucket_at, &writer.key);
            store_in(&writer, guard, entry.as_ref(), &draft, epochs)
        })
    }

    fn add_or_store(
        &self,
        key: &[u8],
        delta: u64,
        sign: char,
        add: impl FnOnce(u64, u64) -> Option<u64>,
        first: (u64, &SetOptions),
    ) -> Result<u64> {
        // With a first number the result is always a number.
        self.add_to_stored(key, delta, sign, add, Some(first)).map(|number| number.unwrap_or(first.0))
    }

    /// Adds to the number of a key, or stores a first number if the key has no value.
    fn add_to_stored(
        &self,
        key: &[u8],
        delta: u64,
        sign: char,
        add: impl FnOnce(u64, u64) -> Option<u64>,
        first: Option<(u64, &SetOptions)>,
    ) -> Result<Option<u64>> {
        let file = self.current()?;
        let writer = Writer::new(&file, self.in_namespace(), key, self.lock_wait)?;
        // The record is made before the lock is taken, because the clock may be the caller's code.
        let first = first.map(|(number, how)| (number, number.to_string(), how));
        let first = first.as_ref().map(|(number, text, how)| (*number, writer.draft(text.as_bytes(), how), *how));
        if let Some((_, draft, _)) = &first {
            check_size(writer.opened, draft)?;
        }
        writer.with_stripe(|guard| {
            let mut epochs = guard.epochs_now(writer.namespace);
            let Some((entry, copied)) = writer.current(guard)? else {
                let Some((number, draft, how)) = &first else { return Ok(None) };
                if writer.may_store(how)? {
                    let entry = guard.find_in(writer.location.bucket_at, &writer.key);
                    guard.put(draft, entry.as_ref(), epochs);
                }
                return Ok(Some(*number));
            };
            guard.mark(&entry);
            let value = parse_number(&copied.value)?;
            let sum = add(value, delta).ok_or(Error::Overflow { value, sign, delta })?;
            let text = sum.to_string();
            // A record of a namespace other than the handle's keeps the epoch of its own namespace.
            if copied.extension.namespace() != writer.namespace.number() {
                epochs.namespace = copied.extension.namespace_epoch();
            }
            let expires_ms = guard.expiry_after_use(&entry);
            let draft = NewRecord::new(writer.key, text.as_bytes(), expires_ms, metadata_of(&copied));
            guard.put(&draft, Some(&entry), epochs);
            Ok(Some(sum))
        })?
    }
}

#[inline(always)]
fn set_in(
    guard: &mut StripeGuard<'_, Mapping>,
    writer: &Writer<'_, '_>,
    draft: &NewRecord<'_>,
    how: &SetOptions,
) -> Result<()> {
    let epochs = guard.epochs_now(writer.namespace);
    if !writer.may_store(how)? {
        return Ok(());
    }
    let entry = guard.find_in(writer.location.bucket_at, &writer.key);
    guard.put(draft, entry.as_ref(), epochs);
    Ok(())
}

fn delete_in(guard: &mut StripeGuard<'_, Mapping>, writer: &Writer<'_, '_>) -> bool {
    guard.void(&writer.key);
    // An expired or invalidated value is also removed, but does not count as a value.
    let Some(entry) = guard.find_in(writer.location.bucket_at, &writer.key) else {
        guard.note_deletion(&writer.key);
        return false;
    };
    let was_there = writer.would_read(guard, Some(&entry));
    guard.remove(&entry);
    was_there
}

/// Raises the epochs of a namespace; 0 stands for the whole cache. If the epochs cannot be raised, `remove` removes the
/// values of one stripe after another.
fn invalidate(
    opened: &AttachedFile,
    namespace: u16,
    how: Invalidation,
    lock_wait: Duration,
    remove: impl Fn(&mut StripeGuard<'_, Mapping>),
) -> Result<()> {
    opened.member()?;
    opened.mark_dirty()?;
    if opened.store.raise_epoch(namespace, how) {
        // A flush that ended in between does not include the new epoch. If the file was closed in between, its
        // successor may not include it, either: then this returns an error, and the invalidation is repeated there.
        return opened.mark_dirty();
    }
    // The epochs are used up, or the system has crashed and the epochs of its records cannot be trusted.
    for stripe in 0..opened.geometry().shape.stripes {
        remove(&mut Patience::of_thread(lock_wait).lock_stripe(opened, stripe)?);
    }
    Ok(())
}

fn parse_number(text: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&text[..text.len().min(32)]);
        Error::NotANumber { found: format!("{shown:?}{}", if text.len() > 32 { "..." } else { "" }) }
    })
}
