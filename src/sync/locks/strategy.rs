//! The strategies by name, and how one is attached to.

use super::file::FileLocks;
use super::guard::{How, RegionGuard};
use super::lease::LeaseLocks;
use super::process::ProcessLocks;
use super::rw_file::RwFileLock;
use super::{LockError, Mode};
use crate::names::UnknownName;
use crate::plant::{Plant, planted};
use crate::shm::Memory;
use crate::sync::member::{Owner, Seats};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How the stripes of a cache file are locked: chosen when it is created, the same for all who use it.
///
/// Two strategies are equal if they have the same [name](Self::name) and [id](Self::id). `Display` writes the name, and
/// `FromStr` reads the names of the built-in ones.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum LockStrategy {
    /// One lock file per lock region, locked exclusively through `fs2`; an in-process flag in front, since such
    /// a lock belongs to the open file and not to the thread. Name `file`.
    #[default]
    File,
    /// A word per lock region in the cache file itself: locking and unlocking make no system call while nobody else
    /// wants the lock, and waiters sleep until they are woken. An owner's death is proved by its lease. Refused
    /// where such a lease does not hold ([`Error::LeaseRefused`](crate::Error::LeaseRefused)). Name `lease`.
    Lease,
    /// Threads of one process. The process keeps the lock of the data file for as long as it has it open;
    /// another that opens it gets [`Error::OpenElsewhere`](crate::Error::OpenElsewhere). Name `process`.
    Process,
    /// No lock at all: the caller promises that one thread of one process writes. Readers are free. Name `none`.
    None,
    /// One reader/writer lock file for the whole cache, reads under the shared lock: the arrangement that
    /// Kennel replaces, kept to be measured against. Name `rw-file`.
    RwFile,
    /// The caller's own.
    Custom(Arc<dyn LockFactory>),
}

impl LockStrategy {
    /// The name that is stored in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            LockStrategy::File => "file",
            LockStrategy::Lease => "lease",
            LockStrategy::Process => "process",
            LockStrategy::None => "none",
            LockStrategy::RwFile => "rw-file",
            LockStrategy::Custom(factory) => factory.name(),
        }
    }

    /// The number that is stored beside the name: two strategies of one name are told apart by it.
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            LockStrategy::File => 1,
            LockStrategy::Process => 2,
            LockStrategy::None => 3,
            LockStrategy::RwFile => 4,
            LockStrategy::Lease => 5,
            LockStrategy::Custom(factory) => factory.id(),
        }
    }

    /// Whether several processes may write: only then there are lock files and leases.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, LockStrategy::File | LockStrategy::Lease | LockStrategy::RwFile | LockStrategy::Custom(_))
    }

    /// Whether one process keeps the data file's lock for as long as it has the file open.
    pub(crate) fn is_one_process(&self) -> bool {
        matches!(self, LockStrategy::Process)
    }

    /// Lock files that a cache with so many lock regions has.
    pub(crate) fn lock_files(&self, regions: u32) -> u32 {
        match self {
            LockStrategy::File => regions,
            LockStrategy::RwFile => 1,
            LockStrategy::Lease | LockStrategy::Process | LockStrategy::None | LockStrategy::Custom(_) => 0,
        }
    }

    /// Makes what the strategy needs at a new cache file's place.
    pub(crate) fn prepare(&self, place: &LockPlace) -> io::Result<()> {
        match self {
            LockStrategy::Custom(factory) => factory.prepare(place),
            _ => Ok(()),
        }
    }

    /// Attaches this process, which is `member`, to the locks at a place.
    pub(crate) fn attach(&self, place: &LockPlace, member: Owner) -> io::Result<Locks> {
        Ok(match self {
            LockStrategy::File => Locks::File(FileLocks::new(place)),
            LockStrategy::Lease => Locks::Lease(LeaseLocks::new(place.directory.clone(), member)),
            LockStrategy::Process => Locks::Process(ProcessLocks::new(place.regions)),
            LockStrategy::None => Locks::None,
            LockStrategy::RwFile => Locks::RwFile(Box::new(RwFileLock::open(place)?)),
            LockStrategy::Custom(factory) => Locks::Custom(factory.attach(place)?),
        })
    }
}

impl fmt::Display for LockStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for LockStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockStrategy({})", self.name())
    }
}

impl PartialEq for LockStrategy {
    fn eq(&self, other: &Self) -> bool {
        (self.id(), self.name()) == (other.id(), other.name())
    }
}

impl Eq for LockStrategy {}

impl FromStr for LockStrategy {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let known =
            [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::None, LockStrategy::RwFile];
        known
            .into_iter()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| UnknownName::new("lock strategy", name, "file, lease, process, none or rw-file"))
    }
}

/// Where the locks of one cache file live.
#[derive(Clone, Debug)]
pub struct LockPlace {
    /// The lock directory of the cache file. What a strategy puts here goes when the cache is destroyed.
    pub directory: PathBuf,
    /// Lock regions, numbered from 0.
    pub regions: u32,
    /// Inode numbers that the lock files of the built-in strategies must have; one that differs is not the
    /// lock that everybody else holds.
    pub(crate) inodes: Arc<[u64]>,
}

