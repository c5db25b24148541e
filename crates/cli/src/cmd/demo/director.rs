//! The run: first without kills, then with kills until one leaves a stripe half changed.

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver};
use kennel::Cache;
use kennel_harness::human::plural;
use kennel_harness::interrupt;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::crew::{Crew, News};
use super::live::{Fates, Live};
use super::tally::Tally;
use super::watch::{Catch, Watch};
use crate::cmd::outcome::AnyError;
use crate::output::print_line;

/// The part of the time without kills, for comparison.
const QUIET: f64 = 0.3;

/// The time between two kills in milliseconds: 28 kills a second on average.
const BETWEEN_KILLS: std::ops::Range<u64> = 20..52;

/// The least number of kills, even if the first one is caught.
const FEWEST_KILLS: u64 = 3;

pub struct Plan {
    pub time: Duration,
    pub processes: u32,
    pub seed: u64,
}

/// The result of the run.
pub struct Outcome {
    pub tally: Tally,
    pub elapsed: Duration,
    pub killed: u64,
    pub catch: Option<Catch>,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
}

pub struct Director<'a> {
    file: &'a Path,
    plan: Plan,
    watch: Watch<'a>,
    rng: SmallRng,
    tally: Tally,
    killed: u64,
    catch: Option<Catch>,
}

impl<'a> Director<'a> {
    pub fn new(cache: &'a Cache, file: &'a Path, plan: Plan) -> Result<Self, AnyError> {
        Ok(Self {
            file,
            rng: SmallRng::seed_from_u64(plan.seed),
            plan,
            watch: Watch::new(cache),
            tally: Tally::new()?,
            killed: 0,
            catch: None,
        })
    }

    pub fn run(mut self) -> Result<Outcome, AnyError> {
        self.announce()?;
        let start = Instant::now();
        let Plan { processes, seed, .. } = self.plan;
        std::thread::scope(|scope| {
            let (sender, news) = channel::unbounded();
            let mut crew = Crew::start(scope, sender, self.file, seed, processes)?;
            self.direct(start, &mut crew, &news)?;
            crew.stop()?;
            // All workers have ended, so the channel holds their last messages.
            news.try_iter().try_for_each(|news| self.hear(news).map(drop))
        })?;
        Ok(self.conclude(start.elapsed()))
    }

    fn announce(&self) -> std::io::Result<()> {
        print_line(format_args!(
            "{} read and write one cache file, {}.\nFrom second {:.0} on, some are killed at random \
             moments, and replaced.\n",
            plural(self.plan.processes.into(), "process"),
            self.file.display(),
            self.plan.time.mul_f64(QUIET).as_secs_f64(),
        ))
    }

    /// Listens, kills and shows progress until the time is up.
    fn direct(&mut self, start: Instant, crew: &mut Crew, news: &Receiver<News>) -> Result<(), AnyError> {
        let end = start + self.plan.time;
        let mut live = Live::new(self.plan.time, start);
        let mut next_kill = start + self.plan.time.mul_f64(QUIET);
        let mut next_show = start + live.interval();
        while Instant::now() < end && !interrupt::is_asked() {
            // After a timeout the next step is due.
            let next_step = next_kill.min(next_show).min(end).min(Instant::now() + interrupt::LOOK_EVERY);
            if let Ok(news) = news.recv_deadline(next_step)
                && let Some(ended) = self.hear(news)?
            {
                Self::check_end(ended, crew)?;
            }
            if Instant::now() >= next_kill {
                self.kill_unless_done(crew)?;
                next_kill = Instant::now() + self.pause();
            }
            if Instant::now() >= next_show {
                live.show(&self.tally, &self.fates(crew))?;
                next_show += live.interval();
            }
        }
        live.finish();
        Ok(())
    }

    /// Counts a report, or returns the number of a worker that ended.
    fn hear(&mut self, news: News) -> Result<Option<u64>, AnyError> {
        match news {
            News::Sample(sample) => self.tally.add(sample),
            News::Nonsense(line) => return Err(format!("expected a report from a worker, found: {line}").into()),
            News::Ended(number) => return Ok(Some(number)),
        }
        Ok(None)
    }

    /// Fails if a worker ended without being killed; its standard error has the reason. After a signal a worker that
    /// has only just started may end like that.
    fn check_end(number: u64, crew: &mut Crew) -> Result<(), AnyError> {
        match crew.unexpected_end(number)? {
            Some(status) if !interrupt::is_asked() => {
                Err(format!("a worker that was not killed ended: {status}").into())
            }
            _ => Ok(()),
        }
    }

    /// Checks whether a kill was caught in the middle of a change, and otherwise kills another worker.
    fn kill_unless_done(&mut self, crew: &mut Crew) -> Result<(), AnyError> {
        self.look();
        if self.catch.is_some() && self.killed >= FEWEST_KILLS {
            return Ok(());
        }
        crew.replace(self.rng.random_range(0..crew.len()))?;
        self.killed += 1;
        Ok(())
    }

    fn look(&mut self) {
        if self.catch.is_none() {
            self.catch = self.watch.look(self.killed);
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(BETWEEN_KILLS))
    }

    fn fates(&self, crew: &Crew) -> Fates {
        Fates { alive: crew.len(), killed: self.killed, caught: self.catch.is_some() }
    }

    fn conclude(mut self, elapsed: Duration) -> Outcome {
        // The last kill may be the one that was caught.
        self.look();
        Outcome {
            interrupted: interrupt::is_asked(),
            tally: self.tally,
            elapsed,
            killed: self.killed,
            catch: self.catch,
        }
    }
}
