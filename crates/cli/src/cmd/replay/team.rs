//! A replay by several processes that share one cache file.
//!
//! Each key belongs to one worker, which gets all requests for it in order. The trace is sent chunk by chunk: each
//! worker gets its share of every chunk and answers it. A chunk is sent only after all answers to the last but one have
//! arrived. So no worker is two chunks ahead of another, but workers do not wait for the slowest one after every chunk.
//!
//! No process waits forever. A worker never blocks on writing, because its two unread answers fit into any pipe; so it
//! always returns to reading, and writes to it continue. The pipes of a worker that dies break.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use kennel::LockStrategy;

use super::message::{read_jobs, read_tally, write_jobs, write_tally};
use super::player::{Job, PlayError, Player, Tally};
use crate::args::Locks;
use crate::cmd::command::this_program;

/// The most chunks that may be unanswered at a time.
const CHUNKS_OUT: u32 = 2;

/// What can go wrong with a worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum TeamError {
    #[error("worker {number} cannot be started: {error}")]
    Start { number: u32, error: io::Error },

    #[error("worker {number} (process {pid}) ended before the trace did, with {status}")]
    Ended { number: u32, pid: u32, status: ExitStatus },

    #[error("worker {number} (process {pid}) cannot be reached: {error}")]
    Lost { number: u32, pid: u32, error: io::Error },
}

/// The error that ends a worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Play(#[from] PlayError),

    #[error("the replaying process cannot be reached: {0}")]
    Pipe(#[from] io::Error),
}

/// The workers of a replay. Dropping the team kills workers that still run.
pub(super) struct Team {
    workers: Vec<Worker>,
    /// The number of chunks without all answers.
    chunks_out: u32,
    tally: Tally,
    /// The share of each worker in the current chunk.
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

    /// Sends a chunk to the workers, which play it later.
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

    /// Waits until everything is played, and ends the workers.
    pub(super) fn finish(mut self) -> Result<Tally, TeamError> {
        while self.chunks_out > 0 {
            self.collect()?;
        }
        for worker in self.workers {
            worker.dismiss()?;
        }
        Ok(self.tally)
    }

    /// Waits for all answers to the oldest unanswered chunk.
    fn collect(&mut self) -> Result<(), TeamError> {
        for worker in &mut self.workers {
            self.tally += worker.receive()?;
        }
        self.chunks_out -= 1;
        Ok(())
    }
}

/// Adds each job to the share of the worker that owns its key.
fn deal(chunk: &[Job], shares: &mut [Vec<Job>]) {
    shares.iter_mut().for_each(Vec::clear);
    let workers = shares.len() as u64;
    for job in chunk {
        let owner = job.key.spread() % workers;
        shares[owner as usize].push(*job);
    }
}

/// A worker process.
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
        // The command owns the worker's ends of the pipes and is dropped with this statement. If this process kept them
        // open, it would not notice the end of the worker.
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

    /// Closes the input of the worker, and waits for its end.
    fn dismiss(self) -> Result<(), TeamError> {
        let Self { number, jobs, mut process, .. } = self;
        drop(jobs);
        match process.ended(number) {
            TeamError::Ended { status, .. } if status.success() => Ok(()),
            error => Err(error),
        }
    }

    /// The error for a failed exchange. In most cases the worker has ended and has written the reason to standard
    /// error.
    fn fault(&mut self, error: io::Error) -> TeamError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => self.process.ended(self.number),
            _ => TeamError::Lost { number: self.number, pid: self.process.0.id(), error },
        }
    }
}

/// A child process that is killed with its owner.
struct Process(Child);

impl Process {
    /// Waits for the process to end.
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
        // Both fail for a process that has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The worker's side: plays the jobs from its input and answers, until the input ends.
pub(super) fn serve(mut player: Player, mut jobs: impl Read, mut tallies: impl Write) -> Result<(), ServeError> {
    while let Some(share) = read_jobs(&mut jobs)? {
        let tally = player.play(&share)?;
        write_tally(&mut tallies, &tally)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::player::CHUNK;
    use super::*;
    use crate::trace::Key;

    #[test]
    fn a_worker_that_ends_is_named() {
        // The workers are this test program. It takes `replay-worker` for the name of a test, does not know the
        // options, and ends immediately with status 101.
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
