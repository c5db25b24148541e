//! Reading without a lock.
//!
//! ```text
//! version = bucket.version            acquire; odd: a writer is at work, try again
//! find a live slot whose short hash fits; compare the key in its record
//! copy the wanted part out of the record
//! fence(acquire)
//! bucket.version == version           else the copy may be torn: try again
//! ```
//!
//! *A hit is valid if and only if the bucket's version was even before the slots were read and is the same after the
//! last byte was copied.* A miss is checked in the same way. The writer's side consists of two sequences. To change
//! slots, it makes the version odd, passes a release fence, changes the slots, and makes the version even with a
//! release store. To reuse a record's memory, it first unlinks the record's slot in this way, and passes a release
//! fence before the first new byte. So a reader that saw any new byte sees the new version too.
//!
//! *A record larger than [`IN_PLACE_LIMIT`] is valid if and only if its slot, access marks aside, and the era in the
//! version are the same after the last byte was copied*, whatever else changed in the bucket: such a record is never
//! overwritten in place, and its slot is emptied before its memory is reused. Without this rule, each write of another
//! key in the bucket would waste a long copy.

use super::epochs::Invalidation;
use super::idle::ReadTime;
use super::record::{Extension, Head, IN_PLACE_LIMIT, RecordLocation};
use super::slot::Slot;
use super::table::{KeyLocation, RingOffset, Store};
use super::visibility::Visibility;
use crate::fault::{Fault, injected};
use crate::hash::Key;
use crate::shm::Memory;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::{EXTENSION_LEN, RECORD_LEN, SLOTS, round_up};
use crate::shm::memory::{Row, Words};

/// The index of the word at which the key begins in a record without an extension.
const KEY_FROM: usize = (RECORD_LEN / 8) as usize;
/// From this bit on, a bucket's version counts how often its stripe's positions started again.
pub(crate) const ERA_SHIFT: u32 = 48;

/// The result of one lookup in the index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<T> {
    /// The wanted part of the key's record, which did not change while it was copied.
    Hit(T),
    /// The key has no valid record.
    Miss,
    /// A writer was at work in the bucket.
    Changing,
}

/// The part of a record that a read wants.
pub(crate) trait Extract {
    type Out;
    /// Whether the read also wants a record that says that the key has no value.
    const SEES_ABSENCE: bool = false;
    /// Whether [`take`](Self::take) runs the caller's code, which must not run under a lock.
    const RUNS_CALLERS_CODE: bool = false;

    /// Copies that part out. The result is used only if the record proves unchanged afterwards, and is dropped
    /// otherwise; `None` says that the record was seen to change.
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Self::Out>;

    /// Whether what was taken makes this look a use of the record.
    #[inline(always)]
    fn is_use(_: &Self::Out) -> bool {
        true
    }
}

/// A key's bucket, as a lookup first sees it.
#[derive(Clone, Copy)]
pub(crate) struct BucketView<'a> {
    stripe: u32,
    bucket: Words<'a, 8>,
    version: u64,
    /// A bit for each word of the bucket that is a live slot with the key's short hash.
    candidates: u32,
}

impl<'a> BucketView<'a> {
    /// The index of the first candidate, and its slot. The slot is loaded again, with acquire: a thread that sees the
    /// slot sees the complete record. `validate` relies on that where it validates by the slot alone.
    #[inline(always)]
    fn first(&self) -> (usize, Slot) {
        let i = (self.candidates.trailing_zeros() & 7) as usize;
        (i, Slot(self.bucket.at(i).load(Ordering::Acquire)))
    }

    /// The bucket's version, unless a writer is at work. Every write and every deletion of a key of the bucket changes
    /// it.
    pub(crate) fn version(&self) -> Option<u64> {
        (self.version & 1 == 0).then_some(self.version)
    }

    /// A miss, if the bucket has not changed.
    #[inline(always)]
    fn missed<T>(&self) -> Look<T> {
        fence(Ordering::Acquire);
        if self.bucket.get(0) == self.version { Look::Miss } else { Look::Changing }
    }

