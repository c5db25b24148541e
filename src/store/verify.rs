//! Checks the invariants of a stripe that hold while no operation is in flight.
//!
//! A stripe is first copied whole into private memory, either with its lock held or between two loads of its intent
//! that must be equal. The code that reads live stripes then checks the copy.

use super::claim::ClaimNumber;
use super::epochs::LAST_GENERATION;
use super::intent::Intent;
use super::namespace::JITTER;
use super::record::{Head, RecordLocation, is_sound};
use super::slot::{Ring, Slot};
use super::stripe_guard::slots;
use super::table::Store;
use crate::shm::atomics::{AtomicU64, Ordering, fence};
use crate::shm::layout::{BUCKET_LEN, NAMESPACE_LEN, at, unused_fields};
use crate::shm::memory::Row;
use crate::shm::{Geometry, Memory};
use std::collections::HashMap;

/// One invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Problem {
    /// The stripe, from 0.
    pub stripe: u32,
    /// The invariant's name, as `docs/format.md` lists it.
    pub invariant: String,
    /// What was found, and where.
    pub detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stripe {}: {}: {}", self.stripe, self.invariant, self.detail)
    }
}

/// The most problems that are listed for one stripe; more of them would add nothing new.
const MOST_PROBLEMS: usize = 64;

/// Parts of the file, copied to private memory; they keep their offsets.
pub(crate) struct Snapshot(Vec<(u64, Vec<AtomicU64>)>);

impl Memory for Snapshot {
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        let part = self.0.iter().find(|(start, part)| (*start..start + part.len() as u64 * 8).contains(&offset));
        match part.and_then(|(start, part)| part[((offset - start) / 8) as usize..].get(..words)) {
            Some(words) => Row::of(words),
            None => unreachable!("{words} words at {offset} are in no part of the snapshot"),
        }
    }
}

impl<M: Memory> Store<M> {
    /// Copies everything that belongs to a stripe. The caller holds its lock, or compares the intent before and after.
    pub(crate) fn snapshot(&self, stripe: u32) -> Store<Snapshot> {
        let g: &Geometry = &self.geometry;
        let parts = [
            (0, crate::shm::layout::HEADER_LEN),
            (g.namespaces_at, g.histograms_at - g.namespaces_at),
            (g.stripe(stripe), g.stripe_len),
            (g.bucket(stripe, 0), g.buckets * BUCKET_LEN),
            (g.arena(stripe), g.small.bytes() + g.main.bytes()),
        ];
        let copy = |(start, len): (u64, u64)| {
            let words = (0..len / 8).map(|i| AtomicU64::new(self.mem.word(start + i * 8).get()));
            (start, words.collect())
        };
        Store { mem: Snapshot(parts.into_iter().map(copy).collect()), geometry: self.geometry, seed: self.seed }
    }

    /// The fields that format 3 does not use and that are not zero. Fields outside the stripes are reported for stripe
    /// 0. No process writes these fields, so no lock is needed.
    pub(crate) fn unused_parts(&self, stripe: u32) -> Vec<Problem> {
        let g = &self.geometry;
        let mut structs = vec![("Stripe", g.stripe(stripe))];
        if stripe == 0 {
            structs.push(("Header", 0));
            structs.extend((0..g.shape.seats).map(|seat| ("Seat", g.seat(seat))));
            let namespaces = 0..u64::from(g.shape.namespaces);
            structs.extend(namespaces.map(|n| ("Namespace", g.namespaces_at + n * NAMESPACE_LEN)));
            structs.extend((0..g.shape.histograms).filter_map(|n| Some(("Histogram", g.histogram(n)?))));
        }
        let words = structs.into_iter().flat_map(|(of, at)| {
            unused_fields(of).flat_map(move |(field, offset, size)| {
                (offset / 8..=(offset + size - 1) / 8).map(move |word| {
                    // A field may be half a word.
                    let is_in = |byte: usize| (offset..offset + size).contains(&(word * 8 + byte));
                    let mask = u64::from_le_bytes(std::array::from_fn(|byte| if is_in(byte) { 0xff } else { 0 }));
                    (of, field, at + word as u64 * 8, mask)
                })
            })
        });
        let found = words.map(|(of, field, at, mask)| (of, field, at, self.mem.word(at).get() & mask));
        let found = found.chain(self.unused_flags(stripe)).filter(|word| word.3 != 0);
        let problem = |(of, field, at, word): (&str, &str, u64, u64)| Problem {
            stripe,
            invariant: "unused parts".into(),
            detail: format!("{of}.{field} at offset {at}: expected 0, found {word:#x}"),
        };
        found.take(MOST_PROBLEMS).map(problem).collect()
    }

    /// The unused bits of the flags and of the generation of each namespace.
    fn unused_flags(&self, stripe: u32) -> impl Iterator<Item = (&'static str, &'static str, u64, u64)> {
        let namespaces = if stripe == 0 { u64::from(self.geometry.shape.namespaces) } else { 0 };
        let entries = (0..namespaces).map(|n| self.geometry.namespaces_at + n * NAMESPACE_LEN);
        let fields =
            [("flags", at!(Namespace.flags), JITTER), ("generation", at!(Namespace.generation), LAST_GENERATION)];
        entries.flat_map(move |entry| {
            fields.map(|(field, at, used)| ("Namespace", field, entry + at, self.mem.word(entry + at).get() & !used))
        })
    }

