//! The read path: hash, look, copy, check. The fast path takes no lock and makes no system call; the slow ways are at the
//! end of this file.

use super::cache::Cache;
use super::count::count_on;
use super::item::{Item, Known};
use super::stripe_lock::lock_for_read;
use super::values::Values;
use super::wants::{Append, In, Into, Nothing, Sound, TooSmall, TryValue, TryWhole, Value, Want, WholeItem};
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::current::InUse;
use crate::hash::Key;
use crate::shm::Memory;
use crate::store::CrashState;
use crate::store::read::{BucketView, Extract, Look};
use crate::store::record::MAX_KEY;
use crate::store::tally::MemberCount;
use crate::sync::calls::OwnCall;
use crate::sync::locks::{LockError, RegionGuard};
use crate::sync::threads::SeatLines;
use crossbeam::utils::Backoff;

/// Looks that a read takes at a bucket that others are changing before it goes the slow way.
const LOOKS: u32 = 64;
/// The number of keys of a batch whose cache lines are fetched together.
const BATCH: usize = 16;

impl Cache {
    /// The value of a key; `None` is a miss.
    ///
    /// A value that is returned was set for this very key, in full, and was not replaced, deleted, cleared or
    /// expired when the call began. Any `get` may miss.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.read(key.as_ref(), &mut Value)
    }

    /// The value of a key with its flags, stamp and expiry.
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.read(key.as_ref(), &mut WholeItem(&self.file.time))
    }

    /// [`get_item`](Self::get_item) for a program that must continue if there is no memory for the value.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory), instead of ending the process.
    pub fn try_get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let known = self.read(key.as_ref(), &mut TryWhole::<false>(&self.file.time)).transpose()?;
        Ok(known.map(|known| known.item))
    }

    /// What is known of a stored key, a negative entry included. The look is not counted: a caller that looks more than
    /// once counts one hit or miss. A look that may not wait finds nothing while a change is under way, and where reads
    /// lock.
    pub(super) fn known(&self, key: &[u8], may_wait: bool) -> Result<Option<Known>> {
        let want = &mut TryWhole::<true>(&self.file.time);
        if let Some(file) = self.file.in_own_use()
            && let Some(ready) = Ready::of(&file, 0)
        {
            let (key, tally) = (ready.opened.store.key(key), ready.tally());
            return match tally.lookup(&key, want) {
                Look::Changing if !may_wait => Ok(None),
                looked => tally.go_on(looked, key, want).transpose(),
            };
        }
        if may_wait { self.read_slow_with(key, want, |_, read| read).transpose() } else { Ok(None) }
    }

    /// Copies the value of a key to the start of `buf` and returns its length; `None` is a miss.
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall), which names the length; nothing is copied then.
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        let mut want = Into(buf);
        match self.read(key.as_ref(), &mut want) {
            None => Ok(None),
            Some(needed) if needed <= want.0.len() => Ok(Some(needed)),
            Some(needed) => Err(Error::BufferTooSmall { needed, given: want.0.len() }),
        }
    }

    /// The value of a key in memory that `room` makes for its length; `None` is a miss. The value is copied directly into
    /// that memory, which may be of any kind. `room` is called again if the value changes meanwhile. It runs under no lock,
    /// and may use the cache.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// cache.set("greeting", "hello")?;
    /// let found = cache.get_with("greeting", |len| vec![0; len].into_boxed_slice())?;
    /// assert_eq!(found.as_deref(), Some(&b"hello"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall) if `room` makes less than it was asked for; nothing is copied then.
    pub fn get_with<B: AsMut<[u8]>>(&self, key: impl AsRef<[u8]>, room: impl FnMut(usize) -> B) -> Result<Option<B>> {
        match self.read(key.as_ref(), &mut In(room)) {
            None => Ok(None),
            Some(Ok(made)) => Ok(Some(made)),
            Some(Err(TooSmall { needed, given })) => Err(Error::BufferTooSmall { needed, given }),
        }
    }

    /// Whether a `get` of this key would hit. The key's access mark is raised as by a `get`.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.read(key.as_ref(), &mut Nothing).is_some()
    }

    /// The values of many keys, in their order. It is that many single `get`s, not a snapshot, but faster: the
    /// memory of the next keys is fetched while one is copied.
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        self.read_multi(keys, &mut Value, |_, value| values.push(value));
        values
    }

    /// The items of many keys, in their order.
    #[cfg(feature = "typed")]
    pub(super) fn get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        self.read_multi(keys, &mut WholeItem(&self.file.time), |_, item| items.push(item));
        items
    }

    /// [`get_multi`](Self::get_multi) for a program that must continue if there is no memory for the values.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory), instead of ending the process.
    pub fn try_get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Ok(Vec::with_capacity(keys.len()));
        self.read_multi(keys, &mut TryValue, |_, value| match (&mut values, value.transpose()) {
            (Ok(list), Ok(value)) => list.push(value),
            (Ok(_), Err(error)) => values = Err(error),
            (Err(_), _) => {}
        });
        values
    }

    /// [`get_multi`](Self::get_multi) with all values in one buffer, which the next call uses again: no memory is
    /// allocated for single values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// cache.set("a", "1")?;
    /// let mut values = kennel::Values::new();
    /// cache.get_multi_into(&["a", "b"], &mut values);
    /// assert_eq!(values.iter().collect::<Vec<_>>(), [Some(&b"1"[..]), None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_multi_into<K: AsRef<[u8]>>(&self, keys: &[K], values: &mut Values) {
        values.clear();
        self.read_multi(keys, &mut Append(values), |append, found| append.0.push(found.is_some()));
    }

    /// Takes what is wanted out of a key's record, all of it between two changes.
    #[inline(always)]
    fn read<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        if let Some(file) = self.file.in_own_use()
            && let Some(ready) = Ready::of(&file, self.has_namespace)
        {
            let key = ready.opened.store.key(key);
            return ready.read_at(&key, ready.opened.store.bucket_view(&key), want);
        }
        self.read_otherwise(key, want)
    }

    /// [`read`](Self::read) with a namespace, or where the file is not ready for the fast path.
    #[cold]
    #[inline(never)]
    fn read_otherwise<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        match self.in_namespace() {
            Some(_) => self.with_stored_key(key, |key| self.read_stored(key, want)),
            None => self.read_slow(key, want),
        }
    }

    /// Reads a stored key.
    #[inline(never)]
    fn read_stored<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        if let Some(file) = self.file.in_own_use()
            && let Some(ready) = Ready::of(&file, 0)
        {
            let key = ready.opened.store.key(key);
            return ready.read_at(&key, ready.opened.store.bucket_view(&key), want);
        }
        self.read_slow(key, want)
    }

    /// Reads many keys.
    #[inline(always)]
    fn read_multi<K, T>(&self, keys: &[K], want: &mut T, each: impl FnMut(&mut T, Option<T::Out>))
    where
        K: AsRef<[u8]>,
        T: Want,
    {
        match self.in_namespace() {
            None => self.read_stored_multi(keys, want, each),
            Some(namespace) => self.read_stored_multi(&namespace.stored_keys(keys), want, each),
        }
    }

    /// Reads many stored keys, in batches: first it asks for their buckets, then for the records in these, and then it reads
    /// each as a single one.
    #[inline(always)]
    fn read_stored_multi<K, T>(&self, keys: &[K], want: &mut T, mut each: impl FnMut(&mut T, Option<T::Out>))
    where
        K: AsRef<[u8]>,
        T: Want,
    {
        for batch in keys.chunks(BATCH) {
            let file = self.file.in_own_use();
            let Some(ready) = file.as_ref().and_then(|file| Ready::of(file, 0)) else {
                drop(file);
                batch.iter().for_each(|key| {
                    let read = self.read_slow(key.as_ref(), want);
                    each(want, read);
                });
                continue;
            };
            let store = &ready.opened.store;
            let mut hashed = [const { None }; BATCH];
            for (key, hashed) in batch.iter().zip(&mut hashed) {
                store.mem.prefetch(store.bucket_of(hashed.insert(store.key(key.as_ref()))));
            }
            let mut views = [const { None }; BATCH];
            for (key, view) in hashed.iter().flatten().zip(&mut views) {
                store.prefetch_record(view.insert(store.bucket_view(key)));
            }
            for (key, view) in hashed.iter().flatten().zip(views.iter().flatten()) {
                let read = ready.read_at(key, *view, want);
                each(want, read);
            }
        }
    }

    /// Reads a stored key where the file is not ready for the fast path: it was replaced, this thread is not listed yet,
    /// this process is a forked child or the handle read-only, reads take a lock or verify checksums, or the system has
    /// crashed.
    #[cold]
    #[inline(never)]
    fn read_slow<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        self.read_slow_with(key, want, |tally, read| tally.counted(read))
    }

    /// [`read_slow`](Self::read_slow); `counted` may count a hit or a miss.
    fn read_slow_with<T: Want>(
        &self,
        key: &[u8],
        want: &mut T,
        counted: impl FnOnce(Tally<'_>, Option<T::Out>) -> Option<T::Out>,
    ) -> Option<T::Out> {
        if key.len() > MAX_KEY {
            return None;
        }
        let file = self.readable()?;
        let opened = &**file;
        let key = opened.store.key(key);
        // A forked child joins at its first use. If it cannot, it reads without counting.
        let tally = Tally { opened, lines: opened.joined_for_read().map(|joined| joined.lines) };
        counted(tally, read_carefully(key, tally, want))
    }
}