    #[inline(always)]
    fn found(&self, i: usize, slot: Slot, record: CheckedRecord) -> RecordRef<'a> {
        let Self { stripe, bucket, version, .. } = *self;
        let CheckedRecord { at, head, value_at, value_len } = record;
        RecordRef { stripe, bucket, version, i, slot, at, head, value_at, value_len }
    }
}

/// What a writer sees of a key's bucket before it has the lock: the bucket, and the place of the first candidate.
#[derive(Clone, Copy)]
pub(crate) struct SeenBucket<'a> {
    view: BucketView<'a>,
    slot: Slot,
    /// A place without room if there is none: `left` is 0.
    pub(super) place: RingOffset,
}

impl SeenBucket<'_> {
    /// The first candidate as it is now, with its index; `Some(None)` if the bucket has no candidate, and `None` if the
    /// bucket has changed since. The caller holds the lock.
    #[inline(always)]
    pub(super) fn under_lock(&self) -> Option<Option<(usize, Slot)>> {
        let Self { view, slot, .. } = self;
        let is_same = view.bucket.get(0) == view.version && view.version & 1 == 0;
        if view.candidates == 0 || !is_same {
            return is_same.then_some(None);
        }
        // If the version is the same, so is the slot, access marks aside. It is compared all the same, since the place
        // was computed from it.
        let (i, now) = view.first();
        now.same(*slot).then_some(Some((i, now)))
    }
}

/// A key's record, its lengths checked against its ring.
#[derive(Clone, Copy)]
pub(crate) struct CheckedRecord {
    pub at: u64,
    pub head: Head,
    value_at: u64,
    pub value_len: usize,
}

/// A record that a lookup found.
#[derive(Clone, Copy)]
pub(crate) struct RecordRef<'a> {
    pub stripe: u32,
    bucket: Words<'a, 8>,
    version: u64,
    /// Index of the slot's word in the bucket.
    i: usize,
    pub slot: Slot,
    /// Offset of the record.
    pub at: u64,
    pub head: Head,
    value_at: u64,
    pub value_len: usize,
}

/// An item of a bucket, without its value.
pub(crate) struct BucketItem {
    pub key: Vec<u8>,
    pub slot: Slot,
    pub head: Head,
    pub extension: Extension,
    pub value_len: usize,
}

impl RecordRef<'_> {
    #[inline(always)]
    pub(crate) fn value_at(&self) -> u64 {
        self.value_at
    }

    pub(crate) fn location(&self) -> RecordLocation {
        RecordLocation { stripe: self.stripe, ring: self.slot.ring(), position: self.slot.position() }
    }
}

impl<M: Memory> Store<M> {
    /// Looks a key up once, copies the wanted part out of its record, and raises its access mark if `mark` says so.
    ///
    /// Inlined into each kind of read, so that intermediate results stay in registers.
    #[inline(always)]
    pub(crate) fn lookup<T: Extract>(
        &self,
        key: &Key<'_>,
        time: impl ReadTime,
        want: &mut T,
        mark: bool,
    ) -> Look<T::Out> {
        self.lookup_fast(key, self.bucket_view(key), time, want, mark)
    }

    /// The first half of a lookup: the key's bucket.
    #[inline(always)]
    pub(crate) fn bucket_view(&self, key: &Key<'_>) -> BucketView<'_> {
        self.bucket_view_at(self.locate(key), key)
    }

    /// [`bucket_view`](Self::bucket_view) of a key that is already located.
    #[inline(always)]
    pub(crate) fn bucket_view_at(
        &self,
        KeyLocation { stripe, bucket_at }: KeyLocation,
        key: &Key<'_>,
    ) -> BucketView<'_> {
        let bucket = self.mem.words::<8>(bucket_at);
        let version = bucket.at(0).load(Ordering::Acquire);
        // Bit 0 stands for the version.
        let candidates = M::matching(bucket, Slot::live_pattern(key)) & !1;
        BucketView { stripe, bucket, version, candidates }
    }

