//! A replay by several processes that share one cache file.
//!
//! Each key belongs to one worker, which gets all requests for it in their order. The trace is
//! sent out chunk by chunk, each worker its share, and every worker answers every chunk. A chunk
//! goes out only when all answers to the chunk before the last have come in: so no worker is two
//! chunks ahead of another, and yet none waits for the slowest at every chunk.
//!
//! Nobody can wait for ever. A worker never waits to be heard, since its two unread answers fit
//! into any pipe; so it always comes back to read, and a write to it goes on. The pipes of a
//! worker that dies break.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use kennel::LockStrategy;

use super::message::{read_jobs, read_tally, write_jobs, write_tally};
use super::player::{Job, PlayError, Player, Tally};
use crate::args::Locks;
use crate::cmd::command::this_program;

/// How many chunks may be out with the workers at once.
const CHUNKS_OUT: u32 = 2;

/// What can go wrong with a worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum TeamError {
    #[error("worker {number} cannot be started: {error}")]
    Start { number: u32, error: io::Error },

    #[error("worker {number} (process {pid}) ended before the trace did, with {status}")]
    Ended { number: u32, pid: u32, status: ExitStatus },

    #[error("worker {number} (process {pid}) is lost: {error}")]
    Lost { number: u32, pid: u32, error: io::Error },
}

/// Why a worker stops working.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Play(#[from] PlayError),

    #[error("the replaying process cannot be reached: {0}")]
    Pipe(#[from] io::Error),
}

/// The workers of a replay. They are killed if it is dropped before its time.
pub(super) struct Team {
    workers: Vec<Worker>,
    /// Chunks sent out, to which not all answers have come in.
    chunks_out: u32,
    tally: Tally,
    /// The share of each worker in the chunk that is sent.
    shares: Vec<Vec<Job>>,
}

impl Team {
    /// Starts `size` workers on the cache file at `path`.
    pub(super) fn start(size: u32, path: &Path, locks: Locks) -> Result<Self, TeamError> {
        let start = |number| Worker::start(number, path, locks).map_err(|error| TeamError::Start { number, error });
        let workers = (1..=size).map(start).collect::<Result<Vec<_>, _>>()?;
        let shares = vec![Vec::new(); workers.len()];
        Ok(Self { workers, chunks_out: 0, tally: Tally::default(), shares })
    }

    /// Has a chunk played, sooner or later.
    pub(super) fn play(&mut self, chunk: &[Job]) -> Result<(), TeamError> {
        if self.chunks_out == CHUNKS_OUT {
            self.collect()?;
        }
        deal(chunk, &mut self.shares);
        for (worker, share) in self.workers.iter_mut().zip(&self.shares) {
            worker.send(share)?;
        }
        self.chunks_out += 1;
        Ok(())
    }

    /// Waits until all is played, and lets the workers go.
    pub(super) fn finish(mut self) -> Result<Tally, TeamError> {
        while self.chunks_out > 0 {
            self.collect()?;
        }
        for worker in self.workers {
            worker.dismiss()?;
        }
        Ok(self.tally)
    }

    /// Waits for all answers to the oldest chunk that is out.
    fn collect(&mut self) -> Result<(), TeamError> {
        for worker in &mut self.workers {
            self.tally += worker.receive()?;
        }
        self.chunks_out -= 1;
        Ok(())
    }
}

/// Gives each job to the share of the worker that its key belongs to.
fn deal(chunk: &[Job], shares: &mut [Vec<Job>]) {
    shares.iter_mut().for_each(Vec::clear);
    let workers = shares.len() as u64;
    for job in chunk {
        let owner = job.key.spread() % workers;
        shares[owner as usize].push(*job);
    }
}

/// One process that plays.
struct Worker {
    number: u32,
    jobs: PipeWriter,
    tallies: PipeReader,
    process: Process,
}

impl Worker {
    fn start(number: u32, path: &Path, locks: Locks) -> io::Result<Self> {
        let (jobs_in, jobs) = io::pipe()?;
        let (tallies, tallies_out) = io::pipe()?;
        // The command owns the worker's ends, and this process must not keep them: they are what
        // tells that the worker has ended. So it lasts no longer than this statement.
        let child = Command::new(this_program())
            .arg("replay-worker")
            .args(["--locks", &LockStrategy::from(locks).to_string()])
            .arg(path)
            .stdin(jobs_in)
            .stdout(tallies_out)
            .spawn()?;
        Ok(Self { number, jobs, tallies, process: Process(child) })
    }

    fn send(&mut self, share: &[Job]) -> Result<(), TeamError> {
        write_jobs(&mut self.jobs, share).map_err(|error| self.fault(error))
    }

    fn receive(&mut self) -> Result<Tally, TeamError> {
        read_tally(&mut self.tallies).map_err(|error| self.fault(error))
    }

    /// Tells the worker that there is no more, and waits for its end.
    fn dismiss(self) -> Result<(), TeamError> {
        let Self { number, jobs, mut process, .. } = self;
        drop(jobs);
        match process.ended(number) {
            TeamError::Ended { status, .. } if status.success() => Ok(()),
            error => Err(error),
        }
    }

    /// What a failed exchange means: mostly that the worker has ended, for a reason that it has
    /// written to standard error.
    fn fault(&mut self, error: io::Error) -> TeamError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => self.process.ended(self.number),
            _ => TeamError::Lost { number: self.number, pid: self.process.0.id(), error },
        }
    }
}

/// A child process that does not outlive its owner.
struct Process(Child);

impl Process {
    /// Waits for the end.
    fn ended(&mut self, number: u32) -> TeamError {
        let pid = self.0.id();
        match self.0.wait() {
            Ok(status) => TeamError::Ended { number, pid, status },
            Err(error) => TeamError::Lost { number, pid, error },
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended and been waited for, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other side: plays what comes in and answers, until the input ends.
pub(super) fn serve(mut player: Player, mut jobs: impl Read, mut tallies: impl Write) -> Result<(), ServeError> {
    while let Some(share) = read_jobs(&mut jobs)? {
        let tally = player.play(&share)?;
        write_tally(&mut tallies, &tally)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::replay::CHUNK;
    use crate::trace::Key;

    #[test]
    fn a_worker_that_ends_is_named() {
        // Started again, the test program takes `replay-worker` for the name of a test, does not
        // know the options, and ends with status 101 at once.
        let mut team = Team::start(2, Path::new("cache"), Locks::File).expect("started");
        let chunk = [Job { key: Key::from(1), size: 1 }; CHUNK];
        let outcome = team.play(&chunk).and_then(|()| team.finish());
        let message = outcome.expect_err("no worker").to_string();
        assert!(message.starts_with("worker "), "{message}");
        assert!(message.contains("ended before the trace did, with exit"), "{message}");
        assert!(message.contains("101"), "{message}");
    }

    #[test]
    fn each_key_belongs_to_one_worker_in_every_chunk() {
        let mut shares = vec![Vec::new(); 4];
        let chunk: Vec<_> = (0..100).map(|key| Job { key: Key::from(key), size: 1 }).collect();
        deal(&chunk, &mut shares);
        assert!(shares.iter().all(|share| share.len() > 10), "{shares:?}");
        assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), chunk.len());

        let first = shares.clone();
        let reversed: Vec<_> = chunk.into_iter().rev().collect();
        deal(&reversed, &mut shares);
        for (mut share, again) in first.into_iter().zip(&shares) {
            share.reverse();
            assert_eq!(&share, again);
        }
    }
}
