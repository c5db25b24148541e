//! How a value is stored: when it expires or becomes stale, its flags and its tags.

use super::moment::Moment;
use super::random;
use crate::clock::{Expiry, LAST_TIME};
use crate::store::namespace::{Defaults, MOST_JITTER};
use crate::store::record::Metadata;
use crate::store::tag_words::TagNumbers;
use std::time::Duration;

/// Options for storing a value: its expiry, its soft expiry, its flags and its tags.
///
/// ```
/// use std::time::Duration;
/// use kennel::{Expiry, SetOptions};
/// let how = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60))).flags(7);
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    expiry: Option<Expiry>,
    soft_expiry: Option<Expiry>,
    flags: u32,
    /// In thousandths.
    jitter: Option<u16>,
    tags: TagNumbers,
    pub(super) moment: Option<Moment>,
}

impl SetOptions {
    /// No flags, and the default times of the handle's namespace, if it has any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the item expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// When the item becomes stale. `get` still returns a stale value. [`get_or_create`](crate::Cache::get_or_create)
    /// lets one caller create a new value, and returns the stale one to all others meanwhile. A soft expiry takes 24
    /// bytes of the capacity: see [`record_size`](crate::record_size).
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.soft_expiry = Some(expiry);
        self
    }

    /// A number for the caller's own purposes, which [`Cache::get_item`](crate::Cache::get_item) returns; default 0.
    /// Any other number takes 24 bytes of the capacity: see [`record_size`](crate::record_size).
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Shortens each [`Expiry::After`] of the expiry and the soft expiry by a random part: at most `part`, from 0 to 1
    /// in steps of a thousandth. Values that are stored together then do not all expire together. No value lives longer
    /// than it would without jitter. The default is the jitter of the namespace, or none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kennel::{Expiry, SetOptions};
    /// // Between 54 and 60 minutes.
    /// let how = SetOptions::new().expiry(Expiry::After(Duration::from_secs(3600))).jitter(0.1);
    /// # let _ = how;
    /// ```
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = Some(thousandths(part));
        self
    }

    /// The tags of the value, at most [`MAX_TAGS`](crate::MAX_TAGS), which is 16. An
    /// [invalidation](crate::Cache::invalidate_tags) of one of them covers the value. Tags take 40 bytes of the
    /// capacity, and 8 more for each four tags after the first four: see
    /// [`tagged_record_size`](crate::tagged_record_size). If there are more than 16 tags, the value is not stored, and
    /// the call returns [`TooManyTags`](crate::Error::TooManyTags).
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(self, tags: &[T]) -> Self {
        self.with_tags(TagNumbers::of(tags))
    }

    pub(super) fn with_tags(mut self, tags: TagNumbers) -> Self {
        self.tags = tags;
        self
    }

    #[inline]
    pub(super) fn tag_numbers(&self) -> TagNumbers {
        self.tags
    }

    /// Stores the value only if nothing that covers it was invalidated, hard or soft, since a
    /// [`moment`](crate::Cache::moment): neither a tag of the value, nor the handle's namespace, nor the whole cache.
    /// Otherwise nothing is stored and nothing is replaced, and [`Counters::voided`](crate::Counters::voided) counts
    /// this. In that case `set_with` returns `Stamp(0)`, which no item has; `set_multi` returns `Ok`; `add` and
    /// `replace` return `false`; `compare_and_swap` returns [`Swap::Changed`](crate::Swap); and `incr_or` returns the
    /// number that it would have stored.
    ///
    /// A moment of another file or another namespace is refused with [`BadOption`](crate::Error::BadOption). After a
    /// file was replaced, all earlier moments are moments of another file.
    #[must_use]
    pub fn as_of(mut self, moment: Moment) -> Self {
        self.moment = Some(moment);
        self
    }

    /// The expiry and the metadata of an item that is stored now. The `defaults` apply where these options set no time.
    #[inline(always)]
    pub(super) fn times(&self, defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Metadata) {
        let times = match self.jitter.unwrap_or(defaults.jitter) {
            0 => self.exact_times(defaults, &now_ms),
            jitter => self.shortened(defaults, jitter).exact_times(Defaults::default(), &now_ms),
        };
        // An idle time does not apply to a value with its own expiry.
        if defaults.idle_ttl_ms != 0 && self.expiry.is_none() { idle(times, defaults, now_ms) } else { times }
    }

    #[inline(always)]
    fn exact_times(&self, defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Metadata) {
        let expires_ms = expiry_or(self.expiry, defaults.hard_ttl_ms, &now_ms);
        let soft_expires_ms = expiry_or(self.soft_expiry, defaults.soft_ttl_ms, &now_ms);
        (expires_ms, Metadata { flags: self.flags, soft_expires_ms, tags: self.tags, ..Metadata::default() })
    }

    /// These options with the times for one item. Both times are shortened by the same random part, so that the soft
    /// expiry stays before the expiry.
    #[cold]
    fn shortened(&self, defaults: Defaults, jitter: u16) -> Self {
        let kept = 1.0 - random::part() * f64::from(jitter) / f64::from(MOST_JITTER);
        let times = |given: Option<Expiry>, default_ms| match given.unwrap_or_else(|| after(default_ms)) {
            Expiry::After(ttl) => {
                let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(LAST_TIME);
                Some(Expiry::After(Duration::from_millis((ms as f64 * kept) as u64)))
            }
            other => Some(other),
        };
        let soft_expiry = times(self.soft_expiry, defaults.soft_ttl_ms);
        Self { expiry: times(self.expiry, defaults.hard_ttl_ms), soft_expiry, jitter: Some(0), ..*self }
    }
}

/// The times of an item that expires when no caller has used it for the idle time, and at the latest at the end of its
/// time to live.
#[cold]
fn idle((expires_ms, metadata): (u64, Metadata), defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Metadata) {
    let idle_ms = after(defaults.idle_ttl_ms).to_ms(now_ms);
    let expires_ms = if expires_ms == 0 { idle_ms } else { expires_ms.min(idle_ms) };
    (expires_ms, Metadata { is_idle: true, ..metadata })
}

/// A part of 1 in thousandths. A NaN becomes 0.
pub(super) fn thousandths(part: f64) -> u16 {
    (part.clamp(0.0, 1.0) * f64::from(MOST_JITTER)).round() as u16
}

/// An expiry in milliseconds since 1970, as a record stores it; 0 means none. If no expiry is given, it follows from
/// the default time to live.
#[inline(always)]
fn expiry_or(given: Option<Expiry>, ttl_ms: u64, now_ms: impl FnOnce() -> u64) -> u64 {
    match given {
        None if ttl_ms == 0 => 0,
        given => given.unwrap_or_else(|| after(ttl_ms)).to_ms(now_ms),
    }
}

/// The expiry that follows from a time to live, as the entry of a namespace stores it; 0 means none.
pub(super) fn after(ttl_ms: u64) -> Expiry {
    if ttl_ms == 0 { Expiry::Never } else { Expiry::After(Duration::from_millis(ttl_ms)) }
}
