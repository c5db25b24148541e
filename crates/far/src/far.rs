//! The handle, and its parts that belong to one process: connections and a keeper.

use crate::cluster::{Answers, Atlas, Part, Router};
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::keeper::Keeper;
use crate::marks::{Changes, Marks};
use crate::near::Near;
use crate::nears::Nears;
use crate::resp::Value;
use crate::settings::{Settings, Tracking};
use crate::stats::{Counters, Stats};
use crate::store::{Answer, Store, StoreMaker};
use arc_swap::ArcSwap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A far tier with its near tier. It is cheap to clone, and any number of threads may use it.
///
/// A forked child may go on using the handle. The child gets connections and a keeper of its own at its first call that
/// the near tier does not answer.
#[derive(Clone)]
pub struct Far(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub settings: Arc<Settings>,
    /// The near tier of a single master. In a cluster each master has one: see [`near_of`](Inner::near_of).
    pub near: Arc<Near>,
    pub nears: Arc<Nears>,
    is_cluster: bool,
    pub counters: Arc<Counters>,
    /// The average duration of a fetch in microseconds.
    fetch_us: AtomicU64,
    /// The generation of the near tier of a single master for which connections were last renewed.
    generation: AtomicU64,
    pub marks: Marks,
    pub changes: Changes,
    maker: StoreMaker,
    process: ArcSwap<Process>,
}

/// What a forked child must not share with its parent.
pub(crate) struct Process {
    id: u32,
    pub servers: Servers,
    /// Limits how many tasks call the server at a time.
    #[cfg(feature = "tokio")]
    pub turns: Arc<tokio::sync::Semaphore>,
    keeper: Option<Keeper>,
}

/// The most calls to the server that tasks make at a time.
#[cfg(feature = "tokio")]
const MOST_TURNS: usize = 32;

/// The servers that are asked for data.
pub(crate) enum Servers {
    One(Box<dyn Store>),
    Cluster(Router),
}

/// An answer, and the identity of the server that gave it. With the identity 0, the answer must not be stored near.
pub(crate) struct Got {
    pub identity: u64,
    pub answer: Answer,
}

impl Far {
    pub(crate) fn open(settings: Settings, maker: StoreMaker, path: &Path, near: &kennel::Options) -> Result<Self> {
        let counters = Arc::<Counters>::default();
        let near = Near::open(path, near, &settings.scope(), Arc::clone(&counters))?;
        let is_cluster = settings.is_cluster();
        let nears = Arc::new(if is_cluster { Nears::of_cluster(near)? } else { Nears::one(near) });
        let settings = Arc::new(settings);
        let process = Process::new(&settings, &nears, &counters, &maker)?;
        Ok(Self(Arc::new(Inner {
            settings,
            near: Arc::clone(&nears.base),
            nears,
            is_cluster,
            counters,
            fetch_us: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            marks: Marks::default(),
            changes: Changes::default(),
            maker,
            process: ArcSwap::from_pointee(process),
        })))
    }

    /// What this process did with the near tier.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// How long ago the near tier was last proved to have all changes; `None` if nothing is proved. Reads use the near
    /// tier while this is at most `max_staleness`, and this process's connections lead to the server that the proof is
    /// about.
    ///
    /// In a cluster each master has a proof of its own, and this is the age of the oldest; see [`masters`](Far::masters).
    #[must_use]
    pub fn proof_age(&self) -> Option<Duration> {
        if !self.0.is_cluster {
            return self.0.near.proof_age();
        }
        let ages = self.masters().into_iter().filter(|master| master.slots > 0).map(|master| master.proof_age);
        ages.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The masters of a cluster, as the near file knows them. Empty without a cluster.
    #[must_use]
    pub fn masters(&self) -> Vec<Master> {
        let map = self.0.nears.atlas().map(Atlas::last_known).unwrap_or_default();
        let of = |(number, master): (usize, &crate::cluster::Master)| Master {
            id: master.id.clone(),
            address: master.address.clone(),
            slots: map.count(number),
            proof_age: self.0.nears.part(number).and_then(|near| near.proof_age()),
        };
        map.masters().map(of).collect()
    }

    /// The seat that this process holds, with which it tracks or tries to. `None`: it holds no seat.
    #[must_use]
    pub fn seat(&self) -> Option<String> {
        self.0.process.load().keeper.as_ref().and_then(Keeper::seat)
    }

    /// Why this process's tracker proves nothing, or may prove too late, as text. `None` while all is well, or while
    /// the process waits for a seat.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let of_tracker = self.0.process.load().keeper.as_ref().and_then(Keeper::problem);
        of_tracker.or_else(|| {
            let round_trip = self.0.counters.round_trip_us.get();
            (round_trip * 5 > self.0.settings.staleness_us()).then(|| {
                format!(
                    "a round trip to the server takes {round_trip} us: max_staleness should be at least five of them"
                )
            })
        })
    }
}

/// A master of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Master {
    /// Its id in the cluster.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// How many slots it has.
    pub slots: usize,
    /// How long ago the near tier was last proved to have all changes of its keys; `None` if it is not proved.
    pub proof_age: Option<Duration>,
}

impl fmt::Debug for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Far")
            .field("near", &self.0.near.path())
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Process {
    fn new(settings: &Arc<Settings>, nears: &Arc<Nears>, counters: &Arc<Counters>, maker: &StoreMaker) -> Result<Self> {
        let is_keeping = settings.tracking == Tracking::On && settings.keepers > 0;
        let keeper = is_keeping.then(|| Keeper::start(settings, nears, counters)).transpose()?;
        let servers = match settings.is_cluster() {
            true => Servers::Cluster(Router::new(settings, nears)),
            false => Servers::One(maker()?),
        };
        Ok(Self {
            id: std::process::id(),
            servers,
            #[cfg(feature = "tokio")]
            turns: Arc::new(tokio::sync::Semaphore::new(MOST_TURNS)),
            keeper,
        })
    }
}

