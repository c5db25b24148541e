//! The report of the languages.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use kennel::Verification;
use kennel_harness::human::plural;

use super::language::Language;
use super::script::CREATED_IN;
use super::speaker::Speaker;
use crate::cmd::verify;
use crate::output::stdout;

/// A language that cannot take part.
pub struct Missing {
    pub language: Language,
    pub why: String,
}

/// What became of a key that all programs missed together.
#[derive(Default)]
pub struct Herd {
    pub programs: u64,
    pub creations: u64,
    /// The values that the programs got: one, if all is well.
    pub values: BTreeSet<String>,
    /// When the last program had its value.
    pub last: Duration,
}

pub struct Report<'a> {
    pub speakers: &'a [Speaker],
    pub missing: &'a [Missing],
    /// How many greetings each program read correctly.
    pub read: Vec<usize>,
    pub herd: Herd,
    pub killed: u64,
    pub verification: Verification,
}

impl Report<'_> {
    pub fn is_good(&self) -> bool {
        let all = self.speakers.len();
        self.read.iter().all(|&read| read == all)
            && self.herd.creations == 1
            && self.herd.values.len() == 1
            && self.killed == all as u64
            && self.verification.is_ok()
    }

    pub fn print(&self) -> io::Result<()> {
        let mut out = stdout();
        writeln!(out)?;
        for (speaker, read) in self.speakers.iter().zip(&self.read) {
            let all = self.speakers.len();
            row(&mut out, speaker.language.name(), format_args!("{:<22} read {read} of {all}", speaker.version))?;
        }
        self.write_herd(&mut out)?;
        let (killed, all) = (self.killed, self.speakers.len());
        row(&mut out, "killed", format_args!("{killed} of {all} programs with SIGKILL, while all of them wrote"))?;
        row(&mut out, "verify", verify::summary(&self.verification))?;
        for Missing { language, why } in self.missing {
            row(&mut out, "left out", format_args!("{}, since {why}; see {}", language.name(), language.page()))?;
        }
        out.flush()
    }

    fn write_herd(&self, out: &mut impl Write) -> io::Result<()> {
        let Herd { programs, creations, values, last } = &self.herd;
        let (created, took) = (plural(*creations, "creation"), CREATED_IN.as_millis());
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        row(
            out,
            "herd",
            format_args!("{programs} programs missed one key together, which takes {took} ms to create:"),
        )?;
        row(out, "", format_args!("{created}, {} for all within {} ms", values.join(" and "), last.as_millis()))
    }
}

fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:<10} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verification() -> Verification {
        let dir = tempfile::TempDir::new().unwrap();
        kennel::Options::new().create(dir.path().join("cache")).unwrap().verify()
    }

    #[test]
    fn each_fault_makes_the_report_bad() {
        let speakers = [Speaker { language: Language::Rust, version: String::new(), command: Vec::new() }];
        let good = || Report {
            speakers: &speakers,
            missing: &[],
            read: vec![1],
            herd: Herd { programs: 2, creations: 1, values: BTreeSet::from(["made".to_owned()]), last: CREATED_IN },
            killed: 1,
            verification: verification(),
        };
        assert!(good().is_good());
        assert!(!Report { read: vec![0], ..good() }.is_good());
        assert!(!Report { killed: 0, ..good() }.is_good());
        for creations in [0, 2] {
            assert!(!Report { herd: Herd { creations, ..good().herd }, ..good() }.is_good());
        }
        let values = BTreeSet::from(["made".to_owned(), "made twice".to_owned()]);
        assert!(!Report { herd: Herd { values, ..good().herd }, ..good() }.is_good());
    }
}
