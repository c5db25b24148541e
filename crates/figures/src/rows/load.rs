//! How many reads go to the server: with many processes against one, and after a restart of all.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::groups::Setting;
use crate::process::Process;
use crate::report::{Row, median};
use crate::worker::Count;

const STALENESS: Duration = Duration::from_secs(1);
/// Calls per second of all processes together.
const RATE: f64 = 8000.0;
const MANY: u64 = 16;
/// Seconds that are not counted, and that are.
const WARM_UP: u64 = 3;
const COUNTED: u64 = 4;

pub fn processes(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let (mut of_many, mut of_one, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let mut alone_of_one = Vec::new();
    for round in 0..setting.rounds.div_ceil(2) {
        let many = far_reads(setting, MANY, round)?;
        let one = far_reads(setting, 1, round)?;
        of_many.push(many.far_per_thousand());
        of_one.push(one.far_per_thousand());
        alone.push(many.alone_per_thousand());
        alone_of_one.push(one.alone_per_thousand());
    }
    let (many, one, alone, alone_of_one) = (median(of_many), median(of_one), median(alone), median(alone_of_one));
    Ok(vec![
        Row::new("far GETs per 1,000 reads, 16 processes against 1", many / one, "x")
            .goals(1.1, 0.9)
            .of(format!("{many:.1} and {one:.1}")),
        Row::new("the same with exact caches of single processes", alone / alone_of_one, "x")
            .of(format!("{alone:.1} and {alone_of_one:.1}")),
    ])
}

/// Lets processes of one host work, and counts what they did after the warm-up.
fn far_reads(setting: &Setting<'_>, processes: u64, round: u32) -> Result<Count> {
    setting.write_all()?;
    let near = setting.near("load");
    let rate = Some(RATE / processes as f64);
    let task = |i| setting.task(&near, STALENESS, rate, u64::from(round) * 100 + i);
    let mut workers = (0..processes).map(|i| Process::start(&task(i))).collect::<Result<Vec<_>>>()?;
    let (warm_up, counted) = if setting.is_quick { (1, 1) } else { (WARM_UP, COUNTED) };
    let mut count = Count::default();
    for second in 0..warm_up + counted {
        for worker in &mut workers {
            let heard: Count = worker.hear()?;
            if second >= warm_up {
                count.add(heard);
            }
        }
    }
    Ok(count)
}

const WORKERS: u64 = 8;
/// The time between two replacements.
const BETWEEN: Duration = Duration::from_millis(400);

/// Replaces all workers one after the other, and compares the first second of each with the last one of its predecessor.
pub fn restart(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let (mut ratios, mut alone, mut of) = (Vec::new(), Vec::new(), String::new());
    for round in 0..setting.rounds.min(3) {
        let (before, after) = replace_all(setting, round)?;
        ratios.push(after.hit_ratio() / before.hit_ratio());
        let alone_hits = |count: &Count| 1.0 - count.alone as f64 / count.reads as f64;
        alone.push(alone_hits(&after) / alone_hits(&before));
        of = format!("hit ratio {:.3} before, {:.3} after", before.hit_ratio(), after.hit_ratio());
    }
    Ok(vec![
        Row::new("hits of the first second after a rolling restart", median(ratios), "x")
            .goals(0.95, 0.99)
            .more_is_better()
            .of(of),
        Row::new("the same with exact caches of single processes", median(alone), "x").more_is_better(),
    ])
}

fn replace_all(setting: &Setting<'_>, round: u32) -> Result<(Count, Count)> {
    setting.write_all()?;
    let near = setting.near("restart");
    let task = |i| setting.task(&near, STALENESS, Some(RATE / WORKERS as f64), u64::from(round) * 100 + i);
    let mut workers = (0..WORKERS).map(|i| Process::start(&task(i))).collect::<Result<Vec<_>>>()?;
    let mut before = Count::default();
    for second in 0..=WARM_UP {
        for worker in &mut workers {
            let heard: Count = worker.hear()?;
            if second == WARM_UP {
                before.add(heard);
            }
        }
    }
    for (i, worker) in workers.iter_mut().enumerate() {
        *worker = Process::start(&task(WORKERS + i as u64))?;
        thread::sleep(BETWEEN);
    }
    let mut after = Count::default();
    for worker in &mut workers {
        after.add(worker.hear()?);
    }
    Ok((before, after))
}
