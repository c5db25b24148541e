//! The near tier: a namespace of a Kennel file, and the words that say whether its values may be used.

use crate::clock::HostClock;
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::proof::{BEAT, BRIEF_SETTINGS, LAST_GENERATION, NAME, PROOF, REST, SETTINGS, Scope, Stamped};
use crate::stats::Counters;
use kennel::{Cache, CreateOptions, Created, Expiry, Invalidation, Lookup, NamespaceOptions, Stored, Wait};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How long a deletion waits for a stripe's lock. A process that holds the lock for longer is stopped, or nearly so.
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// Why a near value may be returned. This decides the namespace in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Invalidations end it, and they are proved to arrive.
    Proved,
    /// It ends T after it was asked for.
    Brief,
}

/// What allows a near value to be returned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust {
    /// This proof, which is about this process's server, while it is not older than T.
    Proved(Stamped),
    /// The value ends T after it was asked for.
    Brief,
}

impl Trust {
    #[inline]
    pub(crate) fn basis(self) -> Basis {
        match self {
            Trust::Proved(_) => Basis::Proved,
            Trust::Brief => Basis::Brief,
        }
    }
}

/// A namespace with copies of one master's values.
pub(crate) struct Near {
    /// The namespace with the words. Its values are proved; without tracking they are brief.
    cache: Cache,
    /// The namespace of brief values, beside that of proved ones. All masters share it.
    brief: Option<Cache>,
    pub clock: HostClock,
    /// The identity of the server that this process last reached for its keys; 0 before that.
    pub identity: AtomicU64,
    /// Host time at which connections to it were last renewed because the proof was about another server.
    pub renewed: AtomicU64,
    /// Host time at which this process's keeper last began a generation.
    pub began: AtomicU64,
    max_staleness_us: u64,
    is_tracked: bool,
    /// A hash of the settings on which all processes of the host must agree.
    settings: u64,
    counters: Arc<Counters>,
}

/// The right to fill a key of a near tier.
pub(crate) struct Claim {
    pub near: Arc<Near>,
    pub basis: Basis,
    claim: kennel::Claim,
}

impl Near {
    pub(crate) fn open(
        path: &Path,
        options: &kennel::Options,
        scope: &Scope<'_>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let file = options.open_or_create(path)?.with_lock_wait(LOCK_WAIT);
        let namespace = |name: String| file.namespace(&name, &NamespaceOptions::new());
        let near = Self {
            cache: namespace(scope.namespace())?,
            brief: scope.is_brief.then(|| namespace(scope.brief_namespace())).transpose()?,
            clock: HostClock::new(),
            identity: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            began: AtomicU64::new(0),
            max_staleness_us: scope.max_staleness_us,
            is_tracked: scope.is_tracked,
            settings: scope.settings(),
            counters,
        };
        near.agree()?;
        if scope.is_brief || !scope.is_tracked {
            near.of(Basis::Brief).raise_namespace_word(BRIEF_SETTINGS, near.settings)?;
        }
        Ok(near)
    }

    /// Another namespace of the file, whose name begins with this one's.
    pub(crate) fn namespace_beside(&self, name: impl Display) -> Result<Cache> {
        let own = self.cache.namespace_name().unwrap_or_default();
        Ok(self.cache.namespace(&format!("{own}:{name}"), &NamespaceOptions::new())?)
    }

    /// The part of this near tier for the master with this number: a namespace of its own.
    pub(crate) fn part(&self, number: usize) -> Result<Self> {
        Ok(Self {
            cache: self.namespace_beside(number)?,
            brief: self.brief.clone(),
            identity: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            began: AtomicU64::new(0),
            counters: Arc::clone(&self.counters),
            ..*self
        })
    }

