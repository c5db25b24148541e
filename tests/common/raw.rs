//! A cache file as bytes, by the offsets of its format: for planting damage, and for inspection.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Offsets in the header.
pub mod header {
    pub const FORMAT: usize = 8;
    pub const HEADER_LEN: usize = 12;
    pub const CHECK: usize = 24;
    pub const FILE_LEN: usize = 32;
    pub const CAPACITY: usize = 40;
    pub const MEAN_ITEM: usize = 48;
    pub const STRIPES: usize = 56;
    pub const LOCK_REGIONS: usize = 60;
    pub const SEATS: usize = 64;
    pub const NAMESPACES: usize = 68;
    pub const CLAIMS: usize = 72;
    pub const AFTER_CRASH: usize = 76;
    pub const BUCKETS: usize = 80;
    pub const SMALL_LEN: usize = 88;
    pub const MAIN_LEN: usize = 96;
    pub const HASH_SEED: usize = 104;
    pub const STRATEGY_ID: usize = 112;
    pub const STRATEGY_NAME: usize = 120;
    pub const CREATED_MS: usize = 152;
    pub const TAGS: usize = 160;
    pub const HISTOGRAMS: usize = 164;
    pub const SAMPLES: usize = 168;
    pub const NAMESPACE_READS: usize = 172;
    pub const FILE_ID: usize = 512;
    pub const DATA_INODE: usize = 528;
    pub const LOCK_DIR_INODE: usize = 544;
    pub const BOOT_ID: usize = 576;
    pub const EPOCHS: usize = 592;
    pub const FLUSH: usize = 600;
    pub const REPLACED: usize = 608;
    pub const UNVERIFIED: usize = 616;
    pub const SAMPLE_MASK: usize = 624;
    pub const SEATS_USED: usize = 640;
    pub const RESETS: usize = 656;
    pub const TAG_CLOCK: usize = 704;
}

/// Offsets in the head of a stripe.
pub mod stripe {
    pub const INTENT: usize = 64;
    pub const INTENT_SLOT: usize = 72;
    pub const SMALL_HEAD: usize = 128;
    pub const SMALL_TAIL: usize = 136;
    pub const MAIN_HEAD: usize = 144;
    pub const MAIN_TAIL: usize = 152;
    pub const STAMP: usize = 160;
    pub const CLAIMS_USED: usize = 184;
    pub const CLAIM_NUMBER: usize = 232;
    pub const LIVE: usize = 168;
    pub const COUNTERS: usize = 256;
}

/// Offsets in a record.
pub mod record {
    pub const SEAL: usize = 8;
    pub const STAMP: usize = 16;
    pub const EXPIRY: usize = 24;
    pub const KEY: usize = 32;
    /// The length of an extension, which lies before the key.
    pub const EXTENSION: usize = 24;
}

pub const LIVE: u64 = 1 << 51;
pub const MAIN_OR_GHOST: u64 = 1 << 50;
pub const MARK: u64 = 1 << 48;
pub const POSITION: u64 = (1 << 48) - 1;
pub const DEAD: u64 = 1 << 63;

/// The bytes of a cache file, and the places of its parts.
#[derive(Clone)]
pub struct Raw {
    path: PathBuf,
    pub bytes: Vec<u8>,
}

/// The place of a key's record, found through the index like in the engine.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub stripe: usize,
    pub bucket_at: usize,
    pub slot_at: usize,
    pub record_at: usize,
}

impl Raw {
    pub fn load(path: &Path) -> Self {
        Self { path: path.into(), bytes: fs::read(path).unwrap() }
    }

    /// Writes the bytes to the same file, even if it is open elsewhere.
    pub fn save(&self) {
        let mut file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all(&self.bytes).unwrap();
    }

