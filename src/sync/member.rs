//! Members: each attached process has a seat in the file, and holds a lease as proof that it lives.
//!
//! A seat has a number and a generation that each attach raises. Together they name one member for ever; a process id
//! would not, since an id means a different process in each container, and may be reused. The lease is an exclusive
//! lock on a file of the lock directory: *a process that can take it has proved the member dead.* A seat keeps its
//! counters when its member changes, so no counts are lost when a member is killed.

use super::fork::own_pid;
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
pub(crate) struct MemberId {
    pub seat: u32,
    pub generation: u32,
}

fn lease_path(directory: &Path, seat: u32) -> PathBuf {
    directory.join(format!("{seat:06}.lease"))
}

/// Whether a name in a lock directory has the form of a lease file's name.
pub(crate) fn is_lease_name(name: &str) -> bool {
    name.strip_suffix(".lease").is_some_and(|seat| seat.len() >= 6 && seat.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Makes the lease file of a seat that no member has used since the last reset. The file may exist already: from before
/// that reset, or because its maker was killed before it stored the inode number. Such a file proves nothing about any
/// member, and reusing it is safe because the caller holds the opening lock.
fn make_lease(path: &Path, mode: u32) -> io::Result<LockFile> {
    match LockFile::create(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    match LockFile::open(path) {
        // A process of another user made the file, and was killed before it set the mode.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::remove_file(path)?;
            LockFile::create(path, mode)
        }
        Ok(file) => {
            // This fails on another user's file, which does not matter, since the file could be opened.
            let _ = platform::set_mode(&file, mode);
            Ok(file)
        }
        failed => failed,
    }
}

/// How long to look for a seat while all seem taken.
const TAKE_WAIT: Duration = Duration::from_millis(100);
/// Number of taken seats that are tested for a dead member before a free seat is used.
const PROBES: u32 = 8;

/// The seats of a file, and its lock words. A process that changes a seat holds the opening lock.
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
    /// The lock word of a region. Its two words lie in the head of the region's first stripe.
    #[inline]
    pub(crate) fn lock_word(self, region: u32) -> LockWord<'a> {
        LockWord(self.mem.words(self.geometry.stripe(region) + at!(Stripe.lock_word)))
    }

    /// Lower half of a seat's generation; `None` if the seat number is out of range.
    pub(crate) fn generation(self, seat: u32) -> Option<u32> {
        (seat < self.geometry.shape.seats).then(|| self.word(seat, at!(Seat.generation)).get() as u32)
    }

    fn word(&self, seat: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.seat(seat) + field)
    }

    fn used(&self) -> u32 {
        self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32
    }

    fn is_taken(&self, seat: u32) -> bool {
        self.word(seat, at!(Seat.taken)).get() != 0
    }

    /// Takes a seat, of a dead member or a free one, and its lease; `None` while all seats have living members. This
    /// retries for a while, since a lease that is held does not prove its member alive: a process that tests a member
    /// holds the lease for a moment. A new lease file gets the permission bits `mode`; `plain_device` is that of
    /// [`Lease::keep`].
    pub(crate) fn take(
        &self,
        directory: &Path,
        mode: u32,
        plain_device: Option<u64>,
        now_ms: u64,
    ) -> io::Result<Option<(MemberId, Lease)>> {
        let mut taken = None;
        wait_for(TAKE_WAIT, || {
            taken = self.try_take(directory, mode)?;
            Ok(taken.is_some())
        })?;
        let Some((seat, file)) = taken else { return Ok(None) };
        let lease = Lease::keep(file, &lease_path(directory, seat), plain_device)?;
        Ok(Some((self.sit(seat, now_ms), lease)))
    }

    fn try_take(&self, directory: &Path, mode: u32) -> io::Result<Option<(u32, LockFile)>> {
        let used = self.used();
        let cursor = self.mem.word(at!(seat_cursor));
        // A few taken seats in rotation, so that seats of killed members come back into use.
        let in_rotation = (0..PROBES.min(used)).map(|_| {
            let seat = (cursor.get() % u64::from(used)) as u32;
            cursor.bump(Step::Seat, 1);
            seat
        });
        let probed = in_rotation.filter(|&seat| self.is_taken(seat));
        let free = (0..used).filter(|&seat| !self.is_taken(seat));
        let next = (used..self.geometry.shape.seats).take(1);
        for seat in probed.chain(free).chain(next).chain(0..used) {
            if let Some(lease) = self.try_lease(directory, mode, seat)? {
                if seat == used {
                    self.mem.word(at!(seats_used)).set(Step::Seat, u64::from(used) + 1);
                }
                return Ok(Some((seat, lease)));
            }
        }
        Ok(None)
    }

    /// Gives a seat to this process, which holds its lease. From then on, the name of the seat's previous member is
    /// that of a dead member.
    fn sit(&self, seat: u32, now_ms: u64) -> MemberId {
        let generation = self.word(seat, at!(Seat.generation));
        let raised = generation.get().wrapping_add(1);
        // A process that reads the new name in a lock word sees this generation, through that word's own `Release`.
        generation.store(Step::Seat, raised, Ordering::Release);
        self.word(seat, at!(Seat.pid)).set(Step::Seat, own_pid().into());
        self.word(seat, at!(Seat.started_ms)).set(Step::Seat, now_ms);
        self.word(seat, at!(Seat.taken)).set(Step::Seat, 1);
        MemberId { seat, generation: raised as u32 }
    }

    /// Takes seat 0 under a strategy without leases, where no other process uses the file: the strategy ensures that,
    /// or the caller has promised it.
    pub(crate) fn take_only(&self, now_ms: u64) -> MemberId {
        self.mem.word(at!(seats_used)).set(Step::Seat, 1);
        self.sit(0, now_ms)
    }

    /// Tries to take a seat's lease in order to use the seat: `None` while its member lives. The first user of a seat
    /// makes its lease file.
    fn try_lease(&self, directory: &Path, mode: u32, seat: u32) -> io::Result<Option<LockFile>> {
        let inode = self.word(seat, at!(Seat.lease_inode));
        if inode.get() != 0 {
            return self.prove_dead(directory, seat);
        }
        let lease = make_lease(&lease_path(directory, seat), mode)?;
        inode.set(Step::Seat, lease.identity().inode);
        Ok(lease.try_lock_exclusive()?.then_some(lease))
    }

    /// Tries to take the lease of a seat that has been used: `None` while its member lives. While the caller keeps the
    /// lease, no process can take the seat. This never makes a lease file, since a new one would prove nothing: if the
    /// file is missing or is another one, the error is of kind [`NotFound`](io::ErrorKind::NotFound).
    pub(crate) fn prove_dead(self, directory: &Path, seat: u32) -> io::Result<Option<LockFile>> {
        let inode = self.word(seat, at!(Seat.lease_inode)).get();
        let lease = LockFile::open_known(&lease_path(directory, seat), "lease file", inode)?;
        Ok(lease.try_lock_exclusive()?.then_some(lease))
    }

    /// Whether the seat has had a member since the last reset.
    pub(crate) fn was_used(self, seat: u32) -> bool {
        self.word(seat, at!(Seat.lease_inode)).get() != 0
    }

    /// Whether any seat has a living member.
    pub(crate) fn any_alive(&self, directory: &Path) -> io::Result<bool> {
        for seat in (0..self.used()).filter(|&seat| self.is_taken(seat)) {
            match self.prove_dead(directory, seat) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Marks a seat as free when its member detaches.
    pub(crate) fn leave(&self, seat: u32) {
        self.word(seat, at!(Seat.taken)).set(Step::Seat, 0);
    }

    /// Number of seats whose member has not left; a killed member counts until its seat is taken again.
    pub(crate) fn taken(&self) -> u32 {
        (0..self.used()).filter(|&seat| self.is_taken(seat)).count() as u32
    }

    /// Forgets all members and their leases when the file is reset. The generation of each seat starts again at `base`.
    pub(crate) fn reset(&self, base: u64) {
        for seat in 0..self.used() {
            self.word(seat, at!(Seat.taken)).set(Step::Header, 0);
            self.word(seat, at!(Seat.lease_inode)).set(Step::Header, 0);
            self.word(seat, at!(Seat.generation)).set(Step::Header, base);
        }
        self.mem.word(at!(seat_cursor)).set(Step::Header, 0);
    }
}
