//! The layout of a cache file: the only place that defines its bytes.
//!
//! ```text
//! header   4 KiB           fixed parameters, identity, state
//! seats    seats x 1280    one per member: generation, lease, counter lines
//! namespaces  namespaces x 256   named parts of the cache: defaults and epochs
//! tags     2 x tags x 8    when each tag was invalidated, hard and soft
//! histograms  histograms x 256   how long slow operations took
//! samples  seats x samples x 8    hashes of keys that were read, if the file has room for them
//! reads    seats x namespaces x 16    hits and misses of each namespace, if the file counts them
//! stripes  S x (512 + claims x 64)    lock word, intent, rings, counters, claims
//! buckets  S x B x 64      a version word and seven slots each
//! arenas   S x (small ring | main ring)   records
//! ```
//!
//! Everything is little-endian and made of 64-bit words at offsets divisible by eight. The structs below are never laid
//! over the live mapping. They define the layout, compile-time assertions check their sizes, and [`FIELDS`] ties
//! `docs/format.md` and the fingerprint to them.

pub(crate) use super::ring_shape::RingShape;
use bytemuck::{Pod, Zeroable};
use std::mem::{offset_of, size_of};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("kennel needs a 64-bit target: a cache file is mapped whole and its words are 64 bits wide");
#[cfg(not(target_endian = "little"))]
compile_error!("kennel needs a little-endian target: the words of a cache file are little-endian");

/// The first eight bytes of every cache file.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"KENNELca");
/// The version of the format; every change of the format raises it.
pub(crate) const FORMAT: u32 = 3;
/// Counters in a counter line.
pub(crate) const COUNTERS: usize = 16;
/// Counter lines of a seat that belong to one thread each; all further threads share one more.
pub(crate) const OWN_LINES: usize = 8;
/// Histograms of a new file.
pub(crate) const HISTOGRAMS: u32 = 3;
/// Counts of a histogram.
pub(crate) const HISTOGRAM_COUNTS: usize = 16;
/// Hashes in the tap of a counter line.
pub(crate) const TAP_HASHES: usize = 15;
/// Words of the taps of a seat.
pub(crate) const TAP_WORDS: u32 = ((OWN_LINES + 1) * (TAP_HASHES + 1)) as u32;
/// Slots of a bucket.
pub(crate) const SLOTS: u64 = 7;
/// Longest name of a namespace, in bytes.
pub(crate) const NAMESPACE_NAME: usize = 128;
/// Words of a namespace that belong to callers and mean nothing to the engine.
pub(crate) const NAMESPACE_WORDS: usize = 4;
/// Longest name of a lock strategy, in bytes.
pub(crate) const STRATEGY_NAME: usize = 32;

/// A field of the layout: struct, name, offset and size in bytes.
pub(crate) type Field = (&'static str, &'static str, usize, usize);

