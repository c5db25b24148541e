//! Namespaces: named parts of a cache, which have their own keys and default times, and can be invalidated separately.

use super::set_options::thousandths;
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::shm::layout::NAMESPACE_NAME;
use crate::store::NamespaceId;
use crate::store::namespace::{Defaults, MOST_JITTER};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Computes the stored key from the name of a namespace and a caller's key.
type Mangler = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// Stored keys up to this length are made on the stack.
pub(super) const SHORT_KEY: usize = 256;
/// The byte between the name of the namespace and the caller's key.
const SEPARATOR: u8 = 0;

/// Options of a namespace: the default times of its items, and a key mangler.
///
/// The file keeps the times of the first handle that names the namespace. A later handle that sets no times uses those
/// of the file. A later handle that sets other times uses its own for the items that it stores, and does not change the
/// file's: two programs that disagree each store with their own times.
#[derive(Clone, Default)]
pub struct NamespaceOptions {
    ttl: Option<Duration>,
    soft_ttl: Option<Duration>,
    absence_ttl: Option<Duration>,
    idle: Option<Duration>,
    jitter: Option<u16>,
    mangler: Option<Mangler>,
}

impl NamespaceOptions {
    /// The times that the file keeps for the namespace, and the default form of stored keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an item lives, in whole milliseconds, at least one.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long an item is fresh: see [`SetOptions::soft_expiry`](crate::SetOptions::soft_expiry).
    #[must_use]
    pub fn soft_ttl(mut self, ttl: Duration) -> Self {
        self.soft_ttl = Some(ttl);
        self
    }

    /// How long the cache remembers that a key has no value: see
    /// [`CreateOptions::absence_expiry`](crate::CreateOptions::absence_expiry).
    #[must_use]
    pub fn absence_ttl(mut self, ttl: Duration) -> Self {
        self.absence_ttl = Some(ttl);
        self
    }

    /// How long an item lives if no caller uses it, in whole milliseconds. Each use lets it live for that long again,
    /// but not beyond its [`ttl`](Self::ttl), which begins when the item is stored. Every kind of read through a handle
    /// that is open for writing is a use, and so are [`incr`](crate::Cache::incr) and
    /// [`swap_value`](crate::Cache::swap_value). The idle time does not apply to an item that is stored with its own
    /// expiry, or whose expiry was changed by [`touch`](crate::Cache::touch).
    ///
    /// All readers use the times that the file keeps. Therefore, unlike the other times, the idle time of a later
    /// handle counts only if the file has none yet. If a handle sets another [`ttl`](Self::ttl) than the file's, the
    /// idle time does not apply to the items that it stores.
    ///
    /// Reads stay lock-free. A read of an item that has less than three quarters of the idle time left also extends its
    /// expiry: it tries to take the stripe's lock, and leaves the extension to the next read if the lock is held. So an
    /// item that is read all the time is written about four times in each idle time, and an item that is no longer read
    /// lives for at least three quarters of the idle time. With [`LockStrategy::None`](crate::LockStrategy::None) reads
    /// extend nothing, since another thread may be writing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::NamespaceOptions;
    /// use std::time::Duration;
    /// // A session ends after 30 minutes without a request, and after 12 hours in any case.
    /// let minute = Duration::from_secs(60);
    /// let sessions = cache.namespace("sessions", &NamespaceOptions::new().idle(30 * minute).ttl(720 * minute))?;
    /// sessions.set("4f2a", "user 7")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// The largest part, from 0 to 1 in steps of a thousandth, by which times to live are randomly shortened: see
    /// [`SetOptions::jitter`](crate::SetOptions::jitter).
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = Some(thousandths(part));
        self
    }

    /// A function that computes the stored key from the name of the namespace and the caller's key. All handles of the
    /// namespace must compute the same keys. By default a stored key consists of the name, a zero byte and the caller's
    /// key, so that no two namespaces share a key.
    #[must_use]
    pub fn key_mangler(mut self, mangler: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.mangler = Some(Arc::new(mangler));
        self
    }
}

