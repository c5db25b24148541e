//! Copies what one file holds to another file of another size, while readers and writers use the first.
//!
//! ```text
//! copy_all      note the version of each bucket, then copy its records, without a lock
//! copy_changed  again for each bucket whose version is no longer the noted one, until few are
//! copy_locked   the same under the stripes' locks, if writers change buckets faster than copy_changed copies them
//! the caller closes the old file to writers
//! finish_stripe the same for one stripe under its lock: nothing changes any more, unless so much is left to copy that
//!               the caller opens the file again in between
//! copy_areas    everything that is not a record
//! ```
//!
//! Every change that a copy must not miss changes the version of its bucket. So if the version at the end is the one
//! that was noted before the bucket was copied, the new file has what the old one has. A record keeps its bytes in the
//! copy, except for the checksum, which depends on the place, and the dead mark, which is set without a change of the
//! version.
//!
//! Both files have the same seed, so a key has the same hash in both. No other process knows the new file, so it is
//! written without locks, and a death in between leaves nothing of it.

use super::copied::RawRecord;
use super::counters::{Line, MemberCount};
use super::heat::RankedSlot;
use super::intent::Intent;
use super::read::{CheckedRecord, Look};
use super::record::{RecordLocation, epoch_of, reseal, without_dead};
use super::slot::{Ring, Slot};
use super::stripe_guard::{HolderId, StripeGuard, Wall, slots};
use super::table::Store;
use crate::fault::{Fault, injected};
use crate::hash::Key;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{COUNTERS, HISTOGRAM_LEN, NAMESPACE_LEN, OWN_LINES, SLOTS, TAG_LEN, at, namespace_reads_len};
use crate::shm::{Memory, Step};
use crate::sync::locks::Locks;
use crate::sync::member::Seats;
use std::io;
use std::time::Duration;

/// The bits of a hash that choose the bucket.
const BUCKET_HASH: u32 = 40;
/// Bytes of a word.
const WORD: usize = 8;

/// A copy of one file to another.
pub(crate) struct Transfer<'a, M, N> {
    old: &'a Store<M>,
    new: &'a Store<N>,
    wall: &'a dyn Wall,
    /// This process as a member of the new file.
    who: &'a HolderId,
    no_locks: Locks,
    /// For each bucket of the old file the version that it had before it was copied. An odd one counts as changed.
    versions: Vec<u64>,
}

impl<'a, M: Memory, N: Memory> Transfer<'a, M, N> {
    pub(crate) fn new(old: &'a Store<M>, new: &'a Store<N>, wall: &'a dyn Wall, who: &'a HolderId) -> Self {
        let buckets = u64::from(old.geometry.shape.stripes) * old.geometry.buckets;
        // The live records of the new file are counted from these epochs on.
        new.mem.word(at!(epochs)).set(Step::Epoch, old.epochs().0);
        Self { old, new, wall, who, no_locks: Locks::None, versions: vec![1; buckets as usize] }
    }

    /// Copies the records as far as there is room. The records that are used most have precedence.
    pub(crate) fn copy_all(&mut self) -> io::Result<()> {
        // The stripes of both files form groups: the keys in the old stripes of a group belong to its new stripes, and
        // to no others.
        let groups = self.old.geometry.shape.stripes.min(self.new.geometry.shape.stripes);
        for group in 0..groups {
            let mut ranked = Vec::new();
            for stripe in (group..self.old.geometry.shape.stripes).step_by(groups as usize) {
                self.note_versions(stripe);
                self.old.rank_slots(stripe, &mut ranked);
            }
            ranked.sort_unstable();
            // The least used records and the oldest are copied first, so that they also leave the new file first.
            let fitting = self.fitting(&ranked, groups);
            for &(slot, ring) in fitting.iter().rev() {
                self.copy_slot(slot, ring)?;
            }
        }
        Ok(())
    }

    /// Copies the changed buckets of all stripes again; returns how many there were.
    pub(crate) fn copy_changed(&mut self) -> io::Result<u64> {
        let mut changed = 0;
        for stripe in 0..self.old.geometry.shape.stripes {
            for bucket in 0..self.old.geometry.buckets {
                changed += u64::from(self.copy_bucket(stripe, bucket)?);
            }
        }
        Ok(changed)
    }

