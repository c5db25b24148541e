//! A custom lock strategy: one byte of a single file for each lock region, locked with locks of open file descriptions
//! ("OFD", `F_OFD_SETLK`).
//!
//! ```sh
//! cargo run --release -p kennel-harness --example ofd_lock -- conformance
//! cargo run --release -p kennel-harness --example ofd_lock -- kill
//! cargo run --release -p kennel-harness --example ofd_lock -- bench --report ofd.html
//! ```
//!
//! Strategy `file` has a file for each region; this one has a single file, with one descriptor in each process. The
//! older record locks (`F_SETLK`) would not work: they vanish as soon as the process closes *any* descriptor of that
//! file.
//!
//! How it keeps the contract in [`kennel::locks`]:
//!
//! * *A killed owner's lock is released*: the system closes its descriptor, and no other process has it open.
//! * *A stopped owner's lock is not released*: no process takes a lock away from another.
//! * *A forked child does not keep its parent's lock*: a forked child loses the descriptor of its
//!   [`LockFile`](kennel::locks::LockFile).
//! * *Threads exclude each other, too*: the description belongs to the process, not to the thread, so the threads of a
//!   process first acquire a flag in its memory.
//! * *Waiting has a limit*: the system has no call with a limit, so `lock` tries again and again, at growing intervals.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let strategy = kennel::LockStrategy::Custom(std::sync::Arc::new(ranges::ByteRanges));
    kennel_harness::program::run(strategy)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("locks of open file descriptions are Linux's");
}

#[cfg(target_os = "linux")]
mod ranges {
    use kennel::locks::{LockError, LockFactory, LockFile, LockPlace, LockRegions};
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use std::fs::File;
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    /// The first and the longest sleep between two attempts.
    const SLEEPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

    /// A byte for each lock region.
    pub struct ByteRanges;

    impl ByteRanges {
        fn path(place: &LockPlace) -> PathBuf {
            place.directory.join("ranges.lock")
        }
    }

    impl LockFactory for ByteRanges {
        fn name(&self) -> &str {
            "ofd-lock"
        }

        fn id(&self) -> u64 {
            1002
        }

        fn prepare(&self, place: &LockPlace) -> io::Result<()> {
            File::create_new(Self::path(place))?.set_len(place.regions.into())
        }

        /// A file of another length is not the prepared file: another process deleted the prepared file and created a
        /// new one.
        fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
            let path = Self::path(place);
            let file = LockFile::open(&path)?;
            if file.metadata()?.len() != u64::from(place.regions) {
                let why = format!("{}: not the file that was made with the cache", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            let fronts = (0..place.regions).map(|_| Front::default()).collect();
            Ok(Box::new(Attached { file, fronts }))
        }
    }

    /// The state of one process. A forked child attaches anew.
    struct Attached {
        file: LockFile,
        fronts: Vec<Front>,
    }

    impl LockRegions for Attached {
        fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
            let start = Instant::now();
            let front = &self.fronts[region as usize];
            if !front.take(limit) {
                return Err(LockError::Busy);
            }
            let got = self.lock_byte(region, start, limit);
            if got.is_err() {
                front.free();
            }
            got
        }

        fn unlock(&self, region: u32) {
            // Unlocking a locked byte fails only if the kernel has to split a range and has no memory for that. Then
            // this process still has the lock, and its next thread goes on with it.
            let _ = self.set(region, libc::F_UNLCK);
            self.fronts[region as usize].free();
        }
    }

    impl Attached {
        /// Excludes the other processes.
        fn lock_byte(&self, region: u32, start: Instant, limit: Duration) -> Result<(), LockError> {
            let mut sleep = SLEEPS.0;
            for attempt in 0.. {
                match self.set(region, libc::F_WRLCK) {
                    Ok(()) => return Ok(()),
                    Err(Errno::EAGAIN | Errno::EACCES) => {}
                    Err(error) => return Err(LockError::Failed(error.into())),
                }
                let left = limit.saturating_sub(start.elapsed());
                if left.is_zero() {
                    break;
                }
                // Owners hold a lock for a few microseconds, so the first retries follow without a sleep.
                if attempt < 10 {
                    thread::yield_now();
                } else {
                    thread::sleep(sleep.min(left));
                    sleep = (sleep * 2).min(SLEEPS.1);
                }
            }
            Err(LockError::Busy)
        }

        fn set(&self, region: u32, kind: libc::c_int) -> nix::Result<()> {
            let range = libc::flock {
                l_type: kind as libc::c_short,
                l_whence: libc::SEEK_SET as libc::c_short,
                l_start: region.into(),
                l_len: 1,
                // Must be 0 for this kind of lock.
                l_pid: 0,
            };
            fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&range)).map(drop)
        }
    }

    /// Whether a thread of this process has a region, or is about to lock it.
    #[derive(Default)]
    struct Front {
        taken: Mutex<bool>,
        freed: Condvar,
    }

    impl Front {
        fn take(&self, limit: Duration) -> bool {
            let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.freed.wait_timeout_while(taken, limit, |taken| *taken);
            let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return false;
            }
            *taken = true;
            true
        }

        fn free(&self) {
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
            self.freed.notify_one();
        }
    }
}
