//! The resources that a process used, and the processors that its threads run on.

use serde::{Deserialize, Serialize};
use std::io;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

/// The system's counts for a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in its own code.
    pub user: Duration,
    /// Processor time in the operating system.
    pub system: Duration,
    /// How often a thread gave up its processor, mostly to wait.
    pub voluntary_switches: u64,
    /// How often the system took a thread off its processor.
    pub involuntary_switches: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            voluntary_switches: self.voluntary_switches.saturating_sub(before.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(before.involuntary_switches),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

/// The resources that this process has used; `None` if the system does not report them.
#[cfg(unix)]
pub(crate) fn now() -> Option<Usage> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeVal;

    let time = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(Usage {
        user: time(usage.user_time()),
        system: time(usage.system_time()),
        voluntary_switches: usage.voluntary_context_switches() as u64,
        involuntary_switches: usage.involuntary_context_switches() as u64,
    })
}

/// The resources that this process has used; `None` if the system does not report them.
#[cfg(not(unix))]
pub(crate) fn now() -> Option<Usage> {
    None
}

/// Keeps the calling thread on one of the processors that it may use: the `n`-th, modulo their number.
///
/// # Errors
/// Errors of the operating system.
#[cfg(target_os = "linux")]
pub fn pin(n: u32) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread)?;
    let usable: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect();
    let mut one = CpuSet::new();
    one.set(usable[n as usize % usable.len()])?;
    Ok(sched_setaffinity(this_thread, &one)?)
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// Always: only Linux supports this.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads can be pinned on Linux only"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time() {
        let before = now().unwrap();
        let mut taken = Usage::default();
        // Ends as soon as the system's clock of this process has advanced.
        while taken.user + taken.system < Duration::from_millis(20) {
            std::hint::black_box((0..10_000).sum::<u64>());
            taken = now().unwrap() - before;
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_can_be_pinned_to_any_number() {
        std::thread::spawn(|| [0, 1, 1000].map(|n| pin(n).unwrap())).join().unwrap();
    }
}
