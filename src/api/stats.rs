//! Statistics, and the check of all invariants of the format.

use super::cache::Cache;
use super::stripe_lock::Patience;
use crate::file::AttachedFile;
use crate::names::names;
use crate::shm::layout::{FORMAT, SLOTS, Shape};
use crate::store::counters::Counters;
use crate::store::head::LastRepair;
use crate::store::histograms::Times;
use crate::store::slot::Ring;
use crate::store::verify::{Problem, check};
use crate::store::{CrashState, HeaderWords, record::record_size};
use crate::sync::member::Seats;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The contents of a cache file, and the sums of its counters over all processes, including those that have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The path of the cache file, with symbolic links resolved.
    pub path: PathBuf,
    /// The version of the file's format.
    pub format: u32,
    /// The random id of the file, as 32 hexadecimal digits.
    pub file_id: String,
    /// When the file was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// The name of the lock strategy.
    pub strategy: String,
    /// The length of the file in bytes.
    pub file_size: u64,
    /// The capacity: how many bytes of records the file was created for.
    pub capacity: u64,
    /// The mean size of an item in bytes, for which the index was made.
    pub mean_item: u64,
    /// The number of stripes.
    pub stripes: u32,
    /// The number of lock regions.
    pub lock_regions: u32,
    /// The number of buckets in all stripes.
    pub buckets: u64,
    /// The number of slots in all buckets. A slot holds an item, or remembers an evicted key.
    pub slots: u64,
    /// The number of items. An expired item counts until its memory is reclaimed.
    pub items: u64,
    /// The bytes in use in all rings, including those of records that were replaced.
    pub used_bytes: u64,
    /// The size in bytes of the largest item that fits: its key and value, each rounded up to a multiple of 8. An item
    /// with flags, tags, a soft expiry or a namespace must be smaller: see [`record_size`](crate::record_size).
    pub largest_record: u64,
    /// What limits the contents of the cache.
    pub limit: Limit,
    /// The length of the tables of tags; 0 if values cannot have tags: see [`Options::tags`](crate::Options::tags).
    pub tags: u32,
    /// How many processes can have the file open for writing at the same time.
    pub seats: u32,
    /// The number of seats in use. The seat of a killed process counts until it is reused.
    pub members: u32,
    /// The number of bytes that were written to the small rings, which take new items. `small_size`, divided by the
    /// rate at which this number grows, is the time for which an item stays in the cache if it is never read. The
    /// number falls when a stripe is emptied, as in the first write to it after a crash of the machine.
    pub small_bytes_in: u64,
    /// The length of all small rings together, in bytes.
    pub small_size: u64,
    /// The number of bytes that were written to the main rings, which take items that were read while they were new.
    /// `main_size`, divided by the rate at which this number grows, is the time in which these rings turn once. The
    /// number falls as `small_bytes_in` does.
    pub main_bytes_in: u64,
    /// The length of all main rings together, in bytes.
    pub main_size: u64,
    /// The counters since the file was created.
    pub counters: Counters,
    /// How long slow operations took, since the file was created.
    pub times: Times,
    /// The reads of each namespace. Empty if the file does not [count them](crate::Options::namespace_reads).
    pub namespace_reads: Vec<NamespaceReads>,
}

/// The reads of one namespace since the file was created. One read in sixteen is counted, and counts as sixteen, so the
/// numbers are estimates. Reads without a namespace are not included.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NamespaceReads {
    /// The name of the namespace.
    pub name: String,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found no value.
    pub misses: u64,
}

/// What limits the contents of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Limit {
    /// Nothing: there is space left.
    Nothing,
    /// The capacity: the rings are full.
    Bytes,
    /// The index: buckets are full before the rings are, because items are smaller than the mean item size.
    Index,
}

impl Limit {
    /// All limits.
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Bytes, Self::Index];
}

names!(Limit, "limit", "nothing, bytes or index", Nothing = "nothing", Bytes = "bytes", Index = "index");

/// The statistics of one stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StripeStats {
    /// The number of the stripe, from 0.
    pub stripe: u32,
    /// The number of items in the stripe.
    pub items: u64,
    /// The bytes in use in the small ring.
    pub small_used: u64,
    /// The length of the small ring in bytes.
    pub small_size: u64,
    /// The bytes in use in the main ring.
    pub main_used: u64,
    /// The length of the main ring in bytes.
    pub main_size: u64,
    /// The operation in progress, if any. The process that began it is running, or was killed.
    pub intent: Option<String>,
    /// How many unfinished operations were completed or undone.
    pub repairs: u64,
    /// The last repair, if there was one.
    pub last_repair: Option<Repair>,
    /// Whether the operating system has crashed, and no process has written to the stripe since then.
    pub verify_me: bool,
    /// The counters of the stripe. Reads and waits are counted for the whole file only.
    pub counters: Counters,
}

/// A repair of a stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Repair {
    /// The seat of the process that repaired the stripe.
    pub by_seat: u32,
    /// The id of this process, as seen in its own container.
    pub by_pid: u32,
    /// The operation that was found unfinished.
    pub intent: String,
}

