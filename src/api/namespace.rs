//! Namespaces: named parts of a cache with keys, defaults and invalidations of their own.

use super::cache::Cache;
use super::claim::{KeyLock, LockOptions, Wait, unless_taken};
use super::create::{CreateError, CreateOptions, Created, Lookup};
use super::item::{Item, Stamp};
use super::stripe_lock::lock_stripe;
use super::write::{Scope, SetOptions, Swap, invalidate};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::shm::layout::NAMESPACE_NAME;
use crate::store::Invalidation;
use crate::store::namespace::Defaults;
use crate::upkeep::Opened;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Makes the key under which a namespace's key is stored.
type Mangler = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// Mangled keys up to this length need no memory of their own.
const SHORT_KEY: usize = 256;
/// Between a namespace's name and a key.
const SEPARATOR: u8 = 0;

/// What holds for a namespace's items unless it is said otherwise for one of them.
///
/// The file keeps the times of the first handle that names the namespace. A later handle without times goes by those. A later
/// handle with times of its own goes by its own, for what it stores itself, and does not change those in the file: so two
/// programs that disagree each store with their own times.
#[derive(Clone, Default)]
pub struct NamespaceOptions {
    ttl: Option<Duration>,
    soft_ttl: Option<Duration>,
    absence_ttl: Option<Duration>,
    mangler: Option<Mangler>,
}

impl NamespaceOptions {
    /// Whatever the file says of the namespace, and keys that begin with its name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// After so long an item expires, to the millisecond.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// After so long an item is stale: see [`SetOptions::soft_expiry`].
    #[must_use]
    pub fn soft_ttl(mut self, ttl: Duration) -> Self {
        self.soft_ttl = Some(ttl);
        self
    }

    /// For so long it is remembered that a key has no value: see [`CreateOptions::absence_expiry`].
    #[must_use]
    pub fn absence_ttl(mut self, ttl: Duration) -> Self {
        self.absence_ttl = Some(ttl);
        self
    }

    /// Makes the key under which an item is stored, from the namespace's name and the caller's key. All who use the namespace
    /// must make the same. By default it is the name, a zero byte and the key, so that namespaces have no key in common.
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
            .finish_non_exhaustive()
    }
}

/// A namespace by its name, wherever it lies.
pub(super) struct Named {
    name: String,
    options: NamespaceOptions,
    /// Where it was found last: its number, and the lower 48 bits of the address of the opened file. That file lives as
    /// long as the handle does.
    found: AtomicU64,
}

impl Named {
    /// The namespace's number in a file, and its defaults; one that is not there is added.
    pub(super) fn in_file(&self, opened: &Arc<Opened>) -> Result<(u16, Defaults)> {
        let file = opened.number & ((1 << 48) - 1);
        let found = self.found.load(Ordering::Relaxed);
        let namespace = if found != 0 && found & ((1 << 48) - 1) == file {
            (found >> 48) as u16
        } else {
            let namespace = self.find(opened)?;
            self.found.store(u64::from(namespace) << 48 | file, Ordering::Relaxed);
            namespace
        };
        Ok((namespace, self.defaults(opened.store.namespace_defaults(namespace))))
    }

    fn find(&self, opened: &Opened) -> Result<u16> {
        if let Some(namespace) = opened.store.namespace_named(&self.name) {
            return Ok(namespace);
        }
        let mut stripe = lock_stripe(opened, 0)?;
        stripe.add_namespace(&self.name, self.defaults(Defaults::default())).ok_or_else(|| Error::NamespacesFull {
            path: opened.real.clone(),
            namespaces: opened.geometry().shape.namespaces,
        })
    }

    fn defaults(&self, stored: Defaults) -> Defaults {
        let or = |given: Option<Duration>, stored: u64| match given {
            // 0 means never; what lives for no time at all expires at once, or a millisecond later.
            Some(ttl) => u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1),
            None => stored,
        };
        Defaults {
            hard_ttl_ms: or(self.options.ttl, stored.hard_ttl_ms),
            soft_ttl_ms: or(self.options.soft_ttl, stored.soft_ttl_ms),
            none_ttl_ms: or(self.options.absence_ttl, stored.none_ttl_ms),
        }
    }

    /// Does something with the key under which a namespace's key is stored.
    fn with_key<R>(&self, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
        let name = self.name.as_bytes();
        let len = name.len() + 1 + key.len();
        if self.options.mangler.is_some() || len > SHORT_KEY {
            return work(&self.mangled(key));
        }
        let mut room = [0; SHORT_KEY];
        room[..name.len()].copy_from_slice(name);
        room[name.len()] = SEPARATOR;
        room[name.len() + 1..len].copy_from_slice(key);
        work(&room[..len])
    }

    fn mangled(&self, key: &[u8]) -> Vec<u8> {
        match &self.options.mangler {
            Some(mangler) => mangler(&self.name, key),
            None => [self.name.as_bytes(), &[SEPARATOR], key].concat(),
        }
    }
}

