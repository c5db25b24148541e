//! The command line of `kennel replay`, and the settings that follow from it.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgGroup, Args, value_parser};
use kennel::{LockStrategy, Options};
use kennel_harness::size::parse_size;

use super::survey::{Survey, ValueSizes};
use crate::args::Locks;
use crate::cmd::outcome::AnyError;
use crate::trace::{Columns, Format, KEY_LEN, Table, Trace};

/// The default seed of the hash: a constant, so that a replay can be repeated.
const SEED: u64 = 1;

/// Replay access traces, and show how many requests the cache would have served.
///
/// Each request of a trace is a get, whatever its operation in the trace. After a miss, a set follows, of a value with
/// the size that the trace first gives for the object. Every value that is read is compared with what was written.
///
/// The format of a trace and its compression (gzip, xz or zstd) are recognized from its content. Standard error shows
/// the format and the first requests. A trace that fits several formats or none is refused. --format lists the formats
/// with an example of each.
///
/// Examples: kennel replay trace.csv.zst --capacity 256MiB;
/// bzcat trace.bz2 | kennel replay - --items 100000
#[derive(Args)]
#[command(group = ArgGroup::new("room").required(true).args(["capacity", "items"]))]
pub struct ReplayArgs {
    /// The files with the requests, replayed one after another; `-` is standard input. Pipes are read to their end
    /// before the replay begins.
    #[arg(required = true, value_name = "TRACE")]
    pub(super) traces: Vec<PathBuf>,
    /// How many bytes of records the cache holds, for example 64MiB or 2GB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: Option<u64>,
    /// How many records the cache holds. All values then have the size of --value-size, whatever sizes the trace gives.
    #[arg(long, value_name = "N")]
    items: Option<NonZeroU64>,
    /// The size of all values with --items, and otherwise of values whose size the trace does not give.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = parse_value_size)]
    value_size: u32,
    /// How many processes share the cache file and the trace, which is distributed to them by key.
    #[arg(long, value_name = "P", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u32).range(1..=256))]
    pub(super) processes: u32,
    /// The number of stripes of the file: a power of two up to 4096. The default depends on the capacity.
    #[arg(long, value_name = "N")]
    stripes: Option<u32>,
    /// The seed of the hash that distributes the keys. With the same seed a replay by one process has the same result
    /// every time.
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// The lock strategy of writers.
    #[arg(long, value_name = "STRATEGY", default_value = "file")]
    pub(super) locks: Locks,
    /// The number of locks that the stripes share: a power of two, at most the number of stripes. By default each
    /// stripe has its own.
    #[arg(long, value_name = "N")]
    lock_regions: Option<u32>,
    /// The columns of a csv file with the key and the size, by number or by name, for example key=3,size=bytes. By
    /// default they are found by common names in the header, such as key, id, lbn or offset, and size, length or bytes.
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<Columns>,
    /// The csv files have no header, so their first row is a request. --columns must give the number of the key column.
    #[arg(long)]
    no_header: bool,
    /// The format of all the traces. By default the format of each is recognized from its content. In the examples |
    /// separates lines.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Where to create the cache file, which is then kept. By default a temporary file is created and removed at the
    /// end.
    #[arg(long, value_name = "PATH")]
    pub(super) file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Run as one process of a replay (started by the replay itself).
#[derive(Args)]
pub struct WorkerArgs {
    #[arg(long)]
    pub(super) locks: Locks,
    pub(super) path: PathBuf,
}

/// An option with a wrong value.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArgsError {
    #[error("--locks {locks} is for one process: expected --processes 1, found {processes}")]
    OneProcessOnly { locks: LockStrategy, processes: u32 },

    #[error("--items {items} of {value_size} bytes: expected less than 2^64 bytes in all, found more")]
    TooManyItems { items: NonZeroU64, value_size: u32 },

    /// The cache refused an option, named here as on the command line.
    #[error("{option}: expected {expected}, found {given}")]
    BadOption { option: String, expected: String, given: String },
}

