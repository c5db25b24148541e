//! Random schedules for the models that run under shuttle.
//!
//! loom explores all interleavings of a few steps; shuttle samples those of hundreds of operations. Its atomics are
//! sequentially consistent, so these models find steps in a wrong order, not a missing fence.

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use std::env;
use std::sync::Arc;

/// How many schedules each model runs; set by `cargo xtask shuttle --schedules`.
const SCHEDULES: &str = "KENNEL_SCHEDULES";
/// A file with the one schedule to run; set by `cargo xtask shuttle --replay`.
const REPLAY: &str = "KENNEL_REPLAY";

/// The depth of a PCT schedule: its number of priority changes, plus one.
const DEPTH: usize = 4;

/// Runs a model under schedules of two kinds, half of them each.
///
/// In a random schedule any thread may run next at every access to shared memory. In a PCT schedule (Burckhardt et al.,
/// ASPLOS 2010) threads have priorities, which change at a few places: such a schedule finds a bug that needs `d` of
/// these places among `n` steps of `k` threads with a probability of at least `1 / (k n^(d-1))`.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    if let Some(file) = env::var_os(REPLAY) {
        return run(ReplayScheduler::new_from_file(file).expect("a schedule"), &model);
    }
    let schedules = env::var(SCHEDULES).map_or(200, |number| number.parse().expect("a number of schedules"));
    run(RandomScheduler::new(schedules / 2), &model);
    run(PctScheduler::new(DEPTH, schedules.div_ceil(2)), &model);
}

fn run(scheduler: impl Scheduler + 'static, model: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.stack_size = 1 << 18;
    // A schedule is too long to print.
    config.failure_persistence = FailurePersistence::File(Some(env::temp_dir()));
    let model = model.clone();
    Runner::new(scheduler, config).run(move || model());
}
