//! Where files are made.

use std::io;
use std::path::Path;
use tempfile::TempDir;

/// Memory that is a file system, on Linux.
const IN_MEMORY: &str = "/dev/shm";

/// A temporary directory under the one that was asked for, else in memory where there is a file system for that, else
/// where temporary files go.
///
/// # Errors
/// Those of the file system.
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
