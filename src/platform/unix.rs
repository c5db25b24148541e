//! What Linux, macOS and the other Unix systems have in common.

#[cfg(target_vendor = "apple")]
use super::apple::path_of;
use super::file_type::{must_be_directory, must_be_regular};
use super::kinds::{Examined, ForkHandler, Identity, NewFile};
#[cfg(target_os = "linux")]
use super::linux::path_of;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
use super::other_unix::path_of;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Whether a mapped file can be replaced or removed. Unix allows that: the file lives on without a name.
pub(crate) const CAN_REPLACE_MAPPED: bool = true;

impl Examined {
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { identity: identity_of(&meta), file, meta })
    }
}

fn identity_of(meta: &Metadata) -> Identity {
    Identity { inode: meta.ino(), device: meta.dev() }
}

pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    Ok(identity_of(&file.metadata()?))
}

/// The identity of the file at a path; `None` if there is no file. This opens no descriptor and follows no symbolic
/// link.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<Identity>> {
    Ok(file_at(path)?.map(|(identity, _)| identity))
}

/// [`identity_at`], with the length of the file.
pub(crate) fn file_at(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some((identity_of(&meta), meta.len()))),
        Err(error) if is_vanishing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens an existing file if it is regular. It follows no symbolic link, and does not wait for the other end of a named
/// pipe.
pub(crate) fn open_file(path: &Path, writable: bool) -> io::Result<Examined> {
    // Checked before the open, too, since some devices react to being opened.
    must_be_regular(std::fs::symlink_metadata(path)?.file_type())?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(writable).custom_flags(flags).open(path)?;
    let examined = Examined::of(file)?;
    must_be_regular(examined.meta.file_type())?;
    Ok(examined)
}

/// Reads from a place of a file; 0 at its end.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match std::os::unix::fs::FileExt::read_at(file, into, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// [`open_file`] for a file of a lock directory, where nobody but its owner and root puts anything. The file is
/// examined once it is open. The path is examined only to explain an error.
pub(crate) fn open_own_file(path: &Path) -> io::Result<Examined> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => {
            let examined = Examined::of(file)?;
            must_be_regular(examined.meta.file_type())?;
            Ok(examined)
        }
        Err(error) => {
            must_be_regular(std::fs::symlink_metadata(path)?.file_type())?;
            Err(error)
        }
    }
}

/// Whether an open file has lost all its names.
pub(crate) fn is_unlinked(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.nlink() == 0)
}

/// An absolute path as people write it: on Unix, the path itself.
pub(crate) fn usual_form(path: PathBuf) -> PathBuf {
    path
}

/// The inode number of a directory; 0 if the directory does not exist.
pub(crate) fn directory_inode(directory: &Path) -> u64 {
    std::fs::metadata(directory).map_or(0, |meta| meta.ino())
}

/// [`directory_inode`] of a directory whose metadata is known.
pub(crate) fn inode_of(_: &Path, directory: &Metadata) -> u64 {
    directory.ino()
}

/// Returns an error unless this process can look up names in a directory.
pub(crate) fn look_into(directory: &Path) -> io::Result<()> {
    std::fs::symlink_metadata(directory.join(".")).map(drop)
}

/// The path whose lock protects the directory of all lock directories: the directory itself, so that no file is left
/// behind.
pub(crate) fn root_lock_path(root: &Path) -> PathBuf {
    root.into()
}

/// Opens [`root_lock_path`], to lock it.
pub(crate) fn open_root_lock(root: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(root)
}

/// Whether an error says that the file was being removed while it was opened.
pub(crate) fn is_vanishing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Tries to take the data file's lock. If it is held already, the error is [`fs2::lock_contended_error`].
pub(crate) fn try_lock_data(file: &File) -> io::Result<()> {
    fs2::FileExt::try_lock_exclusive(file)
}

/// Gives the data file's lock back.
pub(crate) fn unlock_data(file: &File) -> io::Result<()> {
    fs2::FileExt::unlock(file)
}

