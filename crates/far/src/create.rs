//! Creating what is missing: one caller of all hosts creates, the others wait.
//!
//! On a host the near claim of the key makes one caller of all who miss. Among hosts a *lease* does: a key of the far tier
//! beside the created one, which holds a random token and ends by itself. The created value is stored only while the
//! lease still has that token, so a creator that was slow does not overwrite what another has created since.

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

/// Stores a value and ends the lease, if the lease is still the caller's.
const STORE: &str = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end \
     if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], ARGV[3], ARGV[4]) else redis.call('SET', KEYS[1], ARGV[2]) end \
     redis.call('DEL', KEYS[2]) return 1";
/// Ends the lease, if it is still the caller's.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// How [`Far::get_or_create`] creates and waits.
#[derive(Clone, Copy, Debug)]
pub struct Create {
    expiry: Expiry,
    lease: Duration,
    wait: Duration,
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

    /// How long a creator keeps the others waiting. A creation that takes longer is returned to its caller and not
    /// stored.
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
    /// The value of a key; if it has none, `create` makes it, once among all processes of all hosts that ask in this way.
    ///
    /// # Errors
    /// The creator's, which only its own caller gets; those of the server.
    pub fn get_or_create<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &Create,
        create: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let (key, deadline) = (key.as_ref(), Instant::now() + how.wait);
        let claim = match self.0.look(key, true, how.wait) {
            Near::Value(value) => return Ok(value),
            Near::Fill(claim) => Some(claim),
            Near::Absent | Near::Bypass => None,
        };
        match self.0.value_or_lease(key, claim, how, deadline)? {
            Turn::Value(value) => Ok(value),
            Turn::Lease(lease) => lease.create(key, how, create),
            Turn::TooLate => {
                self.0.counters.creations.add(1);
                create().map_err(CreateError::Creator)
            }
        }
    }
}

/// What a caller that found no value gets to.
enum Turn<'a> {
    Value(Vec<u8>),
    Lease(Lease<'a>),
    TooLate,
}

/// The right of one caller among all hosts to create a key. Dropping it lets the next one try.
struct Lease<'a> {
    inner: &'a Inner,
    key: Vec<u8>,
    token: Vec<u8>,
    is_over: bool,
    /// Held until the value is stored, so that the callers of this host wait for it.
    _claim: Option<Claim>,
}

impl Lease<'_> {
    /// Creates the value, and stores it while the lease is ours. A value that cannot be stored is returned all the same.
    fn create<E>(
        mut self,
        key: &[u8],
        how: &Create,
        create: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.inner.counters.creations.add(1);
        let value = create().map_err(CreateError::Creator)?;
        let mut store: Vec<&[u8]> = vec![b"EVAL", STORE.as_bytes(), b"2", key, &self.key, &self.token, &value];
        let until = until(how.expiry);
        if let Some((unit, number)) = &until {
            store.extend([unit.as_bytes(), number.as_bytes()]);
        }
        match self.inner.change(&[key], Some(key), &store) {
            Ok(Value::Int(1)) => self.is_over = true,
            Ok(_) | Err(_) => self.inner.counters.lost_leases.add(1),
        }
        Ok(value)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let release: [&[u8]; 5] = [b"EVAL", RELEASE.as_bytes(), b"1", &self.key, &self.token];
            // If this fails, the lease ends by itself.
            drop(self.inner.change(&[], Some(&self.key), &release));
        }
    }
}

impl Inner {
    /// Looks for the value in the far tier, and takes the lease if the value is missing. Tries again until the deadline.
    fn value_or_lease(
        &self,
        key: &[u8],
        mut claim: Option<Claim>,
        how: &Create,
        deadline: Instant,
    ) -> Result<Turn<'_>> {
        let lease_key = self.lease_key(key);
        let number = getrandom::u64().map_err(|error| Error::Io { what: "get random bytes", source: error.into() })?;
        let token = format!("{number:016x}").into_bytes();
        let millis = how.lease.as_millis().max(1).to_string();
        let mut pause = FIRST_LOOK;
        loop {
            let value;
            (value, claim) = self.look_far(key, claim)?;
            if let Some(value) = value {
                return Ok(Turn::Value(value));
            }
            let take: [&[u8]; 6] = [b"SET", &lease_key, &token, b"NX", b"PX", millis.as_bytes()];
            if self.change(&[], Some(key), &take)? != Value::Null {
                return Ok(Turn::Lease(Lease { inner: self, key: lease_key, token, is_over: false, _claim: claim }));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Turn::TooLate);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// The key of a lease. In a cluster it lies in the slot of the key that is created.
    fn lease_key(&self, key: &[u8]) -> Vec<u8> {
        let begin = b"kennel-far:lease:";
        if self.settings.is_cluster() { key_beside(begin, key) } else { [begin, key].concat() }
    }

    /// Fetches a key. A value is stored under the claim, or its near key is deleted; without a value the claim stays.
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
