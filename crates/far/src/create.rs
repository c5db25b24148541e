//! Creating missing values: one caller among all hosts creates, and the others wait.
//!
//! On a host, the near claim of the key picks one of the callers that miss. Among hosts, a *lease* does: a key in the
//! far tier beside the created one, which holds a random token and expires by itself. The created value is stored only
//! while the lease still holds that token, so a slow creator does not overwrite what another has created since.

use crate::creating::{Wanted, check_not_own};
use crate::error::{Error, Result};
use crate::far::{Far, Got, Inner};
use crate::near::Claim;
use crate::read::{Fill, Near};
use crate::resp::Value;
use crate::slots::key_beside;
use crate::store::Answer;
use crate::write::until;
use kennel::Expiry;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// Takes the lease if it is free and the value is still missing: another caller may have stored the value, and ended
/// its lease, since this one looked.
const TAKE: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then return 2 end \
     if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0";
const LEASE_TAKEN: i64 = 1;
const VALUE_IS_THERE: i64 = 2;
/// Stores a value and ends the lease, if the lease is still the caller's.
const STORE: &str = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end \
     if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], ARGV[3], ARGV[4]) else redis.call('SET', KEYS[1], ARGV[2]) end \
     redis.call('DEL', KEYS[2]) return 1";
/// Ends the lease, if it is still the caller's.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// How often a caller looks again because the value was missing, and then was there when it asked for the lease.
const LOOKS: usize = 3;
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// How [`Far::get_or_create`] creates and waits.
#[derive(Clone, Copy, Debug)]
pub struct Create {
    pub(crate) expiry: Expiry,
    lease: Duration,
    pub(crate) wait: Duration,
}

impl Default for Create {
    fn default() -> Self {
        Self { expiry: Expiry::Never, lease: Duration::from_secs(30), wait: Duration::from_secs(30) }
    }
}

impl Create {
    /// A value that does not expire, a lease of 30 seconds, and a wait of at most 30 seconds for another creator.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the created value expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// How long a creator keeps the others waiting. A value whose creation takes longer is returned to its caller and
    /// not stored.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a caller waits for another creator. After that it creates, too, and stores nothing.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// Why there is no value.
#[derive(Debug)]
pub enum CreateError<E> {
    /// The creator's error.
    Creator(E),
    /// An error of the far tier.
    Far(Error),
}

impl<E: fmt::Display> fmt::Display for CreateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Creator(error) => error.fmt(f),
            CreateError::Far(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for CreateError<E> {}

impl<E> From<Error> for CreateError<E> {
    fn from(error: Error) -> Self {
        Self::Far(error)
    }
}

impl Far {
    /// The value of a key. If the key has none, `create` makes it, once among all processes of all hosts that call
    /// this.
    ///
    /// # Errors
    /// The creator's error, which only its own caller gets; the errors of the server; [`Error::Near`] with
    /// [`OwnClaim`](kennel::Error::OwnClaim) if a creator calls this for its own key.
    pub fn get_or_create<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &Create,
        create: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let key = key.as_ref();
        let creation = match self.claim(key, how)? {
            Lookup::Value(value) => return Ok(value),
            Lookup::Create(creation) => Some(creation),
            Lookup::TimedOut => {
                self.0.counters.creations.add(1);
                None
            }
        };
        let value = self.0.wanted(key).during(create).map_err(CreateError::Creator)?;
        if let Some(creation) = creation {
            // A value that cannot be stored is returned all the same.
            drop(creation.store(&value, how.expiry));
        }
        Ok(value)
    }

    /// The value of a key; if it has none, the right to create it, which one caller among all hosts gets.
    /// [`get_or_create`](Self::get_or_create) is built on this. While the caller creates, it must not call this for the
    /// same key: it would wait for itself.
    ///
    /// # Errors
    /// Those of the server; [`OwnClaim`](kennel::Error::OwnClaim) as for [`get_or_create`](Self::get_or_create).
    pub fn claim(&self, key: impl AsRef<[u8]>, how: &Create) -> Result<Lookup> {
        let (key, deadline) = (key.as_ref(), Instant::now() + how.wait);
        check_not_own(|| self.0.wanted(key))?;
        let claim = match self.0.look(key, true, how.wait) {
            Near::Value(value) => return Ok(Lookup::Value(value)),
            Near::Fill(claim) => Some(claim),
            Near::Absent | Near::Bypass => None,
        };
        let (mut asked, mut pauses) = (Asked::new(self, key, how, claim)?, Pauses::until(deadline));
        loop {
            asked = match asked.look()? {
                Turn::Value(value) => return Ok(Lookup::Value(value)),
                Turn::Create(creation) => return Ok(Lookup::Create(creation)),
                Turn::Wait(asked) => asked,
            };
            match pauses.next() {
                Some(pause) => thread::sleep(pause),
                None => return Ok(Lookup::TimedOut),
            }
        }
    }
}

/// What [`Far::claim`] found.
#[derive(Debug)]
pub enum Lookup {
    /// The value of the key.
    Value(Vec<u8>),
    /// It has none, and the caller is to create it.
    Create(Creation),
    /// Another caller was still creating it when [`Create::wait`] was over.
    TimedOut,
}

/// A request for a lease, and later the lease itself.
pub(crate) struct Asked {
    far: Far,
    key: Vec<u8>,
    /// The lease's own key.
    lease: Vec<u8>,
    token: Vec<u8>,
    millis: String,
    /// Held until the value is stored, so that the callers of this host wait for it.
    claim: Option<Claim>,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

/// What one look for the value or the lease found.
pub(crate) enum Turn {
    Value(Vec<u8>),
    Create(Creation),
    /// Another caller creates.
    Wait(Asked),
}

impl Asked {
    pub(crate) fn new(far: &Far, key: &[u8], how: &Create, claim: Option<Claim>) -> Result<Self> {
        let number = getrandom::u64().map_err(|error| Error::Io { what: "get random bytes", source: error.into() })?;
        Ok(Self {
            far: far.clone(),
            key: key.to_vec(),
            lease: far.0.lease_key(key),
            token: format!("{number:016x}").into_bytes(),
            millis: how.lease.as_millis().max(1).to_string(),
            claim,
            #[cfg(feature = "tokio")]
            runtime: None,
        })
    }

