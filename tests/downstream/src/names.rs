//! Options by their names, as they stand in a program's configuration.

use kennel::{AfterCrash, Error, Invalidation, Limit, LockStrategy, OnMismatch, UnknownName};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// `Display` writes what `FromStr` reads; any other text is an error that names what there is.
fn round_trips<T>(values: &[T])
where
    T: FromStr<Err = UnknownName> + Display + Debug + PartialEq,
{
    for value in values {
        assert_eq!(&value.to_string().parse::<T>().expect("its own name"), value);
    }
    let error = "spin".parse::<T>().expect_err("no name");
    assert_eq!(error.found(), "spin");
    assert!(values.iter().all(|value| error.expected().contains(&value.to_string())), "{error}");
    assert_eq!(error.to_string(), format!("no {} \"spin\": expected {}", error.what(), error.expected()));
    assert!(matches!(Error::from(error), Error::BadOption { given, .. } if given == "spin"));
}

#[test]
fn names_round_trip() {
    use LockStrategy::{File, Lease, None, Process, RwFile};
    round_trips(&[File, Lease, Process, None, RwFile]);
    round_trips(&[OnMismatch::Fail, OnMismatch::UseExisting, OnMismatch::Recreate]);
    round_trips(&[AfterCrash::Discard, AfterCrash::Verify]);
    round_trips(&[Invalidation::Hard, Invalidation::Soft]);
    round_trips(&[Limit::Nothing, Limit::Bytes, Limit::Index]);
}
