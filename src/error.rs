//! The errors of Kennel. A message says what was expected, what was found, and what to do.

mod advice;

use crate::names::UnknownName;
pub use advice::{Advice, ErrorCode};
use std::collections::TryReserveError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of an operation on a cache.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All errors of Kennel. Misses and evictions are not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the operating system failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The operation that failed, such as `open`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// There is no file at this path.
    #[error("no cache file at {}{}", .0.display(), Advice::Create.in_rust())]
    NotFound(PathBuf),

    /// There is a file at this path already.
    #[error("{} exists already{}", .0.display(), Advice::OpenOrDestroy.in_rust())]
    Exists(PathBuf),

    /// The file is not a cache file, is one of another format, or has a damaged header.
    #[error("{}: {field}: expected {expected}, found {found}{}", path.display(), about_bad_file(field).in_rust())]
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
    #[error("{}: option {option}: asked for {asked}, the file has {found}{}", path.display(), Advice::OnMismatch.in_rust())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The option: the name of its method in [`Options`](crate::Options).
        option: &'static str,
        /// Its value in the options.
        asked: String,
        /// Its value in the file.
        found: String,
    },

    /// The lock files that belong to the cache file are missing, or others are in their place. Kennel does not create
    /// new ones, because then two processes could lock the same stripe.
    #[error("the locks of {} are lost: {detail}{}", path.display(), Advice::RestoreLocks.in_rust())]
    LocksLost {
        /// The cache file.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },

    /// The lock strategy is `lease`, but on this file system a process can lose its lease while it lives, so other
    /// processes could take it for dead.
    #[error("strategy `lease` is refused for {}: on an overlay file system, such as the root of a container, a process \
             loses the proof that it is alive when any part of it closes descriptors that are not its own{}",
             .0.display(), Advice::NotLease.in_rust())]
    LeaseRefused(PathBuf),

    /// The file uses a lock strategy that this program does not have.
    #[error("{}: locked by strategy {found} (id {id}), which this program does not have; it was opened with {asked}", path.display())]
    UnknownStrategy {
        /// The file.
        path: PathBuf,
        /// The strategy's name in the file.
        found: String,
        /// The strategy's number in the file.
        id: u64,
        /// The strategy in the options.
        asked: String,
    },

    /// The lock strategy is `process`, and the file is already open, in another process or in this one.
    #[error("{} is open already, and its lock strategy `process` allows one handle{}", .0.display(), Advice::ShareHandle.in_rust())]
    OpenElsewhere(PathBuf),

    /// Another user could have written the file.
    #[error("{} is not trusted: {detail}{}", path.display(), Advice::Trust.in_rust())]
    NotTrusted {
        /// The file.
        path: PathBuf,
        /// Why the file is not trusted: its owner, or its permission bits.
        detail: String,
    },

    /// On this file system, mappings or locks are not coherent between all processes that open the file.
    #[error("{} lies on {kind}, where mappings or locks are not coherent{}", path.display(), Advice::LocalFiles.in_rust())]
    NetworkFilesystem {
        /// The file.
        path: PathBuf,
        /// The name of the file system.
        kind: String,
    },

    /// The file system has no room for the file to be created.
    #[error("no room for {needed} bytes at {}{advice}", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The length of the file, in bytes.
        needed: u64,
        /// What may help.
        advice: &'static str,
    },

    /// All seats are taken by living processes that have the file open for writing.
    #[error("all {seats} seats of {} are taken by living processes{}", path.display(), Advice::MoreSeats.in_rust())]
    SeatsFull {
        /// The file.
        path: PathBuf,
        /// The number of seats of the file.
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

    /// A stored key is longer than 65 535 bytes ([`MAX_KEY`](crate::MAX_KEY)). In a namespace, the stored key begins
    /// with the name of the namespace and a zero byte, unless the namespace has a key mangler.
    #[error("a key of {size} bytes: expected at most {limit}")]
    KeyTooLong {
        /// The length of the stored key, in bytes.
        size: usize,
        /// The maximum length, in bytes.
        limit: usize,
    },

    /// An item is larger than a quarter of a stripe's main ring, or than 32 GiB.
    #[error("an item of {size} bytes (header, key and value): expected at most {limit}{}", Advice::LargerItems.in_rust())]
    TooLarge {
        /// The size of the item's record in bytes, header included.
        size: u64,
        /// The maximum size, in bytes.
        limit: u64,
    },

    /// A value has more than 16 tags ([`MAX_TAGS`](crate::MAX_TAGS)).
    #[error("a value with {found} tags: expected at most {limit}")]
    TooManyTags {
        /// How many different tags the caller gave it.
        found: usize,
        /// The maximum number of tags.
        limit: usize,
    },

    /// The value that `incr` or `decr` was to change is not a number from 0 to 2^64 - 1 in decimal digits.
    #[error("not a number: expected 1 to 20 decimal digits, found {found}")]
    NotANumber {
        /// The value, cut off after 32 bytes.
        found: String,
    },

    /// The result of `incr` would exceed 2^64 - 1, or that of `decr` would be below 0. The value is unchanged.
    #[error("{value} {sign} {delta} is not a number from 0 to 18446744073709551615")]
    Overflow {
        /// The present value.
        value: u64,
        /// `+` or `-`.
        sign: char,
        /// The amount to add or subtract.
        delta: u64,
    },

    /// Until the time limit, another thread or process held the stripe's lock, or kept the file closed to writers in
    /// order to resize it. Nothing was written.
    #[error("{}", busy(*stripe, *waited))]
    Busy {
        /// The number of the stripe; `u32::MAX` stands for the whole file.
        stripe: u32,
        /// The time limit.
        waited: Duration,
    },

    /// The caller's time limit passed while another caller held the key's claim, or while others held all claims of its
    /// stripe.
    #[error("another caller still claims the key after {waited:?}{}", Advice::WaitLonger.in_rust())]
    TimedOut {
        /// How long the caller waited.
        waited: Duration,
    },

    /// This thread or task already holds the key's claim, and would wait for itself for ever.
    #[error("this thread or task has claimed the key already{}", Advice::NotWithin.in_rust())]
    OwnClaim,

    /// Creations of the key failed, and no caller may create it yet: see
    /// [`CreateOptions::rest`](crate::CreateOptions::rest).
    #[error("creations of the key failed; the next one may begin in {left:?}")]
    Resting {
        /// How long it is until a caller may create the key again.
        left: Duration,
    },

    /// Another caller's creation of the key, for which this caller waited, failed. Only callers that set
    /// [`CreateOptions::share_failure`](crate::CreateOptions::share_failure) get this error.
    #[error("the creation of the key by another caller failed")]
    FailedElsewhere,

    /// The file's table of namespaces is full.
    #[error("all {namespaces} namespaces of {} are used{}", path.display(), Advice::MoreNamespaces.in_rust())]
    NamespacesFull {
        /// The file.
        path: PathBuf,
        /// How many namespaces the file has room for.
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

    /// The file cannot be resized now: see [`Cache::resize`](crate::Cache::resize). It is unchanged.
    #[error("cannot resize {}: {why}", path.display())]
    NotResized {
        /// The file.
        path: PathBuf,
        /// What prevents it.
        why: String,
    },

    /// The cache was opened read-only.
    #[error("{} was opened read-only", .0.display())]
    ReadOnly(PathBuf),

    /// The process has no memory for a value of this length.
    #[error("no memory for a value of {needed} bytes")]
    NoMemory {
        /// The length of the value, in bytes.
        needed: usize,
    },

    /// The caller's buffer is too small for the value. Nothing was copied.
    #[error("a buffer of {given} bytes for a value of {needed}")]
    BufferTooSmall {
        /// The length of the value, in bytes.
        needed: usize,
        /// The length of the buffer, in bytes.
        given: usize,
    },
}

/// An error in parts, for a program that words its messages itself: see [`Error::parts`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorParts {
    /// The kind of the error.
    pub code: ErrorCode,
    /// What was expected and what was found, in English. Options have the names of the methods of
    /// [`Options`](crate::Options).
    pub facts: String,
    /// What to do about the error, unless the facts say so already.
    pub advice: Option<Advice>,
}

