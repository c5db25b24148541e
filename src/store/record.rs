//! The record: header, extension, key and value of one item, as it lies in a ring.
//!
//! ```text
//! word 0  shape   63..32 allocated units | 31..16 key length | 15..12 unused | 11..8 words of tags | 7..0 kind
//!                 never changes
//! word 1  seal    63..40 epoch | 39..32 unused bytes behind the value | 31..0 checksum
//! word 2  stamp
//! word 3  expiry  63 dead | 62..44 check bits | 43..0 milliseconds since 1970, 0: never
//! [word 4 soft expiry   63 idle | 62..44 check bits | 43..0 milliseconds, 0: never
//!  word 5 created       63..24 hundredths of a second since 1970 | 23..0 epoch of the namespace
//!  word 6 flags         63 no value | 62..48 cost | 47..32 namespace | 31..0 caller's flags]   only kind 2
//! [tags   2 to 5 words, see `tag_words`]                                                        only kind 2, if any
//! key, padded to 8 bytes with zeros
//! value, padded to 8 bytes
//! ```
//!
//! The length of the value is what remains of the allocated length, less the unused bytes. So of all lengths, an
//! overwrite in place changes only the byte that counts the unused bytes. The checksum covers key, value and everything
//! else that does not change while the record lives. It is mixed with the stripe, ring and position, so a copy of the
//! record's bytes anywhere else does not pass. Expiries change in place (`touch`) and have check bits of their own.

use super::slot::Ring;
use super::tag_words::{TagNumbers, TagWords, WORDS, tag_words};
use crate::clock::LAST_TIME;
use crate::hash::Key;
use crate::shm::Step;
use crate::shm::layout::{EXTENSION_LEN, RECORD_LEN, round_up};
use crate::shm::memory::{Row, Words};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KIND_PLAIN: u64 = 1;
const KIND_EXTENDED: u64 = 2;
const KIND_PAD: u64 = 3;
/// The words of tags in `shape` begin at this bit.
const TAGS_AT: u32 = 8;

const DEAD: u64 = 1 << 63;
/// Set in `soft_expiry`: reads move the record's expiry.
const IDLE: u64 = 1 << 63;
const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;
const CHECK_BITS: u32 = 19;
/// Bits of an epoch that a record keeps.
pub(crate) const EPOCH_BITS: u32 = 24;
pub(crate) const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;
/// Largest number of unused bytes behind a value.
pub(crate) const MAX_SLACK: u64 = 255;
/// Longest key, in bytes.
pub const MAX_KEY: usize = u16::MAX as usize;
/// Largest record that can be overwritten in place, in allocated bytes.
pub(crate) const IN_PLACE_LIMIT: u64 = 512;
const _: () = assert!(LAST_TIME == TIME);

/// Mixes 64 bits so that each bit of the result depends on all of them (the finaliser of MurmurHash3).
#[inline]
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordLocation {
    pub stripe: u32,
    pub ring: Ring,
    pub position: u64,
}

impl RecordLocation {
    /// The number that is mixed into the checksum.
    #[inline]
    fn salt(self) -> u32 {
        let ring = if self.ring == Ring::Main { 1 << 63 } else { 0 };
        mix(self.position ^ u64::from(self.stripe) << 48 ^ ring) as u32
    }
}

/// A time with check bits, as `expiry` and `soft_expiry` hold it.
#[inline]
pub(crate) fn timed(ms: u64, stamp: u64) -> u64 {
    let ms = ms.min(LAST_TIME);
    (mix(ms ^ stamp.rotate_left(20)) >> (64 - CHECK_BITS)) << TIME_BITS | ms
}

/// The soft expiry of a record, and whether reads move its expiry. The check bits cover both.
#[inline]
fn soft_word(ms: u64, is_idle: bool, stamp: u64) -> u64 {
    if is_idle { IDLE | timed(ms, !stamp) } else { timed(ms, stamp) }
}

/// The word `expiry` without the dead mark.
pub(crate) fn without_dead(expiry: u64) -> u64 {
    expiry & !DEAD
}

/// The epoch of the cache in a seal.
pub(crate) fn epoch_of(seal: u64) -> u64 {
    seal >> 40
}

