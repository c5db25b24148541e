//! What is known about one file: the last look at it, and a history of what happened between looks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kennel::{Cache, Counters, NamespaceReads, Options, Stats, StripeStats};

use super::hot::{HotKey, HotKeys};
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
    history: VecDeque<(Instant, Seen)>,
    /// The file whose counters these are.
    file_id: String,
    /// Whether reads are sampled, and the observer that samples them.
    taps: bool,
    hot: Option<Result<HotKeys, String>>,
}

/// One look at a file.
pub struct Look {
    pub stats: Stats,
    pub stripes: Vec<StripeStats>,
    pub awaits_writer: bool,
    pub sampled: Sampled,
    pub probe: Option<Probe>,
}

/// What a look leaves in the history.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub counters: Counters,
    /// Bytes that were written to the small and to the main rings.
    pub bytes_in: (u64, u64),
    pub namespaces: Vec<NamespaceReads>,
}

impl Seen {
    fn of(stats: &Stats) -> Self {
        Self {
            counters: stats.counters,
            bytes_in: (stats.small_bytes_in, stats.main_bytes_in),
            namespaces: stats.namespace_reads.clone(),
        }
    }
}

/// Reads of a namespace each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadRate {
    pub hits: f64,
    pub misses: f64,
}

impl ReadRate {
    pub fn gets(self) -> f64 {
        self.hits + self.misses
    }

    /// The share of reads that found a value; `None` without reads.
    pub fn hit_ratio(self) -> Option<f64> {
        (self.gets() > 0.0).then(|| self.hits / self.gets())
    }
}

/// What happened in the rings and in the namespaces within the last minute.
pub struct Lately<'a> {
    before: &'a Seen,
    after: &'a Seen,
    seconds: f64,
}

