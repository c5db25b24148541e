//! What differs between operating systems, and nothing else: no other file of the library asks which system it
//! runs on. `docs/platforms.md` says for each system what stands behind these functions.
//!
//! | file | system |
//! |---|---|
//! | `unix.rs` | what Linux, macOS and the other Unix systems have in common |
//! | `linux.rs`, `apple.rs`, `other_unix.rs` | what they do not |
//! | `windows.rs` | Windows |
//! | `wait.rs`, `lacking.rs` | where a system has nothing of the kind |

#[cfg(not(any(unix, windows)))]
compile_error!("Kennel needs files that processes map and lock together: a Unix system, or Windows");

#[cfg(not(target_os = "linux"))]
mod lacking;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;
// Where the system has nothing better; and in the tests, wherever they run.
#[cfg(any(test, not(target_os = "linux")))]
mod wait;

#[cfg(feature = "crash-points")]
pub(crate) use system::end_process;
pub(crate) use system::{
    CAN_REPLACE_MAPPED, Descriptor, MAPPINGS_KEEP_LOCKS, allocate, at_fork, boot_id, clock_ahead_ms, close_inherited,
    default_directories, descriptor, directory_inode, forget, heavy_barrier, identity, is_vanishing,
    keep_from_children, light_barrier, make_private_dir, mappings_keep_locks, mode, move_aside, name_new_file,
    nameless_file, network_filesystem, own_clock_ms, populate, process_word, reopen, root_lock, set_mode, sleep_on,
    stop_process, try_lock_data, untrusted, usual_form, wake_all, wake_one, zero_process_word_in_children,
};

/// What tells a file from every other on this host, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Inode number; on Windows the file index.
    pub inode: u64,
    /// Device number; on Windows the volume's serial number.
    pub device: u64,
}

/// A file being made: without a name where the system can, else in its lock directory.
pub(crate) struct NewFile {
    pub file: std::fs::File,
    /// Where it lies until it gets its name.
    pub temporary: Option<tempfile::TempPath>,
}

/// What a fork calls: before it, after it in the parent, after it in the child.
pub(crate) type ForkHandler = extern "C" fn();

/// What a stopped process is told.
#[derive(Clone, Copy)]
pub(crate) enum Pause {
    Stop,
    Resume,
}

/// Stands for the boot where the system does not tell which it is: another number in each process. So a process that
/// finds a file which nobody has open takes it for one from before a restart, which is slow and never wrong.
fn unknown_boot() -> [u64; 2] {
    static ID: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let own = ID.get_or_init(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
    [*own, u64::MAX]
}