    /// Copies the changed buckets of a locked stripe, from `bucket` on; returns how many there were. After each of them
    /// it asks `is_over` whether to stop, so that writers need not wait for all of them.
    pub(crate) fn copy_locked(
        &mut self,
        guard: &StripeGuard<'_, M>,
        bucket: &mut u64,
        is_over: impl Fn() -> bool,
    ) -> io::Result<u64> {
        let mut changed = 0;
        while *bucket < self.old.geometry.buckets {
            let is_changed = self.copy_bucket(guard.stripe, *bucket)?;
            *bucket += 1;
            changed += u64::from(is_changed);
            if is_changed && is_over() {
                break;
            }
        }
        Ok(changed)
    }

    /// Copies the changed buckets of a stripe while the file is closed and the stripe is locked, so that nothing
    /// changes any more. Each bucket that is copied counts against `left`. Returns `false` if `left` is used up before
    /// the stripe is complete.
    pub(crate) fn finish_stripe(&mut self, guard: &StripeGuard<'_, M>, left: &mut u64) -> io::Result<bool> {
        let stripe = guard.stripe;
        for bucket in 0..self.old.geometry.buckets {
            if *left == 0 {
                return Ok(false);
            }
            guard.settle_bucket(self.old.geometry.bucket(stripe, bucket));
            *left -= u64::from(self.copy_bucket(stripe, bucket)?);
            if self.old.mem.word(self.old.geometry.bucket(stripe, bucket)).get() != self.noted(stripe, bucket) {
                return Err(io::Error::other("the file changes while it is closed: another program writes to it"));
            }
        }
        Ok(true)
    }

    fn note(&mut self, stripe: u32, bucket: u64, version: u64) {
        let place = u64::from(stripe) * self.old.geometry.buckets + bucket;
        self.versions[place as usize] = version;
    }

    fn noted(&self, stripe: u32, bucket: u64) -> u64 {
        self.versions[(u64::from(stripe) * self.old.geometry.buckets + bucket) as usize]
    }

    fn note_versions(&mut self, stripe: u32) {
        for bucket in 0..self.old.geometry.buckets {
            let version = self.old.mem.word(self.old.geometry.bucket(stripe, bucket)).load(Ordering::Acquire);
            self.note(stripe, bucket, version);
        }
    }

