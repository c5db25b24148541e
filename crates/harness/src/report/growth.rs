//! How the cost of an operation grows: with data, processes, the size of values, keys of a call, and lock regions.

use super::charts::{self, Curve, Scale};
use super::html::{section, text};
use crate::latency::Percentiles;
use crate::plan::Cell;
use crate::run::{Measured, Results};
use crate::size::format_size;
use crate::stats::Spread;
use kennel::LargePages;

type Drawn = Result<String, Box<dyn std::error::Error + Send + Sync>>;

/// A parameter that a plot has on its horizontal axis.
struct Dimension {
    /// The end of the plot's name.
    name: &'static str,
    title: &'static str,
    of: fn(&Cell) -> u64,
    /// Removes the parameter from a cell, to find the cells that differ in nothing else.
    without: fn(&mut Cell),
    label: fn(u64) -> String,
}

const DIMENSIONS: [Dimension; 5] = [
    Dimension {
        name: "data",
        title: "bytes of all records",
        of: |cell| cell.data_size.unwrap_or(0),
        without: |cell| cell.data_size = None,
        label: format_size,
    },
    Dimension {
        name: "processes",
        title: "processes",
        of: |cell| cell.processes.into(),
        without: |cell| cell.processes = 0,
        label: |n| n.to_string(),
    },
    Dimension {
        name: "value-size",
        title: "bytes of a value",
        of: |cell| cell.value_size as u64,
        without: |cell| cell.value_size = 0,
        label: format_size,
    },
    Dimension {
        name: "batch",
        title: "keys of a call",
        of: |cell| cell.batch.into(),
        without: |cell| cell.batch = 0,
        label: |n| n.to_string(),
    },
    Dimension {
        name: "regions",
        title: "lock regions",
        of: |cell| cell.regions.into(),
        without: |cell| cell.regions = 0,
        label: |n| n.to_string(),
    },
];

/// A measure of a cell.
struct Measure {
    /// The beginning of the plot's name.
    name: &'static str,
    title: &'static str,
    scale: Scale,
    of: fn(&Measured) -> Option<Spread>,
    /// The only dimension against which to plot the measure; `None` means each dimension.
    only: Option<&'static str>,
}

const MEASURES: [Measure; 4] = [
    Measure { name: "cost", title: "ns per operation", scale: Scale::FromZero, of: |one| Some(cost(one)), only: None },
    Measure {
        name: "slow-reads",
        title: "99.9 % of reads within",
        scale: Scale::Powers,
        of: |one| tail(&one.read_latency),
        only: Some("processes"),
    },
    Measure {
        name: "slow-writes",
        title: "99.9 % of writes within",
        scale: Scale::Powers,
        of: |one| tail(&one.write_latency),
        only: Some("processes"),
    },
    Measure {
        name: "fairness",
        title: "least by most operations",
        scale: Scale::Share,
        of: |one| Some(exactly(one.fairness.min_by_max)).filter(|_| one.cell.processes > 1),
        only: Some("processes"),
    },
];

/// The number of nanoseconds per operation, for the operations of all processes together.
fn cost(one: &Measured) -> Spread {
    let Spread { min, median, max } = one.throughput;
    let nanos = |rate: f64| 1e9 / rate.max(1e-9);
    Spread { min: nanos(max), median: nanos(median), max: nanos(min) }
}

fn tail(latency: &Option<Percentiles>) -> Option<Spread> {
    latency.as_ref().map(|all| exactly(all.p99_9_ns as f64))
}

fn exactly(value: f64) -> Spread {
    Spread { min: value, median: value, max: value }
}

/// A plot: what all its cells have in common, and the drawing.
struct Plot {
    name: String,
    title: String,
    drawn: Drawn,
}

fn all(results: &Results) -> Vec<Plot> {
    let mut plots = Vec::new();
    for dimension in &DIMENSIONS {
        for measure in MEASURES.iter().filter(|measure| measure.only.is_none_or(|only| only == dimension.name)) {
            plots.extend(of(results, dimension, measure));
        }
    }
    plots
}

