//! `kennel stat`: shows the contents and the counters of a cache.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel::{Cache, Counters, Histogram, LargePages, Limit, NamespaceReads, Stats, StripeStats, Times};
use kennel_harness::human::{count, latency, percent};
use kennel_harness::size::format_size;
use serde_json::{Value, json};

use super::metrics::{Target, exposition, named_once};
use super::outcome::CliResult;
use crate::args::{OF_BEFORE, OptionalFileArgs};
use crate::message::of_cache;
use crate::output::{print_json, stdout, warn};

/// Show what a cache holds, what limits it, and what has happened in it.
///
/// The numbers are for the whole file: all processes since its creation, including those that have ended. Processes
/// that open the file read-only, such as "kennel get", are not counted, because they do not write to it. This command
/// also opens the file read-only and without a lock.
///
/// Example: kennel stat my.cache --stripes
#[derive(Args)]
pub struct StatArgs {
    #[command(flatten)]
    file: OptionalFileArgs,
    /// Write a JSON object instead, with sizes in bytes; docs/json.md lists its fields.
    #[arg(long)]
    json: bool,
    /// Add a line for each stripe, or with --json the array stripe_stats.
    #[arg(long)]
    stripes: bool,
    /// Write the metrics of one or more files once, in the text format of OpenMetrics, as "kennel metrics" serves them.
    /// A file may be given as NAME=FILE. A file that cannot be read has kennel_up 0. Together with the textfile collector of
    /// node_exporter, no port is needed.
    #[arg(long, conflicts_with_all = ["json", "stripes"])]
    prometheus: bool,
    /// Further files, with --prometheus.
    #[arg(value_name = "MORE", requires = "prometheus", value_hint = ValueHint::FilePath)]
    more: Vec<PathBuf>,
}

