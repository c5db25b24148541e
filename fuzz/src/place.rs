//! A directory of this process for its cache files: in memory where there is `/dev/shm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;

const PREFIX: &str = "kennel-fuzz-";

static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    sweep(&parent);
    let prefix = format!("{PREFIX}{}-", process::id());
    let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).expect("a temporary directory");
    // libFuzzer ends by `exit`, which drops no statics.
    // SAFETY: the function is there until the process ends, and does not unwind.
    unsafe { libc::atexit(remove) };
    made.keep()
});

/// The directory. It goes when the process ends well; what a crash leaves goes at the next start.
pub fn dir() -> &'static Path {
    &DIR
}

extern "C" fn remove() {
    let _ = fs::remove_dir_all(&*DIR);
}

/// Removes the directories of fuzzers that are no more.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
