//! Members: each attached process has a seat in the file, and proves that it lives by holding a lease.
//!
//! A seat is a number with a generation that each attach raises; together they name one member for ever, where
//! a process id would mean another process in each container and another one tomorrow. The lease is an
//! exclusive lock on a file of the lock directory: *whoever can take it has proved the member dead.* The
//! counters of a seat are not reset: its next member goes on counting, so nothing is lost when one is killed.

use super::lease::Lease;
use super::lock_file::LockFile;
use super::locks::lock_word::LockWord;
use super::wait::wait_for;
use crate::platform;
use crate::shm::layout::at;
use crate::shm::memory::Word;
use crate::shm::{Geometry, Memory, Step};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A member's name: its seat, and the lower half of the seat's generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub seat: u32,
    pub generation: u32,
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

fn lease_path(directory: &Path, seat: u32) -> PathBuf {
    directory.join(format!("{seat:06}.lease"))
}

/// Whether a name in a lock directory is that of a lease file.
pub(crate) fn is_lease_name(name: &str) -> bool {
    name.strip_suffix(".lease").is_some_and(|seat| seat.len() >= 6 && seat.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Makes the lease file of a seat that nobody used since the last reset. One may be there already: from before that
/// reset, or of a member that was killed before it stored its number. It proves nothing, and the data lock is held.
fn make_lease(path: &Path, mode: u32) -> io::Result<LockFile> {
    match LockFile::create(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    match LockFile::open(path) {
        // Of another user, who did not come to setting its mode.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::remove_file(path)?;
            LockFile::create(path, mode)
        }
        Ok(file) => {
            // Another user's is good as it is, since it could be opened.
            let _ = platform::set_mode(&file, mode);
            Ok(file)
        }
        failed => failed,
    }
}

/// How long a seat is looked for while all seem taken.
const TAKE_WAIT: Duration = Duration::from_millis(100);
/// Seats that are looked at for a dead member before a free one is taken.
const PROBES: u64 = 8;

/// The seats of a file, and its lock words. Whoever changes a seat holds the data file's lock.
pub(crate) struct Seats<'a, M> {
    pub mem: &'a M,
    pub geometry: &'a Geometry,
}

impl<M> Clone for Seats<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Seats<'_, M> {}

impl<'a, M: Memory> Seats<'a, M> {
    /// The words of a lock region lie in the head of its first stripe.
    #[inline]
    pub(crate) fn lock_word(self, region: u32) -> LockWord<'a> {
        let words = self.mem.words::<2>(self.geometry.stripe(region) + at!(Stripe.lock_word));
        LockWord { lock: words.at(0), sleep: words.at(1) }
    }

    /// Lower half of a seat's generation; `None` if there is no such seat.
    pub(crate) fn generation(self, seat: u32) -> Option<u32> {
        (seat < self.geometry.shape.seats).then(|| self.word(seat, at!(Seat.generation)).get() as u32)
    }

    fn word(&self, seat: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.seat(seat) + field)
    }

    fn used(&self) -> u32 {
        self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32
    }

    /// Takes a seat with its lease: a dead member's, or a free one. Somebody who looks whether a member lives holds
    /// its lease for a moment, so one failure does not mean that all seats are taken. A lease file that has to be made
    /// gets `mode`.
    pub(crate) fn take(&self, directory: &Path, mode: u32, now_ms: u64) -> Result<(Owner, Lease), SeatError> {
        let mut taken = None;
        wait_for(TAKE_WAIT, || {
            taken = self.try_take(directory, mode)?;
            Ok::<_, SeatError>(taken.is_some())
        })?;
        let (seat, file) = taken.ok_or(SeatError::Full)?;
        let lease = Lease::keep(file, &lease_path(directory, seat))?;
        Ok((self.sit(seat, now_ms), lease))
    }

    fn try_take(&self, directory: &Path, mode: u32) -> Result<Option<(u32, LockFile)>, SeatError> {
        if let Some(dead) = self.take_dead(directory, mode)? {
            return Ok(Some(dead));
        }
        let used = self.used();
        for seat in (0..used).filter(|&seat| self.word(seat, at!(Seat.taken)).get() == 0) {
            if let Some(lease) = self.try_lease(directory, mode, seat)? {
                return Ok(Some((seat, lease)));
            }
        }
        if used < self.geometry.shape.seats
            && let Some(lease) = self.try_lease(directory, mode, used)?
        {
            self.mem.word(at!(seats_used)).set(Step::Seat, u64::from(used) + 1);
            return Ok(Some((used, lease)));
        }
        for seat in 0..used {
            if let Some(lease) = self.try_lease(directory, mode, seat)? {
                return Ok(Some((seat, lease)));
            }
        }
        Ok(None)
    }

    /// Probes a few taken seats in turn, so that those of killed members come back into use.
    fn take_dead(&self, directory: &Path, mode: u32) -> Result<Option<(u32, LockFile)>, SeatError> {
        let used = u64::from(self.used());
        let cursor = self.mem.word(at!(seat_cursor));
        for _ in 0..PROBES.min(used) {
            let seat = (cursor.get() % used) as u32;
            cursor.bump(Step::Seat, 1);
            if self.word(seat, at!(Seat.taken)).get() != 0
                && let Some(lease) = self.try_lease(directory, mode, seat)?
            {
                return Ok(Some((seat, lease)));
            }
        }
        Ok(None)
    }

    /// Makes a seat whose lease is held this process's. What names the member before means a dead one from here on.
    fn sit(&self, seat: u32, now_ms: u64) -> Owner {
        let generation = self.word(seat, at!(Seat.generation));
        let raised = generation.get().wrapping_add(1);
        // Seen by whoever reads the name in a lock word, through that word's own `Release`.
        generation.store(Step::Seat, raised, Ordering::Release);
        self.word(seat, at!(Seat.pid)).set(Step::Seat, std::process::id().into());
        self.word(seat, at!(Seat.started_ms)).set(Step::Seat, now_ms);
        self.word(seat, at!(Seat.taken)).set(Step::Seat, 1);
        Owner { seat, generation: raised as u32 }
    }

    /// Sits down where seats need no lease: all threads that use the file are this process's, or promised to be.
    pub(crate) fn take_only(&self, now_ms: u64) -> Owner {
        self.mem.word(at!(seats_used)).set(Step::Seat, 1);
        self.sit(0, now_ms)
    }

    /// Tries to take a seat's lease to sit there: `None` while its member lives. The first to use a seat makes its
    /// lease file.
    fn try_lease(&self, directory: &Path, mode: u32, seat: u32) -> Result<Option<LockFile>, SeatError> {
        let inode = self.word(seat, at!(Seat.lease_inode));
        if inode.get() != 0 {
            return self.prove_dead(directory, seat);
        }
        let lease = make_lease(&lease_path(directory, seat), mode)?;
        inode.set(Step::Seat, lease.identity().inode);
        Ok(lease.try_lock_exclusive()?.then_some(lease))
    }

    /// Tries to take the lease of a seat that was used: `None` while its member lives. While the lease is kept nobody
    /// sits there. Never makes a file: a second one would prove nothing.
    pub(crate) fn prove_dead(self, directory: &Path, seat: u32) -> Result<Option<LockFile>, SeatError> {
        let path = lease_path(directory, seat);
        let lease = LockFile::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                SeatError::Lost(format!("expected the lease file {}, found none", path.display()))
            }
            // No regular file.
            io::ErrorKind::InvalidInput => SeatError::Lost(format!("lease file {}: {error}", path.display())),
            kind => SeatError::Io(io::Error::new(kind, format!("lease file {}: {error}", path.display()))),
        })?;
        let (expected, found) = (self.word(seat, at!(Seat.lease_inode)).get(), lease.identity().inode);
        if expected != found {
            let why = format!("lease file {}: expected inode {expected}, found {found}", path.display());
            return Err(SeatError::Lost(why));
        }
        Ok(lease.try_lock_exclusive()?.then_some(lease))
    }

    /// Whether anybody ever sat there, since the host started.
    pub(crate) fn was_used(self, seat: u32) -> bool {
        self.word(seat, at!(Seat.lease_inode)).get() != 0
    }

    /// Whether any seat has a living member.
    pub(crate) fn any_alive(&self, directory: &Path) -> Result<bool, SeatError> {
        for seat in (0..self.used()).filter(|&seat| self.word(seat, at!(Seat.taken)).get() != 0) {
            match self.prove_dead(directory, seat) {
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
