//! Worker processes, from the side of the one that starts them.

use crate::worker::{Launcher, MARK, Outcome, Said, Task};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// What can go wrong with a worker. What it wrote to standard error says more.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// It could not be started.
    #[error("worker {number} cannot be started: {error}")]
    Start {
        /// Its number.
        number: usize,
        /// What the system said.
        error: io::Error,
    },
    /// It ended before it was through.
    #[error("worker {number} ended early, with {status}")]
    Ended {
        /// Its number.
        number: usize,
        /// How.
        status: ExitStatus,
    },
    /// It said something else than it should.
    #[error("worker {number} said {found:?}, expected {expected}")]
    Nonsense {
        /// Its number.
        number: usize,
        /// What it should have said.
        expected: &'static str,
        /// What it said.
        found: String,
    },
    /// It cannot be heard or told.
    #[error("worker {number} is lost: {error}")]
    Lost {
        /// Its number.
        number: usize,
        /// What the system said.
        error: io::Error,
    },
}

/// Starts a worker for each task, has all of them begin at once, and returns what came of it.
pub(crate) fn run(launcher: Launcher<'_>, tasks: &[Task]) -> Result<Vec<Outcome>, CrewError> {
    let start = |(number, task): (usize, &Task)| Worker::start(number, launcher(&task.text()));
    let mut crew = tasks.iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;
    crew.iter_mut().try_for_each(Worker::wait_until_ready)?;
    crew.iter_mut().try_for_each(Worker::begin)?;
    let outcomes = crew.iter_mut().map(Worker::outcome).collect::<Result<Vec<_>, _>>()?;
    crew.iter_mut().try_for_each(Worker::finish)?;
    Ok(outcomes)
}

/// One worker process. It does not outlive this.
pub(crate) struct Worker {
    number: usize,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(number: usize, mut command: Command) -> Result<Self, CrewError> {
        let failed = |error| CrewError::Start { number, error };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        match child.stdout.take() {
            Some(stdout) => Ok(Self { number, child, said: BufReader::new(stdout) }),
            None => Err(failed(io::Error::other("it has no standard output"))),
        }
    }

    /// What it says next; the end of that is the end of the worker.
    fn hear(&mut self) -> Result<String, CrewError> {
        loop {
            let mut line = String::new();
            match self.said.read_line(&mut line) {
                Ok(0) => return Err(self.ended()),
                Ok(_) => {}
                Err(error) => return Err(CrewError::Lost { number: self.number, error }),
            }
            if let Some(at) = line.find(MARK) {
                return Ok(line.split_off(at + MARK.len()));
            }
        }
    }

    fn ended(&mut self) -> CrewError {
        match self.child.wait() {
            Ok(status) => CrewError::Ended { number: self.number, status },
            Err(error) => CrewError::Lost { number: self.number, error },
        }
    }

    pub(crate) fn wait_until_ready(&mut self) -> Result<(), CrewError> {
        let line = self.hear()?;
        match serde_json::from_str(&line) {
            Ok(Said::Ready) => Ok(()),
            _ => Err(CrewError::Nonsense { number: self.number, expected: "that it is ready", found: line }),
        }
    }

    pub(crate) fn begin(&mut self) -> Result<(), CrewError> {
        let told = self.child.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"go\n"));
        told.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => self.ended(),
            _ => CrewError::Lost { number: self.number, error },
        })
    }

    fn outcome(&mut self) -> Result<Outcome, CrewError> {
        let line = self.hear()?;
        match serde_json::from_str(&line) {
            Ok(Said::Done(outcome)) => Ok(*outcome),
            _ => Err(CrewError::Nonsense { number: self.number, expected: "what it did", found: line }),
        }
    }

    /// Kills it, at whatever instruction it is.
    ///
    /// # Errors
    /// It had ended by itself, for a reason that it has told on standard error.
    pub(crate) fn kill(&mut self) -> Result<(), CrewError> {
        let number = self.number;
        let lost = |error| CrewError::Lost { number, error };
        if let Some(status) = self.child.try_wait().map_err(lost)? {
            return Err(CrewError::Ended { number, status });
        }
        self.child.kill().map_err(lost)?;
        self.child.wait().map(drop).map_err(lost)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, CrewError> {
        drop(self.child.stdin.take());
        self.child.wait().map_err(|error| CrewError::Lost { number: self.number, error })
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(&mut self) -> Result<(), CrewError> {
        match self.wait()? {
            status if status.success() => Ok(()),
            status => Err(CrewError::Ended { number: self.number, status }),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail for one that has ended and was waited for, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
