//! Windows.

use super::{Identity, NewFile};
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use windows_sys::Win32::Storage::FileSystem::{BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle};
use windows_sys::Win32::System::SystemInformation::GetTickCount64;

#[allow(unsafe_code, reason = "the standard library does not offer a file's index")]
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for as long as `file` is borrowed, and `info` is writable.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut info) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let inode = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok(Identity { inode, device: info.dwVolumeSerialNumber.into() })
}

/// A directory cannot be opened as a file here; its lock files' indices tell it from another.
pub(crate) fn directory_inode(_: &Path) -> u64 {
    0
}

/// A directory cannot be opened as a file here.
pub(crate) fn can_lock_directories() -> bool {
    false
}

pub(crate) fn descriptor_path(_: &File) -> Option<PathBuf> {
    None
}

/// Milliseconds since the host started.
#[allow(unsafe_code, reason = "the standard library does not offer the time since the start")]
pub(crate) fn monotonic_ms() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { GetTickCount64() }
}

/// The moment of the start, in steps of ten seconds since the clocks it is computed from drift a little.
pub(crate) fn boot_id() -> [u64; 2] {
    let up_ms = monotonic_ms();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let started = now.as_millis() as u64 - up_ms;
    [(started + 5_000) / 10_000, 2]
}

pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    // NTFS reserves what is set, unless the file is sparse.
    file.set_len(len)
}

pub(crate) fn network_filesystem(_: &File) -> Option<String> {
    None
}

pub(crate) fn untrusted(_: &File) -> io::Result<Option<String>> {
    // The access list of the user's own folders keeps others out; mode bits do not exist.
    Ok(None)
}

pub(crate) fn make_private_dir(path: &Path, _: u32, _: bool) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

pub(crate) fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn new_file(directory: &Path) -> io::Result<NewFile> {
    let (file, path) = tempfile::Builder::new().prefix(".kennel-new-").tempfile_in(directory)?.into_parts();
    Ok(NewFile { file, temporary: Some(path) })
}

pub(crate) fn name_new_file(new: NewFile, path: &Path, replace: bool) -> io::Result<File> {
    let NewFile { file, temporary } = new;
    match temporary {
        Some(temporary) if replace => temporary.persist(path)?,
        Some(temporary) => temporary.persist_noclobber(path)?,
        None => {}
    }
    Ok(file)
}

pub(crate) fn default_directories() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    if let Some(local) = std::env::var_os("LOCALAPPDATA") {
        found.push((PathBuf::from(local), "kennel.cache".to_owned()));
    }
    found.push((std::env::temp_dir(), "kennel.cache".to_owned()));
    found
}