    /// Copies a stripe without its lock; `None` if a writer was at work.
    pub(crate) fn snapshot_between_writes(&self, stripe: u32) -> Option<Store<Snapshot>> {
        let intent = self.stripe_word(stripe, at!(Stripe.intent));
        let before = intent.load(Ordering::Acquire);
        if Intent::is_in_flight(before) {
            return None;
        }
        let snapshot = self.snapshot(stripe);
        fence(Ordering::Acquire);
        (intent.get() == before).then_some(snapshot)
    }
}

/// Checks every invariant of one stripe. Returns the number of its live records, and the violations.
pub(crate) fn check(store: &Store<Snapshot>, stripe: u32) -> (u64, Vec<Problem>) {
    let mut check = Check { store, stripe, problems: Vec::new(), records: HashMap::new(), keys: HashMap::new() };
    for ring in [Ring::Small, Ring::Main] {
        check.ring(ring);
    }
    let live = check.buckets();
    check.unindexed();
    check.live_count(live);
    check.claims();
    (live, check.problems)
}

struct Check<'a> {
    store: &'a Store<Snapshot>,
    stripe: u32,
    problems: Vec<Problem>,
    /// The records met on the walk, by ring (`true` for the main ring) and position.
    records: HashMap<(bool, u64), Met>,
    /// The position of each key's live record.
    keys: HashMap<Vec<u8>, u64>,
}

struct Met {
    dead: bool,
    bucket_at: u64,
    short_hash: u64,
    epoch: u64,
    slots: u32,
}

