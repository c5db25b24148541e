//! The errors of Kennel. A message says what was expected, what was found, and what to do.

use crate::names::UnknownName;
use std::collections::TryReserveError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of an operation on a cache.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of Kennel. Misses and evictions are not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What failed, such as `open`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },

    /// There is no file at this path.
    #[error("no cache file at {}: create one with `kennel create` or `Options::create`", .0.display())]
    NotFound(PathBuf),

    /// There is a file at this path already.
    #[error("{} exists already: open it, or destroy it first", .0.display())]
    Exists(PathBuf),

    /// The file is not a cache file, is one of another format, or has a damaged header.
    #[error("{}: {field}: expected {expected}, found {found}; {}", path.display(), about_bad_file(field))]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The part of the header that is wrong.
        field: &'static str,
        /// What a valid file contains there.
        expected: String,
        /// What this file contains there.
        found: String,
    },

    /// The file differs from the options, and [`OnMismatch::Fail`](crate::OnMismatch::Fail) is set.
    #[error("{}: option {option}: asked for {asked}, the file has {found}; change the option, use the file as it is \
             (`OnMismatch::UseExisting`), or replace it (`OnMismatch::Recreate`)", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The option, by the name of its method of [`Options`](crate::Options).
        option: &'static str,
        /// Its value in the options.
        asked: String,
        /// Its value in the file.
        found: String,
    },

    /// The lock files that belong to the cache file are not where they must be. Replacing them would let two processes
    /// lock the same stripe.
    #[error("the locks of {} are lost: {detail}; the file was moved, linked or mounted without its lock directory, \
             or that directory was deleted: restore the directory, or destroy the cache file and create it \
             again", path.display())]
    LocksLost {
        /// The cache file.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },

    /// Strategy `lease`: on this file system a lease ends when its descriptor is closed, so other processes could take
    /// a living process for dead.
    #[error("strategy `lease` is refused for {}: on an overlay file system, such as the root of a container, a process \
             loses the proof that it is alive when any part of it closes descriptors that are not its own; use another \
             file system (/dev/shm, a volume) or strategy `file`", .0.display())]
    LeaseRefused(PathBuf),

    /// The file uses a lock strategy that this program does not have.
    #[error("{}: locked by strategy {found} (id {id}), which this program does not have; it was opened with {asked}", path.display())]
    UnknownStrategy {
        /// The file.
        path: PathBuf,
        /// The strategy's name in the file.
        found: String,
        /// Its number.
        id: u64,
        /// The strategy in the options.
        asked: String,
    },

    /// Strategy `process`: the file is open already, in another process or in this one.
    #[error("{} is open already, and its lock strategy `process` allows one handle: share that within the process, or \
             create the file with another strategy for several processes", .0.display())]
    OpenElsewhere(PathBuf),

    /// Another user could have written the file.
    #[error("{} is not trusted: {detail}; if you trust everyone who can write to it, open it with `trust`", path.display())]
    NotTrusted {
        /// The file.
        path: PathBuf,
        /// How: by its owner or its permission bits.
        detail: String,
    },

    /// On this file system mappings or locks are not coherent between all processes that open the file.
    #[error("{} lies on {kind}, where mappings or locks are not coherent; use a local file system, or \
             `allow_network` if only one host uses it and you know that its locks work", path.display())]
    NetworkFilesystem {
        /// The file.
        path: PathBuf,
        /// The file system.
        kind: String,
    },

    /// The file system has no room for the file.
    #[error("no room for {needed} bytes at {}{advice}", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Its length.
        needed: u64,
        /// What may help.
        advice: &'static str,
    },

    /// Living members have taken all seats.
    #[error("all {seats} seats of {} are taken by living processes; create it with more (`seats`)", path.display())]
    SeatsFull {
        /// The file.
        path: PathBuf,
        /// How many there are.
        seats: u32,
    },

    /// An option has an invalid value.
    #[error("option {option}: expected {expected}, found {given}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        given: String,
        /// Which values are valid.
        expected: String,
    },

    /// A key is longer than [`MAX_KEY`](crate::MAX_KEY).
    #[error("a key of {size} bytes: expected at most {limit}")]
    KeyTooLong {
        /// Its length in bytes.
        size: usize,
        /// The longest.
        limit: usize,
    },

    /// An item is larger than a quarter of a stripe's main ring.
    #[error(
        "an item of {size} bytes (header, key and value): expected at most {limit}; fewer stripes or a larger \
             capacity allow larger items"
    )]
    TooLarge {
        /// Its length in bytes, header included.
        size: u64,
        /// The longest.
        limit: u64,
    },

    /// `incr` or `decr` of a value that is not a number from 0 to 2^64 - 1 in decimal digits.
    #[error("not a number: expected 1 to 20 decimal digits, found {found}")]
    NotANumber {
        /// The value, cut off if long.
        found: String,
    },

    /// `incr` beyond 2^64 - 1, or `decr` below 0. The value is as it was.
    #[error("{value} {sign} {delta} is not a number from 0 to 18446744073709551615")]
    Overflow {
        /// The value.
        value: u64,
        /// `+` or `-`.
        sign: char,
        /// The amount to add or subtract.
        delta: u64,
    },

    /// Another thread or process held the stripe's lock until the time limit; nothing was written.
    #[error("stripe {stripe} was locked by another thread or process for {waited:?}; a stopped process may hold it")]
    Busy {
        /// The stripe.
        stripe: u32,
        /// The limit.
        waited: Duration,
    },

    /// Until the caller's time limit, another caller held the key's claim, or others held all claims of its stripe.
    #[error(
        "another caller still claims the key after {waited:?}; wait longer, or create the value anyway \
             (`CreateOptions::unprotected`)"
    )]
    TimedOut {
        /// How long the caller waited.
        waited: Duration,
    },

    /// This thread or task holds the key's claim already, and would wait for itself for ever.
    #[error(
        "this thread or task has claimed the key already: within its creation or lock, do not create or lock the key \
             again"
    )]
    OwnClaim,

    /// The file's table of namespaces is full.
    #[error("all {namespaces} namespaces of {} are used; create it with more (`namespaces`)", path.display())]
    NamespacesFull {
        /// The file.
        path: PathBuf,
        /// How many there are.
        namespaces: u32,
    },

    /// A typed value cannot be serialized, or the stored bytes are not a value of the type.
    #[error("cannot {what} a typed value: {detail}")]
    Codec {
        /// `serialize` or `read`.
        what: &'static str,
        /// The reason.
        detail: String,
    },

    /// The cache was opened read-only.
    #[error("{} was opened read-only", .0.display())]
    ReadOnly(PathBuf),

    /// The process has no memory for a value of this length.
    #[error("no memory for a value of {needed} bytes")]
    NoMemory {
        /// Length of the value.
        needed: usize,
    },

    /// The caller's buffer is too small for the value.
    #[error("a buffer of {given} bytes for a value of {needed}")]
    BufferTooSmall {
        /// Length of the value.
        needed: usize,
        /// Length of the buffer.
        given: usize,
    },
}