impl fmt::Debug for NamespaceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceOptions")
            .field("ttl", &self.ttl)
            .field("soft_ttl", &self.soft_ttl)
            .field("absence_ttl", &self.absence_ttl)
            .field("idle", &self.idle)
            .field("jitter", &self.jitter.map(|part| f64::from(part) / 1000.0))
            .field("has_key_mangler", &self.mangler.is_some())
            .finish()
    }
}

/// The default times that a file keeps for a namespace: see [`Cache::namespace_defaults`](crate::Cache::namespace_defaults).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NamespaceDefaults {
    /// How long an item lives.
    pub ttl: Option<Duration>,
    /// How long an item is fresh.
    pub soft_ttl: Option<Duration>,
    /// How long the cache remembers that a key has no value.
    pub absence_ttl: Option<Duration>,
    /// How long an item lives if no caller uses it.
    pub idle: Option<Duration>,
    /// The largest part, from 0 to 1, by which times to live are randomly shortened.
    pub jitter: f64,
}

impl From<Defaults> for NamespaceDefaults {
    fn from(stored: Defaults) -> Self {
        let time = |ms: u64| (ms != 0).then(|| Duration::from_millis(ms));
        Self {
            ttl: time(stored.hard_ttl_ms),
            soft_ttl: time(stored.soft_ttl_ms),
            absence_ttl: time(stored.none_ttl_ms),
            idle: time(stored.idle_ttl_ms),
            jitter: f64::from(stored.jitter) / f64::from(MOST_JITTER),
        }
    }
}

/// The namespace of a handle. Its id may differ from file to file.
pub(super) struct Namespace {
    name: String,
    options: NamespaceOptions,
    /// The id in the file that was used last, in the lower bits, and that file's [`AttachedFile::number`] in the upper
    /// ones; 0 if no id is noted.
    found: AtomicU64,
}

