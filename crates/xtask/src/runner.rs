//! Runs steps one after another, some beside the others, and reports the outcome of each.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::step::{Step, quoted};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    NotRun,
}

/// Runs `steps` up to the first failure and prints a table of their outcomes. `rerun` returns the command that
/// repeats one step.
pub(crate) fn run(steps: &[Step], rerun: impl Fn(&Step) -> String) -> Result<ExitCode> {
    let mut out = io::stdout();
    for step in steps {
        step.check_component()?;
    }
    let start = Instant::now();
    let mut outcomes = vec![Outcome::NotRun; steps.len()];
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (tell, ended) = channel();
        scope.spawn(|| run_beside(steps, &is_over, tell));
        let result = run_in_front(&mut out, steps, &mut outcomes, &ended);
        // Nobody waits for a step beside that still runs after a failure.
        is_over.store(true, Ordering::SeqCst);
        result
    })?;
    report(&mut out, steps, &outcomes, start.elapsed(), rerun)
}

/// A step that ran beside the others: its place among all, its outcome, and what it printed.
type Ended = (usize, Outcome, Vec<u8>);

/// Runs the steps that run alone, and prints what the others say between them.
fn run_in_front(
    out: &mut impl Write,
    steps: &[Step],
    outcomes: &mut [Outcome],
    beside: &Receiver<Ended>,
) -> Result<()> {
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| !step.is_beside()) {
        outcomes[at] = run_one(out, step)?;
        beside.try_iter().try_for_each(|ended| take(out, outcomes, ended))?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_))) {
            return Ok(());
        }
    }
    beside.iter().try_for_each(|ended| take(out, outcomes, ended))
}

fn take(out: &mut impl Write, outcomes: &mut [Outcome], (at, outcome, printed): Ended) -> Result<()> {
    outcomes[at] = outcome;
    out.write_all(&printed)?;
    Ok(out.flush()?)
}

/// Runs the steps that run beside the others, one after another, up to the first failure.
fn run_beside(steps: &[Step], is_over: &AtomicBool, tell: Sender<Ended>) {
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.is_beside()) {
        let mut printed = Vec::new();
        let outcome = run_and_print(&mut printed, step, |out| {
            let (result, said) = step.run_beside(is_over);
            out.extend(said);
            result
        });
        let outcome = outcome.unwrap_or(Outcome::NotRun);
        let is_told = tell.send((at, outcome, printed)).is_ok();
        if !is_told || !matches!(outcome, Outcome::Passed(_)) {
            return;
        }
    }
}

/// The command line of this process, which is how to repeat the step of a command that has only one.
pub(crate) fn this_command() -> String {
    let args = env::args_os().skip(1);
    args.fold("cargo xtask".to_owned(), |line, arg| line + " " + &quoted(&arg.to_string_lossy()))
}

fn run_one(out: &mut impl Write, step: &Step) -> Result<Outcome> {
    run_and_print(out, step, |out| {
        // The step writes to the same terminal or file, so the heading must be flushed first.
        out.flush()?;
        step.run()
    })
}

fn run_and_print<W: Write>(out: &mut W, step: &Step, run: impl FnOnce(&mut W) -> Result<()>) -> Result<Outcome> {
    writeln!(out, "\n=== {}: {step}", step.name())?;
    let start = Instant::now();
    let result = run(out);
    let took = start.elapsed();
    match result {
        Ok(()) => {
            writeln!(out, "=== {}: passed in {}", step.name(), Seconds(took))?;
            Ok(Outcome::Passed(took))
        }
        Err(error) => {
            writeln!(out, "=== {}: FAILED after {}: {error:#}", step.name(), Seconds(took))?;
            Ok(Outcome::Failed(took))
        }
    }
}

fn report(
    out: &mut impl Write,
    steps: &[Step],
    outcomes: &[Outcome],
    took: Duration,
    rerun: impl Fn(&Step) -> String,
) -> Result<ExitCode> {
    write_table(out, steps, outcomes)?;
    let mut ended = steps.iter().zip(outcomes);
    match ended.find(|(_, outcome)| matches!(outcome, Outcome::Failed(_))) {
        Some((failed, _)) => {
            writeln!(out, "step {} failed; run it again with: {}", failed.name(), rerun(failed))?;
            Ok(ExitCode::FAILURE)
        }
        None => {
            let all = match steps {
                [_] => "the step".to_owned(),
                _ => format!("all {} steps", steps.len()),
            };
            writeln!(out, "{all} passed in {}", Seconds(took))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn write_table(out: &mut impl Write, steps: &[Step], outcomes: &[Outcome]) -> io::Result<()> {
    let longest = steps.iter().map(|step| step.name().len()).max();
    let width = longest.unwrap_or(0).max("step".len());
    writeln!(out, "\n{:width$}  result      time", "step")?;
    for (step, outcome) in steps.iter().zip(outcomes) {
        let (result, time) = match outcome {
            Outcome::Passed(took) => ("passed", Seconds(*took).to_string()),
            Outcome::Failed(took) => ("FAILED", Seconds(*took).to_string()),
            Outcome::NotRun => ("not run", "-".to_owned()),
        };
        writeln!(out, "{:width$}  {result:7}  {time:>7}", step.name())?;
    }
    writeln!(out)
}

/// A duration as `0.4 s` or `123 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let digits = if seconds < 10.0 { 1 } else { 0 };
        write!(f, "{seconds:.digits$} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(outcomes: &[Outcome]) -> (String, ExitCode) {
        let steps = [Step::cargo("format", "fmt"), Step::cargo("a-long-name", "test"), Step::cargo("loom", "test")];
        let mut out = Vec::new();
        let code = report(&mut out, &steps, outcomes, Duration::from_secs(123), |step| {
            format!("cargo xtask test --only {}", step.name())
        });
        (String::from_utf8_lossy(&out).into_owned(), code.unwrap())
    }

    #[test]
    fn the_last_line_counts_the_steps() {
        let (text, code) = reported(&[Outcome::Passed(Duration::from_millis(420)); 3]);
        let expected = "
step         result      time
format       passed     0.4 s
a-long-name  passed     0.4 s
loom         passed     0.4 s

all 3 steps passed in 123 s
";
        assert_eq!(text, expected);
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn a_failure_names_the_command_that_repeats_it() {
        let (text, code) = reported(&[
            Outcome::Passed(Duration::from_secs(2)),
            Outcome::Failed(Duration::from_secs(61)),
            Outcome::NotRun,
        ]);
        let expected = "
step         result      time
format       passed     2.0 s
a-long-name  FAILED      61 s
loom         not run        -

step a-long-name failed; run it again with: cargo xtask test --only a-long-name
";
        assert_eq!(text, expected);
        assert_eq!(code, ExitCode::FAILURE);
    }
}
