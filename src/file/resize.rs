//! Gives a file that is in use another size: a new file gets what the old one holds, and takes its place.
//!
//! ```text
//! claim     the header names this member as the resizer
//! copy      all records, then again what changed meanwhile, while readers and writers go on; writers that are faster
//!           than the copy have to wait for the locks of the stripes, in turn
//! wait      until no key is locked: a lock is a claim, and claims cannot move
//! lock      the opening lock: nobody opens, replaces or destroys the file from here on
//! close     writers wait from here on
//! pass      lock each stripe, so that no writer is at work; copy what changed since; if that is much, open the file
//!           for a moment and close it again
//! copy      namespaces, counters, stamps, epochs
//! sync      the new file
//! mark      the old file is replaced: every call looks at the path from here on
//! name      the new file takes the place of the old one
//! ```
//!
//! *The mark comes before the name.* A read that finds no mark belongs to a time before the new file had its name, so
//! before any process could write to the new file. A read that finds the mark looks at the path: while the path leads
//! to the old file, the content of the old file is current, and no process changes it.
//!
//! A death before the name leaves the old file, perhaps closed and marked. The next writer, or the next process that
//! opens the file, proves the resizer dead, clears the mark and opens the file again: see `resizer.rs`.

use super::attached::{AttachedFile, Membership};
use super::create::Creation;
use super::flush::{lock, lock_error};
use super::header::{FileIdentity, FileParams};
use super::notes::Life;
use super::place::{DataLock, held_too_long};
use super::resizer::{Resizer, take_back};
use super::settings::Settings;
use super::tidy::tidy;
use crate::error::{Error, Result};
use crate::fault::{Fault, injected};
use crate::platform::{self, NewFile};
use crate::shm::Memory;
use crate::shm::layout::{HEADER_LEN, Shape};
use crate::shm::mapping::Mapping;
use crate::store::HeaderWords;
use crate::store::counters::MemberCount;
use crate::store::stripe_guard::StripeGuard;
use crate::store::transfer::Transfer;
use crate::sync::clock::monotonic_ms;
use crate::sync::fork;
use crate::sync::locks::{LockError, LockStrategy, RegionGuard};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

/// Few enough changed buckets to copy while writers wait.
const FEW_CHANGED: u64 = 256;
/// How long a stripe's lock is held at a time, before the file is closed.
const LONGEST_HOLD: Duration = Duration::from_millis(2);
/// How long the locks of all stripes together may take once the file is closed.
const CLOSED_WAIT: Duration = Duration::from_millis(50);
/// How often the file is closed without success, because a stripe stays locked, before the resize gives up.
const CLOSINGS: u32 = 10;
/// After this many rounds, and again after each such number of rounds, a round copies twice as much. So the copy ends
/// even if writers change more in the meantime.
const ROUNDS: u32 = 256;
/// How long writers may write before the file is closed again. A writer that waits looks at it once a millisecond.
const OPEN_FOR: Duration = Duration::from_millis(2);
/// The pause between two looks at the keys that are locked.
const LOCKS_PAUSE: Duration = Duration::from_millis(10);

/// The sizes that a file is to get, and the limits of the resize.
pub(crate) struct NewSizes {
    pub capacity: u64,
    pub mean_item: Option<u64>,
    /// When to give up if keys are still locked; `None`: never.
    pub until: Option<Instant>,
    /// How many changed buckets are copied before the file is opened to writers for a moment, if more are left.
    pub closed_copies: u64,
}

/// The result of a resize.
pub(crate) struct Outcome {
    pub before: Shape,
    pub after: Shape,
    /// Records before and after.
    pub items: (u64, u64),
    /// Creations that were in progress, and were voided.
    pub voided: u64,
    /// The longest time for which writers had to wait.
    pub closed_for: Duration,
}

/// Gives a file other sizes.
pub(crate) fn resize(old: &Arc<AttachedFile>, sizes: &NewSizes) -> Result<Outcome> {
    let resized = try_resize(old, sizes);
    if resized.is_err() {
        // Removes the locks of the new file, which is gone.
        tidy(&old.real, old.settings.trust);
    }
    resized
}

