//! `kennel far stat`: what a near file shows without the server.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use kennel_far::{Master, NearTier, ProcessReport, Seat};
use kennel_harness::human::count;
use serde_json::{Map, Value, json};

use super::tier::NearArgs;
use crate::cmd::outcome::{CliResult, hit_or_miss};
use crate::output::{print_json, stdout, unless_reader_gone, warn};

/// Show whether a near cache is proved, which processes track, and what the processes of this host did with it.
///
/// The command reads only the file, without a lock and without the server. Its numbers are those that processes with
/// keepers report once a second; they cover all processes since the file was created.
///
/// The exit status is 1 when a near cache of the file is not proved, so that reads go to the server, or when no process
/// uses the file as a near cache.
///
/// Example: kennel far stat /dev/shm/app.kennel
#[derive(Args)]
pub struct StatArgs {
    #[command(flatten)]
    near: NearArgs,
    /// Write a JSON object instead; docs/json.md lists its fields.
    #[arg(long)]
    json: bool,
}

/// What the counters mean; the others are explained by their names.
const EXPLAINED: [(&str, &str); 21] = [
    ("hits", "reads that the near cache answered"),
    ("absent_hits", "reads that it answered with a remembered absence"),
    ("brief_hits", "such hits for which nothing was proved, within --max-staleness"),
    ("fills", "values and absences fetched and stored"),
    ("voided", "fetched, but not stored: the key had changed meanwhile"),
    ("hot_keys", "keys left out for a second: they changed too often"),
    ("bypasses", "reads that went to the server and stored nothing"),
    ("untrusted", "looks for which nothing was proved"),
    ("outside", "reads of keys with other prefixes"),
    ("too_large", "values too large to be stored"),
    ("writes", "writes to the server"),
    ("creations", "values created under a lease of the server"),
    ("lost_leases", "creations that took longer than their lease"),
    ("escalations", "deletions that failed: everything was invalidated"),
    ("revocations", "all proofs taken back: a failed invalidation, or another master"),
    ("unshielded", "writes after which nothing could be deleted"),
    ("tracked", "connections on which tracking was on"),
    ("pushes", "messages that keys had changed"),
    ("pushed_keys", "keys in these messages"),
    ("flushes", "invalidations of everything by trackers"),
    ("proofs", "proofs by trackers"),
];

pub fn run(args: &StatArgs) -> CliResult {
    let tiers = args.near.inspect()?;
    let is_proved = !tiers.is_empty() && tiers.iter().all(NearTier::is_proved);
    let printed = if args.json {
        let tiers: Vec<Value> = tiers.iter().map(document).collect();
        print_json(&json!({ "path": args.near.file.display().to_string(), "proved": is_proved, "tiers": tiers }))
    } else {
        print_text(&args.near.file.display().to_string(), &tiers)
    };
    unless_reader_gone(printed)?;
    if tiers.is_empty() {
        warn(&format!("no process has used {} as a near cache", args.near.file.display()));
    }
    Ok(hit_or_miss(is_proved))
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn document(tier: &NearTier) -> Value {
    let counters: Map<String, Value> =
        tier.totals.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "namespace": tier.namespace,
        "prefixes": prefixes(tier),
        "database": tier.processes.first().map(|process| process.database),
        "max_staleness_ms": tier.max_staleness().map(millis),
        "proof_age_ms": tier.proof_age.map(millis),
        "proved": tier.is_proved(),
        "masters": tier.masters.iter().map(master_document).collect::<Vec<_>>(),
        "seats": tier.seats.iter().map(seat_document).collect::<Vec<_>>(),
        "processes": tier.processes.iter().map(process_document).collect::<Vec<_>>(),
        "counters": counters,
    })
}

fn seat_document(seat: &Seat) -> Value {
    json!({
        "name": seat.name,
        "held": seat.is_held,
        "pid": seat.pid,
        "connections": seat.connections.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        "problem": seat.problem,
    })
}

fn master_document(master: &Master) -> Value {
    json!({
        "id": master.id,
        "address": master.address,
        "slots": master.slots,
        "proof_age_ms": master.proof_age.map(millis),
    })
}

