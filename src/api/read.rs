//! The read path: hash, look, copy, check. No lock, no system call.

use super::cache::Cache;
use super::write::Stamp;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::Memory;
use crate::shm::layout::{COUNTERS, OWN_LINES};
use crate::shm::mapping::Mapping;
use crate::store::exclusive::Exclusive;
use crate::store::read::{Found, Look, Take};
use crate::store::tally::MemberCount;
use crate::store::{Distrust, Store, record::MAX_KEY};
use crate::sync::locks::{LockError, RegionGuard};
use crate::sync::threads::line_of_thread;
use crate::upkeep::Opened;
use crate::upkeep::opened::Joined;
use crossbeam::utils::Backoff;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Looks that a read takes at a bucket that others are changing before it goes the slow way.
const LOOKS: u32 = 64;
/// How long a read waits for the stripe's lock on the slow way.
const READ_WAIT: Duration = Duration::from_millis(20);
/// Keys of a batch whose cache lines are asked for at once.
const BATCH: usize = 16;

/// A value with what is stored beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub value: Vec<u8>,
    /// The caller's flags given to `set_with`; 0 by default.
    pub flags: u32,
    /// What [`Cache::compare_and_swap`] compares: it differs after every write of the key.
    pub stamp: Stamp,
    /// When the item expires, if it does.
    pub expires: Option<SystemTime>,
}

impl Cache {
    /// The value of a key; `None` is a miss.
    ///
    /// A value that is returned was set for this very key, in full, and was not replaced, deleted, cleared or
    /// expired when the call began. Any `get` may miss.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.read(key.as_ref(), Value)
    }

    /// The value of a key with its flags, stamp and expiry.
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.read(key.as_ref(), WholeItem)
    }

    /// Copies the value of a key to the start of `buf` and returns its length; `None` is a miss.
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall), which names the length; nothing is copied then.
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        let given = buf.len();
        match self.read(key.as_ref(), Into(buf)) {
            None => Ok(None),
            Some(needed) if needed <= given => Ok(Some(needed)),
            Some(needed) => Err(Error::BufferTooSmall { needed, given }),
        }
    }

    /// Whether a `get` of this key would hit. The key's access mark is raised as by a `get`.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.read(key.as_ref(), Nothing).is_some()
    }

    /// The values of many keys, in their order. It is that many single `get`s, not a snapshot, but faster: the
    /// memory of the next keys is fetched while one is copied.
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            self.prefetch(batch);
            values.extend(batch.iter().map(|key| self.get(key)));
        }
        values
    }

    /// Asks for the buckets of a batch, then for the records that they point to.
    fn prefetch<K: AsRef<[u8]>>(&self, batch: &[K]) {
        let store = &self.first.store;
        let mut hashed = [None; BATCH];
        for (key, hashed) in batch.iter().zip(&mut hashed) {
            let key = store.key(key.as_ref());
            store.mem.prefetch(store.bucket_of(&key));
            *hashed = Some(key);
        }
        hashed.iter().flatten().for_each(|key| store.prefetch_record(key));
    }

    /// Takes what is wanted out of a key's record, all of it between two changes.
    #[inline(always)]
    fn read<T: Take>(&self, key: &[u8], mut want: T) -> Option<T::Out> {
        let opened = &*self.first;
        let Some(joined) = opened.joined() else { return self.read_slow(key, want) };
        if joined.reads_carefully || opened.store.is_unsettled() || key.len() > MAX_KEY {
            return self.read_slow(key, want);
        }
        let key = opened.store.key(key);
        let tally = Tally::of(opened, joined);
        let looked = tally.look(&key, &mut want);
        tally.counted(go_on(looked, opened, &key, &tally, &mut want))
    }

    /// As [`read`](Self::read), where something is out of the ordinary: a replaced file, a forked child, a read-only
    /// handle, a reader's lock, checksums to be checked, a crash that lies behind.
    #[cold]
    #[inline(never)]
    fn read_slow<T: Take>(&self, key: &[u8], want: T) -> Option<T::Out> {
        if key.len() > MAX_KEY {
            return None;
        }
        let opened = self.readable()?;
        let key = opened.store.key(key);
        // A forked child joins at its first use; if it cannot, it reads all the same, uncounted.
        let tally = match opened.joined_for_read() {
            Some(joined) => Tally::of(opened, joined),
            None => Tally { opened, line: None },
        };
        tally.counted(read_carefully(opened, &key, &tally, want))
    }
}

/// The value. Its length is checked before memory is asked for.
struct Value;

impl Take for Value {
    type Out = Vec<u8>;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &Found<'_>) -> Option<Vec<u8>> {
        if !store.still(found) {
            return None;
        }
        let mut value = Vec::new();
        store.mem.append_out(found.value_at(), found.value_len, &mut value);
        Some(value)
    }
}

/// The value and what is stored beside it.
struct WholeItem;

impl Take for WholeItem {
    type Out = Item;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &Found<'_>) -> Option<Item> {
        let expires = found.head.expires_ms();
        Some(Item {
            value: Value.take(store, found)?,
            flags: store.extension(found.at, found.head).caller_flags(),
            stamp: Stamp(found.head.stamp),
            expires: (expires != 0).then(|| UNIX_EPOCH + Duration::from_millis(expires)),
        })
    }
}

/// The value in the caller's buffer, if it takes it, and its length.
struct Into<'a>(&'a mut [u8]);

impl Take for Into<'_> {
    type Out = usize;

    #[inline(always)]
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &Found<'_>) -> Option<usize> {
        if let Some(room) = self.0.get_mut(..found.value_len) {
            store.mem.copy_out(found.value_at(), room);
        }
        Some(found.value_len)
    }
}

/// That there is a value.
struct Nothing;

impl Take for Nothing {
    type Out = ();