fn try_resize(old: &Arc<AttachedFile>, sizes: &NewSizes) -> Result<Outcome> {
    let joined = old.member()?;
    if let LockStrategy::None = old.settings.locks {
        return Err(not_resized(old, "strategy `none` has no locks, so writers cannot be kept away meanwhile"));
    }
    let turn = Turn::take(old, joined)?;
    let (settings, fixed) = turn.plan(sizes)?;
    let creation = Creation::of_successor(&old.real, &settings, fixed, FileIdentity::load(&old.store.mem).lineage)?;
    let (mut file, mut new) = creation.begin()?;
    turn.must_admit_the_same(&file)?;
    old.settle_settings(&mut new);
    let who = new.member()?.who;
    let mut transfer = Transfer::new(&old.store, &new.store, &old.settings.time, &who);
    turn.settle()?;
    transfer.copy_all().map_err(Error::io("copy", &old.real))?;
    let mut is_slow = turn.catch_up(&mut transfer, false)?;
    // What is on the device already need not be written while writers wait.
    new.store.mem.sync(0, new.geometry().file_len).map_err(Error::io("write", &old.real))?;
    let (mut closings, mut rounds) = (0, Rounds::of(sizes.closed_copies));
    let mut done = loop {
        turn.wait_for_key_locks(sizes.until)?;
        // Much may have changed during the waits above.
        is_slow = turn.catch_up(&mut transfer, is_slow)?;
        match turn.replace(&creation, &mut file, &new, &mut transfer, &mut rounds)? {
            Attempt::Done(done) => break done,
            Attempt::KeyLocked if is_over(sizes.until) => return Err(not_resized(old, "keys are locked all the time")),
            Attempt::KeyLocked => {}
            Attempt::StripeLocked(stripe, error) => {
                closings += 1;
                if closings == CLOSINGS {
                    return Err(lock_error(old, stripe, CLOSED_WAIT, error));
                }
            }
        }
    };
    drop(transfer);
    done.items.1 = (0..new.geometry().shape.stripes).map(|stripe| new.store.live(stripe)).sum();
    done.after = new.geometry().shape;
    turn.end(new, &mut done);
    Ok(done)
}

