//! A worker process: the program passes the text of a task to [`run_task`], and ends.
//!
//! The measuring program starts workers through a [`Launcher`], and gives each a task.

use crate::interrupt;
use crate::strategies::Strategies;
use crate::task::{Said, Task};
use crate::work::say;
use crate::{kill, load};

pub use crate::load::TIMED_EVERY;
pub use crate::task::Launcher;
pub use crate::work::WorkError;

/// Does the task that a [`Launcher`] was given.
///
/// # Errors
/// [`WorkError`]; write it to standard error, and end the process with a failure.
pub fn run_task(task: &str, strategies: &Strategies) -> Result<(), WorkError> {
    // A signal that reaches all processes of a terminal is for the parent to handle.
    interrupt::watch()?;
    match serde_json::from_str(task)? {
        Task::Load(job) => {
            let outcome = load::work(&job, strategies)?;
            say(&Said::Done(Box::new(outcome)))?;
        }
        Task::Kill(job) => kill::work(&job, strategies)?,
        Task::Suite { strategy, task } => {
            let strategy = strategies.named(&strategy).map_err(WorkError::Strategy)?;
            kennel_conformance::child(&strategy, &task);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_task_is_refused() {
        let error = run_task("{}", &Strategies::built_in()).unwrap_err().to_string();
        assert!(error.starts_with("not a task of this version: "), "{error}");
    }
}