    fn enter(&self, stripe: u32) -> io::Result<StripeGuard<'_, N>> {
        let seats = Seats { mem: &self.new.mem, geometry: &self.new.geometry };
        let lock = self.no_locks.lock(seats, self.new.geometry.lock_region(stripe), Duration::ZERO);
        StripeGuard::enter(self.new, stripe, self.wall, self.who, lock.map_err(io::Error::other)?)
    }

    /// The ranked slots whose records fit into the new file, and the ring for each.
    fn fitting(&self, ranked: &[RankedSlot], groups: u32) -> Vec<(RankedSlot, Ring)> {
        let Self { old, new, .. } = self;
        let mut used = vec![[0; 2]; (new.geometry.shape.stripes / groups) as usize];
        let mut fits = |slot: &RankedSlot| {
            let (stripe, bucket, word) = slot.place(old.geometry.buckets);
            let view = old.slot_view(stripe, bucket, word);
            let Look::Hit(found) = old.found_in_slot(&view, || self.wall.now_ms()) else { return None };
            let mut key = Vec::new();
            old.mem.append_out(found.at + found.head.key_at(), found.head.key_len() as usize, &mut key);
            let (units, stripe) = (found.head.units(), new.stripe_of(&new.key(&key)));
            let used = used.get_mut((stripe / groups) as usize)?;
            let first = ring_for(new, found.slot.ring(), units);
            let other = if first == Ring::Main { Ring::Small } else { Ring::Main };
            let ring = [first, other].into_iter().find(|&ring| {
                ring_for(new, ring, units) == ring && used[ring as usize] + units <= new.ring_shape(ring).units
            })?;
            used[ring as usize] += units;
            Some((*slot, ring))
        };
        ranked.iter().filter_map(&mut fits).collect()
    }

    /// Copies the record of a slot if there is room. A record that changes meanwhile is left out here, since its bucket
    /// counts as changed.
    fn copy_slot(&mut self, slot: RankedSlot, ring: Ring) -> io::Result<()> {
        let (stripe, bucket, word) = slot.place(self.old.geometry.buckets);
        let view = self.old.slot_view(stripe, bucket, word);
        if let Look::Hit(record) = self.old.raw_of_slot(&view, || self.wall.now_ms()) {
            self.put(&record, ring, false)?;
        }
        Ok(())
    }

    fn put(&self, record: &RawRecord, ring: Ring, evicts: bool) -> io::Result<()> {
        let key = self.new.key(&record.key);
        self.enter(self.new.stripe_of(&key))?.transplant(&key, record, ring, evicts);
        Ok(())
    }

    /// Copies a bucket if it has changed since it was copied last; returns whether it had.
    fn copy_bucket(&mut self, stripe: u32, bucket: u64) -> io::Result<bool> {
        let version = self.old.mem.word(self.old.geometry.bucket(stripe, bucket)).load(Ordering::Acquire);
        if version & 1 == 0 && version == self.noted(stripe, bucket) {
            return Ok(false);
        }
        let mut records = Vec::new();
        for word in 1..=SLOTS as usize {
            let view = self.old.slot_view(stripe, bucket, word);
            match self.old.raw_of_slot(&view, || self.wall.now_ms()) {
                Look::Hit(record) => records.push(record),
                Look::Miss => {}
                Look::Changing => {
                    self.note(stripe, bucket, 1);
                    return Ok(true);
                }
            }
        }
        self.note(stripe, bucket, version);
        self.remove_others(stripe, bucket, &records)?;
        for record in &records {
            self.put(record, record.slot.ring(), true)?;
        }
        Ok(true)
    }

    /// Removes from the new file each key that belongs to a bucket of the old file but is not among the records of that
    /// bucket.
    fn remove_others(&self, stripe: u32, bucket: u64, records: &[RawRecord]) -> io::Result<()> {
        let (old, new) = (self.old, self.new);
        let stays = |key: &Key<'_>| {
            let is_of_bucket = old.stripe_of(key) == stripe && key.bucket(old.geometry.buckets) == bucket;
            !is_of_bucket || records.iter().any(|record| record.key == key.bytes)
        };
        let (first, last) = self.new_buckets(bucket);
        let shared = old.geometry.shape.stripes.min(new.geometry.shape.stripes);
        for new_stripe in (stripe % shared..new.geometry.shape.stripes).step_by(shared as usize) {
            let mut guard = self.enter(new_stripe)?;
            for slot_at in (first..=last).flat_map(|bucket| slots(new.geometry.bucket(new_stripe, bucket))) {
                guard.remove_unless(slot_at, &stays);
            }
        }
        Ok(())
    }

    /// The first and the last bucket of a new stripe that keys of a bucket of the old file belong to.
    fn new_buckets(&self, bucket: u64) -> (u64, u64) {
        let hash_at = |bucket: u64| (u128::from(bucket) << BUCKET_HASH).div_ceil(u128::from(self.old.geometry.buckets));
        let of_hash = |hash: u128| ((hash * u128::from(self.new.geometry.buckets)) >> BUCKET_HASH) as u64;
        let (first, end) = (hash_at(bucket), hash_at(bucket + 1));
        (of_hash(first), of_hash(end.saturating_sub(1).max(first)).min(self.new.geometry.buckets - 1))
    }

    /// Copies everything that a closed file holds besides records. Whatever else outlives a resize, in the header, in
    /// an area or in the heads of stripes, belongs here.
    pub(crate) fn copy_areas(&mut self) -> io::Result<()> {
        self.copy_namespaces();
        if !injected(Fault::ForgottenTags) {
            self.copy_tags();
        }
        self.copy_histograms();
        self.copy_namespace_reads();
        self.copy_counters();
        self.copy_stamps();
        self.copy_epochs()
    }

    fn copy_word(&self, step: Step, from: u64, to: u64) {
        self.new.mem.word(to).set(step, self.old.mem.word(from).get());
    }

    /// Copies `len` bytes, which are whole words, from a place of the old file to one of the new.
    fn copy_words(&self, step: Step, from: u64, to: u64, len: u64) {
        (0..len).step_by(WORD).for_each(|offset| self.copy_word(step, from + offset, to + offset));
    }

    fn copy_namespaces(&self) {
        let (old, new) = (&self.old.geometry, &self.new.geometry);
        let len = u64::from(old.shape.namespaces) * NAMESPACE_LEN;
        self.copy_words(Step::Namespace, old.namespaces_at, new.namespaces_at, len);
    }

    /// The tables are as long as in the old file. An invalidation raises the clock first and then the words of the
    /// tables, so the clock is copied after them: no word of a table is above the clock.
    fn copy_tags(&self) {
        let (old, new) = (&self.old.geometry, &self.new.geometry);
        self.copy_words(Step::TagTable, old.tags_at, new.tags_at, u64::from(old.shape.tags) * TAG_LEN);
        self.copy_word(Step::TagClock, at!(tag_clock), at!(tag_clock));
    }

    fn copy_histograms(&self) {
        let (old, new) = (&self.old.geometry, &self.new.geometry);
        let histograms = old.shape.histograms.min(new.shape.histograms);
        self.copy_words(Step::Counter, old.histograms_at, new.histograms_at, u64::from(histograms) * HISTOGRAM_LEN);
    }

    /// Both files have the same numbers of seats and of namespaces.
    fn copy_namespace_reads(&self) {
        let (old, new) = (&self.old.geometry, &self.new.geometry);
        let len = u64::from(old.shape.namespace_reads) * namespace_reads_len(old.shape.seats, old.shape.namespaces);
        self.copy_words(Step::Counter, old.namespace_reads_at, new.namespace_reads_at, len);
    }

    /// Afterwards the sums over the new file's stripes and seats are those of the old file. What the copy itself has
    /// counted in the stripes is overwritten.
    fn copy_counters(&self) {
        let stripes = self.new.geometry.shape.stripes;
        let mut sums = vec![Line::default(); stripes as usize];
        for stripe in 0..self.old.geometry.shape.stripes {
            let counts = self.old.stripe_counts(stripe);
            let sum = &mut sums[(stripe % stripes) as usize];
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.wrapping_add(count));
        }
        for (stripe, sum) in (0..stripes).zip(sums) {
            for (i, count) in sum.into_iter().enumerate() {
                let word = self.new.stripe_word(stripe, at!(Stripe.counters) + (i * WORD) as u64);
                word.set(Step::Counter, count);
            }
        }
        let line_at = self.new.line_for_nobody();
        for (i, count) in self.old.member_counts().into_iter().enumerate() {
            self.new.mem.word(line_at + (i * WORD) as u64).fetch_add(Step::Counter, count);
        }
        self.copy_word(Step::Header, at!(resets), at!(resets));
    }

    /// No stamp is given twice for one key: each stripe continues from the highest stamp of all.
    fn copy_stamps(&self) {
        let stamp = |stripe| self.old.stripe_word(stripe, at!(Stripe.stamp)).get();
        let highest = (0..self.old.geometry.shape.stripes).map(stamp).max().unwrap_or(0);
        for stripe in 0..self.new.geometry.shape.stripes {
            self.new.stripe_word(stripe, at!(Stripe.stamp)).set(Step::Stamp, highest);
        }
    }

    /// If the cache was cleared meanwhile, the live records of each stripe are counted anew, because some may be
    /// younger than the clear.
    fn copy_epochs(&self) -> io::Result<()> {
        let epochs = self.old.epochs();
        for stripe in 0..self.new.geometry.shape.stripes {
            let guard = self.enter(stripe)?;
            guard.count_from(epochs.hard());
        }
        self.new.mem.word(at!(epochs)).set(Step::Epoch, epochs.0);
        Ok(())
    }
}

