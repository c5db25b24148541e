//! Types that will grow: a program matches them with an arm for the variants that it does not know yet.
//!
//! For an enum of another crate that is not `#[non_exhaustive]`, the last arm of these functions would be unreachable,
//! which does not compile here. For structs, see the page of this crate.
#![deny(unreachable_patterns)]

use kennel::locks::LockError;
use kennel::{AfterCrash, Error, Expiry, Limit, LockStrategy, Lookup, OnMismatch, Stored, Swap};

/// Reports for each value of an enum whether this program knows it.
macro_rules! knows {
    ($($function:ident($type:ty): $variants:pat,)+) => {
        $(fn $function(value: &$type) -> bool {
            match value {
                $variants => true,
                _ => false,
            }
        })+
    };
}

knows! {
    knows_limit(Limit): Limit::Nothing | Limit::Bytes | Limit::Index,
    knows_mismatch(OnMismatch): OnMismatch::Fail | OnMismatch::UseExisting | OnMismatch::Recreate,
    knows_crash(AfterCrash): AfterCrash::Discard | AfterCrash::Verify,
    knows_expiry(Expiry): Expiry::Never | Expiry::After(_) | Expiry::At(_),
    knows_stored(Stored): Stored::Yes(_) | Stored::Voided | Stored::Uncached | Stored::Refused,
    knows_swap(Swap): Swap::Stored(_) | Swap::Changed | Swap::Absent,
    knows_lookup(Lookup): Lookup::Hit(_) | Lookup::Stale(_) | Lookup::Absent | Lookup::Create(_),
    knows_lock_error(LockError): LockError::Busy | LockError::Failed(_),
    knows_strategy(LockStrategy): LockStrategy::File | LockStrategy::Lease | LockStrategy::Process | LockStrategy::None
        | LockStrategy::RwFile | LockStrategy::Custom(_),
    knows_error(Error): Error::Io { .. } | Error::NotFound(_) | Error::Exists(_) | Error::BadFile { .. }
        | Error::Mismatch { .. } | Error::LocksLost { .. } | Error::LeaseRefused(_) | Error::UnknownStrategy { .. }
        | Error::OpenElsewhere(_) | Error::NotTrusted { .. } | Error::NetworkFilesystem { .. } | Error::NoSpace { .. }
        | Error::SeatsFull { .. } | Error::BadOption { .. } | Error::KeyTooLong { .. } | Error::TooLarge { .. }
        | Error::NotANumber { .. } | Error::Overflow { .. } | Error::Busy { .. } | Error::TimedOut { .. }
        | Error::OwnClaim | Error::NamespacesFull { .. } | Error::Codec { .. } | Error::ReadOnly(_)
        | Error::NoMemory { .. } | Error::BufferTooSmall { .. } | Error::NotResized { .. },
}

#[test]
fn what_this_program_knows_is_there() {
    let strategies = ["file", "lease", "process", "none", "rw-file"].map(|name| name.parse().expect("a strategy"));
    assert!(strategies.iter().all(knows_strategy));
    assert!(knows_limit(&Limit::Nothing) && knows_mismatch(&OnMismatch::Fail) && knows_crash(&AfterCrash::Verify));
    assert!(knows_expiry(&Expiry::Never) && knows_lookup(&Lookup::Absent) && knows_lock_error(&LockError::Busy));
    assert!(knows_stored(&Stored::Refused) && knows_swap(&Swap::Changed) && knows_error(&Error::OwnClaim));
}
