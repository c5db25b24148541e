//! The record: header, extension, key and value of one item, as it lies in a ring.
//!
//! ```text
//! word 0  shape   63..32 allocated units | 31..16 key length | 15..8 unused | 7..0 kind     never changes
//! word 1  seal    63..40 epoch | 39..32 unused bytes behind the value | 31..0 checksum
//! word 2  stamp
//! word 3  expiry  63 dead | 62..44 check bits | 43..0 milliseconds since 1970, 0: never
//! [word 4 soft expiry   62..44 check bits | 43..0 milliseconds, 0: never
//!  word 5 created       63..24 hundredths of a second since 1970 | 23..0 epoch of the namespace
//!  word 6 flags         63 no value | 62..48 cost | 47..32 namespace | 31..0 caller's flags]   only kind 2
//! key, padded to 8 bytes with zeros
//! value, padded to 8 bytes
//! ```
//!
//! The length of the value is the rest of the allocated length, so an overwrite in place changes only one byte of the
//! lengths. The checksum covers key, value and everything else that does not change while the record lives. It is mixed
//! with the stripe, ring and position, so a copy of the record's bytes anywhere else does not pass. Expiries change in
//! place (`touch`) and have check bits of their own.

use super::slot::Ring;
use crate::clock::LAST_TIME;
use crate::hash::Key;
use crate::shm::layout::{EXTENSION_LEN, RECORD_LEN, round_up};
use crate::shm::memory::Row;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KIND_PLAIN: u64 = 1;
const KIND_EXTENDED: u64 = 2;
const KIND_PAD: u64 = 3;

const DEAD: u64 = 1 << 63;
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

    pub(crate) fn is_pad(self) -> bool {
        self.shape & 0xffff == KIND_PAD
    }

    /// Whether this is a record, plain or extended. Anything else but a pad is damage, or bytes that were never
    /// written.
    #[inline]
    pub(crate) fn is_record(self) -> bool {
        matches!(self.shape & 0xffff, KIND_PLAIN | KIND_EXTENDED)
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
        if self.is_extended() { RECORD_LEN + EXTENSION_LEN } else { RECORD_LEN }
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
        self.seal >> 40
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

/// The words of the extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    pub soft_expiry: u64,
    pub created: u64,
    pub flags: u64,
}

/// Set in `flags`: the record says that the key has no value.
const ABSENCE: u64 = 1 << 63;
const COST_AT: u32 = 48;
/// A creation's cost is stored as a number of milliseconds of this many bits, and a four-bit shift above them.
const COST_BITS: u32 = 11;
const MOST_COST: u64 = ((1 << COST_BITS) - 1) << 15;

impl Extension {
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

    /// Soft expiry in milliseconds since 1970; 0: never.
    pub(crate) fn soft_expires_ms(self) -> u64 {
        self.soft_expiry & TIME
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
            created_ms: (self.created >> EPOCH_BITS) * 10,
            cost_ms: self.cost_ms(),
            is_absence: self.is_absence(),
        }
    }

    fn soft_is_sound(self, stamp: u64) -> bool {
        self.soft_expiry == timed(self.soft_expiry & TIME, stamp)
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
}

impl Metadata {
    /// This metadata if a plain write must store it: the creation time alone does not count.
    #[inline]
    pub(crate) fn if_any(self) -> Option<Self> {
        let Self { flags, namespace, soft_expires_ms, created_ms: _, cost_ms, is_absence } = self;
        (flags != 0 || namespace != 0 || soft_expires_ms != 0 || cost_ms != 0 || is_absence).then_some(self)
    }