impl<M: Memory> Store<M> {
    /// A line of counters that any thread may count on. Seat 0 always has had a member.
    fn line_for_nobody(&self) -> u64 {
        self.geometry.seat_lines(0) + (OWN_LINES * COUNTERS * WORD) as u64
    }

    /// Counts events that no member counts any more.
    pub(crate) fn count_for_nobody(&self, what: MemberCount, by: u64) {
        self.count_shared(self.line_for_nobody(), what, by);
    }
}

/// The ring of a file in which a record of `units` lies: in the small one only if it is small enough.
fn ring_for<M: Memory>(store: &Store<M>, ring: Ring, units: u64) -> Ring {
    if units > store.geometry.small.units / 4 { Ring::Main } else { ring }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Stores a record of another file that has the same seed, unchanged, and in this ring if there is room. Does
    /// nothing if the key has this very record already. With `evicts`, others are evicted to make room; otherwise the
    /// record is left out if there is no room.
    fn transplant(&mut self, key: &Key<'_>, record: &RawRecord, ring: Ring, evicts: bool) {
        let units = (record.bytes.len() / WORD) as u64;
        if let Some(entry) = self.find(key) {
            let head = entry.head;
            if head.stamp == record.word(at!(Record.stamp)) && without_dead(head.expiry) == record.expiry() {
                return;
            }
            if head.units() == units {
                // A record that is copied again and again must not drive others out of their ring.
                let (ring, position) = (entry.slot.ring(), entry.slot.position());
                self.put_transplant(key, record, (ring, position), (entry.slot_at, Some(head.epoch())));
                return;
            }
            self.remove(&entry);
        }
        if units * WORD as u64 > self.store.geometry.largest_record {
            return;
        }
        let ring = ring_for(self.store, ring, units);
        let spot = match self.free_spot(ring, units) {
            Some(spot) => spot,
            None if evicts => {
                let mut budget = self.budget();
                (ring, self.reserve(ring, units, &mut budget))
            }
            None => return,
        };
        let spare = if evicts { Some(self.vacate(key)) } else { self.spare_slot(key) };
        let Some(slot_at) = spare else { return };
        self.set_head(spot.0, self.shape(spot.0).advance(spot.1, units));
        self.put_transplant(key, record, spot, (slot_at, None));
    }

    /// Writes a record to `spot` and links it. `was` is the slot for it, with the epoch of the record that the slot
    /// had, if any.
    fn put_transplant(&mut self, key: &Key<'_>, record: &RawRecord, spot: (Ring, u64), was: (u64, Option<u64>)) {
        let ((ring, position), (slot_at, old_epoch)) = (spot, was);
        let new = Slot::live(key, ring, position).with_marks(record.slot.marks());
        let seal = record.word(at!(Record.seal));
        let live = self.live_with(old_epoch, Some(epoch_of(seal)));
        let bytes = record.sealed_for(self.location(new));
        self.begin(Intent::Set, slot_at, self.slot(slot_at), new, live);
        self.store.mem.copy_in(Step::RecordBody, self.address(ring, position), &bytes);
        self.relink(slot_at, new);
        self.set_live(live);
        self.end();
    }

    /// Removes the record of a slot unless `stays` says that its key stays.
    fn remove_unless(&mut self, slot_at: u64, stays: &impl Fn(&Key<'_>) -> bool) {
        let slot = self.slot(slot_at);
        if !slot.is_live() || !self.is_held(slot) {
            return;
        }
        let Some(CheckedRecord { at, head, .. }) = self.store.record_in(self.stripe, slot) else { return };
        let mut key = Vec::new();
        self.store.mem.append_out(at + head.key_at(), head.key_len() as usize, &mut key);
        if !stays(&self.store.key(&key)) {
            self.unlink(Intent::Delete, slot_at, slot, Slot::EMPTY, head);
        }
    }

    /// Makes the stripe count the live records of this epoch and later ones, unless it does so already.
    fn count_from(&self, epoch: u64) {
        let counted = self.word(at!(Stripe.live_epoch));
        if counted.get() != epoch {
            counted.set(Step::Live, epoch);
            self.set_live(self.recount());
        }
    }
}

impl RawRecord {
    fn word(&self, field: u64) -> u64 {
        let word = self.bytes.get(field as usize..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u64::from_le_bytes(*word))
    }

    /// The expiry, without the mark of a record that is dead.
    fn expiry(&self) -> u64 {
        without_dead(self.word(at!(Record.expiry)))
    }

    /// The bytes of the record for another place.
    fn sealed_for(&self, location: RecordLocation) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut set = |field: u64, value: u64| bytes[field as usize..][..WORD].copy_from_slice(&value.to_le_bytes());
        set(at!(Record.seal), reseal(self.word(at!(Record.seal)), self.location, location));
        set(at!(Record.expiry), self.expiry());
        bytes
    }
}
