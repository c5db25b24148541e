//! What differs between operating systems, and nothing else. Each function says what it stands for; the
//! files beside this one say how each system does it.

#[cfg(unix)]
mod unix;
mod wait;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use unix::is_overlay;
#[cfg(unix)]
pub(crate) use unix::{
    allocate, boot_id, can_lock_directories, default_directories, descriptor_path, directory_inode, identity,
    make_private_dir, monotonic_ms, name_new_file, network_filesystem, new_file, set_mode, untrusted,
};
#[cfg(windows)]
pub(crate) use windows::{
    allocate, boot_id, can_lock_directories, default_directories, descriptor_path, directory_inode, identity,
    make_private_dir, monotonic_ms, name_new_file, network_filesystem, new_file, set_mode, untrusted,
};

pub(crate) use wait::{sleep_on, wake_all, wake_one};

/// What tells a file from every other on this host, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Inode number; on Windows the file index.
    pub inode: u64,
    /// Device number; on Windows the volume's serial number.
    pub device: u64,
}

/// A file being made: without a name where the system can, else under a temporary one.
pub(crate) struct NewFile {
    pub file: std::fs::File,
    /// Where it lies until it gets its name.
    pub temporary: Option<tempfile::TempPath>,
}
