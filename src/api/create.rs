//! Creating what is missing: one creates, the others wait or take the stale value.
//!
//! | the value is | who gets the claim | the others |
//! |---|---|---|
//! | fresh | nobody | return it |
//! | stale | creates it anew | return the stale one at once |
//! | absent | creates it | wait up to their limit, then read again |

use super::cache::Cache;
use super::claim::{Began, Held, Seeker, Step, Task, Wait};
use super::read::{Item, Known, count};
use super::write::{Scope, SetOptions, Stamp, Writer, after, check_size, lock_stripe};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::claim::{End, Kind};
use crate::store::exclusive::Exclusive;
use crate::store::record::{Beside, Draft};
use crate::store::region::Defaults;
use crate::store::tally::MemberCount;
use crate::upkeep::Opened;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a claim lasts when nothing is said.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// Whether a value may be cached.
type Predicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How a missing value is created, waited for and stored.
///
/// ```
/// use kennel::{CreateOptions, Expiry, Wait};
/// use std::time::Duration;
/// let how = CreateOptions::new()
///     .expiry(Expiry::After(Duration::from_secs(600)))
///     .soft_expiry(Expiry::After(Duration::from_secs(60)))
///     .wait(Wait::For(Duration::from_secs(2)));
/// # let _ = how;
/// ```
#[derive(Clone, Default)]
pub struct CreateOptions {
    set: SetOptions,
    absence: Option<Expiry>,
    wait: Wait,
    unprotected: bool,
    max_age: Option<Duration>,
    usable_for: Option<Duration>,
    fresh_for: Option<Duration>,
    early: Option<f64>,
    should_cache: Option<Predicate>,
    task: Option<Task>,
}

impl CreateOptions {
    /// No expiry but those that a region may have by default; waits 30 seconds at most for another's creation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the value expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.set = self.set.expiry(expiry);
        self
    }

    /// When the value becomes stale: from then on one caller creates it anew, and all others get the stale one at once.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.set = self.set.soft_expiry(expiry);
        self
    }

    /// The caller's flags that are stored with the value.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.set = self.set.flags(flags);
        self
    }

    /// Remembers, until then, that a creator found no value. Without it, and without a default of the region, that is
    /// not remembered.
    #[must_use]
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.absence = Some(expiry);
        self
    }

    /// How long to wait for a value that another is creating.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// When the time for waiting is over, or the stripe's lock is not to be had, creates the value all the same
    /// instead of failing. It is counted.
    #[must_use]
    pub fn unprotected(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// After so long another may create the value, too, although the first creator lives; to a tenth of a second, at
    /// most 19 days. Default five minutes.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Takes a value that was created longer ago than this as one that is not there, although it was stored for longer:
    /// an expiry of the caller who asks, beside that of the caller who stored. To a hundredth of a second. When a value
    /// was created is known of those in a region, and of those stored with flags or a soft expiry; others are taken as
    /// they are.
    #[must_use]
    pub fn usable_for(mut self, age: Duration) -> Self {
        self.usable_for = Some(age);
        self
    }

    /// Takes a value that was created longer ago than this as stale, although it was stored to be fresh for longer; else
    /// as [`usable_for`](Self::usable_for).
    #[must_use]
    pub fn fresh_for(mut self, age: Duration) -> Self {
        self.fresh_for = Some(age);
        self
    }

    /// Creates the value anew before it expires, with a probability that rises towards its soft expiry, or its expiry
    /// if it has no other, so that it hardly ever expires. A larger `beta` is earlier; 1 is a good one. What a creation
    /// takes is remembered beside the value. (Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
    /// Stampede Prevention", VLDB 2015.)
    #[must_use]
    pub fn early(mut self, beta: f64) -> Self {
        self.early = Some(beta);
        self
    }

    /// Stores only values of which this says yes; what it refuses is returned to its creator, and those who waited for
    /// it create for themselves.
    #[must_use]
    pub fn should_cache(mut self, predicate: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.should_cache = Some(Arc::new(predicate));
        self
    }

    /// In whose name the key is claimed; by default the calling thread's.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// In whose name.
    pub(super) fn task_or(&self, other: fn() -> Task) -> Task {
        self.task.unwrap_or_else(other)
    }

    #[cfg(feature = "tokio")]
    pub(super) fn wait_policy(&self) -> Wait {
        self.wait
    }

    /// When a remembered absence expires, if it is remembered at all.
    fn absence(&self, defaults: Defaults) -> Option<Expiry> {
        let default = (defaults.none_ttl_ms != 0).then(|| after(defaults.none_ttl_ms));
        self.absence.or(default)
    }
}

