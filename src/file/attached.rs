//! An open cache file: its mapping, and a membership for each process that inherits the handle.

use super::header::{FileIdentity, FileParams};
use super::notes::Notes;
use super::place::{DataLock, format_id, held_too_long, lock_directory};
use super::settings::{LargePages, Settings};
use super::tidy::TidyAtEnd;
use crate::clock::Time;
use crate::error::{Error, Result, WHOLE_FILE};
use crate::platform::{self, FileSystem};
use crate::shm::Geometry;
use crate::shm::mapping::Mapping;
use crate::store::stripe_guard::{HolderId, StripeGuard, StripeHead, Wall};
use crate::store::{HeaderWords, Store};
use crate::sync::fork::{PerProcess, Preparer, own_pid};
use crate::sync::lease::Lease;
use crate::sync::locks::{LockError, LockPlace, LockStrategy, RegionGuard};
use crate::sync::member::Seats;
use crate::sync::membership::Member;
use crate::sync::own_file::OwnFile;
use crate::sync::threads::SeatLines;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

impl Wall for Time {
    fn now_ms(&self) -> u64 {
        self.under_lock_ms()
    }
}

/// A mapped file with a good header, before this process uses it.
pub(super) struct MappedFile<'a> {
    pub real: &'a Path,
    pub data: OwnFile,
    pub system: FileSystem,
    pub mapping: Mapping,
    pub fixed: FileParams,
    pub settings: Settings,
}

/// What a process opens a file for, and how it holds the opening lock until it is a member.
pub(super) enum Use {
    /// Only to read: without the lock, and without a seat until a call needs one.
    ToRead,
    /// Under a lock that the data file's own descriptor holds.
    Locked,
    /// Under a lock that another descriptor holds.
    With(DataLock),
}

/// An open cache file.
pub(crate) struct AttachedFile {
    /// Unique among all files that this program opens.
    pub number: u64,
    pub real: PathBuf,
    pub store: Store<Mapping>,
    /// Locked only while the file is being opened, or by strategy `process` for as long as it is open. After that,
    /// children of this process share its open file description.
    pub(super) data: OwnFile,
    system: FileSystem,
    pub settings: Settings,
    pub strategy_name: String,
    /// This process's membership; a read-only handle has none.
    member: PerProcess<Membership>,
    plain_reads: PlainReads,
    /// Set once a read has found that this process cannot join: the time at which a read may try again, in milliseconds
    /// since `born`.
    unjoined: PerProcess<AtomicU64>,
    /// The file is a copy that no process has adopted yet, so this handle is read-only.
    is_copy: bool,
    /// The file that replaced this one.
    pub(super) next: OnceLock<Arc<AttachedFile>>,
    /// The replaced mark that means "not replaced" to this process: 0, or a mark that a dead process left.
    pub(super) stale_mark: AtomicU64,
    /// When a read may next look for the file that replaced this one, in milliseconds since `born`.
    pub(super) next_follow_ms: AtomicU64,
    /// When to look next whether the process that closed the file is dead, in milliseconds since `born`.
    pub(super) next_reopen_ms: AtomicU64,
    /// When to check next whether the file was removed, in milliseconds since `born`.
    pub(super) next_removal_ms: AtomicU64,
    born: Instant,
    /// This process's private notes on claims.
    pub(super) notes: Notes,
    /// Removes the remains of a replaced file that could not be removed while it was in use. Must be dropped last.
    tidy_at_end: TidyAtEnd,
}

/// How long a check whether a file was replaced waits for the process that replaces it.
const FOLLOW_WAIT: Duration = Duration::from_millis(20);

/// How long a read waits for the membership of its process: in a forked child, and in the successor of a file.
const READ_JOIN_WAIT: Duration = Duration::from_millis(20);
/// How often the reads of a process that could not join try again, without waiting.
const READ_JOIN_EVERY_MS: u64 = 1000;

/// The membership of a process that has joined.
pub(crate) struct Membership {
    pub member: Member,
    pub who: HolderId,
    /// The seat's counter lines.
    pub lines: SeatLines,
    /// Reads need more than a version check: a reader's lock, or checksums.
    reads_carefully: bool,
    /// Whether this process keeps the opening lock for as long as the file is open, as with strategy `process`.
    keeps_lock: bool,
    /// That lock, unless the descriptor of the data file holds it.
    _only: Option<DataLock>,
}

/// The part of this process's membership that a read needs if a version check is enough for it.
struct PlainReads {
    of: Preparer,
    /// The [`SeatLines`] of that process.
    lines: AtomicU64,
}

