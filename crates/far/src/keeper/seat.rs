//! Seats: lock files beside the near file. The holder of one tracks.
//!
//! A seat is a record lock, which belongs to a process: a forked child does not hold it, and the system releases it when
//! the process ends. Such a lock does not exclude other threads of the process, and closing any descriptor of the file
//! gives it up; so a process-wide list says which seats this process has.
//!
//! The file names the holder's connection. The server would go on filling the output buffer of a tracker that is
//! stopped, or of which a forked child keeps the socket open; so the next holder closes that connection at the server.

use arc_swap::ArcSwap;
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// The seats that this process holds or is trying to take, each with the process's id: a child inherits the list.
static TAKEN: LazyLock<ArcSwap<Vec<(u32, PathBuf)>>> = LazyLock::new(ArcSwap::default);

pub(crate) struct Seat {
    file: File,
    path: PathBuf,
}

/// A tracker's connection.
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

    /// Takes a seat that nobody holds.
    pub(crate) fn try_take(near: &Path, path: &Path) -> io::Result<Option<Self>> {
        if !reserve(path) {
            return Ok(None);
        }
        let taken = lock(near, path);
        if !matches!(taken, Ok(Some(_))) {
            forget(path);
        }
        Ok(taken?.map(|file| Self { file, path: path.to_owned() }))
    }

    /// The connection of the previous holder of the seat, unless that holder gave the seat back.
    pub(crate) fn last_holder(&mut self) -> Option<Holder> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0)).ok()?;
        (&self.file).take(200).read_to_string(&mut text).ok()?;
        let (client_id, run_id) = text.trim_end().split_once(' ')?;
        Some(Holder { client_id: client_id.parse().ok()?, run_id: run_id.to_owned() })
    }

    /// Names the holder's connection; `None` when it has none.
    pub(crate) fn name(&mut self, holder: Option<&Holder>) {
        let text = holder.map(|holder| format!("{} {}\n", holder.client_id, holder.run_id)).unwrap_or_default();
        let write = || {
            self.file.set_len(0)?;
            (&self.file).seek(SeekFrom::Start(0))?;
            (&self.file).write_all(text.as_bytes())
        };
        // A holder without a name is only not closed by its successor.
        let _: io::Result<()> = write();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Until the descriptor is closed, another handle of this process could take the seat and lose it again.
        if let Ok(file) = self.file.try_clone() {
            let _ = fcntl_lock(&file, FlockOperation::NonBlockingUnlock);
        }
        forget(&self.path);
    }
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

/// Notes that this process has, or tries to take, a seat; `false` if it does already.
fn reserve(path: &Path) -> bool {
    let me = std::process::id();
    let mut is_free = false;
    TAKEN.rcu(|taken| {
        is_free = !taken.iter().any(|(process, seat)| *process == me && seat == path);
        let mut next: Vec<_> = taken.iter().filter(|(process, _)| *process == me).cloned().collect();
        if is_free {
            next.push((me, path.to_owned()));
        }
        Arc::new(next)
    });
    is_free
}

fn forget(path: &Path) {
    let me = std::process::id();
    TAKEN.rcu(|taken| {
        let rest = taken.iter().filter(|(process, seat)| *process == me && seat != path);
        Arc::new(rest.cloned().collect::<Vec<_>>())
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
        assert_eq!(seat.last_holder(), None);
        let holder = Holder { client_id: 17, run_id: "abc".into() };
        seat.name(Some(&holder));
        drop(seat);
        let mut seat = Seat::try_take(&near, &path).unwrap().unwrap();
        assert_eq!(seat.last_holder(), Some(holder));
        seat.name(None);
        assert_eq!(seat.last_holder(), None);
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&near, &link).unwrap();
        assert!(Seat::try_take(&near, &link).is_err(), "links are not followed");
    }
}