/// A named part of a cache: a namespace with its own defaults, that can be invalidated as a whole.
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
#[derive(Clone)]
pub struct Namespace {
    cache: Cache,
    named: Arc<Named>,
}

impl Cache {
    /// A namespace of this cache, made at its first use. The file has room for 64 unless it was created with
    /// [more](crate::Options::namespaces); none is ever removed.
    ///
    /// # Errors
    /// [`BadOption`](Error::BadOption) for a name that is empty, longer than 128 bytes, or has a zero byte;
    /// [`NamespacesFull`](Error::NamespacesFull); and as [`set`](Cache::set). A read-only handle names namespaces without
    /// making them.
    pub fn namespace(&self, name: &str, options: &NamespaceOptions) -> Result<Namespace> {
        if name.is_empty() || name.len() > NAMESPACE_NAME || name.contains('\0') {
            return Err(Error::BadOption {
                option: "name of a namespace",
                given: format!("{:?} of {} bytes", name.chars().take(40).collect::<String>(), name.len()),
                expected: format!("1 to {NAMESPACE_NAME} bytes, none of them zero"),
            });
        }
        let named = Named { name: name.into(), options: options.clone(), found: AtomicU64::new(0) };
        let namespace = Namespace { cache: self.clone(), named: Arc::new(named) };
        match self.current().and_then(|opened| namespace.named.in_file(&opened)) {
            Ok(_) | Err(Error::ReadOnly(_)) => Ok(namespace),
            Err(error) => Err(error),
        }
    }

    /// The names of the file's namespaces.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.in_use().store.namespace_names()
    }
}

