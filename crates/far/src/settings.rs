//! The options of a far tier after their validation.

use crate::address::{Address, Endpoint, Place};
use crate::error::Result;
use crate::proof::Scope;
use std::time::Duration;

/// Whether the far tier's invalidations keep the near tier up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tracking {
    /// They do: a near value is used while invalidations are proved to arrive.
    #[default]
    On,
    /// They do not: a near value ends `max_staleness` after it was asked for. For servers without `CLIENT TRACKING`.
    Off,
}

/// What reads do while nothing is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Degraded {
    /// Each of them asks the server and stores nothing.
    #[default]
    Bypass,
    /// One process asks for the whole host: what it gets is used for `max_staleness`, as without tracking. This
    /// protects the server when all trackers of a host are lost at once.
    Brief,
}

/// See [`Settings::pace`].
const LONGEST_PACE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The server; in a cluster the first node of the URL.
    pub address: Address,
    /// The nodes of a cluster's URL; `None` without a cluster.
    pub seeds: Option<Vec<Address>>,
    pub prefixes: Vec<Vec<u8>>,
    pub max_staleness: Duration,
    pub tracking: Tracking,
    pub degraded: Degraded,
    pub hot_keys: u32,
    pub keepers: usize,
    pub probe: bool,
    pub near_ttl: Duration,
    pub absence_ttl: Duration,
    pub near_max_value: usize,
    pub fetch_wait: Duration,
    pub claim_age: Duration,
    pub timeout: Duration,
}

impl Settings {
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            database: self.address.database,
            prefixes: &self.prefixes,
            max_staleness_us: self.staleness_us(),
            is_tracked: self.tracking == Tracking::On,
            is_cluster: self.is_cluster(),
            is_brief: self.tracking == Tracking::On && self.degraded == Degraded::Brief,
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.seeds.is_some()
    }

    /// A node of a cluster: `HOST:PORT`, with the user of the URL.
    pub(crate) fn node(&self, place: &str) -> Result<Address> {
        self.address.at(place)
    }

    /// `HOST:PORT` of each node that the URL of a cluster names.
    pub(crate) fn seed_places(&self) -> Vec<String> {
        let place = |seed: &Address| match &seed.place {
            Place::Server(Endpoint::Tcp(host, port)) => Some(format!("{host}:{port}")),
            _ => None,
        };
        self.seeds.iter().flatten().filter_map(place).collect()
    }

    pub(crate) fn staleness_us(&self) -> u64 {
        micros(self.max_staleness)
    }

    /// Whether the near tier may have copies of a key.
    #[inline]
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// The key of a marker in the database. Its value tells whether the server still has the same database under this
    /// number.
    pub(crate) fn marker(&self) -> Vec<u8> {
        [self.prefixes[0].as_slice(), b"kennel-far:database"].concat()
    }

    /// The time from which trackers derive their pauses, and by which they judge each other: T, but at most a few
    /// seconds. Even if T is an hour, a tracker must not put its work off for so long.
    pub(crate) fn pace(&self) -> Duration {
        self.max_staleness.min(LONGEST_PACE)
    }

    pub(crate) fn pace_us(&self) -> u64 {
        micros(self.pace())
    }

    /// Time between two pings.
    pub(crate) fn ping_interval(&self) -> Duration {
        self.pace() / 5
    }

    /// How long a tracker waits for an answer.
    pub(crate) fn patience(&self) -> Duration {
        (self.max_staleness * 4).clamp(Duration::from_millis(200), Duration::from_secs(10))
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
