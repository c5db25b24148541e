//! `get_or_create` and its variants, for threads.

use super::batch::{Batch, in_one_order};
use super::created::Created;
use super::creation::{Claim, Lookup};
use super::options::CreateOptions;
use super::output::CreatorOutput;
use crate::api::acquire::Caller;
use crate::api::cache::Cache;
use crate::api::stripe_lock::Patience;
use crate::api::task::Task;
use crate::error::Result;

/// Creations with stored keys.
impl Cache {
    /// Looks up a key, and claims it if its value is to be created.
    pub(in crate::api) fn claim_stored(&self, key: &[u8], how: &CreateOptions, caller: &mut Caller) -> Result<Lookup> {
        self.claim_stored_for_item(key, how, caller).map(|(lookup, _)| lookup)
    }

    fn get_or_create_stored<K: AsRef<[u8]>, R: CreatorOutput<Vec<Option<Created>>>>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(&[usize]) -> R,
    ) -> Result<Vec<Option<Vec<u8>>>, R::Error> {
        let (mut batch, left) = Batch::of(self.values_at_hand(keys, how));
        if left.is_empty() {
            return Ok(batch.into_values());
        }
        let mut caller = self.caller(how);
        for places in in_one_order(keys, left) {
            let lookup = self.claim_stored(keys[places[0]].as_ref(), how, &mut caller)?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = if missing.is_empty() { Ok(Vec::new()) } else { create(&missing).into_result() };
        let created = match created {
            Ok(created) => created,
            Err(error) => return batch.into_stale_values().ok_or(error),
        };
        let mut locks = Patience::of_thread(self.lock_wait());
        for (places, claim, made) in batch.take_claims(created)? {
            // A failure to store is counted, not returned.
            let _ = claim.store_made(made.as_ref().map(Created::parts), Some(&mut locks));
            batch.give(&places, made.map(Created::into_value));
        }
        Ok(batch.into_values())
    }

    /// A call of this thread that may create values.
    pub(in crate::api) fn caller(&self, how: &CreateOptions) -> Caller {
        Caller::of_thread(self, how.task_or(Task::of_thread), how.wait)
    }
}

/// Runs a creator and stores what it made. If the creator panics, the claim is dropped. A failure to store is counted
/// and not returned, because the caller has its value.
fn created<R: CreatorOutput<Created>>(claim: Claim, create: impl FnOnce() -> R) -> Result<Vec<u8>, R::Error> {
    match create().into_result() {
        Ok(made) => {
            let _ = claim.store_with(&made);
            Ok(made.into_value())
        }
        Err(error) => claim.fail().map(|item| item.value).ok_or(error),
    }
}

impl Cache {
    /// Returns the value of a key. If the key has none, exactly one caller across all threads and processes runs
    /// `create`, and the others wait for its value.
    ///
    /// If the value is stale (see [`CreateOptions::soft_expiry`]), one caller creates it anew, and all others get the
    /// stale value immediately. If the key is written, deleted or invalidated while its value is created, the creator
    /// gets its value, but the value is not stored. If the creator dies, fails or panics, the next waiter creates the
    /// value. A creator may itself create other keys. Two creators that wait for each other's keys fail when their time
    /// for waiting is over.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::CreateOptions;
    /// let rows = cache.get_or_create("report:2026", &CreateOptions::new(), || "42 rows")?;
    /// assert_eq!(rows, b"42 rows");
    /// // A creator that can fail returns a `Result`.
    /// let read = || std::fs::read("no such file");
    /// assert!(cache.get_or_create("file", &CreateOptions::new(), read).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CreateError::Creator`](crate::CreateError::Creator) with the error of the caller's own `create`, which no
    /// other caller gets. [`CreateOptions::resilient`] says what callers can get instead of errors.
    ///
    /// [`CreateError::Cache`](crate::CreateError::Cache), or a plain [`Error`](crate::Error) if the creator cannot
    /// fail, with [`TimedOut`](crate::Error::TimedOut); [`OwnClaim`](crate::Error::OwnClaim) for a creator that asks
    /// for its own key; [`Busy`](crate::Error::Busy) if another caller holds the stripe's lock for too long;
    /// [`Resting`](crate::Error::Resting) after failures; [`FailedElsewhere`](crate::Error::FailedElsewhere) with
    /// [`CreateOptions::share_failure`]; or an error of [`set`](Cache::set). A created value that cannot be stored is
    /// returned nevertheless.
    pub fn get_or_create<R: CreatorOutput<Created>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Vec<u8>, R::Error> {
        self.with_stored_key(key.as_ref(), |key| {
            if let Some(value) = self.value_at_hand(key, how, how.background) {
                return Ok(value);
            }
            self.created_if_missing(key, how, create)
        })
    }

