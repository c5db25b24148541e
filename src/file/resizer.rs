//! Closed files: a process closes a file to writers when it is about to replace the file by one of another size.
//!
//! The closing process holds the opening lock, has its name in the header, and has a lease. If it dies, another process
//! opens the file to writers again: a process that has proved the first one dead, holds the opening lock, and finds the
//! file at its path. If the closing process loses its descriptors, and with them the opening lock, it still has its
//! lease, and other processes wait for it.

use super::attached::AttachedFile;
use super::header::{FileIdentity, FileParams};
use super::place::{DataLock, lock_directory};
use crate::error::{Error, Result, WHOLE_FILE};
use crate::fault::{Fault, injected};
use crate::shm::Geometry;
use crate::shm::mapping::Mapping;
use crate::store::HeaderWords;
use crate::store::claim::Owner;
use crate::store::durable::says_closed;
use crate::sync::lock_file::LockFile;
use crate::sync::locks::LockStrategy;
use crate::sync::member::Seats;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a process tests whether the process that closed the file is dead.
const TEST_EVERY_MS: u64 = 10;

/// The process that the header names as the resizer.
pub(super) enum Resizer {
    Alive,
    /// It is dead, and stays so while this value lives.
    Dead(#[expect(dead_code, reason = "held, never read")] Option<LockFile>),
}

impl Resizer {
    /// Tests the resizer of the file at a path. `has_leases`: the strategy has leases; without them only one process
    /// uses the file.
    pub(super) fn of(mapping: &Mapping, geometry: &Geometry, real: &Path, has_leases: bool) -> Result<Self> {
        let (seats, name) = (Seats { mem: mapping, geometry }, HeaderWords(mapping).resizer());
        let owner = Owner { member: name, task: 0 };
        let seat = owner.seat();
        if name == 0 || !has_leases || seats.generation(seat) != Some(owner.generation()) || !seats.was_used(seat) {
            return Ok(Self::Dead(None));
        }
        let directory = lock_directory(real, FileIdentity::load(mapping).id);
        match seats.prove_dead(&directory, seat) {
            Ok(Some(lease)) => Ok(Self::Dead(Some(lease))),
            // A lost lease proves nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Alive),
            Ok(None) => Ok(Self::Alive),
            Err(error) => Err(Error::locks("test a member of", real)(error)),
        }
    }
}

/// Whether a living process has closed this file. The caller holds the opening lock, which that process has lost.
pub(super) fn is_closed_by_living(mapping: &Mapping, fixed: &FileParams, real: &Path) -> Result<bool> {
    if !HeaderWords(mapping).is_closed() {
        return Ok(false);
    }
    let has_leases = ![LockStrategy::Process.id(), LockStrategy::None.id()].contains(&fixed.strategy_id);
    Ok(matches!(Resizer::of(mapping, &fixed.geometry, real, has_leases)?, Resizer::Alive))
}

/// Clears the replaced mark and opens the file to writers, after a resizer has died or given up. The caller holds the
/// opening lock of the file at its path.
pub(super) fn take_back(mapping: &Mapping) -> io::Result<()> {
    let words = HeaderWords(mapping);
    if injected(Fault::LeftClosed) {
        return Ok(());
    }
    // Before the file is opened to writers: a reader that finds no mark does not look at the path.
    words.set_replaced_mark(0);
    words.reopen()
}

impl AttachedFile {
    /// The error for a caller that was not let into a stripe.
    #[cold]
    pub(super) fn refused(&self, what: &'static str, error: io::Error) -> Error {
        if !says_closed(&error) {
            return Error::io(what, &self.real)(error);
        }
        self.reopen_if_abandoned();
        Error::Busy { stripe: WHOLE_FILE, waited: Duration::ZERO }
    }

    /// Withdraws the mark of a flush before a change that takes no lock.
    pub(crate) fn mark_dirty(&self) -> Result<()> {
        self.store.mark_dirty().map_err(|error| self.refused("mark as written", error))
    }

    /// Whether writers must wait, since the file is about to be replaced by one of another size.
    pub(crate) fn is_closed(&self) -> bool {
        self.store.is_closed()
    }

    /// Whether a process resizes the file, or has died while it did.
    pub(crate) fn is_being_resized(&self) -> bool {
        self.words().resizer() != 0
    }

    /// Returns the error for a closed file, if this file is closed.
    pub(crate) fn must_be_open(&self) -> Result<()> {
        self.store.must_be_open().map_err(|error| self.refused("write to", error))
    }

    /// [`must_be_open`](Self::must_be_open) for a thread that has stored a word of the header under no lock.
    pub(crate) fn must_have_been_open(&self) -> Result<()> {
        self.store.must_have_been_open().map_err(|error| self.refused("write to", error))
    }

    /// Opens the file to writers again if the process that closed it is dead.
    fn reopen_if_abandoned(&self) {
        if !self.is_due(&self.next_reopen_ms, TEST_EVERY_MS) {
            return;
        }
        let has_leases = self.settings.locks.is_shared();
        // Without leases this very process closed the file, unless it has only just died.
        if !has_leases && self.keeps_data_lock() {
            return;
        }
        // Under the lock, so that no other process can begin to resize the file meanwhile.
        let Ok(Some(_lock)) = DataLock::take_again(&self.data, &self.real, Duration::ZERO) else { return };
        let resizer = Resizer::of(&self.store.mem, self.geometry(), &self.real, has_leases);
        if let Ok(_dead @ Resizer::Dead(_)) = resizer
            && self.is_named().unwrap_or(false)
        {
            // On an error the file stays closed, and the next caller tries again.
            let _ = take_back(&self.store.mem);
        }
    }
}
