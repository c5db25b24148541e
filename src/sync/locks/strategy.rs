//! The lock strategies by name, and how a process attaches to one.

use super::attached::Locks;
use super::contract::{LockFactory, LockPlace};
use super::file::FileLocks;
use super::lease::LeaseLocks;
use super::process::ProcessLocks;
use super::rw_file::RwFileLock;
use crate::names::UnknownName;
use crate::sync::member::MemberId;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

/// How the stripes of a cache file are locked. The strategy is chosen when the file is created; all processes that use
/// the file share it.
///
/// Two strategies are equal if they have the same [name](Self::name) and [id](Self::id). `Display` writes the name, and
/// `FromStr` reads the names of the built-in strategies.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum LockStrategy {
    /// One lock file per lock region, locked exclusively through `fs2`. An in-process flag excludes the threads of a
    /// process from each other, since such a lock belongs to the open file and not to the thread. Name `file`.
    #[default]
    File,
    /// One word per lock region in the cache file itself: locking and unlocking make no system call without contention,
    /// and waiters sleep until they are woken. An owner's lease proves whether it lives. Opening fails with
    /// [`Error::LeaseRefused`](crate::Error::LeaseRefused) where the system cannot hold such a lease. Name `lease`.
    Lease,
    /// Locks among the threads of one process. That process locks the data file for as long as it has it open; another
    /// process that opens the file gets [`Error::OpenElsewhere`](crate::Error::OpenElsewhere). Name `process`.
    Process,
    /// No locks: the caller promises that only one thread of one process writes. Any thread and process may read. Name
    /// `none`.
    None,
    /// One reader/writer lock file for the whole cache; reads take the shared lock. This is the design that Kennel
    /// replaces, kept as a baseline for measurements. Name `rw-file`.
    RwFile,
    /// A custom strategy.
    Custom(Arc<dyn LockFactory>),
}

impl LockStrategy {
    /// The name of the strategy, which is stored in the file.
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

    /// The number of the strategy, which is stored beside the name. It distinguishes strategies of the same name.
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

    /// Whether several processes may write. Only then the cache has lock files and leases.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, LockStrategy::File | LockStrategy::Lease | LockStrategy::RwFile | LockStrategy::Custom(_))
    }

    /// Whether a lock is a word in memory, or nothing at all. Other locks take system calls, or may do so.
    pub(crate) fn are_words(&self) -> bool {
        matches!(self, LockStrategy::Lease | LockStrategy::Process | LockStrategy::None)
    }

    /// Whether a process keeps the opening lock for as long as it has the file open.
    pub(crate) fn is_one_process(&self) -> bool {
        matches!(self, LockStrategy::Process)
    }

    /// Number of lock files of a cache with this many lock regions.
    pub(crate) fn lock_files(&self, regions: u32) -> u32 {
        match self {
            LockStrategy::File => regions,
            LockStrategy::RwFile => 1,
            LockStrategy::Lease | LockStrategy::Process | LockStrategy::None | LockStrategy::Custom(_) => 0,
        }
    }

    /// Creates what the strategy needs in the lock directory of a new cache file.
    pub(crate) fn prepare(&self, place: &LockPlace) -> io::Result<()> {
        match self {
            LockStrategy::Custom(factory) => factory.prepare(place),
            _ => Ok(()),
        }
    }

    /// Attaches this process, as `member`, to the locks at a place.
    pub(crate) fn attach(&self, place: &LockPlace, member: MemberId) -> io::Result<Locks> {
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
