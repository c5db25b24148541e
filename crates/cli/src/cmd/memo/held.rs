//! Output that is held back until it is known whether it is to be shown.

use std::io::{self, Write};

use crate::output::Outlet;

/// A writer that holds back what is written, up to a limit. Beyond the limit everything is passed on.
pub struct Held {
    outlet: Outlet,
    held: Option<Vec<u8>>,
    most: usize,
}

impl Held {
    pub fn new(outlet: Outlet, most: usize) -> Self {
        Self { outlet, held: Some(Vec::new()), most }
    }

    /// Whether nothing was passed on.
    pub fn is_whole(&self) -> bool {
        self.held.is_some()
    }

    /// Passes on what is held back, and from now on everything.
    ///
    /// # Errors
    /// It could not be written.
    pub fn release(&mut self) -> io::Result<()> {
        match self.held.take() {
            Some(held) if !held.is_empty() => self.outlet.write_all(&held).and_then(|()| self.outlet.flush()),
            _ => Ok(()),
        }
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut self.held
            && held.len() + bytes.len() <= self.most
        {
            held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.release()?;
        self.outlet.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_whole() { Ok(()) } else { self.outlet.flush() }
    }
}
