//! `kennel load`: stores the items of a stream in a cache file.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use kennel_stream::{LoadError, Tally, load};

use super::filling::{FillArgs, InWords, refused};
use super::outcome::{AnyError, CliResult, hit_or_miss};
use crate::args::WriteArgs;
use crate::message;
use crate::output::{print_line, unless_reader_gone, warn, with_spinner};
use crate::platform::{self, Stream};

/// Store the items of a stream that "kennel dump" wrote.
///
/// Create the file first, with any size and options. Namespaces that it lacks are added with their default times. Items
/// keep their flags, expiries and times of creation; those that have expired are left out. The most used items come
/// first, so they are the ones that a smaller file gets.
///
/// The exit status is 1 when the stream is cut or damaged, or does not have all its items. Whole items are stored all
/// the same, and standard error says what is missing.
///
/// Examples: kennel load my.cache my.dump; zcat old.dump.gz | kennel load my.cache --replace
#[derive(Args)]
pub struct LoadArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The stream; without this, or with "-", standard input.
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    input: Option<PathBuf>,
    #[command(flatten)]
    fill: FillArgs,
}

pub fn run(args: &LoadArgs) -> CliResult {
    let (input, name) = open(args.input.as_deref())?;
    let cache = args.write.open()?;
    let loaded = with_spinner("Loading", || load(&cache, &args.fill.how(), input, refused));
    let print = |tally: &Tally| print_line(format_args!("Loaded {}.", InWords(tally)));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(LoadError::Open(error)) => return Err(format!("cannot load {name}: {error}").into()),
        // The items so far are in the file.
        Err(LoadError::Read(error, tally)) => return Err(unfinished(print(&tally), &name, &error)),
        Err(LoadError::Cache(error, tally)) => return Err(unfinished(print(&tally), &name, &error)),
    };
    unless_reader_gone(print(&loaded.tally))?;
    let missing = loaded.missing();
    if let Some(missing) = &missing {
        warn(&format!("{name}: {missing}"));
    }
    Ok(hit_or_miss(missing.is_none()))
}

/// The error that ended the work. It matters more than a failure to print the line before it.
fn unfinished(_: io::Result<()>, name: &str, error: &(dyn std::error::Error + 'static)) -> AnyError {
    format!("the rest of {name} is not loaded: {}", message::with_causes(error)).into()
}

/// The stream, and its name for messages.
fn open(input: Option<&Path>) -> Result<(Box<dyn Read>, String), String> {
    match input.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let name = path.display().to_string();
            File::open(path).map_or_else(
                |error| Err(format!("cannot read the stream {name}: {error}")),
                |file| Ok((Box::new(file) as Box<dyn Read>, name.clone())),
            )
        }
        None if platform::is_closed(Stream::Input) => {
            Err("cannot read the stream from standard input: it is closed".to_owned())
        }
        None if io::stdin().is_terminal() => {
            Err("the stream is not text from a terminal: name its file, or redirect standard input".to_owned())
        }
        None => Ok((Box::new(io::stdin().lock()), "standard input".to_owned())),
    }
}