    /// The numbers of the masters for which the file has parts.
    pub(crate) fn parts(&self) -> Vec<usize> {
        let own = self.cache.namespace_name().unwrap_or_default();
        let names = self.cache.namespaces().into_iter();
        names.filter_map(|name| name.strip_prefix(own)?.strip_prefix(':')?.parse().ok()).collect()
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    /// Fails if another process uses the namespace with other settings.
    pub(crate) fn agree(&self) -> Result<()> {
        let found = match self.word(SETTINGS) {
            0 => self.cache.raise_namespace_word(SETTINGS, self.settings)?,
            found => found,
        };
        // If two processes are the first at the same time, the higher hash stays, and the other process finds it here
        // or later.
        if (found == 0 || found == self.settings) && self.word(SETTINGS) == self.settings {
            return Ok(());
        }
        Err(Error::Mismatch(self.cache.path().display().to_string()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.cache.path()
    }

    /// The handle of the near tier's namespace.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A word of the namespace; 0 if the file cannot be read.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.cache.namespace_word(index).unwrap_or(0)
    }

    /// The proof, whatever identity it is about.
    #[inline]
    pub(crate) fn proof(&self) -> Stamped {
        Stamped(self.word(PROOF))
    }

    /// Distinguishes the near file from another one that takes its place. `None` while it cannot be read.
    pub(crate) fn lineage(&self) -> Option<u64> {
        self.cache.lineage()
    }

    /// Why the values that a hit copies may be returned.
    #[inline]
    pub(crate) fn basis(&self) -> Basis {
        if self.is_tracked { Basis::Proved } else { Basis::Brief }
    }

    /// The wall time in milliseconds if the value beside these words may be returned, for the check whether it has
    /// expired; else `None`. The clock is read once for both, after the proof was read.
    #[inline]
    pub(crate) fn vouch(&self, words: [u64; 2]) -> Option<u64> {
        let now = self.clock.now();
        let is_trusted = match self.is_tracked {
            true => {
                named(words, self.identity.load(Ordering::Relaxed)).is_some_and(|proof| self.is_fresh_at(proof, now))
            }
            false => self.allows_brief(words, now),
        };
        // Without the rule, the proof is read after the value was copied.
        (is_trusted || !keeps(Rule::ProofBeforeValue)).then(|| self.clock.wall_ms(now))
    }

    /// What may allow a near value to be returned. Read it before the value, and [test it](Self::vouches) afterwards.
    #[inline]
    pub(crate) fn hope(&self) -> Option<Trust> {
        match self.is_tracked {
            true => self.proof_of(self.identity.load(Ordering::Relaxed)).map(Trust::Proved),
            false => self.may_be_brief().then_some(Trust::Brief),
        }
    }

    /// Whether what was copied before this call may be returned.
    #[inline]
    pub(crate) fn vouches(&self, trust: Trust) -> bool {
        match trust {
            Trust::Proved(proof) => self.is_fresh(proof),
            Trust::Brief => true,
        }
    }

    /// Which values the caller may trust now.
    pub(crate) fn trust(&self) -> Option<Trust> {
        let hope = self.hope().filter(|trust| self.vouches(*trust));
        hope.or_else(|| (self.brief.is_some() && self.may_be_brief()).then_some(Trust::Brief))
    }

    /// The proof, if it is about this identity. Read it before the value for which it is to vouch.
    ///
    /// The name is read each time, and after the proof: the file may have been replaced, and a new one counts its
    /// generations anew.
    #[inline]
    pub(crate) fn proof_of(&self, identity: u64) -> Option<Stamped> {
        named(self.cache.namespace_words()?, identity)
    }

    /// Whether a proof still vouches for what was copied before this call.
    #[inline]
    pub(crate) fn is_fresh(&self, proof: Stamped) -> bool {
        self.is_fresh_at(proof, self.clock.now())
    }

    #[inline]
    fn is_fresh_at(&self, proof: Stamped, now: u64) -> bool {
        if !keeps(Rule::HitsNeedProof) {
            return true;
        }
        proof.low() != 0 && proof.age(now).is_some_and(|age| age <= self.max_staleness_us)
    }

    /// The age of the proof, whatever identity it is about.
    pub(crate) fn proof_age(&self) -> Option<Duration> {
        let proof = self.proof();
        if proof.low() == 0 || !self.was_proved_within(u64::MAX) {
            return None;
        }
        proof.age(self.clock.now()).map(Duration::from_micros)
    }

    /// Whether some identity was proved within this many microseconds.
    pub(crate) fn was_proved_within(&self, age_us: u64) -> bool {
        let proof = self.proof();
        let is_named = Stamped(self.word(NAME)).generation() == proof.generation();
        is_named && proof.low() != 0 && proof.age(self.clock.now()).is_some_and(|age| age <= age_us)
    }

    /// The namespace of the values of this basis.
    #[inline]
    pub(crate) fn of(&self, basis: Basis) -> &Cache {
        match (basis, &self.brief) {
            (Basis::Brief, Some(brief)) => brief,
            _ => &self.cache,
        }
    }

    fn namespaces(&self) -> impl Iterator<Item = (Basis, &Cache)> {
        let first = self.basis();
        let brief = self.brief.as_ref().map(|brief| (Basis::Brief, brief));
        std::iter::once((first, &self.cache)).chain(brief)
    }

    /// Whether brief values may be used.
    #[inline]
    pub(crate) fn may_be_brief(&self) -> bool {
        let brief = self.of(Basis::Brief);
        let Some(words) = brief.namespace_words() else { return false };
        if words[BRIEF_SETTINGS] == 0 {
            // A new file, in which no process has recorded the settings of brief values yet.
            drop(brief.raise_namespace_word(BRIEF_SETTINGS, self.settings));
            return false;
        }
        self.allows_brief(words, self.clock.now())
    }

    #[inline]
    fn allows_brief(&self, words: [u64; 2], now: u64) -> bool {
        words[BRIEF_SETTINGS] == self.settings && words[REST] <= now
    }

    /// The right to fill a key, or what is known about it.
    pub(crate) fn claim(&self, key: &[u8], wait: Wait, how: &Claims) -> kennel::Result<Lookup> {
        self.of(how.basis).claim(key, &how.options(wait))
    }

    /// [`claim`](Self::claim) for a task of tokio, which holds no thread while it waits. It waits for the stripe's lock
    /// as long as for the fetch: if a thousand tasks gave up on the lock, all of them would ask the server.
    #[cfg(feature = "tokio")]
    pub(crate) async fn claim_as(
        &self,
        task: kennel::Task,
        key: &[u8],
        wait: Wait,
        how: &Claims,
    ) -> kennel::Result<Lookup> {
        let locks = match wait {
            Wait::For(time) => time.max(LOCK_WAIT),
            _ => LOCK_WAIT,
        };
        self.of(how.basis).with_lock_wait(locks).to_async().claim(key, &how.options(wait).task(task)).await
    }

    /// Stores without a claim: only a planted fault does so.
    pub(crate) fn store_unclaimed(&self, key: &[u8], value: &[u8], expiry: Expiry) {
        drop(self.cache.set_with(key, value, &kennel::SetOptions::new().expiry(expiry)));
    }

    /// Ends the brief value of a key, and voids every fill of a brief value for it that has begun.
    pub(crate) fn delete_brief(&self, key: &[u8]) {
        if let Some(brief) = &self.brief {
            self.delete_in(Basis::Brief, brief, key);
        }
    }

    /// Removes what the near tier has for a key, and voids every fill of it that has begun. If the stripe cannot be
    /// locked, the whole namespace is invalidated, for which no stripe is locked. If that fails, all proofs are taken
    /// back, or brief values rest.
    pub(crate) fn delete(&self, key: &[u8]) {
        self.namespaces().for_each(|(basis, cache)| self.delete_in(basis, cache, key));
    }

    fn delete_in(&self, basis: Basis, cache: &Cache, key: &[u8]) {
        match cache.delete(key) {
            // A key that is too long is never stored.
            Ok(_) | Err(kennel::Error::KeyTooLong { .. }) => {}
            Err(_) => self.escalate(basis, cache),
        }
    }

    /// [`delete`](Self::delete), except where the near value is `value`, and except for values of the basis `except`. A
    /// fill that has begun is voided because it may have fetched an older value. A near value that is the same may
    /// stay: the fill that stored it has ended, and no caller begins another while the value is there.
    pub(crate) fn end_others(&self, key: &[u8], value: Option<&[u8]>, except: Option<Basis>) {
        for (basis, cache) in self.namespaces().filter(|(basis, _)| Some(*basis) != except) {
            let is_same = value.is_some_and(|value| cache.get(key).is_some_and(|near| near == value));
            if !is_same {
                self.delete_in(basis, cache, key);
            }
        }
    }

    /// [`delete`](Self::delete) of many keys.
    pub(crate) fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) {
        let is_left = |result: &kennel::Result<bool>| !matches!(result, Ok(_) | Err(kennel::Error::KeyTooLong { .. }));
        for (basis, cache) in self.namespaces() {
            if cache.delete_multi(keys).iter().any(is_left) {
                self.escalate(basis, cache);
            }
        }
    }

    fn escalate(&self, basis: Basis, cache: &Cache) {
        self.counters.escalations.add(1);
        if cache.invalidate(Invalidation::Hard).is_err() {
            match basis {
                Basis::Proved => self.revoke(),
                Basis::Brief => self.rest(),
            }
        }
    }

    /// Lets brief values rest: none is used until those that are there, and those of fills that have begun, have ended.
    fn rest(&self) {
        self.counters.revocations.add(1);
        let until = self.clock.now() + self.max_staleness_us;
        if self.of(Basis::Brief).raise_namespace_word(REST, until).is_err() {
            self.counters.unshielded.add(1);
        }
    }

    /// Invalidates all values of the namespace `cache`, and voids every fill there that has begun. `false`: all proofs
    /// were taken back instead.
    pub(crate) fn flush(&self) -> bool {
        self.counters.flushes.add(1);
        let is_flushed = self.cache.invalidate(Invalidation::Hard).is_ok();
        if !is_flushed {
            self.revoke();
        }
        is_flushed
    }

    /// Takes all proofs back: a new generation without a name. The keeper that names the next one flushes first.
    pub(crate) fn revoke(&self) {
        self.counters.revocations.add(1);
        let Some(proof) = self.cache.namespace_word(PROOF).map(Stamped) else {
            self.counters.unshielded.add(1);
            return;
        };
        if proof.generation() != Stamped(self.word(NAME)).generation() {
            return;
        }
        let next = match proof.generation() {
            // A proof of the far future proves nothing, and no proof is higher.
            LAST_GENERATION => u64::MAX,
            generation => Stamped::new(generation + 1, 0).0,
        };
        if self.cache.raise_namespace_word(PROOF, next).is_err() {
            self.counters.unshielded.add(1);
        }
    }

    /// Records that a holder of a seat is at work.
    pub(crate) fn beat(&self) {
        drop(self.cache.raise_namespace_word(BEAT, self.clock.now()));
    }

    /// Whether a holder of a seat was at work within this many microseconds.
    pub(crate) fn has_beaten_within(&self, age_us: u64) -> bool {
        self.clock.now().checked_sub(self.word(BEAT)).is_some_and(|age| age <= age_us)
    }
}

/// The proof among these words, if its generation is this identity's.
#[inline]
fn named(words: [u64; 2], identity: u64) -> Option<Stamped> {
    // The words 0 and 1, in this order.
    let [proof, name] = words.map(Stamped);
    (identity != 0 && name == Stamped::new(proof.generation(), identity)).then_some(proof)
}

/// How a key is claimed.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    pub basis: Basis,
    pub max_age: Duration,
    pub absence_ttl: Duration,
    pub needs_value: bool,
}

