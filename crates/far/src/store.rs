//! The data calls of a far tier, and the shapes of their answers.

use crate::error::{Error, Result};
use crate::resp::Value;
use std::fmt;
use std::sync::Arc;

/// How the far tier is asked for data. [`RedisStore`](crate::RedisStore) implements it; a program may bring a client of
/// its own.
///
/// A store must not silently repeat a failed call that may change anything, and must not replace a connection in the
/// middle of a call: each answer comes from the run of the server that it names.
pub trait Store: Send + Sync {
    /// Asks a master for the values of keys and their times to live, each value before its time to live.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`].
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched>;

    /// Executes a command once.
    ///
    /// # Errors
    /// Those of [`fetch`](Store::fetch). After an error of the connection the server may have executed the command, or
    /// may do so later.
    fn call(&self, command: &[&[u8]]) -> Result<Reply>;

    /// Uses new connections from now on, because the old ones seem to lead to a server that is no longer the master.
    fn renew(&self);
}

/// What [`Store::call`] got.
#[derive(Debug)]
pub struct Reply {
    /// The run of the server that answered.
    pub run_id: Arc<str>,
    /// Its answer.
    pub value: Value,
}

/// What [`Store::fetch`] found.
#[derive(Debug)]
pub struct Fetched {
    /// The run of the server that answered: the `run_id` in the reply to `INFO server`.
    pub run_id: Arc<str>,
    /// Its answer for each key.
    pub answers: Vec<Answer>,
}

/// What the far tier says about a key.
#[derive(Debug)]
pub enum Answer {
    /// Its value.
    Value(Vec<u8>, TimeToLive),
    /// It has none.
    Absent,
    /// An error of the server, such as that the value is not a string.
    Refused(Error),
}

/// How long a value lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeToLive {
    /// Until it is changed or evicted.
    Unlimited,
    /// This many milliseconds from the moment of the answer.
    Millis(u64),
    /// It ended while it was asked for.
    Over,
}

impl TimeToLive {
    /// The meaning of the reply to `PTTL`.
    pub(crate) fn of(reply: &Value) -> Option<Self> {
        match reply {
            Value::Int(-1) => Some(TimeToLive::Unlimited),
            Value::Int(millis) => Some(u64::try_from(*millis).map_or(TimeToLive::Over, TimeToLive::Millis)),
            _ => None,
        }
    }
}

/// Makes the store of a process: again after a fork, since a child must not share its parent's connections.
pub(crate) type StoreMaker = Arc<dyn Fn() -> Result<Box<dyn Store>> + Send + Sync>;

impl fmt::Debug for dyn Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The error for an answer that does not have the form of the command's answers.
pub(crate) fn unexpected(expected: &'static str, found: &Value) -> Error {
    match found {
        Value::Error(text) => Error::Server(text.clone()),
        other => Error::Answer { expected, found: format!("{other:?}").chars().take(80).collect() },
    }
}
