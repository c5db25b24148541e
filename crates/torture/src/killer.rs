//! The killer: it starts workers, kills and stops them at random moments, reaps them, and starts new ones.
//!
//! It is the parent of all workers, including forked ones, since it adopts orphans. No other process reaps them. So a
//! process number on the [board](crate::board) belongs to a worker until the killer itself has removed it, and no
//! signal can reach another process.

use crate::board::{Board, Place, SLOTS, THREADS, Word, monotonic_ns};
use crate::random::Random;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// An operation that takes longer than this, without a stop, counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// For this long after a process has resumed, long waits of other processes are attributed to its stop.
const GRACE: Duration = Duration::from_millis(50);
/// The time between two iterations of the killer's loop.
const TICK: Duration = Duration::from_millis(1);

/// How the workers and the killer behave in a round.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Lock wait of a write, in milliseconds.
    pub lock_wait_ms: u64,
    /// The longest time between two strikes, in milliseconds.
    pub pause_ms: u64,
    /// Whether only processes that resize the file are hit.
    pub hits_resizers_only: bool,
}

impl Manner {
    /// Chooses a manner. Some rounds have short waits, and in some the workers live long enough for long waits.
    pub fn random(random: &mut Random, fault: Option<&str>) -> Self {
        let (lock_wait_ms, pause_ms) = (random.pick(&[2000, 2000, 200, 50]), random.pick(&[12, 12, 12, 200]));
        match fault {
            // Only a worker that lives long and waits long can find that a file stays closed.
            Some("left-closed") => Self { lock_wait_ms: 2000, pause_ms: 12, hits_resizers_only: true },
            _ => Self { lock_wait_ms, pause_ms, hits_resizers_only: false },
        }
    }

    /// Whether writes wait for less time than many stops last, so that `Busy` happens.
    fn is_hasty(self) -> bool {
        self.lock_wait_ms < 2000
    }
}

/// The results of a round of killing.
#[derive(Default)]
pub struct Toll {
    pub kills: u64,
    pub stops: u64,
    /// Keys that killed workers were creating or locking.
    pub orphaned: u64,
    /// Workers that ended by themselves or hung.
    pub faults: Vec<String>,
}

pub struct Killer<'a> {
    board: &'a Board,
    /// The command that starts a worker with this number.
    start: &'a dyn Fn(u64) -> Command,
    random: Random,
    manner: Manner,
    /// Workers that have not been reaped.
    living: HashSet<u64>,
    killed: HashSet<u64>,
    /// Stopped workers, each with the end of its stop.
    stopped: HashMap<u64, Instant>,
    /// The end of the grace time of each worker that resumed.
    grace: Vec<Instant>,
    started: u64,
    toll: Toll,
}

impl<'a> Killer<'a> {
    pub fn new(board: &'a Board, start: &'a dyn Fn(u64) -> Command, seed: u64, manner: Manner) -> Self {
        Self {
            board,
            start,
            random: Random(seed),
            manner,
            living: HashSet::new(),
            killed: HashSet::new(),
            stopped: HashMap::new(),
            grace: Vec::new(),
            started: 0,
            toll: Toll::default(),
        }
    }

    /// Keeps this many workers at work, and kills and stops them, until the end or until `enough` returns true.
    pub fn run(mut self, processes: usize, end: Instant, enough: impl Fn(&Board) -> bool) -> Result<Toll> {
        let mut next = Instant::now();
        while Instant::now() < end && self.toll.faults.is_empty() && !enough(self.board) {
            self.bury()?;
            while self.living.len() < processes {
                self.spawn()?;
            }
            self.wake(Instant::now());
            self.look_for_hangs();
            if Instant::now() >= next {
                self.strike();
                next = Instant::now() + self.random.millis(0, self.manner.pause_ms);
            }
            std::thread::sleep(TICK);
        }
        self.finish()?;
        Ok(self.toll)
    }

    fn spawn(&mut self) -> Result<()> {
        self.started += 1;
        let child = (self.start)(self.started).spawn().context("start a worker")?;
        self.living.insert(child.id().into());
        Ok(())
    }

