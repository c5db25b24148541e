//! The handle.

use crate::error::Result;
use crate::sync::calls::AnyCall;
use crate::upkeep::Opened;
use crate::upkeep::current::{Current, InUse};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An open cache file: cheap to clone, and to be used by any number of threads and processes at once.
///
/// Reads take no lock and never fail: what cannot be read is a miss. Writes lock one stripe and can end in
/// [`Error::Busy`](crate::Error::Busy) when a stopped process holds it. A forked child may go on using the
/// handle: it becomes a member of its own at its first use.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cache");
/// let cache = kennel::Options::new().capacity(8 << 20).create(&path)?;
/// cache.set("greeting", "hello")?;
/// assert_eq!(cache.get("greeting").as_deref(), Some(&b"hello"[..]));
/// assert!(cache.delete("greeting")?);
/// assert_eq!(cache.get("greeting"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    pub(super) file: Arc<Current>,
    /// For how long a write or a claim of a key through this handle waits for its stripe's lock.
    pub(super) lock_wait: Duration,
}

impl Cache {
    pub(super) fn new(opened: Opened) -> Self {
        Self { lock_wait: opened.settings.lock_wait, file: Arc::new(Current::new(opened)) }
    }

    /// The file in use, for the length of a call: the one that was opened, or what took its place as far as this handle
    /// knows.
    #[inline(always)]
    pub(super) fn in_use(&self) -> InUse<'_, AnyCall> {
        self.file.in_any_use()
    }

    /// The same for longer than a call. It is counted on a word that all threads share.
    pub(super) fn opened(&self) -> Arc<Opened> {
        self.file.opened()
    }

    /// The file to write to: if it was replaced, the one that took its place.
    #[inline(always)]
    pub(super) fn current(&self) -> Result<InUse<'_, AnyCall>> {
        self.file.to_write(self.lock_wait)
    }

    /// The file to read from; `None` while a replaced one's successor is not to be had.
    pub(super) fn readable(&self) -> Option<InUse<'_, AnyCall>> {
        self.file.to_read()
    }

    /// For how long a write waits for the lock of its stripe, before it ends in [`Busy`](crate::Error::Busy).
    #[must_use]
    pub fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// The same cache for a caller who waits longer, or less: what is written to keys through the handle returned, and what
    /// is claimed, waits that long at most for the lock of its stripe. With no time at all it is an attempt, after which the
    /// caller may do something else.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// cache.with_lock_wait(Duration::ZERO).set("greeting", "hello")?;
    /// assert_eq!(cache.get("greeting").as_deref(), Some(&b"hello"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_lock_wait(&self, limit: Duration) -> Self {
        Self { file: self.file.clone(), lock_wait: limit }
    }

    /// Whether this handle misses until some process opens the file for writing: it is a read-only one on a file from
    /// before a restart of the host, or on a copy. Nobody has decided yet what of such a file is still good, and a
    /// read-only handle cannot; see [`Options::open_read_only`](crate::Options::open_read_only). With [`Options::verify_reads`](crate::Options::verify_reads) it reads all the same.
    #[must_use]
    pub fn awaits_writer(&self) -> bool {
        let opened = self.in_use();
        opened.is_foreign() && !opened.settings.verify_reads
    }

    /// Looks, once a second at most, whether somebody removed the cache file without Kennel, by `rm` for example. If so,
    /// this handle and all others go over to the file at the path, which is made if this one was opened by
    /// [`open_or_create`](crate::Options::open_or_create); until there is one, the removed file serves those who have it.
    ///
    /// Looking for the right to create a value does this too. It is for those who only get and set, and costs a look at
    /// the clock; a good moment is a miss.
    pub fn notice_removal(&self) {
        self.opened().notice_removal();
    }

    /// Path of the cache file, symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.real
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("path", &self.path()).field("id", &self.in_use().id()).finish_non_exhaustive()
    }
}
