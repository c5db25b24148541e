//! The killer: it starts workers, kills and stops them at random moments, waits for their ends, and starts new ones.
//!
//! It is the parent of all workers, of forked ones too, since orphans become its children. Nobody else waits for them.
//! So a process number on the [board](crate::board) belongs to a worker until the killer itself has buried it, and no
//! signal can reach anybody else.

use crate::board::{Board, Place, SLOTS, THREADS, Word, monotonic_ns};
use crate::random::Random;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// An operation that takes longer than this without being stopped hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long after a process went on, what others waited for is still put down to its stop.
const GRACE: Duration = Duration::from_millis(50);
/// Between two looks.
const TICK: Duration = Duration::from_millis(1);

/// What a round of killing came to.
#[derive(Default)]
pub struct Toll {
    pub kills: u64,
    pub stops: u64,
    /// Keys that were being created or locked by those who were killed.
    pub orphaned: u64,
    /// What went wrong with processes: they ended by themselves, or hung.
    pub faults: Vec<String>,
}

pub struct Killer<'a> {
    board: &'a Board,
    /// The command that starts a worker with this number.
    start: &'a dyn Fn(u64) -> Command,
    random: Random,
    /// The longest between two strikes, in milliseconds.
    pause_ms: u64,
    /// Workers that were not waited for yet.
    living: HashSet<u64>,
    killed: HashSet<u64>,
    /// Workers that were stopped, and until when.
    stopped: HashMap<u64, Instant>,
    /// When the stops of workers that went on are over.
    grace: Vec<Instant>,
    started: u64,
    toll: Toll,
}

impl<'a> Killer<'a> {
    pub fn new(board: &'a Board, start: &'a dyn Fn(u64) -> Command, seed: u64, pause_ms: u64) -> Self {
        Self {
            board,
            start,
            random: Random(seed),
            pause_ms,
            living: HashSet::new(),
            killed: HashSet::new(),
            stopped: HashMap::new(),
            grace: Vec::new(),
            started: 0,
            toll: Toll::default(),
        }
    }

    /// Keeps so many workers at work, and kills and stops them, until the end or until `enough` says so.
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
                next = Instant::now() + self.random.millis(0, self.pause_ms);
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

    /// Waits for those that are dead, and takes them off the board.
    fn bury(&mut self) -> Result<()> {
        // Forked ones are first heard of by the board.
        self.living.extend(self.board.pids());
        while !self.living.is_empty() {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get() as u64, status),
                // Without children: who was forked is adopted in a moment.
                Ok(None) | Err(rustix::io::Errno::CHILD) => break,
                Err(error) => return Err(error).context("wait for the workers"),
            };
            // Another is the middle one of two forks, whose own parent was killed.
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

    /// Kills or stops one at random. One that is stopped can be killed, too.
    fn strike(&mut self) {
        let living: Vec<u64> = self.board.pids();
        if living.is_empty() {
            return;
        }
        let pid = self.random.pick(&living);
        match self.random.below(10) {
            0..7 => self.kill(pid),
            _ if self.stopped.contains_key(&pid) => {}
            _ => {
                // Now and then for longer than a write waits.
                let time =
                    if self.random.one_in(15) { self.random.millis(2000, 2600) } else { self.random.millis(1, 120) };
                self.board.add(Word::StoppedNow, 1);
                self.board.add(Word::StopsBegun, 1);
                self.stopped.insert(pid, Instant::now() + time);
                self.toll.stops += 1;
                signal(pid, Signal::STOP);
            }
        }
    }

    fn kill(&mut self, pid: u64) {
        if self.killed.insert(pid) {
            self.toll.kills += 1;
            self.toll.orphaned += self.board.doom(pid);
            signal(pid, Signal::KILL);
        }
    }

    /// Lets those go on whose stop is over.
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

    /// Lets all of them end, which they must do by themselves.
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

/// Sends a signal to a worker. One that has just ended, and that nobody has waited for, takes it without harm.
fn signal(pid: u64, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Makes this process the parent of all orphans among those that come from it.
pub fn adopt_orphans() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("become the parent of orphans")?;
    Ok(())
}