impl Inner {
    /// The parts that belong to this process. A forked child gets its own. It leaves the parent's as they are, since
    /// threads that the child does not have may hold their locks.
    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        let process = self.process.load_full();
        if process.id == std::process::id() {
            return Ok(process);
        }
        let own = Arc::new(Process::new(&self.settings, &self.nears, &self.counters, &self.maker)?);
        let found = self.process.compare_and_swap(&process, Arc::clone(&own));
        std::mem::forget(process);
        // Another thread of the child may have been faster.
        Ok(if found.id == std::process::id() { Arc::clone(&found) } else { own })
    }

    /// The near tier for a key. `None`: in a cluster, the key's master is not known, or has no near tier.
    #[inline]
    pub(crate) fn near_of(&self, key: &[u8]) -> Option<&Arc<Near>> {
        if self.is_cluster { self.nears.of(key) } else { Some(&self.near) }
    }

    /// Asks the far tier for the values of keys, and notes which servers answered and how long it took. In a cluster,
    /// one master may fail while others answer.
    pub(crate) fn fetch(&self, keys: &[&[u8]]) -> Result<Vec<Result<Got>>> {
        let process = self.process()?;
        let began = Instant::now();
        let got: Vec<Result<Got>> = match &process.servers {
            Servers::One(store) => {
                self.renew_for_generation(store.as_ref());
                let fetched = store.fetch(keys)?;
                let identity = self.note_run(&self.near, &fetched.run_id, || store.renew());
                fetched.answers.into_iter().map(|answer| Ok(Got { identity, answer })).collect()
            }
            Servers::Cluster(router) => self.sort(router.fetch(keys), keys.len()),
        };
        if got.iter().all(Result::is_ok) {
            let took = began.elapsed().as_micros() as u64;
            let average = self.fetch_us.load(Ordering::Relaxed);
            self.fetch_us.store(if average == 0 { took } else { average - average / 8 + took / 8 }, Ordering::Relaxed);
        }
        if got.len() == keys.len() {
            return Ok(got);
        }
        let found = format!("{} for {}", got.len(), keys.len());
        Err(Error::Answer { expected: "an answer for each key", found })
    }

    /// [`fetch`](Self::fetch) of one key.
    pub(crate) fn fetch_one(&self, key: &[u8]) -> Result<Got> {
        let absent = Got { identity: 0, answer: Answer::Absent };
        self.fetch(&[key])?.pop().unwrap_or(Ok(absent))
    }

    /// Puts the answers of several masters into the order of the keys.
    fn sort(&self, said: Answers, len: usize) -> Vec<Result<Got>> {
        let mut all: Vec<Option<Result<Got>>> = (0..len).map(|_| None).collect();
        for Part { from, at, fetched } in said.parts {
            let near = from.as_ref().and_then(|from| self.nears.part(from.number));
            let identity = near
                .zip(from.as_ref())
                .map_or(0, |(near, from)| self.note_run(near, &fetched.run_id, || from.store.renew()));
            for (i, answer) in at.into_iter().zip(fetched.answers) {
                all[i] = Some(Ok(Got { identity, answer }));
            }
        }
        for (i, error) in said.failed {
            all[i] = Some(Err(error));
        }
        all.into_iter().flatten().collect()
    }

    /// Executes a command once; in a cluster, at the master of the key `beside`.
    pub(crate) fn execute(&self, command: &[&[u8]], beside: Option<&[u8]>, changes: &[&[u8]]) -> Result<Value> {
        let process = self.process()?;
        match &process.servers {
            Servers::One(store) => {
                self.renew_for_generation(store.as_ref());
                let reply = store.call(command)?;
                self.note_run(&self.near, &reply.run_id, || store.renew());
                Ok(reply.value)
            }
            Servers::Cluster(router) => {
                let (reply, from) = router.call(command, beside, changes)?;
                if let Some((near, from)) = from.and_then(|from| Some((self.nears.part(from.number)?, from))) {
                    self.note_run(near, &reply.run_id, || from.store.renew());
                }
                Ok(reply.value)
            }
        }
    }

    /// Renews the connections if they are older than the near tier's generation: the trackers ended the previous
    /// generation because its server may no longer be the master.
    fn renew_for_generation(&self, store: &dyn Store) {
        let generation = self.near.proof().generation();
        if self.generation.load(Ordering::Relaxed) != generation && keeps(Rule::GenerationsRenew) {
            store.renew();
            self.generation.store(generation, Ordering::Relaxed);
        }
    }

    /// Notes the server that this process reaches, and returns its identity. If the host's trackers reach another
    /// server, old connections may be the reason: they are renewed, at most once a second.
    fn note_run(&self, near: &Near, run_id: &str, renew: impl FnOnce()) -> u64 {
        let identity = self.identity_of(run_id);
        near.identity.store(identity, Ordering::Relaxed);
        let pace = self.settings.pace_us();
        if self.settings.tracking == Tracking::Off || near.proof_of(identity).is_some() || !near.was_proved_within(pace)
        {
            return identity;
        }
        let now = near.clock.now();
        if now.saturating_sub(near.renewed.swap(now, Ordering::Relaxed)) > pace.max(1_000_000) {
            renew();
        }
        identity
    }

    fn identity_of(&self, run_id: &str) -> u64 {
        self.settings.scope().identity(run_id)
    }

    /// How long fetches take on average.
    pub(crate) fn fetch_time(&self) -> Duration {
        Duration::from_micros(self.fetch_us.load(Ordering::Relaxed))
    }
}
