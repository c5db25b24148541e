//! Measures subjects in turn.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use kennel_harness::Spread;
use std::time::{Duration, Instant};

/// How much to measure.
pub struct Effort {
    /// Turns of each subject.
    pub rounds: usize,
    /// Approximate duration of a turn.
    pub turn: Duration,
    /// Whether to start servers.
    pub servers: bool,
    /// The time to measure the processes of one cell, and the number of rounds.
    pub cell: (Duration, u32),
}

impl Effort {
    /// Takes less than 50 seconds.
    pub const QUICK: Self =
        Self { rounds: 9, turn: Duration::from_millis(15), servers: false, cell: (Duration::from_millis(250), 3) };
    /// For numbers to publish.
    pub const FULL: Self =
        Self { rounds: 41, turn: Duration::from_millis(30), servers: true, cell: (Duration::from_millis(800), 7) };
}

/// A subject of a measurement: does a given number of operations.
pub struct Subject<'a> {
    name: String,
    work: Box<dyn FnMut(usize) -> Result<()> + 'a>,
}

/// A subject; `work` does as many operations as its argument says.
pub fn subject<'a>(name: impl Into<String>, work: impl FnMut(usize) -> Result<()> + 'a) -> Subject<'a> {
    Subject { name: name.into(), work: Box::new(work) }
}

/// Nanoseconds per operation of each subject.
pub struct Medians(Vec<(String, f64)>);

impl Medians {
    /// The median of a subject, which must belong to the group.
    pub fn of(&self, name: &str) -> Result<f64> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|&(_, nanos)| nanos).ok_or_else(|| anyhow::anyhow!("no subject {name} was measured"))
    }
}

/// Measures all subjects in turn; each round begins with another one.
pub fn interleave(title: &str, effort: &Effort, mut subjects: Vec<Subject<'_>>) -> Result<Medians> {
    let bar = bar(title, effort.rounds as u64);
    let sizes = subjects.iter_mut().map(|one| calibrate(one, effort.turn)).collect::<Result<Vec<_>>>()?;
    let mut times = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    for round in 0..effort.rounds {
        for turn in 0..subjects.len() {
            let number = (turn + round) % subjects.len();
            let start = Instant::now();
            (subjects[number].work)(sizes[number])?;
            times[number].push(start.elapsed().as_nanos() as f64 / sizes[number] as f64);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let names = subjects.into_iter().map(|subject| subject.name);
    let spreads: Vec<(String, Spread)> = names.zip(times.into_iter().map(Spread::of)).collect();
    println!("{title}");
    for (name, Spread { min, median, max }) in &spreads {
        println!("  {name:<34} {median:>10.1} ns  ({min:.1} to {max:.1})");
    }
    Ok(Medians(spreads.into_iter().map(|(name, spread)| (name, spread.median)).collect()))
}

/// The number of operations that fill a turn. Counting them also warms up.
fn calibrate(subject: &mut Subject<'_>, turn: Duration) -> Result<usize> {
    let mut operations = 16;
    loop {
        let start = Instant::now();
        (subject.work)(operations)?;
        let took = start.elapsed();
        if took * 4 >= turn {
            let fit = operations as f64 * turn.as_secs_f64() / took.as_secs_f64();
            return Ok((fit as usize).max(1));
        }
        operations *= 2;
    }
}

/// A progress bar on standard error, if that is a terminal.
pub fn bar(title: &str, len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    bar.set_message(title.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn all_have_as_many_turns() {
        let effort = Effort { rounds: 5, turn: Duration::from_micros(200), ..Effort::QUICK };
        let (one, other) = (Cell::new(0u64), Cell::new(0u64));
        let work = |counter: &Cell<u64>, operations: usize| {
            (0..operations).for_each(|_| std::hint::black_box(counter).set(counter.get() + 1));
            Ok(())
        };
        let subjects = vec![subject("one", |n| work(&one, n)), subject("other", |n| work(&other, n))];
        let medians = interleave("a test", &effort, subjects).unwrap();
        assert!(medians.of("one").unwrap() > 0.0 && medians.of("other").unwrap() > 0.0);
        assert!(medians.of("nobody").is_err());
        assert!(one.get() > 0 && other.get() > 0);
    }
}
