//! How a caller gets the claim of a key, in order to create the key's value or to lock the key.
//!
//! ```text
//!       +--> a value that is good enough                               done
//! look -+--> a usable value, and another caller holds the claim        done
//!       |
//!       +--> lock the stripe, look again, claim -+-> claimed         done
//!                        ^                       +-> the owner died  again, without a pause
//!                        |                       +-> the owner lives
//!                        +------- pause <--------+
//! ```
//!
//! A creation looks at the key's value; a lock does not. Locks and creations of the same key exclude each other.

use super::cache::Cache;
use super::count::{count, count_lock_wait, time};
use super::stripe_lock::Patience;
use super::task::Task;
use super::waiting::{Pause, Step, Wait};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::{Life, Rest};
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::NamespaceId;
use crate::store::claim::{ClaimId, Claimant, Claimed, End, Kind, Owner};
use crate::store::histograms::Timed;
use crate::store::stripe_guard::StripeGuard;
use crate::store::{Epochs, NamespaceEpochs, counters::MemberCount};
use crate::sync::clock::monotonic_ms;
use crate::sync::fork;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause between two looks at a stripe whose claims are all held.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How many dead owners in a row one caller meets before it pauses.
const MOST_DEAD: usize = 4096;
/// The shortest wait for the stripe's own lock, which a write holds for microseconds.
const LEAST_LOCK_WAIT: Duration = Duration::from_millis(250);

/// A claim that this process holds until it ends or drops the claim. A forked child does not hold it.
pub(super) struct HeldClaim {
    opened: Arc<AttachedFile>,
    claim_id: ClaimId,
    generation: u32,
    /// How many creations of the key failed in a row before this one.
    failures: u8,
    /// How the claim ends when it is dropped.
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

    pub(super) fn failures_before(&self) -> u8 {
        self.failures
    }

    /// Whether the claim excludes others: it has not ended, and its file has not been replaced.
    pub(super) fn is_held(&self) -> bool {
        self.is_ours() && self.opened.store.is_claim_held(&self.claim_id) && self.opened.is_current()
    }

    /// Ends the claim.
    pub(super) fn end(&mut self, how: End) {
        if self.is_ours() {
            self.opened.store.end_claim(&self.claim_id, how);
        }
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        self.end(self.dropped);
    }
}

/// The epochs and the clock of tags, loaded before the look at the key. They decide whether a created value may be
/// stored.
#[derive(Clone, Copy)]
pub(super) struct EpochSnapshot {
    pub epochs: Epochs,
    pub namespace: NamespaceEpochs,
    pub tag_clock: u64,
}

impl EpochSnapshot {
    pub(super) fn now(opened: &AttachedFile, namespace: NamespaceId) -> Self {
        let store = &opened.store;
        Self { epochs: store.epochs(), namespace: store.namespace_at_start(namespace), tag_clock: store.tag_clock() }
    }

    /// Whether the epochs are still the same. The clock of tags is not compared: it says nothing without the value's
    /// tags.
    pub(super) fn has_epochs_of(self, opened: &AttachedFile) -> bool {
        let store = &opened.store;
        self.epochs == store.epochs() && self.namespace == store.namespace_now(self.namespace.namespace())
    }
}

/// One call: the owner of its claims, and how long it waits. All keys of the call share the time for waiting.
pub(super) struct Caller {
    task: Task,
    /// The tasks within whose creators this call runs.
    creating: Vec<Task>,
    began: Instant,
    deadline: Option<Instant>,
    pub locks: Patience,
}

impl Caller {
    /// A call of a thread.
    pub(super) fn of_thread(cache: &Cache, task: Task, wait: Wait) -> Self {
        Self::new(task, Vec::new(), wait, Patience::of_thread(cache.lock_wait()))
    }

    /// A call that never waits. The caller repeats it until it has an answer.
    pub(super) fn of_request(cache: &Cache, task: Task, wait: Wait) -> Self {
        Self::new(task, Vec::new(), wait, Patience::of_task(cache.lock_wait()))
    }

    /// A call of a task of tokio.
    #[cfg(feature = "tokio")]
    pub(super) fn of_task(cache: &Cache, task: Task, wait: Wait) -> Self {
        Self::new(task, Task::creating(), wait, Patience::of_task(cache.lock_wait()))
    }

