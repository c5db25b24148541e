//! The kill test passes the library's strategies, and finds a wrong one.

use kennel::LockStrategy;
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use kennel_harness::kill::{KillError, KillTest};
use kennel_harness::{Strategies, worker};
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TASK: &str = "KENNEL_HARNESS_TEST_TASK";

/// A strategy that uses a directory for each lock, which exists while the lock is held. The directory of a killed owner
/// stays.
struct Directories;

struct Attached(PathBuf);

impl LockFactory for Directories {
    fn name(&self) -> &str {
        "directories"
    }

    fn id(&self) -> u64 {
        1100
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Attached(place.directory.clone())))
    }
}

impl LockRegions for Attached {
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
        let start = Instant::now();
        while std::fs::create_dir(self.0.join(region.to_string())).is_err() {
            if start.elapsed() >= limit {
                return Err(LockError::Busy);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn unlock(&self, region: u32) {
        let _ = std::fs::remove_dir(self.0.join(region.to_string()));
    }
}

fn strategies() -> Strategies {
    Strategies::built_in().with(LockStrategy::Custom(Arc::new(Directories)))
}

/// In an ordinary run this test does nothing; in a worker process it does the worker's task.
#[test]
fn child() {
    if let Ok(task) = std::env::var(TASK) {
        let worked = worker::run_task(&task, &strategies());
        std::process::exit(i32::from(worked.is_err()));
    }
}

fn run(strategy: &str, test: KillTest) -> Result<kennel_harness::kill::KillReport, KillError> {
    let launcher = |task: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(TASK, task);
        command
    };
    test.run(&strategies(), strategy, &launcher)
}

#[test]
fn file_locks_stand_it() {
    let report = run("file", KillTest { kills: 30, ..KillTest::default() }).unwrap_or_else(|error| panic!("{error}"));
    // The last four are the workers that are killed at the end.
    assert_eq!(report.killed, 34);
    assert_eq!(report.died_at_stores > 0, cfg!(feature = "crash-points"), "{report}");
}

#[test]
fn a_lock_that_outlives_its_owner_does_not() {
    let test = KillTest { kills: 300, wait: Duration::from_millis(500), ..KillTest::default() };
    match run("directories", test) {
        Err(KillError::Cache { error: kennel::Error::Busy { .. }, kills }) => assert!(kills > 0),
        other => panic!("expected a lock that stays held, found {other:?}"),
    }
}
