//! The handle.

use super::namespace::{Namespace, NamespaceOptions, with_stored_key};
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::current::{Current, InUse};
use crate::sync::calls::AnyCall;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An open cache file, and the namespace that its keys lie in, if it has one. It is cheap to clone, and any number of
/// threads and processes may use it.
///
/// Reads take no lock and never fail: a value that cannot be read is a miss. Writes lock one stripe, and end in
/// [`Error::Busy`] when a stopped process holds its lock. A forked child may go on using the
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
///
/// # Namespaces
///
/// [`namespace`](Cache::namespace) gives a handle for a named part of the file: with keys of its own, default times, and
/// an [`invalidate`](Cache::invalidate) that concerns nothing else. Methods that take a key, [`keys`](Cache::keys),
/// [`clear`](Cache::clear) and [`invalidate`](Cache::invalidate) act on the handle's namespace. On a handle without one
/// they act on stored keys and on the whole file. All other methods, such as [`stats`](Cache::stats),
/// [`verify`](Cache::verify) and [`flush`](Cache::flush), concern the whole file on every handle.
#[derive(Clone)]
pub struct Cache {
    pub(super) file: Arc<Current>,
    namespace: Option<Arc<Namespace>>,
    /// 1 with a namespace, else 0: a read tests it together with what else keeps it from the fast path.
    pub(super) has_namespace: u64,
    /// How long a write, or a claim of a key, waits for its stripe's lock.
    pub(super) lock_wait: Duration,
}

impl Cache {
    pub(super) fn new(opened: AttachedFile) -> Self {
        let lock_wait = opened.settings.lock_wait;
        Self { file: Arc::new(Current::new(opened)), namespace: None, has_namespace: 0, lock_wait }
    }

    /// A handle for a namespace of this file, which is added at its first use. The file has room for 64, unless it was
    /// created with [more](crate::Options::namespaces); none is ever removed. Namespaces do not nest: on a handle with a
    /// namespace this names another one of the same file.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{Invalidation, NamespaceOptions};
    /// use std::time::Duration;
    /// let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(600)))?;
    /// pages.set("42", "<h1>Hello</h1>")?;
    /// assert!(pages.contains("42") && !cache.contains("42"));
    /// pages.invalidate(Invalidation::Hard)?;
    /// assert!(!pages.contains("42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a name that is empty, longer than 128 bytes, or has a zero byte;
    /// [`NamespacesFull`](Error::NamespacesFull); and those of [`set`](Cache::set). A read-only handle names namespaces without
    /// adding them.
    pub fn namespace(&self, name: &str, options: &NamespaceOptions) -> Result<Self> {
        let namespace = Namespace::new(name, options)?;
        match self.current().and_then(|opened| namespace.in_file(&opened, self.lock_wait)) {
            Ok(_) | Err(Error::ReadOnly(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { namespace: Some(Arc::new(namespace)), has_namespace: 1, ..self.clone() })
    }

    /// A handle for the whole file, without a namespace.
    #[must_use]
    pub fn without_namespace(&self) -> Self {
        Self { namespace: None, has_namespace: 0, ..self.clone() }
    }

    /// The name of this handle's namespace, if it has one.
    #[must_use]
    pub fn namespace_name(&self) -> Option<&str> {
        self.namespace.as_deref().map(Namespace::name)
    }

    /// The names of all namespaces of the file.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.in_use().store.namespace_names()
    }

    /// The key under which the file stores a key of this handle; without a namespace it is the key itself.
    #[must_use]
    pub fn stored_key(&self, key: impl AsRef<[u8]>) -> Vec<u8> {
        self.with_stored_key(key.as_ref(), <[u8]>::to_vec)
    }

    /// Runs `work` with the key under which the file stores a key of this handle.
    #[inline(always)]
    pub(super) fn with_stored_key<R>(&self, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
        with_stored_key(self.namespace.as_deref(), key, work)
    }

    /// The namespace, for something that outlives this handle.
    pub(super) fn shared_namespace(&self) -> Option<Arc<Namespace>> {
        self.namespace.clone()
    }

    #[inline(always)]
    pub(super) fn in_namespace(&self) -> Option<&Namespace> {
        self.namespace.as_deref()
    }

    /// The file in use, for the length of a call: the one that was opened, or the one that replaced it, as far as this
    /// handle knows.
    #[inline(always)]
    pub(super) fn in_use(&self) -> InUse<'_, AnyCall> {
        self.file.in_any_use()
    }

    /// The file in use, for longer than a call. This counts on a word that all threads share.
    pub(super) fn opened(&self) -> Arc<AttachedFile> {
        self.file.opened()
    }

    /// The file to write to: the one in use, or the one that replaced it.
    #[inline(always)]
    pub(super) fn current(&self) -> Result<InUse<'_, AnyCall>> {
        self.file.to_write(self.lock_wait)
    }

    /// The file to read from. `None`: it was replaced, and the new one cannot be opened yet.
    pub(super) fn readable(&self) -> Option<InUse<'_, AnyCall>> {
        self.file.to_read()
    }

    /// How long a write waits for the lock of its stripe, before it ends in [`Busy`](Error::Busy).
    #[must_use]
    pub fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// This handle with another limit: writes, and claims of keys, wait up to that long for the lock of their stripe.
    /// With a limit of zero they only try, and end in [`Busy`](Error::Busy) if another holds the lock.
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
        Self { lock_wait: limit, ..self.clone() }
    }

    /// Whether this handle misses until some process opens the file for writing: it is a read-only one on a file from
    /// before a restart of the host, or on a copy. Nobody has decided yet what of such a file is still good, and a
    /// read-only handle cannot; see [`Options::open_read_only`](crate::Options::open_read_only). With [`Options::verify_reads`](crate::Options::verify_reads) it reads all the same.
    #[must_use]
    pub fn awaits_writer(&self) -> bool {
        let opened = self.in_use();
        opened.is_foreign() && !opened.settings.verify_reads
    }

    /// Checks, once a second at most, whether the cache file was removed without Kennel, by `rm` for example. If so, this
    /// handle and all others switch to the file at the path, which is created if this one was opened by
    /// [`open_or_create`](crate::Options::open_or_create); until there is one, the open handles use the removed file.
    ///
    /// Every call that creates or locks a key does this, too. Programs that only get and set may call it, for example
    /// after a miss. It costs a look at the clock.
    pub fn notice_removal(&self) {
        self.opened().notice_removal();
    }

    /// The path of the cache file, symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.real
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("path", &self.path())
            .field("id", &self.in_use().id())
            .field("namespace", &self.namespace_name())
            .finish_non_exhaustive()
    }
}
