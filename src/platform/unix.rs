//! What Linux, macOS and the other Unix systems have in common.

use super::{DefaultPlace, Examined, ForkHandler, Identity, NewFile, must_be_directory, must_be_regular};
use std::fs::{DirBuilder, File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[path = "unix_folder.rs"]
mod folder;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_vendor = "apple", path = "apple.rs")]
#[cfg_attr(not(any(target_os = "linux", target_vendor = "apple")), path = "other_unix.rs")]
mod kind;

pub(crate) use folder::Folder;
pub(crate) use kind::{
    MAPPINGS_KEEP_LOCKS, allocate, boot_id, clock_ahead_ms, heavy_barrier, is_in_memory, keep_from_children,
    light_barrier, mappings_keep_locks, nameless_file, network_filesystem, next_data, populate, process_word, sleep_on,
    wake_all, wake_one, zero_process_word_in_children,
};

/// Whether another file can take the name of one that is mapped, and a mapped one be removed: it lives on without.
pub(crate) const CAN_REPLACE_MAPPED: bool = true;

pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    identity_of(file, &file.metadata()?)
}

/// The same, of a file whose metadata is at hand.
pub(crate) fn identity_of(_: &File, meta: &Metadata) -> io::Result<Identity> {
    Ok(Identity { inode: meta.ino(), device: meta.dev() })
}

/// The identity of what lies at a path; `None` if nothing does. It takes no descriptor, and follows no symbolic link.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Identity { inode: meta.ino(), device: meta.dev() })),
        Err(error) if is_vanishing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a file is that is no regular one.
pub(crate) fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// Opens an existing regular file, and nothing else: through no symbolic link, and without waiting for the other end of a
/// named pipe.
pub(crate) fn open_file(path: &Path, writable: bool) -> io::Result<Examined> {
    // Before it is opened, too: some devices act on that.
    must_be_regular(std::fs::symlink_metadata(path)?.file_type())?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(writable).custom_flags(flags).open(path)?;
    let examined = Examined::of(file)?;
    must_be_regular(examined.meta.file_type())?;
    Ok(examined)
}

/// Whether no path leads to an open file any more.
pub(crate) fn is_unlinked(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.nlink() == 0)
}

/// A path from the root as people write it: as the system tells it.
pub(crate) fn usual_form(path: PathBuf) -> PathBuf {
    path
}

/// The inode number of a directory; 0 when there is none.
pub(crate) fn directory_inode(directory: &Path) -> u64 {
    std::fs::metadata(directory).map_or(0, |meta| meta.ino())
}

/// The same, of one whose metadata is at hand.
pub(super) fn directory_inode_of(_: &Path, meta: &Metadata) -> u64 {
    meta.ino()
}

/// What is locked to keep others out of the directory of all lock directories: the directory itself, so that nothing is
/// left behind.
pub(crate) fn root_lock_path(root: &Path) -> PathBuf {
    root.into()
}

/// Opens what is locked there.
pub(crate) fn open_root_lock(root: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(root)
}

/// Whether an error says that the file was being removed while it was opened.
pub(crate) fn is_vanishing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Tries to take the data file's lock; the error is that of `fs2` when somebody else has it.
pub(crate) fn try_lock_data(file: &File) -> io::Result<()> {
    fs2::FileExt::try_lock_exclusive(file)
}

