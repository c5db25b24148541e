//! Schedules drawn at random, for the models that run under shuttle.
//!
//! loom goes through all interleavings of a few steps; this draws some of those of hundreds of operations. shuttle's
//! atomics are sequentially consistent, so what is looked for is a wrong order of steps, not a missing fence.

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use std::env;
use std::sync::Arc;

/// How many schedules each model runs; set by `cargo xtask shuttle --schedules`.
const SCHEDULES: &str = "KENNEL_SCHEDULES";
/// A file with the one schedule to run; set by `cargo xtask shuttle --replay`.
const REPLAY: &str = "KENNEL_REPLAY";

/// Preemptions in a schedule of the second kind, and one.
const DEPTH: usize = 4;

/// Runs a model under half as many schedules of each of two kinds.
///
/// In the one anybody may go on at every access to shared memory. In the other threads have priorities, which change
/// at few places (PCT, Burckhardt et al., ASPLOS 2010): of a bug that needs `d` such places among `n` steps of `k`
/// threads, one schedule finds at least every `k n^(d-1)`th.
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
    // Too long to be printed.
    config.failure_persistence = FailurePersistence::File(Some(env::temp_dir()));
    let model = model.clone();
    Runner::new(scheduler, config).run(move || model());
}