impl Error {
    /// The error in parts, for a program whose users do not know the functions of the Rust interface. The message of
    /// the error consists of the facts and the advice, which names these functions.
    ///
    /// ```
    /// use kennel::{Advice, Error};
    /// let parts = Error::NotFound("/tmp/cache".into()).parts();
    /// assert_eq!(parts.facts, "no cache file at /tmp/cache");
    /// assert_eq!((parts.code, parts.advice), (kennel::ErrorCode::NotFound, Some(Advice::Create)));
    /// ```
    #[must_use]
    pub fn parts(&self) -> ErrorParts {
        let (text, advice) = (self.to_string(), self.advice());
        let ending = advice.map_or("", Advice::in_rust);
        let facts = text.strip_suffix(ending).unwrap_or(&text).to_owned();
        ErrorParts { code: self.code(), facts, advice }
    }

    /// The kind of the error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Io { .. } => ErrorCode::Io,
            Error::NotFound(..) => ErrorCode::NotFound,
            Error::Exists(..) => ErrorCode::Exists,
            Error::BadFile { .. } => ErrorCode::BadFile,
            Error::Mismatch { .. } => ErrorCode::Mismatch,
            Error::LocksLost { .. } => ErrorCode::LocksLost,
            Error::LeaseRefused(..) => ErrorCode::LeaseRefused,
            Error::UnknownStrategy { .. } => ErrorCode::UnknownStrategy,
            Error::OpenElsewhere(..) => ErrorCode::OpenElsewhere,
            Error::NotTrusted { .. } => ErrorCode::NotTrusted,
            Error::NetworkFilesystem { .. } => ErrorCode::NetworkFilesystem,
            Error::NoSpace { .. } => ErrorCode::NoSpace,
            Error::SeatsFull { .. } => ErrorCode::SeatsFull,
            Error::BadOption { .. } => ErrorCode::BadOption,
            Error::KeyTooLong { .. } => ErrorCode::KeyTooLong,
            Error::TooLarge { .. } => ErrorCode::TooLarge,
            Error::NotANumber { .. } => ErrorCode::NotANumber,
            Error::Overflow { .. } => ErrorCode::Overflow,
            Error::Busy { .. } => ErrorCode::Busy,
            Error::TimedOut { .. } => ErrorCode::TimedOut,
            Error::OwnClaim => ErrorCode::OwnClaim,
            Error::NamespacesFull { .. } => ErrorCode::NamespacesFull,
            Error::Codec { .. } => ErrorCode::Codec,
            Error::ReadOnly(..) => ErrorCode::ReadOnly,
            Error::NoMemory { .. } => ErrorCode::NoMemory,
            Error::BufferTooSmall { .. } => ErrorCode::BufferTooSmall,
            Error::NotResized { .. } => ErrorCode::NotResized,
            Error::TooManyTags { .. } => ErrorCode::TooManyTags,
            Error::Resting { .. } => ErrorCode::Resting,
            Error::FailedElsewhere => ErrorCode::FailedElsewhere,
        }
    }

    /// Whether a write found the file closed, or about to be replaced by its successor.
    pub(crate) fn says_closed(&self) -> bool {
        matches!(self, Error::Busy { stripe: WHOLE_FILE, .. })
    }

    fn advice(&self) -> Option<Advice> {
        Some(match self {
            Error::NotFound(_) => Advice::Create,
            Error::Exists(_) => Advice::OpenOrDestroy,
            Error::BadFile { field, .. } => about_bad_file(field),
            Error::Mismatch { .. } => Advice::OnMismatch,
            Error::LocksLost { .. } => Advice::RestoreLocks,
            Error::LeaseRefused(_) => Advice::NotLease,
            Error::OpenElsewhere(_) => Advice::ShareHandle,
            Error::NotTrusted { .. } => Advice::Trust,
            Error::NetworkFilesystem { .. } => Advice::LocalFiles,
            Error::SeatsFull { .. } => Advice::MoreSeats,
            Error::TooLarge { .. } => Advice::LargerItems,
            Error::TimedOut { .. } => Advice::WaitLonger,
            Error::OwnClaim => Advice::NotWithin,
            Error::NamespacesFull { .. } => Advice::MoreNamespaces,
            _ => return None,
        })
    }
}