    /// A thread of this runtime gives the lease back, because the caller may not block.
    #[cfg(feature = "tokio")]
    pub(crate) fn in_runtime(self, runtime: tokio::runtime::Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Looks for the value in the far tier, and takes the lease if the value is missing.
    pub(crate) fn look(mut self) -> Result<Turn> {
        for _ in 0..LOOKS {
            let value;
            (value, self.claim) = self.far.0.look_far(&self.key, self.claim.take())?;
            if let Some(value) = value {
                return Ok(Turn::Value(value));
            }
            let take: [&[u8]; 7] =
                [b"EVAL", TAKE.as_bytes(), b"2", &self.key, &self.lease, &self.token, self.millis.as_bytes()];
            match self.far.0.change(&[], Some(&self.key), &take)? {
                Value::Int(LEASE_TAKEN) => {
                    self.far.0.counters.creations.add(1);
                    return Ok(Turn::Create(Creation { asked: Some(self), process: std::process::id() }));
                }
                Value::Int(VALUE_IS_THERE) => {}
                _ => break,
            }
        }
        Ok(Turn::Wait(self))
    }

    fn release(&self) {
        let release: [&[u8]; 5] = [b"EVAL", RELEASE.as_bytes(), b"1", &self.lease, &self.token];
        // If this fails, the lease ends by itself.
        drop(self.far.0.change(&[], Some(&self.key), &release));
    }
}

/// The right of one caller among all hosts to create a key. Dropping it lets the next caller try.
pub struct Creation {
    /// `None`: the value is stored, which ended the lease.
    asked: Option<Asked>,
    /// The process that got the right. In a forked child, dropping the copy does nothing.
    process: u32,
}

impl Creation {
    /// Stores the value. Returns `false` if the lease has ended, because another caller may have stored a value since.
    ///
    /// # Errors
    /// Those of the server.
    pub fn store(mut self, value: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        let Some(Asked { far, key, lease, token, .. }) = &self.asked else { return Ok(false) };
        let mut store: Vec<&[u8]> = vec![b"EVAL", STORE.as_bytes(), b"2", key, lease, token, value.as_ref()];
        let until = until(expiry);
        if let Some((unit, number)) = &until {
            store.extend([unit.as_bytes(), number.as_bytes()]);
        }
        let reply = far.0.change(&[key], Some(key), &store);
        let is_stored = matches!(reply, Ok(Value::Int(1)));
        if !is_stored {
            far.0.counters.lost_leases.add(1);
        }
        if is_stored {
            self.asked = None;
        }
        reply.map(|_| is_stored)
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take().filter(|_| self.process == std::process::id()) else { return };
        #[cfg(feature = "tokio")]
        if let Some(runtime) = asked.runtime.clone() {
            // In a runtime that has ended this does nothing.
            runtime.spawn_blocking(move || asked.release());
            return;
        }
        asked.release();
    }
}

impl fmt::Debug for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.asked.as_ref().map(|asked| String::from_utf8_lossy(&asked.key));
        f.debug_struct("Creation").field("key", &key).finish_non_exhaustive()
    }
}

/// The pauses between two looks.
pub(crate) struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, next: FIRST_LOOK }
    }

    /// The next pause; `None` after the deadline.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let pause = self.next.min(left);
        self.next = (self.next * 2).min(LONGEST_LOOK);
        (!left.is_zero()).then_some(pause)
    }
}

impl Inner {
    /// The identity of a key among the creations in progress.
    pub(crate) fn wanted(&self, key: &[u8]) -> Wanted {
        let address = &self.settings.address;
        Wanted { server: format!("{:?} {}", address.place, address.database), key: key.to_vec() }
    }

    /// The key of a lease. In a cluster it lies in the slot of the key that is created.
    fn lease_key(&self, key: &[u8]) -> Vec<u8> {
        let begin = b"kennel-far:lease:";
        if self.settings.is_cluster() { key_beside(begin, key) } else { [begin, key].concat() }
    }

    /// Fetches a key. A value is stored under the claim, or else the near key is deleted. Without a value, the claim is
    /// handed back.
    fn look_far(&self, key: &[u8], claim: Option<Claim>) -> Result<(Option<Vec<u8>>, Option<Claim>)> {
        let began = claim.as_ref().and_then(Fill::begin);
        let got = self.fetch_one(key)?;
        match (got, claim, began) {
            (Got { answer: Answer::Absent, .. }, claim, _) => Ok((None, claim)),
            (got, Some(claim), Some(began)) => Ok((self.keep(key, got, claim, &began)?, None)),
            (got, ..) => Ok((self.pass_on(key, got.answer)?, None)),
        }
    }
}