/// Opens the very file that is open, as an open file of its own: even if its name is gone, where the system lets that
/// be said, else by `path` if that is still its name. `expected` is which file it is.
pub(crate) fn reopen(file: &File, expected: Identity, path: &Path) -> io::Result<Examined> {
    // The path of the system may be a link, and the last descriptor of that number may have been a named pipe.
    let open_own = |path: &Path| OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Some(own) = kind::path_of(file).and_then(|own| open_own(&own).ok()) {
        let own = Examined::of(own)?;
        if own.identity == expected {
            return Ok(own);
        }
    }
    let named = open_file(path, true)?;
    if named.identity == expected { Ok(named) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Milliseconds of the monotonic clock, which nobody sets. Processes read it alike unless they are in different time
/// namespaces: see [`clock_ahead_ms`].
#[allow(unsafe_code, reason = "rustix reads the clock without the C library, from a page that valgrind does not map")]
pub(crate) fn own_clock_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call stores the time in `now`. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// Why the content of a file cannot be trusted: somebody else could have written it.
pub(crate) fn untrusted(meta: &Metadata) -> Option<String> {
    let me = my_user();
    if meta.uid() != me {
        return Some(format!("expected a file of user {me}, found one of user {}", meta.uid()));
    }
    let others = meta.mode() & 0o022;
    (others != 0).then(|| format!("expected a file that only its owner writes, found mode {:o}", meta.mode() & 0o777))
}

/// Makes a directory that is no more open than the cache file is. One that is there already must be ours, unless
/// others are trusted.
pub(crate) fn make_private_dir(path: &Path, file_mode: u32, trust: bool) -> io::Result<()> {
    // Whoever may read or write the file may enter the directory, and writers may use its locks.
    let mode = file_mode | (file_mode & 0o444) >> 2;
    let made = DirBuilder::new().mode(mode).create(path);
    match made {
        Ok(()) => {
            // A directory that gives what is made in it its own group goes on doing so.
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

/// In a directory that others can write, somebody may have made this one first.
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

/// The length of the largest file that this process may make; `None` without a limit.
pub(crate) fn largest_file() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// Sets the permission bits as asked for, whatever the process's umask. A file with several names is left alone: in a
/// directory of several users one of them may be a name of somebody's own file.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.nlink() > 1 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file has several names (hard links)"));
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Gives a new file its name: all at once, and only if nobody has it, unless it is to replace him.
///
/// To replace it takes another name on the same file system, in a directory that exists.
pub(crate) fn name_new_file(new: &mut NewFile, path: &Path, replace_through: Option<&Path>) -> io::Result<()> {
    match (new.temporary.take(), replace_through) {
        (Some(temporary), Some(_)) => Ok(temporary.persist(path)?),
        (Some(temporary), None) => Ok(temporary.persist_noclobber(path)?),
        (None, Some(through)) => link_over(&new.file, through, path),
        (None, None) => link(&new.file, path),
    }
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let Some(from) = kind::path_of(file) else { return Err(io::Error::from(io::ErrorKind::Unsupported)) };
    let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, path, flags)?)
}

/// A link cannot replace, a rename can: so under another name in between.
fn link_over(file: &File, through: &Path, path: &Path) -> io::Result<()> {
    link(file, through)?;
    let renamed = std::fs::rename(through, path);
    if renamed.is_err() {
        let _ = std::fs::remove_file(through);
    }
    renamed
}

/// Gives a file that others have open another name.
pub(crate) fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Places for the cache of this user when no path is given, the best first.
pub(crate) fn default_places() -> Vec<DefaultPlace> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // The specification of this variable says that a relative path is to be ignored. `su` and `sudo -E` leave it set to the
    // directory of another user.
    let is_ours = |directory: &PathBuf| std::fs::metadata(directory).is_ok_and(|meta| meta.uid() == my_user());
    let runtime = runtime.filter(|directory| directory.is_absolute() && is_ours(directory));
    let runtime = runtime.map(|directory| DefaultPlace { directory, name: "kennel.cache".into() });
    let name = format!("kennel-{}.cache", my_user());
    let shared = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let shared = shared.map(|directory| DefaultPlace { directory, name: name.clone() });
    runtime.into_iter().chain(shared).collect()
}

fn my_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process may create files in a directory.
pub(crate) fn may_create_in(directory: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let is_allowed = || accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    directory.is_dir() && is_allowed()
}

/// Whether nothing lies at a path, or something of this user.
pub(crate) fn is_ours_or_free(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => meta.uid() == my_user(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// What a forked child inherits of an open file.
pub(crate) type Descriptor = RawFd;

pub(crate) fn descriptor(file: &File) -> Option<Descriptor> {
    Some(file.as_raw_fd())
}

/// Lets go of a file whose descriptor was closed by [`close_inherited`]; its number may be somebody else's by now.
pub(crate) fn forget(file: File) {
    let _ = file.into_raw_fd();
}

/// Closes a descriptor that a forked child inherited, in that child, if it still leads to this file.
#[allow(unsafe_code, reason = "the owner of the descriptor is gone, or will never touch it again")]
pub(crate) fn close_inherited(descriptor: Descriptor, expected: Identity) {
    // SAFETY: the descriptor is one of the parent's locked files; in this process nobody uses it, since whatever
    // owns it sees that it was forked. One of any other file is given back below without being closed.
    let file = unsafe { File::from_raw_fd(descriptor) };
    if identity(&file).is_ok_and(|found| found == expected) { drop(file) } else { forget(file) }
}

/// Has every fork of this process call these functions.
#[allow(unsafe_code, reason = "there is no safe way to be told of a fork")]
pub(crate) fn at_fork(before: ForkHandler, in_parent: ForkHandler, in_child: ForkHandler) {
    // SAFETY: the three handlers are functions of this program that live as long as it does. It fails only without
    // memory; then a forked child keeps its parent's locks until it ends.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Ends this process at once, nothing cleaned up.
#[cfg(feature = "crash-points")]
pub(crate) fn end_process() -> ! {
    // Cannot fail for our own pid; should it, the abort below ends the process all the same.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