impl Claims {
    fn options(&self, wait: Wait) -> CreateOptions {
        let options = CreateOptions::new().wait(wait).claim_max_age(self.max_age).needs_value(self.needs_value);
        // The time counts from now, before anything is fetched.
        let absence = SystemTime::now().checked_add(self.absence_ttl).map_or(Expiry::Never, Expiry::At);
        options.absence_expiry(absence)
    }
}

impl Claim {
    pub(crate) fn new(near: &Arc<Near>, basis: Basis, claim: kennel::Claim) -> Self {
        Self { near: Arc::clone(near), basis, claim }
    }

    pub(crate) fn store_with(self, created: &Created) -> kennel::Result<Stored> {
        self.claim.store_with(created)
    }

    pub(crate) fn store_absence(self) -> kennel::Result<Stored> {
        self.claim.store_absence()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const SCOPE: Scope<'_> = Scope {
        max_staleness_us: 1_000_000,
        is_tracked: true,
        database: 0,
        prefixes: &[],
        is_cluster: false,
        is_brief: false,
    };

    pub(crate) fn near() -> (tempfile::TempDir, Near) {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let near = open(&place, &SCOPE).unwrap();
        (place, near)
    }

    fn of(near: &Near) -> u64 {
        near.lineage().unwrap()
    }

