//! The options of a far tier.

use crate::address::{Address, Reach, nodes};
use crate::error::{Error, Result};
use crate::far::Far;
use crate::redis::RedisStore;
use crate::settings::{Degraded, Settings, Tracking};
use crate::store::{Store, StoreMaker};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// At each write the server compares the key with the prefixes of all its clients.
const MOST_PREFIXES: usize = 8;
const MOST_KEEPERS: usize = 2;
const SHORTEST_STALENESS: Duration = Duration::from_millis(20);
const LONGEST_STALENESS: Duration = Duration::from_secs(3600);

/// Options of a far tier. All processes of a host that use one near file should use the same options.
#[derive(Clone)]
pub struct Options {
    url: String,
    reach: Reach,
    prefixes: Vec<Vec<u8>>,
    max_staleness: Duration,
    tracking: Tracking,
    degraded: Degraded,
    hot_keys: u32,
    keepers: usize,
    probe: bool,
    near: kennel::Options,
    near_ttl: Duration,
    absence_ttl: Duration,
    near_max_value: usize,
    fetch_wait: Duration,
    claim_age: Duration,
    timeout: Duration,
    store: Option<StoreMaker>,
}

impl Options {
    /// Options for the server or cluster at a URL, in which `%` and two hexadecimal digits stand for a byte:
    ///
    /// * `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`; `rediss://` for TLS, with the feature `tls`.
    /// * `unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]`.
    /// * `redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[?db=DATABASE]`: the master that the
    ///   sentinels at these addresses know by this name. The user and the password are those of the master; see
    ///   [`sentinel_login`](Self::sentinel_login). `rediss-sentinel://` for TLS to the sentinels and to the master.
    /// * `redis-cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]`: a cluster by some of its nodes, which are asked
    ///   for the others. `rediss-cluster://` for TLS.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reach: Reach::default(),
            prefixes: Vec::new(),
            max_staleness: Duration::from_secs(1),
            tracking: Tracking::On,
            degraded: Degraded::Bypass,
            hot_keys: 20,
            keepers: MOST_KEEPERS,
            probe: true,
            near: kennel::Options::new(),
            near_ttl: Duration::from_secs(3600),
            absence_ttl: Duration::from_secs(60),
            near_max_value: 64 << 10,
            fetch_wait: Duration::from_millis(200),
            claim_age: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            store: None,
        }
    }

    /// Adds a prefix: the near tier may have copies of keys that begin with it. There must be 1 to 8 prefixes, none of
    /// which is the beginning of another. Calls work with all keys; calls for other keys go to the server. An empty
    /// prefix covers every key.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefixes.push(prefix.into());
        self
    }

    /// T: how stale a value that a read returns may be, from 20 ms to an hour. The default is a second. It should be at
    /// least five round trips to the server.
    #[must_use]
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.max_staleness = staleness;
        self
    }

    /// Whether the server's invalidations keep the near tier up to date. By default they do.
    #[must_use]
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// What reads do while nothing is proved. By default each of them asks the server. Without tracking, this option
    /// has no effect.
    #[must_use]
    pub fn degraded(mut self, degraded: Degraded) -> Self {
        self.degraded = degraded;
        self
    }

    /// How often per second, in this process, the fetched value of a key may be out of date before it is stored. A key
    /// that changes more often is left out of the near tier for a second: its reads ask the server, and claim nothing.
    /// The default is 20.
    #[must_use]
    pub fn hot_keys(mut self, changes: u32) -> Self {
        self.hot_keys = changes;
        self
    }

    /// How many processes of the host track at the same time: 1 or 2. The default is 2, so that the near tier stays in
    /// use when one of them ends. With 0 this process never tracks, and relies on others.
    #[must_use]
    pub fn keepers(mut self, keepers: usize) -> Self {
        self.keepers = keepers;
        self
    }

    /// Whether a tracker changes a key under each prefix (`PREFIXkennel-far:probe:...`, for two seconds) when it
    /// begins, and proves nothing unless the server reports these changes to it. On by default.
    #[must_use]
    pub fn probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }

    /// The options of the near file: its capacity, for example.
    #[must_use]
    pub fn near(mut self, near: kennel::Options) -> Self {
        self.near = near;
        self
    }

    /// How long a value without a time to live stays in the near tier, minus a random part of up to a tenth. The
    /// default is an hour.
    #[must_use]
    pub fn near_ttl(mut self, ttl: Duration) -> Self {
        self.near_ttl = ttl;
        self
    }

    /// How long the near tier remembers that a key has no value. The default is a minute.
    #[must_use]
    pub fn absence_ttl(mut self, ttl: Duration) -> Self {
        self.absence_ttl = ttl;
        self
    }

    /// The largest value, in bytes, that the near tier stores. The default is 64 KiB.
    #[must_use]
    pub fn near_max_value(mut self, bytes: usize) -> Self {
        self.near_max_value = bytes;
        self
    }

    /// How long a read waits for another process's fetch of the same key, before it asks the server itself. The default
    /// is 200 ms. If four times the average duration of a fetch is longer, the read waits for that long.
    #[must_use]
    pub fn fetch_wait(mut self, wait: Duration) -> Self {
        self.fetch_wait = wait;
        self
    }

    /// How to speak TLS, if the URL begins with `rediss`. It needs the feature `tls`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::tls::Tls) -> Self {
        self.reach.tls = Some(tls);
        self
    }

    /// The user and the password of the sentinels themselves. An empty user is the default one. Without this option,
    /// sentinels are asked without a login.
    #[must_use]
    pub fn sentinel_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.reach.sentinel_login = Some((Some(user.into()).filter(|user| !user.is_empty()), password.into()));
        self
    }

    /// How long a data call waits for the server. The default is five seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes data calls with another client than [`RedisStore`]. `make` is called once, and again in a forked child.
    /// The URL stays the address to which the tracker connects. This option cannot be used with the URL of a cluster.
    #[must_use]
    pub fn store(mut self, make: impl Fn() -> Result<Box<dyn Store>> + Send + Sync + 'static) -> Self {
        self.store = Some(Arc::new(make));
        self
    }

    /// Opens or creates the near file, and starts the keeper of this process.
    ///
    /// It does not wait for the server: until invalidations are proved to arrive, reads ask the server.
    ///
    /// # Errors
    /// [`Error::Option`]; [`Error::Mismatch`] if other processes use the file with another database, `max_staleness` or
    /// mode; [`Error::Near`] if it cannot be opened.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Far> {
        let settings = self.settings()?;
        let (address, timeout) = (settings.address.clone(), settings.timeout);
        let maker = self.store.clone().unwrap_or_else(|| {
            Arc::new(move || Ok(Box::new(RedisStore::new(address.clone(), timeout)) as Box<dyn Store>))
        });
        Far::open(settings, maker, path.as_ref(), &self.near)
    }

    /// The store that [`open`](Self::open) would use, for a store of your own that wraps it.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn redis_store(&self) -> Result<RedisStore> {
        Ok(RedisStore::new(Address::parse(&self.url, &self.reach)?, self.timeout))
    }

    fn settings(&self) -> Result<Settings> {
        let prefixes = &self.prefixes;
        if !(1..=MOST_PREFIXES).contains(&prefixes.len()) {
            return Err(Error::option("prefix", format!("{} prefixes", prefixes.len()), "1 to 8 prefixes"));
        }
        for (i, a) in prefixes.iter().enumerate() {
            if let Some((_, b)) = prefixes.iter().enumerate().find(|(j, b)| i != *j && b.starts_with(a)) {
                let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
                return Err(Error::option("prefix", format!("{a:?} and {b:?}"), "no prefix that begins with another"));
            }
        }
        if !(SHORTEST_STALENESS..=LONGEST_STALENESS).contains(&self.max_staleness) {
            return Err(Error::option("max_staleness", format!("{:?}", self.max_staleness), "20 ms to an hour"));
        }
        if self.keepers > MOST_KEEPERS {
            return Err(Error::option("keepers", self.keepers.to_string(), "0, 1 or 2"));
        }
        let mut prefixes = prefixes.clone();
        prefixes.sort();
        let seeds = nodes(&self.url, &self.reach)?;
        if seeds.is_some() && self.store.is_some() {
            return Err(Error::option("store", "a client for a cluster", "none: calls go to the master of each key"));
        }
        let first = seeds.as_ref().map(|seeds| seeds[0].clone());
        Ok(Settings {
            address: first.map_or_else(|| Address::parse(&self.url, &self.reach), Ok)?,
            seeds,
            prefixes,
            max_staleness: self.max_staleness,
            tracking: self.tracking,
            degraded: self.degraded,
            hot_keys: self.hot_keys,
            keepers: self.keepers,
            probe: self.probe,
            near_ttl: self.near_ttl,
            absence_ttl: self.absence_ttl,
            near_max_value: self.near_max_value,
            fetch_wait: self.fetch_wait,
            claim_age: self.claim_age,
            timeout: self.timeout,
        })
    }
}

impl fmt::Debug for Options {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("prefixes", &self.prefixes)
            .field("max_staleness", &self.max_staleness)
            .field("tracking", &self.tracking)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_hold_are_refused() {
        let good = || Options::new("redis://h").prefix("app:");
        assert!(good().settings().is_ok());
        let many = (0..9).fold(Options::new("redis://h"), |options, i| options.prefix(format!("{i}:")));
        let bad = [
            Options::new("redis://h"),
            many,
            good().prefix("app:users:"),
            good().prefix("app:"),
            good().prefix(""),
            good().max_staleness(Duration::from_millis(19)),
            good().max_staleness(Duration::from_secs(3601)),
            good().keepers(3),
            Options::new("nowhere").prefix("app:"),
            Options::new("redis-cluster://h").prefix("app:").store(|| unreachable!()),
        ];
        for options in bad {
            assert!(matches!(options.settings(), Err(Error::Option { .. })), "{options:?}");
        }
    }

    #[test]
    fn the_order_of_prefixes_means_nothing() {
        let of = |a: &str, b: &str| Options::new("redis://h").prefix(a).prefix(b).settings().unwrap();
        assert_eq!(of("a", "b").scope().settings(), of("b", "a").scope().settings());
    }
}
