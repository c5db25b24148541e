//! Reads: from the near tier while it is proved, else from the far tier.
//!
//! The order of steps:
//!
//! 1. Read the proof.
//! 2. Check by the clock that the proof is not too old.
//! 3. Copy the near value, from the same file, and return it.
//! 4. If nothing is proved: *bypass*, which fetches, deletes the near key, and returns.
//! 5. If it is proved and the value is missing: claim the key.
//! 6. If another caller's fill came: return its value if the proof from before is not too old by now.
//! 7. If the caller got the claim: read the proof again, note the time, fetch, and store under the claim, until the
//!    time at which the far value ends.
//!
//! Every value that is returned is a trusted hit, or was stored under a claim, or its near key was deleted before. So a
//! fill that fetched an older value, and is slow to store it, stores nothing.
//!
//! Without a proof a read may be *brief*, if the options say so, or there is no tracking at all. Then it takes the same
//! steps in a namespace whose values end T after they were asked for, so it needs no proof. A value in one namespace
//! must not be older than one that was returned from the other. So a fill removes the key from the other namespace
//! before it stores, and deletions apply to both.

use crate::error::Result;
use crate::far::{Far, Got, Inner};
use crate::fault::{Rule, copied, keeps};
use crate::near::{self as kept, Basis, Claim, Claims, Trust};
use crate::stats::Count;
use crate::store::{Answer, TimeToLive};
use kennel::{Cache, Created, Expiry, Lookup, Stored, Wait};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often a read tries: it begins again if its proof grew too old while it waited.
const ATTEMPTS: usize = 3;

/// A key of a batch and its value.
pub(crate) type Found<'k> = (&'k [u8], Option<Vec<u8>>);

/// What the near tier said about a key.
pub(crate) enum Near {
    Value(Vec<u8>),
    Absent,
    /// The caller fills it.
    Fill(Claim),
    /// The far tier must be asked, and nothing may be stored.
    Bypass,
}

impl Far {
    /// The value of a key.
    ///
    /// # Errors
    /// Those of the server, if it had to be asked.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.0.get(key.as_ref())
    }

    /// Copies the value of a key to the start of `buf` and returns its length; `None` if the key has no value. A value that
    /// the near tier has costs no allocation.
    ///
    /// # Errors
    /// Those of [`get`](Far::get); [`Error::Near`](crate::Error::Near) with
    /// [`BufferTooSmall`](kennel::Error::BufferTooSmall), which contains the length: then nothing is copied.
    #[inline]
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut [u8]) -> Result<Option<usize>> {
        self.0.get_into(key.as_ref(), buf)
    }

    /// The value of a key, from the server: as new as the far tier is.
    ///
    /// # Errors
    /// Those of the server.
    pub fn get_fresh(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.0.bypass(key.as_ref())
    }

    /// The values of many keys, in their order. Keys that the near tier does not have are fetched together.
    ///
    /// # Errors
    /// Those of the server. An error that concerns one key, such as that its value is not a string, or that its master
    /// in a cluster does not answer, is the error of the whole call; the values that were fetched for other keys are
    /// stored near all the same.
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.0.get_multi(&keys)
    }
}

