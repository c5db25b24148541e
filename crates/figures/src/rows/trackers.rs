//! What readers see when trackers are killed or stopped.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use kennel_far::{Far, Store as _, inspect};
use rustix::process::Signal;

use super::groups::{Setting, wait_for_proof};
use crate::process::Process;
use crate::report::{Row, quantile};
use crate::worker::{key, open, value};

const STALENESS: Duration = Duration::from_secs(1);
const TRACKERS: usize = 3;
/// The time between two kills: the successor has become covered by then.
const BETWEEN: Duration = Duration::from_millis(1500);
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Trust that is lost when the holder of a seat is killed while another has the second seat.
pub fn killed(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let near = setting.near("killed");
    let start = || Process::start(&setting.task(&near, STALENESS, None, 0));
    let mut trackers = (0..TRACKERS).map(|_| start()).collect::<Result<Vec<_>>>()?;
    let far = open(&setting.server.url(), &near, STALENESS, 0)?;
    wait_for_proof(&far, STALENESS)?;
    let mut watched = Watched::default();
    watched.watch(&far, BETWEEN);
    let flushes = || -> Result<u64> {
        Ok(inspect(&near, &kennel::Options::new())?.first().map_or(0, |tier| tier.totals.flushes))
    };
    let before = flushes()?;
    let kills = if setting.is_quick { 2 } else { 4 * setting.rounds };
    for _ in 0..kills {
        kill_holder(&near, &mut trackers)?;
        watched.watch(&far, BETWEEN);
        trackers.push(start()?);
    }
    // Reports come once a second.
    watched.watch(&far, Duration::from_millis(1200));
    let flushed = flushes()? - before;
    let lost = watched.lost.as_secs_f64() * 1e3;
    Ok(vec![Row::new("trust lost after a tracker's SIGKILL, a second one seated", lost, "ms").goals(0.0, 0.0).of(
        format!(
            "{kills} kills, oldest proof {:.0} ms of {:.0} ms, {flushed} flushes",
            watched.oldest.as_secs_f64() * 1e3,
            STALENESS.as_secs_f64() * 1e3
        ),
    )])
}

fn kill_holder(near: &Path, trackers: &mut Vec<Process>) -> Result<()> {
    let tiers = inspect(near, &kennel::Options::new())?;
    let seats: Vec<u32> = tiers.iter().flat_map(|tier| &tier.seats).filter_map(|seat| seat.pid).collect();
    if let Some(i) = trackers.iter().position(|tracker| seats.contains(&tracker.pid())) {
        drop(trackers.swap_remove(i));
    }
    Ok(())
}

/// How old the proof was, and for how long it was too old.
#[derive(Default)]
struct Watched {
    oldest: Duration,
    lost: Duration,
}

impl Watched {
    fn watch(&mut self, far: &Far, time: Duration) {
        let end = Instant::now() + time;
        let mut last = Instant::now();
        while last < end {
            thread::sleep(LOOK_EVERY);
            let (now, age) = (Instant::now(), far.proof_age().unwrap_or(Duration::MAX));
            if age > STALENESS {
                self.lost += now - last;
            }
            self.oldest = self.oldest.max(age);
            last = now;
        }
    }
}

const SHORT_STALENESS: Duration = Duration::from_millis(500);
const WRITTEN_KEYS: u64 = 20;
const WRITE_EVERY: Duration = Duration::from_millis(2);

/// All trackers are stopped: how old a value is read, and how long a read takes.
pub fn stopped(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let near = setting.near("stopped");
    let task = setting.task(&near, SHORT_STALENESS, None, 0);
    let trackers = (0..2).map(|_| Process::start(&task)).collect::<Result<Vec<_>>>()?;
    let far = open(&setting.server.url(), &near, SHORT_STALENESS, 0)?;
    wait_for_proof(&far, SHORT_STALENESS)?;
    let writes = Writes::default();
    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let writer = scope.spawn(|| writes.write_until(setting, &is_over));
        let seen = (|| {
            read_for(&far, &writes, Duration::from_millis(500))?;
            let mut all = Seen::default();
            for _ in 0..setting.rounds.min(3) {
                trackers.iter().for_each(|tracker| tracker.signal(Signal::STOP));
                all.add(read_for(&far, &writes, setting.time(2.0).max(SHORT_STALENESS * 2))?);
                trackers.iter().for_each(|tracker| tracker.signal(Signal::CONT));
                wait_for_proof(&far, SHORT_STALENESS)?;
            }
            anyhow::Ok(all)
        })();
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap_or_else(|_| anyhow::bail!("the writer failed"))?;
        seen
    })?;
    let mut times = seen.times;
    times.sort_unstable();
    let millis = |part| quantile(&times, part) / 1e6;
    let oldest = seen.oldest.as_secs_f64() * 1e3;
    let most = SHORT_STALENESS.as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("all trackers stopped: oldest value that was read", oldest, "ms")
            .goals(most, most)
            .of(format!("{} reads, T is {most:.0} ms", times.len())),
        Row::new("all trackers stopped: the longest read", millis(1.0), "ms").of(format!(
            "p50 {:.4} ms, p99.9 {:.3} ms; a claim waits at most 200 ms",
            millis(0.5),
            millis(0.999)
        )),
    ])
}

#[derive(Default)]
struct Seen {
    oldest: Duration,
    /// Nanoseconds of reads.
    times: Vec<u64>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.oldest = self.oldest.max(other.oldest);
        self.times.extend(other.times);
    }
}

fn read_for(far: &Far, writes: &Writes, time: Duration) -> Result<Seen> {
    let (end, mut seen, mut i) = (Instant::now() + time, Seen::default(), 0);
    while Instant::now() < end {
        let number = i % WRITTEN_KEYS;
        i += 1;
        let began = Instant::now();
        let found = far.get(key(number))?;
        seen.times.push(began.elapsed().as_nanos() as u64);
        let write = found.and_then(|value| std::str::from_utf8(&value[..20]).ok()?.parse().ok());
        seen.oldest = seen.oldest.max(writes.age(number, write, began));
    }
    Ok(seen)
}

/// When each write of each key had ended, by its number.
#[derive(Default)]
struct Writes(Mutex<HashMap<(u64, u64), Instant>>);

impl Writes {
    fn write_until(&self, setting: &Setting<'_>, is_over: &AtomicBool) -> Result<()> {
        let mut write = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            write += 1;
            for number in 0..WRITTEN_KEYS {
                setting.server.store.call(&[b"SET", key(number).as_bytes(), value(write).as_bytes()])?;
                let ended = Instant::now();
                self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert((number, write), ended);
                thread::sleep(WRITE_EVERY / WRITTEN_KEYS as u32);
            }
        }
        Ok(())
    }

    /// How long before this moment the next write of the key had ended.
    fn age(&self, number: u64, write: Option<u64>, moment: Instant) -> Duration {
        let Some(write) = write else { return Duration::ZERO };
        let writes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = writes.get(&(number, write + 1));
        next.map_or(Duration::ZERO, |ended| moment.saturating_duration_since(*ended))
    }
}
