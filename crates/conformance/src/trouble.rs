//! The reasons for ending a check early.

use kennel::Error;
use std::io;

/// The reason why a check failed or does not apply.
pub(crate) enum Trouble {
    Skip(&'static str),
    Fail(String),
}

pub(crate) fn fail(detail: impl Into<String>) -> Trouble {
    Trouble::Fail(detail.into())
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Fail(error.to_string())
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy { .. } => fail("the lock was not acquired"),
            error => fail(format!("the lock failed: {error}")),
        }
    }
}