pub fn run(args: &StatArgs) -> CliResult {
    if args.prometheus {
        return print_metrics(args);
    }
    // A mapping for large pages shows which ones the file has, also on a disk; a mapping for reading makes none.
    let cache = args.file.options().large_pages(LargePages::Always).open_read_only(args.file.path())?;
    let stats = cache.stats();
    let stripes = args.stripes.then(|| cache.stripe_stats());
    if args.json {
        print_json(&document(&cache, &stats, stripes.as_deref())?)?;
    } else {
        print_text(&cache, &stats, stripes.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_metrics(args: &StatArgs) -> CliResult {
    let files = [args.file.path()].into_iter().chain(args.more.iter().cloned());
    let targets: Vec<_> = files.map(|file| file.to_str().map_or_else(|| Target::of(&file), Target::parse)).collect();
    named_once(&targets)?;
    let looks: Vec<_> = targets.iter().map(|target| target.look(&args.file.options())).collect();
    for error in looks.iter().filter_map(|look| look.found.as_ref().err()) {
        warn(&of_cache(error));
    }
    let mut out = stdout();
    out.write_all(exposition(&looks).as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn document(cache: &Cache, stats: &Stats, stripes: Option<&[StripeStats]>) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(stats)?;
    document["namespaces"] = json!(cache.namespaces());
    document["awaits_writer"] = json!(cache.awaits_writer());
    document["large_mapped"] = json!(cache.large_mapped());
    document["hit_ratio"] = json!(hit_ratio(&stats.counters));
    if let Some(stripes) = stripes {
        document["stripe_stats"] = serde_json::to_value(stripes)?;
    }
    Ok(document)
}

/// The share of reads that were hits, or `None` before the first read.
fn hit_ratio(counters: &Counters) -> Option<f64> {
    let reads = counters.hits + counters.misses;
    (reads > 0).then(|| counters.hits as f64 / reads as f64)
}

fn print_text(cache: &Cache, stats: &Stats, stripes: Option<&[StripeStats]>) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{}", stats.path.display())?;
    print_contents(&mut out, stats)?;
    if cache.awaits_writer() {
        row(&mut out, "readable", format_args!("not until a process opens the file for writing: it is {OF_BEFORE}"))?;
    }
    let namespaces = cache.namespaces();
    if !namespaces.is_empty() {
        row(&mut out, "namespaces", namespaces.join(", "))?;
    }
    print_layout(&mut out, stats)?;
    row(&mut out, "large pages", large_in_words(cache.large_mapped()))?;
    print_reads(&mut out, &stats.counters)?;
    print_writes(&mut out, &stats.counters)?;
    print_creations(&mut out, &stats.counters)?;
    print_times(&mut out, &stats.times)?;
    print_namespaces(&mut out, &stats.namespace_reads)?;
    print_losses(&mut out, &stats.counters)?;
    if let Some(stripes) = stripes {
        print_stripes(&mut out, stripes)?;
    }
    out.flush()
}

fn print_contents(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    section(out, "Contents")?;
    row(out, "items", count(stats.items))?;
    let used = percent(stats.used_bytes, stats.capacity);
    let sizes = (format_size(stats.used_bytes), format_size(stats.capacity));
    row(out, "used", format_args!("{} of {} ({used})", sizes.0, sizes.1))?;
    row(out, "limited by", limit_in_words(&stats.limit))?;
    row(out, "largest record", format_args!("{} of key and value", format_size(stats.largest_record)))
}

fn limit_in_words(limit: &Limit) -> &'static str {
    match limit {
        Limit::Nothing => "nothing yet: there is room",
        Limit::Bytes => "bytes: a larger --capacity would hold more",
        Limit::Index => "the index: a smaller --mean-item at create would hold more",
        other => other.name(),
    }
}

fn print_layout(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    section(out, "File")?;
    row(out, "size", format_size(stats.file_size))?;
    row(out, "format", format_args!("{}, id {}", stats.format, stats.file_id))?;
    let regions = count(stats.lock_regions.into());
    row(out, "stripes", format_args!("{} under {regions} locks", count(stats.stripes.into())))?;
    row(out, "lock strategy", &stats.strategy)?;
    let buckets = count(stats.buckets);
    row(out, "index", format_args!("{} slots in {buckets} buckets", count(stats.slots)))?;
    row(out, "mean item", format_args!("{} expected", format_size(stats.mean_item)))?;
    match stats.tags {
        0 => row(out, "tags", "none: the file has no room for them")?,
        tags => row(out, "tags", format_args!("{} places", count(tags.into())))?,
    }
    let seats = count(stats.seats.into());
    row(out, "writers", format_args!("{} of {seats} seats taken", count(stats.members.into())))
}

fn large_in_words(mapped: Option<u64>) -> String {
    match mapped {
        Some(0) => "none of what is in memory".to_owned(),
        Some(bytes) => format!("{} of what is in memory", format_size(bytes)),
        None => "unknown: the system does not say, or /proc cannot be read".to_owned(),
    }
}

fn print_reads(out: &mut impl Write, counters: &Counters) -> io::Result<()> {
    section(out, "Reads")?;
    row(out, "hit ratio", percent(counters.hits, counters.hits + counters.misses))?;
    row(out, "hits", count(counters.hits))?;
    row(out, "misses", count(counters.misses))?;
    row(out, "retries", Noted(counters.read_retries, "reads repeated because of a concurrent write"))?;
    row(out, "bounded misses", Noted(counters.bounded_misses, "reads that gave up after too many retries"))
}

fn print_writes(out: &mut impl Write, counters: &Counters) -> io::Result<()> {
    section(out, "Writes")?;
    row(out, "sets", count(counters.sets))?;
    row(out, "deletes", count(counters.deletes))?;
    row(out, "lock waits", Noted(counters.lock_waits, "writes that found their stripe locked"))?;
    row(out, "busy", Noted(counters.busy, "writes that gave up waiting"))?;
    row(out, "promotions", Noted(counters.promotions, "records moved to the main queue"))?;
    row(out, "ghost hits", Noted(counters.ghost_hits, "sets of a recently evicted key"))
}

fn print_creations(out: &mut impl Write, counters: &Counters) -> io::Result<()> {
    section(out, "Creations")?;
    row(out, "creations", Noted(counters.creations, "claims of keys to create their values"))?;
    row(out, "waits", Noted(counters.claim_waits, "callers that waited for another's value"))?;
    row(out, "takeovers", Noted(counters.takeovers, "claims taken over, too old or of dead processes"))?;
    row(out, "voided", Noted(counters.voided, "values not stored, because the key was written"))?;
    row(out, "failed", Noted(counters.failed, "creators that returned an error or panicked"))?;
    row(out, "stale on error", Noted(counters.stale_on_error, "stale values shown in place of an error"))?;
    row(out, "rested", Noted(counters.rested, "calls for keys that rest after failures"))?;
    row(out, "uncached", Noted(counters.uncached, "creations while the cache could not be used"))?;
    row(out, "unprotected", Noted(counters.unprotected, "creations without a claim, for the caller alone"))
}

fn print_losses(out: &mut impl Write, counters: &Counters) -> io::Result<()> {
    section(out, "Losses")?;
    row(out, "evictions", count(counters.evictions()))?;
    row(out, "  small queue", Noted(counters.evictions_small, "never read again while new"))?;
    row(out, "  main queue", Noted(counters.evictions_main, "not read for a long time"))?;
    row(out, "  index", Noted(counters.evictions_index, "no free slot in the bucket"))?;
    row(out, "expirations", count(counters.expirations))?;
    row(out, "repairs", Noted(counters.repairs, "stripes repaired after a writer died"))?;
    row(out, "dropped", Noted(counters.dropped, "damaged records that were found and removed"))
}

fn print_times(out: &mut impl Write, times: &Times) -> io::Result<()> {
    section(out, "Times")?;
    for (name, histogram) in times.iter() {
        row(out, &name.replace('_', " "), in_words(histogram))?;
    }
    Ok(())
}

/// The mean of a histogram, and how long most operations took at most.
fn in_words(histogram: &Histogram) -> String {
    let Some(mean) = histogram.mean() else { return count(0) };
    let nanos = |time: Duration| latency(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let within = |part, name: &str| {
        let longest = Histogram::bound(histogram.counts.len() - 2).unwrap_or_default();
        let (is_within, time) = histogram.within(part).map_or(("more than", longest), |time| ("up to", time));
        format!("{name} {is_within} {}", nanos(time))
    };
    format!("{:<14} mean {}, {}, {}", count(histogram.count()), nanos(mean), within(0.5, "half"), within(0.99, "99 %"))
}

fn print_namespaces(out: &mut impl Write, namespaces: &[NamespaceReads]) -> io::Result<()> {
    if namespaces.is_empty() {
        return Ok(());
    }
    section(out, "Namespaces (estimated from one read in sixteen)")?;
    for NamespaceReads { name, hits, misses, .. } in namespaces {
        let ratio = percent(*hits, hits.saturating_add(*misses));
        row(out, name, format_args!("{:<14} hits, {} misses: hit ratio {ratio}", count(*hits), count(*misses)))?;
    }
    Ok(())
}

fn section(out: &mut impl Write, title: &str) -> io::Result<()> {
    writeln!(out, "\n{title}")
}

fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:<16} {value}")
}

/// A count with an explanation.
struct Noted(u64, &'static str);

impl Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14} {}", count(self.0), self.1)
    }
}

