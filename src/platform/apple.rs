//! What only macOS and related systems have.

use super::boot::unknown_boot;
use super::kinds::FileSystem;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The current path of an open file, if it still has one.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    let path = rustix::fs::getpath(file).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}

/// The id of the boot: a random number that the kernel draws when the host starts. The time of the start
/// (`kern.boottime`) cannot serve as the id, since it changes with every correction of the clock.
#[allow(unsafe_code, reason = "there is no safe way to ask the kernel for this")]
pub(crate) fn boot_id() -> [u64; 2] {
    let mut text = [0u8; 64];
    let mut len = text.len();
    let name = c"kern.bootsessionuuid";
    // SAFETY: the name ends with a zero, the buffer is writable for the length given, and the call sets no value of the
    // system.
    let failed =
        unsafe { libc::sysctlbyname(name.as_ptr(), text.as_mut_ptr().cast(), &raw mut len, std::ptr::null_mut(), 0) };
    if failed != 0 {
        return unknown_boot();
    }
    let digits: String = text.iter().map(|&byte| byte as char).filter(char::is_ascii_hexdigit).collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) => [id as u64, (id >> 64) as u64],
        Err(_) => unknown_boot(),
    }
}

/// What is known of the file system of a file.
pub(crate) fn file_system(file: &File) -> FileSystem {
    FileSystem { network: network_filesystem(file), ..FileSystem::default() }
}

/// The kind of the file's file system, if mappings or locks on it are not coherent between its users.
fn network_filesystem(file: &File) -> Option<String> {
    let stat = rustix::fs::fstatfs(file).ok()?;
    let name: Vec<u8> = stat.f_fstypename.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    (stat.f_flags & libc::MNT_LOCAL as u32 == 0 || name.contains("fuse")).then_some(name)
}
