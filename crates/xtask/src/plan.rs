//! What a run of several steps will do, printed before it starts: each step with its rough time and disk space.

use std::fmt;

use crate::step::Step;

/// A step and what it costs on two cores in a fresh clone, after the steps before it: they have built what it shares
/// with them.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) step: Step,
    /// What the step checks.
    pub(crate) about: &'static str,
    pub(crate) seconds: u32,
    /// Space in the target folder.
    pub(crate) megabytes: u32,
}

/// The steps that will run, in order.
pub(crate) struct Plan<'a>(pub(crate) &'a [Planned]);

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(steps) = self;
        // The steps beside the others take the time in which those wait, unless there are no others.
        let seconds_of = |is_beside| -> u32 {
            steps.iter().filter(|planned| planned.step.is_beside() == is_beside).map(|planned| planned.seconds).sum()
        };
        let seconds = seconds_of(false).max(seconds_of(true));
        let megabytes = steps.iter().map(|planned| planned.megabytes).sum();
        let count = if steps.len() == 1 { "1 step".to_owned() } else { format!("{} steps", steps.len()) };
        writeln!(
            f,
            "{count} to run: about {} on two cores and {} in the target folder",
            Time(seconds),
            Disk(megabytes)
        )?;
        writeln!(f, "for a fresh clone, and less when part of it is built already.\n")?;
        let width = steps.iter().map(|planned| planned.step.name().len()).max().unwrap_or(0).max("step".len());
        writeln!(f, "{:width$}  {:>6}  {:>6}  what it checks", "step", "time", "disk")?;
        for Planned { step, about, seconds, megabytes } in *steps {
            let (time, disk) = (Time(*seconds).to_string(), Disk(*megabytes).to_string());
            let beside = if step.is_beside() { " (beside the others)" } else { "" };
            writeln!(f, "{:width$}  {time:>6}  {disk:>6}  {about}{beside}", step.name())?;
        }
        Ok(())
    }
}

/// Seconds, rounded to minutes from two minutes on.
struct Time(u32);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..120 => write!(f, "{seconds} s"),
            seconds => write!(f, "{} min", (seconds + 30) / 60),
        }
    }
}

/// Megabytes, or gigabytes from one on.
struct Disk(u32);

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            megabytes @ ..1000 => write!(f, "{megabytes} MB"),
            megabytes => write!(f, "{:.1} GB", f64::from(megabytes) / 1000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_adds_up_its_steps() {
        let planned = |name: &str, about, seconds, megabytes| Planned {
            step: Step::cargo(name, "test"),
            about,
            seconds,
            megabytes,
        };
        let steps = [planned("format", "the layout of the code", 1, 0), planned("a-long-name", "all tests", 149, 1549)];
        let expected = "\
2 steps to run: about 3 min on two cores and 1.5 GB in the target folder
for a fresh clone, and less when part of it is built already.

step           time    disk  what it checks
format          1 s    0 MB  the layout of the code
a-long-name   2 min  1.5 GB  all tests
";
        assert_eq!(Plan(&steps).to_string(), expected);
    }
}
