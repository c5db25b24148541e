//! The handle of an open cache file.

use super::namespace::{Namespace, NamespaceDefaults, NamespaceOptions, with_stored_key};
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::current::{Current, InUse};
use crate::shm::layout::NAMESPACE_NAME;
use crate::sync::calls::AnyCall;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A handle of an open cache file, or of one namespace in it. It is cheap to clone, and threads may share it.
///
/// Reads never fail, and by default take no lock: a value that cannot be read is a miss. A write locks one stripe, and
/// fails with [`Error::Busy`] if the lock stays held, for example by a stopped process. A forked child may continue to
/// use the handle; it becomes a separate member of the file at its first use.
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
/// [`namespace`](Cache::namespace) returns a handle of a named part of the file. A namespace has its own keys and
/// default times, and can be [invalidated](Cache::invalidate) separately. Methods that take or return keys, values or
/// items act on the handle's namespace, and so do [`clear`](Cache::clear) and [`invalidate`](Cache::invalidate). On a
/// handle without a namespace they act on stored keys, or on the whole file. Methods such as [`stats`](Cache::stats),
/// [`verify`](Cache::verify), [`flush`](Cache::flush) and [`invalidate_tags`](Cache::invalidate_tags) always act on the
/// whole file.
#[derive(Clone)]
pub struct Cache {
    pub(super) file: Arc<Current>,
    namespace: Option<Arc<Namespace>>,
    /// 1 with a namespace, else 0. A number, so that a read tests it together with the other conditions of the fast
    /// path.
    pub(super) has_namespace: u64,
    /// How long a write, or a claim of a key, waits for the lock of its stripe.
    pub(super) lock_wait: Duration,
}

impl Cache {
    pub(super) fn new(opened: AttachedFile) -> Self {
        let lock_wait = opened.settings.lock_wait;
        Self { file: Arc::new(Current::new(opened)), namespace: None, has_namespace: 0, lock_wait }
    }

    /// A handle of a namespace of this file. If the file does not have the name yet, it is added. By default a file has
    /// room for 64 names: see [`Options::namespaces`](crate::Options::namespaces).
    /// [`remove_namespace`](Self::remove_namespace) makes room. Namespaces do not nest: on a handle with a namespace,
    /// this returns another namespace of the same file.
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
    /// [`BadOption`](Error::BadOption) for a name that is empty, longer than 128 bytes, or contains a zero byte;
    /// [`NamespacesFull`](Error::NamespacesFull); and the errors of [`set`](Cache::set), except
    /// [`ReadOnly`](Error::ReadOnly): a read-only handle uses the name without adding it to the file.
    pub fn namespace(&self, name: &str, options: &NamespaceOptions) -> Result<Self> {
        let namespace = Namespace::new(name, options)?;
        let in_file = || self.current().and_then(|opened| namespace.in_file(&opened, self.lock_wait));
        match self.while_open(in_file) {
            Ok(_) | Err(Error::ReadOnly(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { namespace: Some(Arc::new(namespace)), has_namespace: 1, ..self.clone() })
    }

    /// A handle of the same file without a namespace.
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

    /// The default times that the file keeps for the namespace of this name, which the options of a handle may
    /// override; `None` if the file has no such namespace.
    #[must_use]
    pub fn namespace_defaults(&self, name: &str) -> Option<NamespaceDefaults> {
        let opened = self.in_use();
        let id = Some(name)
            .filter(|name| name.len() <= NAMESPACE_NAME)
            .and_then(|name| opened.store.namespace_named(name))?;
        Some(opened.store.namespace_defaults(id.number()).into())
    }

    /// The key under which the file stores `key`. Without a namespace it is `key` itself.
    #[must_use]
    pub fn stored_key(&self, key: impl AsRef<[u8]>) -> Vec<u8> {
        self.with_stored_key(key.as_ref(), <[u8]>::to_vec)
    }

    /// Calls `work` with the key under which the file stores `key`.
    #[inline(always)]
    pub(super) fn with_stored_key<R>(&self, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
        with_stored_key(self.namespace.as_deref(), key, work)
    }

    /// The namespace, for an object that outlives this handle.
    pub(super) fn shared_namespace(&self) -> Option<Arc<Namespace>> {
        self.namespace.clone()
    }

    #[inline(always)]
    pub(super) fn in_namespace(&self) -> Option<&Namespace> {
        self.namespace.as_deref()
    }

    /// The file in use, for the duration of a call: the opened file, or its replacement if this handle has noticed it.
    #[inline(always)]
    pub(super) fn in_use(&self) -> InUse<'_, AnyCall> {
        self.file.in_any_use()
    }

    /// The file in use, for longer than a call. This changes a reference count that all threads share.
    pub(super) fn opened(&self) -> Arc<AttachedFile> {
        self.file.opened()
    }

    /// The file to write to: the replacement, if the file was replaced.
    #[inline(always)]
    pub(super) fn current(&self) -> Result<InUse<'_, AnyCall>> {
        self.file.to_write(self.lock_wait)
    }

    /// The file to read from; `None` if it was replaced and the replacement cannot be opened yet.
    pub(super) fn readable(&self) -> Option<InUse<'_, AnyCall>> {
        self.file.to_read()
    }

    /// How long a write waits for the lock of its stripe before it fails with [`Busy`](Error::Busy).
    #[must_use]
    pub fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// A copy of this handle whose writes and claims wait up to `limit` for the lock of their stripe. With a limit of
    /// zero they try once, and fail with [`Busy`](Error::Busy) if another caller holds the lock.
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

    /// Whether all reads miss until some process opens the file for writing. They do on a read-only handle if the host
    /// was restarted since the file was used, or if the file is a copy: only a writer can decide which values are still
    /// valid. With [`Options::verify_reads`](crate::Options::verify_reads) the handle checks each value itself, and
    /// does not need a writer.
    #[must_use]
    pub fn awaits_writer(&self) -> bool {
        let opened = self.in_use();
        opened.is_foreign() && !opened.settings.verify_reads
    }

    /// Checks, at most once a second, whether something other than Kennel, such as `rm`, removed the cache file. If so,
    /// all handles of all processes switch to the file that is now at the path. If there is none, a handle of
    /// [`open_or_create`](crate::Options::open_or_create) creates it; other handles continue to use the removed file.
    ///
    /// Calls that create values do this check already. A program that only gets and sets can call it after each miss:
    /// most calls only read the clock.
    pub fn notice_removal(&self) {
        self.opened().notice_removal();
    }

    /// The path of the cache file, with symbolic links resolved.
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