/// Declares the structs of the file, and lists their fields.
macro_rules! layout {
    ($($(#[$doc:meta])* $of:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Pod, Zeroable)]
            pub(crate) struct $of {
                $($(#[$field_doc])* pub $field: $type,)*
            }
        )*

        /// Every field of every struct, as `docs/format.md` must list them.
        pub(crate) const FIELDS: &[Field] = &[
            $($((stringify!($of), stringify!($field), offset_of!($of, $field), size_of::<$type>()),)*)*
        ];
    };
}

layout! {
    /// The first page of the file. Offset 0.
    Header {
        // Fixed parameters: written once, before any other process can see the file.
        magic: u64,
        format: u32,
        header_len: u32,
        fingerprint: u64,
        /// xxh3 of bytes 32 to 512.
        check: u64,
        file_len: u64,
        capacity: u64,
        mean_item: u64,
        stripes: u32,
        lock_regions: u32,
        seats: u32,
        namespaces: u32,
        claims: u32,
        after_crash: u32,
        buckets: u64,
        small_len: u64,
        main_len: u64,
        hash_seed: u64,
        strategy_id: u64,
        strategy_name: [u8; STRATEGY_NAME],
        created_ms: u64,
        // Sizes of further areas.
        tags: u32,
        histograms: u32,
        samples: u32,
        namespace_reads: u32,
        reserved_fixed: [u64; 42],
        // Identity: changed only when a copy is adopted or the file is reset, under the opening lock.
        file_id: [u64; 2],
        data_inode: u64,
        data_device: u64,
        lock_dir_inode: u64,
        /// The lineage of the values in the file: equal stamps name equal values only within one lineage.
        lineage: u64,
        reserved_identity: [u64; 2],
        // State: one cache line, which every operation reads and few operations write.
        boot_id: [u64; 2],
        epochs: u64,
        flush: u64,
        replaced: u64,
        /// An upper bound on the number of stripes still flagged verify-me; 0 if no stripe is.
        unverified: u64,
        sample_mask: u64,
        reserved_state: u64,
        // Membership: changed under the opening lock, on a cache line of its own.
        seats_used: u64,
        seat_cursor: u64,
        resets: u64,
        resizer: u64,
        reserved_members: [u64; 4],
        // A line of its own: each invalidation of a tag changes it.
        tag_clock: u64,
        reserved_tags: [u64; 7],
        reserved: [u64; 416],
    }

    /// One member's place in the file.
    Seat {
        /// Raised at each attach: no two members have the same seat and generation.
        generation: u64,
        /// 1 while a member has this seat; a killed member leaves it at 1.
        taken: u64,
        /// Inode number of the lease file; 0 if the seat has had no member since the last reset.
        lease_inode: u64,
        /// For people only: no decision depends on it.
        pid: u64,
        /// Wall time of the attach in milliseconds.
        started_ms: u64,
        reserved: [u64; 11],
        lines: [[u64; COUNTERS]; OWN_LINES + 1],
    }

    /// A namespace: a named part of the cache with defaults and epochs of its own.
    Namespace {
        /// xxh3 of the name, stored last; 0: not used yet.
        name_hash: u64,
        epochs: u64,
        hard_ttl_ms: u64,
        soft_ttl_ms: u64,
        none_ttl_ms: u64,
        flags: u64,
        name_len: u64,
        idle_ttl_ms: u64,
        name: [u8; NAMESPACE_NAME],
        words: [u64; NAMESPACE_WORDS],
        /// How often the entry was removed, or an addition to it was undone.
        generation: u64,
        reserved: [u64; 3],
    }

    /// How long the operations of one kind took.
    Histogram {
        counts: [u64; HISTOGRAM_COUNTS],
        /// Nanoseconds.
        sum: u64,
        reserved: [u64; 15],
    }

    /// What the threads of one counter line read.
    Tap {
        /// How many hashes were noted. The next one goes to the place of this number modulo the number of places.
        count: u64,
        hashes: [u64; TAP_HASHES],
    }

    /// The reads of one namespace by one member. About one read in sixteen is counted, as sixteen reads.
    NamespaceReads {
        hits: u64,
        misses: u64,
    }

    /// The head of a stripe; its claims follow.
    Stripe {
        // Line 0: the lock. Contended, so nothing else lies here.
        lock_word: u64,
        sleep_word: u64,
        /// Inode number of the lock file of this lock region.
        lock_inode: u64,
        reserved_lock: [u64; 5],
        // Line 1: the intent, and what repairs did.
        intent: u64,
        intent_slot: u64,
        intent_old: u64,
        intent_new: u64,
        intent_live_done: u64,
        intent_live_undone: u64,
        reserved_intent: [u64; 2],
        // Line 2: the rings.
        small_head: u64,
        small_tail: u64,
        main_head: u64,
        main_tail: u64,
        stamp: u64,
        live: u64,
        /// Hard epoch of the cache that `live` counts for.
        live_epoch: u64,
        /// Only this many claims, counted from the first, can be held or rest; at 0 a write does not look at them.
        claims_used: u64,
        // Line 3: seldom written.
        /// 0: trusted. After a crash of the operating system, 1: a record is used only if it passes its checksum; 2: no
        /// record is used, and the next process to lock the stripe empties it.
        verify_me: u64,
        repair_attempts: u64,
        repaired_intent: u64,
        repaired_by_seat: u64,
        repaired_by_pid: u64,
        /// The number of the newest claim; numbers never repeat.
        claim_number: u64,
        reserved_seldom: [u64; 2],
        // Lines 4 and 5.
        counters: [u64; COUNTERS],
        reserved: [u64; 16],
    }

    /// A key being created, or locked, by one owner.
    Claim {
        /// Number of the claim with its state; both stay after the claim has ended.
        number: u64,
        key_hash: [u64; 2],
        /// Seat and generation.
        owner: u64,
        /// Thread or task of the owner.
        task: u64,
        /// Maximum age, and the host's monotonic clock at the start. While the key rests: failures, length and end of
        /// the rest.
        started: u64,
        /// Epochs of the cache at the start.
        epochs: u64,
        /// The namespace, and its epochs at the start.
        namespace_epochs: u64,
    }

    /// One cache line of the index.
    Bucket {
        version: u64,
        slots: [u64; SLOTS as usize],
    }

    /// The head of a record. Extension, key and value follow, key and value each padded to eight bytes.
    Record {
        /// Kind, key length, allocated length. Never changes while the record lies here.
        shape: u64,
        /// Checksum, unused bytes behind the value, epoch of the cache.
        seal: u64,
        stamp: u64,
        /// Hard expiry with check bits of its own, and the dead mark.
        expiry: u64,
    }

    /// The extension of a record that has caller's flags, a soft expiry, a namespace, tags, a cost or no value, or that
    /// was created under a claim or without protection.
    Extension {
        /// Soft expiry with check bits of its own.
        soft_expiry: u64,
        /// Creation time and epoch of the namespace.
        created: u64,
        /// Caller's flags, namespace, cost of creating the value.
        flags: u64,
    }
}

pub(crate) const HEADER_LEN: u64 = size_of::<Header>() as u64;
pub(crate) const SEAT_LEN: u64 = size_of::<Seat>() as u64;
pub(crate) const NAMESPACE_LEN: u64 = size_of::<Namespace>() as u64;
pub(crate) const HISTOGRAM_LEN: u64 = size_of::<Histogram>() as u64;
pub(crate) const TAP_LEN: u64 = size_of::<Tap>() as u64;
pub(crate) const NAMESPACE_READS_LEN: u64 = size_of::<NamespaceReads>() as u64;
/// A tag has a word in each of two tables.
pub(crate) const TAG_LEN: u64 = 16;
pub(crate) const STRIPE_LEN: u64 = size_of::<Stripe>() as u64;
pub(crate) const CLAIM_LEN: u64 = size_of::<Claim>() as u64;
pub(crate) const BUCKET_LEN: u64 = size_of::<Bucket>() as u64;
pub(crate) const RECORD_LEN: u64 = size_of::<Record>() as u64;
pub(crate) const EXTENSION_LEN: u64 = size_of::<Extension>() as u64;
/// Offset of the header's state line.
pub(crate) const STATE_AT: u64 = offset_of!(Header, boot_id) as u64;
/// Indices of words in the state line.
pub(crate) const STATE_EPOCHS: usize = 2;
pub(crate) const STATE_FLUSH: usize = 3;
pub(crate) const STATE_REPLACED: usize = 4;
pub(crate) const STATE_UNVERIFIED: usize = 5;
pub(crate) const STATE_SAMPLE_MASK: usize = 6;
/// Bytes 32 to 512 of the header are covered by `check`.
pub(crate) const CHECKED: std::ops::Range<usize> = 32..512;

const _: () = {
    assert!(HEADER_LEN == 4096 && SEAT_LEN == 1280 && NAMESPACE_LEN == 256);
    assert!(HISTOGRAM_LEN == 256 && NAMESPACE_READS_LEN == 16 && TAP_LEN == 128);
    assert!(STRIPE_LEN == 512 && CLAIM_LEN == 64 && BUCKET_LEN == 64);
    assert!(RECORD_LEN == 32 && EXTENSION_LEN == 24);
    // Each part of the header that is written on its own starts a cache line.
    assert!(offset_of!(Header, file_len) == CHECKED.start && offset_of!(Header, file_id) == CHECKED.end);
    assert!(offset_of!(Header, boot_id) % 64 == 0 && offset_of!(Header, seats_used) % 64 == 0);
    assert!(offset_of!(Header, tag_clock) % 64 == 0);
    assert!(offset_of!(Stripe, intent) == 64 && offset_of!(Stripe, small_head) == 128);
    assert!(offset_of!(Stripe, verify_me) == 192 && offset_of!(Stripe, counters) == 256);
    assert!(offset_of!(Seat, lines) == 128);
    assert!(offset_of!(Header, epochs) as u64 == STATE_AT + 8 * STATE_EPOCHS as u64);
    assert!(offset_of!(Header, flush) as u64 == STATE_AT + 8 * STATE_FLUSH as u64);
    assert!(offset_of!(Header, replaced) as u64 == STATE_AT + 8 * STATE_REPLACED as u64);
    assert!(offset_of!(Header, unverified) as u64 == STATE_AT + 8 * STATE_UNVERIFIED as u64);
    assert!(offset_of!(Header, sample_mask) as u64 == STATE_AT + 8 * STATE_SAMPLE_MASK as u64);
};

/// The fields that format 3 names for features to come, by struct. They and the `reserved` fields are zero.
const FOR_LATER: [(&str, &[&str]); 0] = [];

/// The fields of a struct that are zero in every file: name, offset and size.
pub(crate) fn unused_fields(of: &str) -> impl Iterator<Item = (&'static str, usize, usize)> {
    let later = FOR_LATER.iter().find(|(name, _)| *name == of).map_or(&[][..], |(_, fields)| fields);
    FIELDS
        .iter()
        .filter(move |(name, field, ..)| *name == of && (field.starts_with("reserved") || later.contains(field)))
        .map(|&(_, field, offset, size)| (field, offset, size))
}

/// A hash of the layout: two builds that lay out the bytes differently have different fingerprints.
pub(crate) const FINGERPRINT: u64 = {
    let mut bytes = [0u8; FIELDS.len() * 16];
    let mut i = 0;
    while i < FIELDS.len() {
        let (_, _, offset, size) = FIELDS[i];
        let (offset, size) = ((offset as u64).to_le_bytes(), (size as u64).to_le_bytes());
        let mut b = 0;
        while b < 8 {
            bytes[i * 16 + b] = offset[b];
            bytes[i * 16 + 8 + b] = size[b];
            b += 1;
        }
        i += 1;
    }
    xxhash_rust::const_xxh3::xxh3_64(&bytes)
};

/// Offset of a header field: `at!(epochs)`.
macro_rules! at {
    ($field:ident) => {
        std::mem::offset_of!($crate::shm::layout::Header, $field) as u64
    };
    ($of:ident . $field:ident) => {
        std::mem::offset_of!($crate::shm::layout::$of, $field) as u64
    };
}
pub(crate) use at;

/// Declares the sizes of a file. Each is an option of the caller and a field of the header, with the same name.
macro_rules! sizes {
    ($($name:ident: $type:ty,)+) => {
        /// The sizes of a file, in bytes or counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct Shape {
            $(pub $name: $type,)+
        }

        impl Shape {
            /// The sizes in a header, which are not validated yet.
            pub(crate) fn of(header: &Header) -> Self {
                Self { $($name: header.$name,)+ }
            }

            pub(crate) fn copy_to(&self, header: &mut Header) {
                $(header.$name = self.$name;)+
            }
        }

        /// The sizes that the caller set. The others come from an existing file, or are defaults.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct AskedSizes {
            $(pub $name: Option<$type>,)+
        }

        impl AskedSizes {
            /// The first size that the caller set and that is different in a file: its name, and both values.
            pub(crate) fn difference(&self, found: &Shape) -> Option<(&'static str, u64, u64)> {
                $(if let Some(asked) = self.$name && asked != found.$name {
                    return Some((stringify!($name), asked.into(), found.$name.into()));
                })+
                None
            }
        }
    };
}

sizes! {
    capacity: u64,
    mean_item: u64,
    stripes: u32,
    lock_regions: u32,
    seats: u32,
    namespaces: u32,
    claims: u32,
    tags: u32,
    histograms: u32,
    samples: u32,
    namespace_reads: u32,
}

/// The sizes and offsets of one file, proven to fit together. Every offset that the engine uses is computed from these
/// private copies, never from later contents of the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub shape: Shape,
    /// Buckets of one stripe.
    pub buckets: u64,
    pub small: RingShape,
    pub main: RingShape,
    pub seats_at: u64,
    pub namespaces_at: u64,
    pub tags_at: u64,
    pub histograms_at: u64,
    pub samples_at: u64,
    pub namespace_reads_at: u64,
    pub stripes_at: u64,
    pub stripe_len: u64,
    pub buckets_at: u64,
    pub arenas_at: u64,
    pub arena_len: u64,
    pub file_len: u64,
    /// The largest record in bytes, header included: a quarter of the main ring, or the longest that a header can
    /// express.
    pub largest_record: u64,
}