/// Repeats a pass over the changed buckets until it finds few, or more than half as many as the pass before. Returns
/// how many the last pass found.
fn while_fewer(mut pass: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut last = u64::MAX;
    loop {
        let changed = pass()?;
        if changed <= FEW_CHANGED || changed > last / 2 {
            return Ok(changed);
        }
        last = changed;
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

fn not_resized(old: &AttachedFile, why: impl Into<String>) -> Error {
    Error::NotResized { path: old.real.clone(), why: why.into() }
}

/// One attempt to close and replace the file.
enum Attempt {
    Done(Outcome),
    /// A key was locked after all.
    KeyLocked,
    /// A stripe stayed locked.
    StripeLocked(u32, LockError),
}

/// The result of a pass over the stripes of a closed file.
enum Pass {
    /// All stripes are copied: nothing changes any more.
    Whole,
    /// There is more to copy than writers should wait for.
    MoreChanged,
    Ended(Attempt),
}

/// The progress of a copy whose file is closed several times.
struct Rounds {
    /// How many changed buckets the first round copies at most.
    copies: u64,
    done: u32,
    /// The stripe that the next round begins with.
    first: u32,
    /// The longest time for which the file was closed.
    longest: Duration,
}

impl Rounds {
    fn of(copies: u64) -> Self {
        Self { copies, done: 0, first: 0, longest: Duration::ZERO }
    }

    /// How many changed buckets the next round copies at most.
    fn copies(&self) -> u64 {
        self.copies.saturating_mul(2u64.saturating_pow(self.done / ROUNDS))
    }
}

/// The right of this member to resize its file, which the header records.
struct Turn<'a> {
    old: &'a Arc<AttachedFile>,
    joined: &'a Membership,
    /// The name of this member in the header.
    name: u64,
    generation: u32,
}

impl<'a> Turn<'a> {
    fn take(old: &'a Arc<AttachedFile>, joined: &'a Membership) -> Result<Self> {
        let name = old.owner(joined, 0).member;
        let _lock = opening_lock(old)?;
        must_be_in_place(old)?;
        let words = old.words();
        if words.resizer() != 0 {
            // All threads of this process have one name, so the resizer may be another of its threads.
            let is_ours = words.resizer() == name;
            let has_leases = old.settings.locks.is_shared();
            let resizer = Resizer::of(&old.store.mem, old.geometry(), &old.real, has_leases)?;
            let stays_closed = injected(Fault::LeftClosed) && words.is_closed();
            if is_ours || matches!(resizer, Resizer::Alive) || stays_closed {
                return Err(not_resized(old, "it is being resized already"));
            }
            take_back(&old.store.mem).map_err(Error::io("open to writers", &old.real))?;
        }
        words.set_resizer(name);
        Ok(Self { old, joined, name, generation: fork::generation() })
    }

    /// The settings and the fixed parameters of the new file.
    fn plan(&self, sizes: &NewSizes) -> Result<(Settings, FileParams)> {
        let old = self.old;
        let mut page = vec![0; HEADER_LEN as usize];
        old.store.mem.copy_out(0, &mut page);
        let fixed = FileParams::parse(&page, old.geometry().file_len, &old.real)?;
        let mode = platform::mode(&self.old_file()?.metadata().map_err(Error::io("examine", &old.real))?);
        let settings = Settings { mode, ..old.settings.clone() };
        let settings = settings.resized(&old.geometry().shape, sizes.capacity, sizes.mean_item);
        let geometry = settings.geometry()?;
        Ok((settings, FileParams { geometry, ..fixed }))
    }

    fn old_file(&self) -> Result<&std::fs::File> {
        let why = "the program has closed the descriptor of the file";
        self.old.data.get().ok_or_else(|| not_resized(self.old, why))
    }

    /// Returns an error unless the new file has the owner, group, mode and attributes of the old one.
    fn must_admit_the_same(&self, new: &NewFile) -> Result<()> {
        let (old, refused) = (self.old_file()?, |why: String| not_resized(self.old, why));
        let copied = platform::copy_attributes(old, &new.file);
        copied.map_err(|error| refused(format!("its extended attributes cannot be copied: {error}")))?;
        let other = platform::other_access(old, &new.file).map_err(Error::io("examine", &self.old.real))?;
        other.map_or(Ok(()), |why| Err(refused(format!("{why}; resize it as the user and group that it belongs to"))))
    }

    /// Completes what dead holders left in any stripe, and rebuilds or empties the stripes that are flagged after a
    /// crash.
    fn settle(&self) -> Result<()> {
        for stripe in 0..self.old.geometry().shape.stripes {
            let guard = lock(self.old, stripe)?;
            self.enter(stripe, guard)?;
        }
        Ok(())
    }

    fn enter<'g>(&'g self, stripe: u32, lock: RegionGuard<'g>) -> Result<StripeGuard<'g, Mapping>> {
        let (old, who) = (self.old, &self.joined.who);
        StripeGuard::enter_as_resizer(&old.store, stripe, &old.settings.time, who, lock)
            .map_err(Error::io("mark as written", &old.real))
    }

    /// Copies again what has changed since it was copied, until little has. If writers change more than the copy can
    /// follow, the copy goes on under the locks of the stripes: a writer of a locked stripe waits, and changes nothing
    /// meanwhile. Returns whether the locks were needed; `is_slow` says to take them from the first pass on.
    fn catch_up(&self, transfer: &mut Transfer<'_, Mapping, Mapping>, is_slow: bool) -> Result<bool> {
        let without_lock = |transfer: &mut Transfer<'_, Mapping, Mapping>| {
            transfer.copy_changed().map_err(Error::io("copy", &self.old.real))
        };
        if !is_slow && while_fewer(|| without_lock(transfer))? <= FEW_CHANGED {
            return Ok(false);
        }
        while_fewer(|| self.copy_locked(transfer))?;
        Ok(true)
    }

    /// Copies the changed buckets of all stripes, each under its lock; returns how many there were. The stripes take
    /// turns, so that writers that wait for a stripe get it after each turn.
    fn copy_locked(&self, transfer: &mut Transfer<'_, Mapping, Mapping>) -> Result<u64> {
        let (shape, buckets) = (self.old.geometry().shape, self.old.geometry().buckets);
        let (mut changed, mut turns) = (0, VecDeque::from_iter((0..shape.stripes).map(|stripe| (stripe, 0))));
        while let Some((stripe, mut bucket)) = turns.pop_front() {
            let guard = self.enter(stripe, lock(self.old, stripe)?)?;
            let began = Instant::now();
            let copied = transfer.copy_locked(&guard, &mut bucket, || began.elapsed() >= LONGEST_HOLD);
            changed += copied.map_err(Error::io("copy", &self.old.real))?;
            drop(guard);
            if bucket < buckets {
                if turns.is_empty() {
                    // Lets writers that wait for the last stripe get it, too.
                    std::thread::sleep(LONGEST_HOLD / 4);
                }
                turns.push_back((stripe, bucket));
            }
        }
        Ok(changed)
    }

    /// Waits until no key is locked. Locks of dead owners end here.
    fn wait_for_key_locks(&self, until: Option<Instant>) -> Result<()> {
        let (me, began) = (self.old.owner(self.joined, 0), Instant::now());
        let mut dead = Vec::new();
        loop {
            let mut locked = 0;
            for stripe in 0..self.old.geometry().shape.stripes {
                if !self.old.store.has_held_locks(stripe) {
                    continue;
                }
                let held = self.enter(stripe, lock(self.old, stripe)?)?.held_locks(monotonic_ms(), &dead);
                locked += held.len();
                for (claim_id, owner) in held {
                    if self.old.test_owner(me, &claim_id, owner)? == Life::Dead && !dead.contains(&owner.member) {
                        dead.push(owner.member);
                    }
                }
            }
            if locked == 0 {
                return Ok(());
            }
            if is_over(until) {
                let keys = if locked == 1 { "1 key is".into() } else { format!("{locked} keys are") };
                let waited = began.elapsed();
                return Err(not_resized(self.old, format!("{keys} still locked after {waited:?}")));
            }
            std::thread::sleep(LOCKS_PAUSE);
        }
    }

    /// Closes the file, copies the rest, and gives the new file the old one's place.
    fn replace(
        &self,
        creation: &Creation<'_>,
        file: &mut NewFile,
        new: &AttachedFile,
        transfer: &mut Transfer<'_, Mapping, Mapping>,
        rounds: &mut Rounds,
    ) -> Result<Attempt> {
        let old = self.old;
        // A stopped process that holds a stripe must not keep all writers waiting. So each lock is taken once before
        // the file is closed.
        for stripe in 0..old.geometry().shape.stripes {
            drop(lock(old, stripe)?);
        }
        loop {
            if let Some(attempt) = self.close_and_replace(creation, file, new, transfer, rounds)? {
                return Ok(attempt);
            }
            std::thread::sleep(OPEN_FOR);
        }
    }

    /// One round of [`replace`](Self::replace); `None`: another one follows.
    fn close_and_replace(
        &self,
        creation: &Creation<'_>,
        file: &mut NewFile,
        new: &AttachedFile,
        transfer: &mut Transfer<'_, Mapping, Mapping>,
        rounds: &mut Rounds,
    ) -> Result<Option<Attempt>> {
        let old = self.old;
        // Taken anew in each round, so that a process that opens the file need not wait for the last one.
        let root_lock = creation.hold_place()?;
        let _lock = opening_lock(old)?;
        must_be_in_place(old)?;
        if old.words().resizer() != self.name {
            return Err(not_resized(old, "another process has begun to resize it"));
        }
        let items: u64 = (0..old.geometry().shape.stripes).map(|stripe| old.store.live(stripe)).sum();
        let closed = Closed::close(old)?;
        let pass = self.pass(transfer, rounds)?;
        rounds.longest = rounds.longest.max(closed.since.elapsed());
        match pass {
            Pass::Whole => {}
            Pass::MoreChanged => return Ok(None),
            Pass::Ended(attempt) => return Ok(Some(attempt)),
        }
        transfer.copy_areas().map_err(Error::io("copy", &old.real))?;
        self.sync(new)?;
        must_be_in_place(old)?;
        old.words().set_replaced_mark(old.settings.random()? | 1);
        // A reader that finds the new file at the path finds the mark, too.
        fence(Ordering::SeqCst);
        creation.finish(file, &root_lock)?;
        let closed_for = rounds.longest.max(closed.keep());
        let shape = old.geometry().shape;
        Ok(Some(Attempt::Done(Outcome { before: shape, after: shape, items: (items, 0), voided: 0, closed_for })))
    }

    /// Locks and copies each stripe of the closed file: then no writer is at work, and nothing changes any more.
    fn pass(&self, transfer: &mut Transfer<'_, Mapping, Mapping>, rounds: &mut Rounds) -> Result<Pass> {
        let (old, mut left, mut copies) = (self.old, CLOSED_WAIT, rounds.copies());
        rounds.done += 1;
        let (stripes, first) = (old.geometry().shape.stripes, rounds.first);
        for stripe in (first..stripes).chain(0..first) {
            let began = Instant::now();
            let guard = match old.lock(self.joined, stripe, left) {
                Ok(lock) => self.enter(stripe, lock)?,
                Err(error) => return Ok(Pass::Ended(Attempt::StripeLocked(stripe, error))),
            };
            left = left.saturating_sub(began.elapsed());
            if old.store.has_held_locks(stripe) {
                return Ok(Pass::Ended(Attempt::KeyLocked));
            }
            if !transfer.finish_stripe(&guard, &mut copies).map_err(Error::io("copy", &old.real))? {
                rounds.first = stripe;
                return Ok(Pass::MoreChanged);
            }
        }
        Ok(Pass::Whole)
    }

    /// Writes the new file to the device. It is marked as flushed if the old one was.
    fn sync(&self, new: &AttachedFile) -> Result<()> {
        let (mem, failed) = (&new.store.mem, || Error::io("write", &self.old.real));
        mem.sync(0, new.geometry().file_len).map_err(failed())?;
        if self.old.words().was_flushed() {
            HeaderWords(mem).set_flushed();
            mem.sync(0, HEADER_LEN).map_err(failed())?;
        }
        Ok(())
    }

    /// What follows after the new file has its name. The old one stays closed, and keeps the name of its resizer.
    fn end(self, new: AttachedFile, done: &mut Outcome) {
        let old = self.old;
        done.voided = (0..old.geometry().shape.stripes).map(|stripe| old.store.void_creations(stripe)).sum();
        new.store.count_for_nobody(MemberCount::Voided, done.voided);
        let _ = old.next.set(Arc::new(new));
        let parent = old.real.parent().unwrap_or(Path::new("/"));
        // The switch has happened. If the name does not survive a loss of power, the old file does.
        let _ = platform::sync_directory(parent);
        std::mem::forget(self);
        tidy(&old.real, old.settings.trust);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.generation == fork::generation() && self.old.words().resizer() == self.name {
            self.old.words().set_resizer(0);
        }
    }
}

