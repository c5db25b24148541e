//! One page for a browser, with everything in it: no file beside it, no script, nothing from the network.

use super::charts;
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

/// Results as one HTML document that can be understood without any other.
#[must_use]
pub fn page(results: &Results) -> String {
    let panels = panels(results);
    let parts = [
        head(results),
        in_short(&panels),
        words(results),
        throughput(results, &panels),
        by_regions(results),
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

/// The place of a strategy among all: its colour.
fn place(results: &Results, name: &str) -> usize {
    strategies(results).iter().position(|other| *other == name).unwrap_or(0)
}

fn head(results: &Results) -> String {
    let (machine, plan) = (&results.machine, &results.plan);
    let memory = machine.memory.map_or(String::new(), |bytes| format!(", {} of memory", format_size(bytes)));
    let pace = match plan.rate {
        None => "as fast as it goes".to_owned(),
        Some(rate) => format!("{} operations a second in all", millions(rate)),
    };
    let facts = [
        ("Machine", format!("{}, {}{memory}", machine.processor, plural(machine.processors as u64, "processor"))),
        ("System", machine.system.clone()),
        ("Data", format!("{} of 16 bytes, every one set once before each run", plural(plan.items.into(), "key"))),
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
        "<h1>Lock strategies compared</h1>\n<p class=\"soft\">Processes share one cache file of \
         Kennel and read and write it. What differs is how a write keeps others out: the lock strategy.</p>\n\
         <dl class=\"facts\">\n{facts}</dl>\n"
    )
}

/// Who is ahead, in words.
fn in_short(panels: &[Panel<'_>]) -> String {
    let lines: String = panels.iter().filter_map(sentence).map(|line| format!("<li>{line}</li>\n")).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("<div class=\"short\">\n<h3>In short</h3>\n<ul>\n{lines}</ul>\n</div>\n")
}

/// Which strategies are ahead, and by how much. Rounds whose ranges overlap tell no order, so strategies are in groups
/// that do not overlap, and in a group in the order in which they were measured.
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
            "do {} to {} operations a second, with no difference that these rounds could tell",
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

/// From the least to the most of what a group did in any round.
fn range(group: &[usize], of: &[&Measured]) -> (f64, f64) {
    let rates = group.iter().map(|&one| of[one].throughput);
    rates.fold((f64::MAX, 0.0), |(least, most), rate| (least.min(rate.min), most.max(rate.max)))
}

/// The places of some spreads in groups, the greatest first: every spread of a group lies above all of the next one, and a
/// group cannot be divided so. Within a group they are in their order.
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

/// What the names in the plots stand for.
fn words(results: &Results) -> String {
    let mut words: Vec<(&str, &str)> = strategies(results).into_iter().map(|name| (name, about(name))).collect();
    words.push((
        "lock region",
        "the part of the keys that one lock protects; writes of two parts do not wait for each other",
    ));
    if results.cells.iter().any(|one| matches!(one.cell.keys, Keys::Zipf { .. })) {
        words.push(("Zipf", "a few keys get most of the requests, as with most caches; a larger exponent, fewer keys"));
    }
    let words: String =
        words.iter().map(|(word, meaning)| format!("<dt>{}</dt><dd>{meaning}</dd>\n", text(word))).collect();
    format!("<dl class=\"facts\">\n{words}</dl>\n")
}

fn about(strategy: &str) -> &'static str {
    match strategy {
        "file" => "a lock file for each lock region, by the system's locks of files",
        "lease" => {
            "a word of the shared memory for each lock region, taken by one instruction; a killed holder is known by its \
             lease"
        }
        "process" => "flags in the memory of one process, whose threads they keep apart",
        "none" => "no lock at all: one thread of one process writes",
        "rw-file" => {
            "one reader/writer lock file for everything, which reads take as well: what is usual, for comparison"
        }
        _ => "a lock that the program brought which measured",
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
    let drawn = drawn.unwrap_or_else(|error| format!("<p>This could not be drawn: {}</p>", text(error)));
    format!("<figure>\n<h3>{}</h3>\n{drawn}</figure>\n", text(title))
}

fn throughput(results: &Results, panels: &[Panel<'_>]) -> String {
    let of = |panel: &Panel<'_>| figure(&panel.title, charts::throughput(panel, |name| place(results, name)));
    let figures: String = panels.iter().map(of).collect();
    section(
        "throughput",
        "Throughput by processes",
        "Operations a second of all processes together; more is better. Points are medians of the rounds, the broad \
         pale strokes behind them reach from the worst round to the best. Where strokes overlap, the \
         difference may be chance.",
        &format!("{}<div class=\"grid\">\n{figures}</div>\n", legend(results)),
    )
}

/// What splitting the lock brings, where that was measured.
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
        "The same with the most processes, by the number of locks that the file is divided into. A strategy with one \
         lock whatever happens is a single point.",
        &format!("{}<div class=\"grid\">\n{figures}</div>\n", legend(results)),
    )
}

fn against_each_other(results: &Results, panels: &[Panel<'_>]) -> String {
    let figures: String = panels.iter().map(|panel| bars(results, panel)).collect();
    section(
        "strategies",
        "Strategy against strategy",
        "Operations a second with the most processes that were measured; the range is that of the rounds.",
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
        // What is left of the width is for the numbers.
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
        None => {
            "Counted from the start of each operation, as fast as they go: a stall counts once, however many would \
                 have come meanwhile. Give a rate to see what it does to them."
                .to_owned()
        }
        Some(rate) => format!(
            "At {} operations a second, counted from when each operation was due: who had to wait for a stall is counted, \
             too (corrected for coordinated omission).",
            millions(rate)
        ),
    };
    section(
        "latency",
        "Latency curves",
        &format!(
            "How many of the operations were done within which time; lower is better, and the right end is \
             the rare slow ones: at 99.99 % one in ten thousand took longer. Both axes are logarithmic. {counted}"
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
    let timed = match results.plan.rate {
        Some(_) => "Every operation was timed.".to_owned(),
        None => format!(
            "One operation in {TIMED_EVERY} was timed, since a look at the clock takes a good part of what a read takes."
        ),
    };
    let quantiles = QUANTILES.map(|(_, name)| name).join(", ");
    let mut notes = vec![
        "Each worker is a process of its own. What it asks for is drawn before the start and then repeated, so drawing \
         is no part of any number. Each run has a fresh file."
            .to_owned(),
        "A read copies the value into a buffer and checks that it is its key's. A read that misses is followed by a \
         write, as in a program that then fetches the value from elsewhere."
            .to_owned(),
        format!("{timed} A look at the clock takes {} ns here, and is part of every latency.", results.machine.clock_ns),
        format!("Latencies keep three digits; the JSON has {quantiles}."),
        format!("The combinations were measured one after the other, and all of that {}, so that what disturbed the machine for a while \
         disturbed all of them.", match results.plan.rounds { 1 => "once".to_owned(), n => format!("{n} times") }),
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
            "A trace gives the keys and their order; what is a write follows from the share of writes.".to_owned(),
        );
    }
    notes.extend(results.left_out.iter().map(|left| format!("Left out: {}, because {}.", left.what, left.why)));
    let notes: String = notes.iter().map(|note| format!("<li>{}</li>\n", text(note))).collect();
    let not = "<ul>\n\
         <li>They are those of this machine, on this day, with whatever else it did. Compare within one report.</li>\n\
         <li>They are of a loop that does nothing else. A program with work of its own meets others less often.</li>\n\
         <li>They say nothing of what happens when a process dies, or is stopped, with a lock in its hand.</li>\n</ul>\n";
    section(
        "method",
        "How this was measured",
        "What is behind the numbers, so that you can tell what they are worth.",
        &format!("<ul>\n{notes}</ul>\n<h3>What the numbers do not say</h3>\n{not}"),
    )
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
        // The first and the last are apart, and the one between them is not from either.
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