impl fmt::Debug for CreateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateOptions").field("set", &self.set).field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// Why there is no value after [`get_or_create`](Cache::get_or_create).
#[derive(Debug, thiserror::Error)]
pub enum CreateError<E> {
    /// The caller's own creator failed.
    #[error(transparent)]
    Creator(E),
    /// The cache did.
    #[error(transparent)]
    Cache(#[from] Error),
}

/// What [`Cache::claim`] found.
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// A value to be used.
    Hit(Item),
    /// A stale value to be used while somebody else creates a new one.
    Stale(Item),
    /// It is known that there is no value.
    Absent,
    /// The caller is the one to create the value.
    Create(Claim),
}

/// What became of a created value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Yes(Stamp),
    /// The key was written or deleted, or an invalidation came, while the value was created; nothing is stored. So it
    /// is, too, when the claim had passed its greatest age and another took over.
    Voided,
    /// It is not to be cached: the predicate of [`should_cache`](CreateOptions::should_cache) says so, or it is an
    /// absence that has no expiry.
    Refused,
}

/// The right to create the value of a key, and the duty to say what became of it. Dropped, it says that the creation
/// failed, and the next who waits tries. It may be moved to another thread.
#[must_use]
pub struct Claim(Box<Creation>);

/// A creation that has begun.
struct Creation {
    key: Vec<u8>,
    opened: Arc<Opened>,
    /// `None`: created without protection.
    held: Option<Held>,
    /// Without protection: the stamp that the key had at the start.
    seen: Option<Stamp>,
    began: Began,
    started: Instant,
    stale: Option<Item>,
    defaults: Defaults,
    how: CreateOptions,
}

impl Claim {
    /// The key as it is stored: a region's is mangled.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// The value that is to be replaced, if it is stale and not gone.
    #[must_use]
    pub fn stale(&self) -> Option<&Item> {
        self.0.stale.as_ref()
    }

    /// The same value, for a caller that does not wait for the new one.
    pub(super) fn take_stale(&mut self) -> Vec<u8> {
        self.0.stale.take().map(|item| item.value).unwrap_or_default()
    }