/// Whether a file whose header is wrong in this part may never have been a cache file.
fn is_no_cache_file(field: &str) -> bool {
    matches!(field, "magic" | "length" | "file type")
}

/// What to do about a file whose header is wrong in this part.
fn about_bad_file(field: &str) -> &'static str {
    if field == "file type" {
        "this is not a cache file, so it is left alone: choose another path, or remove it yourself"
    } else if field == "content" {
        "a power failure can leave a file like this, and nothing is lost with it: destroy it, or let it be replaced \
         (`OnMismatch::Recreate`)"
    } else if is_no_cache_file(field) {
        "this is not a cache file, so it is left alone: choose another path, or remove it yourself if you know that it \
         once was one"
    } else {
        "it is a cache file of another format, or a damaged one: destroy it and create it again"
    }
}

impl Error {
    /// Whether the file is neither a damaged cache file nor one of another format.
    pub(crate) fn is_no_cache_file(&self) -> bool {
        matches!(self, Error::BadFile { field, .. } if is_no_cache_file(field))
    }

    /// Whether the error is the caller's mistake, not a failure of the cache.
    pub(crate) fn is_of_caller(&self) -> bool {
        matches!(self, Error::OwnClaim | Error::BadOption { .. })
    }

    /// Converts a failed allocation for a value.
    pub(crate) fn no_memory(needed: usize) -> impl FnOnce(TryReserveError) -> Error {
        move |_| Error::NoMemory { needed }
    }

    /// Converts an error of the system; copies the path only if there is one.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, path: path.into(), source }
    }

    /// Converts an error of locks or leases: those that are missing are lost.
    pub(crate) fn locks(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Error::LocksLost { path: path.into(), detail: source.to_string() },
            _ => Error::Io { what, path: path.into(), source },
        }
    }
}

/// The kind is that of the system's own error, or else the nearest one; [`io::Error::downcast`] returns the error
/// itself.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(io_kind(&error), error)
    }
}

fn io_kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::Io { source, .. } => source.kind(),
        Error::NotFound(_) => io::ErrorKind::NotFound,
        Error::Exists(_) => io::ErrorKind::AlreadyExists,
        Error::BadFile { .. } | Error::NotANumber { .. } | Error::Codec { .. } => io::ErrorKind::InvalidData,
        Error::NotTrusted { .. } | Error::ReadOnly(_) => io::ErrorKind::PermissionDenied,
        Error::NoSpace { .. } => io::ErrorKind::StorageFull,
        Error::NoMemory { .. } => io::ErrorKind::OutOfMemory,
        Error::BadOption { .. } | Error::KeyTooLong { .. } | Error::TooLarge { .. } | Error::BufferTooSmall { .. } => {
            io::ErrorKind::InvalidInput
        }
        Error::Busy { .. } | Error::TimedOut { .. } => io::ErrorKind::TimedOut,
        Error::OpenElsewhere(_) => io::ErrorKind::ResourceBusy,
        Error::OwnClaim => io::ErrorKind::Deadlock,
        Error::NetworkFilesystem { .. } | Error::LeaseRefused(_) => io::ErrorKind::Unsupported,
        Error::Mismatch { .. }
        | Error::LocksLost { .. }
        | Error::UnknownStrategy { .. }
        | Error::SeatsFull { .. }
        | Error::NamespacesFull { .. }
        | Error::Overflow { .. } => io::ErrorKind::Other,
    }
}

impl From<UnknownName> for Error {
    fn from(error: UnknownName) -> Self {
        let (given, expected) = (error.found().to_owned(), error.expected().to_owned());
        Error::BadOption { option: error.what(), given, expected }
    }
}
