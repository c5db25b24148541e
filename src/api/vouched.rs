//! Reads of values that count only if the caller accepts the words of their namespace. Words and value come from the
//! same file.

use super::cache::Cache;
use super::idle::ReadingAt;
use super::namespace::Namespace;
use super::reader::Reader;
use super::wants::{In, Into, TooSmall, Value, Want};
use crate::error::{Error, Result};
use crate::store::read::Look;
use crate::store::record::MAX_KEY;

impl Cache {
    /// The value of a key, if `vouch` accepts the first `N` words of this handle's namespace, at most four: see
    /// [`namespace_words`](Cache::namespace_words). The words are read before the value, and from the same file, even
    /// while another file takes its place. `None` is a miss: `vouch` refused, the key has no value, or the handle has
    /// no namespace. If `vouch` refused, no read is counted.
    ///
    /// To accept, `vouch` returns the present time in milliseconds since 1970; to refuse, it returns `None`. So a
    /// caller that needs the time, too, reads the clock only once. A value that has expired by that time is not
    /// returned. `vouch` runs under no lock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use std::time::{SystemTime, UNIX_EPOCH};
    /// let pages = cache.namespace("pages", &kennel::NamespaceOptions::new())?;
    /// pages.set("42", "<h1>Hello</h1>")?;
    /// pages.raise_namespace_word(0, 7)?;
    /// let now = || SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64);
    /// let of = |version| pages.get_vouched("42", |[word]| if word == version { now() } else { None });
    /// assert_eq!((of(7).is_some(), of(8)), (true, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get_vouched<const N: usize>(
        &self,
        key: impl AsRef<[u8]>,
        vouch: impl FnOnce([u64; N]) -> Option<u64>,
    ) -> Option<Vec<u8>> {
        self.read_vouched(key.as_ref(), vouch, &mut Value)
    }

    /// [`get_vouched`](Cache::get_vouched) that copies the value to the start of `buf`, like
    /// [`get_into`](Cache::get_into).
    ///
    /// # Errors
    /// Those of [`get_into`](Cache::get_into).
    #[inline]
    pub fn get_into_vouched<const N: usize>(
        &self,
        key: impl AsRef<[u8]>,
        buf: &mut [u8],
        vouch: impl FnOnce([u64; N]) -> Option<u64>,
    ) -> Result<Option<usize>> {
        let mut want = Into(buf);
        match self.read_vouched(key.as_ref(), vouch, &mut want) {
            None => Ok(None),
            Some(needed) if needed <= want.0.len() => Ok(Some(needed)),
            Some(needed) => Err(Error::BufferTooSmall { needed, given: want.0.len() }),
        }
    }

    /// [`get_vouched`](Cache::get_vouched) with the value in memory that `room` allocates, like
    /// [`get_with`](Cache::get_with).
    ///
    /// # Errors
    /// Those of [`get_with`](Cache::get_with).
    pub fn get_with_vouched<const N: usize, B: AsMut<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        room: impl FnMut(usize) -> B,
        vouch: impl FnOnce([u64; N]) -> Option<u64>,
    ) -> Result<Option<B>> {
        match self.read_vouched(key.as_ref(), vouch, &mut In(room)) {
            None => Ok(None),
            Some(Ok(made)) => Ok(Some(made)),
            Some(Err(TooSmall { needed, given })) => Err(Error::BufferTooSmall { needed, given }),
        }
    }

    #[inline(always)]
    fn read_vouched<const N: usize, T: Want>(
        &self,
        key: &[u8],
        vouch: impl FnOnce([u64; N]) -> Option<u64>,
        want: &mut T,
    ) -> Option<T::Out> {
        let namespace = self.in_namespace()?;
        if let Some(file) = self.file.in_own_use()
            && let Some(reader) = Reader::fast(&file)
        {
            let store = &reader.opened.store;
            let Some(words) = store.callers_words(namespace.noted_in(reader.opened)?) else {
                return self.read_vouched_slow(namespace, key, vouch, want);
            };
            let now_ms = vouch(words)?;
            return self.with_stored_key(key, |key| {
                let key = store.key(key);
                reader.sample(|| key.hash);
                match store.lookup_fast(&key, store.bucket_view(&key), ReadingAt(reader.opened, now_ms), want, true) {
                    Look::Hit(value) => {
                        reader.count_read(Some(namespace), true);
                        Some(value)
                    }
                    looked => reader.counted(Some(namespace), reader.go_on(looked, key, want)),
                }
            });
        }
        self.read_vouched_slow(namespace, key, vouch, want)
    }

    /// Reads when the file is not ready for the fast path, or when its entry of the namespace may belong to another one
    /// by now.
    #[cold]
    #[inline(never)]
    fn read_vouched_slow<const N: usize, T: Want>(
        &self,
        namespace: &Namespace,
        key: &[u8],
        vouch: impl FnOnce([u64; N]) -> Option<u64>,
        want: &mut T,
    ) -> Option<T::Out> {
        let file = self.readable()?;
        let opened = &**file;
        if opened.is_foreign() {
            return None;
        }
        vouch(opened.store.callers_words(namespace.id_in(opened)?)?)?;
        self.with_stored_key(key, |key| {
            if key.len() > MAX_KEY {
                return None;
            }
            let (reader, key) = (Reader::of(opened), opened.store.key(key));
            reader.sample(|| key.hash);
            reader.counted(Some(namespace), reader.verified(key, want))
        })
    }
}
