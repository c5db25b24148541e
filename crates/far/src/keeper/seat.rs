//! Seats: lock files beside the near file. The holder of one tracks.
//!
//! A seat is a record lock, which belongs to a process: a forked child does not hold it, and the system releases it when
//! the process ends. Such a lock does not exclude other threads of the process, and closing any descriptor of the file
//! gives it up; so a process-wide list says which seats this process has.
//!
//! The file names the holder's connections, one to each master. If a tracker is stopped, or a forked child keeps its
//! socket open, the server goes on filling the connection's output buffer. So the next holder closes such a connection
//! at the server.

use arc_swap::ArcSwap;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// The seats whose files this process has open, each with the process's id: a child inherits the list.
static OPEN: LazyLock<ArcSwap<Vec<(u32, PathBuf, Use)>>> = LazyLock::new(ArcSwap::default);

/// The names of the trackers' seats, and that of the volunteer.
pub(crate) const SEATS: [&str; 2] = ["seat-0", "seat-1"];
pub(crate) const VOLUNTEER: &str = "volunteer";

/// How many connections a seat's file names at most, and how long it may be.
const MOST_HOLDERS: usize = 512;
const LONGEST_TEXT: u64 = 64 << 10;

pub(crate) struct Seat {
    file: File,
    // The last field, so it is dropped after the file is closed: closing gives up every lock of this process on the file,
    // that of another handle too, if the seat were free for it before.
    reserved: Reserved,
}

/// A connection of a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub client_id: i64,
    pub run_id: String,
}

impl Seat {
    /// The path of a seat's file.
    pub(crate) fn path(near: &Path, namespace: &str, seat: &str) -> PathBuf {
        let mut name = near.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.{seat}", namespace.replace(':', "-")));
        near.with_file_name(name)
    }

    /// The part of its path that distinguishes it from other seats.
    pub(crate) fn short_name(&self) -> String {
        let name = self.reserved.1.to_string_lossy();
        name.rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// Takes a seat if no process holds it.
    pub(crate) fn try_take(near: &Path, path: &Path) -> io::Result<Option<Self>> {
        let Some(reserved) = Reserved::to(Use::Take, path) else { return Ok(None) };
        Ok(lock(near, path)?.map(|file| Self { file, reserved }))
    }

    /// The connection to this run of a server that the previous holder of the seat had, unless it gave the seat back.
    pub(crate) fn last_holder(&mut self, run_id: &str) -> Option<i64> {
        self.holders().into_iter().find(|holder| holder.run_id == run_id).map(|holder| holder.client_id)
    }

    /// Records a connection of the holder, in place of an earlier one to the same run.
    pub(crate) fn name(&mut self, holder: Holder) {
        let mut holders = self.holders();
        holders.retain(|other| other.run_id != holder.run_id);
        // The first ones are to runs that may have ended long ago.
        let surplus = (holders.len() + 1).saturating_sub(MOST_HOLDERS);
        holders.drain(..surplus);
        holders.push(holder);
        self.write(&holders);
    }

    /// Forgets the holder's connection to a run, which is closed.
    pub(crate) fn forget(&mut self, run_id: &str) {
        let mut holders = self.holders();
        holders.retain(|other| other.run_id != run_id);
        self.write(&holders);
    }

    /// Forgets all connections: the seat is given back.
    pub(crate) fn clear(&mut self) {
        self.write(&[]);
    }

    fn holders(&mut self) -> Vec<Holder> {
        match self.file.seek(SeekFrom::Start(0)) {
            Ok(_) => named(&self.file),
            Err(_) => Vec::new(),
        }
    }

    fn write(&mut self, holders: &[Holder]) {
        let text: String = holders.iter().map(|holder| format!("{} {}\n", holder.client_id, holder.run_id)).collect();
        let write = || {
            self.file.set_len(0)?;
            (&self.file).seek(SeekFrom::Start(0))?;
            (&self.file).write_all(text.as_bytes())
        };
        // If this fails, the only consequence is that the successor does not close the connection.
        let _: io::Result<()> = write();
    }
}

/// The connections that a seat's file names. A damaged file names none.
fn named(file: &File) -> Vec<Holder> {
    let mut text = String::new();
    if file.take(LONGEST_TEXT).read_to_string(&mut text).is_err() {
        return Vec::new();
    }
    let holder = |line: &str| {
        let (client_id, run_id) = line.split_once(' ')?;
        Some(Holder { client_id: client_id.parse().ok()?, run_id: run_id.to_owned() })
    };
    text.lines().filter_map(holder).collect()
}

/// A seat as another process sees it.
#[derive(Debug)]
pub(crate) struct SeatFile {
    /// Whether some process has it.
    pub is_held: bool,
    /// The id of that process, unless it is in a process namespace that this one does not see.
    pub pid: Option<u32>,
    /// Its connections.
    pub holders: Vec<Holder>,
}

/// Looks at the seats of a near tier without touching their locks. Seats that no process ever took are left out.
pub(crate) fn look_at_seats(near: &Path, namespace: &str) -> Vec<(&'static str, io::Result<SeatFile>)> {
    let look = |name| match look_at(&Seat::path(near, namespace, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some((name, found)),
    };
    SEATS.into_iter().chain([VOLUNTEER]).filter_map(look).collect()
}

fn look_at(path: &Path) -> io::Result<SeatFile> {
    // Opening and closing the file would give up this process's own lock.
    let Some(_reserved) = Reserved::to(Use::Look, path) else {
        return Ok(SeatFile { is_held: true, pid: Some(std::process::id()), holders: Vec::new() });
    };
    let file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW | NO_WAIT).open(path)?;
    let lock = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
    let pid = lock.and_then(|lock| lock.pid).and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    let holders = if lock.is_some() { named(&file) } else { Vec::new() };
    Ok(SeatFile { is_held: lock.is_some(), pid, holders })
}

fn lock(near: &Path, path: &Path) -> io::Result<Option<File>> {
    // Each process that may use the near file may take a seat.
    let mode = std::fs::metadata(near).map_or(0o600, |meta| meta.mode() & 0o666);
    let open = |create| {
        OpenOptions::new().read(true).write(true).create_new(create).custom_flags(NO_FOLLOW).mode(mode).open(path)
    };
    let file = match open(true) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(mode))?;
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(false)?,
        Err(error) => return Err(error),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Why a process has a seat's file open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It holds the seat, or tries to take it.
    Take,
    Look,
}

