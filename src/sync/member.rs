//! Members: each attached process has a seat in the file, and proves that it lives by holding a lease.
//!
//! A seat is a number with a generation that each attach raises; together they name one member for ever, where
//! a process id would mean another process in each container and another one tomorrow. The lease is an
//! exclusive lock on a file of the lock directory: *whoever can take it has proved the member dead.* The
//! counters of a seat are not reset: its next member goes on counting, so nothing is lost when one is killed.

use super::fork::LockFile;
use super::locks::Locks;
use super::wait::wait_for;
use crate::platform;
use crate::shm::layout::{OWN_LINES, at};
use crate::shm::memory::Word;
use crate::shm::{Geometry, Memory, Step};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// This process as a member of one cache file.
pub(crate) struct Member {
    pub seat: u32,
    /// Whether a thread's counter line is its own; with strategy `none` several processes may share a seat.
    pub counts_alone: bool,
    pub locks: Locks,
    /// Held for the member's life.
    pub _lease: Option<LockFile>,
}

/// Why there is no seat.
pub(crate) enum SeatError {
    /// All seats have living members.
    Full,
    /// A lease file that should be there is not, or is another one.
    Lost(String),
    Io(io::Error),
}

impl From<io::Error> for SeatError {
    fn from(error: io::Error) -> Self {
        SeatError::Io(error)
    }
}

/// How long a seat is looked for while all seem taken.
const TAKE_WAIT: Duration = Duration::from_millis(100);
/// Seats that are looked at for a dead member before a free one is taken.
const PROBES: u64 = 8;

/// The seats of a file. Whoever changes them holds the data file's lock.
pub(crate) struct Seats<'a, M> {
    pub mem: &'a M,
    pub geometry: &'a Geometry,
}