    /// Whether all others wait for this creation. They do not if all claims were held, or if this caller did not want
    /// to wait any longer.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.held.is_some()
    }

    /// Stores the value and lets those go on who wait for it.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge): those who wait create for themselves. [`Busy`](Error::Busy) and what else a write
    /// may meet: nothing is stored, and the next who waits tries.
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        let value = value.as_ref();
        if self.0.how.should_cache.as_ref().is_some_and(|wanted| !wanted(value)) {
            self.refuse();
            return Ok(Stored::Refused);
        }
        let (expires_ms, beside) = self.0.how.set.times(self.0.defaults, || self.0.opened.settings.time.now_ms());
        self.put(value, expires_ms, beside)
    }

    /// Stores that there is no value, if an absence has an expiry: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        let Some(expiry) = self.0.how.absence(self.0.defaults) else {
            self.refuse();
            return Ok(Stored::Refused);
        };
        let expires_ms = expiry.to_ms(|| self.0.opened.settings.time.now_ms());
        self.put(&[], expires_ms, Beside { is_absence: true, ..Beside::default() })
    }

    /// The value is not to be cached: those who wait create for themselves.
    pub fn refuse(mut self) {
        if let Some(held) = self.0.held.take() {
            held.end(End::NotStored);
        }
    }

    /// The creation failed: the next who waits tries.
    pub fn fail(self) {
        drop(self);
    }

    fn put(mut self, value: &[u8], expires_ms: u64, beside: Beside) -> Result<Stored> {
        let opened = self.0.opened.clone();
        let key = std::mem::take(&mut self.0.key);
        let beside = self.beside(beside).if_any();
        let mut draft = Draft::new(opened.store.key(&key), value, expires_ms, beside, self.0.began.epochs.current());
        if let Err(error) = check_size(&opened, &draft) {
            self.refuse();
            return Err(error);
        }
        let stored = self.put_draft(&mut draft)?;
        if stored == Stored::Voided {
            count(&opened, MemberCount::Voided);
        }
        Ok(stored)
    }

    fn beside(&self, beside: Beside) -> Beside {
        let cost = if self.0.how.early.is_some() { self.0.started.elapsed() } else { Duration::ZERO };
        Beside {
            region: self.0.began.region.region(),
            region_epoch: self.0.began.region.epochs().current(),
            created_ms: self.0.opened.settings.time.now_ms(),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            ..beside
        }
    }

    fn put_draft(&mut self, draft: &mut Draft<'_>) -> Result<Stored> {
        let opened = self.0.opened.clone();
        // In a file that another took the place of nobody would find it.
        if opened.is_replaced() {
            return Ok(Stored::Voided);
        }
        let Some(held) = self.0.held.take() else { return self.put_unprotected(&opened, draft) };
        let Some(ticket) = held.ticket() else { return Ok(Stored::Voided) };
        let mut stripe = lock_stripe(&opened, ticket.stripe)?;
        draft.epoch = stripe.epoch_for(draft.epoch);
        let entry = stripe.find(&draft.key);
        Ok(stripe
            .store_claimed(ticket, draft, entry.as_ref())
            .map_or(Stored::Voided, |stamp| Stored::Yes(Stamp(stamp))))
    }

    /// Nobody kept the others from the key: it must be as it was at the start.
    fn put_unprotected(&self, opened: &Opened, draft: &mut Draft<'_>) -> Result<Stored> {
        let mut stripe = lock_stripe(opened, opened.store.stripe_of(&draft.key))?;
        let entry = stripe.find(&draft.key);
        let known = entry.filter(|entry| stripe.is_known(entry)).map(|entry| Stamp(entry.head.stamp));
        let now = Began::now(opened, self.0.began.region.region());
        if known != self.0.seen || now.epochs != self.0.began.epochs || now.region != self.0.began.region {
            return Ok(Stored::Voided);
        }
        draft.epoch = stripe.epoch_for(draft.epoch);
        Ok(Stored::Yes(Stamp(stripe.put(draft, entry.as_ref()))))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("is_protected", &self.is_protected()).finish_non_exhaustive()
    }
}

/// What is known of a key means this to one who could create it.
enum Standing {
    Use(Lookup),
    /// It can be used if somebody else creates it anew.
    Renew(Lookup),
}

/// What a caller thinks of values that it finds.
#[derive(Clone, Copy)]
struct Demands {
    /// By how many times the cost of a creation it is early: drawn once, since it looks at the key more than once.
    early: f64,
    usable_for: Option<Duration>,
    fresh_for: Option<Duration>,
}

impl Demands {
    fn of(how: &CreateOptions) -> Self {
        Self { early: draw(how), usable_for: how.usable_for, fresh_for: how.fresh_for }
    }

    /// Whether what is known is too old for this caller to be used at all.
    fn is_too_old(&self, known: &Known, opened: &Opened) -> bool {
        self.usable_for.is_some_and(|age| is_older(known, age, opened))
    }

    /// Whether a value ends so soon that it is worth to create it anew now.
    fn is_early(&self, known: &Known, opened: &Opened) -> bool {
        let ends_ms = match known.extension.soft_expires_ms() {
            0 => known.expires_ms,
            soft_ms => soft_ms,
        };
        let ahead_ms = known.extension.cost_ms() as f64 * self.early;
        ahead_ms > 0.0 && ends_ms != 0 && opened.settings.time.now_ms() as f64 + ahead_ms >= ends_ms as f64
    }