/// The stripe number that stands for the whole file.
pub(crate) const WHOLE_FILE: u32 = u32::MAX;

fn busy(stripe: u32, waited: Duration) -> String {
    if stripe == WHOLE_FILE {
        format!("another thread or process kept the file closed to writers for {waited:?}")
    } else {
        format!("stripe {stripe} was locked by another thread or process for {waited:?}; a stopped process may hold it")
    }
}

/// Whether a file with an invalid value in this part of the header may never have been a cache file.
fn is_no_cache_file(field: &str) -> bool {
    matches!(field, "magic" | "length" | "file type")
}

/// What to do about a file with an invalid value in this part of the header.
fn about_bad_file(field: &str) -> Advice {
    match field {
        "file type" => Advice::OtherPath,
        "content" => Advice::ReplaceLost,
        _ if is_no_cache_file(field) => Advice::OtherPathOrRemove,
        _ => Advice::DestroyAndCreate,
    }
}

impl Error {
    /// Whether the file shows no sign of having been a cache file, damaged or of another format.
    pub(crate) fn is_no_cache_file(&self) -> bool {
        matches!(self, Error::BadFile { field, .. } if is_no_cache_file(field))
    }

    /// Whether the cache failed. All other errors are mistakes of the caller or failures of a creator.
    pub(crate) fn is_of_cache(&self) -> bool {
        !matches!(
            self,
            Error::OwnClaim
                | Error::BadOption { .. }
                | Error::TooManyTags { .. }
                | Error::Resting { .. }
                | Error::FailedElsewhere
        )
    }

