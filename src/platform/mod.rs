//! Everything that differs between operating systems: no other file of the library depends on the system.
//! `docs/platforms.md` describes how each system implements these functions.
//!
//! | file | system |
//! |---|---|
//! | `unix.rs`, `unix_folder.rs` | what Linux, macOS and the other Unix systems have in common |
//! | `linux.rs`, `apple.rs`, `other_unix.rs` | what differs between Unix systems |
//! | `windows.rs` | Windows |
//! | `wait.rs`, `lacking.rs` | substitutes for what a system lacks |

#[cfg(not(any(unix, windows)))]
compile_error!("Kennel needs files that processes can map and lock together: a Unix system or Windows");

#[cfg(not(target_os = "linux"))]
mod lacking;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;
// Used where the system has nothing better, and tested on every system.
#[cfg(any(test, not(target_os = "linux")))]
mod wait;

#[cfg(feature = "crash-points")]
pub(crate) use system::end_process;
pub(crate) use system::{
    CAN_REPLACE_MAPPED, Descriptor, Folder, MAPPINGS_KEEP_LOCKS, allocate, at_fork, boot_id, clock_ahead_ms,
    close_inherited, default_places, descriptor, directory_inode, forget, heavy_barrier, identity, identity_at,
    identity_of, irregular, is_in_memory, is_ours_or_free, is_unlinked, is_vanishing, keep_from_children, largest_file,
    light_barrier, make_private_dir, mappings_keep_locks, may_create_in, mode, move_aside, name_new_file,
    nameless_file, network_filesystem, next_data, open_file, open_root_lock, own_clock_ms, prefault, process_word,
    reopen, root_lock_path, set_mode, sleep_on, try_lock_data, untrusted, usual_form, wake_all, wake_one,
    zero_process_word_in_children,
};

/// Identifies a file on this host for as long as the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Inode number; on Windows the file index.
    pub inode: u64,
    /// Device number; on Windows the volume's serial number.
    pub device: u64,
}

/// An open file with its identity and metadata, so that no caller need ask the system again.
pub(crate) struct Examined {
    pub file: std::fs::File,
    /// It does not change while the file is open.
    pub identity: Identity,
    pub meta: std::fs::Metadata,
}

impl Examined {
    pub(crate) fn of(file: std::fs::File) -> std::io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { identity: identity_of(&file, &meta)?, file, meta })
    }
}

/// What was found where a regular file was expected; the source of an [`io::Error`](std::io::Error).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a regular file, found {0}")]
pub(crate) struct Irregular(pub &'static str);

/// Returns an error unless a file is regular.
fn must_be_regular(kind: std::fs::FileType) -> std::io::Result<()> {
    let error = |found| std::io::Error::new(std::io::ErrorKind::InvalidInput, Irregular(found));
    irregular(kind).map_or(Ok(()), |found| Err(error(found)))
}

/// The inode number of a directory; an error unless this process can look up names in it.
pub(crate) fn look_into(directory: &std::path::Path) -> std::io::Result<u64> {
    let own = std::fs::symlink_metadata(directory.join("."))?;
    Ok(system::directory_inode_of(directory, &own))
}

/// Returns an error unless a path is that of a directory; a link to a directory is an error, too.
pub(crate) fn must_be_directory(path: &std::path::Path) -> std::io::Result<()> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        return Ok(());
    }
    let found = irregular(kind).unwrap_or("a file");
    let why = format!("expected a directory, found {found}");
    Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, why))
}

/// A place for the cache of this user when no path is given.
#[derive(Clone, PartialEq)]
pub(crate) struct DefaultPlace {
    pub directory: std::path::PathBuf,
    /// The file's name there.
    pub name: String,
}

/// A file being created: without a name where the system supports that, else in its lock directory.
pub(crate) struct NewFile {
    pub file: std::fs::File,
    /// Its path until it gets its name; `None` if it has none.
    pub temporary: Option<tempfile::TempPath>,
}

/// A function that runs before a fork, or after it in the parent or in the child.
pub(crate) type ForkHandler = extern "C" fn();

/// Stands for the boot on a system that does not identify it: a number that differs in each process. So a process that
/// opens a file which no other process has open treats it as one from before a restart, which is slow and never wrong.
#[cfg(not(target_os = "linux"))]
fn unknown_boot() -> [u64; 2] {
    number_of_process(u64::MAX)
}

/// The second half of a number that stands for a boot whose id could not be read.
const UNREAD: u64 = u64::MAX - 1;

/// Stands for the boot where this process cannot read the id that the system has: a number that differs in each
/// process.
#[cfg(target_os = "linux")]
fn unread_boot() -> [u64; 2] {
    number_of_process(UNREAD)
}

/// Whether a number stands for a boot whose id could not be read.
pub(crate) fn is_unread_boot(boot: [u64; 2]) -> bool {
    boot[1] == UNREAD
}

fn number_of_process(second_half: u64) -> [u64; 2] {
    static ID: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let own = ID.get_or_init(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
    [*own, second_half]
}