/// The option that makes a [`Shape`] invalid, and its valid values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadShape {
    pub option: &'static str,
    pub given: u64,
    pub expected: String,
}

pub(crate) const MAX_STRIPES: u32 = 4096;
pub(crate) const MAX_SEATS: u32 = 1 << 20;
/// The shortest table of tags is a whole number of cache lines, and the longest has a word for each number.
pub(crate) const LEAST_TAGS: u32 = 64;
pub(crate) const MOST_TAGS: u32 = 1 << 16;
pub(crate) const MAX_CAPACITY: u64 = 1 << 44;
/// The smallest arena of a stripe: each of its rings must hold a few records.
pub(crate) const MIN_ARENA: u64 = 2048;
/// A record's header has 32 bits for its length in units of eight bytes. They suffice for a pad, too: it is shorter
/// than the record that did not fit in its place.
const LONGEST_RECORD: u64 = u32::MAX as u64 * 8;
/// The small ring is one part in this many of the arena.
const SMALL_PART: u64 = 10;
/// Live slots fill this share of the index (in percent) at the mean item size; ghosts live in the rest.
const LIVE_PERCENT: u64 = 45;

/// Rounds up to a multiple of a power of two.
pub(crate) const fn round_up(n: u64, to: u64) -> u64 {
    (n + to - 1) & !(to - 1)
}

