//! `kennel dump`: writes the items of a cache file to a stream.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueHint};
use kennel::{Cache, SavedItem};
use kennel_harness::human::plural;
use kennel_harness::interrupt;
use kennel_harness::size::format_size;

use super::outcome::{AnyError, CliResult, hit_or_miss};
use crate::args::{FileArgs, KeyHexArgs, find_namespace};
use crate::output::{is_reader_gone, print_line, stdout, with_spinner};
use crate::stream::{Head, Namespace, Writer};

/// Write the items of a cache file to a stream, the most used ones first.
///
/// "kennel load" reads the stream into another file, which may have another size, other options or be on another host.
/// The stream has all items with their keys, values, namespaces, flags, expiries and times of creation, compressed and
/// with checksums.
///
/// It is not a snapshot: other processes may use the file meanwhile, and each item was current at some moment of the
/// dump. What is deleted or invalidated later is in the stream all the same. The file is opened read-only and without a
/// lock; as with "kennel get", a copy or a file from before a restart of the machine is opened for writing.
///
/// The exit status is 1 when the file does not have the namespace.
///
/// Examples: kennel dump my.cache -o my.dump; kennel dump my.cache | ssh other kennel load my.cache
#[derive(Args)]
pub struct DumpArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Where to write the stream; "-" is standard output. A file gets its name when the stream is complete; one of that
    /// name is replaced then. Only its owner can read it.
    #[arg(short, long, value_name = "OUT", default_value = "-", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Write only the items whose keys begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,
    #[command(flatten)]
    spelling: KeyHexArgs,
    /// Write only the items of this namespace. A prefix then begins behind its name.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

/// Which items are wanted.
struct Choice {
    namespace: Option<String>,
    prefix: Vec<u8>,
}

/// How many items and bytes were written.
struct Written {
    items: u64,
    bytes: u64,
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
        write_stream(&cache, &choice, stdout(), || false)
            .map_err(|error| if is_reader_gone(&error) { io::Error::other(error.to_string()) } else { error })?;
    } else {
        let Written { items, bytes } = with_spinner("Dumping", || dump_to(&cache, &choice, &args.output))?;
        let (items, size) = (plural(items, "item"), format_size(bytes));
        print_line(format_args!("Dumped {items} to {}, {size}.", args.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the stream to a file. A regular one gets its name at the end, so that no half of a stream has it.
fn dump_to(cache: &Cache, choice: &Choice, output: &Path) -> Result<Written, AnyError> {
    let failed = |error: io::Error| format!("cannot write {}: {error}", output.display());
    // A link leads to the file to be replaced.
    let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    if place == cache.path() {
        return Err(format!("{} is the cache file itself", output.display()).into());
    }
    if fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(&place).map_err(failed)?;
        return write_stream(cache, choice, BufWriter::new(file), || false).map_err(|error| failed(error).into());
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    interrupt::watch()?;
    let file = tempfile::Builder::new().prefix(".kennel-dump-").tempfile_in(folder).map_err(failed)?;
    let written = write_stream(cache, choice, BufWriter::new(file.as_file()), interrupt::is_asked).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&place).map_err(|error| failed(error.error))?;
    Ok(written)
}

fn write_stream(
    cache: &Cache,
    choice: &Choice,
    out: impl Write,
    is_asked_to_end: impl Fn() -> bool,
) -> io::Result<Written> {
    let stats = cache.stats();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let head = Head {
        written_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        file_id: u128::from_str_radix(&stats.file_id, 16).unwrap_or_default(),
    };
    let mut writer = Writer::new(out, &head)?;
    let with_defaults = |name: &str| Namespace::new(name, cache.namespace_defaults(name));
    let names =
        cache.namespaces().into_iter().filter(|name| choice.namespace.as_ref().is_none_or(|wanted| wanted == name));
    writer.namespaces(names.map(|name| with_defaults(&name)))?;
    for item in cache.hottest_first().filter(|item| choice.wants(item)) {
        if is_asked_to_end() {
            return Err(io::Error::other("interrupted before the end of the dump"));
        }
        if let Some(name) = item.namespace.as_deref().filter(|name| !writer.has_namespace(name)) {
            // It was added to the file after the dump began.
            writer.namespaces([with_defaults(name)])?;
        }
        writer.item(&item)?;
    }
    let (_, items, bytes) = writer.finish()?;
    Ok(Written { items, bytes })
}

impl Choice {
    fn wants(&self, item: &SavedItem) -> bool {
        let Some(name) = &self.namespace else { return item.key.starts_with(&self.prefix) };
        // A key mangler may have made a stored key that does not begin with the name.
        let own = item.key.strip_prefix(name.as_bytes()).and_then(|key| key.strip_prefix(&[0]));
        item.namespace.as_deref() == Some(name) && own.unwrap_or(&item.key).starts_with(&self.prefix)
    }
}
