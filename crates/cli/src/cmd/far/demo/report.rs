//! The final report of the demo, written for a reader without a manual.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use kennel_harness::human::{count, percent, plural, rate};

use super::director::{HOSTS, Outcome, WORKERS};
use super::popularity::KEYS;
use super::tally::Tally;
use crate::output::stdout;

/// The most violations to list.
const MOST_SHOWN: usize = 10;

const NEXT: &str = "
Next, check your own server, or keep a near cache of it up to date:
  kennel far check redis://HOST
  kennel far keep redis://HOST /dev/shm/app.kennel --prefix app:";

pub struct Report {
    pub outcome: Outcome,
    pub tally: Tally,
    pub staleness: Duration,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.tally.history.violations.is_empty()
    }

    pub fn print(&self) -> io::Result<()> {
        let mut out = stdout();
        self.write_title(&mut out)?;
        self.write_reads(&mut out)?;
        self.write_comparison(&mut out)?;
        self.write_proofs(&mut out)?;
        self.write_checks(&mut out)?;
        writeln!(out, "{NEXT}")?;
        out.flush()
    }

    fn write_title(&self, out: &mut impl Write) -> io::Result<()> {
        let early = if self.outcome.interrupted { ", ended early by a signal" } else { "" };
        writeln!(
            out,
            "\n{WORKERS} workers on {HOSTS} hosts read one server through a near cache of each host for {:.1} s{early}.\n",
            self.outcome.elapsed.as_secs_f64(),
        )
    }

    fn write_reads(&self, out: &mut impl Write) -> io::Result<()> {
        let (history, elapsed) = (&self.tally.history, self.outcome.elapsed);
        row(out, "reads", format_args!("{}, {}", count(history.reads), rate(history.reads, elapsed)))?;
        let near = history.reads.saturating_sub(self.outcome.far_reads);
        row(out, "near", format_args!("{} of them needed no server", percent(near, history.reads)))
    }

    fn write_comparison(&self, out: &mut impl Write) -> io::Result<()> {
        let (reads, far) = (self.tally.history.reads, self.outcome.far_reads);
        let alone = self.tally.per_process;
        row(out, "far reads", compared(far, reads))?;
        row(out, "", format_args!("{}, if each process had a cache of its own", compared(alone, reads)))?;
        row(out, "", format_args!("{} {}", count(alone.saturating_sub(far)), "far reads were saved against that"))?;
        let (reads, alone) = self.tally.replaced;
        if reads == 0 {
            return Ok(());
        }
        row(out, "restart", "while all workers were replaced, one after the other, and a second more:")?;
        row(out, "", compared(self.outcome.far_reads_then, reads))?;
        row(out, "", format_args!("{}, if each process had a cache of its own", compared(alone, reads)))
    }

    fn write_proofs(&self, out: &mut impl Write) -> io::Result<()> {
        let Outcome { killed, oldest_proof, looks, unproved, .. } = &self.outcome;
        row(out, "killed", format_args!("{}, with SIGKILL; others took their seats", plural(*killed, "tracker")))?;
        row(
            out,
            "proof",
            format_args!(
                "at most {:.0} ms old; too old to be used in {} of {} looks",
                oldest_proof.as_secs_f64() * 1e3,
                count(*unproved),
                count(*looks)
            ),
        )
    }

    fn write_checks(&self, out: &mut impl Write) -> io::Result<()> {
        let history = &self.tally.history;
        let oldest = history.oldest as f64 / 1e3;
        row(out, "writes", format_args!("{}, by all workers", count(history.writes.saturating_sub(KEYS))))?;
        row(
            out,
            "oldest read",
            format_args!("{oldest:.1} ms after a new value was written; {:?} is allowed", self.staleness),
        )?;
        let (violations, reads) = (history.violations.len() as u64, count(history.reads));
        row(
            out,
            "wrong",
            format_args!("{} of {reads} reads: too old, before an own write, or a step back", count(violations)),
        )?;
        history.violations.iter().take(MOST_SHOWN).try_for_each(|violation| row(out, "", violation))
    }
}

/// `8,123, 20.6 per 1,000 reads`
fn compared(far: u64, reads: u64) -> String {
    format!("{:>9}, {:>5.1} per 1,000 reads", count(far), far as f64 * 1e3 / reads.max(1) as f64)
}

fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:<13} {value}")
}