impl Namespace {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope { cache: &self.cache, namespace: Some(&self.named) }
    }

    #[cfg(feature = "tokio")]
    pub(super) fn parts(&self) -> (&Cache, &Arc<Named>) {
        (&self.cache, &self.named)
    }

    fn with_key<R>(&self, key: impl AsRef<[u8]>, work: impl FnOnce(&[u8]) -> R) -> R {
        self.named.with_key(key.as_ref(), work)
    }

    pub(super) fn mangled<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.named.mangled(key.as_ref())).collect()
    }

    /// The namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// The cache that it is a part of.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The same namespace for a caller who waits longer, or less: see [`Cache::with_lock_wait`].
    #[must_use]
    pub fn with_lock_wait(&self, limit: Duration) -> Self {
        Self { cache: self.cache.with_lock_wait(limit), named: self.named.clone() }
    }

    /// The key under which a key of this namespace is stored in the cache.
    #[must_use]
    pub fn stored_key(&self, key: impl AsRef<[u8]>) -> Vec<u8> {
        self.named.mangled(key.as_ref())
    }

    /// Makes all values of the namespace gone, or stale, at once and in every process. It takes the same short time
    /// however many they are.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn invalidate(&self, how: Invalidation) -> Result<()> {
        let opened = self.cache.current()?.clone();
        let (namespace, _) = self.named.in_file(&opened)?;
        invalidate(&opened, namespace, how, |stripe| stripe.remove_namespace(namespace))
    }

    /// As [`Cache::get`].
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.with_key(key, |key| self.cache.get(key))
    }

    /// As [`Cache::get_item`].
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.with_key(key, |key| self.cache.get_item(key))
    }

    /// As [`Cache::try_get_item`].
    ///
    /// # Errors
    /// As [`Cache::try_get_item`].
    pub fn try_get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        self.with_key(key, |key| self.cache.try_get_item(key))
    }

    /// As [`Cache::get_into`].
    ///
    /// # Errors
    /// As [`Cache::get_into`].
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        self.with_key(key, |key| self.cache.get_into(key, buf))
    }

    /// As [`Cache::get_with`].
    ///
    /// # Errors
    /// As [`Cache::get_with`].
    pub fn get_with<B: AsMut<[u8]>>(&self, key: impl AsRef<[u8]>, room: impl FnMut(usize) -> B) -> Result<Option<B>> {
        self.with_key(key, |key| self.cache.get_with(key, room))
    }

    /// As [`Cache::get_multi`].
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        self.cache.get_multi(&self.mangled(keys))
    }

    /// As [`Cache::try_get_multi`].
    ///
    /// # Errors
    /// As [`Cache::try_get_multi`].
    pub fn try_get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        self.cache.try_get_multi(&self.mangled(keys))
    }

    /// As [`Cache::contains`].
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.with_key(key, |key| self.cache.contains(key))
    }

    /// As [`Cache::set`], with the namespace's defaults.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.set_with(key, value, &SetOptions::new()).map(|_| ())
    }

    /// As [`Cache::set_with`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<Stamp> {
        self.with_key(key, |key| self.scope().set(key, value.as_ref(), how))
    }

    /// As [`Cache::add`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn add(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.with_key(key, |key| self.scope().add(key, value.as_ref(), how))
    }

    /// As [`Cache::replace`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        self.with_key(key, |key| self.scope().replace(key, value.as_ref(), how))
    }

    /// As [`Cache::compare_and_swap`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        stamp: Stamp,
        value: impl AsRef<[u8]>,
        how: &SetOptions,
    ) -> Result<Swap> {
        self.with_key(key, |key| self.scope().compare_and_swap(key, stamp, value.as_ref(), how))
    }

    /// As [`Cache::incr`].
    ///
    /// # Errors
    /// As [`Cache::incr`].
    pub fn incr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.with_key(key, |key| self.scope().add_to(key, delta, '+', u64::checked_add))
    }

    /// As [`Cache::decr`].
    ///
    /// # Errors
    /// As [`Cache::decr`].
    pub fn decr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        self.with_key(key, |key| self.scope().add_to(key, delta, '-', u64::checked_sub))
    }

    /// As [`Cache::touch`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        self.with_key(key, |key| self.cache.touch(key, expiry))
    }

    /// As [`Cache::delete`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.with_key(key, |key| self.cache.delete(key))
    }

    /// As [`Cache::set_multi`]; what is not said is the namespace's default.
    #[must_use = "each item is stored, or not, by itself"]
    pub fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, items: &[(K, V)], how: &SetOptions) -> Vec<Result<()>> {
        let mangle = |(key, value)| (self.named.mangled(AsRef::as_ref(key)), AsRef::as_ref(value));
        let items: Vec<(Vec<u8>, &[u8])> = items.iter().map(|(key, value): &(K, V)| mangle((key, value))).collect();
        self.scope().set_multi(&items, how)
    }

    /// As [`Cache::delete_multi`].
    #[must_use = "each item is deleted, or not, by itself"]
    pub fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        self.cache.delete_multi(&self.mangled(keys))
    }

    /// As [`Cache::lock`].
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub fn lock(&self, key: impl AsRef<[u8]>, wait: Wait) -> Result<KeyLock> {
        self.lock_with(key, &LockOptions::new().wait(wait))
    }

    /// As [`Cache::lock_with`].
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub fn lock_with(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.with_key(key, |key| self.scope().lock(key, options))
    }

    /// As [`Cache::try_lock`].
    ///
    /// # Errors
    /// As [`Cache::try_lock`].
    pub fn try_lock(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyLock>> {
        unless_taken(self.lock(key, Wait::No))
    }

    /// As [`Cache::is_claimed`].
    #[must_use]
    pub fn is_claimed(&self, key: impl AsRef<[u8]>) -> bool {
        self.with_key(key, |key| self.scope().is_claimed(key))
    }

    /// As [`Cache::claim`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::claim`].
    pub fn claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.with_key(key, |key| self.scope().claim(key, how))
    }

    /// As [`Cache::get_or_create`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub fn get_or_create<V: Into<Created>, E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<V, E>,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.with_key(key, |key| self.scope().get_or_create(key, how, create))
    }

    /// As [`Cache::get_or_create_optional`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub fn get_or_create_optional<V: Into<Created>, E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.with_key(key, |key| self.scope().get_or_create_optional(key, how, create))
    }

    /// As [`Cache::get_or_refresh`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub fn get_or_refresh<V: Into<Created>, E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<V, E> + Send + 'static,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.with_key(key, |key| self.scope().get_or_refresh(key, how, create))
    }

    /// As [`Cache::get_or_create_multi`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create_multi`].
    pub fn get_or_create_multi<K: AsRef<[u8]>, V: Into<Created>, E>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(&[&K]) -> Result<Vec<Option<V>>, E>,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>> {
        self.scope().get_or_create_multi(&self.mangled(keys), how, |missing| {
            create(&missing.iter().map(|&i| &keys[i]).collect::<Vec<_>>())
        })
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name()).field("cache", &self.cache).finish()
    }
}