impl<M: Memory> Seats<'_, M> {
    fn word(&self, seat: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.seat(seat) + field)
    }

    fn used(&self) -> u32 {
        self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32
    }

    /// Takes a seat with its lease: a dead member's, or a free one. Somebody who looks whether a member lives holds
    /// its lease for a moment, so one failure does not mean that all seats are taken.
    pub(crate) fn take(&self, directory: &Path, now_ms: u64) -> Result<(u32, LockFile), SeatError> {
        let mut taken = None;
        wait_for(TAKE_WAIT, || {
            taken = self.try_take(directory)?;
            Ok::<_, SeatError>(taken.is_some())
        })?;
        taken.map(|seat| self.sit(seat, now_ms)).ok_or(SeatError::Full)
    }

    fn try_take(&self, directory: &Path) -> Result<Option<(u32, LockFile)>, SeatError> {
        if let Some(dead) = self.take_dead(directory)? {
            return Ok(Some(dead));
        }
        let used = self.used();
        for seat in (0..used).filter(|&seat| self.word(seat, at!(Seat.taken)).get() == 0) {
            if let Some(lease) = self.try_lease(directory, seat)? {
                return Ok(Some((seat, lease)));
            }
        }
        if used < self.geometry.shape.seats
            && let Some(lease) = self.try_lease(directory, used)?
        {
            self.mem.word(at!(seats_used)).set(Step::Seat, u64::from(used) + 1);
            return Ok(Some((used, lease)));
        }
        for seat in 0..used {
            if let Some(lease) = self.try_lease(directory, seat)? {
                return Ok(Some((seat, lease)));
            }
        }
        Ok(None)
    }

    /// Probes a few taken seats in turn, so that those of killed members come back into use.
    fn take_dead(&self, directory: &Path) -> Result<Option<(u32, LockFile)>, SeatError> {
        let used = u64::from(self.used());
        let cursor = self.mem.word(at!(seat_cursor));
        for _ in 0..PROBES.min(used) {
            let seat = (cursor.get() % used) as u32;
            cursor.bump(Step::Seat, 1);
            if self.word(seat, at!(Seat.taken)).get() != 0
                && let Some(lease) = self.try_lease(directory, seat)?
            {
                return Ok(Some((seat, lease)));
            }
        }
        Ok(None)
    }

    fn sit(&self, (seat, lease): (u32, LockFile), now_ms: u64) -> (u32, LockFile) {
        let generation = self.word(seat, at!(Seat.generation));
        generation.store(Step::Seat, generation.get().wrapping_add(1), Ordering::Release);
        self.word(seat, at!(Seat.pid)).set(Step::Seat, std::process::id().into());
        self.word(seat, at!(Seat.started_ms)).set(Step::Seat, now_ms);
        self.word(seat, at!(Seat.taken)).set(Step::Seat, 1);
        (seat, lease)
    }

    /// Sits down where seats need no lease: all threads that use the file are this process's, or promised to be.
    pub(crate) fn take_only(&self, now_ms: u64) -> u32 {
        self.mem.word(at!(seats_used)).set(Step::Seat, 1);
        let generation = self.word(0, at!(Seat.generation));
        generation.set(Step::Seat, generation.get().wrapping_add(1));
        self.word(0, at!(Seat.pid)).set(Step::Seat, std::process::id().into());
        self.word(0, at!(Seat.started_ms)).set(Step::Seat, now_ms);
        self.word(0, at!(Seat.taken)).set(Step::Seat, 1);
        0
    }

    /// Tries to take a seat's lease: `None` while its member lives.
    fn try_lease(&self, directory: &Path, seat: u32) -> Result<Option<LockFile>, SeatError> {
        let path = directory.join(format!("{seat:06}.lease"));
        let inode = self.word(seat, at!(Seat.lease_inode));
        // Only the first to use a seat makes its lease file; a prober must not make a second one.
        let make = inode.get() == 0;
        let lease = match LockFile::open_with(OpenOptions::new().read(true).write(true).create(make), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SeatError::Lost(format!("expected the lease file {}, found none", path.display())));
            }
            other => other?,
        };
        let found = platform::identity(&lease)?.inode;
        if make {
            inode.set(Step::Seat, found);
        } else if inode.get() != found {
            let expected = inode.get();
            let why = format!("lease file {}: expected inode {expected}, found {found}", path.display());
            return Err(SeatError::Lost(why));
        }
        Ok(super::locks::try_lock_exclusive(&lease)?.then_some(lease))
    }

    /// Whether any seat has a living member.
    pub(crate) fn any_alive(&self, directory: &Path) -> Result<bool, SeatError> {
        for seat in (0..self.used()).filter(|&seat| self.word(seat, at!(Seat.taken)).get() != 0) {
            match self.try_lease(directory, seat) {
                Ok(Some(_)) | Err(SeatError::Lost(_)) => {}
                Ok(None) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Leaves a seat in good order.
    pub(crate) fn leave(&self, seat: u32) {
        self.word(seat, at!(Seat.taken)).set(Step::Seat, 0);
    }

    /// Seats whose member has not left; a killed one counts until its seat is taken again.
    pub(crate) fn taken(&self) -> u32 {
        (0..self.used()).filter(|&seat| self.word(seat, at!(Seat.taken)).get() != 0).count() as u32
    }

    /// Forgets all members, after a restart of the host: seats, leases and owners start anew.
    pub(crate) fn reset(&self, base: u64) {
        for seat in 0..self.used() {
            self.word(seat, at!(Seat.taken)).set(Step::Header, 0);
            self.word(seat, at!(Seat.lease_inode)).set(Step::Header, 0);
            self.word(seat, at!(Seat.generation)).set(Step::Header, base);
        }
        self.mem.word(at!(seat_cursor)).set(Step::Header, 0);
    }
}

/// Which of the counter lines with an owner are taken by a thread of this process, a bit each.
static LINES: AtomicU8 = AtomicU8::new(0);

struct OwnLine(usize);

impl OwnLine {
    fn take() -> Self {
        let mut taken = LINES.load(Ordering::Relaxed);
        loop {
            let line = taken.trailing_ones() as usize;
            if line >= OWN_LINES {
                return Self(OWN_LINES);
            }
            // Acquires what the line's last thread counted, so that this one goes on from there.
            match LINES.compare_exchange(taken, taken | 1 << line, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Self(line),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for OwnLine {
    fn drop(&mut self) {
        if self.0 < OWN_LINES {
            LINES.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

thread_local! {
    static LINE: OwnLine = OwnLine::take();
}

/// The counter line of this thread: one of its own, or the shared one that all further threads add to.
#[inline]
pub(crate) fn line_of_thread() -> usize {
    LINE.try_with(|line| line.0).unwrap_or(OWN_LINES)
}

/// In a forked child only the thread that forked lives on.
pub(super) fn forget_other_threads() {
    let mine = line_of_thread();
    LINES.store(if mine < OWN_LINES { 1 << mine } else { 0 }, Ordering::Relaxed);
}
