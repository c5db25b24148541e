//! SQLite, used as a cache: a table without row ids, a write-ahead log, no sync, statements prepared once.

use super::Store;
use crate::keys::Key;
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

/// A database with one table.
pub struct Sqlite(Connection);

impl Sqlite {
    /// Creates a database in a new file.
    pub fn create(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA mmap_size = 1073741824;
             CREATE TABLE cache (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID;",
        )?;
        Ok(Self(connection))
    }
}

impl Store for Sqlite {
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        let mut statement = self.0.prepare_cached("SELECT value FROM cache WHERE key = ?1")?;
        let found = statement.query_row(params![&key[..]], |row| {
            into.copy_from_slice(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(found.optional()?.is_some())
    }

    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        let mut statement = self.0.prepare_cached("INSERT OR REPLACE INTO cache VALUES (?1, ?2)")?;
        statement.execute(params![&key[..], value])?;
        Ok(())
    }
}