    /// Converts a failed allocation for a value.
    pub(crate) fn no_memory(needed: usize) -> impl FnOnce(TryReserveError) -> Error {
        move |_| Error::NoMemory { needed }
    }

    /// Converts an I/O error. The path is copied only if there is an error.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, path: path.into(), source }
    }

    /// Converts an I/O error of locks or leases. A missing file means that the locks are lost.
    pub(crate) fn locks(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Error::LocksLost { path: path.into(), detail: source.to_string() },
            _ => Error::Io { what, path: path.into(), source },
        }
    }
}

/// The kind is that of the operating system's error if there is one, else the nearest kind. [`io::Error::downcast`]
/// returns the Kennel error itself.
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
        Error::BadOption { .. }
        | Error::KeyTooLong { .. }
        | Error::TooLarge { .. }
        | Error::TooManyTags { .. }
        | Error::BufferTooSmall { .. } => io::ErrorKind::InvalidInput,
        Error::Busy { .. } | Error::TimedOut { .. } => io::ErrorKind::TimedOut,
        Error::OpenElsewhere(_) | Error::NotResized { .. } => io::ErrorKind::ResourceBusy,
        Error::OwnClaim => io::ErrorKind::Deadlock,
        Error::Resting { .. } => io::ErrorKind::WouldBlock,
        Error::NetworkFilesystem { .. } | Error::LeaseRefused(_) => io::ErrorKind::Unsupported,
        Error::Mismatch { .. }
        | Error::LocksLost { .. }
        | Error::UnknownStrategy { .. }
        | Error::SeatsFull { .. }
        | Error::NamespacesFull { .. }
        | Error::FailedElsewhere
        | Error::Overflow { .. } => io::ErrorKind::Other,
    }
}

impl From<UnknownName> for Error {
    fn from(error: UnknownName) -> Self {
        let (given, expected) = (error.found().to_owned(), error.expected().to_owned());
        Error::BadOption { option: error.what(), given, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One error of each kind, and each kind of bad file.
    fn all() -> Vec<Error> {
        let path = || PathBuf::from("/tmp/cache");
        let bad = |field| Error::BadFile { path: path(), field, expected: "a".into(), found: "b".into() };
        let source = io::Error::from(io::ErrorKind::NotFound);
        let waited = Duration::from_secs(1);
        vec![
            Error::Io { what: "open", path: path(), source },
            Error::NotFound(path()),
            Error::Exists(path()),
            bad("file type"),
            bad("content"),
            bad("magic"),
            bad("format version"),
            Error::Mismatch { path: path(), option: "seats", asked: "1".into(), found: "2".into() },
            Error::LocksLost { path: path(), detail: "gone".into() },
            Error::LeaseRefused(path()),
            Error::UnknownStrategy { path: path(), found: "other".into(), id: 9, asked: "file".into() },
            Error::OpenElsewhere(path()),
            Error::NotTrusted { path: path(), detail: "others may write".into() },
            Error::NetworkFilesystem { path: path(), kind: "nfs".into() },
            Error::NoSpace { path: path(), needed: 1, advice: ": free some" },
            Error::SeatsFull { path: path(), seats: 2 },
            Error::BadOption { option: "seats", given: "0".into(), expected: "1".into() },
            Error::KeyTooLong { size: 2, limit: 1 },
            Error::TooLarge { size: 2, limit: 1 },
            Error::NotANumber { found: "x".into() },
            Error::Overflow { value: 1, sign: '-', delta: 2 },
            Error::Busy { stripe: 1, waited },
            Error::Busy { stripe: WHOLE_FILE, waited },
            Error::TimedOut { waited },
            Error::OwnClaim,
            Error::NamespacesFull { path: path(), namespaces: 1 },
            Error::Codec { what: "read", detail: "end".into() },
            Error::ReadOnly(path()),
            Error::NoMemory { needed: 1 },
            Error::BufferTooSmall { needed: 2, given: 1 },
            Error::NotResized { path: path(), why: "1 key is locked".into() },
            Error::TooManyTags { found: 17, limit: 16 },
            Error::Resting { left: waited },
            Error::FailedElsewhere,
        ]
    }

    #[test]
    fn a_message_is_the_facts_and_the_advice() {
        for error in all() {
            let parts = error.parts();
            assert_eq!(format!("{}{}", parts.facts, parts.advice.map_or("", Advice::in_rust)), error.to_string());
            assert!(!parts.facts.contains("::") && !parts.facts.ends_with([':', ';', ' ']), "{}", parts.facts);
        }
    }

    #[test]
    fn kinds_are_numbered_without_a_gap() {
        let mut numbers: Vec<u16> = all().iter().map(|error| error.code().number()).collect();
        numbers.dedup();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
    }
}