/// Bytes of the area that counts the reads of each namespace.
pub(crate) const fn namespace_reads_len(seats: u32, namespaces: u32) -> u64 {
    round_up(seats as u64 * namespaces as u64 * NAMESPACE_READS_LEN, 64)
}

impl Geometry {
    /// Computes the layout of a file, or names the invalid option.
    pub(crate) fn new(shape: Shape) -> Result<Self, BadShape> {
        shape.check()?;
        let stripes = u64::from(shape.stripes);
        let arena = round_up(shape.capacity.div_ceil(stripes), 64);
        let small = round_up(arena / SMALL_PART, 64);
        let record = RECORD_LEN + round_up(shape.mean_item, 8);
        let buckets = (arena * 100).div_ceil(record * LIVE_PERCENT * SLOTS).max(1);
        if buckets > u64::from(u32::MAX) {
            return Err(BadShape {
                option: "mean_item",
                given: shape.mean_item,
                expected: "larger items or more stripes: a stripe has fewer than 2^32 buckets".into(),
            });
        }
        let seats_at = HEADER_LEN;
        let namespaces_at = seats_at + u64::from(shape.seats) * SEAT_LEN;
        let tags_at = namespaces_at + u64::from(shape.namespaces) * NAMESPACE_LEN;
        let histograms_at = tags_at + u64::from(shape.tags) * TAG_LEN;
        let samples_at = histograms_at + u64::from(shape.histograms) * HISTOGRAM_LEN;
        let namespace_reads_at = samples_at + u64::from(shape.seats) * u64::from(shape.samples) * 8;
        let reads = u64::from(shape.namespace_reads) * namespace_reads_len(shape.seats, shape.namespaces);
        let stripes_at = namespace_reads_at + reads;
        let stripe_len = STRIPE_LEN + u64::from(shape.claims) * CLAIM_LEN;
        let buckets_at = stripes_at + stripes * stripe_len;
        let arenas_at = round_up(buckets_at + stripes * buckets * BUCKET_LEN, 4096);
        let file_len = round_up(arenas_at + stripes * arena, 4096);
        let main = RingShape::of(arena - small);
        Ok(Self {
            shape,
            buckets,
            small: RingShape::of(small),
            main,
            seats_at,
            namespaces_at,
            tags_at,
            histograms_at,
            samples_at,
            namespace_reads_at,
            stripes_at,
            stripe_len,
            buckets_at,
            arenas_at,
            arena_len: arena,
            file_len,
            largest_record: (main.bytes() / 4).min(LONGEST_RECORD),
        })
    }

