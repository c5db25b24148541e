//! Reads the trace again, after the survey, and hands it out in chunks.

use indicatif::{ProgressBar, ProgressFinish};

use super::interrupt::Interrupt;
use super::player::{CHUNK, Job};
use super::survey::Survey;
use crate::cmd::outcome::AnyError;
use crate::trace::{Key, Request, Trace};

/// The trace is not the one that was surveyed.
#[derive(Debug, thiserror::Error)]
enum ScriptError {
    #[error("the trace changed after it was first read: expected no new key, found {key}")]
    NewKey { key: Key },

    #[error(
        "the trace changed after it was first read: expected {expected} requests, found {}",
        if found > expected { "more".to_owned() } else { found.to_string() }
    )]
    OtherLength { expected: u64, found: u64 },
}

/// A surveyed trace that is played until its end or until a signal.
pub(super) struct Script {
    pub(super) trace: Trace,
    pub(super) survey: Survey,
    pub(super) interrupt: Interrupt,
}

impl Script {
    /// Passes the trace to `play_chunk`, chunk by chunk.
    pub(super) fn play(&mut self, mut play_chunk: impl FnMut(&[Job]) -> Result<(), AnyError>) -> Result<(), AnyError> {
        let expected = self.survey.requests();
        // The bar is drawn only if standard error is a terminal.
        let progress = ProgressBar::new(expected).with_finish(ProgressFinish::AndClear);
        let mut jobs = self.trace.requests().map(|request| job(&request?, &self.survey));
        let mut played = 0;
        loop {
            let chunk = jobs.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            played += chunk.len() as u64;
            let is_over = chunk.is_empty();
            // A file may change between the two times it is read, and one that grows may have no end.
            if played > expected || (is_over && played < expected) {
                return Err(ScriptError::OtherLength { expected, found: played }.into());
            }
            if is_over {
                return Ok(());
            }
            let outcome = play_chunk(&chunk);
            // This check comes before that of the outcome, because Ctrl-C ends the workers as well.
            self.interrupt.check()?;
            outcome?;
            progress.inc(chunk.len() as u64);
        }
    }
}

/// A request, with the size of its value from the survey.
fn job(request: &Request, survey: &Survey) -> Result<Job, AnyError> {
    let key = request.key;
    let size = survey.size_of(&key).ok_or(ScriptError::NewKey { key })?;
    Ok(Job { key, size })
}

#[cfg(test)]
mod tests {
    use super::super::survey::ValueSizes;
    use super::*;
    use crate::trace::Table;

    /// A replay of a file that holds `first` when it is surveyed, and `second` when it is played.
    fn replay_of_a_changing_file(first: &str, second: &str) -> Result<usize, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trace");
        std::fs::write(&path, first).expect("written");
        let mut trace = Trace::open(std::slice::from_ref(&path), None, Table::default()).expect("a trace");
        let survey = Survey::read(&mut trace, ValueSizes::AllOf(1)).expect("a trace");
        std::fs::write(&path, second).expect("written");
        let mut script = Script { trace, survey, interrupt: Interrupt::default() };
        let mut played = 0;
        let outcome = script.play(|chunk| {
            played += chunk.len();
            Ok(())
        });
        outcome.map(|()| played).map_err(|error| error.to_string())
    }

    #[test]
    fn a_trace_that_changes_is_an_error() {
        let trace = "7\n8\n".repeat(CHUNK);
        assert_eq!(replay_of_a_changing_file(&trace, &trace), Ok(2 * CHUNK));
        let changed = "the trace changed after it was first read: expected 256 requests, found ";
        assert_eq!(replay_of_a_changing_file(&trace, &trace[..40]), Err(format!("{changed}20")));
        assert_eq!(replay_of_a_changing_file(&trace, ""), Err(format!("{changed}0")));
        assert_eq!(replay_of_a_changing_file(&trace, &trace.repeat(2)), Err(format!("{changed}more")));
        let new = "the trace changed after it was first read: expected no new key, found 9";
        assert_eq!(replay_of_a_changing_file(&trace, "9\n"), Err(new.to_owned()));
    }
}