    fn new(task: Task, creating: Vec<Task>, wait: Wait, locks: Patience) -> Self {
        let began = Instant::now();
        Self { task, creating, began, deadline: wait.deadline(began), locks }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn owner(&self, opened: &AttachedFile) -> Result<Owner> {
        Ok(opened.owner(opened.member()?, self.task.0))
    }

    fn is_own(&self, me: Owner, owner: Owner) -> bool {
        owner.member == me.member && (owner.task == me.task || self.creating.contains(&Task(owner.task)))
    }
}

/// The stored key that a caller asks for, and how the caller waits.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// In a task, this handle does not wait for locks.
    pub cache: &'a Cache,
    pub key: &'a [u8],
    /// How long a store of the created value waits for the lock of the key's stripe.
    pub lock_wait: Duration,
    /// Whether a look may wait for the end of a change, or for a lock that reads take. Looks of tasks may not.
    pub may_wait: bool,
}

/// What a look at a key found.
pub(super) enum Found<P: Purpose + ?Sized> {
    /// What the caller wants. It needs no claim.
    Enough(P::Got),
    /// Something that the caller uses if it does not get the claim immediately, such as a stale value.
    Usable(P::Usable),
    Nothing,
}

/// What a caller wants the claim of a key for.
pub(super) trait Purpose {
    /// What the caller gets in the end.
    type Got;
    /// What the caller may use if it does not get the claim immediately.
    type Usable: Into<Self::Got>;
    const KIND: Kind;

    /// The age of the claim after which another caller may take it over.
    fn max_age(&self) -> Option<Duration>;

    /// Whether the caller also fails when the creation fails for which it waited.
    fn shares_failure(&self) -> bool {
        false
    }

    /// Looks at the key without a lock.
    fn look(&self, _: Target<'_>) -> Result<Found<Self>> {
        Ok(Found::Nothing)
    }

    /// Looks at the key with its stripe locked.
    fn look_locked(&self, _: &AttachedFile, _: &StripeGuard<'_, Mapping>, _: &Key<'_>) -> Result<Found<Self>> {
        Ok(Found::Nothing)
    }

    /// Called when the caller has the claim, and perhaps something usable.
    fn claimed(
        &self,
        of: Target<'_>,
        held: HeldClaim,
        began: EpochSnapshot,
        usable: Option<Self::Usable>,
    ) -> Result<Self::Got>;

    /// Called when the caller cannot have the claim: all claims of the stripe are held, or the caller waited for a
    /// creator whose value is not to be stored. With `None` the caller waits.
    fn unprotected(&self, of: Target<'_>) -> Result<Option<Self::Got>>;

    /// Called with each step that did not end in a wait. It may replace an error or a value by what the caller asked
    /// for.
    fn conclude(&mut self, _: Target<'_>, step: Result<Step<Self::Got>>) -> Result<Step<Self::Got>> {
        step
    }
}

/// The state of a caller on its way to a claim, kept from one step to the next.
pub(super) struct Progress<P> {
    purpose: P,
    /// The claim that the caller waited for, and its file.
    waited_for: Option<(Arc<AttachedFile>, ClaimId)>,
    /// When the caller began to wait. A wait is counted when it begins.
    waits_since: Option<Instant>,
    has_waited: bool,
    /// Members that are proved dead.
    dead: Vec<u64>,
}

impl<P> Progress<P> {
    /// The state of a caller that has taken no step yet.
    pub(super) fn towards(purpose: P) -> Self {
        Self { purpose, waited_for: None, waits_since: None, has_waited: false, dead: Vec::new() }
    }

    /// Whether the caller had to wait for another caller's claim.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }
}

/// One caller on its way to the claim of one key.
pub(super) struct Acquire<'a, P> {
    of: Target<'a>,
    caller: &'a mut Caller,
    progress: &'a mut Progress<P>,
}

impl<'a, P: Purpose> Acquire<'a, P> {
    pub(super) fn new(cache: &'a Cache, key: &'a [u8], progress: &'a mut Progress<P>, caller: &'a mut Caller) -> Self {
        let of = Target { cache, key, lock_wait: caller.locks.whole(), may_wait: caller.locks.is_of_thread() };
        Self { of, caller, progress }
    }

