//! The final report of the demo, written for a reader without a manual.

use std::fmt::Display;
use std::io::{self, Write};

use hdrhistogram::Histogram;
use kennel::{Stats, Verification};
use kennel_harness::human::{count, latency, percent, plural, rate};
use kennel_harness::size::format_size;

use super::director::Outcome;
use super::herd::Herd;
use super::watch::Catch;
use crate::cmd::verify;
use crate::output::stdout;

/// The most problems to list.
const MOST_PROBLEMS: usize = 10;

const NEXT: &str = "
Next, try a cache of your own, or measure what a trace of yours would hit:
  kennel create my.cache && kennel set my.cache greeting hello && kennel get my.cache greeting
  kennel replay --help";

pub struct Report {
    pub processes: u32,
    pub herd: Herd,
    pub outcome: Outcome,
    pub verification: Verification,
    pub stats: Stats,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.outcome.tally.wrong == 0 && self.herd.is_good() && self.verification.is_ok()
    }

    pub fn print(&self) -> io::Result<()> {
        let mut out = stdout();
        self.write_title(&mut out)?;
        self.write_speed(&mut out)?;
        self.write_herd(&mut out)?;
        self.write_kills(&mut out)?;
        self.write_checks(&mut out)?;
        self.write_comparison(&mut out)?;
        writeln!(out, "{NEXT}")?;
        out.flush()
    }

    fn write_title(&self, out: &mut impl Write) -> io::Result<()> {
        let early = if self.outcome.interrupted { ", ended early by a signal" } else { "" };
        writeln!(
            out,
            "\n{} shared one cache file for {:.1} s{early}.\n",
            plural(self.processes.into(), "process"),
            self.outcome.elapsed.as_secs_f64(),
        )
    }

    fn write_speed(&self, out: &mut impl Write) -> io::Result<()> {
        let tally = &self.outcome.tally;
        let elapsed = self.outcome.elapsed;
        let (reads, writes) = (rate(tally.reads, elapsed), rate(tally.writes, elapsed));
        row(out, "reads", format_args!("{reads:<14} {}", in_words(&tally.read_latency)))?;
        row(out, "writes", format_args!("{writes:<14} {}", in_words(&tally.write_latency)))?;
        row(out, "hit ratio", percent(tally.hits, tally.reads))
    }

    fn write_herd(&self, out: &mut impl Write) -> io::Result<()> {
        let Herd { threads, creations, served, last_ms } = self.herd;
        let (processes, creation) = (Herd::PROCESSES, Herd::CREATION.as_millis());
        row(
            out,
            "herd",
            format_args!("{threads} threads in {processes} processes missed one key together, which takes"),
        )?;
        let created = plural(creations.into(), "creation");
        row(out, "", format_args!("{creation} ms to create: {created}, {served} served within {last_ms} ms"))
    }

    fn write_kills(&self, out: &mut impl Write) -> io::Result<()> {
        let killed = plural(self.outcome.killed, "worker");
        row(out, "killed", format_args!("{killed}, with SIGKILL; the others went on"))?;
        match &self.outcome.catch {
            Some(catch) => write_catch(out, catch),
            None => row(out, "caught", "none in the middle of a change; a longer run may (--seconds)"),
        }
    }

    fn write_checks(&self, out: &mut impl Write) -> io::Result<()> {
        let tally = &self.outcome.tally;
        let hits = count(tally.hits);
        row(out, "wrong values", format_args!("{} in {hits} values read", count(tally.wrong)))?;
        if let Some(example) = &tally.wrong_example {
            row(out, "", example)?;
        }
        row(out, "verify", verify::summary(&self.verification))?;
        for problem in self.verification.problems.iter().take(MOST_PROBLEMS) {
            row(out, "", problem)?;
        }
        row(out, "file", format_args!("{} in all, removed now", format_size(self.stats.file_size)))
    }

    /// Compares the median with a well-known alternative.
    fn write_comparison(&self, out: &mut impl Write) -> io::Result<()> {
        let median = latency(self.outcome.tally.read_latency.value_at_quantile(0.5));
        writeln!(
            out,
            "\nA read took {median} at the median. A round trip to a cache server on the same host, \
             such as\nRedis or memcached, typically takes 10 to 100 µs."
        )
    }
}

fn write_catch(out: &mut impl Write, catch: &Catch) -> io::Result<()> {
    let Catch { stripe, operation, by_pid, by_seat, kills } = catch;
    let after = plural(*kills, "kill");
    row(out, "caught", format_args!("after {after}, one left stripe {stripe} half changed ({operation});"))?;
    row(out, "", format_args!("process {by_pid} (seat {by_seat}) found it so and repaired it"))
}

/// The median and two high percentiles, in words.
fn in_words(histogram: &Histogram<u64>) -> String {
    let within = |quantile| latency(histogram.value_at_quantile(quantile));
    format!("median {}, 99 % within {}, 99.9 % within {}", within(0.5), within(0.99), within(0.999))
}

fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:<13} {value}")
}
