//! Claims as callers see them: the lock of a key, and the way to it.
//!
//! An attempt to claim a key locks its stripe and looks at the key once more. A caller that finds the claim held releases the
//! lock, sleeps on the claim's own word, and tests now and then whether the claim's owner is alive.

use super::cache::Cache;
use super::count::count;
use super::stripe_lock::{Patience, lock_to_claim};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::Life;
use crate::hash::Key;
use crate::platform::sleep_on;
use crate::shm::Memory;
use crate::shm::mapping::Mapping;
use crate::store::claim::{ClaimId, Claimant, Claimed, End, Kind, Owner};
use crate::store::stripe_guard::StripeGuard;
use crate::store::{Epochs, NamespaceEpochs, tally::MemberCount};
use crate::sync::clock::monotonic_ms;
use crate::sync::fork;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The pause between two looks at a stripe whose claims are all held.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How many dead owners in a row one caller meets before it pauses.
const MOST_DEAD: usize = 4096;
/// The shortest wait for the stripe's own lock, which is held for microseconds.
const LEAST_LOCK_WAIT: Duration = Duration::from_millis(250);

/// How long a caller waits for a lock that another caller holds, or for a value that another creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Without a limit. Nobody takes over from an owner that is stopped, so this may never end.
    Forever,
    /// At most this long.
    For(Duration),
    /// Not at all. The stripe's own lock, which a write holds for microseconds, is still awaited for up to a quarter of a
    /// second before [`Busy`](Error::Busy), or for less with [`Cache::with_lock_wait`].
    No,
}

impl Default for Wait {
    /// 30 seconds.
    fn default() -> Self {
        Self::For(Duration::from_secs(30))
    }
}

impl Wait {
    fn deadline(self) -> Option<Instant> {
        let now = Instant::now();
        match self {
            Wait::Forever => None,
            // A time that the clock cannot represent means no limit.
            Wait::For(limit) => now.checked_add(limit),
            Wait::No => Some(now),
        }
    }
}

/// The owner of a claim: a thread, or a task that is bound to no thread. An owner that claims a key for the second time gets
/// [`OwnClaim`](Error::OwnClaim).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task(u64);

impl Task {
    /// The calling thread, or the task in whose name it runs: see [`run`](Self::run).
    #[must_use]
    pub fn of_thread() -> Self {
        MINE.try_with(Cell::get).unwrap_or_else(|_| Self::unique())
    }

    /// A new task, different from all others of this process.
    #[must_use]
    pub fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Does something on this thread in the name of this task.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        struct Back(Task);
        impl Drop for Back {
            fn drop(&mut self) {
                let _ = MINE.try_with(|mine| mine.set(self.0));
            }
        }
        let _back = Back(MINE.replace(self));
        work()
    }
}

thread_local! {
    static MINE: Cell<Task> = Cell::new(Task::unique());
}

/// A claim that this process holds until it ends or drops it. A forked child does not hold it.
pub(super) struct HeldClaim {
    opened: Arc<AttachedFile>,
    claim_id: ClaimId,
    generation: u32,
    /// How it ends when it is dropped.
    dropped: End,
}

impl HeldClaim {
    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    pub(super) fn opened(&self) -> &Arc<AttachedFile> {
        &self.opened
    }

    /// The claim, if this process may end it.
    pub(super) fn claim_id(&self) -> Option<&ClaimId> {
        self.is_ours().then_some(&self.claim_id)
    }

    /// Whether it excludes others: it has not ended, and its file has not been replaced.
    pub(super) fn is_held(&self) -> bool {
        self.is_ours() && self.opened.store.is_claim_held(&self.claim_id) && self.opened.is_current()
    }

    /// Ends it; `false` if it excluded nobody any more.
    pub(super) fn end(mut self, how: End) -> bool {
        self.dropped = how;
        let held = self.is_held();
        drop(self);
        held
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        if self.is_ours() {
            self.opened.store.end_claim(&self.claim_id, self.dropped);
        }
    }
}

/// The epochs from before the look at the key, which decide whether a created value may be stored.
#[derive(Clone, Copy)]
pub(super) struct EpochSnapshot {
    pub epochs: Epochs,
    pub namespace: NamespaceEpochs,
}

impl EpochSnapshot {
    pub(super) fn now(opened: &AttachedFile, namespace: u16) -> Self {
        Self { epochs: opened.store.epochs(), namespace: opened.store.namespace_now(namespace) }
    }
}

