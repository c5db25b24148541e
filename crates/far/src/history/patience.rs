//! Opening a far tier while other processes may be stopped.

use crate::error::{Error, Result};
use crate::far::Far;
use crate::options::Options;
use std::io::ErrorKind;
use std::path::Path;

/// Opens a far tier, however long a stopped process holds the near file's opening lock. [`Options::open`] gives up
/// after some seconds, and a run may stop a process for longer.
///
/// # Errors
/// Those of [`Options::open`], except for locks that were held too long.
pub fn open_patiently(options: &Options, near: &Path) -> Result<Far> {
    loop {
        match options.open(near) {
            Err(error) if is_late(&error) => {}
            opened => return opened,
        }
    }
}

/// Whether a lock was held for too long: the file's opening lock, or that of a stripe in which a namespace is made.
fn is_late(error: &Error) -> bool {
    match error {
        Error::Near(kennel::Error::Io { source, .. }) => source.kind() == ErrorKind::TimedOut,
        Error::Near(kennel::Error::Busy { .. }) => true,
        _ => false,
    }
}

#[cfg(all(test, feature = "crash-points"))]
mod tests {
    use super::*;
    use kennel::crash::{Plan, arm};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    const NEAR: &str = "KENNEL_FAR_STOP_AT";

    /// The child of the test: it stops while it opens the near file.
    #[test]
    fn child() {
        let Ok(near) = std::env::var(NEAR) else { return };
        println!("\nstopping");
        arm(None, 0, Plan::Stop);
        drop(kennel::Options::new().open(near));
    }

    #[test]
    fn who_opens_a_near_file_waits_for_a_process_that_is_stopped() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let near = place.path().join("near");
        let file = kennel::Options::new().capacity(1 << 20).lock_wait(Duration::from_millis(100));
        drop(file.create(&near).unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "history::patience::tests::child", "--nocapture"]).env(NEAR, &near);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
        assert!(said.into_iter().any(|line| line == "stopping"));
        let options = Options::new("unix:///none").prefix("app:").keepers(0).near(file);
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until the child has the lock, others can open the file.
        while !options.open(&near).is_err_and(|error| is_late(&error)) {
            assert!(Instant::now() < deadline, "the child does not stop");
        }
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open_patiently(&options, &near));
            std::thread::sleep(Duration::from_millis(500));
            assert!(!opening.is_finished());
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(opening.join().unwrap().is_ok());
        });
    }
}
