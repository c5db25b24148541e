//! Windows, where a child does not inherit closed streams, and a process is terminated without a signal.

use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::process::{Child, Command, ExitStatus};

use super::stream::Stream;

/// Whether this process has no such stream.
pub fn is_closed(stream: Stream) -> bool {
    match stream {
        Stream::Input => io::stdin().as_raw_handle().is_null(),
        Stream::Output => io::stdout().as_raw_handle().is_null(),
        Stream::Error => io::stderr().as_raw_handle().is_null(),
    }
}

/// Leaves Ctrl-C to a child; see the `Relay` for Unix.
pub struct Relay(());

impl Relay {
    pub fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub fn with_ctrl_c() -> io::Result<Self> {
        ctrlc::set_handler(|| {}).map_err(io::Error::other)?;
        Self::new()
    }

    pub fn start(&self, command: &mut Command, _: &[Stream]) -> io::Result<Child> {
        command.spawn()
    }

    pub fn wait(self, child: &mut Child) -> io::Result<ExitStatus> {
        child.wait()
    }
}

/// Runs a command and waits for it, because Windows cannot replace a process.
pub fn run_in_place(command: &mut Command) -> io::Result<ExitStatus> {
    command.status()
}