    #[cold]
    fn created_if_missing<R: CreatorOutput<Created>>(
        &self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Vec<u8>, R::Error> {
        match self.claim_stored(key, &how.for_value(), &mut self.caller(how))? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(claim) => created(claim, create),
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => create().into_result().map(Created::into_value),
        }
    }

    /// [`get_or_create`](Cache::get_or_create) for a key that may have no value. If `create` returns `None`, the cache
    /// remembers this for as long as [`CreateOptions::absence_expiry`] says. For calls that need a value, such as
    /// `get_or_create`, a remembered absence is a miss, and one of them creates the value.
    ///
    /// # Errors
    /// Those of [`get_or_create`](Cache::get_or_create).
    pub fn get_or_create_optional<R: CreatorOutput<Option<Created>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Option<Vec<u8>>, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.with_stored_key(key, |key| self.value_at_hand(key, how, how.background)) {
            return Ok(Some(value));
        }
        match self.claim_in_steps(key, how)? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(Some(item.value)),
            Lookup::Absent => Ok(None),
            Lookup::Create(claim) => match create().into_result() {
                Ok(made) => {
                    let _ = claim.store_made(made.as_ref().map(Created::parts), None);
                    Ok(made.map(Created::into_value))
                }
                Err(error) => claim.fail().map(|item| Some(item.value)).ok_or(error),
            },
        }
    }

    /// [`get_or_create`](Cache::get_or_create), but every caller gets a stale value immediately, while a new thread
    /// creates the next value. The errors of that creation are not reported. If it fails or stores nothing, this
    /// process begins no other creation of the key in the background for one second, and its callers get the stale
    /// value.
    ///
    /// # Errors
    /// Those of [`get_or_create`](Cache::get_or_create).
    pub fn get_or_refresh<R: CreatorOutput<Created>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Vec<u8>, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.with_stored_key(key, |key| self.value_at_hand(key, how, true)) {
            return Ok(value);
        }
        // A separate task: the caller may ask for the key again while the thread creates its value.
        let task = how.task_or(Task::unique);
        match self.claim_in_steps(key, &how.for_refresh().task(task))? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(mut claim) => {
                let Some(stale) = claim.take_stale() else { return task.run(|| created(claim, create)) };
                let work = move || task.run(|| created(claim, create).map(drop));
                // If no thread can be started, the claim is dropped, and another caller creates the value.
                let _ = std::thread::Builder::new().name("kennel-refresh".into()).spawn(move || drop(work()));
                Ok(stale)
            }
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => create().into_result().map(Created::into_value),
        }
    }

    /// Returns the values of many keys, in the order of the keys. The call claims each key that has no value, or a
    /// stale one that no caller is creating. All callers claim their keys in the same order, so that no two of them
    /// wait for each other. `create` gets all claimed keys together, and returns their values in the same order.
    ///
    /// # Errors
    /// Those of [`get_or_create`](Cache::get_or_create); [`BadOption`](crate::Error::BadOption) if `create` returns
    /// more or fewer values than it got keys. The time for waiting covers all keys together.
    pub fn get_or_create_multi<K: AsRef<[u8]>, R: CreatorOutput<Vec<Option<Created>>>>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(&[&K]) -> R,
    ) -> Result<Vec<Option<Vec<u8>>>, R::Error> {
        let create = |missing: &[usize]| create(&missing.iter().map(|&i| &keys[i]).collect::<Vec<_>>());
        match self.in_namespace() {
            None => self.get_or_create_stored(keys, how, create),
            Some(namespace) => self.get_or_create_stored(&namespace.stored_keys(keys), how, create),
        }
    }

    /// The building block of [`get_or_create`](Cache::get_or_create), for callers that cannot pass a closure, such as
    /// bindings for other languages. It looks up the key, waits while another caller creates the value, and gives one
    /// caller the right to create it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Lookup, Stored};
    /// match cache.claim("key", &CreateOptions::new())? {
    ///     Lookup::Hit(item) | Lookup::Stale(item) => println!("{} bytes", item.value.len()),
    ///     Lookup::Create(claim) => assert!(matches!(claim.store("value")?, Stored::Yes(_))),
    ///     _ => println!("known to have no value"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`get_or_create`](Cache::get_or_create), except `Creator`.
    pub fn claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        let key = key.as_ref();
        match self.with_stored_key(key, |key| self.lookup_at_hand(key, how)) {
            Some(lookup) => Ok(lookup),
            None => self.claim_in_steps(key, how),
        }
    }

    fn claim_in_steps(&self, key: &[u8], how: &CreateOptions) -> Result<Lookup> {
        self.with_stored_key(key, |key| self.claim_stored(key, how, &mut self.caller(how)))
    }
}