    /// Takes one step. In it a thread waits for the stripe's lock; a task waits for nothing.
    pub(super) fn step(&mut self) -> Result<Step<P::Got>> {
        let attempt = self.attempt();
        let step = match self
            .caller
            .locks
            .retry(attempt, |what, waited| count_lock_wait(&self.of.cache.in_use(), what, waited))
        {
            Ok(Step::Wait(pause)) => return Ok(Step::Wait(pause)),
            Ok(Step::Done(step)) => Ok(step),
            Err(error) => Err(error),
        };
        if !matches!(step, Ok(Step::Wait(_)))
            && let Some(since) = self.progress.waits_since.take()
        {
            time(&self.of.cache.in_use(), Timed::ClaimWait, since.elapsed());
        }
        self.progress.purpose.conclude(self.of, step)
    }

    /// Looks at the key without a lock. If the look did not find enough, tries to claim the key.
    fn attempt(&mut self) -> Result<Step<P::Got>> {
        let usable = match self.progress.purpose.look(self.of)? {
            Found::Enough(got) => return Ok(Step::Done(got)),
            Found::Usable(got) => Some(got),
            Found::Nothing => None,
        };
        match (self.claim(usable.is_some()), usable) {
            // A caller that has something usable needs no lock, and no right to write.
            (Err(error), Some(usable)) => {
                let opened = self.of.cache.in_use();
                if let Error::Busy { .. } = error {
                    opened.rest(opened.store.key(self.of.key).hash, Rest::Busy);
                }
                Ok(Step::Done(usable.into()))
            }
            (step, _) => step,
        }
    }

    /// Looks at the key under the stripe's lock, and claims it if the look does not find enough.
    fn claim(&mut self, only_tries: bool) -> Result<Step<P::Got>> {
        let Target { cache, key, .. } = self.of;
        cache.notice_removal();
        if let Some(got) = self.without_claim()? {
            return Ok(Step::Done(got));
        }
        loop {
            let file = cache.current()?;
            let writer = Writer::new(&file, cache.in_namespace(), key, cache.lock_wait)?;
            let opened: &Arc<AttachedFile> = &file;
            let mut guard = self.lock(opened, writer.stripe(), only_tries)?;
            // Loaded before the look at the key, so that the store of the value notices every invalidation from here
            // on.
            let began = EpochSnapshot::now(opened, writer.namespace);
            let usable = match self.progress.purpose.look_locked(opened, &guard, &writer.key)? {
                Found::Enough(got) => return Ok(Step::Done(got)),
                Found::Usable(got) => Some(got),
                Found::Nothing => None,
            };
            let claimed = guard.claim(&writer.key, &self.claimant(opened, &began)?, &self.progress.dead);
            drop(guard);
            let opened = Arc::clone(opened);
            // The file is released first: what follows may use another file, if this one was replaced.
            drop(file);
            let (awaited, limit) = match claimed {
                Claimed::Mine(claim_id, failures) => {
                    let held = held(opened, claim_id, failures, P::KIND);
                    return self.progress.purpose.claimed(self.of, held, began, usable).map(Step::Done);
                }
                Claimed::Held(claim_id, owner) => match self.life_of(&opened, &claim_id, owner)? {
                    Life::Dead if self.progress.dead.len() < MOST_DEAD => {
                        self.progress.dead.push(owner.member);
                        continue;
                    }
                    // No file has so many members. This file is damaged, and keeps changing.
                    Life::Dead => {
                        self.progress.dead.clear();
                        (Some(claim_id), FULL_PAUSE)
                    }
                    Life::Alive(_) if usable.is_none() && self.caller.is_own(self.caller.owner(&opened)?, owner) => {
                        return Err(Error::OwnClaim);
                    }
                    Life::Alive(next_test) => (Some(claim_id), next_test),
                },
                Claimed::Resting(left_ms) => return Err(self.resting(Duration::from_millis(left_ms))),
                Claimed::Full(ref owners) if self.finds_dead(&opened, owners)? => continue,
                Claimed::Full(_) if usable.is_some() => (None, FULL_PAUSE),
                Claimed::Full(_) => match self.progress.purpose.unprotected(self.of)? {
                    Some(got) => return Ok(Step::Done(got)),
                    None => (None, FULL_PAUSE),
                },
            };
            return match usable {
                Some(usable) => Ok(Step::Done(usable.into())),
                None => self.wait(opened, awaited, limit),
            };
        }
    }

    /// What the outcome of other callers' creations gives this caller, without a claim.
    fn without_claim(&self) -> Result<Option<P::Got>> {
        match self.outcome_elsewhere() {
            Elsewhere::NotStored => self.progress.purpose.unprotected(self.of),
            Elsewhere::Failed => Err(Error::FailedElsewhere),
            Elsewhere::Resting(left) => Err(self.resting(left)),
            Elsewhere::Unknown => Ok(None),
        }
    }

