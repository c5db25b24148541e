//! The read path: hash, look, copy, check. No lock, no system call.

use super::cache::Cache;
use super::write::Stamp;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::Memory;
use crate::store::exclusive::Exclusive;
use crate::store::read::{Found, Look};
use crate::store::tally::MemberCount;
use crate::store::{Distrust, record::MAX_KEY};
use crate::sync::member::line_of_thread;
use crate::upkeep::Opened;
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
        self.read(key.as_ref(), |opened, found| append(opened, found, Vec::new()))
    }

    /// The value of a key with its flags, stamp and expiry.
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.read(key.as_ref(), |opened, found| {
            let value = append(opened, found, Vec::new())?;
            let expires = found.head.expires_ms();
            Some(Item {
                value,
                flags: opened.store.extension(found.at, found.head).caller_flags(),
                stamp: Stamp(found.head.stamp),
                expires: (expires != 0).then(|| UNIX_EPOCH + Duration::from_millis(expires)),
            })
        })
    }

    /// Copies the value of a key to the start of `buf` and returns its length; `None` is a miss.
    ///
    /// # Errors
    /// [`BufferTooSmall`](Error::BufferTooSmall), which names the length; nothing is copied then.
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        let given = buf.len();
        let read = self.read(key.as_ref(), |opened, found| {
            let needed = found.value_len;
            match buf.get_mut(..needed) {
                Some(room) => opened.store.mem.copy_out(found.value_at(), room),
                // The length is checked like a value: it may have been read in the middle of a change.
                None => return Some(Err(Error::BufferTooSmall { needed, given })),
            }
            Some(Ok(needed))
        });
        read.transpose()
    }

    /// Whether a `get` of this key would hit. The key's access mark is raised as by a `get`.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.read(key.as_ref(), |_, _| Some(())).is_some()
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
        let store = &self.opened().store;
        let mut hashed = [None; BATCH];
        for (key, hashed) in batch.iter().zip(&mut hashed) {
            let key = store.key(key.as_ref());
            store.mem.prefetch(store.bucket_of(&key));
            *hashed = Some(key);
        }
        hashed.iter().flatten().for_each(|key| store.prefetch_record(key));
    }

    /// Finds a key's record and lets `take` copy out of it, until that was done between two changes.
    #[inline]
    fn read<T>(&self, key: &[u8], mut take: impl FnMut(&Opened, &Found) -> Option<T>) -> Option<T> {
        if key.len() > MAX_KEY {
            return None;
        }
        let opened = self.current().ok()?;
        let key = opened.store.key(key);
        let tally = Tally::of(opened);
        let stripe = opened.store.stripe_of(&key);
        if tally.reads_are_locked || opened.settings.verify_reads || opened.store.distrust(stripe) != Distrust::None {
            return tally.counted(read_carefully(opened, &key, &tally, &mut take));
        }
        if opened.is_foreign() {
            return None;
        }
        match opened.store.look(&key, || opened.settings.time.now_ms()) {
            Look::Found(found) => {
                if let Some(value) = take(opened, &found).filter(|_| opened.store.still(&found)) {
                    if tally.is_member {
                        opened.store.mark(&found);
                    }
                    return tally.counted(Some(value));
                }
            }
            Look::Miss => return tally.counted(None),
            Look::Changing => {}
        }
        tally.counted(read_again(opened, &key, &tally, &mut take))
    }
}

/// The value of a found record, if it still is that: lengths are checked before memory is asked for.
#[inline]
fn append(opened: &Opened, found: &Found, mut value: Vec<u8>) -> Option<Vec<u8>> {
    if !opened.store.still(found) {
        return None;
    }
    opened.store.mem.append_out(found.value_at(), found.value_len, &mut value);
    Some(value)
}

/// One attempt to read: a value, a miss, or a change in between.
fn attempt<T>(
    opened: &Opened,
    key: &Key<'_>,
    take: &mut impl FnMut(&Opened, &Found) -> Option<T>,
    member: bool,
) -> Option<Option<T>> {
    let store = &opened.store;
    match store.look(key, || opened.settings.time.now_ms()) {
        Look::Miss => Some(None),
        Look::Changing => None,
        Look::Found(found) => {
            let value = take(opened, &found)?;
            if !store.still(&found) {
                return None;
            }
            if member {
                store.mark(&found);
            }
            Some(Some(value))
        }
    }
}