/// The opening lock of a file that is in use; `None` if this process keeps it anyway.
fn opening_lock(old: &AttachedFile) -> Result<Option<DataLock>> {
    if old.keeps_data_lock() {
        return Ok(None);
    }
    let lock = DataLock::take_again(&old.data, &old.real, old.settings.lock_wait)?;
    lock.map(Some).ok_or_else(|| held_too_long(&old.real, &old.settings))
}

/// Returns an error unless the path leads to the file, and no process is about to replace it.
fn must_be_in_place(old: &AttachedFile) -> Result<()> {
    if old.is_replaced() || !old.is_named()? {
        return Err(not_resized(old, "it was replaced, or removed from its path, meanwhile"));
    }
    Ok(())
}

/// A closed file. It is opened to writers again unless it was replaced.
struct Closed<'a> {
    old: &'a AttachedFile,
    generation: u32,
    since: Instant,
}

impl<'a> Closed<'a> {
    fn close(old: &'a AttachedFile) -> Result<Self> {
        let (generation, since) = (fork::generation(), Instant::now());
        old.store.close().map_err(Error::io("close", &old.real))?;
        Ok(Self { old, generation, since })
    }

    /// Leaves the file closed; returns for how long it was closed before it was replaced.
    fn keep(self) -> Duration {
        let closed_for = self.since.elapsed();
        std::mem::forget(self);
        closed_for
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // On an error the file stays closed until another process opens it to writers again.
            let _ = take_back(&self.old.store.mem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many passes there are if they find these numbers of changed buckets, and what the last one found.
    fn passes(found: &[u64]) -> (usize, u64) {
        let mut passes = 0;
        let last = while_fewer(|| {
            passes += 1;
            Ok(found[passes - 1])
        });
        (passes, last.unwrap())
    }

    #[test]
    fn rounds_grow_until_one_copies_all() {
        let copies = |done| Rounds { done, ..Rounds::of(5) }.copies();
        assert_eq!((copies(0), copies(ROUNDS - 1), copies(ROUNDS), copies(u32::MAX)), (5, 5, 10, u64::MAX));
    }

    #[test]
    fn passes_end_when_they_find_little_or_no_fewer() {
        assert_eq!(passes(&[FEW_CHANGED]), (1, FEW_CHANGED));
        assert_eq!(passes(&[100_000, 40_000, 3_000, 100]), (4, 100));
        // Writers that are faster than the copy.
        assert_eq!(passes(&[100_000, 90_000]), (2, 90_000));
        assert_eq!(passes(&[100_000, 20_000, 10_001]), (3, 10_001));
    }
}