    /// Offset of a stripe's head.
    #[inline]
    pub(crate) fn stripe(&self, stripe: u32) -> u64 {
        self.stripes_at + u64::from(stripe) * self.stripe_len
    }

    /// The lock region of a stripe: its number modulo the number of regions, a power of two.
    pub(crate) fn lock_region(&self, stripe: u32) -> u32 {
        stripe & (self.shape.lock_regions - 1)
    }

    /// Offset of a stripe's claim.
    pub(crate) fn claim(&self, stripe: u32, claim: u32) -> u64 {
        self.stripe(stripe) + STRIPE_LEN + u64::from(claim) * CLAIM_LEN
    }

    /// Offset of a bucket.
    #[inline]
    pub(crate) fn bucket(&self, stripe: u32, bucket: u64) -> u64 {
        self.buckets_at + (u64::from(stripe) * self.buckets + bucket) * BUCKET_LEN
    }

    /// Offset of a stripe's small ring; its main ring follows.
    #[inline]
    pub(crate) fn arena(&self, stripe: u32) -> u64 {
        self.arenas_at + u64::from(stripe) * self.arena_len
    }

    /// Offset of a seat.
    pub(crate) fn seat(&self, seat: u32) -> u64 {
        self.seats_at + u64::from(seat) * SEAT_LEN
    }

    /// Offset of the first counter line of a seat.
    pub(crate) fn seat_lines(&self, seat: u32) -> u64 {
        self.seat(seat) + at!(Seat.lines)
    }
}

#[cfg(test)]
mod tests;
