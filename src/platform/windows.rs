//! Windows. Statements about the system come from Microsoft's documentation, unless they name another source.
#![allow(unsafe_code, reason = "calls that the standard library does not offer; each block states why it is sound")]

use super::boot::unknown_boot;
use super::file_type::{irregular, must_be_directory, must_be_regular};
use super::kinds::{Examined, FileSystem, ForkHandler, Identity, NewFile};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::path::{Path, PathBuf};
use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemTimeOfDayInformation};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DELETE_PENDING, ERROR_SHARING_VIOLATION, GENERIC_READ, GENERIC_WRITE,
    INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_REMOTE_PROTOCOL_INFO, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE, FileRemoteProtocolInfo, GetFileInformationByHandle,
    GetFileInformationByHandleEx, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, ReOpenFile,
    UnlockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;

/// Whether a mapped file can be replaced or removed. Windows refuses both with `ERROR_ACCESS_DENIED`, but lets a mapped
/// file be renamed.
pub(crate) const CAN_REPLACE_MAPPED: bool = false;

/// Turns the answer of a call into a result.
fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for as long as `file` is borrowed, and `info` is writable.
    done(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut info) })?;
    let inode = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok(Identity { inode, device: info.dwVolumeSerialNumber.into() })
}

impl Examined {
    pub(crate) fn of(file: File) -> io::Result<Self> {
        Ok(Self { identity: identity(&file)?, meta: file.metadata()?, file })
    }
}

/// The identity of the file at a path; `None` if there is no file.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<Identity>> {
    Ok(file_at(path)?.map(|(identity, _)| identity))
}

/// [`identity_at`], with the length of the file.
pub(crate) fn file_at(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    // The handle asks for no access, so that the share mode of another handle cannot refuse it.
    let opened = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    match opened {
        Ok(file) => Ok(Some((identity(&file)?, file.metadata()?.len()))),
        Err(error) if is_vanishing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens an existing file if it is regular.
pub(crate) fn open_file(path: &Path, writable: bool) -> io::Result<Examined> {
    must_be_regular(std::fs::symlink_metadata(path)?.file_type())?;
    Examined::of(OpenOptions::new().read(true).write(writable).open(path)?)
}

/// [`open_file`] for a file of a lock directory.
pub(crate) fn open_own_file(path: &Path) -> io::Result<Examined> {
    open_file(path, true)
}

/// Reads from a place of a file; 0 at its end.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, into, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        done => done,
    }
}

/// Whether an open file has lost all its names: always `false`, since a mapped file cannot be removed here.
pub(crate) fn is_unlinked(_file: &File) -> bool {
    false
}

/// An absolute path as people write it.
///
/// The system returns a path that begins with `\\?\`, a form that few people and programs know. This returns the usual
/// form if that leads to the same file.
pub(crate) fn usual_form(path: PathBuf) -> PathBuf {
    let usual = path.to_str().and_then(|path| path.strip_prefix(r"\\?\")).filter(|path| is_usual(path));
    usual.map(PathBuf::from).unwrap_or(path)
}

/// The usual form of a path may have 259 characters, and that of a directory 247. This limit leaves room for the names
/// of the lock files below the path.
const LONGEST_USUAL: usize = 180;

/// Whether a path leads to the same file with and without the prefix `\\?\`: it begins with a drive, and each of its
/// parts means the same without the prefix.
fn is_usual(path: &str) -> bool {
    let mut parts = path.split('\\');
    let has_drive = matches!(parts.next().map(str::as_bytes), Some([letter, b':']) if letter.is_ascii_alphabetic());
    has_drive && path.len() <= LONGEST_USUAL && parts.all(|part| !part.ends_with(['.', ' ']) && !is_device(part))
}

/// Whether a name is that of a device. Such a name means the device in every directory, and with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let number = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
        || number.is_some_and(|number| ["¹", "²", "³"].contains(&number) || matches!(number.as_bytes(), [b'0'..=b'9']))
}

/// A directory in which names are looked up.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens the directory at a path; a link to one is an error.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        must_be_directory(path)?;
        Ok(Self(path.into()))
    }

    /// Opens a directory in this one; a link to one is an error.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Self> {
        Self::open(&self.0.join(name))
    }

    /// Whether it belongs to this user: always `true`, since Kennel does not check owners here.
    pub(crate) fn is_ours(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Opens a regular file in it for reading and writing.
    pub(crate) fn file(&self, name: &OsStr, _trust: bool) -> io::Result<Examined> {
        open_file(&self.0.join(name), true)
    }

    /// Whether the directory has a regular file of this name.
    pub(crate) fn has_file(&self, name: &OsStr) -> io::Result<bool> {
        Ok(irregular(std::fs::symlink_metadata(self.0.join(name))?.file_type()).is_none())
    }

    /// Removes a file in it.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    /// Removes an empty directory in it.
    pub(crate) fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        std::fs::remove_dir(self.0.join(name))
    }
}

