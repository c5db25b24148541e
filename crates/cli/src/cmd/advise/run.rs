//! The command: it gathers reads, plays them, and prints the result.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Stats};
use kennel_harness::human::{count, plural};
use kennel_harness::interrupt;
use kennel_harness::size::format_size;
use serde_json::{Value, json};

use super::gather::{ENOUGH, Gathered, counted, sampled};
use crate::args::OptionalFileArgs;
use crate::cmd::outcome::CliResult;
use crate::output::{print_json, stdout, unless_reader_gone, warn, with_spinner};
use crate::time::parse_duration;

/// The sizes in the answer, as multiples of the file's.
const SIZES: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// Say what a cache of half, twice and four times the size would hit.
///
/// The command samples the reads of some 10,000 keys while programs use the cache. It then plays the sampled reads into
/// small caches in temporary files. Sampling makes reads of sampled keys a few nanoseconds slower; it ends with the
/// command. The file must have room for samples, which by default a file of 113 MiB or more has: see "kennel create
/// --samples". Without room, or with --no-sample, the command counts only how often keys that were evicted shortly
/// before are stored again. A cache of twice the size would hit at least that much more often.
///
/// Example: kennel advise /dev/shm/web.cache --for 10m
#[derive(Args)]
pub struct AdviseArgs {
    #[command(flatten)]
    file: OptionalFileArgs,
    /// How long to watch, with a unit: 30s, 10m or 1h. The longer, the better: at least as long as the main ring takes to
    /// turn, which "kennel top" shows. Ctrl-C ends it early.
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    time: Duration,
    /// Open the file read-only, and sample no reads.
    #[arg(long)]
    no_sample: bool,
    /// Write a JSON object instead, with sizes in bytes; docs/json.md lists its fields.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &AdviseArgs) -> CliResult {
    interrupt::watch()?;
    let cache =
        if args.no_sample { args.file.open_read_only()? } else { args.file.options().open(args.file.path())? };
    let gathered = with_spinner("Watching reads", || match args.no_sample {
        true => Ok(counted(&cache, args.time)),
        false => match sampled(&cache, args.time) {
            Err(kennel::Error::BadOption { option: "samples", .. }) => {
                warn(
                    "the file has no room for samples of reads: create it with --samples yes for more than a lower bound",
                );
                Ok(counted(&cache, args.time))
            }
            gathered => gathered,
        },
    })?;
    let stats = cache.stats();
    let curve = with_spinner("Playing the reads", || curve(&cache, &stats, &gathered))?;
    if args.json {
        print_json(&document(&stats, &gathered, &curve))?;
    } else {
        unless_reader_gone(print(&stats, &gathered, &curve))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The hit ratio of each size; nothing without a sample.
fn curve(cache: &Cache, stats: &Stats, gathered: &Gathered) -> kennel::Result<Vec<f64>> {
    let trace = &gathered.trace;
    if trace.reads() == 0 {
        return Ok(Vec::new());
    }
    let found: Vec<_> = trace.keys().iter().map(|&hash| cache.tapped_key(hash).map(|key| key.record_len)).collect();
    let known: Vec<_> = found.iter().copied().flatten().collect();
    let mean = match known.len() as u64 {
        0 => stats.mean_item,
        len => known.iter().sum::<u64>() / len,
    };
    let records: Vec<_> = found.into_iter().map(|record| record.unwrap_or(mean)).collect();
    let capacity = |size: f64| (stats.capacity as f64 * size) as u64 >> gathered.bits;
    SIZES.iter().map(|&size| trace.hit_ratio(capacity(size), &records)).collect()
}

/// One size in the answer.
struct Size {
    bytes: u64,
    /// The share of reads that would hit, and by how much it exceeds the present share.
    would_hit: f64,
    difference: f64,
}

/// The sizes of a curve, corrected by what was measured.
fn sizes(stats: &Stats, measured: f64, curve: &[f64]) -> Vec<Size> {
    let [_, now, ..] = *curve else { return Vec::new() };
    let of = |(&size, &ratio): (&f64, &f64)| {
        let difference = ratio - now;
        let would_hit = (measured + difference).clamp(0.0, 1.0);
        Size { bytes: (stats.capacity as f64 * size) as u64, would_hit, difference }
    };
    SIZES.iter().zip(curve).map(of).collect()
}

/// What `print` says, for programs.
fn document(stats: &Stats, gathered: &Gathered, curve: &[f64]) -> Value {
    let measured = gathered.measured();
    let hit_ratio = measured.map(|(hits, _)| hits);
    let sizes: Vec<_> = sizes(stats, hit_ratio.unwrap_or_default(), curve)
        .into_iter()
        .map(|Size { bytes, would_hit, difference }| json!({ "capacity": bytes, "hit_ratio": would_hit, "difference": difference }))
        .collect();
    json!({
        "path": stats.path.to_string_lossy(),
        "capacity": stats.capacity,
        "seconds": gathered.time.as_secs_f64(),
        "hit_ratio": hit_ratio,
        "double_gains_at_least": measured.map(|(_, ghosts)| ghosts),
        "sampled_reads": gathered.trace.reads(),
        "sampled_keys": gathered.trace.keys().len(),
        "sampled_one_in": if gathered.bits == 0 { None } else { Some(1_u64 << gathered.bits) },
        "lost_reads": gathered.lost,
        "played_hit_ratio": curve.get(1),
        "sizes": sizes,
    })
}

fn print(stats: &Stats, gathered: &Gathered, curve: &[f64]) -> io::Result<()> {
    let mut out = stdout();
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let Some((measured, ghosts)) = gathered.measured() else {
        writeln!(out, "Nothing was read in {}.", seconds(gathered.time))?;
        return out.flush();
    };
    writeln!(out, "{}: {} of reads hit in {}", stats.path.display(), percent(measured), seconds(gathered.time))?;
    if let [_, now, ..] = *curve {
        writeln!(out, "\n  {:>10}  {:>9}  {:>10}", "size", "would hit", "difference")?;
        for Size { bytes, would_hit, difference } in sizes(stats, measured, curve) {
            let (bytes, points) = (format_size(bytes), difference * 100.0);
            writeln!(out, "  {bytes:>10}  {:>9}  {points:>+10.1}", percent(would_hit))?;
        }
        let sampled =
            (plural(gathered.trace.reads() as u64, "read"), plural(gathered.trace.keys().len() as u64, "key"));
        writeln!(
            out,
            "\nFrom {} of {}, one key in {}; at this size they hit {} when played.",
            sampled.0,
            sampled.1,
            count(1 << gathered.bits),
            percent(now)
        )?;
        if gathered.lost > 0 {
            writeln!(out, "{} came too fast to be sampled.", plural(gathered.lost, "further read"))?;
        }
        if gathered.trace.keys().len() < ENOUGH {
            writeln!(out, "With fewer than {} sampled keys the numbers may be some points off.", count(ENOUGH as u64))?;
        }
    }
    writeln!(
        out,
        "\nBy what was stored again soon after its eviction, twice the size would hit at least {:.1} points more.",
        ghosts * 100.0
    )?;
    out.flush()
}

fn seconds(time: Duration) -> String {
    if time.as_secs() >= 600 { format!("{} min", time.as_secs() / 60) } else { format!("{:.0} s", time.as_secs_f64()) }
}
