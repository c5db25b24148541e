//! What the programs of all languages do together, one step after the other.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kennel::Cache;
use kennel_harness::human::plural;
use kennel_harness::interrupt;

use super::language::Languages;
use super::report::{Herd, Missing, Report};
use super::script::greeting;
use super::speaker::{Speaker, said_by};
use crate::cmd::demo::member::Member;
use crate::cmd::outcome::{AnyError, CliResult, hit_or_miss};
use crate::output::{print_line, unless_reader_gone, with_spinner};

/// How many programs of each language miss the key.
const HERD: usize = 2;
/// How long all programs write before the first is killed, and between two kills.
const WRITING: Duration = Duration::from_millis(500);
const BETWEEN_KILLS: Duration = Duration::from_millis(100);

/// Runs the demo in a file. `folder` is for the programs.
pub fn run(languages: &Languages, cache: &Cache, file: &Path, folder: &Path) -> CliResult {
    let (speakers, missing) = with_spinner("Preparing the programs", || prepare(languages, folder));
    if let (Languages::Named(_), Some(missing)) = (languages, missing.first()) {
        return Err(format!("{}: {}", missing.language.name(), missing.why).into());
    }
    let players = Players { speakers: &speakers, file };
    print_line(format!("Programs in {} share one cache file.", plural(speakers.len() as u64, "language")))?;
    players.greet()?;
    let read_first = players.read_all()?;
    let herd = players.miss_together()?;
    let killed = players.write_and_die()?;
    let read_last = players.read_all()?;
    let report = Report {
        read: read_first.iter().zip(&read_last).map(|(first, last)| *first.min(last)).collect(),
        speakers: &speakers,
        missing: &missing,
        herd,
        killed,
        verification: cache.verify(),
    };
    unless_reader_gone(report.print())?;
    Ok(hit_or_miss(report.is_good()))
}

fn prepare(languages: &Languages, folder: &Path) -> (Vec<Speaker>, Vec<Missing>) {
    let (mut speakers, mut missing) = (Vec::new(), Vec::new());
    for &language in languages.list() {
        match Speaker::prepared(language, folder) {
            Ok(speaker) => speakers.push(speaker),
            Err(why) => missing.push(Missing { language, why }),
        }
    }
    (speakers, missing)
}

struct Players<'a> {
    speakers: &'a [Speaker],
    file: &'a Path,
}

impl Players<'_> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.speakers.iter().map(|speaker| speaker.language.name())
    }

    /// Each program stores a greeting.
    fn greet(&self) -> Result<(), AnyError> {
        for speaker in self.speakers {
            said_by(speaker.command("set").arg(self.file).arg(speaker.language.name()))?;
        }
        Ok(())
    }

    /// Each program reads the greetings of all. Returns how many each read correctly.
    fn read_all(&self) -> Result<Vec<usize>, AnyError> {
        let read = |speaker: &Speaker| -> Result<usize, AnyError> {
            ensure_wanted()?;
            let said = said_by(speaker.command("get").arg(self.file).args(self.names()))?;
            Ok(self.names().zip(said.lines()).filter(|(name, line)| greeting(name) == **line).count())
        };
        self.speakers.iter().map(read).collect()
    }

    fn start_all(&self, action: &str, of_each: usize) -> Result<Vec<Member>, AnyError> {
        let starts = self.speakers.iter().flat_map(|speaker| std::iter::repeat_n(speaker, of_each));
        let started =
            starts.map(|speaker| Member::start(speaker.command(action).arg(self.file).arg(speaker.language.name())));
        let mut members = started.collect::<io::Result<Vec<_>>>()?;
        for member in &mut members {
            let said = member.hear()?;
            if said != "ready" {
                return Err(format!("expected a program to say that it is ready, found {said:?}").into());
            }
        }
        Ok(members)
    }

    /// All miss one key at the same moment.
    fn miss_together(&self) -> Result<Herd, AnyError> {
        ensure_wanted()?;
        let mut members = self.start_all("create", HERD)?;
        let start = Instant::now();
        members.iter_mut().for_each(Member::release);
        let mut herd = Herd::default();
        for member in &mut members {
            let mut line = member.hear()?;
            if line == "created" {
                herd.creations += 1;
                line = member.hear()?;
            }
            herd.programs += 1;
            herd.values.insert(line);
        }
        herd.last = start.elapsed();
        Ok(herd)
    }

    /// All write at the same time, and are killed one after the other. Returns how many were killed while they wrote.
    fn write_and_die(&self) -> Result<u64, AnyError> {
        ensure_wanted()?;
        let mut members = self.start_all("write", 1)?;
        sleep(WRITING);
        let mut killed = 0;
        for member in &mut members {
            sleep(BETWEEN_KILLS);
            if member.is_running()? {
                member.kill()?;
                killed += 1;
            }
        }
        Ok(killed)
    }
}

fn ensure_wanted() -> Result<(), AnyError> {
    if interrupt::is_asked() { Err("interrupted before the end".into()) } else { Ok(()) }
}
