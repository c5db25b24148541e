//! The write path: hash, lock the stripe, look, store. One stripe at a time.

use super::cache::Cache;
use super::item::Stamp;
use super::namespace::Named;
use super::stripe_lock::{Patience, lock_region, lock_stripe, lock_stripe_within};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::Invalidation;
use crate::store::copied::Copied;
use crate::store::exclusive::{Entry, Exclusive};
use crate::store::namespace::Defaults;
use crate::store::record::{Beside, Draft, MAX_KEY};
use crate::upkeep::Opened;
use crate::upkeep::flush::flush;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

/// What is stored beside a value.
///
/// ```
/// use std::time::Duration;
/// use kennel::{Expiry, SetOptions};
/// let how = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60))).flags(7);
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    expiry: Option<Expiry>,
    soft_expiry: Option<Expiry>,
    flags: u32,
}

impl SetOptions {
    /// Flags 0, and no expiry but those that a namespace may have by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the item expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// When the item becomes stale: `get` still returns it, [`get_or_create`](Cache::get_or_create) lets one caller
    /// create it anew and returns it to all others meanwhile. It costs 24 bytes.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.soft_expiry = Some(expiry);
        self
    }

    /// A number of the caller's that comes back with [`Cache::get_item`]. Other than 0 it costs 24 bytes.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// The expiry and what lies beside the value of an item stored now; what is not said here `defaults` say.
    #[inline(always)]
    pub(super) fn times(&self, defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Beside) {
        let expires_ms = expiry_or(self.expiry, defaults.hard_ttl_ms, &now_ms);
        let soft_expires_ms = expiry_or(self.soft_expiry, defaults.soft_ttl_ms, &now_ms);
        (expires_ms, Beside { flags: self.flags, soft_expires_ms, ..Beside::default() })
    }
}

/// An expiry as a record stores it; if none is given, that of a time to live, where 0 is none.
#[inline(always)]
fn expiry_or(given: Option<Expiry>, ttl_ms: u64, now_ms: impl FnOnce() -> u64) -> u64 {
    match given {
        None if ttl_ms == 0 => 0,
        given => given.unwrap_or_else(|| after(ttl_ms)).to_ms(now_ms),
    }
}

/// A time to live as a namespace's entry holds it.
pub(super) fn after(ttl_ms: u64) -> Expiry {
    if ttl_ms == 0 { Expiry::Never } else { Expiry::After(Duration::from_millis(ttl_ms)) }
}

/// What [`Cache::compare_and_swap`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Swap {
    /// The value was as expected and is replaced; the new stamp.
    Stored(Stamp),
    /// Somebody has written the key since; nothing was stored.
    Changed,
    /// The key has no value; nothing was stored.
    Absent,
}

