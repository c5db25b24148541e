//! The handle, and what belongs to a process: connections and a keeper.

use crate::error::Result;
use crate::keeper::Keeper;
use crate::marks::{Changes, Marks};
use crate::near::{Near, Part};
use crate::proof::Stamped;
use crate::settings::{Settings, Tracking};
use crate::stats::{Counters, Stats};
use crate::store::{Fetched, Store, StoreMaker};
use arc_swap::ArcSwap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A far tier with its near tier. It is cheap to clone, and any number of threads may use it.
///
/// A forked child may go on using it: it gets connections and a keeper of its own at its first call that the near tier
/// does not answer.
#[derive(Clone)]
pub struct Far(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub settings: Arc<Settings>,
    pub near: Arc<Near>,
    pub counters: Arc<Counters>,
    /// The identity of the server that this process last reached; 0 before that.
    identity: AtomicU64,
    /// Microseconds that fetches take, on average.
    fetch_us: AtomicU64,
    /// Host time at which connections were last renewed because another server is proved.
    renewed: AtomicU64,
    pub marks: Marks,
    pub changes: Changes,
    maker: StoreMaker,
    process: ArcSwap<Process>,
}

/// What makes a near value one that may be returned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust {
    /// This proof, which is of this process's server, while it is not older than T.
    Proved(Stamped),
    /// The value ends T after it was asked for.
    Brief,
}

impl Trust {
    pub(crate) fn part(self) -> Part {
        match self {
            Trust::Proved(_) => Part::Proved,
            Trust::Brief => Part::Brief,
        }
    }
}

/// What a forked child must not share with its parent.
pub(crate) struct Process {
    id: u32,
    pub store: Box<dyn Store>,
    keeper: Option<Keeper>,
}

impl Far {
    pub(crate) fn open(settings: Settings, maker: StoreMaker, path: &Path, near: &kennel::Options) -> Result<Self> {
        let counters = Arc::<Counters>::default();
        let near = Arc::new(Near::open(path, near, &settings.scope(), Arc::clone(&counters))?);
        let settings = Arc::new(settings);
        let process = Process::new(&settings, &near, &counters, &maker)?;
        Ok(Self(Arc::new(Inner {
            settings,
            near,
            counters,
            identity: AtomicU64::new(0),
            fetch_us: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
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
    /// tier while this is at most `max_staleness`, and this process's connections lead to the server that is proved.
    #[must_use]
    pub fn proof_age(&self) -> Option<Duration> {
        let proof = self.0.near.proof();
        if proof.low() == 0 || !self.0.near.was_proved_within(u64::MAX) {
            return None;
        }
        proof.age(self.0.near.clock.now()).map(Duration::from_micros)
    }

    /// Why this process's tracker proves nothing, in words, or why it may prove too late; `None` while all is well, or it
    /// waits for a seat.
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

impl fmt::Debug for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Far")
            .field("near", &self.0.near.path())
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Process {
    fn new(settings: &Arc<Settings>, near: &Arc<Near>, counters: &Arc<Counters>, maker: &StoreMaker) -> Result<Self> {
        let is_keeping = settings.tracking == Tracking::On && settings.keepers > 0;
        let keeper = is_keeping.then(|| Keeper::start(settings, near, counters)).transpose()?;
        Ok(Self { id: std::process::id(), store: maker()?, keeper })
    }
}

impl Inner {
    /// What belongs to this process. A forked child gets its own; the parent's is left as it is, since its locks may be
    /// held by threads that the child does not have.
    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        let process = self.process.load_full();
        if process.id == std::process::id() {
            return Ok(process);
        }
        let own = Arc::new(Process::new(&self.settings, &self.near, &self.counters, &self.maker)?);
        let found = self.process.compare_and_swap(&process, Arc::clone(&own));
        std::mem::forget(process);
        // Another thread of the child may have been faster.
        Ok(if found.id == std::process::id() { Arc::clone(&found) } else { own })
    }

    /// What may make a near value one that is returned. Read it before the value, and [test it](Self::vouches) after.
    #[inline]
    pub(crate) fn hope(&self) -> Option<Trust> {
        match self.settings.tracking {
            Tracking::On => self.near.proof_of(self.identity.load(Ordering::Relaxed)).map(Trust::Proved),
            Tracking::Off => self.near.may_be_brief().then_some(Trust::Brief),
        }
    }

    /// Whether what was copied before this call may be returned.
    #[inline]
    pub(crate) fn vouches(&self, trust: Trust) -> bool {
        match trust {
            Trust::Proved(proof) => self.near.is_fresh(proof),
            Trust::Brief => true,
        }
    }

    /// In what values the caller may trust now.
    pub(crate) fn trust(&self) -> Option<Trust> {
        let hope = self.hope().filter(|trust| self.vouches(*trust));
        hope.or_else(|| (self.settings.is_brief() && self.near.may_be_brief()).then_some(Trust::Brief))
    }

    /// Asks the far tier, and notes which server answered and how long it took.
    pub(crate) fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        let process = self.process()?;
        let began = Instant::now();
        let fetched = process.store.fetch(keys)?;
        let took = began.elapsed().as_micros() as u64;
        let average = self.fetch_us.load(Ordering::Relaxed);
        self.fetch_us.store(if average == 0 { took } else { average - average / 8 + took / 8 }, Ordering::Relaxed);
        self.note_run(&process, &fetched.run_id);
        Ok(fetched)
    }

    /// Notes the server that this process reaches. If the host's trackers reach another one, old connections may be the
    /// reason, and new ones are made, once in a while.
    pub(crate) fn note_run(&self, process: &Process, run_id: &str) {
        let identity = self.identity_of(run_id);
        self.identity.store(identity, Ordering::Relaxed);
        let staleness = self.settings.staleness_us();
        if self.settings.tracking == Tracking::Off
            || self.near.proof_of(identity).is_some()
            || !self.near.was_proved_within(staleness)
        {
            return;
        }
        let now = self.near.clock.now();
        if now.saturating_sub(self.renewed.swap(now, Ordering::Relaxed)) > staleness.max(1_000_000) {
            process.store.renew();
        }
    }

    pub(crate) fn identity_of(&self, run_id: &str) -> u64 {
        self.settings.scope().identity(run_id)
    }

    /// How long fetches take on average.
    pub(crate) fn fetch_time(&self) -> Duration {
        Duration::from_micros(self.fetch_us.load(Ordering::Relaxed))
    }
}