    pub(crate) fn open(place: &tempfile::TempDir, scope: &Scope<'_>) -> Result<Near> {
        let options = kennel::Options::new().capacity(1 << 20);
        Near::open(&place.path().join("near"), &options, scope, Arc::default())
    }

    #[test]
    fn proofs_of_the_future_and_of_time_zero_prove_nothing() {
        let (_place, near) = near();
        assert!(!near.is_fresh(Stamped::new(1, 0)));
        assert!(!near.is_fresh(Stamped::new(1, near.clock.now() + 1_000_000)));
        assert!(!near.is_fresh(Stamped::new(1, near.clock.now() - 1_100_000)));
        assert!(near.is_fresh(Stamped::new(1, near.clock.now() - 900_000)));
    }

    #[test]
    fn other_settings_of_the_same_prefixes_are_refused() {
        let (place, _near) = near();
        let other = Scope { database: 1, ..SCOPE };
        assert!(matches!(open(&place, &other), Err(Error::Mismatch(_))));
        let prefixes = [b"app:".to_vec()];
        open(&place, &Scope { prefixes: &prefixes, database: 1, ..SCOPE }).unwrap();
    }

    #[test]
    fn a_stripe_that_is_held_costs_everything_else_and_no_wrong_value() {
        let (_place, near) = near();
        near.store_unclaimed(b"key", b"old", Expiry::Never);
        for region in 0..near.cache.stats().lock_regions {
            let held = || near.delete(b"key");
            near.cache.while_locked(region, held).unwrap();
        }
        assert_eq!(near.of(Basis::Proved).get(b"key"), None);
        assert!(near.counters.escalations.get() >= 1);
        near.delete(&[b'k'; 70_000]);
        assert_eq!(near.counters.unshielded.get(), 0);
    }