    /// What this caller does with what is known; `None`: as if there were nothing.
    fn judge(&self, known: Known, opened: &Opened) -> Option<Standing> {
        if self.is_too_old(&known, opened) {
            return None;
        }
        if known.extension.is_absence() {
            return Some(Standing::Use(Lookup::Absent));
        }
        if known.item.is_stale || self.fresh_for.is_some_and(|age| is_older(&known, age, opened)) {
            return Some(Standing::Renew(Lookup::Stale(known.item)));
        }
        let is_early = self.is_early(&known, opened);
        let hit = Lookup::Hit(known.item);
        Some(if is_early { Standing::Renew(hit) } else { Standing::Use(hit) })
    }
}

fn draw(how: &CreateOptions) -> f64 {
    let Some(beta) = how.early else { return 0.0 };
    // Each of these states differs from all others, by the standard library's own random numbers.
    let random = (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64;
    -(1.0 - random).ln() * beta
}

/// Whether a value was created at least so long ago; `false` if that is not known.
fn is_older(known: &Known, age: Duration, opened: &Opened) -> bool {
    let created_ms = known.extension.beside().created_ms;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    created_ms != 0 && opened.settings.time.now_ms().saturating_sub(created_ms) >= age_ms
}

/// What is known of a key, the stripe's lock held.
fn known_in(opened: &Opened, stripe: &Exclusive<'_, Mapping>, key: &Key<'_>) -> Option<Known> {
    let entry = stripe.find(key).filter(|entry| stripe.is_known(entry))?;
    let value = stripe.value_of(&entry);
    if opened.settings.verify_reads && !stripe.passes(key, &value, &entry) {
        return None; // As a read with checksums would miss it.
    }
    Some(Known::of(&opened.store, entry.at, entry.head, value, &opened.settings.time))
}

impl Scope<'_> {
    /// Looks a key up, and claims it if it is to be created.
    pub(super) fn claim(self, key: &[u8], how: &CreateOptions) -> Result<Lookup> {
        self.claim_waiting(key, how, how.wait)
    }

    fn claim_waiting(self, key: &[u8], how: &CreateOptions, wait: Wait) -> Result<Lookup> {
        let mut finding = Finding::new(how.task_or(Task::of_thread), how, wait);
        loop {
            match finding.step(self, key, how)? {
                Next::Done(lookup) => return Ok(lookup),
                Next::Wait(pause) => pause.sleep(),
            }
        }
    }

    /// The right to create a key that nobody waits for.
    fn unprotected(self, key: &[u8], how: &CreateOptions) -> Result<Claim> {
        let writer = Writer::new(self, key)?;
        let opened = writer.opened;
        count(opened, MemberCount::Unprotected);
        let began = Began::now(opened, writer.region);
        let known = self.cache.known(key);
        let demands = Demands::of(how);
        let is_usable = |known: &Known| !known.extension.is_absence() && !demands.is_too_old(known, opened);
        Ok(Claim(Box::new(Creation {
            key: key.to_vec(),
            opened: opened.clone(),
            held: None,
            seen: known.as_ref().map(|known| known.item.stamp),
            began,
            started: Instant::now(),
            stale: known.filter(is_usable).map(|known| known.item),
            defaults: writer.defaults,
            how: how.clone(),
        })))
    }

    pub(super) fn get_or_create<E>(
        self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        match self.claim(key, how)? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(Some(item.value)),
            Lookup::Absent => Ok(None),
            Lookup::Create(claim) => created(claim, create).map_err(CreateError::Creator),
        }
    }

    pub(super) fn get_or_refresh<E>(
        self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<Vec<u8>, CreateError<E>> {
        // Not the caller's: it may ask for the key again while the thread creates.
        let task = how.task_or(Task::unique);
        match self.claim(key, &how.clone().task(task))? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(mut claim) if claim.stale().is_some() => {
                let stale = claim.take_stale();
                let work = move || task.run(|| created(claim, || create().map(Some)).map(|_| ()));
                // Without a thread the claim is dropped, and the next caller tries.
                let _ = std::thread::Builder::new().name("kennel-refresh".into()).spawn(move || drop(work()));
                Ok(stale)
            }
            Lookup::Create(claim) => {
                let value = task.run(|| created(claim, || create().map(Some))).map_err(CreateError::Creator)?;
                Ok(value.unwrap_or_default())
            }
            Lookup::Absent => {
                let value = create().map_err(CreateError::Creator)?;
                Ok(value)
            }
        }
    }

    pub(super) fn get_or_create_multi<K: AsRef<[u8]>, E>(
        self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(&[usize]) -> Result<Vec<Option<Vec<u8>>>, E>,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>> {
        let mut batch = Batch::of(keys.len());
        let left = Remaining::of(how.wait);
        for places in in_one_order(keys) {
            let lookup = self.claim_waiting(keys[places[0]].as_ref(), how, left.now())?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = if missing.is_empty() { Vec::new() } else { create(&missing).map_err(CreateError::Creator)? };
        Ok(batch.finish(created)?)
    }
}

/// The places of each key in a list. The keys come in one order, the same for all who claim several, whatever order they
/// name them in: no two wait in a circle.
pub(super) fn in_one_order<K: AsRef<[u8]>>(keys: &[K]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].as_ref().cmp(keys[b].as_ref()));
    let same = |a: &usize, b: &usize| keys[*a].as_ref() == keys[*b].as_ref();
    order.chunk_by(same).map(<[usize]>::to_vec).collect()
}