    pub fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    pub fn half(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    pub fn set(&mut self, at: usize, word: u64) {
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    pub fn change(&mut self, at: usize, how: impl FnOnce(u64) -> u64) {
        self.set(at, how(self.word(at)));
    }

    fn size(&self, at: usize) -> usize {
        self.word(at) as usize
    }

    pub fn stripes(&self) -> usize {
        self.half(header::STRIPES) as usize
    }

    /// Offset of a namespace's entry.
    pub fn namespace(&self, namespace: usize) -> usize {
        4096 + self.half(header::SEATS) as usize * 1280 + namespace * 256
    }

    /// Offset of the tables of tags.
    pub fn tags(&self) -> usize {
        self.namespace(self.half(header::NAMESPACES) as usize)
    }

    /// Offset of a histogram.
    pub fn histogram(&self, histogram: usize) -> usize {
        self.tags() + self.half(header::TAGS) as usize * 16 + histogram * 256
    }

    /// Offset of the counts of reads of namespaces.
    pub fn namespace_reads(&self) -> usize {
        let samples = self.half(header::SEATS) as usize * self.half(header::SAMPLES) as usize * 8;
        self.histogram(self.half(header::HISTOGRAMS) as usize) + samples
    }

    /// Offset of a stripe's head.
    pub fn stripe(&self, stripe: usize) -> usize {
        let half = |at| self.half(at) as usize;
        let reads = half(header::NAMESPACE_READS) * half(header::SEATS) * half(header::NAMESPACES) * 16;
        self.namespace_reads() + reads.next_multiple_of(64) + stripe * self.stripe_len()
    }

    fn stripe_len(&self) -> usize {
        512 + self.half(header::CLAIMS) as usize * 64
    }

    /// Makes the member in seat 0 hold a claim. Returns the claim's offset.
    pub fn claim_held(&mut self, stripe: usize, claim: usize, number: u64) -> usize {
        let (at, stripe_at) = (self.claim(stripe, claim), self.stripe(stripe));
        self.set(at, number << 8 | 1);
        self.change(stripe_at + stripe::CLAIMS_USED, |used| used.max(claim as u64 + 1));
        self.change(stripe_at + stripe::CLAIM_NUMBER, |last| last.max(number));
        at
    }

    /// Offset of a stripe's claim.
    pub fn claim(&self, stripe: usize, claim: usize) -> usize {
        self.stripe(stripe) + 512 + claim * 64
    }

    /// Offset of a bucket.
    pub fn bucket(&self, stripe: usize, bucket: usize) -> usize {
        self.stripe(self.stripes()) + (stripe * self.size(header::BUCKETS) + bucket) * 64
    }

    /// Offset of a stripe's small ring.
    pub fn arena(&self, stripe: usize) -> usize {
        let arenas = self.bucket(self.stripes(), 0).next_multiple_of(4096);
        arenas + stripe * (self.size(header::SMALL_LEN) + self.size(header::MAIN_LEN))
    }

    pub fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.word(header::HASH_SEED))
    }

    pub fn stripe_of(&self, key: &[u8]) -> usize {
        self.hash(key) as usize & (self.stripes() - 1)
    }

    fn bucket_of(&self, key: &[u8]) -> usize {
        let bucket = (u128::from(self.hash(key) >> 24) * self.size(header::BUCKETS) as u128) >> 40;
        self.bucket(self.stripe_of(key), bucket as usize)
    }

    /// Offsets of all slots of a stripe.
    pub fn slots(&self, stripe: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, end) = (self.bucket(stripe, 0), self.bucket(stripe, self.size(header::BUCKETS)));
        (first..end).step_by(8).filter(|at| at % 64 != 0)
    }

    /// An empty slot of a stripe.
    pub fn empty_slot(&self, stripe: usize) -> usize {
        self.slots(stripe).find(|&at| self.word(at) == 0).expect("an empty slot")
    }

    /// Finds a key's record; panics if the file does not hold it.
    pub fn find(&self, key: &[u8]) -> Found {
        let (stripe, bucket_at) = (self.stripe_of(key), self.bucket_of(key));
        let at = |slot_at: usize| {
            let slot = self.word(slot_at);
            let (ring, len) = match slot & MAIN_OR_GHOST {
                0 => (self.arena(stripe), self.size(header::SMALL_LEN)),
                _ => (self.arena(stripe) + self.size(header::SMALL_LEN), self.size(header::MAIN_LEN)),
            };
            let lap = (len / 8).next_power_of_two() as u64 - 1;
            ring + ((slot & POSITION) & lap) as usize * 8
        };
        let tag = self.hash(key) >> 12 & 0xfff;
        let slot_at = (1..8)
            .map(|i| bucket_at + i * 8)
            .find(|&slot_at| {
                let slot = self.word(slot_at);
                let here = slot & LIVE != 0 && slot >> 52 == tag;
                let extension = if self.word(at(slot_at)) & 0xff == 2 { record::EXTENSION } else { 0 };
                here && self.bytes[at(slot_at) + record::KEY + extension..].starts_with(key)
            })
            .unwrap_or_else(|| panic!("no record of {key:?} in the file"));
        Found { stripe, bucket_at, slot_at, record_at: at(slot_at) }
    }
}