impl LockPlace {
    /// A place for a strategy that keeps no files of the engine's: for tests of a custom one.
    #[must_use]
    pub fn new(directory: &Path, regions: u32) -> Self {
        Self { directory: directory.into(), regions, inodes: Arc::new([]) }
    }
}

/// Path of a built-in strategy's lock file.
pub(crate) fn lock_file_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:04}.lock"))
}

/// Whether a name in a lock directory is that of a lock file, be it of a strategy of a caller's own.
pub(crate) fn is_lock_name(name: &str) -> bool {
    name.strip_suffix(".lock").is_some_and(|rest| !rest.is_empty())
}

/// A lock strategy of the caller's own.
///
/// Open the file with [`Options::locks`](crate::Options::locks) set to the same strategy everywhere; a process
/// without it is refused. `tests/custom_lock.rs` shows one.
pub trait LockFactory: Send + Sync {
    /// Up to 32 bytes, stored in the file.
    fn name(&self) -> &str;

    /// A number of your choice, from 1000 on, stored in the file.
    fn id(&self) -> u64;

    /// Makes what the locks need, once, while the cache file is being created.
    ///
    /// Give its files names that end in `.lock`. They are removed with the directory once the cache file is destroyed and
    /// nobody uses them. A directory that holds anything else is left as it is, for you to remove.
    ///
    /// # Errors
    /// Whatever keeps the locks from being made; the cache is not created then.
    fn prepare(&self, place: &LockPlace) -> io::Result<()>;

    /// Attaches this process; called again in a forked child.
    ///
    /// # Errors
    /// When the locks that `prepare` made are not there.
    fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>>;
}

/// The lock regions of one cache file, as one process sees them. See the [contract](crate::locks).
pub trait LockRegions: Send + Sync {
    /// Locks a region for this thread within `limit`.
    ///
    /// # Errors
    /// [`LockError::Busy`] at the limit, [`LockError::Failed`] when the system refuses.
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError>;

    /// Unlocks a region that this thread locked.
    fn unlock(&self, region: u32);
}

/// The attached locks of a process.
pub(crate) enum Locks {
    File(FileLocks),
    Lease(LeaseLocks),
    Process(ProcessLocks),
    None,
    RwFile(Box<RwFileLock>),
    Custom(Box<dyn LockRegions>),
}

impl Locks {
    /// Locks a region exclusively. `seats` are those of the file that was attached to.
    ///
    /// A word is locked within the write that needs it; whatever takes a call anyway is called.
    #[inline(always)]
    pub(crate) fn lock<'a, M: Memory>(
        &'a self,
        seats: Seats<'a, M>,
        region: u32,
        limit: Duration,
    ) -> Result<RegionGuard<'a>, LockError> {
        if planted(Plant::Unlocked) {
            return Ok(RegionGuard::new(self, region, How::Whole(Mode::Exclusive), false));
        }
        let (how, waited) = match self {
            Locks::Lease(locks) => {
                let (held, waited) = locks.lock(seats, region, limit)?;
                (How::Word(held), waited)
            }
            locks => (How::Whole(Mode::Exclusive), locks.lock_whole(region, limit)?),
        };
        Ok(RegionGuard::new(self, region, how, waited))
    }

    /// Locks a region by more than a word; returns whether it had to wait.
    fn lock_whole(&self, region: u32, limit: Duration) -> Result<bool, LockError> {
        match self {
            Locks::File(locks) => locks.lock(region, limit),
            Locks::Process(locks) => locks.lock(region, limit),
            Locks::Lease(_) | Locks::None => Ok(false),
            Locks::RwFile(lock) => lock.lock(limit, Mode::Exclusive),
            Locks::Custom(locks) => locks.lock(region, limit).map(|()| false),
        }
    }

    /// Whether a lock keeps anybody out. With `none` only the writer itself may look after half done work.
    pub(crate) fn exclude(&self) -> bool {
        !matches!(self, Locks::None)
    }

    /// Whether a read has to take a lock of its own first.
    #[inline]
    pub(crate) fn reads_are_locked(&self) -> bool {
        matches!(self, Locks::RwFile(_))
    }

    /// Takes the lock for reading, where reads take one.
    pub(crate) fn lock_shared(&self, region: u32, limit: Duration) -> Result<Option<RegionGuard<'_>>, LockError> {
        let Locks::RwFile(lock) = self else { return Ok(None) };
        let waited = lock.lock(limit, Mode::Shared)?;
        Ok(Some(RegionGuard::new(self, region, How::Whole(Mode::Shared), waited)))
    }

    /// Unlocks what is held by more than a word.
    pub(super) fn unlock(&self, region: u32, mode: Mode) {
        match self {
            _ if planted(Plant::Unlocked) => {}
            Locks::File(locks) => locks.unlock(region),
            Locks::Process(locks) => locks.unlock(region),
            Locks::Lease(_) | Locks::None => {}
            Locks::RwFile(lock) => lock.unlock(mode),
            Locks::Custom(locks) => locks.unlock(region),
        }
    }
}