    #[inline(always)]
    fn take<M: Memory>(&mut self, _: &Store<M>, _: &Found) -> Option<()> {
        Some(())
    }
}

/// What is wanted, from a record that passes its checksum; `None` within for one that does not.
struct Sound<'a, T> {
    key: &'a Key<'a>,
    want: T,
}

impl<T: Take> Take for Sound<'_, T> {
    type Out = Option<T::Out>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &Found<'_>) -> Option<Self::Out> {
        let value = Value.take(store, found)?;
        let passes = store.passes(self.key, &value, found);
        if !store.still(found) {
            return None;
        }
        if passes { self.want.take(store, found).map(Some) } else { Some(None) }
    }
}

/// After a change came in between: some more looks, then the stripe's lock for a short time, then a miss.
#[cold]
#[inline(never)]
fn read_again<T: Take>(opened: &Opened, key: &Key<'_>, tally: &Tally<'_>, want: &mut T) -> Option<T::Out> {
    let backoff = Backoff::new();
    for look in 1..=LOOKS {
        backoff.snooze();
        let read = match tally.look(key, want) {
            Look::Hit(value) => Some(value),
            Look::Miss => None,
            Look::Changing => continue,
        };
        tally.count(MemberCount::ReadRetries, look.into());
        return read;
    }
    tally.count(MemberCount::ReadRetries, LOOKS.into());
    match read_locked(opened, key, tally, want) {
        Some(Look::Hit(value)) => Some(value),
        Some(Look::Miss) => None,
        Some(Look::Changing) | None => {
            tally.count(MemberCount::BoundedMisses, 1);
            None
        }
    }
}

/// Reads with the stripe's lock held, after whatever its holder before left undone. `None`: it was not to be had.
fn read_locked<T: Take>(opened: &Opened, key: &Key<'_>, tally: &Tally<'_>, want: &mut T) -> Option<Look<T::Out>> {
    let held = lock_for_read(opened, opened.store.stripe_of(key))?;
    held.settle(opened.store.bucket_of(key));
    Some(tally.look(key, want))
}

/// A stripe's lock, if it is to be had in a short time. With strategy `none` it never is: the one writer may be alive.
pub(super) fn lock_for_read(opened: &Opened, stripe: u32) -> Option<Exclusive<'_, Mapping>> {
    let joined = opened.joined().filter(|joined| joined.member.locks.exclude())?;
    let lock = opened.lock(joined, stripe, READ_WAIT).ok()?;
    opened.enter(joined, stripe, lock).ok()
}

/// Reads where more is asked for than a version: a reader's lock, or checksums.
fn read_carefully<T: Take>(opened: &Opened, key: &Key<'_>, tally: &Tally<'_>, mut want: T) -> Option<T::Out> {
    let distrust = opened.store.distrust(opened.store.stripe_of(key));
    if distrust == Distrust::Discard || (opened.is_foreign() && !opened.settings.verify_reads) {
        return None;
    }
    let Ok(shared) = lock_shared(opened) else {
        tally.count(MemberCount::BoundedMisses, 1);
        return None;
    };
    if opened.settings.verify_reads || distrust == Distrust::Verify {
        let mut sound = Sound { key, want };
        let looked = tally.look(key, &mut sound);
        drop(shared);
        return go_on(looked, opened, key, tally, &mut sound).flatten();
    }
    let looked = tally.look(key, &mut want);
    drop(shared);
    go_on(looked, opened, key, tally, &mut want)
}

/// The lock of a reader, where reads take one. It is given back before the slow way, which takes the writer's.
fn lock_shared(opened: &Opened) -> Result<Option<RegionGuard<'_>>, LockError> {
    match opened.joined() {
        Some(joined) => joined.member.locks.lock_shared(0, opened.settings.lock_wait),
        None => Ok(None),
    }
}

/// What a first look gave, or what further ones give.
#[inline(always)]
fn go_on<T: Take>(
    looked: Look<T::Out>,
    opened: &Opened,
    key: &Key<'_>,
    tally: &Tally<'_>,
    want: &mut T,
) -> Option<T::Out> {
    match looked {
        Look::Hit(value) => Some(value),
        Look::Miss => None,
        Look::Changing => read_again(opened, key, tally, want),
    }
}

/// One thread's reads of a file, and where they are counted: nowhere without a membership.
struct Tally<'a> {
    opened: &'a Opened,
    line: Option<(u64, bool)>,
}

impl<'a> Tally<'a> {
    #[inline(always)]
    fn of(opened: &'a Opened, joined: &Joined) -> Self {
        let line = if joined.member.counts_alone { line_of_thread() } else { OWN_LINES };
        let line_at = joined.lines_at + (line * COUNTERS * 8) as u64;
        Self { opened, line: Some((line_at, line == OWN_LINES)) }
    }

    /// One look.
    #[inline(always)]
    fn look<T: Take>(&self, key: &Key<'_>, want: &mut T) -> Look<T::Out> {
        let opened = self.opened;
        opened.store.look(key, || opened.settings.time.now_ms(), want, self.line.is_some())
    }

    /// Counts a read as a hit or a miss.
    #[inline(always)]
    fn counted<T>(&self, read: Option<T>) -> Option<T> {
        self.count(if read.is_some() { MemberCount::Hits } else { MemberCount::Misses }, 1);
        read
    }

    #[inline(always)]
    fn count(&self, what: MemberCount, by: u64) {
        if let Some((line_at, is_shared)) = self.line {
            self.opened.store.count(line_at, is_shared, what, by);
        }
    }
}

/// Counts on this thread's line, outside the read path.
pub(super) fn count(opened: &Opened, what: MemberCount) {
    if let Some(joined) = opened.joined() {
        Tally::of(opened, joined).count(what, 1);
    }
}
