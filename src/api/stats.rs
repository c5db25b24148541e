//! What a cache tells about itself.

use super::cache::Cache;
use super::stripe_lock::Patience;
use crate::file::AttachedFile;
use crate::names::names;
use crate::shm::layout::{FORMAT, SLOTS};
use crate::store::head::LastRepair;
use crate::store::slot::Ring;
use crate::store::tally::{Line, MemberCount, StripeCount};
use crate::store::verify::{Problem, check};
use crate::store::{CrashState, record::record_size};
use crate::sync::member::Seats;
use std::path::PathBuf;
use std::time::Duration;

/// What a cache holds and what happened to it, over all processes, the dead ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The cache file, symbolic links resolved.
    pub path: PathBuf,
    /// Version of the file's format.
    pub format: u32,
    /// The random id of the file, 32 hexadecimal digits.
    pub file_id: String,
    /// The lock strategy's name.
    pub strategy: String,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Bytes of records that it was created to hold.
    pub capacity: u64,
    /// The mean item size that its index was made for, in bytes.
    pub mean_item: u64,
    /// Number of stripes.
    pub stripes: u32,
    /// Number of locks.
    pub lock_regions: u32,
    /// Buckets of all stripes.
    pub buckets: u64,
    /// Slots of all buckets: items and remembered evicted keys together.
    pub slots: u64,
    /// Items held; one that is expired counts until its memory is needed.
    pub items: u64,
    /// Bytes between the tails and the heads of all rings, superseded records included.
    pub used_bytes: u64,
    /// Key and value bytes of the largest item that fits, lengths rounded up to eight.
    pub largest_record: u64,
    /// What keeps the cache from holding more.
    pub limit: Limit,
    /// Processes that can have the file open for writing.
    pub seats: u32,
    /// Seats in use; a killed process counts until its seat is taken again.
    pub members: u32,
    /// What was counted since the file was created.
    pub counters: Counters,
}

/// What keeps a cache from holding more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Limit {
    /// Nothing yet.
    Nothing,
    /// The arenas are full.
    Bytes,
    /// Buckets fill up before the arenas do: items are smaller than the mean item size says.
    Index,
}

names!(Limit, "limit", "nothing, bytes or index", Nothing = "nothing", Bytes = "bytes", Index = "index");

/// Counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counters {
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Further looks that reads took because a writer came in between.
    pub read_retries: u64,
    /// Reads that gave up waiting for a writer; they count as misses, too.
    pub bounded_misses: u64,
    /// Writes that had to wait for a lock.
    pub lock_waits: u64,
    /// Writes that gave up waiting for a lock.
    pub busy: u64,
    /// Values stored.
    pub sets: u64,
    /// Items removed by `delete`.
    pub deletes: u64,
    /// Items evicted from the small rings: not read often enough since they came.
    pub evictions_small: u64,
    /// Items evicted from the main rings.
    pub evictions_main: u64,
    /// Items evicted because their bucket was full.
    pub evictions_index: u64,
    /// Expired items whose memory was taken back.
    pub expirations: u64,
    /// Keys that were stored again while their eviction was remembered.
    pub ghost_hits: u64,
    /// Items that moved from a small ring to a main ring.
    pub promotions: u64,
    /// Operations that a killed process left half done and another completed or undid.
    pub repairs: u64,
    /// Records that were damaged, found and left out.
    pub dropped: u64,
    /// Creations begun by one caller for all: see [`Cache::get_or_create`].
    pub creations: u64,
    /// Callers that had to wait for another's creation or lock of a key.
    pub claim_waits: u64,
    /// Creations and locks that others took over, from a dead process or past their greatest age.
    pub takeovers: u64,
    /// Creations and locks without protection: all claims of the stripe were held, or the caller did not wait longer, or
    /// the value that it waited for was not to be cached.
    pub unprotected: u64,
    /// Created values that were not stored since the key was written, deleted or invalidated meanwhile.
    pub voided: u64,
    /// Values that were created, returned and not stored since the cache failed: see
    /// [`CreateOptions::or_uncached`](crate::CreateOptions::or_uncached). Where a process has no seat to count on, such
    /// as behind a read-only handle, only its own handles of the file know of them.
    pub uncached: u64,
}

