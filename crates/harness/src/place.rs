//! The directory for the cache files.

use std::io;
use std::path::Path;
use tempfile::TempDir;

/// A file system in memory, on Linux.
const IN_MEMORY: &str = "/dev/shm";

/// A temporary directory under `asked`, else in memory if there is a file system for that, else under the system's
/// directory for temporary files.
///
/// # Errors
/// Errors of the file system.
pub fn directory(asked: Option<&Path>) -> io::Result<TempDir> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("kennel-");
        builder
    };
    let shm = Path::new(IN_MEMORY);
    match asked {
        Some(asked) => builder()
            .tempdir_in(asked)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", asked.display()))),
        None if shm.is_dir() => builder().tempdir_in(shm).or_else(|_| builder().tempdir()),
        None => builder().tempdir(),
    }
}