/// The first four words of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub shape: u64,
    pub seal: u64,
    pub stamp: u64,
    pub expiry: u64,
}

impl Head {
    /// The header at the start of a row.
    #[inline(always)]
    pub(crate) fn of(row: Row<'_>) -> Self {
        Self { shape: row.get(0), seal: row.get(1), stamp: row.get(2), expiry: row.get(3) }
    }

    /// Stores the header to its words.
    #[inline(always)]
    pub(super) fn store(self, step: Step, words: Words<'_, 4>) {
        let Self { shape, seal, stamp, expiry } = self;
        [shape, seal, stamp, expiry].into_iter().enumerate().for_each(|(i, word)| words.at(i).set(step, word));
    }

    pub(crate) fn is_pad(self) -> bool {
        self.shape & 0xffff == KIND_PAD
    }

    /// Whether this is a record, plain or extended. Anything else but a pad is damage, or bytes that were never
    /// written.
    #[inline]
    pub(crate) fn is_record(self) -> bool {
        match self.shape & 0xffff {
            KIND_PLAIN | KIND_EXTENDED => true,
            other => other & 0xff == KIND_EXTENDED && WORDS.contains(&(other >> TAGS_AT)),
        }
    }

    #[inline]
    pub(crate) fn is_extended(self) -> bool {
        self.shape & 0xff == KIND_EXTENDED
    }

    /// Whether this is a record without an extension whose key has `key_len` bytes, in one comparison.
    #[inline(always)]
    pub(crate) fn is_plain_with(self, key_len: usize) -> bool {
        self.shape & 0xffff_ffff == (key_len as u64) << 16 | KIND_PLAIN
    }

    /// [`is_plain_with`](Self::is_plain_with) for a record with an extension.
    #[inline(always)]
    pub(crate) fn is_extended_with(self, key_len: usize) -> bool {
        self.shape & 0xffff_ffff == (key_len as u64) << 16 | KIND_EXTENDED
    }

    /// [`is_extended_with`](Self::is_extended_with) for a record with or without tags.
    #[inline(always)]
    pub(crate) fn is_any_extended_with(self, key_len: usize) -> bool {
        // A bit for each number of words.
        const ANY: u64 = 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5;
        const _: () = assert!(*WORDS.start() == 2 && *WORDS.end() == 5);
        self.shape & 0xffff_f0ff == (key_len as u64) << 16 | KIND_EXTENDED && ANY >> self.tag_words() & 1 == 1
    }

    /// Words of tags behind the extension.
    #[inline]
    pub(crate) fn tag_words(self) -> u64 {
        self.shape >> TAGS_AT & 0xf
    }

    #[inline]
    pub(crate) fn key_len(self) -> u64 {
        self.shape >> 16 & 0xffff
    }

    /// Allocated length in units of eight bytes.
    #[inline]
    pub(crate) fn units(self) -> u64 {
        self.shape >> 32
    }

    /// From the record's start to its key, in bytes.
    #[inline]
    pub(crate) fn key_at(self) -> u64 {
        if self.is_extended() { RECORD_LEN + EXTENSION_LEN + self.tag_words() * 8 } else { RECORD_LEN }
    }

    /// From the record's start to its value, in bytes.
    #[inline]
    pub(crate) fn value_at(self) -> u64 {
        self.key_at() + round_up(self.key_len(), 8)
    }

    /// Length of the value, unless the lengths contradict each other.
    #[inline]
    pub(crate) fn value_len(self) -> Option<u64> {
        (self.units() * 8).checked_sub(self.value_at() + self.slack())
    }

    #[inline]
    pub(crate) fn slack(self) -> u64 {
        self.seal >> 32 & MAX_SLACK
    }

    /// Epoch of the cache at which the record was written.
    #[inline]
    pub(crate) fn epoch(self) -> u64 {
        epoch_of(self.seal)
    }

    pub(crate) fn is_dead(self) -> bool {
        self.expiry & DEAD != 0
    }

    pub(crate) fn killed(self) -> u64 {
        self.expiry | DEAD
    }

    /// Hard expiry in milliseconds since 1970; 0: never.
    #[inline]
    pub(crate) fn expires_ms(self) -> u64 {
        self.expiry & TIME
    }