impl PlainReads {
    const fn none() -> Self {
        Self { of: Preparer::nobody(), lines: AtomicU64::new(0) }
    }

    fn prepare(&self, lines: SeatLines) {
        self.lines.store(lines.word(), Ordering::Relaxed);
        self.of.set();
    }
}

impl AttachedFile {
    /// Starts to use a file.
    pub(super) fn new(file: MappedFile<'_>, to: Use) -> Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let MappedFile { real, data, system, mapping, fixed, settings } = file;
        let same_boot = HeaderWords(&mapping).boot_id() == settings.boot_id;
        let mut opened = Self {
            number: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            real: real.into(),
            is_copy: FileIdentity::load(&mapping).is_copied_to(data.identity(), same_boot),
            store: Store { mem: mapping, geometry: fixed.geometry, seed: fixed.seed },
            data,
            system,
            settings,
            strategy_name: fixed.strategy_name,
            member: PerProcess::new(),
            plain_reads: PlainReads::none(),
            unjoined: PerProcess::new(),
            next: OnceLock::new(),
            stale_mark: AtomicU64::new(0),
            next_follow_ms: AtomicU64::new(0),
            next_reopen_ms: AtomicU64::new(0),
            next_removal_ms: AtomicU64::new(0),
            born: Instant::now(),
            notes: Notes::default(),
            tidy_at_end: TidyAtEnd::default(),
        };
        match to {
            Use::ToRead => {}
            Use::With(lock) => _ = opened.join_under(Some(lock))?,
            Use::Locked => {
                opened.join_under(None)?;
                if !opened.keeps_data_lock() {
                    opened.data.unlock_data();
                }
            }
        }
        Ok(opened)
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.store.geometry
    }

