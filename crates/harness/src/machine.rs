//! The machine on which the numbers were measured.

use crate::latency::Latency;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The machine, as far as the system describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Bytes of memory, if the system reports it.
    pub memory: Option<u64>,
    /// The operating system and its version.
    pub system: String,
    /// Nanoseconds to read the clock: part of every latency.
    pub clock_ns: u64,
}

impl Machine {
    /// The machine that this process runs on.
    #[must_use]
    pub fn this() -> Self {
        Self {
            processor: field_of("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            memory: memory(),
            system: system(),
            clock_ns: clock_ns(),
        }
    }
}

/// The value of the first line that begins with a name, in a file of lines like `name : value`.
fn field_of(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<u64> {
    let kib = field_of("/proc/meminfo", "MemTotal")?;
    kib.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn system() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.map(|text| text.trim().to_owned()).unwrap_or_default();
    format!("{} {release}", std::env::consts::OS).trim().to_owned()
}

/// The median time between two successive readings of the clock.
fn clock_ns() -> u64 {
    let mut latency = Latency::new();
    for _ in 0..10_000 {
        let start = Instant::now();
        latency.record(start.elapsed().as_nanos() as u64);
    }
    latency.quantile(0.5).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_a_processor() {
        let machine = Machine::this();
        assert!(machine.processors >= 1);
        assert!(!machine.processor.is_empty() && !machine.system.is_empty(), "{machine:?}");
        if cfg!(target_os = "linux") {
            assert!(machine.memory.unwrap() > 1 << 20);
        }
    }
}
