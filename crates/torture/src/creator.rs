//! Claims in a worker: it creates missing keys, and locks keys. [`tenure`](crate::tenure) states the invariants.
//!
//! Creations and locks take milliseconds, so that many of their owners are killed and stopped in the middle, while
//! others wait for them. They use keys that few other operations write; otherwise most claims would be voided.

use crate::absence::Storing;
use crate::board::{KEYS, PARTS, Word};
use crate::events::FileInUse;
use crate::history::{Before, Token, Wrong, flags_of, wall_ms};
use crate::keys::{is_counter, name, part};
use crate::parts::GaveUp;
use crate::tags;
use crate::tenure::{Creation, Purpose, Seeking, Tenure};
use crate::value::Value;
use crate::worker::{Stops, Worker};
use kennel::{Claim, CreateError, CreateOptions, Created, Error, Expiry, KeyLock, LockOptions, Lookup, Stored, Wait};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Number of keys, the last ones, that are created and locked.
const CLAIMED: usize = 128;
/// How long a creator waits for the key's token.
const TOKEN_WAIT: Duration = Duration::from_millis(20);

/// Instructions for creating a key.
struct Order {
    key: u16,
    purpose: Purpose,
    how: CreateOptions,
    /// The expiry that the value states; 0: never.
    expires_ms: u64,
    /// How long an absence of the value is remembered.
    absent_for: Duration,
    /// Whether the caller needs a value.
    needs_value: bool,
}

/// The result of a creator.
enum Made {
    Value,
    Absence,
    /// Only the creator's own caller gets the error.
    Failure,
}

impl<'a> Worker<'a> {
    /// Creates or locks a key.
    pub fn claim(&mut self) {
        let key = (KEYS - CLAIMED) as u16 + self.random.skewed(CLAIMED as u64) as u16;
        let key = if is_counter(key) { key + 1 } else { key };
        match self.random.below(10) {
            0..5 => self.create(key),
            5..7 => self.get_or_create(key),
            7 => self.get_or_create_multi(key),
            _ => self.lock(key),
        }
    }

    /// How long to wait for a claim: mostly a short time, because the next process that waits may be killed, too.
    fn wait(&mut self) -> Wait {
        match self.random.below(8) {
            0 => Wait::No,
            1 => Wait::For(Duration::from_secs(25)),
            2 => Wait::For(self.random.millis(500, 4000)),
            _ => Wait::For(self.random.millis(1, 60)),
        }
    }

    /// How long creating or locking a key takes.
    pub fn time(&mut self) -> Duration {
        if self.random.one_in(10) { self.random.millis(5, 30) } else { self.random.millis(0, 4) }
    }

    pub fn options(&mut self) -> CreateOptions {
        CreateOptions::new().wait(self.wait()).unprotected(self.random.one_in(2))
    }

    fn order(&mut self, key: u16) -> Order {
        let (absent_for, needs_value) = (self.random.millis(1, 20), self.random.one_in(3));
        let mut how = self.options().absence_expiry(Expiry::After(absent_for)).needs_value(needs_value);
        let mut expires_ms = 0;
        if !self.random.one_in(4) {
            expires_ms = wall_ms() + self.random.within(5, 80);
            how = how.expiry(Expiry::At(UNIX_EPOCH + Duration::from_millis(expires_ms)));
        }
        if self.random.one_in(4) {
            how = how.soft_expiry(Expiry::After(self.random.millis(1, 40)));
        }
        if self.random.one_in(4) {
            how = how.early_refresh(self.random.pick(&[1.0, 10.0]));
        }
        let soon = self.random.one_in(10);
        if soon {
            how = how.claim_max_age(Duration::from_millis(100));
        }
        Order {
            key,
            purpose: if soon { Purpose::CreateSoon } else { Purpose::Create },
            how,
            expires_ms,
            absent_for,
            needs_value,
        }
    }

