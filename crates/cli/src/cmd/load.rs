//! `kennel load`: stores the items of a stream in a cache file.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use kennel_harness::human::plural;

use super::filling::{FillArgs, Filling};
use super::outcome::{AnyError, CliResult, hit_or_miss};
use crate::args::WriteArgs;
use crate::message;
use crate::output::{print_line, unless_reader_gone, warn, with_spinner};
use crate::platform::{self, Stream};
use crate::stream::{BLOCK, Ending, Part, Reader, items};

/// Store the items of a stream that "kennel dump" wrote.
///
/// Create the file first, with any size and options. Namespaces that it lacks are added with their default times. Items
/// keep their flags, expiries and times of creation; those that have expired are left out. The most used items come
/// first, so they are the ones that a smaller file gets.
///
/// The exit status is 1 when the stream is cut or damaged, or does not have all its items. What is whole is stored all
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
    let largest = usize::try_from(cache.stats().largest_record).unwrap_or(usize::MAX).saturating_add(BLOCK);
    let mut reader = Reader::new(input, largest).map_err(|error| format!("cannot load {name}: {error}"))?;
    let mut filling = args.fill.fill(&cache);
    let loaded = with_spinner("Loading", || load(&mut reader, &mut filling));
    filling.tally.too_large += reader.too_large();
    // Also after an error, since the items are in the file.
    let printed = print_line(format_args!("Loaded {}.", filling.tally));
    let (ending, items) = loaded
        .map_err(|error| message::with_causes(error.as_ref()))
        .map_err(|error| format!("the rest of {name} is not loaded: {error}"))?;
    unless_reader_gone(printed)?;
    let missing = missing(ending, items + reader.too_large(), reader.lost());
    if let Some(missing) = &missing {
        warn(&format!("{name}: {missing}"));
    }
    Ok(hit_or_miss(missing.is_none()))
}

/// Stores all items of a stream. Returns how the stream ended, and how many items were read.
fn load(reader: &mut Reader<Box<dyn Read>>, filling: &mut Filling<'_>) -> Result<(Ending, u64), AnyError> {
    let mut read = 0;
    let mut namespaces = reader.namespaces().to_vec();
    loop {
        match reader.read()? {
            Part::Namespaces(added) => {
                added.iter().try_for_each(|namespace| filling.namespace(namespace))?;
                namespaces = reader.namespaces().to_vec();
            }
            Part::Items(bytes) => read += filling.store(items(bytes, &namespaces).flatten())?,
            Part::End(ending) => return Ok((ending, read)),
        }
    }
}

/// What a stream lacks; `None` if it is whole.
fn missing(ending: Ending, items: u64, lost: u64) -> Option<String> {
    let frames = format!("{} {} damaged or missing", plural(lost, "frame"), if lost == 1 { "is" } else { "are" });
    let read = plural(items, "item");
    match ending {
        Ending::Whole { items: all } if all == items && lost == 0 => None,
        Ending::Whole { items: all } => {
            Some(format!("the stream is damaged: it had {}, and {read} could be read; {frames}", plural(all, "item")))
        }
        Ending::Cut if lost == 0 => {
            Some(format!("the stream is cut behind {read}: its dump did not finish, or not all of it is here"))
        }
        Ending::Cut => Some(format!("the stream is cut behind {read}, and {frames}")),
        Ending::Damaged => {
            Some(format!("the stream is damaged behind {read}, and nothing behind that place could be read"))
        }
    }
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