impl Counters {
    /// Items evicted, whatever the cause.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions_small.wrapping_add(self.evictions_main).wrapping_add(self.evictions_index)
    }

    fn set_member(&mut self, line: &Line) {
        let count = |what: MemberCount| line[what as usize];
        self.hits = count(MemberCount::Hits);
        self.misses = count(MemberCount::Misses);
        self.read_retries = count(MemberCount::ReadRetries);
        self.bounded_misses = count(MemberCount::BoundedMisses);
        self.lock_waits = count(MemberCount::LockWaits);
        self.busy = count(MemberCount::Busy);
        self.claim_waits = count(MemberCount::ClaimWaits);
        self.unprotected = count(MemberCount::Unprotected);
        self.voided = count(MemberCount::Voided);
        self.uncached = count(MemberCount::Uncached);
    }

    fn add_stripe(&mut self, line: &Line) {
        let count = |what: StripeCount| line[what as usize];
        self.sets = self.sets.wrapping_add(count(StripeCount::Sets));
        self.deletes = self.deletes.wrapping_add(count(StripeCount::Deletes));
        self.evictions_small = self.evictions_small.wrapping_add(count(StripeCount::EvictionsSmall));
        self.evictions_main = self.evictions_main.wrapping_add(count(StripeCount::EvictionsMain));
        self.evictions_index = self.evictions_index.wrapping_add(count(StripeCount::EvictionsIndex));
        self.expirations = self.expirations.wrapping_add(count(StripeCount::Expirations));
        self.ghost_hits = self.ghost_hits.wrapping_add(count(StripeCount::GhostHits));
        self.promotions = self.promotions.wrapping_add(count(StripeCount::Promotions));
        self.repairs = self.repairs.wrapping_add(count(StripeCount::Repairs));
        self.dropped = self.dropped.wrapping_add(count(StripeCount::Dropped));
        self.creations = self.creations.wrapping_add(count(StripeCount::Creations));
        self.takeovers = self.takeovers.wrapping_add(count(StripeCount::Takeovers));
    }
}

/// One stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StripeStats {
    /// Its number, from 0.
    pub stripe: u32,
    /// Items it holds.
    pub items: u64,
    /// Bytes between tail and head of its small ring.
    pub small_used: u64,
    /// Length of its small ring in bytes.
    pub small_size: u64,
    /// Bytes between tail and head of its main ring.
    pub main_used: u64,
    /// Length of its main ring in bytes.
    pub main_size: u64,
    /// The operation in flight, if one is: of a living process, or left by a killed one.
    pub intent: Option<String>,
    /// Operations left half done that were completed or undone.
    pub repairs: u64,
    /// The last of them.
    pub last_repair: Option<Repair>,
    /// A crash of the operating system lies behind, and nobody has written to this stripe since.
    pub verify_me: bool,
    /// What was counted in this stripe; reads are counted elsewhere.
    pub counters: Counters,
}

/// A repair of a stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Repair {
    /// Seat of the process that repaired.
    pub by_seat: u32,
    /// Its process id, in its own container.
    pub by_pid: u32,
    /// The operation that was found half done.
    pub intent: String,
}

/// The result of [`Cache::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verification {
    /// Stripes checked.
    pub stripes: u32,
    /// Stripes that could not be looked at between two writes, or whose lock was held: nothing is said of them.
    pub unchecked: Vec<u32>,
    /// Live records found.
    pub records: u64,
    /// What does not hold.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether every invariant holds that was checked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Times that a stripe found wrong without its lock is looked at again.
const SECOND_LOOKS: u32 = 3;
/// Attempts of a read-only handle to look at a stripe between two writes.
const LOOKS: u32 = 200;