    #[test]
    fn brief_values_rest_until_those_that_are_there_have_ended() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for scope in [Scope { is_brief: true, ..SCOPE }, Scope { is_tracked: false, prefixes: &[Vec::new()], ..SCOPE }]
        {
            let near = open(&place, &Scope { max_staleness_us: 50_000, ..scope }).unwrap();
            assert!(near.may_be_brief());
            if scope.is_tracked {
                near.begin_generation(of(&near), 7).unwrap();
            }
            near.rest();
            assert!(!near.may_be_brief() && near.counters.unshielded.get() == 0);
            assert_eq!(near.generation_of(7).is_some(), scope.is_tracked, "proved values are another matter");
            std::thread::sleep(Duration::from_millis(51));
            assert!(near.may_be_brief());
        }
    }

    #[test]
    fn a_deletion_is_of_both_namespaces_and_a_value_that_is_the_same_stays() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let near = open(&place, &Scope { is_brief: true, ..SCOPE }).unwrap();
        let found = || [Basis::Proved, Basis::Brief].map(|basis| near.of(basis).get(b"key"));
        let set = || near.namespaces().for_each(|(_, cache)| cache.set(b"key", b"v").unwrap());
        set();
        near.end_others(b"key", Some(b"v"), None);
        assert!(found().iter().all(Option::is_some));
        near.end_others(b"key", Some(b"w"), Some(Basis::Brief));
        assert_eq!(found(), [None, Some(b"v".to_vec())]);
        set();
        near.delete(b"key");
        assert_eq!(found(), [None, None]);
        set();
        near.delete_multi(&[b"key"]);
        assert_eq!(found(), [None, None]);
    }
}