/// An entry of [`OPEN`]. While a handle has it, the handle can open and close the seat's file without giving up a lock of
/// another handle of this process.
struct Reserved(Use, PathBuf);

impl Reserved {
    /// `None` if another handle of this process uses the file. Only looks do not exclude each other.
    fn to(use_: Use, path: &Path) -> Option<Self> {
        let mut is_free = false;
        change_open(|open, me| {
            is_free = open.iter().all(|(_, seat, other)| seat != path || (use_ == Use::Look && *other == Use::Look));
            if is_free {
                open.push((me, path.to_owned(), use_));
            }
        });
        is_free.then(|| Self(use_, path.to_owned()))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        change_open(|open, _| {
            if let Some(at) = open.iter().position(|(_, seat, use_)| *seat == self.1 && *use_ == self.0) {
                open.swap_remove(at);
            }
        });
    }
}

/// Changes this process's entries of [`OPEN`], and removes those that it inherited. `change` gets the entries and the
/// process's id, and is called again if another thread has changed the list meanwhile.
fn change_open(mut change: impl FnMut(&mut Vec<(u32, PathBuf, Use)>, u32)) {
    let me = std::process::id();
    OPEN.rcu(|open| {
        let mut own = open.iter().filter(|(process, ..)| *process == me).cloned().collect();
        change(&mut own, me);
        Arc::new(own)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_one_holder_even_within_a_process_and_names_the_last_one() {
        let place = tempfile::tempdir().unwrap();
        let near = place.path().join("near");
        std::fs::write(&near, "").unwrap();
        let path = Seat::path(&near, "kennel-far:12", "seat-0");
        assert_eq!(path, place.path().join("near.kennel-far-12.seat-0"));
        let mut seat = Seat::try_take(&near, &path).unwrap().unwrap();
        assert!(Seat::try_take(&near, &path).unwrap().is_none(), "a second handle of the same process");
        assert_eq!(seat.last_holder("abc"), None);
        let holder = |client_id, run_id: &str| Holder { client_id, run_id: run_id.into() };
        seat.name(holder(17, "abc"));
        seat.name(holder(18, "def"));
        seat.name(holder(19, "abc"));
        let seen = look_at_seats(&near, "kennel-far:12");
        assert!(matches!(seen.as_slice(), [("seat-0", Ok(SeatFile { is_held: true, pid: Some(_), .. }))]), "{seen:?}");
        assert!(Seat::try_take(&near, &path).unwrap().is_none(), "a look does not give the lock up");
        drop(seat);
        let seen = look_at_seats(&near, "kennel-far:12");
        assert!(matches!(seen.as_slice(), [(_, Ok(SeatFile { is_held: false, pid: None, .. }))]), "{seen:?}");
        let mut seat = Seat::try_take(&near, &path).unwrap().unwrap();
        assert_eq!((seat.last_holder("abc"), seat.last_holder("def")), (Some(19), Some(18)));
        seat.forget("abc");
        assert_eq!((seat.last_holder("abc"), seat.last_holder("def")), (None, Some(18)));
        (0..1000).for_each(|n| seat.name(holder(n, &format!("{n:040}"))));
        assert_eq!((seat.last_holder("def"), seat.last_holder(&format!("{:040}", 999))), (None, Some(999)));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&near, &link).unwrap();
        assert!(Seat::try_take(&near, &link).is_err(), "links are not followed");
    }

    /// Whether this process has a lock on the file. A lock of an open file description, which is asked about here, is in
    /// conflict with the locks of its own process, too.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "rustix does not ask about such locks")]
    fn is_locked(file: &File) -> bool {
        use std::os::fd::AsRawFd as _;
        // SAFETY: zeros are a value of the struct: a lock to read the whole file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        // SAFETY: the call reads and writes the struct.
        let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(asked, 0, "{}", io::Error::last_os_error());
        lock.l_type != libc::F_UNLCK as libc::c_short
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_other_handle_of_the_process_gives_up_a_seat() {
        let place = tempfile::tempdir().unwrap();
        let near = place.path().join("near");
        std::fs::write(&near, "").unwrap();
        let path = Seat::path(&near, "kennel-far:12", "seat-0");
        let take_all_the_time = || {
            let mut taken = 0;
            while taken < 1000 {
                let Some(seat) = Seat::try_take(&near, &path).unwrap() else { continue };
                std::thread::yield_now();
                assert!(is_locked(&seat.file), "after {taken}");
                taken += 1;
            }
        };
        std::thread::scope(|scope| {
            let takers = [scope.spawn(take_all_the_time), scope.spawn(take_all_the_time)];
            while !takers.iter().all(|taker| taker.is_finished()) {
                look_at_seats(&near, "kennel-far:12");
            }
        });
    }
}