impl ReplayArgs {
    pub(super) fn trace(&self) -> Result<Trace, AnyError> {
        let table = Table::new(self.columns.clone(), self.no_header)?;
        Ok(Trace::open(&self.traces, self.format, table)?)
    }

    pub(super) fn check_processes(&self) -> Result<(), ArgsError> {
        let is_local = matches!(self.locks, Locks::Process | Locks::None);
        if is_local && self.processes > 1 {
            let locks = self.locks.into();
            return Err(ArgsError::OneProcessOnly { locks, processes: self.processes });
        }
        Ok(())
    }

    pub(super) fn value_sizes(&self) -> ValueSizes {
        match self.items {
            Some(_) => ValueSizes::AllOf(self.value_size),
            None => ValueSizes::OfTrace { otherwise: self.value_size },
        }
    }

    pub(super) fn options(&self, survey: &Survey) -> Result<Options, ArgsError> {
        let capacity = self.capacity_in_bytes()?;
        // Objects larger than the whole cache are not stored and need no index.
        let mean_item = (KEY_LEN as u64 + survey.mean_size()).min(capacity);
        let mut options =
            Options::new().capacity(capacity).mean_item(mean_item).locks(self.locks.into()).seed(self.seed);
        if let Some(stripes) = self.stripes {
            options = options.stripes(stripes);
        }
        if let Some(regions) = self.lock_regions {
            options = options.lock_regions(regions);
        }
        Ok(options)
    }

    /// The error of creating the cache, with the names of options of the command line.
    pub(super) fn create_error(&self, error: kennel::Error) -> AnyError {
        let kennel::Error::BadOption { option, given, expected } = error else {
            return error.into();
        };
        let option = match (option, self.items) {
            ("capacity", Some(items)) => format!("--items {items} of {} bytes", self.value_size),
            _ => format!("--{}", option.replace('_', "-")),
        };
        ArgsError::BadOption { option, expected, given }.into()
    }

    /// `--capacity`, or what `--items` records take.
    fn capacity_in_bytes(&self) -> Result<u64, ArgsError> {
        let Some(items) = self.items else {
            return Ok(self.capacity.unwrap_or(kennel::DEFAULT_CAPACITY));
        };
        let value_size = self.value_size;
        items
            .get()
            .checked_mul(kennel::record_size(KEY_LEN, value_size as usize))
            .ok_or(ArgsError::TooManyItems { items, value_size })
    }
}

fn parse_value_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    u32::try_from(size).map_err(|_| format!("expected at most {} bytes, found {size}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ReplayArgs,
    }

    fn parse(line: &str) -> Result<ReplayArgs, String> {
        let words = std::iter::once("replay").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
    }

    fn valid(line: &str) -> ReplayArgs {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_room_is_given_in_bytes_or_in_items() {
        let args = valid("a.csv --capacity 1MiB");
        assert_eq!(args.capacity_in_bytes().ok(), Some(1 << 20));
        let args = valid("a.csv --items 1000 --value-size 100");
        let expected = 1000 * kennel::record_size(KEY_LEN, 100);
        assert_eq!(args.capacity_in_bytes().ok(), Some(expected));
    }

    #[test]
    fn other_rooms_are_refused() {
        for line in [
            "a.csv",
            "a.csv --items 1 --capacity 1",
            "a.csv --items 0",
            "--items 1",
            "a.csv --items 1 --value-size 4GiB",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let args = valid("a.csv --items 18446744073709551615");
        let error = args.capacity_in_bytes().expect_err("too many").to_string();
        assert!(error.contains("2^64 bytes"), "{error}");
    }

    #[test]
    fn locks_of_one_process_refuse_several() {
        assert!(valid("a --items 1 --locks process").check_processes().is_ok());
        assert!(valid("a --items 1 --processes 2").check_processes().is_ok());
        let args = valid("a --items 1 --processes 2 --locks process");
        let error = args.check_processes().expect_err("two processes").to_string();
        let message = "--locks process is for one process: expected --processes 1, found 2";
        assert_eq!(error, message);
    }
}