/// After a change came in between: some more looks, then the stripe's lock for a short time, then a miss.
#[cold]
fn read_again<T>(
    opened: &Opened,
    key: &Key<'_>,
    tally: &Tally<'_>,
    take: &mut impl FnMut(&Opened, &Found) -> Option<T>,
) -> Option<T> {
    let backoff = Backoff::new();
    for look in 1..=LOOKS {
        backoff.snooze();
        if let Some(read) = attempt(opened, key, take, tally.is_member) {
            tally.count(MemberCount::ReadRetries, look.into());
            return read;
        }
    }
    tally.count(MemberCount::ReadRetries, LOOKS.into());
    let read = read_locked(opened, key, take);
    if read.is_none() {
        tally.count(MemberCount::BoundedMisses, 1);
    }
    read.flatten()
}

/// Reads with the stripe's lock held, after whatever its holder before left undone. `None`: not even so.
fn read_locked<T>(
    opened: &Opened,
    key: &Key<'_>,
    take: &mut impl FnMut(&Opened, &Found) -> Option<T>,
) -> Option<Option<T>> {
    let joined = opened.joined().filter(|joined| joined.member.locks.exclude())?;
    let stripe = opened.store.stripe_of(key);
    let region = stripe & (opened.geometry().shape.lock_regions - 1);
    let lock = joined.member.locks.lock(region, READ_WAIT).ok()?;
    let now_ms = opened.settings.time.now_ms();
    let held = Exclusive::enter(&opened.store, stripe, now_ms, joined.who, lock).ok()?;
    held.settle_bucket(key);
    attempt(opened, key, take, true)
}

/// Reads where more is asked for than a version: a reader's lock, or checksums.
#[cold]
fn read_carefully<T>(
    opened: &Opened,
    key: &Key<'_>,
    tally: &Tally<'_>,
    take: &mut impl FnMut(&Opened, &Found) -> Option<T>,
) -> Option<T> {
    let distrust = opened.store.distrust(opened.store.stripe_of(key));
    if distrust == Distrust::Discard || (opened.is_foreign() && !opened.settings.verify_reads) {
        return None;
    }
    let _shared = match opened.joined() {
        Some(joined) => joined.member.locks.lock_shared(0, opened.settings.lock_wait).ok()?,
        None => None,
    };
    let verify = opened.settings.verify_reads || distrust == Distrust::Verify;
    let mut sound = |opened: &Opened, found: &Found| {
        if verify && !passes(opened, key, found)? {
            return Some(None);
        }
        take(opened, found).map(Some)
    };
    if let Some(read) = attempt(opened, key, &mut sound, tally.is_member) {
        return read.flatten();
    }
    drop(_shared);
    read_again(opened, key, tally, &mut sound).flatten()
}

/// Whether a found record passes its checksum; `None` when it changed meanwhile.
fn passes(opened: &Opened, key: &Key<'_>, found: &Found) -> Option<bool> {
    let value = append(opened, found, Vec::new())?;
    let passes = opened.store.passes(key, &value, found);
    opened.store.still(found).then_some(passes)
}

/// Where this thread counts its reads of a file; nowhere when the handle is read-only.
struct Tally<'a> {
    opened: &'a Opened,
    line_at: u64,
    shared: bool,
    is_member: bool,
    reads_are_locked: bool,
}

impl<'a> Tally<'a> {
    #[inline]
    fn of(opened: &'a Opened) -> Self {
        // A forked child joins at its first use; if it cannot, it reads all the same, uncounted.
        let Some(joined) = opened.joined_for_read() else {
            return Self { opened, line_at: 0, shared: true, is_member: false, reads_are_locked: false };
        };
        let line = if joined.member.counts_alone { line_of_thread() } else { usize::MAX };
        Self {
            opened,
            line_at: opened.store.line_at(joined.member.seat, line),
            shared: line >= crate::shm::layout::OWN_LINES,
            is_member: true,
            reads_are_locked: joined.member.locks.reads_are_locked(),
        }
    }

    #[inline]
    fn count(&self, what: MemberCount, by: u64) {
        if self.is_member {
            self.opened.store.count(self.line_at, self.shared, what, by);
        }
    }

    #[inline]
    fn counted<T>(&self, read: Option<T>) -> Option<T> {
        self.count(if read.is_some() { MemberCount::Hits } else { MemberCount::Misses }, 1);
        read
    }
}

impl Opened {
    /// Counts on this thread's line, outside the read path.
    pub(super) fn count(&self, what: MemberCount) {
        Tally::of(self).count(what, 1);
    }
}
