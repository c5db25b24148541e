//! The statistics of a cache, and the check of its invariants.

use super::cache::Cache;
use super::stripe_lock::Patience;
use crate::file::AttachedFile;
use crate::names::names;
use crate::shm::layout::{FORMAT, SLOTS};
use crate::store::head::LastRepair;
use crate::store::slot::Ring;
use crate::store::tally::Counters;
use crate::store::verify::{Problem, check};
use crate::store::{CrashState, record::record_size};
use crate::sync::member::Seats;
use std::path::PathBuf;
use std::time::Duration;

/// The size and content of a cache, and what all processes have done with it, including those that have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The cache file, symbolic links resolved.
    pub path: PathBuf,
    /// Format version of the file.
    pub format: u32,
    /// Random id of the file, 32 hexadecimal digits.
    pub file_id: String,
    /// Name of the lock strategy.
    pub strategy: String,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Space for records that the file was created with, in bytes.
    pub capacity: u64,
    /// Mean item size for which the index was made, in bytes.
    pub mean_item: u64,
    /// Number of stripes.
    pub stripes: u32,
    /// Number of lock regions.
    pub lock_regions: u32,
    /// Number of buckets in all stripes.
    pub buckets: u64,
    /// Number of slots in all buckets. A slot holds an item, or remembers an evicted key.
    pub slots: u64,
    /// Number of items. An expired item counts until its space is needed.
    pub items: u64,
    /// Bytes between the tails and the heads of all rings, including records that were replaced.
    pub used_bytes: u64,
    /// Bytes of key and value of the largest item that fits, each length rounded up to a multiple of eight.
    pub largest_record: u64,
    /// What prevents the cache from holding more items.
    pub limit: Limit,
    /// How many processes can have the file open for writing.
    pub seats: u32,
    /// Number of seats in use. A killed process counts until another one takes its seat.
    pub members: u32,
    /// Events since the file was created.
    pub counters: Counters,
}

/// What prevents a cache from holding more items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Limit {
    /// There is space left.
    Nothing,
    /// The space for records is full.
    Bytes,
    /// The index is full before the space for records is: the items are smaller than the mean item size.
    Index,
}

names!(Limit, "limit", "nothing, bytes or index", Nothing = "nothing", Bytes = "bytes", Index = "index");

/// The statistics of one stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StripeStats {
    /// Number of the stripe, from 0.
    pub stripe: u32,
    /// Number of items in the stripe.
    pub items: u64,
    /// Bytes between the tail and the head of the small ring.
    pub small_used: u64,
    /// Length of the small ring in bytes.
    pub small_size: u64,
    /// Bytes between the tail and the head of the main ring.
    pub main_used: u64,
    /// Length of the main ring in bytes.
    pub main_size: u64,
    /// The operation in progress, if any, of a living process or of a killed one.
    pub intent: Option<String>,
    /// Unfinished operations of killed processes that were completed or undone.
    pub repairs: u64,
    /// The last repair.
    pub last_repair: Option<Repair>,
    /// The operating system has crashed, and no process has written to this stripe since.
    pub verify_me: bool,
    /// Events in this stripe. Reads and waits are counted for the whole cache only.
    pub counters: Counters,
}

/// A repair of a stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Repair {
    /// Seat of the process that repaired.
    pub by_seat: u32,
    /// Process id of that process, as its own container numbers it.
    pub by_pid: u32,
    /// The operation that was found unfinished.
    pub intent: String,
}

/// The result of [`Cache::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verification {
    /// Number of stripes.
    pub stripes: u32,
    /// Stripes that could not be checked, because their lock was held or a writer was active all the time.
    pub unchecked: Vec<u32>,
    /// Number of live records that were found.
    pub records: u64,
    /// The invariants that do not hold.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether every checked invariant holds.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// How often a stripe is checked again if a check without its lock found a problem.
const SECOND_LOOKS: u32 = 3;
/// How often a copy of a stripe between two writes is attempted.
const LOOKS: u32 = 200;

impl Cache {
    /// The statistics of the whole cache, in all its namespaces. This reads the head of each stripe, not the items.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let opened = self.opened();
        let (store, geometry) = (&opened.store, opened.geometry());
        let shape = geometry.shape;
        let mut counters = Counters::default();
        counters.add_member(&store.member_counts());
        counters.uncached = counters.uncached.wrapping_add(opened.uncached_elsewhere());
        let (mut items, mut used_bytes) = (0, 0);
        for stripe in 0..shape.stripes {
            counters.add_stripe(&store.stripe_counts(stripe));
            // A damaged file may contain any number, so the sum must not panic.
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

    /// The statistics of each stripe.
    #[must_use]
    pub fn stripe_stats(&self) -> Vec<StripeStats> {
        let opened = self.opened();
        (0..opened.geometry().shape.stripes).map(|stripe| stripe_stats(&opened, stripe)).collect()
    }

    /// Checks every invariant of the format, stripe by stripe, even while other processes write. `docs/format.md` lists
    /// the invariants. The check repairs what a killed process left unfinished, and changes nothing else. A read-only
    /// handle takes no lock: it copies each stripe between two writes, and reports the stripes for which that failed.
    /// The check needs memory for a copy of one stripe.
    #[must_use]
    pub fn verify(&self) -> Verification {
        let opened = self.opened();
        let stripes = opened.geometry().shape.stripes;
        // One limit of waiting for the locks of all stripes together.
        let mut patience = Patience::of(self.lock_wait());
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
            found.problems.extend(opened.store.unused_parts(stripe));
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

/// Checks a stripe without its lock. Some changes have no intent, such as a tail that passes dead records, and the copy
/// may show one of them unfinished, so a stripe with problems is checked again.
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

/// A copy of a stripe between two writes, unless writers leave no pause. A stripe that was not verified since a crash
/// of the system is not copied.
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

/// If the space for records is the limit, the index causes one or two percent of the evictions; many more show that the
/// index is the limit.
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