/// The plots of a measure against a dimension: one for each load of which several values were measured.
fn of(results: &Results, dimension: &Dimension, measure: &Measure) -> Vec<Plot> {
    let load = |one: &Measured| {
        let mut load = Cell { strategy: String::new(), large_pages: LargePages::Auto, ..one.cell.clone() };
        (dimension.without)(&mut load);
        load
    };
    let mut loads: Vec<Cell> = Vec::new();
    for load in results.cells.iter().map(load) {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    let plot = |wanted: &Cell| {
        let cells: Vec<&Measured> = results.cells.iter().filter(|one| load(one) == *wanted).collect();
        let mut values: Vec<u64> = cells.iter().map(|one| (dimension.of)(&one.cell)).collect();
        values.sort_unstable();
        values.dedup();
        let curves = curves(&cells, dimension, measure);
        // A single value does not make a curve.
        if values.len() < 2 || curves.is_empty() {
            return None;
        }
        let name = format!("{}-by-{}", measure.name, dimension.name);
        let drawn = charts::growth(&values, dimension.label, dimension.title, measure.title, measure.scale, &curves);
        Some(Plot { name, title: title(&cells, dimension), drawn: drawn.map_err(|error| error.to_string().into()) })
    };
    loads.iter().filter_map(plot).collect()
}

/// A curve for each strategy and choice of pages, and for the limit.
fn curves(cells: &[&Measured], dimension: &Dimension, measure: &Measure) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    let has_pages = cells.iter().any(|one| one.cell.large_pages != cells[0].cell.large_pages);
    let mut add = |name: String, at: u64, spread: Spread| match curves.iter_mut().find(|curve| curve.name == name) {
        Some(curve) => curve.points.push((at, spread)),
        None => curves.push(Curve { name, points: vec![(at, spread)] }),
    };
    let mut limits: Vec<(u64, Spread)> = Vec::new();
    for one in cells {
        let at = (dimension.of)(&one.cell);
        let Some(spread) = (measure.of)(one) else { continue };
        let pages = if has_pages { format!(", large pages {}", one.cell.large_pages) } else { String::new() };
        add(format!("{}{pages}", one.cell.strategy), at, spread);
        limits.extend(
            one.limit_ns
                .filter(|_| measure.name == "cost" && !limits.iter().any(|limit| limit.0 == at))
                .map(|limit| (at, limit)),
        );
    }
    limits.into_iter().for_each(|(at, limit)| add("limit of a read".to_owned(), at, limit));
    for curve in &mut curves {
        curve.points.sort_by_key(|point| point.0);
    }
    curves
}

fn title(cells: &[&Measured], dimension: &Dimension) -> String {
    let Some(cell) = cells.first().map(|one| &one.cell) else { return String::new() };
    let parts = [
        ("", format!("{} % writes", cell.write_percent)),
        ("value-size", format!("{} values", format_size(cell.value_size as u64))),
        ("", cell.keys.to_string()),
        ("processes", format!("{} × {} threads", cell.processes, cell.threads)),
        ("regions", format!("{} lock regions", cell.regions)),
        ("batch", if cell.batch > 1 { format!("{} keys of a call", cell.batch) } else { String::new() }),
        ("data", cell.data_size.map_or(String::new(), |bytes| format!("{} of data", format_size(bytes)))),
    ];
    let parts = parts.into_iter().filter(|(name, part)| *name != dimension.name && !part.is_empty());
    parts.map(|(_, part)| part).collect::<Vec<_>>().join(", ")
}

/// The section of the page; empty if no parameter has several values.
pub(super) fn growth(results: &Results) -> String {
    let figure = |plot: Plot| {
        let drawn = plot.drawn.unwrap_or_else(|error| format!("<p>The plot could not be drawn: {}</p>", text(error)));
        format!("<figure>\n<h3>{}</h3>\n{drawn}</figure>\n", text(&plot.title))
    };
    let figures: String = all(results).into_iter().map(figure).collect();
    if figures.is_empty() {
        return String::new();
    }
    section(
        "growth",
        "How cost grows",
        "Nanoseconds per operation of all processes together; less is better. Each plot varies one parameter. The limit is \
         the least that a read from a file of that size must do: a hash, a line of a bucket, a record, a copy. It has no \
         writes and small pages. Beside the number of processes, also the time within which 999 of 1000 operations were \
         done, and the operations of the slowest process divided by those of the fastest.",
        &format!("<div class=\"grid\">\n{figures}</div>\n"),
    )
}

/// The first plot of each kind: its name, such as `cost-by-data`, and an SVG.
pub fn plots(results: &Results) -> Vec<(String, Drawn)> {
    let mut plots: Vec<(String, Drawn)> = Vec::new();
    for plot in all(results) {
        if !plots.iter().any(|(name, _)| *name == plot.name) {
            plots.push((plot.name, plot.drawn));
        }
    }
    plots
}