/// The outcome of one step on the way to a claim.
pub(super) enum Step<T> {
    /// The look at the key found something, and no claim is needed.
    Found(T),
    Mine(HeldClaim, EpochSnapshot),
    /// Somebody else holds it. When the caller's time is up, no pause is offered.
    Taken(Option<Pause>),
    /// The caller that this one waited for created a value that is not to be stored.
    NotStored,
    /// All claims of the stripe are held by living owners.
    Full(Option<Pause>),
}

/// A wait until something may have changed.
pub(super) struct Pause {
    opened: Arc<AttachedFile>,
    on: Option<ClaimId>,
    limit: Duration,
}

impl Pause {
    #[cfg(feature = "tokio")]
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether the claim that this pause waits for has not ended.
    #[cfg(feature = "tokio")]
    pub(super) fn is_worth(&self) -> bool {
        self.on.as_ref().is_none_or(|claim_id| self.opened.store.is_claim_held(claim_id))
    }

    /// Sleeps. The end of the claim wakes.
    pub(super) fn sleep(&self) {
        match &self.on {
            Some(claim_id) => {
                let word = self.opened.store.mem.word(self.opened.store.sleep_at(claim_id));
                let seen = claim_id.expected();
                sleep_on(word.low_half(), seen as u32, || word.get() == seen, self.limit);
            }
            None => std::thread::sleep(self.limit),
        }
    }
}

/// One caller on the way to a claim of one key.
pub(super) struct Seeker {
    kind: Kind,
    task: Task,
    /// The tasks whose creators are running on this thread.
    within: Vec<Task>,
    max_age: Option<Duration>,
    deadline: Option<Instant>,
    began: Instant,
    /// The claim that this caller waited for, and its file.
    waited_for: Option<(Arc<AttachedFile>, ClaimId)>,
    /// Whether this caller's wait has been counted.
    is_counted: bool,
    /// The time left for locks of stripes; by default what the handle waits for one.
    pub(super) patience: Option<Patience>,
    /// Members whose death is proved.
    dead: Vec<u64>,
    /// Whether the caller has a value to use meanwhile.
    hurry: bool,
}

impl Seeker {
    pub(super) fn new(kind: Kind, task: Task) -> Self {
        let began = Instant::now();
        Self {
            kind,
            task,
            within: Vec::new(),
            max_age: None,
            deadline: Some(began),
            began,
            waited_for: None,
            is_counted: false,
            patience: None,
            dead: Vec::new(),
            hurry: false,
        }
    }

    pub(super) fn max_age(mut self, max_age: Option<Duration>) -> Self {
        self.max_age = max_age;
        self
    }

