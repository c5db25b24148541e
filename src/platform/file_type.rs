//! Regular files, directories, and everything else that a path can lead to.

use std::fs::{FileType, Metadata};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// What was found where a regular file was expected; the source of an [`io::Error`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a regular file, found {0}")]
pub(crate) struct Irregular(pub &'static str);

/// What an irregular file is; `None` for a regular one.
pub(crate) fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind => Some(special(kind)),
    }
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "a device"
}

/// Returns an error unless a file is regular.
pub(super) fn must_be_regular(kind: FileType) -> io::Result<()> {
    let error = |found| io::Error::new(io::ErrorKind::InvalidInput, Irregular(found));
    irregular(kind).map_or(Ok(()), |found| Err(error(found)))
}

/// The metadata of a directory; an error for anything else at the path, including a link to a directory.
pub(crate) fn must_be_directory(path: &Path) -> io::Result<Metadata> {
    let meta = std::fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    if kind.is_dir() {
        return Ok(meta);
    }
    let found = irregular(kind).unwrap_or("a file");
    let why = format!("expected a directory, found {found}");
    Err(io::Error::new(io::ErrorKind::NotADirectory, why))
}