fn process_document(process: &ProcessReport) -> Value {
    json!({
        "pid": process.pid,
        "seat": process.seat,
        "round_trip_us": u64::try_from(process.round_trip.as_micros()).unwrap_or(u64::MAX),
        "problem": process.problem,
    })
}

fn prefixes(tier: &NearTier) -> Vec<String> {
    let prefixes = tier.processes.first().map(|process| process.prefixes.as_slice()).unwrap_or_default();
    prefixes.iter().map(|prefix| prefix.escape_ascii().to_string()).collect()
}

fn print_text(path: &str, tiers: &[NearTier]) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{path}")?;
    tiers.iter().try_for_each(|tier| print_tier(&mut out, tier))?;
    out.flush()
}

fn print_tier(out: &mut impl Write, tier: &NearTier) -> io::Result<()> {
    let prefixes = prefixes(tier);
    let of = if prefixes.is_empty() { tier.namespace.clone() } else { prefixes.join(", ") };
    writeln!(out, "\nNear cache of {of}")?;
    row(out, "proof", proof(tier))?;
    for master in &tier.masters {
        let age = master.proof_age.map_or_else(|| "no proof".to_owned(), age_in_words);
        row(out, "master", format_args!("{}, {} slots, {age}", master.address, count(master.slots as u64)))?;
    }
    for seat in &tier.seats {
        row(out, seat.name, seat_in_words(seat))?;
    }
    if tier.seats.is_empty() {
        row(out, "seats", "nobody has ever tracked")?;
    }
    row(out, "processes", processes(tier))?;
    for process in &tier.processes {
        if let Some(problem) = &process.problem {
            row(out, "problem", format_args!("process {}: {problem}", process.pid))?;
        }
    }
    if tier.totals.round_trip_us > 0 {
        row(out, "round trip", format_args!("{} µs to the server and back", count(tier.totals.round_trip_us)))?;
    }
    for (name, value) in tier.totals.iter() {
        if let Some((_, meaning)) = EXPLAINED.iter().find(|(explained, _)| *explained == name) {
            row(out, &name.replace('_', " "), format_args!("{:<14} {meaning}", count(value)))?;
        }
    }
    Ok(())
}

fn age_in_words(age: Duration) -> String {
    format!("{:.2} s old", age.as_secs_f64())
}

fn proof(tier: &NearTier) -> String {
    let age = match tier.proof_age {
        None => "none".to_owned(),
        Some(age) => age_in_words(age),
    };
    match tier.max_staleness() {
        None => format!("{age}; no running process uses this near cache"),
        Some(most) if tier.is_proved() => format!("{age}, of at most {} s: proved", most.as_secs_f64()),
        Some(most) => format!("{age}, of at most {} s: NOT PROVED, reads go to the server", most.as_secs_f64()),
    }
}

fn seat_in_words(seat: &Seat) -> String {
    if let Some(problem) = &seat.problem {
        return format!("cannot be looked at: {problem}");
    }
    if !seat.is_held {
        return "free".to_owned();
    }
    let pid = seat.pid.map_or_else(|| "a process of another container".to_owned(), |pid| format!("process {pid}"));
    let numbers: Vec<String> = seat.connections.iter().map(|(number, _)| number.to_string()).collect();
    match numbers.as_slice() {
        [] => format!("{pid}, not connected"),
        [one] => format!("{pid}, connection {one} of the server"),
        many => format!("{pid}, connections {}", many.join(", ")),
    }
}

fn processes(tier: &NearTier) -> String {
    let pids: Vec<String> = tier.processes.iter().map(|process| process.pid.to_string()).collect();
    if pids.is_empty() { "none".to_owned() } else { format!("{} with keepers: {}", pids.len(), pids.join(", ")) }
}

fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:<16} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_shown() {
        let stats = kennel_far::Stats::default();
        let shown = |name: &str| name == "round_trip_us" || EXPLAINED.iter().any(|(explained, _)| *explained == name);
        let missing: Vec<_> = stats.iter().map(|(name, _)| name).filter(|name| !shown(name)).collect();
        assert_eq!(missing, [""; 0]);
        assert_eq!(stats.iter().count(), EXPLAINED.len() + 1);
    }
}
