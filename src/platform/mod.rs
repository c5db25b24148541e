//! Everything that differs between operating systems: no other file of the library depends on the system.
//! `docs/platforms.md` describes how each system implements these functions.
//!
//! | file | content |
//! |---|---|
//! | [`kinds`], [`file_type`], [`boot`] | types and functions that all systems share |
//! | `unix.rs`, `unix_folder.rs` | what Linux, macOS and the other Unix systems have in common |
//! | `linux.rs`, `apple.rs`, `other_unix.rs` | what differs between Unix systems |
//! | `windows.rs` | Windows |
//! | `lacking.rs`, `polling.rs` | substitutes for what systems other than Linux lack |

#[cfg(target_vendor = "apple")]
mod apple;
mod boot;
mod file_type;
mod kinds;
#[cfg(not(target_os = "linux"))]
mod lacking;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(any(target_os = "linux", target_vendor = "apple"))))]
mod other_unix;
// The tests of every system cover it.
#[cfg(any(test, not(target_os = "linux")))]
mod polling;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_folder;
#[cfg(windows)]
mod windows;

#[cfg(target_vendor = "apple")]
pub(crate) use apple::{boot_id, file_system};
pub(crate) use boot::is_unread_boot;
pub(crate) use file_type::{Irregular, irregular, must_be_directory};
pub(crate) use kinds::{Examined, FileSystem, Identity, NewFile, Pages};
#[cfg(not(target_os = "linux"))]
pub(crate) use lacking::{
    MAPPINGS_KEEP_LOCKS, Mapped, clock_ahead_ms, copy_attributes, heavy_barrier, keep_from_children, light_barrier,
    mappings_keep_locks, nameless_file, next_data, open_and_name, process_word, zero_process_word_in_children,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    MAPPINGS_KEEP_LOCKS, Mapped, allocate, boot_id, clock_ahead_ms, copy_attributes, file_system, heavy_barrier,
    keep_from_children, light_barrier, mappings_keep_locks, nameless_file, next_data, open_and_name, process_word,
    sleep_on, wake_all, wake_one, zero_process_word_in_children,
};
#[cfg(all(unix, not(any(target_os = "linux", target_vendor = "apple"))))]
pub(crate) use other_unix::{boot_id, file_system};
#[cfg(not(target_os = "linux"))]
pub(crate) use polling::{sleep_on, wake_all, wake_one};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use unix::allocate;
#[cfg(all(unix, feature = "crash-points"))]
pub(crate) use unix::end_process;
#[cfg(unix)]
pub(crate) use unix::{
    CAN_REPLACE_MAPPED, Descriptor, at_fork, close_inherited, default_paths, descriptor, directory_inode, file_at,
    forget, identity, identity_at, inode_of, is_ours_or_free, is_unlinked, is_vanishing, largest_file, look_into,
    make_private_dir, may_create_in, mode, move_aside, name_new_file, open_file, open_own_file, open_root_lock,
    other_access, own_clock_ms, read_at, reopen, root_lock_path, set_mode, sync_directory, try_lock_data, unlock_data,
    untrusted, usual_form,
};
#[cfg(unix)]
pub(crate) use unix_folder::Folder;
#[cfg(all(windows, feature = "crash-points"))]
pub(crate) use windows::end_process;
#[cfg(windows)]
pub(crate) use windows::{
    CAN_REPLACE_MAPPED, Descriptor, Folder, allocate, at_fork, boot_id, close_inherited, default_paths, descriptor,
    directory_inode, file_at, file_system, forget, identity, identity_at, inode_of, is_ours_or_free, is_unlinked,
    is_vanishing, largest_file, look_into, make_private_dir, may_create_in, mode, move_aside, name_new_file, open_file,
    open_own_file, open_root_lock, other_access, own_clock_ms, read_at, reopen, root_lock_path, set_mode,
    sync_directory, try_lock_data, unlock_data, untrusted, usual_form,
};