/// What became of the keys of a list.
pub(super) struct Batch {
    values: Vec<Option<Vec<u8>>>,
    /// Those to be created, with their places.
    claims: Vec<(Vec<usize>, Claim)>,
}

impl Batch {
    pub(super) fn of(keys: usize) -> Self {
        Self { values: vec![None; keys], claims: Vec::new() }
    }

    /// Notes what was found of the key at these places.
    pub(super) fn found(&mut self, places: Vec<usize>, lookup: Lookup) {
        match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => self.give(&places, Some(item.value)),
            Lookup::Absent => {}
            Lookup::Create(claim) => self.claims.push((places, claim)),
        }
    }

    /// Where the keys stand that are to be created, in the order in which the caller named them.
    pub(super) fn missing(&mut self) -> Vec<usize> {
        self.claims.sort_by_key(|(places, _)| places[0]);
        self.claims.iter().map(|(places, _)| places[0]).collect()
    }

    /// All values, those included that were created for the keys that were [missing](Self::missing).
    pub(super) fn finish(mut self, created: Vec<Option<Vec<u8>>>) -> Result<Vec<Option<Vec<u8>>>> {
        let claims = std::mem::take(&mut self.claims);
        if created.len() != claims.len() {
            let (given, expected) = (created.len().to_string(), format!("{}, one for each key", claims.len()));
            return Err(Error::BadOption { option: "values of the creator", given, expected });
        }
        for ((places, claim), value) in claims.into_iter().zip(created) {
            let _ = store(claim, value.as_deref());
            self.give(&places, value);
        }
        Ok(self.values)
    }

    fn give(&mut self, places: &[usize], value: Option<Vec<u8>>) {
        places.iter().for_each(|&place| self.values[place].clone_from(&value));
    }
}

/// Runs a creator and stores what it made. What keeps the cache from storing it is counted there, and no error of the
/// caller's: it has its value. A creator that fails or panics drops the claim.
fn created<E>(claim: Claim, create: impl FnOnce() -> Result<Option<Vec<u8>>, E>) -> Result<Option<Vec<u8>>, E> {
    let value = create()?;
    let _ = store(claim, value.as_deref());
    Ok(value)
}

pub(super) fn store(claim: Claim, value: Option<&[u8]>) -> Result<Stored> {
    match value {
        Some(value) => claim.store(value),
        None => claim.store_absence(),
    }
}

/// What is left of a time for waiting that several waits share.
pub(super) struct Remaining {
    wait: Wait,
    since: Instant,
}

impl Remaining {
    pub(super) fn of(wait: Wait) -> Self {
        Self { wait, since: Instant::now() }
    }

