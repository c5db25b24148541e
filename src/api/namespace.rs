//! Namespaces: named parts of a cache with keys, defaults and invalidations of their own.

use super::set_options::thousandths;
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::shm::layout::NAMESPACE_NAME;
use crate::store::namespace::Defaults;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Computes the stored key from the name of a namespace and a caller's key.
type Mangler = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// Stored keys up to this length are made on the stack.
const SHORT_KEY: usize = 256;
/// The byte between the name of a namespace and a key.
const SEPARATOR: u8 = 0;

/// Options of a namespace: default times for items that are stored without times, and a key mangler.
///
/// The file keeps the times of the first handle that names the namespace. A later handle without times uses those of
/// the file. A later handle with other times uses its own for what it stores, and leaves the file's as they are: two
/// programs that disagree each store with their own times.
#[derive(Clone, Default)]
pub struct NamespaceOptions {
    ttl: Option<Duration>,
    soft_ttl: Option<Duration>,
    absence_ttl: Option<Duration>,
    jitter: Option<u16>,
    mangler: Option<Mangler>,
}

impl NamespaceOptions {
    /// The times that the file keeps for the namespace, and stored keys that begin with its name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an item lives, to the millisecond.
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

    /// The part, from 0 to 1, by which times to live are shortened at most: see
    /// [`SetOptions::jitter`](crate::SetOptions::jitter).
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = Some(thousandths(part));
        self
    }

    /// Computes stored keys from the name of the namespace and the caller's key. All handles of the namespace must
    /// compute the same keys. By default a stored key is the name, a zero byte and the key, so that no two namespaces
    /// share a key.
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
            .field("jitter", &self.jitter.map(|part| f64::from(part) / 1000.0))
            .field("has_key_mangler", &self.mangler.is_some())
            .finish()
    }
}

/// The namespace of a handle. Its number may differ from file to file.
pub(super) struct Namespace {
    name: String,
    options: NamespaceOptions,
    /// The number in the file that was used last, above the lower 48 bits of that file's [`AttachedFile::number`]; 0 for
    /// none.
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

    /// The namespace's number in a file, and its defaults. A namespace that the file does not have is added, under a
    /// lock for which this waits up to a limit.
    pub(super) fn in_file(&self, opened: &AttachedFile, limit: Duration) -> Result<(u16, Defaults)> {
        let number = match self.number_in(opened) {
            Some(number) => number,
            None => self.add_to(opened, limit)?,
        };
        Ok((number, self.defaults(opened.store.namespace_defaults(number))))
    }

    /// The namespace's number in a file that has it.
    #[inline]
    pub(super) fn number_in(&self, opened: &AttachedFile) -> Option<u16> {
        let file = opened.number & ((1 << 48) - 1);
        let found = self.found.load(Ordering::Relaxed);
        if found != 0 && found & ((1 << 48) - 1) == file {
            return Some((found >> 48) as u16);
        }
        self.look_up(opened, file)
    }

    /// Finds the number by the name, and notes it together with the file's number.
    #[cold]
    #[inline(never)]
    fn look_up(&self, opened: &AttachedFile, file: u64) -> Option<u16> {
        let number = opened.store.namespace_named(&self.name)?;
        self.found.store(u64::from(number) << 48 | file, Ordering::Relaxed);
        Some(number)
    }

    fn add_to(&self, opened: &AttachedFile, limit: Duration) -> Result<u16> {
        let mut guard = Patience::of_thread(limit).lock_stripe(opened, 0)?;
        guard.add_namespace(&self.name, self.defaults(Defaults::default())).ok_or_else(|| Error::NamespacesFull {
            path: opened.real.clone(),
            namespaces: opened.geometry().shape.namespaces,
        })
    }

    fn defaults(&self, stored: Defaults) -> Defaults {
        let or = |given: Option<Duration>, stored: u64| match given {
            // 0 means never: a time to live of zero becomes a millisecond.
            Some(ttl) => u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1),
            None => stored,
        };
        Defaults {
            hard_ttl_ms: or(self.options.ttl, stored.hard_ttl_ms),
            soft_ttl_ms: or(self.options.soft_ttl, stored.soft_ttl_ms),
            none_ttl_ms: or(self.options.absence_ttl, stored.none_ttl_ms),
            jitter: self.options.jitter.unwrap_or(stored.jitter),
        }
    }

    /// The stored key of a caller's key.
    pub(super) fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        match &self.options.mangler {
            Some(mangler) => mangler(&self.name, key),
            None => [self.name.as_bytes(), &[SEPARATOR], key].concat(),
        }
    }

    fn makes_short(&self, key: &[u8]) -> bool {
        self.options.mangler.is_none() && self.name.len() + 1 + key.len() <= SHORT_KEY
    }

    fn short_key<'r>(&self, key: &[u8], room: &'r mut [u8; SHORT_KEY]) -> &'r [u8] {
        let (name, len) = (self.name.as_bytes(), self.name.len() + 1 + key.len());
        room[..name.len()].copy_from_slice(name);
        room[name.len()] = SEPARATOR;
        room[name.len() + 1..len].copy_from_slice(key);
        &room[..len]
    }

    /// The stored keys of many keys.
    pub(super) fn stored_keys<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.stored_key(key.as_ref())).collect()
    }

    /// The caller's key of a stored key, or `None` if it is not a key of this namespace. With a mangler that cannot be
    /// known, and the stored key itself is returned.
    pub(super) fn callers_key(&self, mut stored: Vec<u8>) -> Option<Vec<u8>> {
        if self.options.mangler.is_none() {
            let key = stored.strip_prefix(self.name.as_bytes())?.strip_prefix(&[SEPARATOR])?;
            stored.drain(..stored.len() - key.len());
        }
        Some(stored)
    }
}

/// Calls `work` with the stored key of a caller's key. Without a namespace that is the key itself.
#[inline(always)]
pub(super) fn with_stored_key<R>(namespace: Option<&Namespace>, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
    let (mut short, made);
    work(match namespace {
        None => key,
        Some(namespace) if namespace.makes_short(key) => {
            short = [0; SHORT_KEY];
            namespace.short_key(key, &mut short)
        }
        Some(namespace) => {
            made = namespace.stored_key(key);
            &made
        }
    })
}