    #[cfg(feature = "tokio")]
    pub(super) fn within(&mut self, tasks: Vec<Task>) {
        self.within = tasks;
    }

    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.deadline = wait.deadline();
        self
    }

    /// Whether this caller does not even wait for the stripe's own lock.
    pub(super) fn hurry(&mut self, yes: bool) {
        self.hurry = yes;
    }

    pub(super) fn timed_out(&self) -> Error {
        Error::TimedOut { waited: self.began.elapsed() }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// One attempt, and what the caller must know before the next one.
    pub(super) fn step<T>(
        &mut self,
        cache: &Cache,
        key: &[u8],
        mut look: impl FnMut(&AttachedFile, &StripeGuard<'_, Mapping>, &Key<'_>) -> Option<T>,
    ) -> Result<Step<T>> {
        cache.notice_removal();
        if self.waited_for.as_ref().is_some_and(|(opened, claim_id)| opened.store.was_not_stored(claim_id)) {
            return Ok(Step::NotStored);
        }
        loop {
            let file = cache.current()?;
            let writer = Writer::new(&file, cache.in_namespace(), key, cache.lock_wait)?;
            let opened: &Arc<AttachedFile> = &file;
            let (claimed, began) = {
                let mut stripe = self.lock(cache, opened, writer.stripe())?;
                // Before the look at the key: the store of the value notices an invalidation from here on.
                let began = EpochSnapshot::now(opened, writer.namespace);
                if let Some(found) = look(opened, &stripe, &writer.key) {
                    return Ok(Step::Found(found));
                }
                (stripe.claim(&writer.key, &self.claimant(opened, &began)?, &self.dead), began)
            };
            match claimed {
                Claimed::Mine(claim_id) => return Ok(Step::Mine(self.held(opened, claim_id), began)),
                Claimed::Held(claim_id, owner) => {
                    let me = opened.owner(opened.member()?, self.task.0);
                    match opened.test_owner(me, &claim_id, owner)? {
                        // No file has so many members: this one is damaged, and changes all the time.
                        Life::Dead if self.dead.len() >= MOST_DEAD => {
                            self.dead.clear();
                            return Ok(Step::Taken(self.pause(opened, Some(claim_id), FULL_PAUSE)));
                        }
                        Life::Dead => self.dead.push(owner.member),
                        Life::Alive(_) if self.is_own(me, owner) => return Err(Error::OwnClaim),
                        Life::Alive(next) => return Ok(Step::Taken(self.pause(opened, Some(claim_id), next))),
                    }
                }
                Claimed::Full(owners) => {
                    let me = opened.owner(opened.member()?, self.task.0);
                    let before = self.dead.len();
                    for (claim_id, owner) in owners {
                        if !self.dead.contains(&owner.member) && opened.test_owner(me, &claim_id, owner)? == Life::Dead
                        {
                            self.dead.push(owner.member);
                        }
                    }
                    if self.dead.len() == before {
                        return Ok(Step::Full(self.pause(opened, None, FULL_PAUSE)));
                    }
                }
            }
        }
    }

    fn is_own(&self, me: Owner, owner: Owner) -> bool {
        owner.member == me.member && (owner.task == me.task || self.within.contains(&Task(owner.task)))
    }

    /// Locks a stripe for a look at its claims. A caller with a value to use only tries.
    fn lock<'o>(&mut self, cache: &Cache, opened: &'o AttachedFile, stripe: u32) -> Result<StripeGuard<'o, Mapping>> {
        if self.hurry {
            return lock_to_claim(opened, stripe, &mut Patience::of(Duration::ZERO), Duration::ZERO);
        }
        let limit = self.lock_limit();
        let patience = self.patience.get_or_insert(Patience::of(cache.lock_wait()));
        lock_to_claim(opened, stripe, patience, limit)
    }

    /// How long a caller that has nothing to use waits for one stripe's lock, if the handle has that patience.
    pub(super) fn lock_limit(&self) -> Duration {
        self.left().map_or(Duration::MAX, |left| left.max(LEAST_LOCK_WAIT))
    }

    fn claimant(&self, opened: &AttachedFile, began: &EpochSnapshot) -> Result<Claimant> {
        Ok(Claimant {
            kind: self.kind,
            owner: opened.owner(opened.member()?, self.task.0),
            now_ms: monotonic_ms(),
            max_age: self.max_age.map_or(0, |age| age.as_millis().div_ceil(100).clamp(1, u64::MAX.into()) as u64),
            epochs: began.epochs,
            namespace: began.namespace,
        })
    }

    fn held(&self, opened: &Arc<AttachedFile>, claim_id: ClaimId) -> HeldClaim {
        let dropped = match self.kind {
            Kind::Create => End::Failed,
            Kind::Lock => End::Done,
        };
        HeldClaim { opened: opened.clone(), claim_id, generation: fork::generation(), dropped }
    }

    /// A pause of at most `limit`, unless the caller's time is up.
    fn pause(&self, opened: &Arc<AttachedFile>, on: Option<ClaimId>, limit: Duration) -> Option<Pause> {
        let left = self.left();
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        Some(Pause { opened: opened.clone(), on, limit: left.map_or(limit, |left| left.min(limit)) })
    }

    /// Counts the caller's wait once, and remembers the claim that it waits for.
    pub(super) fn waits(&mut self, pause: &Pause) {
        if !std::mem::replace(&mut self.is_counted, true) {
            count(&pause.opened, MemberCount::ClaimWaits);
        }
        if let Some(claim_id) = pause.on {
            self.waited_for = Some((pause.opened.clone(), claim_id));
        }
    }
}

/// How a key is locked.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockOptions {
    wait: Wait,
    max_age: Option<Duration>,
    unprotected: bool,
    task: Option<Task>,
}

impl LockOptions {
    /// Waits 30 seconds at most, and holds the lock for as long as its owner lives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for the lock.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The age after which others may take the lock over although its owner is alive; to a tenth of a second, at most 19
    /// days. By default there is none.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// If all claims of the key's stripe are held, gives the lock without protection instead of waiting, and counts
    /// that.
    #[must_use]
    pub fn unprotected_when_full(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// The owner of the lock; by default the calling thread.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }
}

impl LockOptions {
    pub(super) fn task_or(&self, other: fn() -> Task) -> Task {
        self.task.unwrap_or_else(other)
    }
}

/// The lock of a key. Dropping it, on any thread of the process, releases it.
#[must_use]
pub struct KeyLock(Option<HeldClaim>);

impl KeyLock {
    /// Whether this lock excludes others. It does not if all claims were held and
    /// [`unprotected_when_full`](LockOptions::unprotected_when_full) was set, after another took it over, or after the
    /// cache file was destroyed or replaced, which ends all locks in it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.as_ref().is_some_and(HeldClaim::is_held)
    }