    #[inline]
    pub(crate) fn is_expired(self, now_ms: impl FnOnce() -> u64) -> bool {
        let at = self.expires_ms();
        at != 0 && at <= now_ms()
    }

    fn expiry_is_sound(self) -> bool {
        self.expiry & !DEAD == timed(self.expires_ms(), self.stamp)
    }
}

/// The words of the extension, and those of the tags behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    pub soft_expiry: u64,
    pub created: u64,
    pub flags: u64,
    pub tags: Option<TagWords>,
}

/// Set in `flags`: the record says that the key has no value.
const ABSENCE: u64 = 1 << 63;
const COST_AT: u32 = 48;
/// The cost of a creation is stored as a number of this many bits, with a four-bit shift above it. The cost in
/// milliseconds is the number, shifted to the left.
const COST_BITS: u32 = 11;
const MOST_COST: u64 = ((1 << COST_BITS) - 1) << 15;

impl Extension {
    /// Stores the extension to its words, without the tags that follow it.
    #[inline(always)]
    pub(super) fn store(self, step: Step, words: Words<'_, 3>) {
        let Self { soft_expiry, created, flags, tags: _ } = self;
        [soft_expiry, created, flags].into_iter().enumerate().for_each(|(i, word)| words.at(i).set(step, word));
    }

    pub(crate) fn caller_flags(self) -> u32 {
        self.flags as u32
    }

    /// Number of the namespace, from 1; 0: none.
    pub(crate) fn namespace(self) -> u16 {
        (self.flags >> 32) as u16
    }

    pub(crate) fn namespace_epoch(self) -> u64 {
        self.created & EPOCH_MASK
    }

    pub(crate) fn is_absence(self) -> bool {
        self.flags & ABSENCE != 0
    }

    /// Whether the record expires when no caller has read it for the idle time of its namespace.
    #[inline(always)]
    pub(crate) fn is_idle(self) -> bool {
        self.soft_expiry & IDLE != 0
    }

    /// The word `soft_expiry` for this record once its expiry does not follow its reads any more.
    pub(crate) fn soft_without_idle(self, stamp: u64) -> u64 {
        soft_word(self.soft_expires_ms(), false, stamp)
    }

    /// Soft expiry in milliseconds since 1970; 0: never.
    pub(crate) fn soft_expires_ms(self) -> u64 {
        self.soft_expiry & TIME
    }

    /// Wall time of the creation, in milliseconds since 1970, to the hundredth of a second.
    pub(crate) fn created_ms(self) -> u64 {
        (self.created >> EPOCH_BITS) * 10
    }

    /// How long the creation of the value took, in milliseconds, cut to its eleven leading bits.
    pub(crate) fn cost_ms(self) -> u64 {
        let cost = self.flags >> COST_AT;
        (cost & ((1 << COST_BITS) - 1)) << (cost >> COST_BITS & 15)
    }

    /// The metadata that a new record needs to be like this one.
    pub(crate) fn metadata(self) -> Metadata {
        Metadata {
            flags: self.caller_flags(),
            namespace: self.namespace(),
            soft_expires_ms: self.soft_expires_ms(),
            created_ms: self.created_ms(),
            cost_ms: self.cost_ms(),
            is_absence: self.is_absence(),
            is_idle: self.is_idle(),
            tags: self.tags.map_or_else(TagNumbers::default, |tags| tags.tags()),
            tag_clock: self.tags.map_or(0, |tags| tags.clock()),
        }
    }

    fn soft_is_sound(self, stamp: u64) -> bool {
        self.soft_expiry == soft_word(self.soft_expires_ms(), self.is_idle(), stamp)
    }
}

/// Metadata of a value, in the extension of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub flags: u32,
    /// Number of the namespace, from 1; 0: none.
    pub namespace: u16,
    /// The time at which the value becomes stale, in milliseconds since 1970; 0: never.
    pub soft_expires_ms: u64,
    /// Wall time of the creation, in milliseconds. A plain write stores it only together with other metadata.
    pub created_ms: u64,
    /// How long the creation took, in milliseconds.
    pub cost_ms: u64,
    /// Whether the record says that the key has no value.
    pub is_absence: bool,
    /// Whether reads move the record's expiry: see [`Extension::is_idle`].
    pub is_idle: bool,
    pub tags: TagNumbers,
    /// The clock of tags from before the old value was read or the creation began. Without tags it is not stored.
    pub tag_clock: u64,
}

