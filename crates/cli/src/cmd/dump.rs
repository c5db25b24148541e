//! `kennel dump`: writes the items of a cache file to a stream.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use kennel::Cache;
use kennel_harness::human::plural;
use kennel_harness::interrupt;
use kennel_harness::size::format_size;
use kennel_stream::{Choice, Written, dump, dump_to};

use super::outcome::{AnyError, CliResult, hit_or_miss};
use crate::args::{FileArgs, KeyHexArgs, find_namespace};
use crate::output::{is_reader_gone, print_line, stdout, with_spinner};

/// Write the items of a cache file to a stream, the most used ones first.
///
/// "kennel load" reads the stream into another file, which may have another size or other options, or be on another
/// host. The stream has all items with their keys, values, namespaces, flags, expiries and times of creation,
/// compressed and with checksums.
///
/// It is not a snapshot: other processes may use the file meanwhile, and each item was current at some moment of the
/// dump. An item that is deleted or invalidated after it was written stays in the stream. The file is opened read-only
/// and without a lock; only a copy, or a file from before a restart of the machine, is opened for writing, as with
/// "kennel get".
///
/// The exit status is 1 when the file does not have the namespace.
///
/// Examples: kennel dump my.cache -o my.dump; kennel dump my.cache | ssh other kennel load my.cache
#[derive(Args)]
pub struct DumpArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Where to write the stream; "-" is standard output. A file gets its name when the stream is complete, and then
    /// replaces an existing file of that name. Only its owner can read it.
    #[arg(short, long, value_name = "OUT", default_value = "-", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Write only the items whose keys begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,
    #[command(flatten)]
    spelling: KeyHexArgs,
    /// Write only the items of this namespace. A prefix then applies to the part of the key after the namespace's name.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

pub fn run(args: DumpArgs) -> CliResult {
    let choice = Choice { prefix: args.spelling.bytes(args.prefix)?, namespace: args.namespace };
    let cache = args.file.open_to_read()?;
    if let Some(name) = &choice.namespace
        && find_namespace(&cache, name)?.is_none()
    {
        return Ok(hit_or_miss(false));
    }
    if args.output == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(
                "the stream is not text for a terminal: name a file with -o, or redirect standard output".into()
            );
        }
        // Unlike text, a stream without its end is of no use, so a reader that leaves is an error.
        dump(&cache, &choice, stdout(), || false)
            .map_err(|error| if is_reader_gone(&error) { io::Error::other(error.to_string()) } else { error })?;
    } else {
        let Written { items, bytes } = with_spinner("Dumping", || to_file(&cache, &choice, &args.output))?;
        let (items, size) = (plural(items, "item"), format_size(bytes));
        print_line(format_args!("Dumped {items} to {}, {size}.", args.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn to_file(cache: &Cache, choice: &Choice, output: &Path) -> Result<Written, AnyError> {
    interrupt::watch()?;
    dump_to(cache, choice, output, interrupt::is_asked).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput if is_file(cache, output) => {
            format!("{} is the cache file itself", output.display()).into()
        }
        _ => format!("cannot write {}: {error}", output.display()).into(),
    })
}

fn is_file(cache: &Cache, path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|path| path == cache.path())
}