    /// The second half of a lookup: the record, if the bucket has a candidate.
    ///
    /// The fast path handles what nearly every read meets: the first candidate is the key's, and its record is a value
    /// without tags that has neither expired nor been cleared, and whose expiry does not follow its reads. All other
    /// cases go to `lookup_further`.
    #[inline(always)]
    pub(crate) fn lookup_fast<T: Extract>(
        &self,
        key: &Key<'_>,
        view: BucketView<'_>,
        time: impl ReadTime,
        want: &mut T,
        mark: bool,
    ) -> Look<T::Out> {
        if view.version & 1 == 1 && !injected(Fault::Torn) {
            return Look::Changing;
        }
        if view.candidates == 0 {
            return view.missed();
        }
        let (i, slot) = view.first();
        match self.current_record(view.stripe, slot, key, || time.now_ms()) {
            Some(record) => self.take_found(&view.found(i, slot, record), want, mark),
            None => self.lookup_further(view.bucket, view.version, i, slot, key.bytes, key.hash, time, want, mark),
        }
    }

    /// Tries the slot that the fast path has found as that of a record with tags, or of one whose expiry follows its
    /// reads. This succeeds if the record is the key's and is a value that has neither expired nor been cleared, none
    /// of its tags was invalidated, and its expiry is not to move now. All other cases go to `lookup_slow`. The
    /// arguments are numbers and references, so that the fast path need not keep anything in memory for this call.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "a struct of them would be in memory")]
    fn lookup_further<T: Extract>(
        &self,
        bucket: Words<'_, 8>,
        version: u64,
        i: usize,
        slot: Slot,
        bytes: &[u8],
        hash: u64,
        time: impl ReadTime,
        want: &mut T,
        mark: bool,
    ) -> Look<T::Out> {
        let key = Key { bytes, hash };
        let stripe = self.stripe_of(&key);
        if let Some((record, extension, tags)) = self.any_extended_record(stripe, slot, &key)
            && !self.is_any_tag_invalidated(tags, Invalidation::Hard)
            && self.visibility_with(record.head, extension, || {
                self.now_unless_due(record.head, extension, || time.now_ms())
            }) == Visibility::Value
        {
            let view = BucketView { stripe, bucket, version, candidates: 1 << i };
            return self.take_found(&view.found(i, slot, record), want, mark);
        }
        self.lookup_slow(bytes, hash, time, want, mark)
    }

    /// The slow path: a whole lookup that handles every case.
    #[cold]
    #[inline(never)]
    fn lookup_slow<T: Extract>(
        &self,
        bytes: &[u8],
        hash: u64,
        time: impl ReadTime,
        want: &mut T,
        mark: bool,
    ) -> Look<T::Out> {
        let key = Key { bytes, hash };
        let mut view = self.bucket_view(&key);
        if view.version & 1 == 1 && !injected(Fault::Torn) {
            return Look::Changing;
        }
        while view.candidates != 0 {
            let (i, slot) = view.first();
            view.candidates &= view.candidates - 1;
            let Some(record) = self.record_of(view.stripe, slot, &key) else { continue };
            let extension = self.extension(record.at, record.head);
            if !self.visibility_with(record.head, extension, || time.now_ms()).is_seen(T::SEES_ABSENCE) {
                break;
            }
            let look = self.take_found(&view.found(i, slot, record), want, mark);
            if let Look::Hit(taken) = &look
                && T::is_use(taken)
                && let Some(kept) = self.kept(record.head, extension, || time.now_ms())
            {
                time.keep(&key, kept);
            }
            return look;
        }
        view.missed()
    }

    /// Whether a record without an extension has neither expired nor been cleared.
    #[inline(always)]
    fn is_fresh(&self, head: Head, now_ms: impl Fn() -> u64) -> bool {
        #[cold]
        fn is_over(ms: u64, now_ms: impl Fn() -> u64) -> bool {
            ms <= now_ms()
        }
        let expires_ms = head.expires_ms();
        head.epoch() >= self.epochs().hard() && (expires_ms == 0 || !is_over(expires_ms, now_ms))
    }

    #[inline(always)]
    fn take_found<T: Extract>(&self, found: &RecordRef<'_>, want: &mut T, mark: bool) -> Look<T::Out> {
        let Some(taken) = want.take(self, found) else { return Look::Changing };
        if !self.validate(found) {
            return Look::Changing;
        }
        if mark && T::is_use(&taken) {
            self.mark(found);
        }
        Look::Hit(taken)
    }

