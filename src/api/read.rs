//! The read path: hash the key, look it up, copy, validate. The fast path takes no lock and makes no system call.
//! [`reader`](super::reader) has the steps that follow if it does not suffice.

use super::cache::Cache;
use super::item::{Changed, Item, ItemId, Known};
use super::namespace::{Namespace, SHORT_KEY};
use super::reader::Reader;
use super::values::Values;
#[cfg(feature = "typed")]
use super::wants::Flagged;
use super::wants::{
    Append, AppendItem, If, IfChanged, In, Into, ItemIn, ItemInto, Nothing, TooSmall, TryValue, TryWhole, Unchanged,
    Value, Want, WholeItem,
};
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::shm::Memory;
use crate::store::read::{BucketView, Extract, Look, RecordRef};
use crate::store::record::MAX_KEY;

/// How many keys of a batch have their cache lines prefetched together.
const BATCH: usize = 16;

impl Cache {
    /// The value of a key; `None` is a miss.
    ///
    /// A returned value was set for exactly this key, is complete, and was not replaced, deleted, cleared or expired
    /// when the call began. Any `get` may miss.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.read(key.as_ref(), &mut Value)
    }

    /// The value of a key with the caller's flags.
    #[cfg(feature = "typed")]
    pub(super) fn get_flagged(&self, key: impl AsRef<[u8]>) -> Option<(u32, Vec<u8>)> {
        self.read(key.as_ref(), &mut Flagged)
    }

    /// The value of a key with its flags, stamp and expiry.
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.read(key.as_ref(), &mut WholeItem(&self.file.time))
    }

    /// Like [`get_item`](Self::get_item), but returns an error if there is no memory for the value, instead of ending
    /// the process.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory).
    pub fn try_get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let known = self.read(key.as_ref(), &mut TryWhole::<false>(&self.file.time)).transpose()?;
        Ok(known.map(|known| known.item))
    }

    /// The value of a key, unless it is still the one that the caller holds; `None` is a miss. The answer is as current
    /// as that of a [`get`](Self::get), and if the value is unchanged, it takes equally long for values of all sizes.
    /// So a caller can keep what it computed from a value, and check before each use whether the value is still
    /// current.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::Changed;
    /// cache.set("rates", "1.08 0.92")?;
    /// let item = cache.get_item("rates").expect("it was just stored");
    /// let same = cache.get_if_changed("rates", item.id())?;
    /// assert_eq!(same, Some(Changed::Same { is_stale: false }));
    /// // Every write counts as a change, even one of the same bytes.
    /// cache.set("rates", "1.08 0.92")?;
    /// assert!(matches!(cache.get_if_changed("rates", item.id())?, Some(Changed::New(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Where reads verify checksums, and after a crash of the operating system, the answer for a key with a value is
    /// always [`New`](Changed::New).
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory), if there is no memory for a new value.
    pub fn get_if_changed(&self, key: impl AsRef<[u8]>, known: ItemId) -> Result<Option<Changed>> {
        match self.unchanged(key.as_ref(), known) {
            Some(is_stale) => Ok(Some(Changed::Same { is_stale })),
            None => self
                .read_otherwise(key.as_ref(), &mut IfChanged(Unchanged { known, time: &self.file.time }))
                .transpose(),
        }
    }

    /// One look on the fast path. If the key still has the value that the caller holds, returns whether that value is
    /// stale, and counts a hit. Otherwise returns `None` and counts nothing.
    #[inline(always)]
    fn unchanged(&self, key: &[u8], known: ItemId) -> Option<bool> {
        if self.has_namespace != 0 {
            return None;
        }
        let file = self.file.in_own_use()?;
        let reader = Reader::straight(&file)?;
        let key = reader.opened.store.key(key);
        let want = Unchanged { known, time: &self.file.time };
        reader.glance_at(&key, reader.opened.store.bucket_view(&key), None, want)
    }

    /// Whether the key still has the value that the caller holds, and the value is not stale. If so, this counts as a
    /// hit. Otherwise it counts as nothing, because the caller goes on to [`get_or_create`](Self::get_or_create), which
    /// counts its own read.
    #[must_use]
    pub fn is_fresh(&self, key: impl AsRef<[u8]>, known: ItemId) -> bool {
        self.with_stored_key(key.as_ref(), |key| {
            let want = &mut IfChanged(Unchanged { known, time: &self.file.time });
            let counted = |reader: Reader<'_>, found: Option<Result<Changed>>| {
                let found = found.filter(|found| matches!(found, Ok(Changed::Same { is_stale: false })));
                found.inspect(|_| {
                    reader.count_read(self.in_namespace(), true);
                    reader.sample(|| reader.opened.store.key(key).hash);
                })
            };
            if let Some(file) = self.file.in_own_use()
                && let Some(reader) = Reader::fast(&file)
            {
                let key = reader.opened.store.key(key);
                return counted(reader, reader.go_on(reader.lookup(&key, want), key, want)).is_some();
            }
            self.read_slow_with(key, want, counted).is_some()
        })
    }

    /// The entry of a stored key, which may be a remembered absence. The look is not counted, because a caller that
    /// looks more than once counts one hit or miss. A look that may not wait finds nothing while a writer changes the
    /// bucket, and where reads take a lock.
    pub(super) fn known(&self, key: &[u8], may_wait: bool) -> Result<Option<Known>> {
        let want = &mut TryWhole::<true>(&self.file.time);
        if let Some(file) = self.file.in_own_use()
            && let Some(reader) = Reader::fast(&file)
        {
            let key = reader.opened.store.key(key);
            return match reader.lookup(&key, want) {
                Look::Changing if !may_wait => Ok(None),
                looked => reader.go_on(looked, key, want).transpose(),
            };
        }
        if may_wait { self.read_slow_with(key, want, |_, read| read).transpose() } else { Ok(None) }
    }

    /// One look at a stored key on the fast path. If the caller `accepts` the record, the look extracts `want` from it
    /// and counts a hit. Otherwise it counts nothing, because the caller goes on with a full read.
    #[inline]
    pub(super) fn glance<T: Extract>(
        &self,
        key: &[u8],
        want: T,
        accepts: impl Fn(&AttachedFile, &Key<'_>, &RecordRef<'_>) -> bool,
    ) -> Option<T::Out> {
        let file = self.file.in_own_use()?;
        let reader = Reader::fast(&file)?;
        let key = reader.opened.store.key(key);
        reader.sample(|| key.hash);
        let want = If { want, accepts: |found: &RecordRef<'_>| accepts(reader.opened, &key, found) };
        reader.glance_at(&key, reader.opened.store.bucket_view(&key), self.in_namespace(), want)
    }

    /// [`glance`](Self::glance) at many stored keys.
    pub(super) fn glance_multi<K: AsRef<[u8]>, T: Extract>(
        &self,
        keys: &[K],
        want: impl Fn() -> T,
        accepts: impl Fn(&AttachedFile, &Key<'_>, &RecordRef<'_>) -> bool,
        mut each: impl FnMut(Option<T::Out>),
    ) {
        self.in_batches(
            keys,
            &mut each,
            |each, reader, key, view| {
                let accepts = |found: &RecordRef<'_>| accepts(reader.opened, key, found);
                each(reader.glance_at(key, view, self.in_namespace(), If { want: want(), accepts }));
            },
            |each, _| each(None),
        );
    }

    /// Copies the value of a key to the start of `buf` and returns its length; `None` is a miss.
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall), which contains the value's length in bytes; then nothing is copied.
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        let mut want = Into(buf);
        match self.read(key.as_ref(), &mut want) {
            None => Ok(None),
            Some(needed) if needed <= want.0.len() => Ok(Some(needed)),
            Some(needed) => Err(Error::BufferTooSmall { needed, given: want.0.len() }),
        }
    }

    /// The value of a key, in memory that `room` allocates when it is given the value's length in bytes; `None` is a
    /// miss. This saves a copy for callers that need their values in a special kind of memory. If the value changes
    /// meanwhile, `room` is called again. It runs under no lock, and may use the cache.
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
    /// [`BufferTooSmall`](Error::BufferTooSmall) if `room` returns fewer bytes than the value has; then nothing is
    /// copied.
    pub fn get_with<B: AsMut<[u8]>>(&self, key: impl AsRef<[u8]>, room: impl FnMut(usize) -> B) -> Result<Option<B>> {
        match self.read(key.as_ref(), &mut In(room)) {
            None => Ok(None),
            Some(Ok(made)) => Ok(Some(made)),
            Some(Err(TooSmall { needed, given })) => Err(Error::BufferTooSmall { needed, given }),
        }
    }

    /// The item of a key, whose value is copied to the start of `buf`. In place of the value, the item holds its length
    /// in bytes. `None` is a miss.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// # use kennel::SetOptions;
    /// cache.set_with("greeting", "hello", &SetOptions::new().flags(7))?;
    /// let mut buf = [0; 64];
    /// let item = cache.get_item_into("greeting", &mut buf)?.expect("it was just set");
    /// assert_eq!((&buf[..item.value], item.flags), (&b"hello"[..], 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall), which contains the value's length in bytes; then nothing is copied.
    pub fn get_item_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<Item<usize>>> {
        let given = buf.len();
        match self.read(key.as_ref(), &mut ItemInto { buf, time: &self.file.time }) {
            Some(item) if item.value > given => Err(Error::BufferTooSmall { needed: item.value, given }),
            item => Ok(item),
        }
    }

    /// The item of a key, with its value in memory that `room` allocates, as in [`get_with`](Self::get_with). `None` is
    /// a miss.
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall) if `room` returns fewer bytes than the value has; then nothing is
    /// copied.
    pub fn get_item_with<B: AsMut<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        room: impl FnMut(usize) -> B,
    ) -> Result<Option<Item<B>>> {
        match self.read(key.as_ref(), &mut ItemIn { room, time: &self.file.time }) {
            None => Ok(None),
            Some(Ok(item)) => Ok(Some(item)),
            Some(Err(TooSmall { needed, given })) => Err(Error::BufferTooSmall { needed, given }),
        }
    }

    /// Whether a `get` of this key would hit. Like a `get`, this counts as a read and as a use of the item.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.read(key.as_ref(), &mut Nothing).is_some()
    }

    /// The values of many keys, in the order of the keys. They are not a snapshot. This is faster than single `get`s,
    /// because the memory of the next keys is fetched while one value is copied.
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        self.read_multi(keys, &mut Value, |_, value| values.push(value));
        values
    }

    /// The items of many keys, in the order of the keys: see [`get_multi`](Self::get_multi).
    #[must_use]
    pub fn get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        self.read_multi(keys, &mut WholeItem(&self.file.time), |_, item| items.push(item));
        items
    }

    /// Like [`get_multi`](Self::get_multi), but returns an error if there is no memory for the values, instead of
    /// ending the process.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory).
    pub fn try_get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Ok(Vec::with_capacity(keys.len()));
        self.read_multi(keys, &mut TryValue, |_, value| push(&mut values, value));
        values
    }

    /// Like [`get_items`](Self::get_items), but returns an error if there is no memory for the values, instead of
    /// ending the process.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory).
    pub fn try_get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Item>>> {
        let mut items = Ok(Vec::with_capacity(keys.len()));
        let want = &mut TryWhole::<false>(&self.file.time);
        self.read_multi(keys, want, |_, known| push(&mut items, known.map(|known| known.map(|known| known.item))));
        items
    }

    /// Like [`get_multi`](Self::get_multi), but stores all values in one buffer, so that no memory is allocated for a
    /// single value. The next call can use the buffer again.
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

    /// Like [`get_multi_into`](Self::get_multi_into), and also returns the item of each key, with the length of its
    /// value in bytes in place of the value. Returns an error if there is no memory for the values, instead of ending
    /// the process.
    ///
    /// # Errors
    /// [`NoMemory`](Error::NoMemory).
    pub fn try_get_items_into<K>(&self, keys: &[K], values: &mut Values) -> Result<Vec<Option<Item<usize>>>>
    where
        K: AsRef<[u8]>,
    {
        values.clear();
        let mut items = Ok(Vec::with_capacity(keys.len()));
        self.read_multi(keys, &mut AppendItem { values, time: &self.file.time }, |append, found| {
            append.values.push(matches!(found, Some(Ok(_))));
            push(&mut items, found);
        });
        items
    }

    /// Extracts what is wanted from the record of a key. All of it comes from the same version of the bucket.
    #[inline(always)]
    fn read<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        if self.has_namespace == 0
            && let Some(file) = self.file.in_own_use()
            && let Some(reader) = Reader::straight(&file)
        {
            let key = reader.opened.store.key(key);
            return reader.read_at(&key, reader.opened.store.bucket_view(&key), None, want);
        }
        self.read_otherwise(key, want)
    }

    /// A [`read`](Self::read) that does not take the shortest path: through a namespace, while reads are sampled, or of
    /// a file that is not ready for the fast path.
    #[cold]
    #[inline(never)]
    fn read_otherwise<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        let mut room = [0; SHORT_KEY];
        if let Some(namespace) = self.in_namespace()
            && let Some(key) = namespace.short_key(key, &mut room)
            && let Some(file) = self.file.in_own_use()
            && let Some(reader) = Reader::straight(&file)
        {
            let key = reader.opened.store.key(key);
            return reader.read_at(&key, reader.opened.store.bucket_view(&key), Some(namespace), want);
        }
        self.with_stored_key(key, |key| self.read_stored_otherwise(key, want))
    }

    /// [`read_stored`](Self::read_stored) as a separate function, so that the shortest path through a namespace keeps
    /// fewer values in memory.
    #[inline(never)]
    fn read_stored_otherwise<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        self.read_stored(key, want)
    }

    /// Reads a stored key.
    #[inline(always)]
    fn read_stored<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        if let Some(file) = self.file.in_own_use()
            && let Some(reader) = Reader::fast(&file)
        {
            let key = reader.opened.store.key(key);
            reader.sample(|| key.hash);
            return reader.read_at(&key, reader.opened.store.bucket_view(&key), self.in_namespace(), want);
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
            None => self.read_stored_multi(None, keys, want, each),
            Some(namespace) => self.read_stored_multi(Some(namespace), &namespace.stored_keys(keys), want, each),
        }
    }

    /// Reads many stored keys.
    #[inline(always)]
    fn read_stored_multi<K, T>(
        &self,
        namespace: Option<&Namespace>,
        keys: &[K],
        want: &mut T,
        each: impl FnMut(&mut T, Option<T::Out>),
    ) where
        K: AsRef<[u8]>,
        T: Want,
    {
        self.in_batches(
            keys,
            &mut (want, each),
            |(want, each), reader, key, view| {
                let read = reader.read_at(key, view, namespace, *want);
                each(want, read);
            },
            |(want, each), key| {
                let read = self.read_slow(key, *want);
                each(want, read);
            },
        );
    }

    /// Calls `fast` for each stored key with a view of the key's bucket. First it prefetches the buckets of a batch,
    /// then their records. If the file is not ready for the fast path, it calls `slow` instead. `fast` and `slow` are
    /// two functions so that each is called in one place only, where the compiler inlines it.
    #[inline(always)]
    fn in_batches<K: AsRef<[u8]>, S>(
        &self,
        keys: &[K],
        state: &mut S,
        fast: impl Fn(&mut S, Reader<'_>, &Key<'_>, BucketView<'_>),
        slow: impl Fn(&mut S, &[u8]),
    ) {
        for batch in keys.chunks(BATCH) {
            let file = self.file.in_own_use();
            let Some(reader) = file.as_ref().and_then(|file| Reader::fast(file)) else {
                drop(file);
                batch.iter().for_each(|key| slow(state, key.as_ref()));
                continue;
            };
            let store = &reader.opened.store;
            let mut hashed = [const { None }; BATCH];
            for (key, hashed) in batch.iter().zip(&mut hashed) {
                store.mem.prefetch(store.bucket_of(hashed.insert(store.key(key.as_ref()))));
            }
            if store.sample_mask() != 0 {
                hashed.iter().flatten().for_each(|key| reader.sample(|| key.hash));
            }
            let mut views = [const { None }; BATCH];
            for (key, view) in hashed.iter().flatten().zip(&mut views) {
                store.prefetch_record(view.insert(store.bucket_view(key)));
            }
            for (key, view) in hashed.iter().flatten().zip(views.iter().flatten()) {
                fast(state, reader, key, *view);
            }
        }
    }

    /// Reads a stored key when the file is not ready for the fast path: the file was replaced, this thread is not
    /// listed yet, this process is a forked child, the handle is read-only, reads take a lock or verify checksums, or
    /// the system has crashed.
    #[cold]
    #[inline(never)]
    fn read_slow<T: Want>(&self, key: &[u8], want: &mut T) -> Option<T::Out> {
        self.read_slow_with(key, want, |reader, read| {
            reader.sample(|| reader.opened.store.key(key).hash);
            reader.counted(self.in_namespace(), read)
        })
    }

    /// A [`read_slow`](Self::read_slow), for which `counted` decides whether the read counts as a hit or a miss.
    fn read_slow_with<T: Want>(
        &self,
        key: &[u8],
        want: &mut T,
        counted: impl FnOnce(Reader<'_>, Option<T::Out>) -> Option<T::Out>,
    ) -> Option<T::Out> {
        if key.len() > MAX_KEY {
            return None;
        }
        let file = self.readable()?;
        let opened = &**file;
        let key = opened.store.key(key);
        let reader = Reader::of(opened);
        counted(reader, reader.verified(key, want))
    }
}

/// Adds the result of one read of a batch. After the first error nothing more is added.
fn push<T>(list: &mut Result<Vec<Option<T>>>, found: Option<Result<T>>) {
    match (&mut *list, found.transpose()) {
        (Ok(values), Ok(value)) => values.push(value),
        (Ok(_), Err(error)) => *list = Err(error),
        (Err(_), _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use std::time::Duration;

    fn is_ready(cache: &Cache) -> bool {
        cache.file.in_own_use().is_some_and(|file| Reader::fast(&file).is_some())
    }

    /// If this failed, every read through the handle would take the slow path.
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
