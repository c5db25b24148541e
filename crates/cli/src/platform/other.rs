//! Windows, where a child inherits no closed stream, and a process that is ended is not asked.

use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::process::{Child, Command, ExitStatus};

use super::Stream;

/// Whether there is no such stream.
pub fn is_closed(stream: Stream) -> bool {
    match stream {
        Stream::Input => io::stdin().as_raw_handle().is_null(),
        Stream::Output => io::stdout().as_raw_handle().is_null(),
        Stream::Error => io::stderr().as_raw_handle().is_null(),
    }
}

/// Leaves Ctrl-C to a child; see the one for Unix.
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

/// Runs a command, there being no way to put it in the place of this process.
pub fn run_in_place(command: &mut Command) -> io::Result<ExitStatus> {
    command.status()
}
