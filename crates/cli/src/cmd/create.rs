//! `kennel create`: makes a cache file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use kennel::{AfterCrash, Cache, Error, Options};

use super::CliResult;
use crate::args::Locks;
use crate::human::plural;
use crate::output::{print_line, with_spinner};
use crate::size::{format_size, parse_size};

/// What `--capacity` says when it is not given: [`kennel::DEFAULT_CAPACITY`].
const DEFAULT_CAPACITY: &str = "64MiB";

/// Make a cache file, and fail if the file exists.
///
/// The file has its full size from the start and never grows. What does not fit makes the cache
/// evict what was used least.
///
/// Example: kennel create /dev/shm/my.cache --capacity 256MiB --mean-item 1KiB
#[derive(Args)]
pub struct CreateArgs {
    /// The file to make. Without it, the default one is made: kennel.cache in the runtime directory
    /// of the user, else kennel-UID.cache in /dev/shm, else in the temporary directory.
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// How many bytes of records the cache holds, for example 64MiB or 2GB. The file is a little
    /// larger, because of its index.
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_CAPACITY, value_parser = parse_size)]
    capacity: u64,
    /// The mean size of a record, key and value together, from which the size of the index follows.
    /// Where records are smaller than this, the index fills before the bytes do, and stat says so.
    #[arg(long, value_name = "SIZE", default_value = "256B", value_parser = parse_size)]
    mean_item: u64,
    /// In how many stripes to divide the file: a power of two up to 4096. A write locks one stripe.
    /// Without it, the number follows from the capacity.
    #[arg(long, value_name = "N")]
    stripes: Option<u32>,
    /// How writers keep out of each other's way.
    #[arg(long, value_name = "STRATEGY", default_value = "file")]
    locks: Locks,
    /// How many locks the stripes share: a power of two, at most the number of stripes. Without it,
    /// each stripe has its own.
    #[arg(long, value_name = "N")]
    lock_regions: Option<u32>,
    /// How many keys of one stripe can be created or locked at the same time, as "kennel lock" locks them.
    #[arg(long, value_name = "N", default_value_t = 64)]
    claims: u32,
    /// How many namespaces the file has room for.
    #[arg(long, value_name = "N", default_value_t = 64)]
    namespaces: u32,
    /// The permission bits of the file in octal, for example 660 to share it with a group.
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = parse_mode)]
    mode: u32,
    /// How many processes can have the file open for writing at the same time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    seats: u32,
    /// What becomes of a file on a disk after the machine crashed or lost power. It does not matter
    /// for a process that died: what that left half done is always completed or undone.
    #[arg(long, value_name = "WHAT", default_value = "discard")]
    after_crash: After,
    /// Touch every page of the file now, so that no later write waits for memory or disk space.
    #[arg(long)]
    populate: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum After {
    /// Empty the cache
    Discard,
    /// Check each stripe before its next write, and keep the records that are whole
    Verify,
}

impl From<After> for AfterCrash {
    fn from(after: After) -> Self {
        match after {
            After::Discard => Self::Discard,
            After::Verify => Self::Verify,
        }
    }
}

pub fn run(args: CreateArgs) -> CliResult {
    let options = options(&args);
    let paths = args.file.map_or_else(|| kennel::default_paths().collect(), |file| vec![file]);
    let cache = with_spinner("Making the file", || create(&options, &paths))?;
    announce(&cache)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the file at the first of these paths where one can be made.
fn create(options: &Options, paths: &[PathBuf]) -> kennel::Result<Cache> {
    let mut made = options.create(&paths[0]);
    for path in &paths[1..] {
        match made {
            // Only the place is at fault: a file that is there already is not to be passed over.
            Err(Error::NoSpace { .. } | Error::Io { .. } | Error::NetworkFilesystem { .. }) => {
                made = options.create(path)
            }
            other => return other,
        }
    }
    made
}

fn options(args: &CreateArgs) -> Options {
    let mut options = Options::new()
        .capacity(args.capacity)
        .mean_item(args.mean_item)
        .locks(args.locks.into())
        .mode(args.mode)
        .seats(args.seats)
        .claims(args.claims)
        .namespaces(args.namespaces)
        .after_crash(args.after_crash.into())
        .populate(args.populate);
    if let Some(stripes) = args.stripes {
        options = options.stripes(stripes);
    }
    if let Some(regions) = args.lock_regions {
        options = options.lock_regions(regions);
    }
    options
}

fn announce(cache: &Cache) -> std::io::Result<()> {
    let stats = cache.stats();
    print_line(format_args!(
        "Created {}: room for {} of records in {}; the file has {}.",
        stats.path.display(),
        format_size(stats.capacity),
        plural(stats.stripes.into(), "stripe"),
        format_size(stats.file_size),
    ))
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("expected permission bits in octal, such as 600 or 660, found \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_capacity_is_that_of_the_library() {
        assert_eq!(parse_size(DEFAULT_CAPACITY), Ok(kennel::DEFAULT_CAPACITY));
    }

    #[test]
    fn modes_are_octal_permission_bits() {
        assert_eq!(parse_mode("660"), Ok(0o660));
        assert_eq!(parse_mode("0600"), Ok(0o600));
        for text in ["", "8", "1777", "rw-------"] {
            assert!(parse_mode(text).is_err(), "{text:?} was taken for a mode");
        }
    }
}