    pub(super) fn now(&self) -> Wait {
        match self.wait {
            Wait::For(limit) => Wait::For(limit.saturating_sub(self.since.elapsed())),
            other => other,
        }
    }
}

/// One caller's way to a value, or to the right to create it.
pub(super) struct Finding {
    demands: Demands,
    pub seeker: Seeker,
}

/// What a step of it came to.
pub(super) enum Next {
    Done(Lookup),
    Wait(super::claim::Pause),
}

impl Finding {
    pub(super) fn new(task: Task, how: &CreateOptions, wait: Wait) -> Self {
        let max_age = how.max_age.unwrap_or(DEFAULT_MAX_AGE);
        Self { demands: Demands::of(how), seeker: Seeker::new(Kind::Create, task).max_age(Some(max_age)).wait(wait) }
    }

    /// A look without a lock first, as most find a value.
    pub(super) fn step(&mut self, scope: Scope<'_>, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let usable = match self.look(scope, key) {
            Some(Standing::Use(lookup)) => return Ok(Next::Done(lookup)),
            Some(Standing::Renew(lookup)) => Some(lookup),
            None => None,
        };
        self.seeker.hurry(usable.is_some());
        match (self.step_locked(scope, key, how), usable) {
            // Whoever has something to use needs no lock, and no right to write.
            (Err(_), Some(usable)) => Ok(Next::Done(usable)),
            (Err(Error::Busy { .. } | Error::TimedOut { .. }), None) if how.unprotected => {
                Ok(Next::Done(Lookup::Create(scope.unprotected(key, how)?)))
            }
            (other, _) => other,
        }
    }

    fn look(&self, scope: Scope<'_>, key: &[u8]) -> Option<Standing> {
        self.demands.judge(scope.cache.known(key)?, scope.cache.opened())
    }

    /// What can be used as it is, and is found without waiting for anybody.
    #[cfg(feature = "tokio")]
    pub(super) fn fresh(&self, scope: Scope<'_>, key: &[u8]) -> Option<Lookup> {
        match self.demands.judge(scope.cache.known_at_once(key)?, scope.cache.opened())? {
            Standing::Use(lookup) => Some(lookup),
            Standing::Renew(_) => None,
        }
    }

    fn step_locked(&mut self, scope: Scope<'_>, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let (mut usable, demands) = (None, self.demands);
        let step = self.seeker.step(scope, key, |opened, stripe, key| {
            match known_in(opened, stripe, key).and_then(|known| demands.judge(known, opened)) {
                Some(Standing::Use(lookup)) => Some(lookup),
                Some(Standing::Renew(lookup)) => {
                    usable = Some(lookup);
                    None
                }
                None => None,
            }
        });
        Ok(match (step, usable) {
            (Ok(Step::Found(lookup)), _) => Next::Done(lookup),
            (Ok(Step::Mine(held, began)), stale) => {
                Next::Done(Lookup::Create(claimed(scope, key, how, held, began, stale)?))
            }
            // Whoever has something to use does not wait, nor create without protection.
            (Ok(_) | Err(Error::OwnClaim), Some(usable)) => Next::Done(usable),
            (Ok(Step::Taken(Some(pause))), None) => Next::Wait(pause),
            (Ok(Step::Taken(None)), None) => return Err(self.seeker.timed_out()),
            (Ok(Step::NotStored | Step::Full(_)), None) => Next::Done(Lookup::Create(scope.unprotected(key, how)?)),
            (Err(error), _) => return Err(error),
        })
    }
}

/// The right to create a key whose claim is held.
fn claimed(
    scope: Scope<'_>,
    key: &[u8],
    how: &CreateOptions,
    held: Held,
    began: Began,
    usable: Option<Lookup>,
) -> Result<Claim> {
    let defaults = match scope.region {
        Some(named) => named.in_file(held.opened())?.1,
        None => Defaults::default(),
    };
    let stale = match usable {
        Some(Lookup::Hit(item) | Lookup::Stale(item)) => Some(item),
        _ => None,
    };
    Ok(Claim(Box::new(Creation {
        key: key.to_vec(),
        opened: held.opened().clone(),
        held: Some(held),
        seen: None,
        began,
        started: Instant::now(),
        stale,
        defaults,
        how: how.clone(),
    })))
}

