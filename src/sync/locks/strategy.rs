//! The strategies by name, and how one is attached to.

use super::attached::Locks;
use super::contract::{LockFactory, LockPlace};
use super::file::FileLocks;
use super::lease::LeaseLocks;
use super::process::ProcessLocks;
use super::rw_file::RwFileLock;
use crate::names::UnknownName;
use crate::sync::member::Owner;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

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
