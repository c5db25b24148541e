//! A cache file as this program has it open: the mapping, and for each process a membership.

use super::header::{Fixed, boot_id};
use super::open::Settings;
use super::place::{DataLock, format_id, lock_directory};
use crate::error::{Error, Result};
use crate::platform;
use crate::shm::layout::at;
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory, Step};
use crate::store::Store;
use crate::store::exclusive::Who;
use crate::sync::fork::PerProcess;
use crate::sync::locks::LockPlace;
use crate::sync::member::{Member, SeatError, Seats};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// An open cache file.
pub(crate) struct Opened {
    pub real: PathBuf,
    pub store: Store<Mapping>,
    /// Never locked itself: a child of this process shares it.
    data: File,
    pub settings: Settings,
    pub strategy_name: String,
    /// This process's membership; a read-only handle has none.
    member: PerProcess<Joined>,
    /// A read found that this process cannot join; no other read tries again.
    unjoined: PerProcess<()>,
    /// Opened read-only, and a copy that nobody has made a cache file of its own yet.
    is_copy: bool,
    /// The file that took this one's place.
    next: OnceLock<Arc<Opened>>,
}

/// How long a read of a forked child waits for its membership.
const READ_JOIN_WAIT: Duration = Duration::from_millis(20);

/// A process that joined.
pub(crate) struct Joined {
    pub member: Member,
    pub who: Who,
    /// Strategy `process` keeps the data file's lock for as long as it has the file open.
    _only: Option<DataLock>,
}

impl Opened {
    /// Wraps a mapped file; unless it is opened read-only, this process becomes a member. Whoever opens a file
    /// that others can see holds its data lock, or passes it on for strategy `process`.
    pub(super) fn new(real: &Path, data: File, mapping: Mapping, fixed: &Fixed, settings: &Settings) -> Result<Self> {
        let mut opened = Self::unattached(real, data, mapping, fixed, settings);
        if settings.read_only {
            let own = super::header::Own::load(&opened.store.mem);
            let same_boot = boot_id(&opened.store.mem) == settings.boot_id;
            opened.is_copy = own.is_copied_to(identity(&opened.data, real)?, same_boot);
        } else {
            let only =
                if settings.locks.name() == "process" { Some(opened.data_lock(settings.lock_wait)?) } else { None };
            let joined = opened.join(only)?;
            opened.member.install(joined);
        }
        Ok(opened)
    }

    /// As [`new`](Self::new), with the data lock held by the caller.
    pub(super) fn new_locked(
        real: &Path,
        data: File,
        mapping: Mapping,
        fixed: &Fixed,
        settings: &Settings,
        lock: DataLock,
    ) -> Result<Self> {
        let opened = Self::unattached(real, data, mapping, fixed, settings);
        let (only, _lock) = if settings.locks.name() == "process" { (Some(lock), None) } else { (None, Some(lock)) };
        let joined = opened.join(only)?;
        opened.member.install(joined);
        Ok(opened)
    }

    fn unattached(real: &Path, data: File, mapping: Mapping, fixed: &Fixed, settings: &Settings) -> Self {
        Self {
            real: real.into(),
            store: Store { mem: mapping, geometry: fixed.geometry, seed: fixed.seed },
            data,
            settings: settings.clone(),
            strategy_name: fixed.strategy_name.clone(),
            member: PerProcess::new(),
            unjoined: PerProcess::new(),
            is_copy: false,
            next: OnceLock::new(),
        }
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.store.geometry
    }

    pub(crate) fn id(&self) -> String {
        format_id(self.own_id())
    }

    fn own_id(&self) -> [u64; 2] {
        super::header::Own::load(&self.store.mem).id
    }

    /// Takes the data file's lock.
    fn data_lock(&self, limit: Duration) -> Result<DataLock> {
        DataLock::take(&self.data, &self.real, limit)?
            .ok_or_else(|| super::open::held_too_long(&self.real, &self.settings))
    }

