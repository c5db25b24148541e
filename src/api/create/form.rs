//! Which values a caller can read.

use crate::api::item::{Item, Stamp};

/// The form of the values that a caller can read; others are misses for it. Comparing takes no code of the caller's, so it
/// may be done with a stripe's lock held.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    flags: u32,
    start: [u8; 8],
    /// One that has this form, but was not readable.
    but: Option<Stamp>,
}

#[cfg_attr(not(feature = "typed"), expect(dead_code, reason = "only typed values have a form"))]
impl Form {
    /// Values with these flags that start with these bytes.
    pub(crate) fn new(flags: u32, start: [u8; 8]) -> Self {
        Self { flags, start, but: None }
    }

    /// The same, without the value that has this stamp.
    pub(crate) fn but(self, stamp: Stamp) -> Self {
        Self { but: Some(stamp), ..self }
    }

    pub(super) fn fits(&self, item: &Item) -> bool {
        item.flags == self.flags && item.value.starts_with(&self.start) && self.but != Some(item.stamp)
    }
}
