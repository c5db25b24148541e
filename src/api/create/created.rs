//! The value that a creator returns.

use super::options::CreateOptions;
use crate::api::set_options::SetOptions;
use crate::clock::Expiry;
use crate::store::tag_words::TagNumbers;

/// A value that a creator made, with settings that may depend on the value: when it expires or becomes stale, its flags
/// and tags, and whether it is stored at all. The [`CreateOptions`](crate::CreateOptions) apply where nothing is set
/// here, and the defaults of the namespace where neither sets anything. A creator that sets nothing returns the bytes
/// alone.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::{CreateOptions, Created, Expiry};
/// use std::time::Duration;
/// let fetch = || Ok::<_, std::io::Error>((b"<html>".to_vec(), Duration::from_secs(90)));
/// let page = cache.get_or_create("page", &CreateOptions::new(), || {
///     let (body, max_age) = fetch()?;
///     Ok::<_, std::io::Error>(Created::new(body).expiry(Expiry::After(max_age)).stored(!max_age.is_zero()))
/// })?;
/// assert_eq!(page, b"<html>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    value: Vec<u8>,
    how: Overrides,
}

/// A created value as bytes, and the settings of its creator.
pub(super) type Made<'v> = (&'v [u8], Overrides);

/// The settings that a creator chose for its value, in place of the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    expiry: Option<Expiry>,
    soft_expiry: Option<Expiry>,
    flags: Option<u32>,
    /// In addition to the tags of the options.
    tags: TagNumbers,
    /// The value is not to be stored.
    is_refused: bool,
}

impl Overrides {
    /// Whether the value is to be stored.
    pub(super) fn is_accepted(self, value: &[u8], options: &CreateOptions) -> bool {
        !self.is_refused && options.should_cache.as_ref().is_none_or(|accepts| accepts(value))
    }

    /// The options for one value: these settings, and `options` where nothing is set.
    pub(super) fn over(self, options: SetOptions) -> SetOptions {
        let options = self.expiry.map_or(options, |expiry| options.expiry(expiry));
        let options = self.soft_expiry.map_or(options, |expiry| options.soft_expiry(expiry));
        let options = self.flags.map_or(options, |flags| options.flags(flags));
        options.with_tags(options.tag_numbers().and(self.tags))
    }
}

impl Created {
    /// A value that is stored as the options say, without settings of its own.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), how: Overrides::default() }
    }

    /// When this value expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.how.expiry = Some(expiry);
        self
    }

    /// When this value becomes stale: see [`CreateOptions::soft_expiry`](crate::CreateOptions::soft_expiry).
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.how.soft_expiry = Some(expiry);
        self
    }

    /// A number for the caller's own purposes, in place of [`CreateOptions::flags`](crate::CreateOptions::flags).
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.how.flags = Some(flags);
        self
    }

    /// Tags of this value, in addition to those of [`CreateOptions::tags`](crate::CreateOptions::tags), at most 16 in
    /// all. An invalidation of these tags since the creation began covers the value, even if the creator learns the
    /// tags only at its end.
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: &[T]) -> Self {
        self.how.tags = TagNumbers::of(tags);
        self
    }

    /// Whether this value is stored; default true. If not, its creator gets the value, and each waiter creates its own,
    /// as with [`CreateOptions::should_cache`](crate::CreateOptions::should_cache).
    #[must_use]
    pub fn stored(mut self, yes: bool) -> Self {
        self.how.is_refused = !yes;
        self
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    pub(super) fn parts(&self) -> Made<'_> {
        (&self.value, self.how)
    }

    /// Returns the value, without its settings.
    #[must_use]
    pub fn into_value(self) -> Vec<u8> {
        self.value
    }
}

impl From<Vec<u8>> for Created {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

impl From<String> for Created {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Created {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<&[u8]> for Created {
    fn from(value: &[u8]) -> Self {
        Self::new(value)
    }
}

impl<const N: usize> From<&[u8; N]> for Created {
    fn from(value: &[u8; N]) -> Self {
        Self::new(value)
    }
}
