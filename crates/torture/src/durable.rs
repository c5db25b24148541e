//! Durable points: made by workers beside everything else, and once more when all have ended.
//!
//! *While others work* a flush may say that somebody wrote meanwhile, and no more can be asked of it: without a loss of
//! power nobody sees what the device holds. What it must not do is fail, wait for ever, or disturb the others.
//!
//! *At the end* nobody writes. So a flush holds, whatever the killed left behind, and after a restart of the host
//! the cache holds what it held.

use crate::board::{KEYS, Word};
use crate::keys::name;
use crate::worker::Worker;
use kennel::{Cache, Options};
use std::path::Path;

/// The boot that comes after the one in which the cache was used.
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

/// What is wrong with a durable point that is made when all have ended.
pub fn look_after_a_restart(cache: Cache, path: &Path) -> Vec<String> {
    let flushed = cache.flush();
    if !matches!(flushed, Ok(true)) {
        return vec![format!("at the end: a flush beside nobody: expected that it holds, found {flushed:?}")];
    }
    let held = contents(&cache);
    drop(cache);
    match Options::new().boot_id(NEXT_BOOT).open(path) {
        Ok(cache) if contents(&cache) == held => Vec::new(),
        Ok(cache) => {
            let lost = held.iter().zip(contents(&cache)).filter(|(held, found)| *held != found).count();
            vec![format!("after a restart: {lost} of {KEYS} keys are not what they were when the flush held")]
        }
        Err(error) => vec![format!("after a restart: {error}")],
    }
}
