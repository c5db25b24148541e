//! Writes. A write goes to the far tier first. Then the near key is deleted, whether or not the command succeeded.
//!
//! The new value is not stored near: the server's own invalidation of this write is on its way, and another host may have
//! written since. The next read fetches, once for the host.

use crate::error::Result;
use crate::far::{Far, Inner};
use crate::fault::{Rule, keeps};
use crate::resp::Value;
use crate::store::unexpected;
use kennel::Expiry;
use std::time::UNIX_EPOCH;

impl Far {
    /// Stores a value.
    ///
    /// When a write of any kind has returned, with success or an error, no read on this host that begins later returns
    /// the value from before the write. After an error of the connection the server may still execute the write.
    ///
    /// # Errors
    /// Those of the server.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expiry: Expiry) -> Result<()> {
        let key = key.as_ref();
        let mut command: Vec<&[u8]> = vec![b"SET", key, value.as_ref()];
        let until = until(expiry);
        if let Some((unit, number)) = &until {
            command.extend([unit.as_bytes(), number.as_bytes()]);
        }
        self.0.change(&[key], Some(key), &command).map(drop)
    }

    /// Removes a key; `false` if it had no value.
    ///
    /// # Errors
    /// Those of [`set`](Far::set).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        number(&self.0.change(&[key], Some(key), &[b"DEL", key])?).map(|removed| removed != 0)
    }

    /// Adds to a number, which may be negative; returns the sum.
    ///
    /// # Errors
    /// Those of [`set`](Far::set).
    pub fn incr(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        let key = key.as_ref();
        number(&self.0.change(&[key], Some(key), &[b"INCRBY", key, delta.to_string().as_bytes()])?)
    }

    /// Removes all keys of the database (`FLUSHDB`), and everything in the near tier.
    ///
    /// # Errors
    /// Those of [`set`](Far::set).
    pub fn flush_database(&self) -> Result<()> {
        let result =
            self.0.nears.keys_of_masters().and_then(|keys| {
                keys.iter().try_for_each(|key| self.0.change(&[], Some(key), &[b"FLUSHDB"]).map(drop))
            });
        self.0.nears.flush();
        result
    }

    /// Executes any command once. `changes` names the keys that it changes.
    ///
    /// In a cluster all of them must lie in one slot: give them the same tag, as in `{user:7}:name`. A command that
    /// changes no key goes to the master of its first argument, taken as a key.
    ///
    /// # Errors
    /// Those of [`set`](Far::set); [`Error::Slots`](crate::Error::Slots).
    pub fn call<P: AsRef<[u8]>, K: AsRef<[u8]>>(&self, command: &[P], changes: &[K]) -> Result<Value> {
        let command: Vec<&[u8]> = command.iter().map(AsRef::as_ref).collect();
        let changes: Vec<&[u8]> = changes.iter().map(AsRef::as_ref).collect();
        let beside = changes.first().or_else(|| command.get(1)).copied();
        self.0.change(&changes, beside, &command)
    }
}

/// Deletes near keys when it is dropped: also while a panic unwinds.
struct Deletion<'a> {
    inner: &'a Inner,
    keys: &'a [&'a [u8]],
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        if !keeps(Rule::WritesDelete) {
            return;
        }
        let covered: Vec<&[u8]> = self.keys.iter().copied().filter(|key| self.inner.settings.covers(key)).collect();
        self.inner.nears.delete_multi(&covered);
    }
}

impl Inner {
    /// Executes a command that changes keys, and then removes them from the near tier. `beside`: a key of the slot in
    /// which the command's keys lie.
    pub(crate) fn change(&self, keys: &[&[u8]], beside: Option<&[u8]>, command: &[&[u8]]) -> Result<Value> {
        self.counters.writes.add(1);
        let deletion = Deletion { inner: self, keys };
        let reply = self.execute(command, beside, keys);
        drop(deletion);
        reply
    }
}

/// The option of `SET` for an expiry, and its number.
pub(crate) fn until(expiry: Expiry) -> Option<(&'static str, String)> {
    match expiry {
        Expiry::After(time) => Some(("PX", time.as_millis().max(1).to_string())),
        Expiry::At(time) => {
            let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            Some(("PXAT", millis.max(1).to_string()))
        }
        _ => None,
    }
}

fn number(reply: &Value) -> Result<i64> {
    match reply {
        Value::Int(number) => Ok(*number),
        other => Err(unexpected("a number", other)),
    }
}
