//! What is known of one file: the last look at it, and a history of what happened between looks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kennel::{Cache, Counters, Options, Stats, StripeStats};

use super::probe::Probe;
use crate::cmd::metrics::Target;
use crate::message::of_cache;
use crate::sampled::Sampled;

/// How long the history is.
const KEPT: Duration = Duration::from_secs(5 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// A file that is watched.
pub struct Watch {
    pub target: Target,
    options: Options,
    buckets: u64,
    /// The last look, or why it failed.
    pub look: Result<Look, String>,
    /// Earlier counters, the oldest first.
    history: VecDeque<(Instant, Counters)>,
    /// The file whose counters these are.
    file_id: String,
}

/// One look at a file.
pub struct Look {
    pub stats: Stats,
    pub stripes: Vec<StripeStats>,
    pub awaits_writer: bool,
    pub sampled: Sampled,
    pub probe: Option<Probe>,
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    before: Counters,
    after: Counters,
    seconds: f64,
}

impl Change {
    pub fn new(before: Counters, after: Counters, time: Duration) -> Self {
        Self { before, after, seconds: time.as_secs_f64() }
    }

    /// The events per second of a counter.
    pub fn rate(&self, counter: impl Fn(&Counters) -> u64) -> f64 {
        counter(&self.after).saturating_sub(counter(&self.before)) as f64 / self.seconds
    }

    /// The share of reads that found a value; `None` without reads.
    pub fn hit_ratio(&self) -> Option<f64> {
        let (hits, misses) = (self.rate(|c| c.hits), self.rate(|c| c.misses));
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    }
}

impl Watch {
    pub fn new(target: Target, options: Options, buckets: u64) -> Self {
        let look = Err("not looked at yet".to_owned());
        Self { target, options, buckets, look, history: VecDeque::new(), file_id: String::new() }
    }

    /// Looks again. The file is opened anew, because it may have been removed and created again.
    pub fn look(&mut self, now: Instant) {
        self.look =
            self.options.open_read_only(&self.target.path).map(|cache| self.seen(&cache)).map_err(|e| of_cache(&e));
        let Ok(look) = &self.look else { return };
        if look.stats.file_id != self.file_id {
            self.file_id.clone_from(&look.stats.file_id);
            self.history.clear();
        }
        self.history.push_back((now, look.stats.counters));
        while self.history.front().is_some_and(|(at, _)| now.duration_since(*at) > KEPT) {
            self.history.pop_front();
        }
    }

    fn seen(&self, cache: &Cache) -> Look {
        let sampled = Sampled::of(cache, self.buckets);
        let probe = Probe::of(cache, &sampled.keys);
        let (stats, stripes) = (cache.stats(), cache.stripe_stats());
        Look { stats, stripes, awaits_writer: cache.awaits_writer(), sampled, probe }
    }

    /// What happened between each two looks that follow each other, with the time of the later one.
    pub fn changes(&self) -> Vec<(Instant, Change)> {
        let pairs = self.history.iter().zip(self.history.iter().skip(1));
        let longer_than_nothing = pairs.filter(|(before, after)| after.0 > before.0);
        longer_than_nothing
            .map(|(before, after)| (after.0, Change::new(before.1, after.1, after.0 - before.0)))
            .collect()
    }

    /// What happened in the last minute, if the history is that long.
    pub fn minute(&self) -> Option<Change> {
        let &(now, after) = self.history.back()?;
        let old = self.history.iter().rev().find(|(at, _)| now.duration_since(*at) >= MINUTE)?;
        Some(Change::new(old.1, after, now - old.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_per_second() {
        let mut after = Counters::default();
        (after.hits, after.misses) = (90, 10);
        let change = Change::new(Counters::default(), after, Duration::from_secs(2));
        assert_eq!((change.rate(|c| c.hits), change.hit_ratio()), (45.0, Some(0.9)));
        let back = Change::new(after, Counters::default(), Duration::from_secs(2));
        assert_eq!((back.rate(|c| c.hits), back.hit_ratio()), (0.0, None), "a counter never falls");
    }

    #[test]
    fn a_new_file_at_the_path_begins_a_new_history() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cache");
        let make = || Options::new().capacity(4 << 20).create(&path).expect("a cache");
        let mut watch = Watch::new(Target::of(&path), Options::new(), 64);
        let start = Instant::now();
        watch.look(start);
        assert!(watch.look.as_ref().is_err_and(|why| why.contains("no cache file")), "no file");
        let cache = make();
        watch.look(start);
        cache.set("key", "value").expect("stored");
        watch.look(start + MINUTE);
        assert_eq!(watch.changes().len(), 1);
        assert!(watch.minute().is_some_and(|change| change.rate(|c| c.sets) == 1.0 / 60.0));
        drop(cache);
        std::fs::remove_file(&path).expect("removed");
        let _again = make();
        watch.look(start + 2 * MINUTE);
        assert_eq!((watch.changes().len(), watch.minute().is_none()), (0, true));
    }
}