/// A look for a key in the near tier, in steps. Between the steps the caller claims the key, as a thread or as a task.
pub(crate) struct Look<'a> {
    inner: &'a Inner,
    key: &'a [u8],
    needs_value: bool,
    deadline: Instant,
    attempts: usize,
    /// What the last attempt trusts, and the file of which this holds.
    trust: Trust,
    lineage: Option<u64>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(inner: &'a Inner, key: &'a [u8], needs_value: bool, wait: Duration) -> Self {
        let deadline = Instant::now() + wait;
        Self { inner, key, needs_value, deadline, attempts: 0, trust: Trust::Brief, lineage: None }
    }

    /// Begins an attempt. Returns where and how to claim the key. `None`: the far tier must be asked.
    pub(crate) fn attempt(&mut self) -> Option<(&'a Arc<kept::Near>, Wait, Claims)> {
        let inner = self.inner;
        if !inner.settings.covers(self.key) {
            inner.counters.outside.add(1);
            return None;
        }
        if self.attempts == ATTEMPTS {
            return None;
        }
        self.attempts += 1;
        self.lineage = inner.near.lineage();
        let Some((near, trust)) = inner.trusted(self.key) else {
            inner.counters.untrusted.add(1);
            // The trackers may have moved on to another file.
            inner.near.cache().notice_removal();
            return None;
        };
        if inner.marks.has(self.key, near.clock.now()) {
            return None;
        }
        self.trust = trust;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = if left.is_zero() { Wait::No } else { Wait::For(left) };
        Some((near, wait, inner.claims(trust.basis(), self.needs_value)))
    }

    /// What a claim found. `None`: the caller begins again, because the proof grew too old during the wait, or the file
    /// was replaced.
    pub(crate) fn found(&self, near: &Arc<kept::Near>, lookup: kennel::Result<Lookup>) -> Option<Near> {
        let basis = self.trust.basis();
        let found = match lookup {
            Ok(Lookup::Hit(item)) => Near::Value(item.value),
            Ok(Lookup::Absent) => Near::Absent,
            Ok(Lookup::Create(claim)) if claim.is_protected() => {
                return Some(Near::Fill(Claim::new(near, basis, claim)));
            }
            // The claim is unprotected, the wait is over, or the near tier failed.
            Ok(_) | Err(_) => return Some(Near::Bypass),
        };
        // The proof says nothing about a value of another file.
        if !near.vouches(self.trust) || near.lineage() != self.lineage {
            return None;
        }
        let of = &self.inner.counters;
        let hits = if matches!(found, Near::Absent) { &of.absent_hits } else { &of.hits };
        self.inner.count_hits(hits, basis, 1);
        Some(found)
    }
}

