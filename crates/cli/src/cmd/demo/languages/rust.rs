//! The program for Rust: this program itself, under an internal command.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;

use clap::{Args, ValueEnum};
use kennel::{Cache, CreateOptions, Options};

use super::script::{CREATED_IN, MADE_ONCE, greeting, greeting_key};
use crate::cmd::outcome::{AnyError, CliResult};
use crate::output::print_line;

/// Run as the Rust program of the languages (started by the demo itself).
#[derive(Args)]
pub struct SpeakerArgs {
    action: Action,
    file: Option<PathBuf>,
    names: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Version,
    Set,
    Get,
    Create,
    Write,
}

pub fn run_speaker(args: &SpeakerArgs) -> CliResult {
    let Some(file) = &args.file else {
        print_line(concat!("Rust, Kennel ", env!("CARGO_PKG_VERSION")))?;
        return Ok(ExitCode::SUCCESS);
    };
    let cache = Options::new().open(file)?;
    let name = args.names.first().map_or("", String::as_str);
    match args.action {
        Action::Version => {}
        Action::Set => cache.set(greeting_key(name), greeting(name))?,
        Action::Get => get(&cache, &args.names)?,
        Action::Create => create(&cache, name)?,
        Action::Write => write(&cache, name)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn get(cache: &Cache, names: &[String]) -> Result<(), AnyError> {
    for name in names {
        let value = cache.get(greeting_key(name)).unwrap_or_else(|| b"-".to_vec());
        print_line(String::from_utf8_lossy(&value))?;
    }
    Ok(())
}

fn create(cache: &Cache, name: &str) -> Result<(), AnyError> {
    print_line("ready")?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let creator = || {
        print_line("created")?;
        sleep(CREATED_IN);
        Ok::<_, io::Error>(format!("made by {name}").into_bytes())
    };
    let made = cache.get_or_create(MADE_ONCE, &CreateOptions::new(), creator)?;
    Ok(print_line(String::from_utf8_lossy(&made))?)
}

fn write(cache: &Cache, name: &str) -> Result<(), AnyError> {
    print_line("ready")?;
    for n in 0_u64.. {
        let key = format!("key {}", n % 100);
        if let Some(value) = cache.get(&key)
            && !value.starts_with(format!("{key} by ").as_bytes())
        {
            return Err(format!("{key} is {}", String::from_utf8_lossy(&value)).into());
        }
        cache.set(&key, format!("{key} by {name}, {n}"))?;
    }
    Ok(())
}