impl Metadata {
    /// This metadata if a plain write must store it: the creation time alone does not count.
    #[inline]
    pub(crate) fn if_any(self) -> Option<Self> {
        // Only a record of a namespace follows an idle time.
        let Self { flags, namespace, soft_expires_ms, cost_ms, is_absence, tags, .. } = self;
        let is_any = flags != 0 || namespace != 0 || soft_expires_ms != 0 || cost_ms != 0 || is_absence;
        (is_any || !tags.is_empty()).then_some(self)
    }

    fn extension(&self, stamp: u64, namespace_epoch: u64) -> Extension {
        let cost = self.cost_ms.min(MOST_COST);
        let shift = (64 - cost.leading_zeros()).saturating_sub(COST_BITS);
        let absence = if self.is_absence { ABSENCE } else { 0 };
        Extension {
            soft_expiry: soft_word(self.soft_expires_ms, self.is_idle, stamp),
            created: (self.created_ms / 10) << EPOCH_BITS | namespace_epoch & EPOCH_MASK,
            flags: absence
                | (u64::from(shift) << COST_BITS | cost >> shift) << COST_AT
                | u64::from(self.namespace) << 32
                | u64::from(self.flags),
            tags: TagWords::pack(self.tag_clock, &self.tags),
        }
    }
}

/// The epochs that a record bears: those from before its old value was read, or from before its creation began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordEpochs {
    /// Of the whole cache.
    pub cache: u64,
    /// Of the record's namespace; 0 without a namespace.
    pub namespace: u64,
}

/// An item about to be written. Its epochs are known only under the stripe's lock.
#[derive(Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub key: Key<'a>,
    pub value: &'a [u8],
    pub expires_ms: u64,
    /// `None` for most records, which then have no extension.
    pub metadata: Option<Metadata>,
    /// Hash of key and value, computed before the stripe is locked.
    sum: u64,
    /// The lower half of the header's first word: kind, and length of the key.
    kind: u64,
    /// Bytes from the record's start to the value's end.
    used: u64,
}

impl<'a> NewRecord<'a> {
    #[inline(always)]
    pub(crate) fn new(key: Key<'a>, value: &'a [u8], expires_ms: u64, metadata: Option<Metadata>) -> Self {
        let (kind, key_at) = match &metadata {
            None => (KIND_PLAIN, RECORD_LEN),
            Some(metadata) => {
                let words = metadata.tags.words();
                (words << TAGS_AT | KIND_EXTENDED, RECORD_LEN + EXTENSION_LEN + words * 8)
            }
        };
        let key_len = key.bytes.len() as u64;
        let used = key_at + round_up(key_len, 8) + value.len() as u64;
        Self { key, value, expires_ms, metadata, sum: sum(key.hash, value), kind: key_len << 16 | kind, used }
    }

    /// Units of eight bytes that the record takes.
    #[inline]
    pub(crate) fn units(&self) -> u64 {
        self.used.div_ceil(8)
    }

    /// Whether the draft can overwrite a small record of the same key in place: both are of one kind, and the
    /// allocation fits.
    #[inline(always)]
    pub(crate) fn fits_in(&self, head: Head) -> bool {
        let allocated = head.units() * 8;
        // An allocation that is too short wraps to a slack that is far too large.
        head.shape & 0xffff_ffff == self.kind
            && allocated <= IN_PLACE_LIMIT
            && allocated.wrapping_sub(self.used) <= MAX_SLACK
            && !head.is_dead()
    }

    /// The numbers of the record's tags.
    #[inline]
    pub(crate) fn tags(&self) -> Option<&TagNumbers> {
        self.metadata.as_ref().map(|metadata| &metadata.tags).filter(|tags| !tags.is_empty())
    }

    #[inline]
    pub(crate) fn extension(&self, stamp: u64, epochs: RecordEpochs) -> Extension {
        self.metadata.map_or_else(Extension::default, |metadata| metadata.extension(stamp, epochs.namespace))
    }