impl Inner {
    #[inline]
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.near_value(key) {
            Some(value) => Ok(Some(value)),
            None => self.get_slow(key),
        }
    }

    /// The value that the near tier has of a key, if it may be returned.
    #[inline]
    pub(crate) fn near_value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.near_hit(key, |near, values| values.get_vouched(key, |words| near.vouch(words)))
    }

    #[inline]
    fn get_into(&self, key: &[u8], buf: &mut [u8]) -> Result<Option<usize>> {
        let read = |near: &kept::Near, values: &Cache| {
            values.get_into_vouched(key, buf, |words| near.vouch(words)).transpose()
        };
        match self.near_hit(key, read) {
            Some(len) => Ok(Some(len?)),
            None => self.get_into_slow(key, buf),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_into_slow(&self, key: &[u8], buf: &mut [u8]) -> Result<Option<usize>> {
        let Some(value) = self.get_slow(key)? else { return Ok(None) };
        let given = buf.len();
        let room = buf.get_mut(..value.len());
        room.ok_or(kennel::Error::BufferTooSmall { needed: value.len(), given })?.copy_from_slice(&value);
        Ok(Some(value.len()))
    }

    /// What `read` copies from the near tier, if it [may be returned](kept::Near::vouch).
    #[inline(always)]
    pub(crate) fn near_hit<V>(&self, key: &[u8], read: impl FnOnce(&kept::Near, &Cache) -> Option<V>) -> Option<V> {
        let near = self.near_of(key)?;
        let basis = near.basis();
        let value = read(near, near.of(basis))?;
        copied();
        if !keeps(Rule::ProofBeforeValue) && !near.hope().is_some_and(|hope| near.vouches(hope)) {
            return None;
        }
        self.count_hits(&self.counters.hits, basis, 1);
        Some(value)
    }

    fn count_hits(&self, hits: &Count, basis: Basis, n: u64) {
        hits.add(n);
        if basis == Basis::Brief {
            self.counters.brief_hits.add(n);
        }
    }

    /// The near tier to use for a key now, and which values the caller may trust. For brief values, the key's master
    /// need not be known.
    fn trusted(&self, key: &[u8]) -> Option<(&Arc<kept::Near>, Trust)> {
        let near = self.near_of(key).unwrap_or(&self.near);
        Some((near, near.trust()?))
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.look(key, false, self.fetch_wait()) {
            Near::Value(value) => Ok(Some(value)),
            Near::Absent => Ok(None),
            Near::Fill(claim) => self.fill(key, claim),
            Near::Bypass => self.bypass(key),
        }
    }

    /// Looks for a key in the near tier, waits for another caller's fill, or takes the claim.
    pub(crate) fn look(&self, key: &[u8], needs_value: bool, wait: Duration) -> Near {
        let mut look = Look::new(self, key, needs_value, wait);
        while let Some((near, wait, claims)) = look.attempt() {
            let lookup = near.claim(key, wait, &claims);
            if let Some(found) = look.found(near, lookup) {
                return found;
            }
        }
        Near::Bypass
    }

    fn claims(&self, basis: Basis, needs_value: bool) -> Claims {
        let settings = &self.settings;
        let absence_ttl = match basis {
            Basis::Proved => settings.absence_ttl,
            Basis::Brief => settings.absence_ttl.min(settings.max_staleness),
        };
        Claims { basis, max_age: settings.claim_age.max(self.fetch_time() * 10), absence_ttl, needs_value }
    }

    /// How long to wait for another caller's fetch: the callers that wait must not all ask a slow far tier.
    pub(crate) fn fetch_wait(&self) -> Duration {
        self.settings.fetch_wait.max(self.fetch_time() * 4)
    }

    /// Fetches a key under a claim, and stores what was found.
    pub(crate) fn fill(&self, key: &[u8], claim: Claim) -> Result<Option<Vec<u8>>> {
        let Some(began) = Fill::begin(&claim) else {
            drop(claim);
            return self.bypass(key);
        };
        let got = self.fetch_one(key)?;
        self.keep(key, got, claim, &began)
    }

    /// Stores an answer under a claim if it may be stored; if it is not, the near key is deleted.
    pub(crate) fn keep(&self, key: &[u8], got: Got, claim: Claim, began: &Fill) -> Result<Option<Vec<u8>>> {
        let is_proved = began.is_of(got.identity);
        let (value, expiry) = match got.answer {
            Answer::Refused(error) => {
                self.marks.mark(key, self.near.clock.now());
                self.shield(key, None);
                return Err(error);
            }
            Answer::Absent => (None, Some(Expiry::Never)),
            Answer::Value(value, ttl) => (Some(value), began.expiry(self, ttl)),
        };
        let is_small = value.as_ref().is_none_or(|value| value.len() <= self.settings.near_max_value);
        let may_store = is_proved && is_small && expiry.is_some();
        if may_store && keeps(Rule::BypassesDelete) {
            self.nears.end_others(key, value.as_deref(), Some(claim.basis));
        }
        let stored = match (&value, expiry) {
            _ if !may_store => None,
            (_, None) => None,
            (Some(value), Some(expiry)) if !keeps(Rule::FillsClaim) => {
                claim.near.store_unclaimed(key, value, expiry);
                return Ok(Some(value.clone()));
            }
            (Some(value), Some(expiry)) => Some(claim.store_with(&Created::new(value.clone()).expiry(expiry))),
            (None, Some(_)) => Some(claim.store_absence()),
        };
        match stored {
            Some(Ok(Stored::Yes(_))) => {
                self.counters.fills.add(1);
                return Ok(value);
            }
            Some(Ok(_)) => self.count_voided(key),
            Some(Err(kennel::Error::TooLarge { .. })) => self.mark_too_large(key),
            Some(Err(_)) => {}
            None if !is_small => self.mark_too_large(key),
            None => {}
        }
        self.shield(key, value.as_deref());
        Ok(value)
    }

    /// Counts a fetched value that was out of date before it was stored. If this happens too often to a key, the key is
    /// left out for a second.
    fn count_voided(&self, key: &[u8]) {
        self.counters.voided.add(1);
        let now = self.near.clock.now();
        if self.changes.count(key, now) > self.settings.hot_keys {
            self.counters.hot_keys.add(1);
            self.marks.mark(key, now);
        }
    }

    fn mark_too_large(&self, key: &[u8]) {
        self.counters.too_large.add(1);
        self.marks.mark(key, self.near.clock.now());
    }

    /// Asks the far tier and stores nothing.
    pub(crate) fn bypass(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.counters.bypasses.add(1);
        self.pass_on(key, self.fetch_one(key)?.answer)
    }

    /// Makes it safe to return a fetched answer that was not stored.
    pub(crate) fn pass_on(&self, key: &[u8], answer: Answer) -> Result<Option<Vec<u8>>> {
        let value = match answer {
            Answer::Value(value, _) => Some(value),
            Answer::Absent => None,
            Answer::Refused(error) => {
                self.shield(key, None);
                return Err(error);
            }
        };
        self.shield(key, value.as_deref());
        Ok(value)
    }

    /// To be called before a value is returned that is not in the near tier: removes what the near tier has for the
    /// key, and voids all fills of it that have begun.
    fn shield(&self, key: &[u8], value: Option<&[u8]>) {
        if self.settings.covers(key) && keeps(Rule::BypassesDelete) {
            self.nears.end_others(key, value, None);
        }
    }

    fn get_multi(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut batch = self.near_batch(keys);
        for (key, value) in self.fetch_missing(batch.missing())? {
            batch.give(key, value.as_ref());
        }
        Ok(batch.values)
    }

    /// The values of many keys that the near tier has.
    pub(crate) fn near_batch<'k>(&self, keys: &[&'k [u8]]) -> Batch<'k> {
        let values = self.near_values(keys);
        let mut missing: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (i, _) in values.iter().enumerate().filter(|(_, value)| value.is_none()) {
            missing.entry(keys[i]).or_default().push(i);
        }
        Batch { values, missing }
    }

    /// The near values of many keys that may be returned.
    fn near_values(&self, keys: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut values = vec![None; keys.len()];
        for (near, at) in self.nears.sorted(keys) {
            let lineage = near.lineage();
            let Some(hope) = near.hope() else { continue };
            let cache = near.of(hope.basis());
            let found = match at.len() == keys.len() {
                true => cache.get_multi(keys),
                false => cache.get_multi(&at.iter().map(|i| keys[*i]).collect::<Vec<_>>()),
            };
            if near.vouches(hope) && near.lineage() == lineage {
                self.count_hits(&self.counters.hits, hope.basis(), found.iter().flatten().count() as u64);
                at.into_iter().zip(found).for_each(|(i, value)| values[i] = value);
            }
        }
        values
    }

    /// Fills the keys whose claims are free without waiting for others, and then waits for the rest. A caller that waits
    /// holds no claim for which another might wait.
    fn fetch_missing<'k>(&self, missing: Vec<&'k [u8]>) -> Result<Vec<Found<'k>>> {
        let mut done = Vec::with_capacity(missing.len());
        let (mut fills, mut bypasses, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        for key in missing {
            match self.look(key, false, Duration::ZERO) {
                Near::Value(value) => done.push((key, Some(value))),
                Near::Absent => done.push((key, None)),
                Near::Fill(claim) => fills.push((key, claim)),
                Near::Bypass if self.is_being_filled(key) => waits.push(key),
                Near::Bypass => bypasses.push(key),
            }
        }
        self.fill_many(fills, &mut done)?;
        let deadline = Instant::now() + self.fetch_wait();
        for key in waits {
            match self.look(key, false, deadline.saturating_duration_since(Instant::now())) {
                Near::Value(value) => done.push((key, Some(value))),
                Near::Absent => done.push((key, None)),
                Near::Fill(claim) => done.push((key, self.fill(key, claim)?)),
                Near::Bypass => bypasses.push(key),
            }
        }
        self.bypass_many(&bypasses, &mut done)?;
        Ok(done)
    }

    /// Whether it is worth waiting for a key: another caller has its claim, and the value which that caller stores can
    /// be used.
    pub(crate) fn is_being_filled(&self, key: &[u8]) -> bool {
        let is_claimed = |(near, trust): (&Arc<kept::Near>, Trust)| near.of(trust.basis()).is_claimed(key);
        self.settings.covers(key) && self.trusted(key).is_some_and(is_claimed)
    }

    pub(crate) fn fill_many<'k>(&self, fills: Vec<(&'k [u8], Claim)>, done: &mut Vec<Found<'k>>) -> Result<()> {
        if fills.is_empty() {
            return Ok(());
        }
        let (mut keys, mut begun, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for (key, claim) in fills {
            match Fill::begin(&claim) {
                Some(began) => {
                    keys.push(key);
                    begun.push((claim, began));
                }
                None => late.push(key),
            }
        }
        self.bypass_many(&late, done)?;
        let mut failed = None;
        for ((key, (claim, began)), got) in keys.iter().copied().zip(begun).zip(self.fetch(&keys)?) {
            match got.and_then(|got| self.keep(key, got, claim, &began)) {
                Ok(value) => done.push((key, value)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    pub(crate) fn bypass_many<'k>(&self, keys: &[&'k [u8]], done: &mut Vec<Found<'k>>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.counters.bypasses.add(keys.len() as u64);
        for (key, got) in keys.iter().zip(self.fetch(keys)?) {
            done.push((*key, self.pass_on(key, got?.answer)?));
        }
        Ok(())
    }
}

/// The values of a batch, in the order of its keys, and where the missing ones belong.
pub(crate) struct Batch<'k> {
    pub values: Vec<Option<Vec<u8>>>,
    missing: BTreeMap<&'k [u8], Vec<usize>>,
}

