//! Durable points: workers make them beside all other operations, and the round makes one after all workers ended.
//!
//! *While other processes work*, a flush may report that one of them wrote meanwhile. No more than this can be checked,
//! because the contents of the device are invisible without a loss of power. But the flush must not fail, wait forever,
//! or disturb the other processes.
//!
//! *At the end* no process writes. So a flush succeeds, whatever the killed processes left behind, and after a restart
//! of the host the cache holds the same items.

use crate::board::{KEYS, Word};
use crate::keys::name;
use crate::worker::Worker;
use kennel::{Cache, Options};
use std::path::Path;

/// The boot that follows the one in which the cache was used.
const NEXT_BOOT: [u64; 2] = [0x6e65_7874, 0x626f_6f74];

impl Worker<'_> {
    pub fn flush(&self) {
        if self.write_call(0, |cache| cache.all.flush()) == Some(true) {
            self.board.add(Word::Flushes, 1);
        }
    }
}

fn contents(cache: &Cache) -> Vec<Option<Vec<u8>>> {
    (0..KEYS as u16).map(|key| cache.get(name(key))).collect()
}

/// The problems of a durable point that is made after all workers ended.
pub fn look_after_a_restart(cache: Cache, path: &Path) -> Vec<String> {
    let flushed = cache.flush();
    if !matches!(flushed, Ok(true)) {
        return vec![format!("at the end: a flush without other writers: expected success, found {flushed:?}")];
    }
    let held = contents(&cache);
    drop(cache);
    match Options::new().boot_id(NEXT_BOOT).open(path) {
        Ok(cache) if contents(&cache) == held => Vec::new(),
        Ok(cache) => {
            let lost = held.iter().zip(contents(&cache)).filter(|(held, found)| *held != found).count();
            vec![format!("after a restart: {lost} of {KEYS} keys differ from their state at the flush")]
        }
        Err(error) => vec![format!("after a restart: {error}")],
    }
}