impl Cache {
    /// Stores a value that does not expire.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`KeyTooLong`](Error::KeyTooLong), [`Busy`](Error::Busy),
    /// [`ReadOnly`](Error::ReadOnly); [`LocksLost`](Error::LocksLost), [`NotFound`](Error::NotFound) and
    /// [`Io`](Error::Io) when something happened to the files. The same holds for all writes.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.set_plain(key.as_ref(), value.as_ref())
    }

    /// A function of its own: without options most of what they ask for is not there.
    fn set_plain(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.all().set(key, value, &SetOptions::default()).map(|_| ())
    }

    /// Stores a value with expiry and flags; returns its stamp.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<Stamp> {
        self.all().set(key.as_ref(), value.as_ref(), how)
    }

    /// Stores a value if the key has none; `false` if it has.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn add(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.all().add(key.as_ref(), value.as_ref(), how)
    }

    /// Stores a value if the key has one; `false` if it has none.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.all().replace(key.as_ref(), value.as_ref(), how)
    }

    /// Stores a value if the key's value is still the one that was read with this stamp.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        stamp: Stamp,
        value: impl AsRef<[u8]>,
        how: &SetOptions,
    ) -> Result<Swap> {
        self.all().compare_and_swap(key.as_ref(), stamp, value.as_ref(), how)
    }

    /// Adds to a number that is stored as decimal text, as memcached does, so that every client can read it.
    /// Returns the new number, or `None` if the key has no value. Expiry and flags stay.
    ///
    /// # Errors
    /// [`NotANumber`](Error::NotANumber); [`Overflow`](Error::Overflow) beyond 2^64 - 1, the value stays then;
    /// and as [`set`](Cache::set).
    pub fn incr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.all().add_to(key.as_ref(), delta, '+', u64::checked_add)
    }

    /// Takes from a number, as [`incr`](Cache::incr) adds.
    ///
    /// # Errors
    /// As [`incr`](Cache::incr); [`Overflow`](Error::Overflow) below 0.
    pub fn decr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.all().add_to(key.as_ref(), delta, '-', u64::checked_sub)
    }

    /// Changes when a key expires; `false` if it has no value.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        let file = self.current()?;
        let writer = Writer::new(&file, self.all(), key.as_ref())?;
        let expires_ms = expiry.to_ms(|| writer.opened.settings.time.now_ms());
        writer.locked(|stripe| {
            let entry = stripe.find(&writer.key).filter(|entry| writer.would_read(stripe, Some(entry)));
            if let Some(entry) = &entry {
                stripe.touch(entry, expires_ms);
                stripe.mark(entry);
            }
            entry.is_some()
        })
    }

    /// Removes a key; `false` if it has no value.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let file = self.current()?;
        let writer = Writer::new(&file, self.all(), key.as_ref())?;
        writer.locked(|stripe| delete_in(stripe, &writer))
    }

    /// Stores many items, each stripe locked once for up to 64 of them; what became of each, in their order. It
    /// is that many single `set`s, not one atomic change; of equal keys the last wins.
    #[must_use = "each item is stored, or not, by itself"]
    pub fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, items: &[(K, V)], how: &SetOptions) -> Vec<Result<()>> {
        self.all().set_multi(items, how)
    }

    /// Removes many keys, each stripe locked once for up to 64 of them; whether each had a value, in their order.
    #[must_use = "each item is deleted, or not, by itself"]
    pub fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        self.all().delete_multi(keys)
    }

    /// Forgets everything, at once and in every process: a value set before is not returned after. It takes
    /// the same short time however much the cache holds.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn clear(&self) -> Result<()> {
        self.invalidate(Invalidation::Hard)
    }

    /// Invalidates everything, at once and in every process: hard as [`clear`](Cache::clear) does, or soft, which makes
    /// all values stale.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn invalidate(&self, how: Invalidation) -> Result<()> {
        let opened = self.current()?.clone();
        invalidate(&opened, 0, how, |stripe| {
            stripe.void_all(|_| true);
            stripe.empty();
        })
    }

    /// Makes a durable point: what the cache holds now is there after a crash of the operating system, unless
    /// somebody writes before it. Returns whether it held; `false` means that somebody wrote meanwhile.
    ///
    /// # Errors
    /// As [`set`](Cache::set).
    pub fn flush(&self) -> Result<bool> {
        let opened = self.current()?.clone();
        flush(&opened)
    }
}

/// A cache, or a namespace of it: what its keys, which are mangled already, are stored under.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub cache: &'a Cache,
    pub namespace: Option<&'a Named>,
}

impl Cache {
    /// The cache without a namespace.
    pub(super) fn all(&self) -> Scope<'_> {
        Scope { cache: self, namespace: None }
    }
}

impl<'a> Scope<'a> {
    /// The namespace's number in a file, and what it says of items that are stored in it.
    #[inline(always)]
    fn namespace_in(self, opened: &Arc<Opened>) -> Result<(u16, Defaults)> {
        match self.namespace {
            Some(named) => named.in_file(opened),
            None => Ok((0, Defaults::default())),
        }
    }