impl Check<'_> {
    fn problem(&mut self, invariant: &str, detail: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { stripe: self.stripe, invariant: invariant.into(), detail });
        }
    }

    fn word(&self, field: u64) -> u64 {
        self.store.stripe_word(self.stripe, field).get()
    }

    fn ends(&self, ring: Ring) -> (u64, u64) {
        match ring {
            Ring::Small => (self.word(at!(Stripe.small_tail)), self.word(at!(Stripe.small_head))),
            Ring::Main => (self.word(at!(Stripe.main_tail)), self.word(at!(Stripe.main_head))),
        }
    }

    /// Walks a ring from tail to head.
    fn ring(&mut self, ring: Ring) {
        let shape = self.store.ring_shape(ring);
        let (tail, head) = self.ends(ring);
        if shape.used(tail, head).is_none() {
            let detail = format!("{ring:?} ring: tail {tail:#x} and head {head:#x} cannot belong together");
            return self.problem("ring ends", detail);
        }
        let mut position = tail;
        while position != head {
            let at = self.store.address(self.stripe, ring, position);
            let short = Head { shape: self.store.mem.word(at).get(), seal: 0, stamp: 0, expiry: 0 };
            let units = short.units();
            let left = shape.used(position, head).unwrap_or(0);
            if !shape.can_step(position, units, left) {
                let detail = format!("{ring:?} ring: {units} units at {position:#x}, {left} left to the head");
                return self.problem("ring walk closes", detail);
            }
            if !short.is_pad() {
                self.record(RecordLocation { stripe: self.stripe, ring, position });
            }
            position = shape.advance(position, units);
        }
    }

    fn record(&mut self, location: RecordLocation) {
        let Some((at, head, value_len)) = self.lengths(location) else {
            let detail = format!("{:?} ring: neither a record nor a pad at {:#x}", location.ring, location.position);
            return self.problem("ring walk closes", detail);
        };
        let mut bytes = Vec::new();
        self.store.mem.append_out(at + head.key_at(), head.key_len() as usize, &mut bytes);
        let key = self.store.key(&bytes);
        let met = Met {
            dead: head.is_dead(),
            bucket_at: self.store.bucket_of(&key),
            short_hash: key.short_hash(),
            epoch: head.epoch(),
            slots: 0,
        };
        self.records.insert((location.ring == Ring::Main, location.position), met);
        if head.is_dead() {
            return;
        }
        let here = format!("record at {:#x} of the {:?} ring", location.position, location.ring);
        if self.store.stripe_of(&key) != self.stripe {
            self.problem("stripe", format!("{here}: its key belongs to stripe {}", self.store.stripe_of(&key)));
        }
        let mut value = Vec::new();
        self.store.mem.append_out(at + head.value_at(), value_len, &mut value);
        if !is_sound(&key, &value, head, self.store.extension(at, head), location) {
            self.problem("checksum", here.clone());
        }
        let (clock, tags) = (self.store.tag_clock(), self.store.extension(at, head).tags);
        if let Some(tags) = tags.filter(|tags| tags.clock() > clock) {
            self.problem("tag clocks", format!("{here}: clock {} above that of the file, {clock}", tags.clock()));
        }
        let counter = self.word(at!(Stripe.stamp));
        if head.stamp > counter {
            self.problem("stamps", format!("{here}: stamp {} above the counter's {counter}", head.stamp));
        }
        if let Some(other) = self.keys.insert(bytes, location.position) {
            self.problem("one live record per key", format!("{here}: another one at {other:#x}"));
        }
    }

    fn lengths(&self, location: RecordLocation) -> Option<(u64, Head, usize)> {
        let at = self.store.record_at(location.stripe, location.ring, location.position)?;
        let head = self.store.head(at);
        let value_len = head.value_len().filter(|_| head.is_record())?;
        Some((at, head, value_len as usize))
    }

    /// Checks every slot; returns how many are live and count for the current epoch.
    fn buckets(&mut self) -> u64 {
        let first = self.store.geometry.bucket(self.stripe, 0);
        let mut live = 0;
        for bucket in 0..self.store.geometry.buckets {
            let bucket_at = first + bucket * BUCKET_LEN;
            let version = self.store.mem.word(bucket_at).get();
            if version & 1 == 1 {
                self.problem("even versions", format!("bucket {bucket}: version {version:#x}"));
            }
            for slot_at in slots(bucket_at) {
                let slot = Slot(self.store.mem.word(slot_at).get());
                live += u64::from(self.slot(bucket, bucket_at, slot));
            }
        }
        live
    }

    fn slot(&mut self, bucket: u64, bucket_at: u64, slot: Slot) -> bool {
        let here = format!("bucket {bucket}: {slot:?}");
        let (tail, head) = self.ends(slot.ring());
        if slot.is_ghost() {
            let tail = self.ends(Ring::Small).0;
            if slot.position() > tail || slot.marks() != 0 {
                self.problem("ghosts", format!("{here}: beyond the small ring's tail {tail:#x}, or marked"));
            }
            return false;
        }
        if !slot.is_live() {
            if slot != Slot::EMPTY {
                self.problem("empty slots", format!("{here}: bits {:#x} are set", slot.0));
            }
            return false;
        }
        if !self.store.ring_shape(slot.ring()).holds(tail, head, slot.position()) {
            self.problem("slots between tail and head", format!("{here}: the ring goes from {tail:#x} to {head:#x}"));
            return false;
        }
        let epoch = self.word(at!(Stripe.live_epoch));
        let Some(met) = self.records.get_mut(&(slot.ring() == Ring::Main, slot.position())) else {
            self.problem("slot to its record", format!("{here}: no record begins there"));
            return false;
        };
        met.slots += 1;
        let (dead, own) =
            (met.dead, met.bucket_at == bucket_at && met.short_hash == slot.short_hash() && met.slots == 1);
        let counts = met.epoch >= epoch;
        if dead {
            self.problem("dead marks", format!("{here}: its record is marked dead"));
        }
        if !own {
            self.problem("slot to its record", format!("{here}: that record belongs to another slot"));
        }
        counts
    }

    /// Reports live records that no slot points to: a rebuild would bring them back.
    fn unindexed(&mut self) {
        let lost: Vec<_> =
            self.records.iter().filter(|(_, met)| !met.dead && met.slots == 0).map(|(&at, _)| at).collect();
        for (main, position) in lost {
            let ring = if main { Ring::Main } else { Ring::Small };
            self.problem(
                "dead marks",
                format!("live record at {position:#x} of the {ring:?} ring: no slot points to it"),
            );
        }
    }

    fn live_count(&mut self, live: u64) {
        let counted = self.word(at!(Stripe.live));
        if counted != live {
            self.problem("live count", format!("{counted} counted, {live} found"));
        }
    }

    fn claims(&mut self) {
        let mut keys = HashMap::new();
        let (used, last) = (self.word(at!(Stripe.claims_used)), self.word(at!(Stripe.claim_number)));
        for claim in 0..self.store.geometry.shape.claims {
            let claim_at = self.store.geometry.claim(self.stripe, claim);
            let word = |field| self.store.mem.word(claim_at + field).get();
            let number = ClaimNumber(word(at!(Claim.number)));
            if !number.is_known() {
                self.problem(
                    "claims",
                    format!("claim {claim}: expected a state from 0 to 8, found {}", number.0 & 0xff),
                );
            }
            if !number.counts() {
                continue;
            }
            if u64::from(claim) >= used {
                self.problem("claims", format!("claim {claim} is held or rests, but only {used} claims are in use"));
            }
            if number.number() > last {
                let number = number.number();
                self.problem("claims", format!("claim {claim} has number {number}, above the last one given, {last}"));
            }
            let seat = word(at!(Claim.owner)) >> 32;
            if seat >= self.store.geometry.shape.seats.into() {
                self.problem("claims", format!("claim {claim}: its owner's seat {seat} lies beyond the last seat"));
            }
            // A key may be locked while it rests.
            if !number.is_held() {
                continue;
            }
            let hash = (word(at!(Claim.key_hash)), word(at!(Claim.key_hash) + 8));
            if let Some(other) = keys.insert(hash, claim) {
                self.problem("claims", format!("claim {claim}: claim {other} is for the same key"));
            }
        }
    }
}