impl Namespace {
    pub(super) fn new(name: &str, options: &NamespaceOptions) -> Result<Self> {
        if name.is_empty() || name.len() > NAMESPACE_NAME || name.contains('\0') {
            return Err(Error::BadOption {
                option: "name of a namespace",
                given: format!("{:?} of {} bytes", name.chars().take(40).collect::<String>(), name.len()),
                expected: format!("1 to {NAMESPACE_NAME} bytes, none of them zero"),
            });
        }
        Ok(Self { name: name.into(), options: options.clone(), found: AtomicU64::new(0) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The namespace's id and defaults in a file. If the file does not have the namespace, or no longer has it, the
    /// namespace is added under a lock, for which this waits up to `limit`.
    pub(super) fn in_file(&self, opened: &AttachedFile, limit: Duration) -> Result<(NamespaceId, Defaults)> {
        let id = match self.id_in(opened) {
            Some(id) => id,
            None => self.add_to(opened, limit)?,
        };
        let stored = opened.store.namespace_defaults(id.number());
        match self.options.idle {
            Some(idle) if stored.idle_ttl_ms == 0 => {
                Patience::of_thread(limit).lock_stripe(opened, 0)?.add_idle_time(id, milliseconds(idle));
                Ok((id, self.defaults(opened.store.namespace_defaults(id.number()))))
            }
            _ => Ok((id, self.defaults(stored))),
        }
    }

    /// The namespace's id in a file, if the file has it.
    #[inline]
    pub(super) fn id_in(&self, opened: &AttachedFile) -> Option<NamespaceId> {
        let found = self.found.load(Ordering::Relaxed);
        let id = NamespaceId::of_bits(found);
        if found >> NamespaceId::BITS == opened.number && opened.store.is_current(id) {
            return Some(id);
        }
        self.look_up(opened)
    }

    /// The id that was noted for a file. The namespace may have been removed since.
    #[inline]
    pub(super) fn noted_in(&self, opened: &AttachedFile) -> Option<NamespaceId> {
        let found = self.found.load(Ordering::Relaxed);
        if found >> NamespaceId::BITS == opened.number {
            return Some(NamespaceId::of_bits(found));
        }
        self.look_up(opened)
    }

    /// Finds the id by the name, and notes it together with the file's number. After a process has opened very many
    /// files, the numbers of later ones do not fit, and their ids are looked up each time.
    #[cold]
    #[inline(never)]
    fn look_up(&self, opened: &AttachedFile) -> Option<NamespaceId> {
        let id = opened.store.namespace_named(&self.name)?;
        if opened.number >> (u64::BITS - NamespaceId::BITS) == 0 {
            self.found.store(opened.number << NamespaceId::BITS | id.bits(), Ordering::Relaxed);
        }
        Some(id)
    }

    fn add_to(&self, opened: &AttachedFile, limit: Duration) -> Result<NamespaceId> {
        let mut guard = Patience::of_thread(limit).lock_stripe(opened, 0)?;
        let idle_ttl_ms = self.options.idle.map_or(0, milliseconds);
        let defaults = Defaults { idle_ttl_ms, ..self.defaults(Defaults::default()) };
        guard.add_namespace(&self.name, defaults).ok_or_else(|| Error::NamespacesFull {
            path: opened.real.clone(),
            namespaces: opened.geometry().shape.namespaces,
        })
    }

    fn defaults(&self, stored: Defaults) -> Defaults {
        let or = |given: Option<Duration>, stored: u64| given.map_or(stored, milliseconds);
        let hard_ttl_ms = or(self.options.ttl, stored.hard_ttl_ms);
        Defaults {
            hard_ttl_ms,
            // Readers use the file's time to live, beyond which no value lives.
            idle_ttl_ms: if hard_ttl_ms == stored.hard_ttl_ms { stored.idle_ttl_ms } else { 0 },
            soft_ttl_ms: or(self.options.soft_ttl, stored.soft_ttl_ms),
            none_ttl_ms: or(self.options.absence_ttl, stored.none_ttl_ms),
            jitter: self.options.jitter.unwrap_or(stored.jitter),
        }
    }

    /// The key under which the file stores `key`.
    pub(super) fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        match &self.options.mangler {
            Some(mangler) => mangler(&self.name, key),
            None => [self.name.as_bytes(), &[SEPARATOR], key].concat(),
        }
    }

    /// The stored key of `key`, in memory of the caller; `None` if the memory is too small, or if a mangler computes
    /// the key.
    #[inline(always)]
    pub(super) fn short_key<'r>(&self, key: &[u8], room: &'r mut [u8; SHORT_KEY]) -> Option<&'r [u8]> {
        let (name, len) = (self.name.as_bytes(), self.name.len() + 1 + key.len());
        if self.options.mangler.is_some() || len > SHORT_KEY {
            return None;
        }
        room[..name.len()].copy_from_slice(name);
        room[name.len()] = SEPARATOR;
        room[name.len() + 1..len].copy_from_slice(key);
        Some(&room[..len])
    }

    /// The stored keys of many keys.
    pub(super) fn stored_keys<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.stored_key(key.as_ref())).collect()
    }

    /// The caller's key of a stored key, or `None` if it is not a key of this namespace. With a mangler the caller's
    /// key cannot be known, and the stored key itself is returned.
    pub(super) fn callers_key(&self, mut stored: Vec<u8>) -> Option<Vec<u8>> {
        if self.options.mangler.is_none() {
            let key = stored.strip_prefix(self.name.as_bytes())?.strip_prefix(&[SEPARATOR])?;
            stored.drain(..stored.len() - key.len());
        }
        Some(stored)
    }
}

/// A time as the file keeps it, in milliseconds. In the file 0 means no time, so a time of zero becomes one
/// millisecond.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Calls `work` with the stored key of `key`. Without a namespace it is `key` itself.
#[inline(always)]
pub(super) fn with_stored_key<R>(namespace: Option<&Namespace>, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
    let Some(namespace) = namespace else { return work(key) };
    let mut room = [0; SHORT_KEY];
    let made;
    work(match namespace.short_key(key, &mut room) {
        Some(short) => short,
        None => {
            made = namespace.stored_key(key);
            &made
        }
    })
}