/// After a change came in between: some more looks, then the stripe's lock for a short time, then a miss.
#[cold]
#[inline(never)]
fn read_retry<T: Extract>(key: Key<'_>, tally: Tally<'_>, want: &mut T) -> Option<T::Out> {
    let backoff = Backoff::new();
    for look in 1..=LOOKS {
        backoff.snooze();
        let read = match tally.lookup(&key, want) {
            Look::Hit(value) => Some(value),
            Look::Miss => None,
            Look::Changing => continue,
        };
        tally.count(MemberCount::ReadRetries, look.into());
        return read;
    }
    tally.count(MemberCount::ReadRetries, LOOKS.into());
    match read_locked(&key, tally, want) {
        Some(Look::Hit(value)) => Some(value),
        Some(Look::Miss) => None,
        Some(Look::Changing) | None => {
            tally.count(MemberCount::BoundedMisses, 1);
            None
        }
    }
}

/// Reads with the stripe's lock held, after it has completed what a dead holder left undone. A look that runs the caller's
/// code comes just after the lock's release. `None`: the lock could not be taken in time.
fn read_locked<T: Extract>(key: &Key<'_>, tally: Tally<'_>, want: &mut T) -> Option<Look<T::Out>> {
    let store = &tally.opened.store;
    let held = lock_for_read(tally.opened, store.stripe_of(key))?;
    held.settle_bucket(store.bucket_of(key));
    if runs_callers_code::<T>(tally.opened) {
        // What a dead writer left is settled all the same.
        drop(held);
    }
    Some(tally.lookup(key, want))
}

