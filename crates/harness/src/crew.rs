//! Worker processes, as seen by the process that starts them.

use crate::interrupt;
use crate::task::{Launcher, MARK, Outcome, Said, Task};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

/// Failures of a worker. The worker's standard error says more.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// The worker could not be started.
    #[error("worker {number} cannot be started: {error}")]
    Start {
        /// Its number.
        number: usize,
        /// The error of the system.
        error: io::Error,
    },
    /// The worker ended before it had finished its task.
    #[error("worker {number} ended early, with {status}")]
    Ended {
        /// Its number.
        number: usize,
        /// Its exit status.
        status: ExitStatus,
    },
    /// The worker sent an unexpected line.
    #[error("worker {number} said {found:?}, expected {expected}")]
    Nonsense {
        /// Its number.
        number: usize,
        /// The expected message.
        expected: &'static str,
        /// The line that the worker sent.
        found: String,
    },
    /// The pipe to or from the worker failed.
    #[error("worker {number} cannot be reached: {error}")]
    Lost {
        /// Its number.
        number: usize,
        /// The error of the system.
        error: io::Error,
    },
    /// This process was asked to end: see [`interrupt`].
    #[error("interrupted before the end")]
    Interrupted,
}

/// Starts a worker for each task, lets all of them begin at the same time, and returns their outcomes.
pub(crate) fn run(launcher: Launcher<'_>, tasks: &[Task]) -> Result<Vec<Outcome>, CrewError> {
    let start = |(number, task): (usize, &Task)| Worker::start(number, launcher(&task.text()));
    let mut crew = tasks.iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;
    crew.iter_mut().try_for_each(Worker::wait_until_ready)?;
    crew.iter_mut().try_for_each(Worker::begin)?;
    let outcomes = crew.iter_mut().map(Worker::outcome).collect::<Result<Vec<_>, _>>()?;
    crew.iter_mut().try_for_each(Worker::finish)?;
    Ok(outcomes)
}

/// One worker process. Dropping this kills it.
pub(crate) struct Worker {
    number: usize,
    child: Child,
    /// The worker ends when this is closed, so it stays open until then.
    input: Option<ChildStdin>,
    said: Receiver<io::Result<String>>,
}

impl Worker {
    pub(crate) fn start(number: usize, mut command: Command) -> Result<Self, CrewError> {
        let failed = |error| CrewError::Start { number, error };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (sender, said) = sync_channel(1);
        let (input, stdout) = (child.stdin.take(), child.stdout.take());
        let worker = Self { number, child, input, said };
        let stdout = stdout.ok_or_else(|| failed(io::Error::other("the worker has no standard output")))?;
        let listener = std::thread::Builder::new().name("listener".into());
        listener.spawn(move || listen(stdout, &sender)).map_err(failed)?;
        Ok(worker)
    }

    /// The worker's next line. The end of its output is an error.
    fn hear(&mut self) -> Result<String, CrewError> {
        loop {
            match self.said.recv_timeout(interrupt::LOOK_EVERY) {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => return Err(CrewError::Lost { number: self.number, error }),
                _ if interrupt::is_asked() => return Err(CrewError::Interrupted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
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
            _ => Err(CrewError::Nonsense { number: self.number, expected: "a message that it is ready", found: line }),
        }
    }

    pub(crate) fn begin(&mut self) -> Result<(), CrewError> {
        let told = self.input.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"go\n"));
        told.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => self.ended(),
            _ => CrewError::Lost { number: self.number, error },
        })
    }

    fn outcome(&mut self) -> Result<Outcome, CrewError> {
        let line = self.hear()?;
        match serde_json::from_str(&line) {
            Ok(Said::Done(outcome)) => Ok(*outcome),
            _ => Err(CrewError::Nonsense { number: self.number, expected: "its outcome", found: line }),
        }
    }

    /// Kills the worker, at whatever instruction it is.
    ///
    /// # Errors
    /// The worker had ended by itself; its standard error says why.
    pub(crate) fn kill(&mut self) -> Result<(), CrewError> {
        let number = self.number;
        let lost = |error| CrewError::Lost { number, error };
        if let Some(status) = self.child.try_wait().map_err(lost)? {
            return Err(CrewError::Ended { number, status });
        }
        self.child.kill().map_err(lost)?;
        self.child.wait().map(drop).map_err(lost)
    }

    /// Waits until the worker ends.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, CrewError> {
        self.child.wait().map_err(|error| CrewError::Lost { number: self.number, error })
    }

    /// Waits until the worker ends, and checks that it succeeded.
    pub(crate) fn finish(&mut self) -> Result<(), CrewError> {
        match self.wait()? {
            status if status.success() => Ok(()),
            status => Err(CrewError::Ended { number: self.number, status }),
        }
    }
}

/// Forwards the lines of a worker to its parent, until the output ends.
fn listen(stdout: ChildStdout, to: &SyncSender<io::Result<String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        let said = match stdout.read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => match line.find(MARK) {
                Some(at) => Ok(line.split_off(at + MARK.len())),
                None => continue,
            },
            Err(error) => Err(error),
        };
        let is_last = said.is_err();
        if to.send(said).is_err() || is_last {
            return;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail if the worker was already reaped, which does no harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