/// Opens an open file a second time, independently of the first. Where the system supports that, this works even if the
/// file has lost its name; elsewhere `path` must still be its name. `expected` is the identity of the file.
pub(crate) fn reopen(file: &File, expected: Identity, path: &Path) -> io::Result<Examined> {
    // The system's path may be a link, so this follows links. The descriptor may be that of a named pipe by now, so the
    // open must not wait for the other end.
    let open_own = |path: &Path| OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Some(own) = path_of(file).and_then(|own| open_own(&own).ok()) {
        let own = Examined::of(own)?;
        if own.identity == expected {
            return Ok(own);
        }
    }
    let named = open_file(path, true)?;
    if named.identity == expected { Ok(named) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Milliseconds of the monotonic clock, which cannot be set. All processes read the same time, unless they are in
/// different time namespaces: see [`clock_ahead_ms`].
#[allow(unsafe_code, reason = "rustix reads the clock without the C library, from a page that valgrind does not map")]
pub(crate) fn own_clock_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call stores the time in `now`. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// Why the content of a file cannot be trusted: another user could have written it.
pub(crate) fn untrusted(meta: &Metadata) -> Option<String> {
    let me = my_user();
    if meta.uid() != me {
        return Some(format!("expected a file of user {me}, found one of user {}", meta.uid()));
    }
    let others = meta.mode() & 0o022;
    (others != 0).then(|| format!("expected a file that only its owner writes, found mode {:o}", meta.mode() & 0o777))
}

/// Creates a directory that grants no more access than the cache file. A directory that exists already must belong to
/// this user, unless `trust` is set.
pub(crate) fn make_private_dir(path: &Path, file_mode: u32, trust: bool) -> io::Result<()> {
    // Users that can access the file can enter the directory, and those that can write the file can use its locks.
    let mode = file_mode | (file_mode & 0o444) >> 2;
    let made = DirBuilder::new().mode(mode).create(path);
    match made {
        Ok(()) => {
            // Keep the set-group-ID bit, which gives new files the group of the directory.
            let group = std::fs::metadata(path)?.mode() & 0o2000;
            std::fs::set_permissions(path, Permissions::from_mode(mode | group))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            must_be_directory(path)?;
            if trust { Ok(()) } else { check_own(path) }
        }
        Err(error) => Err(error),
    }
}

/// Returns an error if a directory belongs to another user. Where others can write its parent, another user may have
/// created the directory first.
fn check_own(path: &Path) -> io::Result<()> {
    let (me, owner) = (my_user(), std::fs::symlink_metadata(path)?.uid());
    if owner == me {
        return Ok(());
    }
    let why = format!("expected a directory of user {me}, found one of user {owner}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// The permission bits of a file.
pub(crate) fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o777
}

/// Sets the file's length and reserves all its blocks, so that the disk cannot be full later.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, len)?;
    file.set_len(len)
}

/// The length of the largest file that this process may create; `None` if there is no limit.
pub(crate) fn largest_file() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// Sets the permission bits, whatever the process's umask. A file with several names is an error: in a directory that
/// several users share, one of the names may be that of another user's file.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.nlink() > 1 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file has several names (hard links)"));
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Gives a new file its name, atomically. Unless the file is to replace another, the name must be free.
///
/// Replacing a file takes `replace_through`: another name on the same file system, in a directory that exists.
pub(crate) fn name_new_file(new: &mut NewFile, path: &Path, replace_through: Option<&Path>) -> io::Result<()> {
    match (new.temporary.take(), replace_through) {
        (Some(temporary), Some(_)) => Ok(temporary.persist(path)?),
        (Some(temporary), None) => Ok(temporary.persist_noclobber(path)?),
        (None, Some(through)) => link_over(&new.file, through, path),
        (None, None) => link(&new.file, path),
    }
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let Some(from) = path_of(file) else { return Err(io::Error::from(io::ErrorKind::Unsupported)) };
    let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, path, flags)?)
}