impl Lately<'_> {
    /// Bytes that were written to the small and to the main rings each second; `None` if nothing was written, and if a
    /// stripe was emptied.
    pub fn bytes_in(&self) -> (Option<f64>, Option<f64>) {
        let rate = |before: u64, after: u64| {
            after.checked_sub(before).filter(|&bytes| bytes > 0).map(|bytes| bytes as f64 / self.seconds)
        };
        let (before, after) = (self.before.bytes_in, self.after.bytes_in);
        (rate(before.0, after.0), rate(before.1, after.1))
    }

    /// The reads of a namespace, or those without one; `None` if the file does not count them.
    pub fn reads(&self, namespace: Option<&str>) -> Option<ReadRate> {
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / self.seconds;
        let of = |reads: &NamespaceReads| {
            let before = self.before.namespaces.iter().find(|before| before.name == reads.name);
            let (hits, misses) = before.map_or((0, 0), |before| (before.hits, before.misses));
            ReadRate { hits: rate(hits, reads.hits), misses: rate(misses, reads.misses) }
        };
        if let Some(name) = namespace {
            return self.after.namespaces.iter().find(|reads| reads.name == name).map(of);
        }
        if self.after.namespaces.is_empty() {
            return None;
        }
        let (before, after) = (&self.before.counters, &self.after.counters);
        let all = ReadRate { hits: rate(before.hits, after.hits), misses: rate(before.misses, after.misses) };
        let named = self.after.namespaces.iter().map(of);
        // The named ones are estimates, so their sum may be above the whole.
        Some(named.fold(all, |rest, reads| ReadRate {
            hits: (rest.hits - reads.hits).max(0.0),
            misses: (rest.misses - reads.misses).max(0.0),
        }))
    }
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

    /// The share of reads that a cache of twice the size would at least have hit in addition: their keys were stored again
    /// soon after their eviction. `None` without reads.
    pub fn regained(&self) -> Option<f64> {
        let all = self.rate(|c| c.hits) + self.rate(|c| c.misses);
        (all > 0.0).then(|| (self.rate(|c| c.ghost_hits) / all).min(1.0))
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
        let (history, file_id) = (VecDeque::new(), String::new());
        Self { target, options, buckets, look, history, file_id, taps: false, hot: None }
    }

    /// From now on, samples reads.
    pub fn tap(mut self) -> Self {
        self.taps = true;
        self
    }

    /// The keys that are read most, or why they are not known; `None` if reads are not sampled.
    pub fn hottest(&self, most: usize) -> Option<Result<Vec<HotKey>, &str>> {
        let hot = self.hot.as_ref()?;
        Some(hot.as_ref().map(|hot| hot.hottest(most)).map_err(String::as_str))
    }

    /// Looks again. The file is opened anew, because it may have been removed and created again.
    pub fn look(&mut self, now: Instant) {
        self.look =
            self.options.open_read_only(&self.target.path).map(|cache| self.seen(&cache)).map_err(|e| of_cache(&e));
        let Ok(look) = &self.look else { return };
        if look.stats.file_id != self.file_id {
            self.file_id.clone_from(&look.stats.file_id);
            self.history.clear();
            // The observer belongs to the previous file.
            self.hot = None;
        }
        self.history.push_back((now, Seen::of(&look.stats)));
        if self.taps {
            let open = || HotKeys::open(&self.target, &self.options).map_err(|error| of_cache(&error));
            let hot = self.hot.get_or_insert_with(open);
            if let Ok(keys) = hot
                && let Err(error) = keys.look()
            {
                *hot = Err(of_cache(&error));
            }
        }
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

    /// What happened between each look and the next, with the time of the later one.
    pub fn changes(&self) -> Vec<(Instant, Change)> {
        let pairs = self.history.iter().zip(self.history.iter().skip(1));
        let longer_than_nothing = pairs.filter(|(before, after)| after.0 > before.0);
        longer_than_nothing
            .map(|(before, after)| (after.0, Change::new(before.1.counters, after.1.counters, after.0 - before.0)))
            .collect()
    }

    /// What happened in the last minute, if the history is that long.
    pub fn minute(&self) -> Option<Change> {
        let (now, after) = self.history.back()?;
        let old = self.history.iter().rev().find(|(at, _)| now.duration_since(*at) >= MINUTE)?;
        Some(Change::new(old.1.counters, after.counters, *now - old.0))
    }

    /// What happened within the last minute, as far as the history goes back. Estimates need that long.
    pub fn lately(&self) -> Option<Lately<'_>> {
        let (now, after) = self.history.back()?;
        let (at, before) = self.history.iter().find(|(at, _)| now.duration_since(*at) <= MINUTE)?;
        let seconds = now.duration_since(*at).as_secs_f64();
        (seconds > 0.0).then_some(Lately { before, after, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_to(before: Counters) -> Change {
        Change::new(before, Counters::default(), Duration::from_secs(2))
    }

    #[test]
    fn rates_are_differences_per_second() {
        let mut after = Counters::default();
        (after.hits, after.misses, after.ghost_hits) = (90, 10, 2);
        let change = Change::new(Counters::default(), after, Duration::from_secs(2));
        assert_eq!((change.rate(|c| c.hits), change.hit_ratio()), (45.0, Some(0.9)));
        assert_eq!((change.regained(), back_to(after).regained()), (Some(0.02), None));
        let back = back_to(after);
        assert_eq!((back.rate(|c| c.hits), back.hit_ratio()), (0.0, None), "a counter never falls");
    }

    #[test]
    fn reads_without_a_namespace_are_the_rest() {
        let reads = |hits, misses| {
            let dir = tempfile::tempdir().expect("a directory");
            let cache = Options::new().namespace_reads(true).create(dir.path().join("cache")).expect("a cache");
            cache.namespace("pages", &kennel::NamespaceOptions::new()).expect("added");
            let mut reads = cache.stats().namespace_reads;
            (reads[0].hits, reads[0].misses) = (hits, misses);
            reads
        };
        let (mut before, mut after) = (Seen::default(), Seen { namespaces: reads(160, 32), ..Seen::default() });
        (after.counters.hits, after.counters.misses) = (200, 20);
        let rate = |hits, misses| Some(ReadRate { hits, misses });
        let lately = Lately { before: &before, after: &after, seconds: 2.0 };
        assert_eq!((lately.reads(Some("pages")), lately.reads(None)), (rate(80.0, 16.0), rate(20.0, 0.0)));
        assert_eq!((lately.reads(Some("other")), lately.bytes_in()), (None, (None, None)));
        before.bytes_in = (100, 900);
        after.bytes_in = (400, 100);
        let lately = Lately { before: &before, after: &after, seconds: 2.0 };
        assert_eq!(lately.bytes_in(), (Some(150.0), None), "the main rings were emptied");
        after.namespaces.clear();
        let lately = Lately { before: &before, after: &after, seconds: 2.0 };
        assert_eq!(lately.reads(None), None, "the file does not count them");
        assert_eq!((ReadRate::default().hit_ratio(), lately.reads(Some("pages"))), (None, None));
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