    fn extension(&self, stamp: u64, namespace_epoch: u64) -> Extension {
        let cost = self.cost_ms.min(MOST_COST);
        let shift = (64 - cost.leading_zeros()).saturating_sub(COST_BITS);
        let absence = if self.is_absence { ABSENCE } else { 0 };
        Extension {
            soft_expiry: timed(self.soft_expires_ms, stamp),
            created: (self.created_ms / 10) << EPOCH_BITS | namespace_epoch & EPOCH_MASK,
            flags: absence
                | (u64::from(shift) << COST_BITS | cost >> shift) << COST_AT
                | u64::from(self.namespace) << 32
                | u64::from(self.flags),
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
        let (kind, key_at) = match metadata {
            None => (KIND_PLAIN, RECORD_LEN),
            Some(_) => (KIND_EXTENDED, RECORD_LEN + EXTENSION_LEN),
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
/// than 0, a soft expiry or a namespace, or if its value was created by
/// [`Cache::get_or_create`](crate::Cache::get_or_create) or a method like it.
///
/// ```
/// assert_eq!(kennel::record_size(16, 64), 112);
/// ```
#[must_use]
pub const fn record_size(key_len: usize, value_len: usize) -> u64 {
    RECORD_LEN + round_up(key_len as u64, 8) + round_up(value_len as u64, 8)
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
        let Extension { created, flags, .. } = extension();
        sum = sum.wrapping_add(created.wrapping_mul(of_created)).wrapping_add(flags.wrapping_mul(of_flags));
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
mod tests {
    use super::*;

    const EPOCHS: RecordEpochs = RecordEpochs { cache: 77, namespace: 5 };

    fn location(position: u64) -> RecordLocation {
        RecordLocation { stripe: 3, ring: Ring::Small, position }
    }

    fn draft<'a>(key: &'a [u8], value: &'a [u8], flags: u32) -> NewRecord<'a> {
        let metadata = Metadata { flags, ..Metadata::default() }.if_any();
        NewRecord::new(Key::new(key, 9), value, 1_700_000_000_000, metadata)
    }

    #[test]
    fn lengths_come_back_from_the_header() {
        for (key, value, flags) in [(0, 0, 0), (1, 1, 0), (8, 8, 5), (16, 64, 0), (9, 255, 1), (65_535, 7, 0)] {
            let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
            let draft = draft(&key, &value, flags);
            let head = draft.head(draft.units(), 5, location(0), EPOCHS);
            assert!(head.is_record() && !head.is_pad() && !head.is_dead());
            assert_eq!(head.key_len(), key.len() as u64);
            assert_eq!(head.value_len(), Some(value.len() as u64));
            assert_eq!((head.epoch(), head.expires_ms()), (77, 1_700_000_000_000));
            let grown = draft.head(draft.units() + 20, 5, location(0), EPOCHS);
            assert_eq!(grown.value_len(), Some(value.len() as u64));
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_found() {
        let d = draft(b"key", b"some value", 8);
        let head = d.head(d.units(), 123, location(40), EPOCHS);
        let sound = |key: &[u8], value: &[u8], head, ext, at| is_sound(&Key::new(key, 9), value, head, ext, at);
        assert!(sound(b"key", b"some value", head, d.extension(123, EPOCHS), location(40)));
        assert!(!sound(b"kez", b"some value", head, d.extension(123, EPOCHS), location(40)));
        assert!(!sound(b"key", b"some valuf", head, d.extension(123, EPOCHS), location(40)));
        assert!(!sound(b"key", b"some value", head, d.extension(123, EPOCHS), location(41)));
        assert!(!sound(
            b"key",
            b"some value",
            head,
            d.extension(123, EPOCHS),
            RecordLocation { ring: Ring::Main, ..location(40) }
        ));
        assert!(!sound(
            b"key",
            b"some value",
            head,
            d.extension(123, EPOCHS),
            RecordLocation { stripe: 4, ..location(40) }
        ));
        for bit in 0..64 {
            let flip = 1u64 << bit;
            assert!(!sound(
                b"key",
                b"some value",
                Head { seal: head.seal ^ flip, ..head },
                d.extension(123, EPOCHS),
                location(40)
            ));
            assert!(!sound(
                b"key",
                b"some value",
                Head { stamp: head.stamp ^ flip, ..head },
                d.extension(123, EPOCHS),
                location(40)
            ));
            let expiry = Head { expiry: head.expiry ^ flip, ..head };
            assert_eq!(
                sound(b"key", b"some value", expiry, d.extension(123, EPOCHS), location(40)),
                bit == 63,
                "a dead mark is not damage"
            );
            let ext = Extension { flags: d.extension(123, EPOCHS).flags ^ flip, ..d.extension(123, EPOCHS) };
            assert!(!sound(b"key", b"some value", head, ext, location(40)));
        }
    }

    #[test]
    fn a_move_needs_no_second_hash() {
        let d = draft(b"key", b"value", 0);
        let mut head = d.head(d.units(), 123, location(40), EPOCHS);
        let to = RecordLocation { stripe: 3, ring: Ring::Main, position: 999 };
        head.seal = reseal(head.seal, location(40), to);
        assert!(is_sound(&d.key, b"value", head, Extension::default(), to));
    }

    #[test]
    fn what_lies_beside_a_value_comes_back() {
        for cost_ms in [0, 1, 2047, 2048, 4096, 65_536, MOST_COST] {
            let metadata = Metadata {
                flags: u32::MAX,
                namespace: u16::MAX,
                soft_expires_ms: LAST_TIME,
                created_ms: 1_700_000_000_120,
                cost_ms,
                is_absence: cost_ms == 1,
            };
            assert_eq!(metadata.extension(5, EPOCH_MASK).metadata(), metadata);
        }
        let rough = Metadata { cost_ms: 10_001, ..Metadata::default() }.extension(5, 0).cost_ms();
        assert!((9_996..=10_001).contains(&rough), "{rough}");
        let most = Metadata { cost_ms: u64::MAX, ..Metadata::default() }.extension(5, 0).cost_ms();
        assert_eq!(most, MOST_COST, "a day or longer");
    }
}