/// A link cannot replace a file, but a rename can: so the file first gets another name.
fn link_over(file: &File, through: &Path, path: &Path) -> io::Result<()> {
    link(file, through)?;
    let renamed = std::fs::rename(through, path);
    if renamed.is_err() {
        let _ = std::fs::remove_file(through);
    }
    renamed
}

/// Makes sure that the names in a directory survive a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Why a new file does not admit the same users as an old one: by its owner, its group or its permission bits.
pub(crate) fn other_access(old: &File, new: &File) -> io::Result<Option<String>> {
    let (old, new) = (old.metadata()?, new.metadata()?);
    let parts = [
        ("user", old.uid().to_string(), new.uid().to_string()),
        ("group", old.gid().to_string(), new.gid().to_string()),
        ("mode", format!("{:o}", mode(&old)), format!("{:o}", mode(&new))),
    ];
    let other = parts.into_iter().find(|(_, old, new)| old != new);
    Ok(other.map(|(what, old, new)| format!("the file has {what} {old}, a new one would have {what} {new}")))
}

/// Renames a file that others have open.
pub(crate) fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Paths for this user's cache when none is given, the best one first.
pub(crate) fn default_paths() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // The specification of this variable says to ignore a relative path. `su` and `sudo -E` leave it set to the
    // directory of another user.
    let is_ours = |directory: &PathBuf| std::fs::metadata(directory).is_ok_and(|meta| meta.uid() == my_user());
    let runtime = runtime.filter(|directory| directory.is_absolute() && is_ours(directory));
    let runtime = runtime.map(|directory| directory.join("kennel.cache"));
    let name = format!("kennel-{}.cache", my_user());
    let shared = [PathBuf::from("/dev/shm"), std::env::temp_dir()].map(|directory| directory.join(&name));
    runtime.into_iter().chain(shared).collect()
}

/// The user whose rights this process has.
pub(super) fn my_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process may create files in a directory.
pub(crate) fn may_create_in(directory: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let is_allowed = || accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    directory.is_dir() && is_allowed()
}

/// Whether a path is free, or leads to a file of this user.
pub(crate) fn is_ours_or_free(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => meta.uid() == my_user(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The part of an open file that a forked child inherits.
pub(crate) type Descriptor = RawFd;

pub(crate) fn descriptor(file: &File) -> Option<Descriptor> {
    Some(file.as_raw_fd())
}

/// Drops a file without closing its descriptor, which [`close_inherited`] or the program has closed already: the number
/// may be that of another file by now.
pub(crate) fn forget(file: File) {
    let _ = file.into_raw_fd();
}

/// In a forked child, closes a descriptor that the child inherited, if it still refers to the expected file.
#[allow(unsafe_code, reason = "the owner of the descriptor is gone, or will never touch it again")]
pub(crate) fn close_inherited(descriptor: Descriptor, expected: Identity) {
    // SAFETY: the descriptor is that of one of the parent's locked files. Nothing in this process uses it, since its
    // owner detects the fork. A descriptor of any other file is released below without being closed.
    let file = unsafe { File::from_raw_fd(descriptor) };
    if identity(&file).is_ok_and(|found| found == expected) { drop(file) } else { forget(file) }
}

/// Makes every fork of this process call these functions.
#[allow(unsafe_code, reason = "there is no safe way to be notified of a fork")]
pub(crate) fn at_fork(before: ForkHandler, in_parent: ForkHandler, in_child: ForkHandler) {
    // SAFETY: the three handlers are functions of this program that live as long as it does. The call fails only for
    // lack of memory; then a forked child keeps its parent's locks until it ends.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Ends this process immediately, without cleaning up.
#[cfg(feature = "crash-points")]
pub(crate) fn end_process() -> ! {
    // This cannot fail for the process's own pid; if it did, the abort below would end the process.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