    /// The record of a slot, if it is the key's, has no tags, and is a value that has neither expired nor been cleared.
    ///
    /// A branch on the kind of the record decides where the key lies. The processor goes on with the kind that it
    /// predicts, and need not wait for the header before it starts to load key and value.
    #[inline(always)]
    fn current_record(
        &self,
        stripe: u32,
        slot: Slot,
        key: &Key<'_>,
        now_ms: impl Fn() -> u64,
    ) -> Option<CheckedRecord> {
        let (len, padded) = (key.bytes.len(), round_up(key.bytes.len() as u64, 8));
        let plain_end = RECORD_LEN + padded;
        let RingOffset { at, left } = self.place_of(stripe, slot, plain_end / 8)?;
        // A small record may begin anywhere in a cache line and end two lines later. Only the header says whether its
        // value is wanted, and the processor may not speculate so far ahead.
        self.mem.prefetch(at + 64);
        self.mem.prefetch(at + 128);
        let row = self.mem.row(at, (plain_end / 8) as usize);
        let head = Head::of(row);
        if head.units() > left {
            return None;
        }
        let (key_row, key_end) = if head.is_plain_with(len) {
            self.is_fresh(head, now_ms).then(|| (row.starting_at(KEY_FROM), plain_end))?
        } else {
            let key_at = RECORD_LEN + EXTENSION_LEN;
            let is_value = self.is_extended_value(at, head, len, now_ms) && key_at + padded <= left * 8;
            is_value.then(|| (self.mem.row(at + key_at, (padded / 8) as usize), key_at + padded))?
        };
        let value_len = (head.units() * 8).checked_sub(key_end + head.slack())? as usize;
        key_row.holds(0, key.bytes).then_some(CheckedRecord { at, head, value_at: at + key_end, value_len })
    }

    /// Whether a record has an extension but no tags, has a key of this length, and is a value that has neither expired
    /// nor been cleared and whose expiry does not follow its reads. The record lies within its ring.
    #[inline(always)]
    fn is_extended_value(&self, at: u64, head: Head, key_len: usize, now_ms: impl Fn() -> u64) -> bool {
        head.is_extended_with(key_len) && head.units() * 8 >= RECORD_LEN + EXTENSION_LEN && {
            let extension = self.extension_without_tags(at);
            // A record whose expiry follows its reads is left to `lookup_further`: here it looks expired.
            let now_ms = || if extension.is_idle() { u64::MAX } else { now_ms() };
            self.visibility_with(head, extension, now_ms) == Visibility::Value
        }
    }

    /// [`record_of`](Self::record_of) for a record without an extension, at a place. The key's length then says where
    /// key and value lie.
    #[inline(always)]
    pub(super) fn plain_record(&self, RingOffset { at, left }: RingOffset, key: &Key<'_>) -> Option<CheckedRecord> {
        let key_end = RECORD_LEN + round_up(key.bytes.len() as u64, 8);
        if key_end / 8 > left {
            return None;
        }
        let row = self.mem.row(at, (key_end / 8) as usize);
        let head = Head::of(row);
        if !head.is_plain_with(key.bytes.len()) || head.units() > left {
            return None;
        }
        let value_len = (head.units() * 8).checked_sub(key_end + head.slack())? as usize;
        row.holds(KEY_FROM, key.bytes).then_some(CheckedRecord { at, head, value_at: at + key_end, value_len })
    }

    /// [`plain_record`](Self::plain_record) for records with an extension, but no tags.
    #[inline(always)]
    pub(super) fn extended_record(&self, stripe: u32, slot: Slot, key: &Key<'_>) -> Option<CheckedRecord> {
        let key_at = RECORD_LEN + EXTENSION_LEN;
        let key_end = key_at + round_up(key.bytes.len() as u64, 8);
        let RingOffset { at, left } = self.place_of(stripe, slot, key_end / 8)?;
        let row = self.mem.row(at, (key_end / 8) as usize);
        let head = Head::of(row);
        if !head.is_extended_with(key.bytes.len()) || head.units() > left {
            return None;
        }
        let value_len = (head.units() * 8).checked_sub(key_end + head.slack())? as usize;
        let record = CheckedRecord { at, head, value_at: at + key_end, value_len };
        row.holds((key_at / 8) as usize, key.bytes).then_some(record)
    }