impl Cache {
    /// What the cache holds and what happened to it. It looks at each stripe's head, not at the items.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let opened = self.opened();
        let (store, geometry) = (&opened.store, opened.geometry());
        let shape = geometry.shape;
        let mut counters = Counters::default();
        counters.set_member(&store.member_counts());
        counters.uncached = counters.uncached.wrapping_add(opened.uncached_elsewhere());
        let (mut items, mut used_bytes) = (0, 0);
        for stripe in 0..shape.stripes {
            counters.add_stripe(&store.stripe_counts(stripe));
            // Of a damaged file any number can come back; a sum that wraps is as good as another.
            items = u64::wrapping_add(items, store.live(stripe));
            used_bytes += store.ring_used(stripe, Ring::Small) + store.ring_used(stripe, Ring::Main);
        }
        Stats {
            path: opened.real.clone(),
            format: FORMAT,
            file_id: opened.id(),
            strategy: opened.strategy_name.clone(),
            file_size: geometry.file_len,
            capacity: shape.capacity,
            mean_item: shape.mean_item,
            stripes: shape.stripes,
            lock_regions: shape.lock_regions,
            buckets: geometry.buckets * u64::from(shape.stripes),
            slots: geometry.buckets * u64::from(shape.stripes) * SLOTS,
            items,
            used_bytes,
            largest_record: geometry.largest_record() - record_size(0, 0),
            limit: limit(&opened, &counters, used_bytes),
            seats: shape.seats,
            members: Seats { mem: &store.mem, geometry }.taken(),
            counters,
        }
    }

    /// The same for each stripe.
    #[must_use]
    pub fn stripe_stats(&self) -> Vec<StripeStats> {
        let opened = self.opened();
        (0..opened.geometry().shape.stripes).map(|stripe| stripe_stats(&opened, stripe)).collect()
    }

    /// Checks every invariant of the format, stripe by stripe, on a live file too; see `docs/format.md` for their
    /// list. It changes nothing but what a killed process left half done in a stripe that it locks. A
    /// read-only handle takes no lock: it looks at each stripe between two writes, and says which it could not.
    /// Memory for a copy of one stripe is needed.
    #[must_use]
    pub fn verify(&self) -> Verification {
        let opened = self.opened();
        let stripes = opened.geometry().shape.stripes;
        // It waits for the locks of all stripes together as long as for one.
        let mut patience = Patience::of_thread(self.lock_wait());
        let mut found = Verification { stripes, unchecked: Vec::new(), records: 0, problems: Vec::new() };
        for stripe in 0..stripes {
            let checked = match self.locked_snapshot(stripe, &mut patience) {
                Some(snapshot) => Some(check(&snapshot, stripe)),
                None => check_quietly(&opened, stripe),
            };
            match checked {
                Some((records, problems)) => {
                    found.records += records;
                    found.problems.extend(problems);
                }
                None => found.unchecked.push(stripe),
            }
        }
        found
    }

    fn locked_snapshot(
        &self,
        stripe: u32,
        patience: &mut Patience,
    ) -> Option<crate::store::Store<crate::store::verify::Snapshot>> {
        let opened = self.opened();
        opened.joined_for_read().filter(|joined| joined.member.locks.exclude())?;
        let _held = patience.lock_stripe(&opened, stripe).ok()?;
        Some(opened.store.snapshot(stripe))
    }
}

/// Checks a stripe without its lock. What is wrong is looked at again: the few changes that no intent covers, such as
/// a tail that passes dead records, can be caught in the middle.
fn check_quietly(opened: &AttachedFile, stripe: u32) -> Option<(u64, Vec<Problem>)> {
    let mut checked = check(&quiet_snapshot(opened, stripe)?, stripe);
    for _ in 0..SECOND_LOOKS {
        if checked.1.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
        checked = check(&quiet_snapshot(opened, stripe)?, stripe);
    }
    Some(checked)
}

/// A copy of a stripe taken between two writes, if there was time enough between any two. A stripe that nobody
/// trusts yet is not checked.
fn quiet_snapshot(opened: &AttachedFile, stripe: u32) -> Option<crate::store::Store<crate::store::verify::Snapshot>> {
    if opened.store.distrust(stripe) != CrashState::None {
        return None;
    }
    for _ in 0..LOOKS {
        if let Some(snapshot) = opened.store.snapshot_between_writes(stripe) {
            return Some(snapshot);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    None
}

/// Evictions by the index are a percent or two when the arenas are the limit; far more, and the index is.
fn limit(opened: &AttachedFile, counters: &Counters, used_bytes: u64) -> Limit {
    let geometry = opened.geometry();
    let arenas = (geometry.small.bytes() + geometry.main.bytes()) * u64::from(geometry.shape.stripes);
    let by_index = counters.evictions_index;
    if by_index > counters.evictions() / 5 {
        Limit::Index
    } else if used_bytes * 10 > arenas * 9 || counters.evictions() > by_index {
        Limit::Bytes
    } else {
        Limit::Nothing
    }
}

fn stripe_stats(opened: &AttachedFile, stripe: u32) -> StripeStats {
    let (store, geometry) = (&opened.store, opened.geometry());
    let mut counters = Counters::default();
    counters.add_stripe(&store.stripe_counts(stripe));
    StripeStats {
        stripe,
        items: store.live(stripe),
        small_used: store.ring_used(stripe, Ring::Small),
        small_size: geometry.small.bytes(),
        main_used: store.ring_used(stripe, Ring::Main),
        main_size: geometry.main.bytes(),
        intent: store.intent_name(stripe),
        repairs: counters.repairs,
        last_repair: store.last_repair(stripe).map(|LastRepair { by_seat, by_pid, intent }| Repair {
            by_seat,
            by_pid,
            intent,
        }),
        verify_me: store.distrust(stripe) != CrashState::None,
        counters,
    }
}