/// The file index of a directory; 0 if the directory does not exist.
pub(crate) fn directory_inode(directory: &Path) -> u64 {
    let opened = OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(directory);
    opened.and_then(|directory| identity(&directory)).map_or(0, |identity| identity.inode)
}

/// [`directory_inode`] of a directory whose metadata is known, which lacks the index.
pub(crate) fn inode_of(path: &Path, _: &Metadata) -> u64 {
    directory_inode(path)
}

/// Returns an error unless this process can look up names in a directory.
pub(crate) fn look_into(directory: &Path) -> io::Result<()> {
    std::fs::symlink_metadata(directory.join(".")).map(drop)
}

/// The path whose lock protects the directory of all lock directories: a file in it, since a directory cannot be
/// locked.
pub(crate) fn root_lock_path(root: &Path) -> PathBuf {
    root.join("root.lock")
}

/// Opens [`root_lock_path`], to lock it.
pub(crate) fn open_root_lock(root: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(root_lock_path(root))
}

/// Whether an error says that the file was being removed while it was opened. A file whose removal waits for the last
/// handle to be closed denies access.
pub(crate) fn is_vanishing(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(|code| code as u32);
    error.kind() == io::ErrorKind::NotFound || matches!(code, Some(ERROR_ACCESS_DENIED | ERROR_DELETE_PENDING))
}

/// Tries to take the data file's lock. If it is held already, the error is [`fs2::lock_contended_error`].
///
/// Locks are mandatory here: no other handle can read or write the bytes that a lock covers. `fs2` would lock the whole
/// file, so that no other process could read its header. So this locks one byte beyond the end of every file; "locking
/// a region that goes beyond the current end-of-file position is not an error".
pub(crate) fn try_lock_data(file: &File) -> io::Result<()> {
    let mut beyond = OVERLAPPED::default();
    beyond.Anonymous.Anonymous.OffsetHigh = i32::MAX as u32;
    let flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open for as long as `file` is borrowed. It is a synchronous one, as all of the standard
    // library's are, so `beyond` is not used after the call.
    done(unsafe { LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &raw mut beyond) })
}

/// Gives the data file's lock back.
pub(crate) fn unlock_data(file: &File) -> io::Result<()> {
    let mut beyond = OVERLAPPED::default();
    beyond.Anonymous.Anonymous.OffsetHigh = i32::MAX as u32;
    // SAFETY: as in `try_lock_data`.
    done(unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut beyond) })
}

