//! Records which standard streams were closed when the program started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of each closed stream, so that no file of the program gets
//! its number. A closed stream then looks empty or accepts everything: `kennel set` would store an empty value, and
//! `kennel get` would lose a value. So the loader calls a function of this file before the runtime starts.
#![expect(unsafe_code, reason = "the loader finds functions to call before `main` by their section")]

use std::sync::atomic::{AtomicBool, Ordering};

use super::stream::Stream;

static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

// SAFETY: the section holds pointers to functions of this type, which the loader calls once. The function makes one
// system call and touches nothing that `main` or the runtime sets up.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static BEFORE_MAIN: extern "C" fn() = note_closed;

extern "C" fn note_closed() {
    for (mark, is_closed) in CLOSED.iter().zip(closed()) {
        mark.store(is_closed, Ordering::Relaxed);
    }
}

/// Whether a stream was closed when the program started.
pub fn is_closed(stream: Stream) -> bool {
    CLOSED[stream as usize].load(Ordering::Relaxed)
}

#[cfg(not(target_vendor = "apple"))]
fn closed() -> [bool; 3] {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::stdio;
    let mut streams = [stdio::stdin(), stdio::stdout(), stdio::stderr()]
        .map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    // One call checks all three. If it fails, no stream counts as closed.
    let _ = poll(&mut streams, Some(&Timespec::default()));
    streams.map(|stream| stream.revents().contains(PollFlags::NVAL))
}

/// Checks each stream by itself, because `poll` on macOS calls some open devices invalid as well.
#[cfg(target_vendor = "apple")]
fn closed() -> [bool; 3] {
    use rustix::stdio;
    [stdio::stdin(), stdio::stdout(), stdio::stderr()]
        .map(|stream| matches!(rustix::io::fcntl_getfd(stream), Err(rustix::io::Errno::BADF)))
}