    /// [`extended_record`](Self::extended_record) for records with or without tags. It returns the words of the tags
    /// separately.
    #[inline(always)]
    fn any_extended_record<'a>(
        &'a self,
        stripe: u32,
        slot: Slot,
        key: &Key<'_>,
    ) -> Option<(CheckedRecord, Extension, Row<'a>)> {
        const TAGS_FROM: u64 = RECORD_LEN + EXTENSION_LEN;
        let RingOffset { at, left } = self.place_of(stripe, slot, TAGS_FROM / 8)?;
        let row = self.mem.row(at, (TAGS_FROM / 8) as usize);
        let head = Head::of(row);
        let tag_words = head.tag_words();
        if !head.is_any_extended_with(key.bytes.len()) || head.units() > left {
            return None;
        }
        let extension = Extension { soft_expiry: row.get(4), created: row.get(5), flags: row.get(6), tags: None };
        let key_at = TAGS_FROM + tag_words * 8;
        let key_end = key_at + round_up(key.bytes.len() as u64, 8);
        // The words of tags and the key lie within the record if its value does.
        let value_len = (head.units() * 8).checked_sub(key_end + head.slack())? as usize;
        let words = self.mem.row(at + TAGS_FROM, ((key_end - TAGS_FROM) / 8) as usize);
        let record = CheckedRecord { at, head, value_at: at + key_end, value_len };
        let tags = words.first(tag_words as usize);
        words.holds(tag_words as usize, key.bytes).then_some((record, extension, tags))
    }

    /// The record a slot points to, if it is this key's and its lengths lie within its ring.
    #[cold]
    pub(crate) fn record_of(&self, stripe: u32, slot: Slot, key: &Key<'_>) -> Option<CheckedRecord> {
        let record = self.record_in(stripe, slot).filter(|record| record.head.key_len() == key.bytes.len() as u64)?;
        let key_units = (record.head.value_at() - record.head.key_at()) / 8;
        let is_key = self.mem.row(record.at + record.head.key_at(), key_units as usize).holds(0, key.bytes);
        is_key.then_some(record)
    }

    /// The record a slot points to, if its lengths lie within its ring. The returned header gives safe bounds for
    /// loading extension, key and value, even if the header in the file has changed since.
    pub(super) fn record_in(&self, stripe: u32, slot: Slot) -> Option<CheckedRecord> {
        let RingOffset { at, left } = self.place_of(stripe, slot, RECORD_LEN / 8)?;
        let head = self.head(at);
        if !head.is_record() || head.units() > left {
            return None;
        }
        let value_len = head.value_len()? as usize;
        Some(CheckedRecord { at, head, value_at: at + head.value_at(), value_len })
    }

    /// Whether everything that was loaded from a found record before this call belongs to that record.
    #[inline(always)]
    pub(crate) fn validate(&self, found: &RecordRef<'_>) -> bool {
        fence(Ordering::Acquire);
        let version = found.bucket.get(0);
        version == found.version
            || injected(Fault::Torn)
            || still_linked(found.bucket, found.version, version, found.i, found.slot, found.head.units())
    }

    /// Raises the access mark of a record that was read, unless it is at its highest. If the record has left meanwhile,
    /// the exchange fails, which does no harm.
    #[inline(always)]
    fn mark(&self, found: &RecordRef<'_>) {
        if let Some(marked) = found.slot.marked() {
            let slot = found.bucket.at(found.i);
            let _ = slot.compare_exchange(crate::shm::Step::Mark, found.slot.0, marked.0, Ordering::Relaxed);
        }
    }

    /// Prefetches the first lines of the record that a lookup in this bucket will load.
    #[inline(always)]
    pub(crate) fn prefetch_record(&self, view: &BucketView<'_>) {
        self.see_record(*view);
    }

    /// [`prefetch_record`](Self::prefetch_record) for a writer, which goes on with what it sees.
    #[inline(always)]
    pub(crate) fn see_record<'a>(&self, view: BucketView<'a>) -> SeenBucket<'a> {
        let nowhere = SeenBucket { view, slot: Slot::EMPTY, place: RingOffset { at: 0, left: 0 } };
        if view.candidates == 0 {
            return nowhere;
        }
        let (_, slot) = view.first();
        let Some(place) = self.place_of(view.stripe, slot, RECORD_LEN / 8) else { return nowhere };
        // A small record may begin anywhere in a cache line and end two lines later.
        (0..3).for_each(|line| self.mem.prefetch(place.at + line * 64));
        SeenBucket { view, slot, place }
    }

    /// A view of a bucket in which word `i` is the only candidate, whatever key that slot belongs to.
    pub(crate) fn slot_view(&self, stripe: u32, bucket: u64, i: usize) -> BucketView<'_> {
        let location = KeyLocation { stripe, bucket_at: self.geometry.bucket(stripe, bucket) };
        BucketView { candidates: 1 << i, ..self.bucket_view_at(location, &Key { bytes: &[], hash: 0 }) }
    }

    /// The record of a view's slot, if it is current. Its lengths can be trusted; its bytes may change. Remembered
    /// absences are found, too.
    pub(super) fn found_in_slot<'a>(&self, view: &BucketView<'a>, now_ms: impl FnOnce() -> u64) -> Look<RecordRef<'a>> {
        if view.version & 1 == 1 {
            return Look::Changing;
        }
        let (i, slot) = view.first();
        let record = if slot.is_live() { self.record_in(view.stripe, slot) } else { None };
        let Some(record) = record.filter(|record| self.visibility(record.at, record.head, now_ms).is_seen(true)) else {
            return view.missed();
        };
        let found = view.found(i, slot, record);
        if self.validate(&found) { Look::Hit(found) } else { Look::Changing }
    }

    /// Appends the items of a bucket that a read would find; `false` if a writer changed the bucket meanwhile.
    pub(crate) fn items_of_bucket(&self, stripe: u32, bucket: u64, now_ms: u64, items: &mut Vec<BucketItem>) -> bool {
        let bucket_at = self.geometry.bucket(stripe, bucket);
        let version = self.mem.word(bucket_at).load(Ordering::Acquire);
        if version & 1 == 1 {
            return false;
        }
        for slot in slots_of(self.mem.words::<8>(bucket_at)).filter(|slot| slot.is_live()) {
            items.extend(self.item_at(stripe, slot, now_ms));
        }
        fence(Ordering::Acquire);
        self.mem.word(bucket_at).get() == version
    }

    /// The key and the header of a slot's record, if the record is current and really belongs to this stripe.
    fn item_at(&self, stripe: u32, slot: Slot, now_ms: u64) -> Option<BucketItem> {
        let CheckedRecord { at, head, value_len, .. } = self.record_in(stripe, slot)?;
        let extension = self.extension(at, head);
        if !self.visibility_with(head, extension, || now_ms).is_seen(false) {
            return None;
        }
        let mut bytes = Vec::new();
        self.mem.append_out(at + head.key_at(), head.key_len() as usize, &mut bytes);
        let key = self.key(&bytes);
        let own = key.short_hash() == slot.short_hash() && self.stripe_of(&key) == stripe;
        own.then_some(BucketItem { key: bytes, slot, head, extension, value_len })
    }
}

/// Whether a record that is never overwritten in place still has its slot, although its bucket has changed.
///
/// This call is rare and takes its arguments in registers: an argument in memory would cost every read a store.
#[cold]
fn still_linked(bucket: Words<'_, 8>, before: u64, version: u64, i: usize, slot: Slot, units: u64) -> bool {
    units * 8 > IN_PLACE_LIMIT
        && (version ^ before) >> ERA_SHIFT == 0
        && slot.is_live()
        && Slot(bucket.get(i)).same(slot)
}

/// The slots of a bucket, in order.
fn slots_of(bucket: Words<'_, 8>) -> impl Iterator<Item = Slot> {
    (1..=SLOTS as usize).map(move |i| Slot(bucket.get(i)))
}