/// Opens an open file a second time, independently of the first, even if it has another name by now.
pub(crate) fn reopen(file: &File, _: Identity, _: &Path) -> io::Result<Examined> {
    let (access, share) = (GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
    // SAFETY: the handle is open for as long as `file` is borrowed.
    let handle = unsafe { ReOpenFile(file.as_raw_handle(), access, share, 0) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just opened, and has no other owner.
    Examined::of(unsafe { File::from_raw_handle(handle) })
}

/// The result of `SystemTimeOfDayInformation`; times in units of 100 ns.
#[repr(C)]
#[derive(Default)]
struct TimeOfDay {
    boot_time: i64,
    current_time: i64,
    time_zone_bias: i64,
    time_zone_id: u32,
    reserved: u32,
    boot_time_bias: u64,
    sleep_time_bias: u64,
}

/// The id of the boot: the time at which the host started.
///
/// When the clock is set, the kernel adjusts that time and records the adjustment in `boot_time_bias`, so the
/// difference stays the same. Microsoft documents the call, but calls the fields reserved; they have been these since
/// Windows 2000. If one of them changed its meaning, a cache that no process has open would be reset more often than
/// necessary, and nothing worse.
pub(crate) fn boot_id() -> [u64; 2] {
    let mut time = TimeOfDay::default();
    let len = size_of::<TimeOfDay>() as u32;
    // SAFETY: the buffer is writable for the length given.
    let status = unsafe {
        NtQuerySystemInformation(SystemTimeOfDayInformation, (&raw mut time).cast(), len, std::ptr::null_mut())
    };
    if status < 0 || time.boot_time == 0 {
        return unknown_boot();
    }
    [(time.boot_time as u64).wrapping_sub(time.boot_time_bias), 2]
}

/// Milliseconds since the host started: a clock that all processes share and that cannot be set. It steps every 10 to
/// 16 ms.
pub(crate) fn own_clock_ms() -> u64 {
    // SAFETY: the call takes no argument and cannot fail.
    unsafe { GetTickCount64() }
}

/// Sets the file's length. NTFS and ReFS reserve its blocks, unless the file is sparse or compressed.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

/// What is known of the file system of a file.
pub(crate) fn file_system(file: &File) -> FileSystem {
    FileSystem { network: network_filesystem(file), ..FileSystem::default() }
}

/// The kind of the file's file system, if mappings or locks on it are not coherent between its users: only a file on
/// the network has a remote protocol.
fn network_filesystem(file: &File) -> Option<String> {
    let mut info = FILE_REMOTE_PROTOCOL_INFO::default();
    let len = size_of::<FILE_REMOTE_PROTOCOL_INFO>() as u32;
    // SAFETY: the handle is open for as long as `file` is borrowed, and `info` is writable for the length given.
    let answer = unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileRemoteProtocolInfo, (&raw mut info).cast(), len)
    };
    (answer != 0).then(|| "a network share".to_owned())
}

/// Why the content of a file cannot be trusted: always `None`. The access list of the user's own folders keeps other
/// users out; Kennel does not check it.
pub(crate) fn untrusted(_: &Metadata) -> Option<String> {
    None
}

/// Creates a directory, which inherits the access list of its parent. Mode bits do not exist.
pub(crate) fn make_private_dir(path: &Path, _: u32, _: bool) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => must_be_directory(path).map(drop),
        other => other,
    }
}

/// The default permission bits of a file, since mode bits do not exist here.
pub(crate) fn mode(_: &Metadata) -> u32 {
    0o600
}

/// The length of the largest file that this process may create: only the file system limits it.
pub(crate) fn largest_file() -> Option<u64> {
    None
}

/// Does nothing: mode bits do not exist.
pub(crate) fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// Gives a new file its name, which must be free: the caller has renamed a file that is to be replaced.
pub(crate) fn name_new_file(new: &mut NewFile, path: &Path, _replace_through: Option<&Path>) -> io::Result<()> {
    let Some(temporary) = new.temporary.take() else { return Ok(()) };
    temporary.persist_noclobber(path).map_err(|failed| {
        // The file is mapped, so it can be removed only later.
        new.temporary = Some(failed.path);
        failed.error
    })
}

/// Makes sure that the names in a directory survive a loss of power: the system does that itself.
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Why a new file does not admit the same users as an old one: the directory decides that for both.
pub(crate) fn other_access(_: &File, _: &File) -> io::Result<Option<String>> {
    Ok(None)
}

/// Renames a file that others have open. This fails while another program has it open without `FILE_SHARE_DELETE`.
pub(crate) fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    const ADVICE: &str = "a program such as a virus scanner or a backup has it open and does not share it; try again \
                          when that program has finished, or exempt the file";
    std::fs::rename(from, to).map_err(|error| match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_SHARING_VIOLATION) => io::Error::new(error.kind(), format!("{error}: {ADVICE}")),
        _ => error,
    })
}

