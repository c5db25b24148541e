//! The stored result of a command.
//!
//! ```text
//! exit status (4 bytes, little-endian) | length of the standard output (8 bytes) | standard output | standard error
//! ```

use std::io::{self, Write as _};

use crate::cmd::command::Failure;
use crate::output::Outlet;

/// Output and exit status of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The status in the form that shells use: 128 plus the signal number if a signal ended the command.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The length of the status and the length field in front of the outputs.
const HEAD: usize = 12;

impl Recorded {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.stdout.len() + self.stderr.len());
        bytes.extend_from_slice(&self.status.to_le_bytes());
        bytes.extend_from_slice(&(self.stdout.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.stdout);
        bytes.extend_from_slice(&self.stderr);
        bytes
    }

    /// Reads a stored result; `None` for bytes that another program wrote under this key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (status, rest) = bytes.split_first_chunk::<4>()?;
        let (length, outputs) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (stdout, stderr) = outputs.split_at_checked(length)?;
        Some(Self { status: i32::from_le_bytes(*status), stdout: stdout.into(), stderr: stderr.into() })
    }

    /// Writes both outputs.
    ///
    /// # Errors
    /// The first error of writing. A reader that closed its pipe is not an error.
    pub fn replay(&self) -> Result<(), Failure> {
        let stdout = deliver(Outlet::Output, &self.stdout);
        let stderr = deliver(Outlet::Error, &self.stderr);
        stdout.and(stderr)
    }
}

fn deliver(mut to: Outlet, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::to_write(to, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        for (stdout, stderr) in [(&b""[..], &b""[..]), (b"out\0", b""), (b"", b"\xff"), (b"out", b"err")] {
            let recorded = Recorded { status: -3, stdout: stdout.into(), stderr: stderr.into() };
            assert_eq!(Recorded::from_bytes(&recorded.to_bytes()), Some(recorded));
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let bytes = Recorded { status: 1, stdout: b"out".into(), stderr: Vec::new() }.to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Recorded::from_bytes(&bytes[..cut]), None, "cut to {cut} bytes");
        }
    }
}
