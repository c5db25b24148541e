//! The two calls of every subject.

use crate::keys::Key;
use anyhow::{Result, ensure};

/// A cache, or a store used as one.
pub trait Store {
    /// Copies the value of a key into `into`, which has the length of the value. Returns whether there is a value.
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool>;

    /// Stores a value.
    fn set(&self, key: &Key, value: &[u8]) -> Result<()>;
}

/// Sets all keys, and checks that all are there.
pub fn fill(store: &impl Store, keys: &[Key], value: &[u8]) -> Result<()> {
    keys.iter().try_for_each(|key| store.set(key, value))?;
    let mut into = vec![0; value.len()];
    for key in keys {
        ensure!(store.get(key, &mut into)?, "a key that was set is missing");
        ensure!(into == value, "a value differs from the one that was set");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::shuffled;
    use crate::stores::{Lmdb, Moka, Quick, Sqlite, kennel_cache};

    fn check(store: &impl Store) {
        fill(store, &shuffled(100), &[7; 64]).unwrap();
        assert!(!store.get(&crate::keys::key(1000), &mut [0; 64]).unwrap());
    }

    #[test]
    fn every_store_gives_back_what_was_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        check(&kennel_cache(&path("kennel"), "file", 1 << 20, 64).unwrap());
        check(&Moka::new(1000));
        check(&Quick::new(1000));
        check(&Lmdb::create(&path("lmdb"), 1000).unwrap());
        check(&Sqlite::create(&path("sqlite")).unwrap());
    }
}