    /// The header for a record of `units` at `location`.
    #[inline(always)]
    pub(crate) fn head(&self, units: u64, stamp: u64, location: RecordLocation, epochs: RecordEpochs) -> Head {
        let slack = units * 8 - self.used;
        let mut head = Head {
            shape: units << 32 | self.kind,
            seal: (epochs.cache & EPOCH_MASK) << 40 | slack << 32,
            stamp,
            expiry: timed(self.expires_ms, stamp),
        };
        head.seal |= u64::from(checksum(self.sum, head, || self.extension(stamp, epochs), location));
        head
    }
}

/// The shape of a pad of `units`.
pub(crate) fn pad(units: u64) -> u64 {
    units << 32 | KIND_PAD
}

/// Bytes that a record of these lengths takes in the arena, its header included.
///
/// Keys and values are padded to eight bytes each. A record takes 24 bytes more if it has flags of the caller other
/// than 0, a soft expiry, tags or a namespace, or if its value was created by
/// [`Cache::get_or_create`](crate::Cache::get_or_create) or a method like it. For tags see [`tagged_record_size`].
///
/// ```
/// assert_eq!(kennel::record_size(16, 64), 112);
/// ```
#[must_use]
pub const fn record_size(key_len: usize, value_len: usize) -> u64 {
    RECORD_LEN + round_up(key_len as u64, 8) + round_up(value_len as u64, 8)
}

/// [`record_size`] of a record with this number of different tags. Tags take 40 bytes, and 8 more for each four tags
/// after the first four. 24 of these bytes are the ones that flags or a namespace take, too.
///
/// ```
/// use kennel::{record_size, tagged_record_size};
/// assert_eq!(tagged_record_size(16, 64, 0), record_size(16, 64));
/// assert_eq!(tagged_record_size(16, 64, 4), record_size(16, 64) + 40);
/// assert_eq!(tagged_record_size(16, 64, 5), record_size(16, 64) + 48);
/// ```
#[must_use]
pub const fn tagged_record_size(key_len: usize, value_len: usize, tags: usize) -> u64 {
    let plain = record_size(key_len, value_len);
    if tags == 0 { plain } else { plain + EXTENSION_LEN + 8 * tag_words(tags) as u64 }
}

/// Odd factors for the words that a checksum covers, so that exchanging two of the words changes it. They are the
/// digits of pi, made odd.
const FACTORS: [u64; 5] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377];

/// The contribution of key and value to the checksum.
#[inline]
fn sum(key_hash: u64, value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, key_hash)
}

#[inline(always)]
fn checksum(sum: u64, head: Head, extension: impl FnOnce() -> Extension, location: RecordLocation) -> u32 {
    let [of_shape, of_seal, of_stamp, of_created, of_flags] = FACTORS;
    let mut sum = sum
        .wrapping_add(head.shape.wrapping_mul(of_shape))
        .wrapping_add((head.seal >> 32).wrapping_mul(of_seal))
        .wrapping_add(head.stamp.wrapping_mul(of_stamp));
    if head.is_extended() {
        let Extension { created, flags, tags, .. } = extension();
        sum = sum.wrapping_add(created.wrapping_mul(of_created)).wrapping_add(flags.wrapping_mul(of_flags));
        // One after the other, so that exchanging two of the words changes the sum.
        sum = tags.iter().flat_map(TagWords::as_slice).fold(sum, |sum, &word| mix(sum ^ word));
    }
    let sum = mix(sum);
    (sum ^ sum >> 32) as u32 ^ location.salt()
}

/// Whether a record found at `location` was written there, in full.
pub(crate) fn is_sound(
    key: &Key<'_>,
    value: &[u8],
    head: Head,
    extension: Extension,
    location: RecordLocation,
) -> bool {
    head.seal as u32 == checksum(sum(key.hash, value), head, || extension, location)
        && head.expiry_is_sound()
        && (!head.is_extended() || extension.soft_is_sound(head.stamp))
}

/// The seal of the same record at another spot, without hashing anything again.
pub(crate) fn reseal(seal: u64, from: RecordLocation, to: RecordLocation) -> u64 {
    seal ^ u64::from(from.salt() ^ to.salt())
}

#[cfg(test)]
mod tests;
