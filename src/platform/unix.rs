//! Linux, macOS and the other Unix systems.

use super::{Identity, NewFile};
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let meta = file.metadata()?;
    Ok(Identity { inode: meta.ino(), device: meta.dev() })
}

/// The inode number of a directory; 0 when there is none.
pub(crate) fn directory_inode(directory: &Path) -> u64 {
    std::fs::metadata(directory).map_or(0, |meta| meta.ino())
}

/// Whether a directory can be opened and locked like a file.
pub(crate) fn can_lock_directories() -> bool {
    true
}

/// A path that leads to the very file that is open, even if its name is gone, where the system has one.
#[cfg(target_os = "linux")]
pub(crate) fn descriptor_path(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    Some(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn descriptor_path(_: &File) -> Option<PathBuf> {
    None
}

/// A number that changes when the host starts anew. Linux has one; elsewhere the moment of the start does,
/// which is 0 where it cannot be read: then a restart is not noticed and checksums alone protect.
#[cfg(target_os = "linux")]
pub(crate) fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(1);
    [id as u64, (id >> 64) as u64]
}

#[cfg(target_vendor = "apple")]
pub(crate) fn boot_id() -> [u64; 2] {
    let mut boot = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut len = size_of::<libc::timeval>();
    let mut name = [libc::CTL_KERN, libc::KERN_BOOTTIME];
    #[allow(unsafe_code, reason = "there is no safe way to ask the kernel for this")]
    // SAFETY: name and buffer are valid for the lengths given, and nothing is set.
    unsafe {
        libc::sysctl(name.as_mut_ptr(), 2, (&raw mut boot).cast(), &raw mut len, std::ptr::null_mut(), 0);
    }
    [boot.tv_sec as u64, 1]
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn boot_id() -> [u64; 2] {
    [0, 1]
}

/// Milliseconds of a clock that all processes of this host share and nobody sets.
pub(crate) fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// Gives the file its length with all its blocks reserved, so that the disk cannot be full later.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(not(target_vendor = "apple"))]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    #[cfg(target_vendor = "apple")]
    fs2::FileExt::allocate(file, len)?;
    file.set_len(len)
}

/// The kind of a file system on which mappings or locks are not shared as they must be.
#[cfg(target_os = "linux")]
pub(crate) fn network_filesystem(file: &File) -> Option<String> {
    const KINDS: [(u32, &str); 9] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9p"),
        (0x6a65_6a63, "virtiofs"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let magic = rustix::fs::fstatfs(file).ok()?.f_type as u32;
    KINDS.into_iter().find(|&(kind, _)| kind == magic).map(|(_, name)| name.to_owned())
}

/// Whether a file lies on overlayfs, where a mapping belongs to the file beneath.
#[cfg(target_os = "linux")]
pub(crate) fn is_overlay(file: &File) -> bool {
    const OVERLAYFS: u32 = 0x794c_7630;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u32 == OVERLAYFS)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn network_filesystem(file: &File) -> Option<String> {
    let stat = rustix::fs::fstatfs(file).ok()?;
    let name: Vec<u8> = stat.f_fstypename.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    (stat.f_flags & libc::MNT_LOCAL as u32 == 0 || name.contains("fuse")).then_some(name)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn network_filesystem(_: &File) -> Option<String> {
    None
}

/// Why the content of a file cannot be trusted: somebody else could have written it.
pub(crate) fn untrusted(file: &File) -> io::Result<Option<String>> {
    let meta = file.metadata()?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Ok(Some(format!("expected a file of user {me}, found one of user {}", meta.uid())));
    }
    let others = meta.mode() & 0o022;
    Ok((others != 0)
        .then(|| format!("expected a file that only its owner writes, found mode {:o}", meta.mode() & 0o777)))
}

/// Makes a directory that is no more open than the cache file is. One that is there already must be ours, unless
/// others are trusted.
pub(crate) fn make_private_dir(path: &Path, file_mode: u32, trust: bool) -> io::Result<()> {
    // Whoever may read or write the file may enter the directory, and writers may use its locks.
    let mode = file_mode | (file_mode & 0o444) >> 2;
    let made = DirBuilder::new().mode(mode).create(path);
    match made {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && trust => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_own(path),
        Err(error) => Err(error),
    }
}

/// In a directory that others can write, somebody may have made this one first.
fn check_own(path: &Path) -> io::Result<()> {
    let (me, owner) = (rustix::process::geteuid().as_raw(), std::fs::symlink_metadata(path)?.uid());
    if owner == me {
        return Ok(());
    }
    let why = format!("expected a directory of user {me}, found one of user {owner}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Sets the permission bits as asked for, whatever the process's umask.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Opens a file that has no name yet, in the directory where it will get one.
pub(crate) fn new_file(directory: &Path) -> io::Result<NewFile> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => return Ok(NewFile { file: fd.into(), temporary: None }),
            // The file system cannot; a file with a temporary name does, too.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (file, path) = tempfile::Builder::new().prefix(".kennel-new-").tempfile_in(directory)?.into_parts();
    Ok(NewFile { file, temporary: Some(path) })
}

/// Gives a new file its name: all at once, and only if nobody has it, unless it is to replace him.
pub(crate) fn name_new_file(new: NewFile, path: &Path, replace: bool) -> io::Result<File> {
    let NewFile { file, temporary } = new;
    match temporary {
        Some(temporary) if replace => temporary.persist(path)?,
        Some(temporary) => temporary.persist_noclobber(path)?,
        None if replace => link_over(&file, path)?,
        None => link(&file, path)?,
    }
    Ok(file)
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let Some(from) = descriptor_path(file) else { return Err(io::Error::from(io::ErrorKind::Unsupported)) };
    let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, from, rustix::fs::CWD, path, flags)?)
}

/// A link cannot replace, a rename can: so under a temporary name in between.
fn link_over(file: &File, path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let temporary = tempfile::Builder::new().prefix(".kennel-new-").make_in(directory, |name| link(file, name))?;
    temporary.into_temp_path().persist(path).map_err(|error| error.error)
}

/// Directories for a cache file of this user, from the best on; the name to use in each.
pub(crate) fn default_directories() -> Vec<(PathBuf, String)> {
    let user = rustix::process::geteuid().as_raw();
    let shared = format!("kennel-{user}.cache");
    let mut found = Vec::new();
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        found.push((PathBuf::from(runtime), "kennel.cache".to_owned()));
    }
    found.push((PathBuf::from("/dev/shm"), shared.clone()));
    found.push((std::env::temp_dir(), shared));
    found
}
