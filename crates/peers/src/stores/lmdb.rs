//! LMDB, used as a cache: a transaction per call, without waiting for the disk.
#![allow(unsafe_code, reason = "an environment is a mapping; nobody else opens it")]

use super::Store;
use crate::keys::Key;
use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};
use std::path::Path;

/// Bytes of the mapping for each value of 64 bytes, including tree and free pages.
const ROOM: usize = 1024;

/// An environment with one database.
pub struct Lmdb {
    env: Env,
    database: Database<Bytes, Bytes>,
}

impl Lmdb {
    /// Creates an environment in a new directory.
    pub fn create(path: &Path, items: usize) -> Result<Self> {
        std::fs::create_dir(path)?;
        let mut options = EnvOpenOptions::new();
        options.map_size((items * ROOM).max(16 << 20).next_multiple_of(4096));
        // SAFETY: the flags only leave out syncing. After a crash of the system that can cost at most the directory,
        // which is temporary.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
        // SAFETY: the directory is new and no other process opens it.
        let env = unsafe { options.open(path) }?;
        let mut txn = env.write_txn()?;
        let database = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Self { env, database })
    }
}

impl Store for Lmdb {
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let found = self.database.get(&txn, key)?;
        if let Some(value) = found {
            into.copy_from_slice(value);
        }
        Ok(found.is_some())
    }

    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }
}