/// The result of [`Cache::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verification {
    /// The number of stripes of the file, including the unchecked ones.
    pub stripes: u32,
    /// The stripes that could not be checked, because they were always being written or locked.
    pub unchecked: Vec<u32>,
    /// The number of live records that were found.
    pub records: u64,
    /// The violated invariants.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether all checked invariants hold.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// How many more times a stripe with problems is checked without its lock.
const SECOND_LOOKS: u32 = 3;
/// How many times a stripe whose lock is not taken is looked at, in order to copy it between two writes.
const LOOKS: u32 = 200;

impl Cache {
    /// The statistics of the whole file. They are read from the heads of the stripes, without looking at the items.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let opened = self.opened();
        let (store, geometry) = (&opened.store, opened.geometry());
        let Shape { capacity, mean_item, stripes, lock_regions, seats, tags, .. } = geometry.shape;
        let mut counters = Counters::default();
        counters.add_member(&store.member_counts());
        counters.uncached = counters.uncached.wrapping_add(opened.uncached_elsewhere());
        let (mut items, mut used_bytes, mut small_bytes_in, mut main_bytes_in) = (0, 0, 0u64, 0u64);
        for stripe in 0..stripes {
            counters.add_stripe(&store.stripe_counts(stripe));
            // A damaged file can contain arbitrary numbers, so the sum may wrap.
            items = u64::wrapping_add(items, store.live(stripe));
            used_bytes += store.ring_used(stripe, Ring::Small) + store.ring_used(stripe, Ring::Main);
            small_bytes_in = small_bytes_in.wrapping_add(store.ring_bytes_in(stripe, Ring::Small));
            main_bytes_in = main_bytes_in.wrapping_add(store.ring_bytes_in(stripe, Ring::Main));
        }
        Stats {
            path: opened.real.clone(),
            format: FORMAT,
            file_id: opened.id(),
            created_ms: HeaderWords(&store.mem).created_ms(),
            strategy: opened.strategy_name.clone(),
            file_size: geometry.file_len,
            capacity,
            mean_item,
            stripes,
            lock_regions,
            buckets: geometry.buckets * u64::from(stripes),
            slots: geometry.buckets * u64::from(stripes) * SLOTS,
            items,
            used_bytes,
            largest_record: geometry.largest_record - record_size(0, 0),
            limit: limit(&opened, &counters, used_bytes),
            tags,
            seats,
            members: Seats { mem: &store.mem, geometry }.taken(),
            small_bytes_in,
            small_size: geometry.small.bytes() * u64::from(stripes),
            main_bytes_in,
            main_size: geometry.main.bytes() * u64::from(stripes),
            counters,
            times: store.times(),
            namespace_reads: namespace_reads(&opened),
        }
    }

    /// How many bytes of the file this process has mapped by large pages: see [`LargePages`](crate::LargePages). A page
    /// is mapped by its first access, so this reads one word in each 2 MiB that are in memory, and then all mappings of
    /// the process from `/proc/self/smaps`. `None` if this file cannot be read, and on systems other than Linux.
    #[must_use]
    pub fn large_mapped(&self) -> Option<u64> {
        self.opened().store.mem.large_bytes()
    }

    /// The statistics of each stripe.
    #[must_use]
    pub fn stripe_stats(&self) -> Vec<StripeStats> {
        let opened = self.opened();
        (0..opened.geometry().shape.stripes).map(|stripe| stripe_stats(&opened, stripe)).collect()
    }

    /// Checks every invariant of the format, stripe by stripe, even while other processes use the file.
    /// `docs/format.md` lists the invariants. Locking a stripe repairs what a killed process left unfinished; nothing
    /// else is changed. A read-only handle takes no lock: it copies each stripe between two writes, and reports the
    /// stripes for which it could not. The check needs memory for a copy of one stripe.
    #[must_use]
    pub fn verify(&self) -> Verification {
        let opened = self.opened();
        let stripes = opened.geometry().shape.stripes;
        // The time for waiting covers the locks of all stripes together.
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

/// Checks a stripe without its lock. If it finds problems, it checks the stripe again, because a change that no intent
/// covers, such as a tail that passes dead records, may have been in progress.
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

/// A copy of a stripe, made between two writes. `None` if the time between two writes was always too short, or if the
/// stripe is not trusted yet after a crash.
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

/// The reads of each namespace. In a damaged file several namespaces can have the same name.
fn namespace_reads(opened: &AttachedFile) -> Vec<NamespaceReads> {
    let mut reads = BTreeMap::new();
    for (number, name) in opened.store.named_namespaces() {
        let Some((hits, misses)) = opened.store.namespace_counts(number) else { break };
        let sum: &mut (u64, u64) = reads.entry(name).or_default();
        *sum = (sum.0.wrapping_add(hits), sum.1.wrapping_add(misses));
    }
    reads.into_iter().map(|(name, (hits, misses))| NamespaceReads { name, hits, misses }).collect()
}

/// The limit of a cache. If the rings are the limit, one or two percent of the evictions are caused by the index. If
/// the share is far larger, the index is the limit.
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
