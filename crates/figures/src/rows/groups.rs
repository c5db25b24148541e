//! The groups, in the order in which they run, and what they share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kennel_far::Far;

use super::{hits, load, pushes, trackers};
use crate::report::Row;
use crate::server::Server;
use crate::worker::{KEYS, Task, key, value};

/// What all groups measure with.
pub struct Setting<'a> {
    pub server: &'a Server,
    pub folder: &'a Path,
    pub rounds: u32,
    pub is_quick: bool,
}

pub type Group = fn(&Setting<'_>) -> Result<Vec<Row>>;

pub fn all() -> [(&'static str, Group); 7] {
    [
        ("hit", hits::run),
        ("processes", load::processes),
        ("restart", load::restart),
        ("end", pushes::end_on_another_host),
        ("sets", pushes::sets),
        ("killed", trackers::killed),
        ("stopped", trackers::stopped),
    ]
}

/// Keys of one command.
const BATCH: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(20);

impl Setting<'_> {
    /// The time of a part of a measurement, shorter in a quick run.
    pub fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(if self.is_quick { seconds / 5.0 } else { seconds })
    }

    /// A near file that does not exist yet.
    pub fn near(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let _ = kennel::Options::new().destroy(&path);
        path
    }

    pub fn task(&self, near: &Path, staleness: Duration, rate: Option<f64>, seed: u64) -> Task {
        let every = Duration::from_secs(1);
        Task { url: self.server.url(), near: near.to_owned(), staleness, rate, every, seed }
    }

    /// Gives all keys values.
    pub fn write_all(&self) -> Result<()> {
        for first in (0..KEYS).step_by(BATCH as usize) {
            let mut parts = vec![b"MSET".to_vec()];
            for number in first..(first + BATCH).min(KEYS) {
                parts.extend([key(number).into_bytes(), value(number).into_bytes()]);
            }
            self.server.ask(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Waits until a near tier is proved.
pub fn wait_for_proof(far: &Far, staleness: Duration) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while far.proof_age().is_none_or(|age| age > staleness) {
        ensure!(Instant::now() < deadline, "nothing is proved: {}", far.problem().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
