//! What an error is, and what to do about it, apart from its words.

/// The kind of an [`Error`](crate::Error), without what it tells. A kind keeps its number for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorCode {
    /// Of [`Error::Io`](crate::Error::Io).
    Io = 1,
    /// Of [`Error::NotFound`](crate::Error::NotFound).
    NotFound = 2,
    /// Of [`Error::Exists`](crate::Error::Exists).
    Exists = 3,
    /// Of [`Error::BadFile`](crate::Error::BadFile).
    BadFile = 4,
    /// Of [`Error::Mismatch`](crate::Error::Mismatch).
    Mismatch = 5,
    /// Of [`Error::LocksLost`](crate::Error::LocksLost).
    LocksLost = 6,
    /// Of [`Error::LeaseRefused`](crate::Error::LeaseRefused).
    LeaseRefused = 7,
    /// Of [`Error::UnknownStrategy`](crate::Error::UnknownStrategy).
    UnknownStrategy = 8,
    /// Of [`Error::OpenElsewhere`](crate::Error::OpenElsewhere).
    OpenElsewhere = 9,
    /// Of [`Error::NotTrusted`](crate::Error::NotTrusted).
    NotTrusted = 10,
    /// Of [`Error::NetworkFilesystem`](crate::Error::NetworkFilesystem).
    NetworkFilesystem = 11,
    /// Of [`Error::NoSpace`](crate::Error::NoSpace).
    NoSpace = 12,
    /// Of [`Error::SeatsFull`](crate::Error::SeatsFull).
    SeatsFull = 13,
    /// Of [`Error::BadOption`](crate::Error::BadOption).
    BadOption = 14,
    /// Of [`Error::KeyTooLong`](crate::Error::KeyTooLong).
    KeyTooLong = 15,
    /// Of [`Error::TooLarge`](crate::Error::TooLarge).
    TooLarge = 16,
    /// Of [`Error::NotANumber`](crate::Error::NotANumber).
    NotANumber = 17,
    /// Of [`Error::Overflow`](crate::Error::Overflow).
    Overflow = 18,
    /// Of [`Error::Busy`](crate::Error::Busy).
    Busy = 19,
    /// Of [`Error::TimedOut`](crate::Error::TimedOut).
    TimedOut = 20,
    /// Of [`Error::OwnClaim`](crate::Error::OwnClaim).
    OwnClaim = 21,
    /// Of [`Error::NamespacesFull`](crate::Error::NamespacesFull).
    NamespacesFull = 22,
    /// Of [`Error::Codec`](crate::Error::Codec).
    Codec = 23,
    /// Of [`Error::ReadOnly`](crate::Error::ReadOnly).
    ReadOnly = 24,
    /// Of [`Error::NoMemory`](crate::Error::NoMemory).
    NoMemory = 25,
    /// Of [`Error::BufferTooSmall`](crate::Error::BufferTooSmall).
    BufferTooSmall = 26,
    /// Of [`Error::NotResized`](crate::Error::NotResized).
    NotResized = 27,
    /// Of [`Error::TooManyTags`](crate::Error::TooManyTags).
    TooManyTags = 28,
    /// Of [`Error::Resting`](crate::Error::Resting).
    Resting = 29,
    /// Of [`Error::FailedElsewhere`](crate::Error::FailedElsewhere).
    FailedElsewhere = 30,
}

impl ErrorCode {
    /// The number of this kind, from 1.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// What a user can do about an error. A program that is written in another language, or that has options of its own,
/// words it with its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Create the file.
    Create,
    /// Open the file that exists, or destroy it first.
    OpenOrDestroy,
    /// This is no cache file, and none of its kind is: choose another path, or remove it yourself.
    OtherPath,
    /// This is no cache file, and is left alone: choose another path, or remove it yourself if it once was one.
    OtherPathOrRemove,
    /// The file lost its content in a power failure: destroy it, or let it be replaced.
    ReplaceLost,
    /// The file is damaged or of another format: destroy it and create it again.
    DestroyAndCreate,
    /// Change the option, use the file as it is, or replace it.
    OnMismatch,
    /// Restore the directory of the locks, or destroy the file and create it again.
    RestoreLocks,
    /// Use another file system, or the lock strategy `file`.
    NotLease,
    /// Share the open handle, or create the file with another lock strategy.
    ShareHandle,
    /// Open the file with the option that trusts everyone who can write to it.
    Trust,
    /// Use a local file system, or allow this one.
    LocalFiles,
    /// Create the file with more seats.
    MoreSeats,
    /// Create the file with fewer stripes or a larger capacity.
    LargerItems,
    /// Wait longer, or create the value without protection.
    WaitLonger,
    /// Do not create or lock a key within its own creation or lock.
    NotWithin,
    /// Create the file with room for more namespaces.
    MoreNamespaces,
}

impl Advice {
    /// The advice for a program in Rust, with what separates it from the facts.
    pub(super) fn in_rust(self) -> &'static str {
        match self {
            Self::Create => ": create one with `kennel create` or `Options::create`",
            Self::OpenOrDestroy => ": open it, or destroy it first",
            Self::OtherPath => {
                "; this is not a cache file, so it is left alone: choose another path, or remove it yourself"
            }
            Self::OtherPathOrRemove => {
                "; this is not a cache file, so it is left alone: choose another path, or remove it yourself if you know \
                 that it once was one"
            }
            Self::ReplaceLost => {
                "; a power failure can leave a file like this, and nothing is lost with it: destroy it, or let it be \
                 replaced (`OnMismatch::Recreate`)"
            }
            Self::DestroyAndCreate => {
                "; it is a cache file of another format, or a damaged one: destroy it and create it again"
            }
            Self::OnMismatch => {
                "; change the option, use the file as it is (`OnMismatch::UseExisting`), or replace it \
                 (`OnMismatch::Recreate`)"
            }
            Self::RestoreLocks => {
                "; the file was moved, linked or mounted without its lock directory, or that directory was deleted: \
                 restore the directory, or destroy the cache file and create it again"
            }
            Self::NotLease => "; use another file system (/dev/shm, a volume) or strategy `file`",
            Self::ShareHandle => {
                ": share that within the process, or create the file with another strategy for several processes"
            }
            Self::Trust => "; if you trust everyone who can write to it, open it with `trust`",
            Self::LocalFiles => {
                "; use a local file system, or `allow_network` if only one host uses it and you know that its locks work"
            }
            Self::MoreSeats => "; create it with more (`seats`)",
            Self::LargerItems => "; fewer stripes or a larger capacity allow larger items",
            Self::WaitLonger => "; wait longer, or create the value anyway (`CreateOptions::unprotected`)",
            Self::NotWithin => ": within its creation or lock, do not create or lock the key again",
            Self::MoreNamespaces => "; create it with more (`namespaces`)",
        }
    }
}
