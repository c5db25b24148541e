//! `cargo xtask refused-check`: checks that compiling for an unsupported target fails with one clear message, and not
//! with the first error that happens to occur.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::step::Step;
use crate::toolchain;

/// Unsupported targets, each with the message that the compiler must print.
const REFUSED: &[(&str, &str)] = &[
    ("i686-unknown-linux-gnu", "kennel needs a 64-bit target"),
    ("i686-pc-windows-gnu", "kennel needs a 64-bit target"),
    ("s390x-unknown-linux-gnu", "kennel needs a little-endian target"),
];

pub(crate) fn run() -> Result<ExitCode> {
    for (target, sentence) in REFUSED {
        toolchain::ensure_target(target)?;
        let said = Step::cargo("refused-check", "check -p kennel --target").arg(target).fails()?;
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: kennel")).collect();
        ensure!(
            errors.len() == 1 && errors[0].contains(sentence),
            "{target}: expected the error \"{sentence}\" alone, found:\n{said}"
        );
        println!("{target}: {}", errors[0]);
    }
    println!("{} targets are refused with a clear message", REFUSED.len());
    Ok(ExitCode::SUCCESS)
}