    /// Makes this process a member. The data lock is held, or nobody else can see the file.
    fn join(&self, only: Option<DataLock>) -> Result<Joined> {
        let seats = Seats { mem: &self.store.mem, geometry: self.geometry() };
        let now_ms = self.settings.time.now_ms();
        let directory = lock_directory(&self.real, self.own_id());
        let shared = self.settings.locks.is_shared();
        let (seat, lease) = if shared {
            let (seat, lease) = seats.take(&directory, now_ms).map_err(|error| self.seat_error(error))?;
            (seat, Some(lease))
        } else {
            (seats.take_only(now_ms), None)
        };
        let place = LockPlace { directory, regions: self.geometry().shape.lock_regions, inodes: self.lock_inodes() };
        let locks = self
            .settings
            .locks
            .attach(&place)
            .map_err(|source| Error::LocksLost { path: self.real.clone(), detail: source.to_string() })?;
        let counts_alone = self.settings.locks.name() != "none";
        let who = Who { seat, pid: std::process::id(), nonce: self.settings.random()? };
        Ok(Joined { member: Member { seat, counts_alone, locks, _lease: lease }, who, _only: only })
    }

    fn lock_inodes(&self) -> Arc<[u64]> {
        let regions = 0..self.geometry().shape.lock_regions;
        regions.map(|stripe| self.store.stripe_word(stripe, at!(Stripe.lock_inode)).get()).collect()
    }

    fn seat_error(&self, error: SeatError) -> Error {
        let path = self.real.clone();
        match error {
            SeatError::Full => Error::SeatsFull { path, seats: self.geometry().shape.seats },
            SeatError::Lost(detail) => Error::LocksLost { path, detail },
            SeatError::Io(source) => Error::Io { what: "take a seat in", path, source },
        }
    }

    /// This process's membership, if it has joined.
    #[inline]
    pub(crate) fn joined(&self) -> Option<&Joined> {
        self.member.get()
    }

    /// This process's membership; a forked child joins here.
    #[inline]
    pub(crate) fn member(&self) -> Result<&Joined> {
        match self.member.get() {
            Some(joined) => Ok(joined),
            None => self.join_late(self.settings.lock_wait),
        }
    }

    /// This process's membership for a read, which does without if it must.
    #[inline]
    pub(crate) fn joined_for_read(&self) -> Option<&Joined> {
        match self.member.get() {
            Some(joined) => Some(joined),
            None if self.settings.read_only => None,
            None => self.join_for_read(),
        }
    }

    #[cold]
    fn join_for_read(&self) -> Option<&Joined> {
        if self.unjoined.get().is_some() {
            return None;
        }
        let joined = self.join_late(READ_JOIN_WAIT.min(self.settings.lock_wait)).ok();
        if joined.is_none() {
            self.unjoined.install(());
        }
        joined
    }

    fn join_late(&self, limit: Duration) -> Result<&Joined> {
        if self.settings.read_only {
            return Err(Error::ReadOnly(self.real.clone()));
        }
        let lock = self.data_lock(limit)?;
        // Another thread may have been faster.
        if let Some(joined) = self.member.get() {
            return Ok(joined);
        }
        let (only, _lock) =
            if self.settings.locks.name() == "process" { (Some(lock), None) } else { (None, Some(lock)) };
        Ok(self.member.install(self.join(only)?))
    }

    /// The file that took this one's place, if that was found out.
    #[inline]
    pub(crate) fn next(&self) -> Option<&Arc<Opened>> {
        self.next.get()
    }

    /// Whether the file was replaced or destroyed by somebody.
    #[inline]
    pub(crate) fn is_replaced(&self) -> bool {
        self.store.mem.word(at!(replaced)).get() != 0
    }

    /// Says to all who have this file open that another took its place, or that it is gone. The data lock is held.
    pub(super) fn mark_replaced(mapping: &Mapping, replaced: bool) {
        mapping.word(at!(replaced)).set(Step::Header, replaced.into());
    }

    /// Opens the file that took this one's place.
    pub(crate) fn follow(&self) -> Result<&Arc<Opened>> {
        if let Some(next) = self.next.get() {
            return Ok(next);
        }
        let next = Arc::new(super::open::open(&self.real, &self.settings)?);
        let _ = self.next.set(next);
        self.next.get().ok_or_else(|| Error::NotFound(self.real.clone()))
    }

    /// A read-only handle cannot reset a file from before a restart of the host, nor adopt a copy: whether this is
    /// one of them.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.settings.read_only && (self.is_copy || boot_id(&self.store.mem) != self.settings.boot_id)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(joined) = self.member.get() {
            Seats { mem: &self.store.mem, geometry: &self.store.geometry }.leave(joined.member.seat);
        }
    }
}

/// Identity of the open data file.
pub(super) fn identity(data: &File, real: &Path) -> Result<platform::Identity> {
    platform::identity(data).map_err(Error::io("examine", real))
}
