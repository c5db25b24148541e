//! A substitute for the id of a boot that this process cannot know: a number that differs in each process. If no other
//! process has a file open, a process that opens it then treats it as a file from before a restart, which is slow and
//! never wrong.

use std::sync::OnceLock;

/// The second half of a number that stands for a boot whose id could not be read.
const UNREAD: u64 = u64::MAX - 1;

/// The second half of a number that stands for a boot to which the system gives no id.
const NONE: u64 = u64::MAX;

/// Stands for the boot whose id this process does not know. On Linux the boot has an id, which could not be read.
pub(super) fn unknown_boot() -> [u64; 2] {
    static NUMBER: OnceLock<u64> = OnceLock::new();
    let number = NUMBER.get_or_init(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
    [*number, if cfg!(target_os = "linux") { UNREAD } else { NONE }]
}

/// Whether a number stands for a boot whose id could not be read.
pub(crate) fn is_unread_boot(boot: [u64; 2]) -> bool {
    boot[1] == UNREAD
}