    fn seek(&self, key: u16, purpose: Purpose) -> Seeking<'a> {
        Seeking::begin(self.board, key, self.worker, self.thread, purpose)
    }

    /// Records that a claim was acquired.
    fn given(&self, seeking: &Seeking<'a>) -> Tenure<'a> {
        let (tenure, checked) = seeking.given();
        match checked {
            Ok(Some(waited)) => self.took_over(waited),
            Ok(None) => {}
            Err(wrong) => self.wrong(wrong),
        }
        tenure
    }

    fn took_over(&self, waited: Duration) {
        let waited_ns = waited.as_nanos() as u64;
        self.board.add(Word::Takeovers, 1);
        self.board.add(Word::TakeoverNs, waited_ns);
        self.board.word(Word::LongestTakeoverNs).fetch_max(waited_ns, SeqCst);
    }

    /// Runs the call that waits for a claim; it may end at its time limit.
    fn way<T>(&self, key: u16, way: impl FnOnce(&crate::parts::Parts) -> kennel::Result<T>) -> Option<T> {
        let stops = self.stops();
        match self.measured(way, [Word::LongestClaimNs; 2]) {
            Err(Error::TimedOut { .. }) => {
                self.board.add(Word::TimedOut, 1);
                None
            }
            other => self.allowed(key, stops, other),
        }
    }

    fn create(&mut self, key: u16) {
        let order = self.order(key);
        let before = Before::sample(self.board, key);
        let seeking = self.seek(key, order.purpose);
        match self.way(key, |cache| cache.claim(key, &order.how)) {
            Some(Lookup::Hit(item) | Lookup::Stale(item)) => self.check(before.check_item(&item)),
            Some(Lookup::Create(claim)) => {
                // Anything that begins from here on is newer than the value.
                let creation = Creation::begin(self.board, key);
                let tenure = claim.is_protected().then(|| self.given(&seeking));
                claim.stale().iter().for_each(|stale| self.check(before.check_item(stale)));
                self.created(&order, claim, &creation, tenure);
            }
            Some(Lookup::Absent) if order.needs_value => {
                let (expected, found) = ("a value, or the right to create it".into(), "an absence".into());
                self.wrong(Wrong { key, expected, found });
            }
            Some(Lookup::Absent) => self.check(before.check_absence()),
            Some(other) => panic!("the torture does not know {other:?}"),
            None => {}
        }
    }

    fn created(&mut self, order: &Order, claim: Claim, creation: &Creation<'a>, tenure: Option<Tenure<'a>>) {
        self.board.add(if tenure.is_some() { Word::Created } else { Word::Unprotected }, 1);
        std::thread::sleep(self.time());
        let end = self.random.below(16);
        let token = if end < 2 { None } else { self.wait_for_token(order.key) };
        let number = token.as_ref().map(number_without_flags);
        let is_absence = end == 2;
        // An absence bears no tags.
        let hindrance = number.and_then(|number| creation.hindrance(if is_absence { 0 } else { number }));
        drop(tenure);
        let (Some(token), Some(number)) = (token, number) else {
            return if end == 0 { claim.refuse() } else { drop(claim.fail()) };
        };
        let stored = if is_absence {
            let storing = Storing::begin(self.board, &token, number, order.absent_for);
            let stored = self.write_call(order.key, |_| claim.store_absence());
            storing.returned();
            stored
        } else {
            let len = self.len();
            let value = self.created_value(order.key, order.expires_ms, number, len);
            let tags = tags::names_of(order.key, number);
            self.write_call(order.key, |_| match tags.is_empty() {
                true => claim.store(value),
                false => claim.store_with(&Created::new(value).tags(&tags)),
            })
        };
        match (stored, hindrance) {
            (Some(Stored::Yes(_)), None) => token.done_since(number, creation.events, creation.file),
            (Some(Stored::Yes(_)), Some(why)) => {
                self.wrong(Wrong { key: order.key, expected: "nothing stored".into(), found: why });
            }
            (Some(Stored::Voided), _) => self.board.add(Word::Voided, 1),
            (Some(end), _) => {
                let (expected, found) = ("a stored value".into(), format!("{end:?}"));
                self.wrong(Wrong { key: order.key, expected, found });
            }
            (None, _) => {}
        }
    }

    /// Creates a value with a function, as most callers do. The call does not report whether it got a claim, or how the
    /// claim ended.
    fn get_or_create(&mut self, key: u16) {
        let order = self.order(key);
        let before = Before::sample(self.board, key);
        let (time, len, stops) = (self.time(), self.len(), self.stops());
        let made = match self.random.below(8) {
            0 => Made::Failure,
            1 if !order.needs_value => Made::Absence,
            _ => Made::Value,
        };
        // The key's token is held until the call returns.
        let (mut created, mut storing, mut failed) = (None, None, false);
        let mut create = || {
            failed = true;
            std::thread::sleep(time);
            let token = self.wait_for_token(key).ok_or(GaveUp)?;
            let number = number_without_flags(&token);
            let value = match made {
                Made::Failure => return Err(GaveUp),
                Made::Absence => {
                    storing = Some(Storing::begin(self.board, &token, number, order.absent_for));
                    None
                }
                Made::Value => Some(self.created_value(key, order.expires_ms, number, len)),
            };
            failed = false;
            created = Some((token, value.clone()));
            Ok(value)
        };
        let longest = [Word::LongestClaimNs; 2];
        let found = if order.needs_value {
            let create = || create()?.ok_or(GaveUp);
            self.measured(|cache| cache.get_or_create_value(key, &order.how, create).map(Some), longest)
        } else {
            self.measured(|cache| cache.get_or_create(key, &order.how, create), longest)
        };
        storing.iter().for_each(Storing::returned);
        if matches!(found, Err(CreateError::Creator(GaveUp))) != failed {
            let (expected, found) = (format!("an error of its own creator: {failed}"), format!("{}", !failed));
            self.wrong(Wrong { key, expected, found });
        }
        match (self.found(key, stops, found), created) {
            (Some(found), Some((_token, Some(value)))) => self.check_found(key, &before, found, Some(value)),
            (Some(found), Some((_token, None))) if found.is_some() => {
                let (expected, found) =
                    ("the created absence".into(), format!("{} bytes", found.map_or(0, |v| v.len())));
                self.wrong(Wrong { key, expected, found });
            }
            (Some(None), None) => self.check(before.check_absence()),
            (Some(found), None) => self.check_found(key, &before, found, None),
            _ => {}
        }
    }

    /// Creates the values of several keys with one call, which chooses their order.
    fn get_or_create_multi(&mut self, key: u16) {
        let keys = self.neighbours(key);
        let names: Vec<_> = keys.iter().map(|&key| name(key)).collect();
        let order = self.order(key);
        let befores: Vec<_> = keys.iter().map(|&key| Before::sample(self.board, key)).collect();
        let (time, len, stops) = (self.time(), self.len(), self.stops());
        let mut created = Vec::new();
        let create = |missing: &[&String]| {
            std::thread::sleep(time);
            for &key in keys.iter().filter(|&&key| missing.contains(&&name(key))) {
                let token = self.wait_for_token(key).ok_or(GaveUp)?;
                let value = self.created_value(key, order.expires_ms, number_without_flags(&token), len);
                created.push((token, value));
            }
            Ok(created.iter().map(|(_, value)| Some(value.clone())).collect())
        };
        let found = self.measured(
            |cache| cache.get_or_create_multi(part(key), &names, &order.how, create),
            [Word::LongestClaimNs; 2],
        );
        let Some(found) = self.found(key, stops, found) else { return };
        for ((key, before), found) in keys.into_iter().zip(&befores).zip(found) {
            if found.is_none() {
                // Each key that was created has a value.
                self.check(before.check_absence());
                continue;
            }
            let created = created.iter().find(|(token, _)| token.key() == key).map(|(_, value)| value.clone());
            self.check_found(key, before, found, created);
        }
    }

    /// Up to four of the keys that are created and locked, all of one part, beginning with this one.
    fn neighbours(&mut self, key: u16) -> Vec<u16> {
        let step = PARTS * self.random.within(1, 4) as usize;
        let least = (KEYS - CLAIMED) as u16;
        let below = (0..4).map(|i| key.saturating_sub((i * step) as u16));
        below.take_while(|&key| key >= least).filter(|&key| !is_counter(key)).collect()
    }

    /// The result of a creating call, unless it reached its time limit.
    pub fn found<T>(&self, key: u16, stops: Stops, found: Result<T, CreateError<GaveUp>>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(CreateError::Creator(GaveUp)) => None,
            Err(CreateError::Cache(Error::TimedOut { .. })) => {
                self.board.add(Word::TimedOut, 1);
                None
            }
            Err(CreateError::Cache(error)) => self.allowed(key, stops, Err(error)),
        }
    }

    fn check_found(&self, key: u16, before: &Before<'_>, found: Option<Vec<u8>>, created: Option<Vec<u8>>) {
        match (found, created) {
            (Some(found), None) => self.check(before.check_hit(&found, None)),
            (found, Some(value)) if found.as_ref() != Some(&value) => {
                let (expected, found) = ("the created value".into(), format!("{:?}", found.map(|found| found.len())));
                self.wrong(Wrong { key, expected, found });
            }
            _ => {}
        }
    }

    fn created_value(&self, key: u16, expires_ms: u64, number: u64, len: usize) -> Vec<u8> {
        Value { key, writer: self.worker as u16, number: number as u32, expires_ms }.bytes(len)
    }

    pub fn wait_for_token(&self, key: u16) -> Option<Token<'a>> {
        let end = Instant::now() + TOKEN_WAIT;
        loop {
            let token = Token::take(self.board, key, self.worker);
            if token.is_some() || Instant::now() > end {
                return token;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn lock(&mut self, key: u16) {
        let options = LockOptions::new().wait(self.wait());
        let file = FileInUse::now(self.board);
        let seeking = self.seek(key, Purpose::Lock);
        let lock = if self.random.one_in(3) {
            self.way(key, |cache| cache.all.try_lock(name(key))).flatten()
        } else {
            self.way(key, |cache| cache.all.lock_with(name(key), &options))
        };
        if let Some(lock) = lock {
            let tenure = self.given(&seeking);
            self.locked(key, lock, tenure, file);
        }
    }

    /// Holds a lock for a time. The call that acquired the lock began while `file` was in use.
    fn locked(&mut self, key: u16, lock: KeyLock, tenure: Tenure<'a>, file: FileInUse) {
        self.board.add(Word::Locked, 1);
        let given = FileInUse::now(self.board);
        std::thread::sleep(self.time());
        let was_replaced = given.was_replaced(self.board);
        let is_protected = lock.is_protected();
        drop(tenure);
        let was_held = self.call(|_| lock.release());
        let found = || format!("protected {is_protected}, held {was_held}");
        if was_replaced && (is_protected || was_held) {
            let expected = "a lock that is no longer exclusive, since the file was replaced".into();
            self.wrong(Wrong { key, expected, found: found() });
        }
        if file.is_same(self.board) && !(is_protected && was_held) {
            self.wrong(Wrong { key, expected: "a lock that lasts until it is released".into(), found: found() });
        }
    }
}

/// Returns a number without flags for a creation that is about to be stored, because its flags had to be stated before
/// its number was known.
fn number_without_flags(token: &Token<'_>) -> u64 {
    let number = token.begin();
    if flags_of(number) == 0 { number } else { token.begin() }
}