    /// Releases the lock; `false` if it excluded nobody any more, or never did.
    pub fn release(self) -> bool {
        self.0.is_some_and(|held| held.end(End::Done))
    }
}

impl std::fmt::Debug for KeyLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLock").field("is_protected", &self.is_protected()).finish()
    }
}

/// One caller's way to a lock.
pub(super) struct Locking {
    pub seeker: Seeker,
    unprotected: bool,
}

impl Locking {
    pub(super) fn new(task: Task, options: LockOptions) -> Self {
        let seeker = Seeker::new(Kind::Lock, task).max_age(options.max_age).wait(options.wait);
        Self { seeker, unprotected: options.unprotected }
    }

    /// One step: the lock, or what to wait for.
    pub(super) fn step(&mut self, cache: &Cache, key: &[u8]) -> Result<Result<KeyLock, Pause>> {
        loop {
            let pause = match self.seeker.step(cache, key, |_, _, _| None::<()>)? {
                Step::Mine(held, _) => return Ok(Ok(KeyLock(Some(held)))),
                Step::Full(_) if self.unprotected => {
                    let opened = cache.current()?;
                    count(&opened, MemberCount::Unprotected);
                    return Ok(Ok(KeyLock(None)));
                }
                Step::Taken(pause) | Step::Full(pause) => pause,
                // The creation that held the key has ended.
                Step::NotStored | Step::Found(()) => {
                    self.seeker.waited_for = None;
                    continue;
                }
            };
            let pause = pause.ok_or_else(|| self.seeker.timed_out())?;
            self.seeker.waits(&pause);
            return Ok(Err(pause));
        }
    }
}

/// Locks of stored keys.
impl Cache {
    fn lock_stored(&self, key: &[u8], options: &LockOptions) -> Result<KeyLock> {
        let task = options.task_or(Task::of_thread);
        let mut locking = Locking::new(task, *options);
        loop {
            match locking.step(self, key)? {
                Ok(lock) => return Ok(lock),
                Err(pause) => pause.sleep(),
            }
        }
    }

    fn is_claimed_stored(&self, key: &[u8]) -> bool {
        let Some(opened) = self.readable() else { return false };
        opened.store.claim_seen(&opened.store.key(key), monotonic_ms()).is_some()
    }
}

impl Cache {
    /// Locks a key against all threads and processes that lock or create it. The key's value is not locked: reads and
    /// writes continue. The lock ends when it is dropped, or when its process dies, which others notice within a second.
    /// Locks and creations of a key exclude each other, since both are claims.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::Wait;
    /// let lock = cache.lock("nightly report", Wait::default())?;
    /// assert!(cache.is_claimed("nightly report"));
    /// drop(lock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](Error::TimedOut); [`OwnClaim`](Error::OwnClaim) if this thread has claimed the key already;
    /// [`Busy`](Error::Busy) if the stripe's own lock cannot be taken in time; and the errors of [`set`](Cache::set).
    pub fn lock(&self, key: impl AsRef<[u8]>, wait: Wait) -> Result<KeyLock> {
        self.lock_with(key, &LockOptions::new().wait(wait))
    }

    /// [`lock`](Cache::lock) with options.
    ///
    /// # Errors
    /// Those of [`lock`](Cache::lock).
    pub fn lock_with(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.with_stored_key(key.as_ref(), |key| self.lock_stored(key, options))
    }

    /// Locks a key if nobody has claimed it; `None` if somebody has, or if all claims of its stripe are held.
    ///
    /// # Errors
    /// Those of [`lock`](Cache::lock) but `TimedOut`.
    pub fn try_lock(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyLock>> {
        match self.lock(key, Wait::No) {
            Ok(lock) => Ok(Some(lock)),
            Err(Error::TimedOut { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a caller is creating or locking a key at this moment. This takes no lock, and does not test whether that
    /// caller is alive.
    #[must_use]
    pub fn is_claimed(&self, key: impl AsRef<[u8]>) -> bool {
        self.with_stored_key(key.as_ref(), |key| self.is_claimed_stored(key))
    }
}
