//! What one frame shows, and its lines of text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kennel::{Counters, Histogram, Limit};
use kennel_harness::human::{count, latency, plural};
use kennel_harness::size::format_size;

use super::hot::HotKey;
use super::watch::{Change, Lately, Look};
use super::words::{bars, groups, number, percent, span};

/// The names of the groups of sizes and of lives: see [`crate::sampled`].
const SIZE_NAMES: [&str; 8] = ["<64 B", "128", "256", "512", "1k", "2k", "4k", "more"];
const LIFE_NAMES: [&str; 6] = ["1 min", "10 min", "1 h", "1 d", "more", "never"];
/// The names of the groups of a histogram that are shown, and the last group of each.
const TIME_NAMES: [&str; 6] = ["1 ms", "16 ms", "66 ms", "262 ms", "1 s", "more"];
const TIME_GROUPS: [usize; 6] = [4, 6, 7, 8, 9, 15];

/// What a screen shows besides the overview.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    #[default]
    Namespaces,
    Stripes,
    Keys,
    Graphs,
    Help,
}

/// Everything that one frame shows.
pub struct Frame<'a> {
    pub name: &'a str,
    /// The number of the file, from 1, and of all files.
    pub place: (usize, usize),
    pub every: Duration,
    pub is_paused: bool,
    pub view: View,
    pub look: Result<&'a Look, &'a str>,
    /// The change since the previous look.
    pub now: Option<Change>,
    pub minute: Option<Change>,
    pub lately: Option<Lately<'a>>,
    /// The keys that are read most, or why they are not known; `None` if reads are not sampled.
    pub hottest: Option<Result<Vec<HotKey>, &'a str>>,
    /// The history: hit ratios in percent, reads and writes per second.
    pub ratios: Vec<f64>,
    pub gets: Vec<f64>,
    pub sets: Vec<f64>,
}

/// A line of parts. A part that does not fit goes to the next line.
pub type Parts = Vec<String>;