fn print_stripes(out: &mut impl Write, stripes: &[StripeStats]) -> io::Result<()> {
    section(out, "Stripes")?;
    writeln!(
        out,
        "  {:>6} {:>10} {:>23} {:>23} {:>12} {:>12} {:>8}  notes",
        "stripe", "items", "small queue", "main queue", "sets", "evictions", "repairs"
    )?;
    for stripe in stripes {
        print_stripe(out, stripe)?;
    }
    Ok(())
}

fn print_stripe(out: &mut impl Write, stripe: &StripeStats) -> io::Result<()> {
    let line = format!(
        "  {:>6} {:>10} {:>23} {:>23} {:>12} {:>12} {:>8}  {}",
        stripe.stripe,
        count(stripe.items),
        fill(stripe.small_used, stripe.small_size),
        fill(stripe.main_used, stripe.main_size),
        count(stripe.counters.sets),
        count(stripe.counters.evictions()),
        count(stripe.repairs),
        notes(stripe),
    );
    writeln!(out, "{}", line.trim_end())
}

fn fill(used: u64, size: u64) -> String {
    format!("{} / {}", format_size(used), format_size(size))
}

/// What is unusual in a stripe.
fn notes(stripe: &StripeStats) -> String {
    let mut notes = Vec::new();
    if let Some(intent) = &stripe.intent {
        notes.push(format!("in flight: {intent}"));
    }
    if let Some(repair) = &stripe.last_repair {
        let (pid, seat) = (repair.by_pid, repair.by_seat);
        notes.push(format!("last repair: {}, by process {pid} (seat {seat})", repair.intent));
    }
    if stripe.verify_me {
        notes.push("not checked yet after a crash of the machine".to_owned());
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_needs_a_read() {
        let mut counters = Counters::default();
        assert_eq!(hit_ratio(&counters), None);
        counters.hits = 3;
        counters.misses = 1;
        assert_eq!(hit_ratio(&counters), Some(0.75));
    }

    #[test]
    fn every_counter_is_shown() {
        let source = include_str!("stat.rs");
        let is_shown = |name: &str| {
            let shown = format!("counters.{name}");
            source.match_indices(&shown).any(|(at, _)| source[at + shown.len()..].starts_with([',', ')']))
        };
        let missing: Vec<_> = Counters::default().iter().map(|(name, _)| name).filter(|name| !is_shown(name)).collect();
        assert_eq!(missing, [""; 0]);
    }
}
