//! How a call waits for a claim: in pieces, between which Python handles signals, or in turns with other greenlets.

use crate::error::{Failure, Outcome};
use crate::greenlets::Greenlet;
use kennel::{Cache, Error, Wait};
use pyo3::prelude::*;
use std::time::{Duration, Instant};

/// The main thread waits in pieces of this length. Between them Python handles signals such as Ctrl-C.
const PIECE: Duration = Duration::from_millis(250);
/// The first and the longest pause of a greenlet between attempts. Each pause is twice as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(1);
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(50);

/// One attempt. It gets the cache to use, how long it may wait, and whether it is the last attempt. Only the last
/// attempt may succeed without a claim, because the others end before the caller's time is over.
pub(crate) type Attempt<'a, T> = dyn Fn(&Cache, Wait, bool) -> Result<T, Error> + Sync + 'a;

/// Makes attempts until one succeeds or the caller's time for waiting is over. Also returns whether an attempt before
/// the last waited until its piece of the time was over.
pub(crate) fn wait_for<T: Send>(
    py: Python<'_>,
    cache: &Cache,
    wait: Wait,
    greenlet: Option<&Greenlet<'_>>,
    does_without: bool,
    attempt: &Attempt<'_, T>,
) -> Outcome<(T, bool)> {
    let (began, lock_wait) = (Instant::now(), cache.lock_wait());
    let mut waiting = Waiting { wait, began, lock_wait, busy_since: None, has_waited: false, does_without };
    let got = match greenlet {
        Some(greenlet) => in_turns(cache, &mut waiting, greenlet, attempt),
        None => in_pieces(py, cache, &mut waiting, attempt),
    }?;
    Ok((got, waiting.has_waited))
}

/// A wait that several attempts share.
struct Waiting {
    wait: Wait,
    began: Instant,
    lock_wait: Duration,
    /// Since when all attempts have found the stripe locked.
    busy_since: Option<Instant>,
    /// Whether an attempt waited for another caller's claim until its piece of the time was over.
    has_waited: bool,
    /// Whether the last attempt may succeed without a claim. If so, an error of an earlier attempt leads to the last
    /// attempt.
    does_without: bool,
}

impl Waiting {
    /// How long the next attempt may wait, at most `longest`, and whether it is the last attempt.
    fn piece(&self, longest: Option<Duration>) -> (Wait, bool) {
        let left = match self.wait {
            Wait::Forever => None,
            Wait::For(limit) => Some(limit.saturating_sub(self.began.elapsed())),
            Wait::No => Some(Duration::ZERO),
        };
        match (left, longest) {
            (Some(Duration::ZERO), _) => (Wait::No, true),
            (Some(left), Some(longest)) if left > longest => (Wait::For(longest), false),
            (Some(left), _) => (Wait::For(left), true),
            (None, Some(longest)) => (Wait::For(longest), false),
            (None, None) => (Wait::Forever, true),
        }
    }

    /// The final outcome, or `None` if another attempt follows.
    fn judge<T>(&mut self, result: Result<T, Error>, is_last: bool) -> Option<Outcome<T>> {
        let outcome = self.outcome(result, is_last)?;
        if outcome.is_err() && self.does_without && !is_last {
            self.wait = Wait::No;
            return None;
        }
        Some(outcome)
    }

    fn outcome<T>(&mut self, result: Result<T, Error>, is_last: bool) -> Option<Outcome<T>> {
        match result {
            Err(Error::TimedOut { .. }) if !is_last => {
                self.busy_since = None;
                self.has_waited = true;
                None
            }
            Err(Error::TimedOut { .. }) => Some(Err(Error::TimedOut { waited: self.began.elapsed() }.into())),
            Err(Error::Busy { stripe, waited }) => {
                let since = *self.busy_since.get_or_insert_with(|| Instant::now() - waited);
                let waited = since.elapsed();
                let is_too_long = is_last || waited >= self.lock_wait;
                is_too_long.then(|| Err(Error::Busy { stripe, waited }.into()))
            }
            other => Some(other.map_err(Failure::from)),
        }
    }
}

/// Waits in the engine. The main thread waits in pieces, because only the main thread handles signals. Any other thread
/// waits for a first short piece, and then for the rest at once: most waits end within the first piece.
fn in_pieces<T: Send>(py: Python<'_>, cache: &Cache, waiting: &mut Waiting, attempt: &Attempt<'_, T>) -> Outcome<T> {
    let mut longest = Some(PIECE);
    loop {
        let (piece, is_last) = waiting.piece(longest);
        let result = py.detach(|| attempt(cache, piece, is_last));
        if let Some(outcome) = waiting.judge(result, is_last) {
            return outcome;
        }
        py.check_signals()?;
        longest = is_main_thread(py)?.then_some(PIECE);
    }
}

/// Waits as a greenlet. It never waits in the engine, because this would block its whole thread. Between attempts it
/// lets other greenlets run.
fn in_turns<T>(cache: &Cache, waiting: &mut Waiting, greenlet: &Greenlet<'_>, attempt: &Attempt<'_, T>) -> Outcome<T> {
    let cache = cache.with_lock_wait(Duration::ZERO);
    let mut pause = FIRST_PAUSE;
    loop {
        let (_, is_last) = waiting.piece(Some(Duration::ZERO));
        let result = attempt(&cache, Wait::No, is_last);
        if let Some(outcome) = waiting.judge(result, is_last) {
            return outcome;
        }
        greenlet.sleep(pause)?;
        pause = LAST_PAUSE.min(2 * pause);
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = PyModule::import(py, "threading")?;
    let (main, this) = (threading.call_method0("main_thread")?, threading.call_method0("current_thread")?);
    Ok(main.is(&this))
}