    /// Reaps dead workers, and removes them from the board.
    fn bury(&mut self) -> Result<()> {
        // Forked workers are known only from the board.
        self.living.extend(self.board.pids());
        while !self.living.is_empty() {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get() as u64, status),
                // There are no children at this moment; the killer will soon adopt a forked worker.
                Ok(None) | Err(rustix::io::Errno::CHILD) => break,
                Err(error) => return Err(error).context("wait for the workers"),
            };
            // Any other process is the child between two forks, whose own parent was killed.
            if self.living.remove(&pid) {
                self.judge(pid, status);
            }
            self.board.bury(pid);
            if self.stopped.remove(&pid).is_some() {
                self.grace.push(Instant::now() + GRACE);
            }
        }
        Ok(())
    }

    fn judge(&mut self, pid: u64, status: WaitStatus) {
        let killed = self.killed.remove(&pid);
        let well = status.exit_status() == Some(0) && self.board.get(Word::Stop) != 0;
        let by_us = killed && status.terminating_signal() == Some(Signal::KILL.as_raw());
        if !well && !by_us {
            self.toll.faults.push(format!("a worker ended by itself: {status:?}"));
        }
    }

    /// Kills or stops a random worker. A stopped worker can be killed, too, but rarely while a long stop lasts.
    fn strike(&mut self) {
        let living: Vec<u64> = self.board.pids();
        if living.is_empty() {
            return;
        }
        let only = self.manner.hits_resizers_only;
        // Few processes resize the file at any moment, and most resizes must succeed.
        let resizer = self.board.resizer().filter(|_| only || self.random.one_in(8));
        let Some(pid) = resizer.or_else(|| (!only).then(|| self.random.pick(&living))) else { return };
        let is_stopped = self.stopped.contains_key(&pid);
        let spared = is_stopped && self.manner.is_hasty() && !self.random.one_in(10);
        match self.random.below(10) {
            _ if spared => {}
            0..7 => self.kill(pid),
            _ if is_stopped => {}
            _ => self.stop(pid),
        }
    }

    fn stop(&mut self, pid: u64) {
        let wait_ms = self.manner.lock_wait_ms;
        // Some stops last longer than a write waits.
        let lasts = self.random.one_in(if self.manner.is_hasty() { 3 } else { 15 });
        let time = if lasts { self.random.millis(wait_ms, wait_ms + 600) } else { self.random.millis(1, 120) };
        self.board.add(Word::StoppedNow, 1);
        self.board.add(Word::StopsBegun, 1);
        self.stopped.insert(pid, Instant::now() + time);
        self.toll.stops += 1;
        signal(pid, Signal::STOP);
    }

    fn kill(&mut self, pid: u64) {
        if self.killed.insert(pid) {
            self.toll.kills += 1;
            self.board.add(Word::ResizersKilled, u64::from(self.board.resizer() == Some(pid)));
            self.toll.orphaned += self.board.doom(pid);
            signal(pid, Signal::KILL);
        }
    }

    /// Resumes the workers whose stop is over.
    fn wake(&mut self, now: Instant) {
        let over: Vec<u64> = self.stopped.iter().filter(|(_, until)| **until <= now).map(|(&pid, _)| pid).collect();
        for pid in over {
            self.stopped.remove(&pid);
            signal(pid, Signal::CONT);
            self.grace.push(now + GRACE);
        }
        let before = self.grace.len();
        self.grace.retain(|&until| until > now);
        self.board.word(Word::StoppedNow).fetch_sub((before - self.grace.len()) as u64, SeqCst);
    }

    fn look_for_hangs(&mut self) {
        if self.board.get(Word::StoppedNow) != 0 {
            return;
        }
        let now = monotonic_ns();
        for slot in 0..SLOTS {
            for thread in 0..THREADS {
                let since = self.board.since(slot, thread).load(SeqCst);
                if since != 0 && now.saturating_sub(since) > PATIENCE.as_nanos() as u64 {
                    let pid = self.board.place(slot, Place::Pid).load(SeqCst);
                    self.toll.faults.push(format!("an operation of process {pid} has not ended for {PATIENCE:?}"));
                    self.board.since(slot, thread).store(0, SeqCst);
                }
            }
        }
    }

    /// Tells all workers to end, and checks that they end by themselves.
    fn finish(&mut self) -> Result<()> {
        self.board.word(Word::Stop).store(1, SeqCst);
        let end = Instant::now() + PATIENCE;
        while !self.living.is_empty() {
            self.wake(Instant::now() + Duration::from_secs(3600));
            self.bury()?;
            if Instant::now() > end {
                let left: Vec<u64> = self.living.iter().copied().collect();
                self.toll.faults.push(format!("processes {left:?} do not end"));
                left.iter().for_each(|&pid| self.kill(pid));
                std::thread::sleep(Duration::from_millis(200));
                return self.bury();
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

/// Sends a signal to a worker. If the worker has ended but was not reaped, the signal does no harm.
fn signal(pid: u64, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Makes this process the parent of all orphans among its descendants.
pub fn adopt_orphans() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("become the parent of orphans")?;
    Ok(())
}