    #[inline(always)]
    pub(super) fn words(&self) -> HeaderWords<'_, Mapping> {
        HeaderWords(&self.store.mem)
    }

    /// Whether this process keeps the opening lock, so that no other process can replace the file.
    pub(super) fn keeps_data_lock(&self) -> bool {
        self.joined().is_some_and(|joined| joined.keeps_lock)
    }

    pub(super) fn seats(&self) -> Seats<'_, Mapping> {
        Seats { mem: &self.store.mem, geometry: self.geometry() }
    }

    /// Gathers the small pages of a file that lies in memory into large ones, if the settings ask for that.
    pub(crate) fn make_pages_large(&self) {
        let asks = self.settings.large_pages == LargePages::Always && !self.settings.read_only;
        if asks && self.system.in_memory {
            self.store.mem.collapse();
        }
    }

    pub(crate) fn id(&self) -> String {
        format_id(self.own_id())
    }

    pub(crate) fn own_id(&self) -> [u64; 2] {
        FileIdentity::load(&self.store.mem).id
    }

    /// Milliseconds since this file was opened.
    pub(super) fn up_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Whether the time `next` has come, in milliseconds since this file was opened. If so, `next` is set to `every_ms`
    /// from now, so that only one thread gets `true`.
    pub(super) fn is_due(&self, next: &AtomicU64, every_ms: u64) -> bool {
        let (now, due) = (self.up_ms(), next.load(Ordering::Relaxed));
        now >= due && next.compare_exchange(due, now + every_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes this process a member. The caller holds the opening lock. `only` is that lock if strategy `process` is to
    /// keep it and the data file's own descriptor does not hold it.
    fn join(&self, only: Option<DataLock>) -> Result<Membership> {
        let seats = self.seats();
        let now_ms = self.settings.time.now_ms();
        let directory = lock_directory(&self.real, self.own_id());
        let shared = self.settings.locks.is_shared();
        let (owner, lease) = if shared {
            // The lock directory usually lies on the same device.
            let plain_device = self.system.is_plain.then(|| self.data.identity().device);
            let taken = seats.take(&directory, self.settings.mode, plain_device, now_ms);
            let taken = taken.map_err(Error::locks("take a seat in", &self.real))?;
            let full = || Error::SeatsFull { path: self.real.clone(), seats: self.geometry().shape.seats };
            let (owner, lease) = taken.ok_or_else(full)?;
            (owner, Some(lease))
        } else {
            (seats.take_only(now_ms), None)
        };
        if let LockStrategy::Lease = self.settings.locks
            && !lease.as_ref().is_some_and(Lease::is_proof)
        {
            seats.leave(owner.seat);
            return Err(Error::LeaseRefused(self.real.clone()));
        }
        let seat = owner.seat;
        let place = LockPlace { directory, regions: self.geometry().shape.lock_regions, inodes: self.lock_inodes() };
        let locks = self.settings.locks.attach(&place, owner);
        let locks = locks.map_err(Error::locks("attach to the locks of", &self.real))?;
        let who = HolderId { seat, pid: own_pid(), nonce: self.settings.nonce()? };
        // With strategy `none` several processes may share a seat.
        let lines = SeatLines::new(self.geometry().seat_lines(seat), !locks.exclude());
        let reads_carefully = self.settings.verify_reads || locks.reads_are_locked();
        let member = Member { seat, locks, _lease: lease };
        let keeps_lock = self.settings.locks.is_one_process();
        Ok(Membership { member, who, lines, reads_carefully, keeps_lock, _only: only })
    }

    fn lock_inodes(&self) -> Arc<[u64]> {
        let regions = 0..self.geometry().shape.lock_regions;
        regions.map(|stripe| self.words().lock_inode(self.geometry(), stripe)).collect()
    }

    /// This process's membership; `None` if it has not joined.
    #[inline]
    pub(crate) fn joined(&self) -> Option<&Membership> {
        self.member.get()
    }

    /// This process's membership. A forked child joins here.
    #[inline]
    pub(crate) fn member(&self) -> Result<&Membership> {
        self.member_within(self.settings.lock_wait)
    }

    /// [`member`](Self::member), waiting up to `limit` for the opening lock.
    #[inline]
    pub(crate) fn member_within(&self, limit: Duration) -> Result<&Membership> {
        match self.member.get() {
            Some(joined) => Ok(joined),
            None => self.join_late(limit),
        }
    }

    /// This process's membership for a read, which can proceed without one.
    #[inline]
    pub(crate) fn joined_for_read(&self) -> Option<&Membership> {
        match self.member.get() {
            Some(joined) => Some(joined),
            None if self.settings.read_only => None,
            None => self.join_for_read(),
        }
    }

    #[cold]
    fn join_for_read(&self) -> Option<&Membership> {
        if let Some(next) = self.unjoined.get() {
            return if self.is_due(next, READ_JOIN_EVERY_MS) { self.join_late(Duration::ZERO).ok() } else { None };
        }
        let joined = self.join_late(READ_JOIN_WAIT.min(self.settings.lock_wait)).ok();
        if joined.is_none() {
            self.unjoined.install(AtomicU64::new(self.up_ms() + READ_JOIN_EVERY_MS));
        }
        joined
    }

    fn join_late(&self, limit: Duration) -> Result<&Membership> {
        if self.settings.read_only {
            return Err(Error::ReadOnly(self.real.clone()));
        }
        let lock = DataLock::take_again(&self.data, &self.real, limit)?;
        let lock = match lock {
            Some(lock) => lock,
            // A caller that does not wait tries again, as for the lock of a stripe.
            None if limit.is_zero() && !self.settings.locks.is_one_process() => {
                return Err(Error::Busy { stripe: WHOLE_FILE, waited: limit });
            }
            None => return Err(held_too_long(&self.real, &self.settings)),
        };
        // Another thread may have been faster.
        if let Some(joined) = self.member.get() {
            return Ok(joined);
        }
        self.join_under(Some(lock))
    }

    /// Makes this process a member under the opening lock, which strategy `process` keeps. `None`: the data file's own
    /// descriptor holds it.
    fn join_under(&self, lock: Option<DataLock>) -> Result<&Membership> {
        let (only, _lock) = if self.settings.locks.is_one_process() { (lock, None) } else { (None, lock) };
        let joined = self.member.install(self.join(only)?);
        if !joined.reads_carefully {
            self.plain_reads.prepare(joined.lines);
        }
        Ok(joined)
    }

    /// Whether a read may take the fast path: this process is a member, reads need neither a lock nor checksums, the
    /// file was not replaced, no stripe is distrusted after a crash, and `besides`, the caller's own condition, is 0. A
    /// single test covers all of it.
    #[inline(always)]
    pub(crate) fn is_plain_to_read(&self, besides: u64) -> bool {
        self.plain_reads.of.difference() | self.store.unsettled() | besides == 0
    }

    /// The counter lines of this process's seat, for a read that [may take the fast path](Self::is_plain_to_read).
    #[inline(always)]
    pub(crate) fn plain_lines(&self) -> SeatLines {
        SeatLines::of_word(self.plain_reads.lines.load(Ordering::Relaxed))
    }

    /// Locks a stripe's lock region for this process.
    #[inline(always)]
    pub(crate) fn lock<'a>(
        &'a self,
        joined: &'a Membership,
        stripe: u32,
        limit: Duration,
    ) -> Result<RegionGuard<'a>, LockError> {
        self.settings.time.note();
        let seats = self.seats();
        joined.member.locks.lock(seats, self.geometry().lock_region(stripe), limit)
    }

    /// Locks a stripe's lock region for this process, on the fast path: the region is free, and its lock takes no
    /// system call. Otherwise `wait` locks the region.
    #[inline(always)]
    pub(crate) fn lock_at_once<'a>(
        &'a self,
        joined: &'a Membership,
        stripe: u32,
        wait: impl FnOnce() -> Result<()>,
    ) -> Result<RegionGuard<'a>> {
        self.settings.time.note();
        let region = self.geometry().lock_region(stripe);
        joined.member.locks.lock_at_once(self.seats(), region, wait)
    }

    /// Enters a stripe whose lock is held, for writing.
    pub(crate) fn enter<'a>(
        &'a self,
        joined: &'a Membership,
        stripe: u32,
        lock: RegionGuard<'a>,
    ) -> Result<StripeGuard<'a, Mapping>> {
        StripeGuard::enter(&self.store, stripe, &self.settings.time, &joined.who, lock)
            .map_err(|error| self.refused("mark as written", error))
    }

    /// [`enter`](Self::enter) for the duration of `work`.
    #[inline(always)]
    pub(crate) fn with_stripe<'a, R>(
        &'a self,
        joined: &'a Membership,
        stripe: u32,
        lock: RegionGuard<'a>,
        work: impl FnOnce(&mut StripeGuard<'a, Mapping>) -> R,
    ) -> Result<R> {
        StripeGuard::within(&self.store, stripe, &self.settings.time, &joined.who, lock, work)
            .map_err(|error| self.refused("mark as written", error))
    }

    /// [`with_stripe`](Self::with_stripe) for a `work` that uses the rings only to put items.
    #[inline(always)]
    pub(crate) fn with_stripe_to_put<'a, R>(
        &'a self,
        joined: &'a Membership,
        head: StripeHead<'a>,
        lock: RegionGuard<'a>,
        work: impl FnOnce(&mut StripeGuard<'a, Mapping>) -> R,
    ) -> Result<R> {
        StripeGuard::within_to_put(&self.store, head, &self.settings.time, &joined.who, lock, work)
            .map_err(|error| self.refused("mark as written", error))
    }

    /// Enters a stripe whose lock is held, to read, make claims, and end claims.
    pub(crate) fn enter_to_claim<'a>(
        &'a self,
        joined: &'a Membership,
        stripe: u32,
        lock: RegionGuard<'a>,
    ) -> Result<StripeGuard<'a, Mapping>> {
        StripeGuard::enter_to_claim(&self.store, stripe, &self.settings.time, &joined.who, lock)
            .map_err(|error| self.refused("mark as written", error))
    }

    /// Whether the file was replaced or destroyed.
    #[inline(always)]
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced_difference() != 0
    }

    /// 0 unless the file was replaced. The result is a number so that one branch can test it together with others.
    #[inline(always)]
    pub(super) fn replaced_difference(&self) -> u64 {
        self.words().replaced_mark() ^ self.stale_mark.load(Ordering::Relaxed)
    }

    /// Whether other processes find this file at the path. A mark that a dead process left does not count.
    pub(crate) fn is_current(&self) -> bool {
        if !self.is_replaced() {
            return true;
        }
        // A process that replaces the file keeps the lock until the path leads to the new one.
        let lock = DataLock::take_again(&self.data, &self.real, FOLLOW_WAIT);
        matches!(lock, Ok(Some(_))) && self.is_named().unwrap_or(false)
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_named(&self) -> Result<bool> {
        let named = platform::identity_at(&self.real).map_err(Error::io("examine", &self.real))?;
        Ok(named == Some(self.data.identity()))
    }

    /// Whether the file is from before a restart of the host, or a copy, and this handle is read-only, so that it can
    /// neither reset nor adopt the file.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.settings.read_only && (self.is_copy || self.words().boot_id() != self.settings.boot_id)
    }
}

impl Drop for AttachedFile {
    fn drop(&mut self) {
        if let Some(joined) = self.member.get() {
            self.seats().leave(joined.member.seat);
        }
        // A handle that has not joined usually removes nothing. But if an open handle keeps a replaced file from being
        // removed, as on Windows, such a handle removes the file, too.
        let tidies = self.joined().is_some() || !platform::CAN_REPLACE_MAPPED;
        if tidies && self.is_replaced() {
            self.tidy_at_end.of = Some((self.real.clone(), self.settings.trust));
        }
    }
}
