//! A round: processes that read, write and track, the faults that befall them, and what their logs say.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kennel_far::history::{Dice, Event, Log, Report, check};
use kennel_far::{NearTier, inspect};
use kennel_harness::interrupt;

use super::worker::Task;
use crate::cmd::far::server::Server;
use crate::cmd::far::workers::Worker;
use crate::cmd::outcome::AnyError;

/// Processes of a host that only track, beside its workers.
const TRACKERS: u64 = 2;
/// How many processes are stopped at the same time at most.
const MOST_STOPPED: usize = 3;

/// What all rounds have in common.
pub struct Plan<'a> {
    pub server: &'a Server,
    pub task: Task,
    /// After this time, the last command of a killed process has been executed.
    pub settle: Duration,
}

/// What a round found.
#[derive(Default)]
pub struct Outcome {
    pub history: Report,
    pub faults: u64,
    /// Reads that the near caches answered.
    pub near_hits: u64,
    /// Why trackers prove nothing, as one of them reports.
    pub problem: Option<String>,
}

struct Process {
    host: u64,
    worker: u64,
    handle: Worker,
    is_stopped: bool,
}

pub struct Round<'a> {
    plan: &'a Plan<'a>,
    folder: &'a Path,
    dice: &'a mut Dice,
    processes: Vec<Process>,
}

impl<'a> Round<'a> {
    pub fn new(plan: &'a Plan<'a>, folder: &'a Path, dice: &'a mut Dice) -> Result<Self, AnyError> {
        let mut round = Self { plan, folder, dice, processes: Vec::new() };
        for host in 0..plan.task.hosts {
            for worker in 0..plan.task.workers + TRACKERS {
                let handle = round.spawn(host, worker)?;
                round.processes.push(Process { host, worker, handle, is_stopped: false });
            }
        }
        Ok(round)
    }

    fn near(&self, host: u64) -> PathBuf {
        self.folder.join(format!("near-{host}"))
    }

    fn spawn(&mut self, host: u64, worker: u64) -> Result<Worker, AnyError> {
        let task = Task {
            near: self.near(host),
            log: self.folder.join(format!("log-{host}-{worker}")),
            host,
            worker,
            seed: self.dice.up_to(u64::MAX),
            ..self.plan.task.clone()
        };
        Worker::start("far-check-worker", &task)
    }

    /// Lets the processes work among faults, and checks their logs.
    pub fn play(mut self, time: Duration) -> Result<Outcome, AnyError> {
        let end = Instant::now() + time;
        let mut outcome = Outcome::default();
        thread::sleep(Duration::from_millis(300).min(time));
        while Instant::now() < end && !interrupt::is_asked() {
            self.fault()?;
            outcome.faults += 1;
            thread::sleep(self.dice.millis(10, 120));
        }
        self.resume();
        for tier in (0..self.plan.task.hosts).filter_map(|host| self.look(host)) {
            outcome.near_hits += tier.totals.hits + tier.totals.absent_hits;
            let mut problems = tier.processes.into_iter().filter_map(|process| process.problem);
            outcome.problem = outcome.problem.or(problems.next());
        }
        self.processes.clear();
        outcome.history = check(&self.events()?, self.plan.task.staleness.as_micros() as u64);
        Ok(outcome)
    }

    fn look(&self, host: u64) -> Option<NearTier> {
        inspect(self.near(host), &kennel::Options::new()).ok()?.pop()
    }

    fn events(&self) -> Result<Vec<Event>, AnyError> {
        let mut events = Vec::new();
        for entry in fs::read_dir(self.folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")) {
                events.extend(Log::read(&path)?);
            }
        }
        Ok(events)
    }

    fn fault(&mut self) -> Result<(), AnyError> {
        for process in &mut self.processes {
            process.handle.is_alive()?;
        }
        match self.dice.up_to(100) {
            0..40 => self.kill()?,
            40..75 => self.stop(),
            75..95 => self.cut(),
            _ => self.resume(),
        }
        Ok(())
    }

    fn any(&mut self) -> usize {
        self.dice.up_to(self.processes.len() as u64) as usize
    }

    fn kill(&mut self) -> Result<(), AnyError> {
        let i = self.any();
        let (host, worker) = (self.processes[i].host, self.processes[i].worker);
        self.processes[i].handle.kill();
        // The successor must not write before the last command of the killed process has been executed.
        thread::sleep(self.plan.settle);
        let handle = self.spawn(host, worker)?;
        self.processes[i] = Process { host, worker, handle, is_stopped: false };
        Ok(())
    }

    /// Stops one process for a while, or until `resume` lets it go on.
    fn stop(&mut self) {
        let i = self.any();
        self.processes[i].handle.stop();
        self.processes[i].is_stopped = true;
        if self.dice.up_to(3) > 0 {
            thread::sleep(self.dice.millis(1, 400));
            self.processes[i].handle.go_on();
            self.processes[i].is_stopped = false;
        }
        if self.processes.iter().filter(|process| process.is_stopped).count() > MOST_STOPPED {
            self.resume();
        }
    }

    fn resume(&mut self) {
        for process in &mut self.processes {
            process.handle.go_on();
            process.is_stopped = false;
        }
    }

    /// Closes the connections of a host's trackers at the server, if this user may. Other clients keep theirs. In a
    /// cluster the same number belongs to another client at each node, so there a process is stopped instead.
    fn cut(&mut self) {
        if self.plan.server.is_cluster() {
            return self.stop();
        }
        let host = self.dice.up_to(self.plan.task.hosts);
        let seats = self.look(host).map(|tier| tier.seats).unwrap_or_default();
        for (connection, _) in seats.into_iter().flat_map(|seat| seat.connections) {
            let _ = self.plan.server.ask(&["CLIENT", "KILL", "ID", &connection.to_string()]);
        }
    }
}