impl<'k> Batch<'k> {
    /// The missing keys, each once.
    pub(crate) fn missing(&self) -> Vec<&'k [u8]> {
        self.missing.keys().copied().collect()
    }

    pub(crate) fn give(&mut self, key: &[u8], value: Option<&Vec<u8>>) {
        for &i in self.missing.get(key).into_iter().flatten() {
            self.values[i] = value.cloned();
        }
    }
}

/// A fill that has begun: what is fetched after this moment may be stored.
pub(crate) struct Fill {
    near: Arc<kept::Near>,
    /// The generation that is proved; `None` for a brief value.
    generation: Option<u64>,
    /// Wall time before the far tier was asked.
    began: SystemTime,
}

impl Fill {
    /// Call this with the claim in hand, so that the generation is read after the claim was taken: each invalidation
    /// then either came before, or voids the claim. `None`: nothing is proved any more.
    pub(crate) fn begin(claim: &Claim) -> Option<Self> {
        let near = &claim.near;
        let generation = match claim.basis {
            Basis::Brief => None,
            Basis::Proved => match near.hope().filter(|hope| near.vouches(*hope))? {
                Trust::Proved(proof) => Some(proof.generation()),
                Trust::Brief => return None,
            },
        };
        Some(Self { near: Arc::clone(near), generation, began: SystemTime::now() })
    }