    /// What the creations of other callers mean for this caller's creation of the key.
    fn outcome_elsewhere(&self) -> Elsewhere {
        if P::KIND != Kind::Create {
            return Elsewhere::Unknown;
        }
        if let Some((opened, claim_id)) = &self.progress.waited_for {
            if opened.store.was_not_stored(claim_id) {
                return Elsewhere::NotStored;
            }
            if self.progress.purpose.shares_failure() && opened.store.has_failed(claim_id) {
                return Elsewhere::Failed;
            }
        }
        let opened = self.of.cache.in_use();
        opened.rest_left(&opened.store.key(self.of.key)).map_or(Elsewhere::Unknown, Elsewhere::Resting)
    }

    fn resting(&self, left: Duration) -> Error {
        count(&self.of.cache.in_use(), MemberCount::Rested);
        Error::Resting { left }
    }

    /// Locks a stripe for a look at its claims.
    fn lock<'o>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
        only_tries: bool,
    ) -> Result<StripeGuard<'o, Mapping>> {
        let mut none = Patience::none();
        let limit = self.caller.left().map_or(Duration::MAX, |left| left.max(LEAST_LOCK_WAIT));
        let patience = if only_tries { &mut none } else { &mut self.caller.locks };
        let (joined, lock) = patience.lock_region(opened, stripe, limit)?;
        opened.enter_to_claim(joined, stripe, lock)
    }

    fn claimant(&self, opened: &AttachedFile, began: &EpochSnapshot) -> Result<Claimant> {
        let tenths = |age: Duration| age.as_millis().div_ceil(100).clamp(1, u64::MAX.into()) as u64;
        Ok(Claimant {
            kind: P::KIND,
            owner: self.caller.owner(opened)?,
            now_ms: monotonic_ms(),
            max_age: self.progress.purpose.max_age().map_or(0, tenths),
            epochs: began.epochs,
            namespace: began.namespace,
        })
    }

    fn life_of(&self, opened: &AttachedFile, claim_id: &ClaimId, owner: Owner) -> Result<Life> {
        opened.test_owner(self.caller.owner(opened)?, claim_id, owner)
    }

    /// Whether one of these owners is found dead.
    fn finds_dead(&mut self, opened: &AttachedFile, owners: &[(ClaimId, Owner)]) -> Result<bool> {
        let before = self.progress.dead.len();
        for &(claim_id, owner) in owners {
            if !self.progress.dead.contains(&owner.member) && self.life_of(opened, &claim_id, owner)? == Life::Dead {
                self.progress.dead.push(owner.member);
            }
        }
        Ok(self.progress.dead.len() > before)
    }

    /// Waits up to `limit` for the end of a claim, or for any claim of a stripe whose claims are all held, unless the
    /// caller's time is up.
    fn wait(&mut self, opened: Arc<AttachedFile>, awaited: Option<ClaimId>, limit: Duration) -> Result<Step<P::Got>> {
        let limit = match self.caller.left() {
            Some(left) if left.is_zero() => return Err(Error::TimedOut { waited: self.caller.began.elapsed() }),
            left => left.map_or(limit, |left| left.min(limit)),
        };
        if self.progress.waits_since.is_none() {
            self.progress.waits_since = Some(Instant::now());
            self.progress.has_waited = true;
            count(&opened, MemberCount::ClaimWaits);
        }
        Ok(Step::Wait(match awaited {
            Some(claim_id) => {
                self.progress.waited_for = Some((opened.clone(), claim_id));
                Pause::Claim { opened, claim_id, limit }
            }
            None => Pause::Time(limit),
        }))
    }
}

/// What the creations of other callers mean for the next creation of the key.
enum Elsewhere {
    /// The value for which the caller waited is not to be stored: each waiter creates its own value.
    NotStored,
    /// The creation for which the caller waited failed, and the caller shares the failure.
    Failed,
    /// The key rests after failed creations, for this long.
    Resting(Duration),
    Unknown,
}

/// A claim that was just taken. Dropping a creation gives it up; dropping a lock releases it.
fn held(opened: Arc<AttachedFile>, claim_id: ClaimId, failures: u8, kind: Kind) -> HeldClaim {
    let dropped = match kind {
        Kind::Create => End::Abandoned,
        Kind::Lock => End::Done,
    };
    HeldClaim { opened, claim_id, generation: fork::generation(), failures, dropped }
}
