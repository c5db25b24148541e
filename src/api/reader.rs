//! One thread's reads of a file: one lookup without a lock, and the steps that follow if it does not suffice.

use super::count::{count_on, count_read_on, note_plain_read, note_read};
use super::idle::{LockedReading, Reading};
use super::namespace::Namespace;
use super::stripe_lock::{await_settled, lock_for_read};
use super::wants::{Sound, Want};
use crate::file::AttachedFile;
use crate::file::current::InUse;
use crate::hash::Key;
use crate::store::CrashState;
use crate::store::counters::MemberCount;
use crate::store::read::{BucketView, Extract, Look};
use crate::sync::calls::OwnCall;
use crate::sync::locks::{LockError, RegionGuard};
use crate::sync::threads::SeatLines;
use crossbeam::utils::Backoff;

/// How often a read looks at a bucket that is being changed before it takes the lock of the stripe.
const LOOKS: u32 = 64;

/// Whether a lookup runs the caller's code, which may use the cache and therefore must run under no lock.
fn runs_callers_code<T: Extract>(opened: &AttachedFile) -> bool {
    T::RUNS_CALLERS_CODE || opened.settings.time.is_callers()
}

/// The lock that readers take with some strategies. It is released before the slow path takes the writers' lock.
fn lock_shared(opened: &AttachedFile) -> Result<Option<RegionGuard<'_>>, LockError> {
    match opened.joined() {
        Some(joined) => joined.member.locks.lock_shared(0, opened.settings.lock_wait),
        None => Ok(None),
    }
}

/// One thread's reads of a file.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub opened: &'a AttachedFile,
    counters: ReadCounters,
}

/// Where reads are counted.
#[derive(Clone, Copy)]
enum ReadCounters {
    /// On the lines of the fast path. They are looked up only when something is counted.
    Fast,
    Of(SeatLines),
    /// This process is not a member: its reads are neither counted nor marked.
    Nowhere,
}

impl<'a> Reader<'a> {
    /// The reader of the fast path: this process is a member, and no condition of the slow path holds.
    #[inline(always)]
    pub(super) fn fast(file: &'a InUse<'_, OwnCall>) -> Option<Self> {
        Self::fast_unless(file, 0)
    }

    /// [`fast`](Self::fast), unless an observer samples reads.
    #[inline(always)]
    pub(super) fn straight(file: &'a InUse<'_, OwnCall>) -> Option<Self> {
        Self::fast_unless(file, file.store.sample_mask())
    }

    /// [`fast`](Self::fast), unless `besides` is not 0.
    #[inline(always)]
    fn fast_unless(file: &'a InUse<'_, OwnCall>, besides: u64) -> Option<Self> {
        let opened = &***file;
        opened.is_plain_to_read(besides).then_some(Self { opened, counters: ReadCounters::Fast })
    }

    /// The reader of the slow path. A forked child joins at its first use. If it cannot join, it reads without
    /// counting.
    pub(super) fn of(opened: &'a AttachedFile) -> Self {
        let joined = opened.joined_for_read();
        Self { opened, counters: joined.map_or(ReadCounters::Nowhere, |joined| ReadCounters::Of(joined.lines)) }
    }

    /// Reads from a view of the key's bucket: one lookup, and more lookups if a writer disturbs it.
    #[inline(always)]
    pub(super) fn read_at<T: Extract>(
        self,
        key: &Key<'_>,
        view: BucketView<'_>,
        namespace: Option<&Namespace>,
        want: &mut T,
    ) -> Option<T::Out> {
        let Self { opened, .. } = self;
        match opened.store.lookup_fast(key, view, Reading(opened), want, true) {
            Look::Hit(value) => {
                self.count_read(namespace, true);
                Some(value)
            }
            Look::Miss => {
                self.count_read(namespace, false);
                None
            }
            Look::Changing => match namespace {
                None => Self::counted_retry(opened, key.bytes, key.hash, want),
                Some(namespace) => Self::counted_retry_in(opened, key, namespace, want),
            },
        }
    }

    /// One look from a view of the key's bucket. It is counted only if it finds what is wanted.
    #[inline(always)]
    pub(super) fn glance_at<T>(
        self,
        key: &Key<'_>,
        view: BucketView<'_>,
        namespace: Option<&Namespace>,
        mut want: impl Extract<Out = Option<T>>,
    ) -> Option<T> {
        let opened = self.opened;
        match opened.store.lookup_fast(key, view, Reading(opened), &mut want, true) {
            Look::Hit(Some(taken)) => {
                self.count_read(namespace, true);
                Some(taken)
            }
            Look::Hit(None) | Look::Miss | Look::Changing => None,
        }
    }

    /// One lookup by a thread that holds no lock.
    #[inline(always)]
    pub(super) fn lookup<T: Extract>(self, key: &Key<'_>, want: &mut T) -> Look<T::Out> {
        self.opened.store.lookup(key, Reading(self.opened), want, self.marks())
    }

    /// One lookup under a lock, which is then released.
    fn lookup_under<T: Extract, L>(self, lock: L, key: &Key<'_>, want: &mut T) -> Look<T::Out> {
        let reading = LockedReading::new(self.opened);
        let looked = self.opened.store.lookup(key, &reading, want, self.marks());
        drop(lock);
        reading.after(key);
        looked
    }

    /// Whether lookups mark what they read, which they do if this process is a member.
    #[inline(always)]
    fn marks(self) -> bool {
        !matches!(self.counters, ReadCounters::Nowhere)
    }

