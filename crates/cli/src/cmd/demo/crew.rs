//! The worker processes: starts them, reads their reports, kills and replaces them.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam::channel::Sender;

use super::sample::Sample;
use crate::cmd::command::this_program;

/// A message about a worker.
pub enum News {
    Sample(Sample),
    /// A complete line that is not a sample.
    Nonsense(String),
    /// The worker with this number ended, for whatever reason.
    Ended(u64),
}

/// Workers, each with a thread that reads its output. Dropping the crew kills the workers, so that these threads always
/// end.
pub struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    news: Sender<News>,
    program: PathBuf,
    file: &'env Path,
    seed: u64,
    workers: Vec<Worker<'scope>>,
    started: u64,
}

struct Worker<'scope> {
    number: u64,
    child: Child,
    listener: ScopedJoinHandle<'scope, ()>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    pub fn start(
        scope: &'scope Scope<'scope, 'env>,
        news: Sender<News>,
        file: &'env Path,
        seed: u64,
        size: u32,
    ) -> io::Result<Self> {
        let program = this_program();
        let workers = Vec::new();
        let mut crew = Self { scope, news, program, file, seed, workers, started: 0 };
        for _ in 0..size {
            crew.spawn_worker()?;
        }
        Ok(crew)
    }

    pub fn len(&self) -> usize {
        self.workers.len()
    }

    fn spawn_worker(&mut self) -> io::Result<()> {
        let number = self.started;
        let mut child = Command::new(&self.program)
            .arg("demo-worker")
            .arg(self.file)
            .arg(format!("--seed={}", self.seed.wrapping_add(number)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        self.started += 1;
        let listener = self.listen(number, child.stdout.take());
        self.workers.push(Worker { number, child, listener });
        Ok(())
    }

    fn listen(&self, number: u64, stdout: Option<ChildStdout>) -> ScopedJoinHandle<'scope, ()> {
        let news = self.news.clone();
        self.scope.spawn(move || {
            if let Some(stdout) = stdout {
                forward(stdout, &news);
            }
            // Sending fails when the run is over and the receiver is gone.
            let _ = news.send(News::Ended(number));
        })
    }

    /// Kills the worker at the index `place` with SIGKILL, and starts another.
    pub fn replace(&mut self, place: usize) -> io::Result<()> {
        let mut victim = self.workers.swap_remove(place);
        victim.child.kill()?;
        victim.child.wait()?;
        self.spawn_worker()
    }

    /// The exit status of a worker that ended without being killed; `None` if it was killed.
    pub fn unexpected_end(&mut self, number: u64) -> io::Result<Option<ExitStatus>> {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.number == number) else {
            return Ok(None);
        };
        worker.child.wait().map(Some)
    }

    /// Makes all workers end, and waits for their last reports.
    pub fn stop(&mut self) -> io::Result<()> {
        for worker in &mut self.workers {
            drop(worker.child.stdin.take());
        }
        for mut worker in self.workers.drain(..) {
            worker.child.wait()?;
            // A listener only forwards lines and cannot panic.
            let _ = worker.listener.join();
        }
        Ok(())
    }
}

impl Drop for Crew<'_, '_> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Killing fails for a worker that has ended already.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

/// Forwards each complete line. The last line of a killed worker may be incomplete, and is dropped.
fn forward(stdout: impl Read, news: &Sender<News>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
        if news.send(parse(&line)).is_err() {
            return;
        }
        line.clear();
    }
}

fn parse(line: &[u8]) -> News {
    match serde_json::from_slice(line) {
        Ok(sample) => News::Sample(sample),
        Err(_) => News::Nonsense(String::from_utf8_lossy(line).trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel;

    #[test]
    fn a_line_cut_off_by_a_kill_is_dropped() {
        let whole = serde_json::to_string(&Sample { reads: 7, ..Sample::default() }).unwrap();
        for cut in 0..whole.len() {
            let said = format!("{whole}\nwhat?\n{}", &whole[..cut]);
            let (sender, news) = channel::unbounded();
            forward(said.as_bytes(), &sender);
            drop(sender);
            let heard: Vec<News> = news.iter().collect();
            assert!(
                matches!(&heard[..], [News::Sample(sample), News::Nonsense(line)]
                    if sample.reads == 7 && line == "what?"),
                "cut to {cut} bytes"
            );
        }
    }
}