/// Whether a look runs code of the caller's. That may use the cache, and so must run under no lock.
fn runs_callers_code<T: Extract>(opened: &AttachedFile) -> bool {
    T::RUNS_CALLERS_CODE || opened.settings.time.is_callers()
}

/// Reads where more is asked for than a version: a reader's lock, or checksums.
fn read_carefully<T: Want>(key: Key<'_>, tally: Tally<'_>, want: &mut T) -> Option<T::Out> {
    let opened = tally.opened;
    let distrust = opened.store.distrust(opened.store.stripe_of(&key));
    if distrust == CrashState::Discard || (opened.is_foreign() && !opened.settings.verify_reads) {
        return None;
    }
    let Ok(shared) = lock_shared(opened) else {
        tally.count(MemberCount::BoundedMisses, 1);
        return None;
    };
    // The bucket's version alone makes a look sound.
    let shared = shared.filter(|_| !runs_callers_code::<T>(opened));
    if opened.settings.verify_reads || distrust == CrashState::Verify {
        let mut sound = Sound { key, want };
        let looked = tally.lookup(&key, &mut sound);
        drop(shared);
        return tally.go_on(looked, key, &mut sound).flatten();
    }
    let looked = tally.lookup(&key, want);
    drop(shared);
    tally.go_on(looked, key, want)
}

