//! What stands for the id of a boot that this process cannot know: a number that differs in each process. A process
//! that opens a file which no other process has open then treats the file as one from before a restart, which is slow
//! and never wrong.

use std::sync::OnceLock;

/// The second half of a number that stands for a boot whose id could not be read.
const UNREAD: u64 = u64::MAX - 1;

/// Stands for the boot on a system that does not identify it.
#[cfg(not(target_os = "linux"))]
pub(super) fn unknown_boot() -> [u64; 2] {
    number_of_process(u64::MAX)
}

/// Stands for the boot where the system has an id of it that this process cannot read.
#[cfg(target_os = "linux")]
pub(super) fn unread_boot() -> [u64; 2] {
    number_of_process(UNREAD)
}

/// Whether a number stands for a boot whose id could not be read.
pub(crate) fn is_unread_boot(boot: [u64; 2]) -> bool {
    boot[1] == UNREAD
}

fn number_of_process(second_half: u64) -> [u64; 2] {
    static ID: OnceLock<u64> = OnceLock::new();
    let own = ID.get_or_init(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
    [*own, second_half]
}