/// Paths for this user's cache when none is given, the best one first.
pub(crate) fn default_paths() -> Vec<PathBuf> {
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|directory| directory.is_absolute());
    let directories = local.into_iter().chain([std::env::temp_dir()]);
    directories.map(|directory| directory.join("kennel.cache")).collect()
}

/// Whether the directory exists. Only an attempt shows whether its access list lets this process create files in it.
pub(crate) fn may_create_in(directory: &Path) -> bool {
    directory.is_dir()
}

/// Whether a path is free, or leads to a file of this user: always `true`, since both default places lie in folders of
/// this user.
pub(crate) fn is_ours_or_free(_: &Path) -> bool {
    true
}

/// The part of an open file that a forked child inherits: Windows has no fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {}

pub(crate) fn descriptor(_: &File) -> Option<Descriptor> {
    None
}

pub(crate) fn forget(file: File) {
    drop(file);
}

pub(crate) fn close_inherited(descriptor: Descriptor, _: Identity) {
    match descriptor {}
}

/// Does nothing: Windows has no fork.
pub(crate) fn at_fork(_before: ForkHandler, _in_parent: ForkHandler, _in_child: ForkHandler) {}

/// The exit status of a process that killed itself; neither a failure nor a panic has this status.
#[cfg(feature = "crash-points")]
const ENDED_AT_A_STEP: u32 = 1000;

/// Ends this process immediately, without cleaning up.
#[cfg(feature = "crash-points")]
pub(crate) fn end_process() -> ! {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
    // SAFETY: the call takes no argument and returns a constant.
    let me = unsafe { GetCurrentProcess() };
    // SAFETY: `me` is a constant that means this process and need not be opened. The call does not return; if it did,
    // the abort would end the process.
    unsafe { TerminateProcess(me, ENDED_AT_A_STEP) };
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::Foundation::{ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED, ERROR_LOCK_VIOLATION};

    /// Wine makes files sparse and never reports a full disk; Windows does, with these codes.
    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let kind = |code: u32| io::Error::from_raw_os_error(code as i32).kind();
        assert_eq!(kind(ERROR_DISK_FULL), io::ErrorKind::StorageFull);
        assert_eq!(kind(ERROR_DISK_QUOTA_EXCEEDED), io::ErrorKind::QuotaExceeded);
    }

    #[test]
    fn the_lock_of_the_data_file_excludes_and_lets_everybody_read() {
        use std::io::{Read, Write};
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let mut first = open();
        first.write_all(b"header").unwrap();
        let (second, mut reader) = (reopen(&first, identity(&first).unwrap(), &path).unwrap().file, open());
        try_lock_data(&first).unwrap();
        assert_eq!(try_lock_data(&second).unwrap_err().raw_os_error(), Some(ERROR_LOCK_VIOLATION as i32));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "header");
        drop(first);
        try_lock_data(&second).unwrap();
    }

    #[test]
    fn a_path_is_told_in_the_usual_form_where_that_leads_to_the_same_file() {
        let told = |path: &str| usual_form(PathBuf::from(r"\\?\".to_owned() + path));
        for usual in [r"C:\cache", r"z:\a b\ä\my.cache", r"C:\console\com10\lpt", r"C:\"] {
            assert_eq!(told(usual), Path::new(usual));
        }
        let long = format!(r"C:\{}", "long".repeat(60));
        let unc = [r"UNC\server\share\cache", r"Volume{1}\cache", "", "C"];
        let other =
            [r"C:\a.\cache", r"C:\cache ", r"C:\nul", r"C:\Com1.cache", r"C:\conin$ .x\cache", r"C:\lpt²", &long];
        for other in unc.into_iter().chain(other) {
            assert_eq!(told(other), Path::new(&(r"\\?\".to_owned() + other)));
        }
        let place = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(place.path()).unwrap();
        let usual = usual_form(real.clone());
        assert!(usual != real && std::fs::canonicalize(usual).unwrap() == real);
    }

    #[test]
    fn a_boot_has_one_number() {
        let first = boot_id();
        assert_eq!(first[1], 2, "the time of the start is unknown");
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(boot_id(), first);
    }

    #[test]
    fn a_directory_has_an_index() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        assert!(directory_inode(&one) != 0 && directory_inode(&one) != directory_inode(&two));
    }
}
