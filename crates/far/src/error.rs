//! The errors of the far tier. A near tier that fails is no error: the far tier is asked instead.

use std::io;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of a far tier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option has an invalid value.
    #[error("option {option}: expected {expected}, found {given}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value, or what is wrong with it.
        given: String,
        /// Which values are valid.
        expected: String,
    },

    /// Another process uses this near file and the same prefixes with another database, another `max_staleness`, or another
    /// mode: `tracking` or `degraded`.
    #[error(
        "the near tier {0} is in use with another database, `max_staleness` or mode: give all processes of a host the same \
         options, or use another file"
    )]
    Mismatch(String),

    /// The server answered with an error.
    #[error("the server answered: {0}")]
    Server(String),

    /// The keys of a command lie in different slots of a cluster, so no server has them all.
    #[error(
        "expected keys of one slot of the cluster, found {0} and {1}, which lie in different ones: give them the same tag, as in {{user:7}}:name"
    )]
    Slots(String, String),

    /// The connection to the server failed. If the call was a write, the server may have executed it, or may do so later.
    #[error("cannot reach the server: {0}")]
    Connection(String),

    /// The server's answer does not have the form that the command's answers have.
    #[error("expected {expected} from the server, found {found}")]
    Answer {
        /// The expected form.
        expected: &'static str,
        /// What came.
        found: String,
    },

    /// An error of the engine: the near tier's file cannot be opened, a buffer is too small, or a creator asks for its own
    /// key.
    #[error(transparent)]
    Near(#[from] kennel::Error),

    /// The operating system refused an operation.
    #[error("cannot {what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn option(option: &'static str, given: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Option { option, given: given.into(), expected: expected.into() }
    }

    /// A copy of the error, for another key.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Connection(text) => Self::Connection(text.clone()),
            Self::Server(text) => Self::Server(text.clone()),
            other => Self::Connection(other.to_string()),
        }
    }

    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
