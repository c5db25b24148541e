//! The progress of the demo: bars that are redrawn on a terminal, and one line a second elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kennel_harness::human::{latency, percent, plural, rate};

use super::tally::Tally;
use crate::output::print_line;

/// The state of the workers.
pub struct Fates {
    pub alive: usize,
    pub killed: u64,
    pub caught: bool,
}

pub struct Live {
    screen: Option<Screen>,
    start: Instant,
    last: Mark,
}

/// The contents of the display at one moment.
struct Frame {
    elapsed: Duration,
    throughput: String,
    reads: String,
    writes: String,
    fates: String,
}

impl Frame {
    fn one_line(&self) -> String {
        let Self { elapsed, throughput, reads, fates, .. } = self;
        format!("{:>4} s  {throughput}; read {reads}; {fates}", elapsed.as_secs())
    }
}

/// Counts at one moment, the base of the next rates.
struct Mark {
    at: Instant,
    reads: u64,
    writes: u64,
}

impl Live {
    pub fn new(time: Duration, start: Instant) -> Self {
        let screen = io::stdout().is_terminal().then(|| Screen::new(time));
        Self { screen, start, last: Mark { at: start, reads: 0, writes: 0 } }
    }

    /// The interval of updates.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(if self.screen.is_some() { 500 } else { 1000 })
    }

    pub fn show(&mut self, tally: &Tally, fates: &Fates) -> io::Result<()> {
        let now = Mark { at: Instant::now(), reads: tally.reads, writes: tally.writes };
        let frame = Frame {
            elapsed: now.at - self.start,
            throughput: self.last.throughput_until(&now, tally),
            reads: quantiles(&tally.read_latency),
            writes: quantiles(&tally.write_latency),
            fates: fates.in_words(tally),
        };
        self.last = now;
        match &self.screen {
            Some(screen) => screen.draw(frame),
            None => print_line(frame.one_line())?,
        }
        Ok(())
    }

    pub fn finish(&self) {
        if let Some(screen) = &self.screen {
            screen.clear();
        }
    }
}

impl Mark {
    fn throughput_until(&self, now: &Self, tally: &Tally) -> String {
        let over = now.at - self.at;
        format!(
            "{} reads, {} writes, {} hits",
            rate(now.reads - self.reads, over),
            rate(now.writes - self.writes, over),
            percent(tally.hits, tally.reads),
        )
    }
}

impl Fates {
    fn in_words(&self, tally: &Tally) -> String {
        let caught = match (self.caught, self.killed) {
            (true, _) => "; one left a stripe half changed, and it was repaired",
            (false, 0) => "",
            (false, _) => "; none in the middle of a change yet",
        };
        format!(
            "{}, {} killed{caught}; {}",
            plural(self.alive as u64, "worker"),
            self.killed,
            plural(tally.wrong, "wrong value"),
        )
    }
}

/// The median and two high percentiles: `p50 0.42 µs, p99 2.10 µs, p99.9 11.0 µs`.
fn quantiles(histogram: &Histogram<u64>) -> String {
    let at = |quantile| latency(histogram.value_at_quantile(quantile));
    format!("p50 {}, p99 {}, p99.9 {}", at(0.5), at(0.99), at(0.999))
}

/// One bar for the time, and a line for each kind of number.
struct Screen {
    all: MultiProgress,
    time: ProgressBar,
    lines: [ProgressBar; 4],
}

impl Screen {
    fn new(time: Duration) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let bar = ProgressBar::new(time.as_secs());
        let time = all.add(bar.with_style(style("{bar:40} {pos} of {len} s")));
        let line = || all.add(ProgressBar::no_length().with_style(style("{msg}")));
        let lines = [line(), line(), line(), line()];
        Self { all, time, lines }
    }

    fn draw(&self, frame: Frame) {
        self.time.set_position(frame.elapsed.as_secs());
        let texts =
            [frame.throughput, format!("read   {}", frame.reads), format!("write  {}", frame.writes), frame.fates];
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text);
        }
    }

    fn clear(&self) {
        // If the terminal cannot be written, there is nothing to clear.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