    /// Whether the answer came from the run that the generation at the start is about, and that generation is still the
    /// current one. A brief value may come from any run.
    fn is_of(&self, identity: u64) -> bool {
        let Some(generation) = self.generation.filter(|_| keeps(Rule::FillsCheckRun)) else { return true };
        self.near.generation_of(identity) == Some(generation)
    }

    /// When the near value ends; `None`: at once.
    fn expiry(&self, inner: &Inner, ttl: TimeToLive) -> Option<Expiry> {
        let settings = &inner.settings;
        let left = match ttl {
            TimeToLive::Over | TimeToLive::Millis(0) => return None,
            _ if !keeps(Rule::FillsExpire) => settings.near_ttl,
            TimeToLive::Millis(millis) => Duration::from_millis(millis),
            TimeToLive::Unlimited => less_up_to_a_tenth(settings.near_ttl),
        };
        let is_brief = self.generation.is_none() && keeps(Rule::BriefEnds);
        let left = if is_brief { left.min(settings.max_staleness) } else { left };
        // A time to live beyond the clock's range means that the value does not expire.
        Some(self.began.checked_add(left).map_or(Expiry::Never, Expiry::At))
    }
}

/// Makes values that were stored together end at different times.
fn less_up_to_a_tenth(time: Duration) -> Duration {
    let part = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    time.mul_f64(1.0 - part / 10.0)
}