impl Frame<'_> {
    /// The first line.
    pub fn title(&self) -> Parts {
        let (place, all) = self.place;
        let mut parts = vec![format!(
            "kennel top  {}{}",
            self.name,
            if all > 1 { format!(" {place}/{all}") } else { String::new() }
        )];
        if let Ok(look) = self.look {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
            parts.push(look.stats.strategy.clone());
            parts.push(plural(look.stats.members.into(), "member"));
            parts.push(format!("made {} ago", span(Some(now.saturating_sub(look.stats.created_ms)))));
        }
        let pace = format!("every {}", span(Some(self.every.as_millis() as u64)));
        parts.push(if self.is_paused { "PAUSED".to_owned() } else { pace });
        parts
    }

    /// What the cache serves and holds.
    pub fn serving(&self, look: &Look, width: usize) -> Vec<Parts> {
        let (stats, rate) = (&look.stats, |counter: fn(&Counters) -> u64| self.rate(counter));
        let ever = Change::new(Counters::default(), stats.counters, Duration::from_secs(1)).hit_ratio();
        let now = self.now.and_then(|change| change.hit_ratio());
        let minute = self.minute.and_then(|change| change.hit_ratio());
        let chart = width.saturating_sub(54).min(60);
        let mut ratio = vec![format!("hit ratio  {} now", percent(now)), format!("{} ever", percent(ever))];
        if minute.is_some() {
            ratio.insert(1, format!("{} 1 min", percent(minute)));
        }
        ratio.push(bars(&self.ratios, chart));
        let used = stats.used_bytes as f64 / stats.capacity.max(1) as f64;
        let sizes = (format_size(stats.used_bytes), format_size(stats.capacity));
        vec![
            ratio,
            vec![
                format!("gets/s     {}", rate(|c| c.hits.wrapping_add(c.misses))),
                format!("sets/s {}", rate(|c| c.sets)),
                format!("creates/s {}", rate(|c| c.creations)),
                bars(&self.gets, chart),
            ],
            vec![
                format!("items      {}", number(stats.items as f64)),
                format!("{} of {} ({:.0} %)", sizes.0, sizes.1, used * 100.0),
                format!(
                    "limited by {}",
                    if stats.limit == Limit::Nothing { "nothing yet" } else { stats.limit.name() }
                ),
            ],
            self.turning(look),
        ]
    }

    /// How long an item stays if it is never read, and if it was read while it was new.
    fn turning(&self, look: &Look) -> Parts {
        let (small, main) = self.lately.as_ref().map_or((None, None), Lately::bytes_in);
        let time = |size: u64, rate: Option<f64>| span(rate.map(|rate| (size as f64 / rate * 1000.0) as u64));
        let twice = self.now.and_then(|change| change.regained()).map(|share| share * 100.0);
        vec![
            format!("staying    unread items {}", time(look.stats.small_size, small)),
            format!("main ring turns in {}", time(look.stats.main_size, main)),
            twice.map_or_else(String::new, |points| format!("twice the size +{points:.1}")),
        ]
    }

    fn rate(&self, counter: impl Fn(&Counters) -> u64) -> String {
        self.now.map_or_else(|| "-".to_owned(), |change| number(change.rate(counter)))
    }

    /// What leaves, which calls wait, and what is wrong.
    pub fn events(&self, look: &Look) -> Vec<Parts> {
        let rate = |name: &str, counter: fn(&Counters) -> u64| format!("{name} {}", self.rate(counter));
        let back = self.now.and_then(|change| {
            let misses = change.rate(|c| c.misses);
            (misses > 0.0).then(|| change.rate(|c| c.ghost_hits) / misses)
        });
        vec![
            vec![
                rate("leaving/s  unread", |c| c.evictions_small),
                rate("main", |c| c.evictions_main),
                rate("index", |c| c.evictions_index),
                rate("expired", |c| c.expirations),
                rate("deleted", |c| c.deletes),
            ],
            vec![
                rate("back/s     ghost hits", |c| c.ghost_hits),
                format!("{} of misses", percent(back)),
                rate("promoted", |c| c.promotions),
            ],
            vec![
                rate("waiting/s  lock", |c| c.lock_waits),
                rate("busy", |c| c.busy),
                rate("claim", |c| c.claim_waits),
                rate("retries", |c| c.read_retries),
                rate("gave up", |c| c.bounded_misses),
            ],
            vec![
                rate("creating/s begun", |c| c.creations),
                rate("unprotected", |c| c.unprotected),
                rate("voided", |c| c.voided),
                rate("uncached", |c| c.uncached),
                rate("taken over", |c| c.takeovers),
            ],
            vec![
                rate("failing/s  failed", |c| c.failed),
                rate("stale shown", |c| c.stale_on_error),
                rate("rested", |c| c.rested),
            ],
            wrong(look),
        ]
    }

    /// Distributions, and the times of reads.
    pub fn shapes(&self, look: &Look) -> Vec<Parts> {
        let named = |name: &str, mut groups: Vec<String>| {
            groups[0].insert_str(0, name);
            groups
        };
        let probe = look.probe.map_or_else(
            || vec!["PROBE      no key to read".to_owned()],
            |probe| {
                let read = "PROBE      get of a sampled key: p50";
                let times = (latency(probe.median), latency(probe.p99), latency(probe.longest));
                vec![format!("{read} {}", times.0), format!("p99 {}", times.1), format!("longest {}", times.2)]
            },
        );
        vec![
            named("SIZE~      ", groups(&SIZE_NAMES, &look.sampled.sizes, 4)),
            named("EXPIRES~   ", groups(&LIFE_NAMES, &look.sampled.lives, 6)),
            named("CREATION   ", groups(&TIME_NAMES, &times_shown(&look.stats.times.creation), 3)),
            probe,
        ]
    }
}

/// The groups of a histogram, merged into those that are shown.
fn times_shown(histogram: &Histogram) -> [u64; TIME_GROUPS.len()] {
    let mut first = 0;
    TIME_GROUPS.map(|last| {
        let sum = histogram.counts[first..=last].iter().fold(0u64, |sum, &count| sum.saturating_add(count));
        first = last + 1;
        sum
    })
}

fn wrong(look: &Look) -> Parts {
    let counters = &look.stats.counters;
    let last = look.stripes.iter().find_map(|stripe| stripe.last_repair.as_ref());
    let repair = last.map_or_else(String::new, |last| format!(" (one of them: {}, by {})", last.intent, last.by_pid));
    let flagged = look.stripes.iter().filter(|stripe| stripe.verify_me).count() as u64;
    vec![
        format!("wrong      repairs {}{repair}", count(counters.repairs)),
        format!("dropped {}", count(counters.dropped)),
        format!("to be checked {}", plural(flagged, "stripe")),
    ]
}

/// Whether something in the `wrong` line needs attention.
pub fn is_wrong(look: &Look) -> bool {
    look.stats.counters.dropped > 0 || look.stripes.iter().any(|stripe| stripe.verify_me)
}
