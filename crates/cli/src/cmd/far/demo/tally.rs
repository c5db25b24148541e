//! What the workers logged, added up and checked.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use kennel_far::history::{Event, Kind, Log, Report, check};

/// What the logs say.
pub struct Tally {
    pub history: Report,
    /// Reads that caches of single processes would have sent to the server.
    pub per_process: u64,
    /// Reads while all workers were replaced, and those of them that caches of single processes would have sent to the
    /// server.
    pub replaced: (u64, u64),
}

/// Reads all logs in a folder. Each is of one process. `replaced`: the time in which all workers were replaced.
pub fn tally(folder: &Path, staleness: Duration, replaced: &Range<u64>) -> io::Result<Tally> {
    let (mut all, mut per_process, mut in_range) = (Vec::new(), 0, (0, 0));
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !is_log(&path) {
            continue;
        }
        let events = Log::read(&path)?;
        let misses = misses(&events);
        per_process += misses.len() as u64;
        in_range.0 += events.iter().filter(|event| is_read(event) && replaced.contains(&event.began)).count() as u64;
        in_range.1 += misses.iter().filter(|began| replaced.contains(began)).count() as u64;
        all.extend(events);
    }
    let history = check(&all, staleness.as_micros() as u64);
    Ok(Tally { history, per_process, replaced: in_range })
}

pub fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
}

fn is_read(event: &Event) -> bool {
    event.kind == Kind::Read
}

/// When a cache of this process alone would have asked the server, even if it were of unlimited size and exact: at the
/// first read of a key, and at the first one after each change.
fn misses(events: &[Event]) -> Vec<u64> {
    let mut known = HashMap::new();
    let is_miss = |read: &&Event| known.insert(read.key, read.value) != Some(read.value);
    events.iter().filter(|event| is_read(event)).filter(is_miss).map(|read| read.began).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_alone_misses_what_is_new_to_it() {
        let read = |key, value, began| Event { kind: Kind::Read, host: 0, key, value, began, ended: began + 1, ttl: 0 };
        let write = Event { kind: Kind::Acknowledged, ..read(1, 9, 3) };
        let events = [read(1, 7, 1), read(1, 7, 2), write, read(1, 9, 4), read(2, 0, 5), read(2, 0, 6)];
        assert_eq!(misses(&events), [1, 4, 5]);
    }
}