    #[inline(always)]
    pub(super) fn set(self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<Stamp> {
        self.store(key, value, how, |_, stripe, entry, draft| Stamp(stripe.put(draft, entry)))
    }

    pub(super) fn add(self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<bool> {
        self.store_if(key, value, how, |writer, stripe, entry| !writer.would_read(stripe, entry))
            .map(|stored| stored.is_some())
    }

    pub(super) fn replace(self, key: &[u8], value: &[u8], how: &SetOptions) -> Result<bool> {
        self.store_if(key, value, how, |writer, stripe, entry| writer.would_read(stripe, entry))
            .map(|stored| stored.is_some())
    }

    pub(super) fn compare_and_swap(self, key: &[u8], stamp: Stamp, value: &[u8], how: &SetOptions) -> Result<Swap> {
        let mut absent = false;
        let stored = self.store_if(key, value, how, |writer, stripe, entry| {
            absent = !writer.would_read(stripe, entry);
            let same = entry.filter(|entry| !absent && entry.head.stamp == stamp.0);
            same.inspect(|entry| stripe.mark(entry)).is_some()
        })?;
        Ok(match stored {
            Some(stamp) => Swap::Stored(stamp),
            None if absent => Swap::Absent,
            None => Swap::Changed,
        })
    }

    pub(super) fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        self,
        items: &[(K, V)],
        how: &SetOptions,
    ) -> Vec<Result<()>> {
        self.by_stripe(
            items,
            |(key, _)| key.as_ref(),
            |writer, (_, value)| {
                let draft = writer.draft(value.as_ref(), how);
                check_size(writer.opened, &draft).map(|()| draft)
            },
            |writer, stripe, draft| {
                writer.date(draft, stripe);
                let entry = stripe.find(&writer.key);
                stripe.put(draft, entry.as_ref());
            },
        )
    }

    pub(super) fn delete_multi<K: AsRef<[u8]>>(self, keys: &[K]) -> Vec<Result<bool>> {
        self.by_stripe(keys, AsRef::as_ref, |_, _| Ok(()), |writer, stripe, ()| delete_in(stripe, writer))
    }

    /// Stores a value if `wanted` says so of what the key has, be it current or not.
    #[inline(always)]
    fn store_if(
        self,
        key: &[u8],
        value: &[u8],
        how: &SetOptions,
        wanted: impl FnOnce(&Writer<'_, '_>, &Exclusive<'_, Mapping>, Option<&Entry>) -> bool,
    ) -> Result<Option<Stamp>> {
        self.store(key, value, how, |writer, stripe, entry, draft| {
            wanted(writer, stripe, entry).then(|| Stamp(stripe.put(draft, entry)))
        })
    }

    /// Has `put` store a value in the place of what the key has, be it current or not.
    #[inline(always)]
    fn store<R>(
        self,
        key: &[u8],
        value: &[u8],
        how: &SetOptions,
        put: impl FnOnce(&Writer<'_, '_>, &mut Exclusive<'_, Mapping>, Option<&Entry>, &Draft<'_>) -> R,
    ) -> Result<R> {
        let file = self.cache.current()?;
        check_key(key)?;
        let (namespace, defaults) = self.namespace_in(&file)?;
        let writer = Writer::of(&file, self, key, namespace, defaults);
        let store = &writer.opened.store;
        store.prefetch_record(&store.sight(&writer.key));
        let mut draft = writer.draft(value, how);
        check_size(writer.opened, &draft)?;
        writer.locked(|stripe| {
            writer.date(&mut draft, stripe);
            let entry = stripe.find(&writer.key);
            put(&writer, stripe, entry.as_ref(), &draft)
        })
    }

    pub(super) fn add_to(
        self,
        key: &[u8],
        delta: u64,
        sign: char,
        add: impl FnOnce(u64, u64) -> Option<u64>,
    ) -> Result<Option<u64>> {
        let file = self.cache.current()?;
        let writer = Writer::new(&file, self, key)?;
        let mut stripe = writer.lock()?;
        let epoch = stripe.epoch();
        let namespace_epoch = writer.opened.store.namespace_epochs(writer.namespace).current();
        let Some(entry) = stripe.find_current(&writer.key) else { return Ok(None) };
        let copied = stripe.copied(&writer.key, &entry, writer.opened.settings.verify_reads, false);
        let Some(copied) = copied.map_err(Error::no_memory(entry.value_len))? else { return Ok(None) };
        stripe.mark(&entry);
        let value = parse_number(&copied.value)?;
        let sum = add(value, delta).ok_or(Error::Overflow { value, sign, delta })?;
        let text = sum.to_string();
        // Even if there is nothing but the time of its creation.
        let beside = copied.head.is_extended().then(|| writer.beside_of(&copied, namespace_epoch));
        let draft = Draft::new(writer.key, text.as_bytes(), entry.head.expires_ms(), beside, epoch);
        stripe.put(&draft, Some(&entry));
        Ok(Some(sum))
    }

    /// Does something to each of many items, grouped by stripe; the order within a stripe is theirs. The caller's own code,
    /// which `key_of` and `prepare` may run, is through before the first lock is taken. All locks together are waited for
    /// as long as one.
    fn by_stripe<'i, I, P, R>(
        self,
        items: &'i [I],
        key_of: impl Fn(&'i I) -> &'i [u8],
        prepare: impl Fn(&Writer<'_, 'i>, &'i I) -> Result<P>,
        mut each: impl FnMut(&Writer<'_, 'i>, &mut Exclusive<'_, Mapping>, &mut P) -> R,
    ) -> Vec<Result<R>> {
        // An item that comes before the file can be had fails alone.
        let file = OnceCell::new();
        let find_file = || match file.get() {
            Some(file) => Ok(file),
            None => self.cache.current().map(|found| file.get_or_init(|| found)),
        };
        let prepare = |item| {
            let writer = Writer::new(find_file()?, self, key_of(item))?;
            let prepared = prepare(&writer, item)?;
            Ok((writer, prepared))
        };
        let (mut prepared, mut results) = (Vec::new(), Vec::with_capacity(items.len()));
        for (i, item) in items.iter().enumerate() {
            results.push(match prepare(item) {
                Ok((writer, of_item)) => {
                    prepared.push((i, writer, of_item));
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        prepared.sort_by_key(|(_, writer, _)| writer.stripe());
        let mut patience = Patience::of(self.cache.lock_wait);
        for of_stripe in prepared.chunk_by_mut(|(_, a, _), (_, b, _)| a.stripe() == b.stripe()) {
            for group in of_stripe.chunks_mut(MOST_PER_LOCK) {
                let mut locked = None;
                for (i, writer, of_item) in group {
                    let stripe = lock_once(&mut locked, writer, &mut patience);
                    results[*i] = Some(stripe.map(|stripe| each(writer, stripe, of_item)));
                }
            }
        }
        // Each item that could be prepared got its result from its group.
        results.into_iter().flatten().collect()
    }
}

/// Locks the stripe of several items for the first of them. One that cannot have it tries for itself.
fn lock_once<'o, 'l>(
    locked: &'l mut Option<Exclusive<'o, Mapping>>,
    writer: &Writer<'o, '_>,
    patience: &mut Patience,
) -> Result<&'l mut Exclusive<'o, Mapping>> {
    match locked {
        Some(held) => Ok(held),
        None => Ok(locked.insert(patience.lock_stripe(writer.opened, writer.stripe())?)),
    }
}

/// Items of a batch that are written under one hold of a stripe's lock.
const MOST_PER_LOCK: usize = 64;

fn delete_in(stripe: &mut Exclusive<'_, Mapping>, writer: &Writer<'_, '_>) -> bool {
    stripe.void(&writer.key);
    // What is expired or cleared is removed all the same, but was not there.
    let Some(entry) = stripe.find(&writer.key) else {
        stripe.note_deletion(&writer.key);
        return false;
    };
    let was_there = writer.would_read(stripe, Some(&entry));
    stripe.remove(&entry);
    was_there
}

/// A key on its way into a file.
pub(super) struct Writer<'f, 'k> {
    pub opened: &'f Arc<Opened>,
    pub key: Key<'k>,
    pub namespace: u16,
    pub defaults: Defaults,
    lock_wait: Duration,
}

impl<'f, 'k> Writer<'f, 'k> {
    #[inline(always)]
    pub(super) fn new(opened: &'f Arc<Opened>, scope: Scope<'_>, key: &'k [u8]) -> Result<Self> {
        check_key(key)?;
        let (namespace, defaults) = scope.namespace_in(opened)?;
        Ok(Self::of(opened, scope, key, namespace, defaults))
    }

    #[inline(always)]
    fn of(opened: &'f Arc<Opened>, scope: Scope<'_>, key: &'k [u8], namespace: u16, defaults: Defaults) -> Self {
        Self { opened, key: opened.store.key(key), namespace, defaults, lock_wait: scope.cache.lock_wait }
    }

    pub(super) fn stripe(&self) -> u32 {
        self.opened.store.stripe_of(&self.key)
    }

    fn lock(&self) -> Result<Exclusive<'_, Mapping>> {
        lock_stripe_within(self.opened, self.stripe(), self.lock_wait)
    }

    /// Does something with the key's stripe locked.
    #[inline(always)]
    fn locked<R>(&self, work: impl FnOnce(&mut Exclusive<'f, Mapping>) -> R) -> Result<R> {
        let (opened, stripe) = (self.opened, self.stripe());
        let (joined, lock) = lock_region(opened, stripe, self.lock_wait)?;
        opened.within(joined, stripe, lock, work)
    }

    /// Whether a read would return what the key has: where reads check checksums, only what passes its own.
    fn would_read(&self, stripe: &Exclusive<'_, Mapping>, entry: Option<&Entry>) -> bool {
        let verify = self.opened.settings.verify_reads;
        entry.is_some_and(|entry| {
            stripe.is_current(entry) && (!verify || matches!(stripe.copied(&self.key, entry, true, false), Ok(Some(_))))
        })
    }

    /// What lies beside a record, for the value that takes its place. One of a namespace that the caller did not name is
    /// as old for that namespace as it was.
    fn beside_of(&self, copied: &Copied, namespace_epoch: u64) -> Beside {
        let beside = copied.extension.beside();
        if beside.namespace == self.namespace { Beside { namespace_epoch, ..beside } } else { beside }
    }

    /// The item to be written, whose size is not checked yet.
    #[inline(always)]
    fn draft<'v>(&self, value: &'v [u8], how: &SetOptions) -> Draft<'v>
    where
        'k: 'v,
    {
        // The closure borrows the clock alone: of a writer that nobody borrows, what is not needed is not made.
        let time = &self.opened.settings.time;
        let now_ms = || time.now_ms();
        let (expires_ms, beside) = how.times(self.defaults, now_ms);
        let beside = Beside { namespace: self.namespace, ..beside }.if_any();
        let beside = beside.map(|beside| Beside { created_ms: now_ms(), ..beside });
        Draft::new(self.key, value, expires_ms, beside, 0)
    }

    /// Gives it the epochs of this moment: the stripe is locked, and the old value was not looked at yet.
    #[inline(always)]
    fn date(&self, draft: &mut Draft<'_>, stripe: &Exclusive<'_, Mapping>) {
        draft.epoch = stripe.epoch();
        if let Some(beside) = &mut draft.beside {
            beside.namespace_epoch = self.opened.store.namespace_epochs(self.namespace).current();
        }
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY { Err(Error::KeyTooLong { size: key.len(), limit: MAX_KEY }) } else { Ok(()) }
}

/// Whether a record fits into the rings of a file.
#[inline]
pub(super) fn check_size(opened: &Opened, draft: &Draft<'_>) -> Result<()> {
    let (size, limit) = (draft.units() * 8, opened.geometry().largest_record());
    if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
}

/// Raises the epochs of a namespace, or of the cache: namespace 0. Where that cannot be, `remove` does it stripe by stripe.
pub(super) fn invalidate(
    opened: &Opened,
    namespace: u16,
    how: Invalidation,
    remove: impl Fn(&mut Exclusive<'_, Mapping>),
) -> Result<()> {
    opened.member()?;
    let mark_dirty = || opened.store.mark_dirty().map_err(Error::io("mark as written", &opened.real));
    mark_dirty()?;
    if opened.store.raise_epoch(namespace, how) {
        // A whole flush may have passed in between, and knows nothing of the new epoch.
        return mark_dirty();
    }
    // The epochs are used up, or a crash lies behind and the epochs of records cannot be trusted.
    for stripe in 0..opened.geometry().shape.stripes {
        remove(&mut lock_stripe(opened, stripe)?);
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
