//! `kennel create`: creates a cache file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use kennel::{AfterCrash, Cache, Error, Options};
use kennel_harness::human::plural;
use kennel_harness::size::{format_size, parse_size};

use super::outcome::CliResult;
use crate::args::{Large, Locks};
use crate::output::{print_line, with_spinner};

/// Create a cache file, or fail if the file exists.
///
/// The file has its full size from the start and never grows. When it is full, the cache evicts the values that were
/// used least.
///
/// Example: kennel create /dev/shm/my.cache --capacity 256MiB --mean-item 1KiB
#[derive(Args)]
pub struct CreateArgs {
    /// The file to create. The default is kennel.cache in the user's runtime directory, else kennel-UID.cache in
    /// /dev/shm or in the temporary directory.
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// How many bytes of records the cache holds, for example 64MiB or 2GB. The file is slightly larger because of its
    /// index.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    capacity: u64,
    /// The mean size of a record, key and value together, which determines the size of the index. If records are
    /// smaller, the index is full before the capacity is used, and "kennel stat" says so.
    #[arg(long, value_name = "SIZE", default_value = "256B", value_parser = parse_size)]
    mean_item: u64,
    /// The number of stripes of the file: a power of two up to 4096. A write locks one stripe. The default depends on
    /// the capacity.
    #[arg(long, value_name = "N")]
    stripes: Option<u32>,
    /// The lock strategy of writers.
    #[arg(long, value_name = "STRATEGY", default_value = "file")]
    locks: Locks,
    /// The number of locks that the stripes share: a power of two, at most the number of stripes. By default each
    /// stripe has its own.
    #[arg(long, value_name = "N")]
    lock_regions: Option<u32>,
    /// How many keys of one stripe can be created or locked (see "kennel lock") at the same time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    claims: u32,
    /// How many namespaces the file has room for.
    #[arg(long, value_name = "N", default_value_t = 64)]
    namespaces: u32,
    /// Whether the file counts the hits and misses of each namespace: yes or no. By default it does if the counters
    /// take at most a fiftieth of the capacity. With 1024 seats and 64 namespaces they take 1 MiB.
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    namespace_reads: Option<bool>,
    /// Whether the file has room for samples of reads, as "kennel advise" takes them: yes or no. By default it does if
    /// the samples take at most a hundredth of the capacity. With 1024 seats they take 1.1 MiB.
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    samples: Option<bool>,
    /// The length of the tables of tags: 0, or a power of two from 64 to 65536. Tags that share a place there are
    /// invalidated together. By default there is one place for each KiB of the capacity, from 4096 to 65536.
    #[arg(long, value_name = "N")]
    tags: Option<u32>,
    /// The permission bits of the file in octal, for example 660 to share it with a group.
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = parse_mode)]
    mode: u32,
    /// How many processes can have the file open for writing at the same time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    seats: u32,
    /// What to do with a file on a disk after the machine crashed or lost power. This does not concern processes that
    /// die: their unfinished changes are always completed or undone.
    #[arg(long, value_name = "WHAT", default_value = "discard")]
    after_crash: After,
    /// Touch every page of the file now, so that later writes do not wait for memory or disk space.
    #[arg(long)]
    prefault: bool,
    /// Whether the file uses large pages of 2 MiB, on Linux: accesses to random keys in a gigabyte of data then take
    /// about 0.7 of the time. "kennel stat" shows the result.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    large_pages: Large,
}

#[derive(Clone, Copy, ValueEnum)]
enum After {
    /// Empty the cache
    Discard,
    /// Check each stripe before its next write, and keep the intact records
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
    let cache = with_spinner("Creating the file", || create(&options, &paths))?;
    announce(&cache)?;
    Ok(ExitCode::SUCCESS)
}

/// Creates the file at the first of `paths` where that is possible.
fn create(options: &Options, paths: &[PathBuf]) -> kennel::Result<Cache> {
    let mut made = options.create(&paths[0]);
    for path in &paths[1..] {
        match made {
            // These errors concern the place. Other errors, such as an existing file, end the search.
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
        .prefault(args.prefault)
        .large_pages(args.large_pages.into());
    if let Some(yes) = args.namespace_reads {
        options = options.namespace_reads(yes);
    }
    if let Some(yes) = args.samples {
        options = options.samples(yes);
    }
    if let Some(tags) = args.tags {
        options = options.tags(tags);
    }
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
    use crate::message::flag_of;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: CreateArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let dir = tempfile::TempDir::new().unwrap();
        let Line { create: args } = clap::Parser::parse_from(["create"]);
        let ours = options(&args).create(dir.path().join("ours")).unwrap().stats();
        let librarys = Options::new().create(dir.path().join("librarys")).unwrap().stats();
        assert_eq!(
            (ours.capacity, ours.mean_item, ours.stripes),
            (librarys.capacity, librarys.mean_item, librarys.stripes)
        );
        assert_eq!(
            (ours.lock_regions, ours.seats, &ours.strategy),
            (librarys.lock_regions, librarys.seats, &librarys.strategy)
        );
        // Namespaces and claims add to the size of the file.
        assert_eq!(ours.file_size, librarys.file_size);
    }

    /// The errors of the library name its options, which become flags without a table.
    #[test]
    fn each_size_that_the_library_refuses_is_named_by_its_flag() {
        let command = <Line as clap::CommandFactory>::command();
        let flags: Vec<_> =
            command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect();
        let refused: [fn(Options) -> Options; 8] = [
            |options| options.capacity(1),
            |options| options.mean_item(0),
            |options| options.stripes(3),
            |options| options.lock_regions(3),
            |options| options.seats(0),
            |options| options.namespaces(0),
            |options| options.claims(0),
            |options| options.mode(0),
        ];
        let dir = tempfile::TempDir::new().unwrap();
        for refused in refused {
            let Err(Error::BadOption { option, .. }) = refused(Options::new()).create(dir.path().join("cache")) else {
                panic!("an invalid option was accepted");
            };
            assert!(flags.contains(&flag_of(option)), "{option} is not one of {flags:?}");
        }
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