    /// The result of a first lookup, or that of more lookups if a writer disturbed it.
    pub(super) fn go_on<T: Extract>(self, looked: Look<T::Out>, key: Key<'_>, want: &mut T) -> Option<T::Out> {
        match looked {
            Look::Hit(value) => Some(value),
            Look::Miss => None,
            Look::Changing => self.retry(key, want),
        }
    }

    /// [`retry`](Self::retry) for the fast path. It counts a hit or a miss. Its arguments fit in registers.
    #[cold]
    #[inline(never)]
    fn counted_retry<T: Extract>(opened: &AttachedFile, bytes: &[u8], hash: u64, want: &mut T) -> Option<T::Out> {
        let reader = Reader { opened, counters: ReadCounters::Fast };
        reader.counted(None, reader.retry(Key { bytes, hash }, want))
    }

    /// [`counted_retry`](Self::counted_retry) through a namespace.
    #[cold]
    #[inline(never)]
    fn counted_retry_in<T: Extract>(
        opened: &AttachedFile,
        key: &Key<'_>,
        namespace: &Namespace,
        want: &mut T,
    ) -> Option<T::Out> {
        let reader = Reader { opened, counters: ReadCounters::Fast };
        reader.counted(Some(namespace), reader.retry(*key, want))
    }

    /// Repeats a lookup that a writer disturbed: some more lookups without a lock, then one under the stripe's lock. If
    /// that one is disturbed, too, or the lock cannot be taken, the read is a miss.
    #[cold]
    #[inline(never)]
    fn retry<T: Extract>(self, key: Key<'_>, want: &mut T) -> Option<T::Out> {
        let backoff = Backoff::new();
        for look in 1..=LOOKS {
            backoff.snooze();
            let read = match self.lookup(&key, want) {
                Look::Hit(value) => Some(value),
                Look::Miss => None,
                Look::Changing => continue,
            };
            self.count(MemberCount::ReadRetries, look.into());
            return read;
        }
        self.count(MemberCount::ReadRetries, LOOKS.into());
        match self.locked(&key, want) {
            Some(Look::Hit(value)) => Some(value),
            Some(Look::Miss) => None,
            Some(Look::Changing) | None => {
                self.count(MemberCount::BoundedMisses, 1);
                None
            }
        }
    }

    /// Takes the stripe's lock, completes what a dead holder left unfinished, and looks up the key. A lookup that runs
    /// the caller's code follows after the lock is released. `None` if the lock could not be taken in time.
    fn locked<T: Extract>(self, key: &Key<'_>, want: &mut T) -> Option<Look<T::Out>> {
        let store = &self.opened.store;
        let stripe = store.stripe_of(key);
        let Some(guard) = lock_for_read(self.opened, stripe) else {
            return await_settled(self.opened).then(|| self.lookup(key, want));
        };
        guard.settle_bucket(store.bucket_of(key));
        // Taking the lock has already completed what a dead writer left unfinished.
        let guard = (!runs_callers_code::<T>(self.opened)).then_some(guard);
        Some(self.lookup_under(guard, key, want))
    }

    /// A read off the fast path. If needed, it takes the readers' lock and verifies the checksum.
    pub(super) fn verified<T: Want>(self, key: Key<'_>, want: &mut T) -> Option<T::Out> {
        let opened = self.opened;
        let distrust = opened.store.distrust(opened.store.stripe_of(&key));
        if distrust == CrashState::Discard || (opened.is_foreign() && !opened.settings.verify_reads) {
            return None;
        }
        let Ok(shared) = lock_shared(opened) else {
            self.count(MemberCount::BoundedMisses, 1);
            return None;
        };
        // Before a lookup that runs the caller's code, the lock is released. The version of the bucket still validates
        // the lookup.
        let shared = shared.filter(|_| !runs_callers_code::<T>(opened));
        if opened.settings.verify_reads || distrust == CrashState::Verify {
            let mut sound = Sound { key, want };
            let looked = self.lookup_under(shared, &key, &mut sound);
            return self.go_on(looked, key, &mut sound).flatten();
        }
        let looked = self.lookup_under(shared, &key, want);
        self.go_on(looked, key, want)
    }

    /// Counts a read as a hit or a miss.
    pub(super) fn counted<T>(self, namespace: Option<&Namespace>, read: Option<T>) -> Option<T> {
        self.count_read(namespace, read.is_some());
        read
    }

    /// Notes the read of a key, if an observer samples reads of keys with its hash.
    #[inline(always)]
    pub(super) fn sample(self, hash: impl FnOnce() -> u64) {
        if self.opened.store.sample_mask() != 0 {
            match self.counters {
                ReadCounters::Fast => note_plain_read(self.opened, hash()),
                ReadCounters::Of(lines) => note_read(self.opened, lines, hash()),
                ReadCounters::Nowhere => {}
            }
        }
    }

    #[inline(always)]
    pub(super) fn count_read(self, namespace: Option<&Namespace>, is_hit: bool) {
        match self.counters {
            ReadCounters::Fast => count_read_on(self.opened, self.opened.plain_lines(), namespace, is_hit),
            ReadCounters::Of(lines) => count_read_on(self.opened, lines, namespace, is_hit),
            ReadCounters::Nowhere => {}
        }
    }

    #[inline(always)]
    pub(super) fn count(self, what: MemberCount, by: u64) {
        match self.counters {
            ReadCounters::Fast => count_on(self.opened, self.opened.plain_lines(), what, by),
            ReadCounters::Of(lines) => count_on(self.opened, lines, what, by),
            ReadCounters::Nowhere => {}
        }
    }
}