/// The lock of a reader, where reads take one. It is given back before the slow way, which takes the writer's.
fn lock_shared(opened: &AttachedFile) -> Result<Option<RegionGuard<'_>>, LockError> {
    match opened.joined() {
        Some(joined) => joined.member.locks.lock_shared(0, opened.settings.lock_wait),
        None => Ok(None),
    }
}

/// One thread's reads of a file, and where they are counted: nowhere without a membership.
#[derive(Clone, Copy)]
struct Tally<'a> {
    opened: &'a AttachedFile,
    lines: Option<SeatLines>,
}

impl Tally<'_> {
    /// One look.
    #[inline(always)]
    fn lookup<T: Extract>(&self, key: &Key<'_>, want: &mut T) -> Look<T::Out> {
        self.opened.store.lookup(key, || self.opened.settings.time.now_ms(), want, self.lines.is_some())
    }

    /// What a first look gave, or what further ones give.
    fn go_on<T: Extract>(self, looked: Look<T::Out>, key: Key<'_>, want: &mut T) -> Option<T::Out> {
        match looked {
            Look::Hit(value) => Some(value),
            Look::Miss => None,
            Look::Changing => read_retry(key, self, want),
        }
    }

    /// Counts a read as a hit or a miss.
    fn counted<T>(self, read: Option<T>) -> Option<T> {
        self.count(if read.is_some() { MemberCount::Hits } else { MemberCount::Misses }, 1);
        read
    }

    fn count(self, what: MemberCount, by: u64) {
        if let Some(lines) = self.lines {
            count_on(self.opened, lines, what, by);
        }
    }
}

/// A file that is ready for the fast path: this process is a member, and there is nothing else to look into.
#[derive(Clone, Copy)]
struct Ready<'a> {
    opened: &'a AttachedFile,
}

impl<'a> Ready<'a> {
    /// `besides` is not 0 if the caller has a reason of its own against the fast path.
    #[inline(always)]
    fn of(file: &'a InUse<'_, OwnCall>, besides: u64) -> Option<Self> {
        let opened = &***file;
        opened.is_plain_to_read(besides).then_some(Self { opened })
    }

    fn tally(self) -> Tally<'a> {
        Tally { opened: self.opened, lines: Some(self.opened.plain_lines()) }
    }

    /// A read whose bucket was seen just now: one look, and further ones if it must be.
    #[inline(always)]
    fn read_at<T: Extract>(self, key: &Key<'_>, view: BucketView<'_>, want: &mut T) -> Option<T::Out> {
        let Self { opened } = self;
        match opened.store.lookup_fast(key, view, || opened.settings.time.now_ms(), want, true) {
            Look::Hit(value) => {
                count_on(opened, opened.plain_lines(), MemberCount::Hits, 1);
                Some(value)
            }
            Look::Miss => {
                count_on(opened, opened.plain_lines(), MemberCount::Misses, 1);
                None
            }
            Look::Changing => self.read_retry(key.bytes, key.hash, want),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_retry<T: Extract>(self, bytes: &[u8], hash: u64, want: &mut T) -> Option<T::Out> {
        let tally = self.tally();
        tally.counted(read_retry(Key { bytes, hash }, tally, want))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use std::time::Duration;

    fn is_ready(cache: &Cache) -> bool {
        cache.file.in_own_use().is_some_and(|file| Ready::of(&file, 0).is_some())
    }

    /// Else each of its reads would go the slow way, for as long as the handle lives.
    #[test]
    fn reads_through_a_handle_that_followed_a_replaced_file_are_as_fast_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, options) = (dir.path().join("cache"), Options::new().capacity(1 << 20));
        let cache = options.create(&path).unwrap();
        let clone = cache.clone();
        cache.set("key", "value").unwrap();
        assert!(is_ready(&cache) && is_ready(&clone));
        options.destroy(&path).unwrap();
        assert!(!is_ready(&cache));
        let anew = options.create(&path).unwrap();
        cache.set("key", "new").unwrap();
        assert!(is_ready(&cache) && is_ready(&clone) && is_ready(&cache.with_lock_wait(Duration::ZERO)));
        assert_eq!(anew.get("key").as_deref(), Some(&b"new"[..]));
    }
}
