//! File systems that a test mounts.
#![cfg(target_os = "linux")]

use super::children;
use std::path::PathBuf;
use std::process::Command;

/// A mounted file system, unmounted when this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Calls `mount` with arguments and the directory at which to mount. Prints the reason and returns `None` where that
    /// is not permitted.
    pub fn new(args: &[&str], at: PathBuf) -> Option<Self> {
        match children::output(Command::new("mount").args(args).arg(&at)) {
            Ok(output) if output.status.success() => return Some(Self(at)),
            other => println!("skipped: mount {args:?} {}: {other:?}", at.display()),
        }
        None
    }

    /// Mounts a file system in memory with an option.
    pub fn in_memory(option: &str, at: PathBuf) -> Option<Self> {
        Self::new(&["-t", "tmpfs", "-o", option, "tmpfs"], at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that another test has just started may still use it: it goes when that ends.
        let _ = children::output(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}
