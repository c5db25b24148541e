//! The page for a browser: one self-contained file, without scripts and without access to the network.

use super::charts;
use super::growth::growth;
use super::html::{section, text};
use super::panels::{Panel, panels, regions, strategies};
use super::table::table;
use super::text::BEHIND;
use crate::calls::Calls;
use crate::human::{millions, plural};
use crate::keys::Keys;
use crate::latency::{Latency, QUANTILES};
use crate::load::TIMED_EVERY;
use crate::run::{Measured, Results};
use crate::size::format_size;
use crate::stats::Spread;
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// The results as one self-contained HTML document.
#[must_use]
pub fn page(results: &Results) -> String {
    let panels = panels(results);
    let parts = [
        head(results),
        in_short(&panels),
        words(results),
        throughput(results, &panels),
        by_regions(results),
        growth(results),
        against_each_other(results, &panels),
        latencies(results, &panels),
        table(results),
        method(results),
    ];
    let body: String = parts.concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Kennel: lock strategies compared</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// The index of a strategy among all, which gives it its colour.
fn place(results: &Results, name: &str) -> usize {
    strategies(results).iter().position(|other| *other == name).unwrap_or(0)
}

fn head(results: &Results) -> String {
    let (machine, plan) = (&results.machine, &results.plan);
    let memory = machine.memory.map_or(String::new(), |bytes| format!(", {} of memory", format_size(bytes)));
    let pace = match plan.rate {
        None => "as fast as possible".to_owned(),
        Some(rate) => format!("{} operations a second in all", millions(rate)),
    };
    let facts = [
        ("Machine", format!("{}, {}{memory}", machine.processor, plural(machine.processors as u64, "processor"))),
        ("System", machine.system.clone()),
        ("Data", format!("{} of 16 bytes, each set once before each run", plural(plan.items.into(), "key"))),
        ("Pace", pace),
        (
            "Time",
            format!(
                "{} of {} s for each combination, after a warm-up of {} s",
                plural(plan.rounds.into(), "round"),
                plan.measured.as_secs_f64(),
                plan.warm_up.as_secs_f64()
            ),
        ),
        ("Seed", plan.seed.to_string()),
    ];
    let facts: String =
        facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", text(value))).collect();
    format!(
        "<h1>Lock strategies compared</h1>\n<p class=\"soft\">Several processes read and write one cache file \
         of Kennel. The combinations differ in the lock strategy: how a write excludes others.</p>\n\
         <dl class=\"facts\">\n{facts}</dl>\n"
    )
}

/// The fastest strategies, in words.
fn in_short(panels: &[Panel<'_>]) -> String {
    let lines: String = panels.iter().filter_map(sentence).map(|line| format!("<li>{line}</li>\n")).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("<div class=\"short\">\n<h3>In short</h3>\n<ul>\n{lines}</ul>\n</div>\n")
}

/// Names the fastest strategies, and how far the others are behind. If the ranges of two strategies overlap, neither is
/// faster. So the strategies form groups that do not overlap. Within a group they keep the order of measurement.
fn sentence(panel: &Panel<'_>) -> Option<String> {
    let busiest = panel.busiest();
    let groups = groups(&busiest.iter().map(|one| one.throughput).collect::<Vec<_>>());
    let names = |group: &[usize]| {
        let bold = |&one: &usize| format!("<b>{}</b>", text(&busiest[one].cell.strategy));
        joined(group.iter().map(bold).collect())
    };
    let (first, others) = groups.split_first()?;
    let ahead = range(first, &busiest);
    let does = match first[..] {
        [one] => format!("does {} operations a second", millions(busiest[one].throughput.median)),
        _ => format!(
            "do {} to {} operations a second, and these rounds show no difference between them",
            millions(ahead.0),
            millions(ahead.1)
        ),
    };
    let others = others.iter().map(|group| {
        let behind = range(group, &busiest);
        let (least, most) = (ahead.0 / behind.1.max(1e-9), ahead.1 / behind.0.max(1e-9));
        format!("; {least:.1} to {most:.1} times {}", names(group))
    });
    Some(format!(
        "{}, {}: {} {does}{}.",
        text(&panel.title),
        plural(busiest[first[0]].cell.processes.into(), "process"),
        names(first),
        others.collect::<String>(),
    ))
}

/// The lowest and the highest rate of a group in any round.
fn range(group: &[usize], of: &[&Measured]) -> (f64, f64) {
    let rates = group.iter().map(|&one| of[one].throughput);
    rates.fold((f64::MAX, 0.0), |(least, most), rate| (least.min(rate.min), most.max(rate.max)))
}

/// Groups of the indices of spreads, the highest group first: every spread of a group lies above all spreads of the
/// next group, and no group can be split further. Within a group the indices are in order.
fn groups(spreads: &[Spread]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..spreads.len()).collect();
    order.sort_by(|&one, &other| spreads[other].max.total_cmp(&spreads[one].max));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut least = f64::MAX;
    for one in order {
        match groups.last_mut().filter(|_| spreads[one].max >= least) {
            Some(group) => group.push(one),
            None => {
                groups.push(vec![one]);
                least = f64::MAX;
            }
        }
        least = least.min(spreads[one].min);
    }
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

/// Names as a list in a sentence.
fn joined(mut names: Vec<String>) -> String {
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

/// Explanations of the names in the plots.
fn words(results: &Results) -> String {
    let mut words: Vec<(&str, &str)> = strategies(results).into_iter().map(|name| (name, about(name))).collect();
    words.push((
        "lock region",
        "the share of the keys that one lock protects; writes to two regions do not wait for each other",
    ));
    if results.cells.iter().any(|one| matches!(one.cell.keys, Keys::Zipf { .. })) {
        words.push((
            "Zipf",
            "a few keys get most of the requests, as in most caches; the larger the exponent, the fewer they are",
        ));
    }
    let words: String =
        words.iter().map(|(word, meaning)| format!("<dt>{}</dt><dd>{meaning}</dd>\n", text(word))).collect();
    format!("<dl class=\"facts\">\n{words}</dl>\n")
}

fn about(strategy: &str) -> &'static str {
    match strategy {
        "file" => "a lock file for each lock region, locked by the operating system",
        "lease" => {
            "a word of shared memory for each lock region, locked by one instruction; a lease shows whether its \
             holder was killed"
        }
        "process" => "flags in the memory of one process, which exclude its other threads",
        "none" => "no lock at all: only one thread of one process may write",
        "rw-file" => {
            "one reader/writer lock file for the whole cache, which reads lock, too: the usual way, for comparison"
        }
        _ => "a strategy of the program that measured",
    }
}

fn legend(results: &Results) -> String {
    let names = strategies(results);
    let items = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("<li><i style=\"background:{}\"></i>{}</li>\n", charts::colour(n), text(name)));
    format!("<ul class=\"legend\">\n{}</ul>\n", items.collect::<String>())
}

fn figure(title: &str, drawn: Result<String, Box<dyn std::error::Error>>) -> String {
    let drawn = drawn.unwrap_or_else(|error| format!("<p>The plot could not be drawn: {}</p>", text(error)));
    format!("<figure>\n<h3>{}</h3>\n{drawn}</figure>\n", text(title))
}

fn throughput(results: &Results, panels: &[Panel<'_>]) -> String {
    let of = |panel: &Panel<'_>| figure(&panel.title, charts::throughput(panel, |name| place(results, name)));
    let figures: String = panels.iter().map(of).collect();
    section(
        "throughput",
        "Throughput by processes",
        "Operations a second of all processes together; more is better. Points are medians of the rounds; the broad \
         pale strokes behind them range from the worst round to the best. Where strokes overlap, the \
         difference may be chance.",
        &format!("{}<div class=\"grid\">\n{figures}</div>\n", legend(results)),
    )
}

/// The effect of dividing the lock, if that was measured.
fn by_regions(results: &Results) -> String {
    if regions(results).len() < 2 {
        return String::new();
    }
    let all = panels(results);
    let mut titles: Vec<String> = Vec::new();
    let mut figures = String::new();
    for panel in &all {
        let title = panel.title.rsplit_once(", ").map_or(panel.title.as_str(), |(load, _)| load).to_owned();
        if titles.contains(&title) {
            continue;
        }
        let alike: Vec<&Panel<'_>> = all.iter().filter(|other| other.title.starts_with(&title)).collect();
        let of = |name| {
            let busiest = alike.iter().flat_map(|panel| panel.busiest().into_iter().map(|one| (panel.regions, one)));
            let own = busiest.filter(|(regions, one)| one.cell.strategy == name && one.cell.regions == *regions);
            own.map(|(_, one)| one).collect::<Vec<_>>()
        };
        let series: Vec<(&str, Vec<&Measured>)> = strategies(results)
            .into_iter()
            .map(|name| (name, of(name)))
            .filter(|(_, cells)| !cells.is_empty())
            .collect();
        figures.push_str(&figure(&title, charts::by_regions(&series, |name| place(results, name))));
        titles.push(title);
    }
    section(
        "regions",
        "Throughput by lock regions",
        "Operations a second with the largest number of processes, by the number of lock regions. A strategy that \
         always has one lock is a single point.",
        &format!("{}<div class=\"grid\">\n{figures}</div>\n", legend(results)),
    )
}

fn against_each_other(results: &Results, panels: &[Panel<'_>]) -> String {
    let figures: String = panels.iter().map(|panel| bars(results, panel)).collect();
    section(
        "strategies",
        "Strategy against strategy",
        "Operations a second with the largest number of processes; in parentheses the range over the rounds.",
        &format!("<div class=\"grid\">\n{figures}</div>\n"),
    )
}

fn bars(results: &Results, panel: &Panel<'_>) -> String {
    let busiest = panel.busiest();
    let most = busiest.iter().map(|one| one.throughput.median).fold(1e-9, f64::max);
    let processes = busiest.first().map_or(0, |one| one.cell.processes);
    let mut out = format!(
        "<figure>\n<h3>{}, {}</h3>\n<div class=\"bars\">\n",
        text(&panel.title),
        plural(processes.into(), "process")
    );
    for one in busiest {
        let colour = charts::colour(place(results, &one.cell.strategy));
        // The rest of the width is for the numbers.
        let width = one.throughput.median / most * 58.0;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<div class=\"bar\"><span class=\"name\">{}</span><span class=\"track\">\
             <span class=\"fill\" style=\"width:{width:.1}%;background:{colour}\"></span>\
             <span class=\"value\">{} <span class=\"soft\">({} to {})</span></span></span></div>",
            text(&one.cell.strategy),
            millions(one.throughput.median),
            millions(one.throughput.min),
            millions(one.throughput.max),
        );
    }
    out + "</div>\n</figure>\n"
}

fn latencies(results: &Results, panels: &[Panel<'_>]) -> String {
    let mut figures = String::new();
    for panel in panels {
        for (kind, pick) in [("Reads", reads as fn(&Measured) -> &Latency), ("Writes", writes)] {
            let busiest: Vec<&Measured> = panel.busiest().into_iter().filter(|one| pick(one).count() > 0).collect();
            if let Some(first) = busiest.first() {
                let processes = plural(first.cell.processes.into(), "process");
                let title = format!("{kind}: {}, {processes}", panel.title);
                figures.push_str(&figure(&title, charts::latencies(&busiest, pick, |name| place(results, name))));
            }
        }
    }
    let counted = match results.plan.rate {
        None => "Latencies count from the start of each operation, and the operations follow each other as fast as \
             possible: a stall counts once, however many operations would have arrived meanwhile. Set a rate to see \
             its effect on them."
            .to_owned(),
        Some(rate) => format!(
            "At {} operations a second, latencies count from when each operation was due, so operations that a stall \
             delayed count, too (corrected for coordinated omission).",
            millions(rate)
        ),
    };
    section(
        "latency",
        "Latency curves",
        &format!(
            "The time within which a share of the operations was done; lower is better. The right end shows \
             the rare slow operations: at 99.99 %, one in ten thousand took longer. Both axes are logarithmic. {counted}"
        ),
        &format!("{}<div class=\"grid\">\n{figures}</div>\n", legend(results)),
    )
}

fn reads(measured: &Measured) -> &Latency {
    &measured.reads
}

fn writes(measured: &Measured) -> &Latency {
    &measured.writes
}

fn method(results: &Results) -> String {
    let notes: String = notes(results).iter().map(|note| format!("<li>{}</li>\n", text(note))).collect();
    let not = "<ul>\n\
         <li>They hold for this machine, on this day, with whatever else it did. Compare only within one report.</li>\n\
         <li>They come from a loop that does nothing else. In a program that does other work, processes contend less often.</li>\n\
         <li>They do not show what happens when a process dies or is stopped while it holds a lock.</li>\n</ul>\n";
    section(
        "method",
        "How this was measured",
        "How the numbers came about, so that you can judge them.",
        &format!("<ul>\n{notes}</ul>\n<h3>Limits of these numbers</h3>\n{not}"),
    )
}

/// What a reader must know about the measurement to judge its numbers.
fn notes(results: &Results) -> Vec<String> {
    let timed = match results.plan.rate {
        Some(_) => "Every operation was timed.".to_owned(),
        None => format!(
            "One operation in {TIMED_EVERY} was timed, since reading the clock takes a good part of the time of a read."
        ),
    };
    let quantiles = QUANTILES.map(|(_, name)| name).join(", ");
    let mut notes = vec![
        "Each worker is a separate process. Its operations are drawn before the start and then repeated, so no number \
         includes the drawing. Each run has a fresh file."
            .to_owned(),
        "A read copies the value into a buffer and checks that it belongs to the key. A write follows a read that \
         misses, as in a program that then fetches the value from its source."
            .to_owned(),
        format!("{timed} Reading the clock takes {} ns here, which every latency includes.", results.machine.clock_ns),
        format!("Latencies have three significant digits; the JSON has {quantiles}."),
        format!(
            "The combinations were measured one after the other, and all of them {}, so that a disturbance of the \
         machine affected all of them.",
            match results.plan.rounds {
                1 => "once".to_owned(),
                n => format!("{n} times"),
            }
        ),
    ];
    if let Some(why) = results.cells.iter().find_map(|one| match &one.system_calls {
        Calls::Not { not_counted } => Some(not_counted),
        Calls::Counted { .. } => None,
    }) {
        notes.push(format!("System calls were not counted: {why}."));
    }
    notes.extend(results.behind().map(|one| {
        let (done, rate) = (one.throughput.median, results.plan.rate.unwrap_or_default());
        let (done, rate) = (millions(done), millions(rate));
        format!("Behind the rate: {} did {done} of {rate} operations a second; {BEHIND}.", one.cell)
    }));
    if results
        .cells
        .iter()
        .any(|one| one.cell.processes as usize * one.cell.threads as usize > results.machine.processors)
    {
        notes.push(
            "Some combinations have more threads than the machine has processors. Their slowest operations then show \
             how long the system lets a thread wait for a processor, not what a lock costs."
                .to_owned(),
        );
    }
    if results.cells.iter().any(|one| matches!(one.cell.keys, Keys::Recorded { .. })) {
        notes.push(
            "A trace gives the keys and their order; the share of writes decides which operations write.".to_owned(),
        );
    }
    notes.extend(results.left_out.iter().map(|left| format!("Left out: {}, because {}.", left.what, left.why)));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(min: f64, max: f64) -> Spread {
        Spread { min, median: (min + max) / 2.0, max }
    }

    #[test]
    fn what_overlaps_has_no_order() {
        let apart = [spread(1.0, 2.0), spread(5.0, 6.0), spread(3.0, 4.0)];
        assert_eq!(groups(&apart), [vec![1], vec![2], vec![0]]);
        let overlapping = [spread(1.0, 3.0), spread(2.0, 4.0), spread(0.1, 0.2)];
        assert_eq!(groups(&overlapping), [vec![0, 1], vec![2]]);
        // The first and the last are apart, but the one between them overlaps both.
        let chain = [spread(1.0, 3.0), spread(5.0, 7.0), spread(2.0, 6.0)];
        assert_eq!(groups(&chain), [vec![0, 1, 2]]);
        assert_eq!(groups(&[]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn names_are_a_list() {
        let joined = |names: &[&str]| joined(names.iter().map(ToString::to_string).collect());
        assert_eq!(joined(&["a"]), "a");
        assert_eq!(joined(&["a", "b"]), "a and b");
        assert_eq!(joined(&["a", "b", "c"]), "a, b and c");
    }
}