impl Cache {
    /// The value of a key; if it has none, `create` makes one, and this or that caller of all threads and processes
    /// runs it while the others wait for its value.
    ///
    /// A stale value (see [`CreateOptions::soft_expiry`]) is created anew by one caller while all others get the
    /// stale one at once. What a write, a deletion or an invalidation of the key comes to while it is created is
    /// returned to its creator, and not stored. If the creator dies, fails or panics, the next who waits tries.
    /// A creator may create other keys in this way. Two creators that wait for each other's keys end by their
    /// limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::CreateOptions;
    /// let slow_query = || Ok::<_, std::io::Error>(b"42 rows".to_vec());
    /// let rows = cache.get_or_create("report:2026", &CreateOptions::new(), slow_query)?;
    /// assert_eq!(rows, b"42 rows");
    /// assert!(cache.contains("report:2026"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CreateError::Creator`] with what the caller's own `create` returned; it reaches nobody else.
    /// [`CreateError::Cache`] with [`TimedOut`](Error::TimedOut), with [`OwnClaim`](Error::OwnClaim) for a creator that
    /// asks for its own key, with [`Busy`](Error::Busy) when the stripe's lock is not to be had, or as
    /// [`set`](Cache::set). A value that cannot be stored is returned all the same.
    pub fn get_or_create<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, CreateError<E>> {
        get_or_create_always(self.all(), key.as_ref(), how, create)
    }

    /// As [`get_or_create`](Cache::get_or_create) for a key that may have no value: that `create` returned `None` is
    /// remembered for as long as [`CreateOptions::absence_expiry`] says. For all others such a key is a miss.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub fn get_or_create_optional<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.all().get_or_create(key.as_ref(), how, create)
    }

    /// As [`get_or_create`](Cache::get_or_create), but a stale value is returned to its creator, too: a thread of its
    /// own creates the new one. What goes wrong there is told to nobody; the next caller tries again.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub fn get_or_refresh<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.all().get_or_refresh(key.as_ref(), how, create)
    }

    /// The values of many keys, in their order. Those that have none, or a stale one that nobody creates yet, are
    /// claimed in one order that is the same for all callers, so that no two wait for each other, and `create`
    /// gets all of them at once. It returns as many values, in the order of the keys that it was given.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create); [`BadOption`](Error::BadOption) if `create` returns more or fewer
    /// values than keys. The time for waiting is that of all keys together.
    pub fn get_or_create_multi<K: AsRef<[u8]>, E>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(&[&K]) -> Result<Vec<Option<Vec<u8>>>, E>,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>> {
        self.all()
            .get_or_create_multi(keys, how, |missing| create(&missing.iter().map(|&i| &keys[i]).collect::<Vec<_>>()))
    }

    /// The building block of [`get_or_create`](Cache::get_or_create), for those who cannot give a closure, such as the
    /// bindings of other languages: looks the key up, waits if somebody else creates it, and gives the right to create
    /// it to one caller.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Lookup, Stored};
    /// match cache.claim("key", &CreateOptions::new())? {
    ///     Lookup::Hit(item) | Lookup::Stale(item) => println!("{} bytes", item.value.len()),
    ///     Lookup::Absent => println!("known to be none"),
    ///     Lookup::Create(claim) => assert!(matches!(claim.store("value")?, Stored::Yes(_))),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create), without `Creator`.
    pub fn claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.all().claim(key.as_ref(), how)
    }
}

/// A key that another caller found to have no value is created once more, for this one.
pub(super) fn get_or_create_always<E>(
    scope: Scope<'_>,
    key: &[u8],
    how: &CreateOptions,
    create: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, CreateError<E>> {
    let mut create = Some(create);
    let mut run = || create.take().map_or_else(|| Ok(Vec::new()), |create| create());
    match scope.get_or_create(key, how, || run().map(Some))? {
        Some(value) => Ok(value),
        None => run().map_err(CreateError::Creator),
    }
}
