//! `cargo xtask picture`: draws the README's picture, what a read costs in Kennel and in other stores.
//!
//! The figures are those that `cargo xtask speed --json` writes. A test compares the picture in the repository with what
//! this command draws, and the table in `docs/benchmarks.md` with the figures.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::toolchain::root;

const FIGURES: &str = "docs/plots/speed.json";
const PICTURE: &str = "docs/plots/reads.svg";
/// The row of `speed` for a read.
const READ: &str = "get_into 64 B, 16 MiB";
/// The groups of the picture: a heading, and each other store under its name in `speed` and its name in the picture.
/// Kennel stands in each group, since only the figures of one group can be compared.
const GROUPS: [(&str, &[(&str, &str)]); 2] = [
    ("Beside stores that use a file", &[("LMDB", "LMDB"), ("SQLite", "SQLite")]),
    (
        "Beside servers on this host, over a Unix socket",
        &[("memcached, Unix socket", "memcached"), ("Redis, Unix socket", "Redis")],
    ),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The figures: a file that `cargo xtask speed --json` wrote [default: docs/plots/speed.json]
    figures: Option<PathBuf>,
    /// The picture to write [default: docs/plots/reads.svg]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let rows = read_rows(&args.figures.unwrap_or_else(|| root().join(FIGURES)))?;
    let to = args.to.unwrap_or_else(|| root().join(PICTURE));
    std::fs::write(&to, draw(&groups(&rows)?)?).with_context(|| to.display().to_string())?;
    println!("drew {}", to.display());
    Ok(ExitCode::SUCCESS)
}

/// A comparison, as `speed` writes it.
struct Row {
    name: String,
    kennel_ns: f64,
    other: String,
    other_ns: f64,
}

fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    rows.iter().map(|row| row_of(row).with_context(|| format!("{}: a row lacks a field", path.display()))).collect()
}

fn row_of(row: &Value) -> Option<Row> {
    Some(Row {
        name: row["name"].as_str()?.to_owned(),
        kennel_ns: row["kennel_ns"].as_f64()?,
        other: row["other"].as_str()?.to_owned(),
        other_ns: row["other_ns"].as_f64()?,
    })
}

/// A heading and its bars.
type Group = (&'static str, Vec<Bar>);

struct Bar {
    store: &'static str,
    nanos: f64,
}

fn groups(rows: &[Row]) -> Result<Vec<Group>> {
    GROUPS.iter().map(|&(heading, stores)| Ok((heading, bars(rows, stores)?))).collect()
}

fn bars(rows: &[Row], stores: &[(&str, &'static str)]) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    for &(other, store) in stores {
        let row = rows.iter().find(|row| row.name == READ && row.other == other);
        let row = row.with_context(|| format!("the figures have no row `{READ}` against `{other}`"))?;
        if bars.is_empty() {
            bars.push(Bar { store: "Kennel", nanos: row.kennel_ns });
        }
        bars.push(Bar { store, nanos: row.other_ns });
    }
    Ok(bars)
}

/// Width of the picture. GitHub shows it as wide as this on a desktop, and as wide as the screen on a phone.
const WIDTH: f64 = 420.0;
/// The left edge of the bars.
const LEFT: f64 = 114.0;
/// Where the axis begins, as a power of ten of nanoseconds.
const FIRST_DECADE: i32 = 1;
/// Where the axis ends. A bar that reaches the end leaves room for its number.
const LAST_DECADE: i32 = 5;
const DECADE: f64 = 58.0;
const TOP: f64 = 40.0;
const HEADING: f64 = 34.0;
const BAR: f64 = 22.0;
const GAP: f64 = 7.0;
const AXIS: f64 = 52.0;

/// Colours for light pages, and for dark ones. The picture has a background of its own, so that its text is readable
/// also where the page and the system disagree about the mode.
const STYLE: &str = "\
  text { font: 16px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .quiet { font-size: 15px; fill: #57606a }
  .page { fill: #ffffff; stroke: #d0d7de }
  .grid { stroke: #d8dee4 }
  .kennel { fill: #0969da }
  .other { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9da7b3 }
    .page { fill: #0d1117; stroke: #30363d }
    .grid { stroke: #2a3038 }
    .kennel { fill: #4493f8 }
    .other { fill: #6e7681 }
  }
";

fn draw(groups: &[Group]) -> Result<String> {
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let bottom = TOP + HEADING * groups.len() as f64 + (BAR + GAP) * bars as f64;
    let height = bottom + AXIS;
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">Time of one read of 64 bytes</title>\n\
         <desc id=\"desc\">{}</desc>\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"16\" y=\"30\">Time of one read of 64 bytes</text>",
        in_words(groups),
        WIDTH - 1.0,
        height - 1.0,
    )?;
    let mut y = TOP;
    for (heading, bars) in groups {
        writeln!(svg, "<text class=\"quiet\" x=\"16\" y=\"{}\">{heading}</text>", y + 22.0)?;
        y += HEADING;
        draw_grid(&mut svg, y - 4.0, y + (BAR + GAP) * bars.len() as f64)?;
        for bar in bars {
            draw_bar(&mut svg, bar, y)?;
            y += BAR + GAP;
        }
    }
    draw_scale(&mut svg, bottom)?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// The powers of ten of the axis, in nanoseconds, and where they are.
fn decades() -> impl Iterator<Item = (f64, f64)> {
    (FIRST_DECADE..=LAST_DECADE).map(|decade| 10f64.powi(decade)).map(|nanos| (nanos, x_of(nanos)))
}

fn draw_grid(svg: &mut String, top: f64, bottom: f64) -> Result<()> {
    for (_, x) in decades() {
        writeln!(svg, "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\"/>")?;
    }
    Ok(())
}

/// The labels below the bars.
fn draw_scale(svg: &mut String, bottom: f64) -> Result<()> {
    let labels = decades().map(|(nanos, x)| (x, bottom + 17.0, time(nanos)));
    let scale = (WIDTH / 2.0, bottom + 40.0, "logarithmic: each line is ten times the line before".to_owned());
    for (x, y, label) in labels.chain([scale]) {
        writeln!(svg, "<text class=\"quiet\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>")?;
    }
    Ok(())
}

fn draw_bar(svg: &mut String, Bar { store, nanos }: &Bar, y: f64) -> Result<()> {
    let (end, baseline) = (x_of(*nanos), y + 16.5);
    let class = if *store == "Kennel" { "kennel" } else { "other" };
    writeln!(svg, "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{store}</text>", LEFT - 8.0)?;
    writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        end - LEFT
    )?;
    writeln!(svg, "<text x=\"{:.1}\" y=\"{baseline}\">{}</text>", end + 6.0, time(*nanos))?;
    Ok(())
}

fn x_of(nanos: f64) -> f64 {
    LEFT + (nanos.log10() - f64::from(FIRST_DECADE)).clamp(0.0, f64::from(LAST_DECADE - FIRST_DECADE)) * DECADE
}

/// A time with two or three digits, as the picture shows it.
fn time(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        ..1e4 if nanos % 1e3 != 0.0 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.0} µs", nanos / 1e3),
    }
}

/// The picture for those who do not see it.
fn in_words(groups: &[Group]) -> String {
    let in_words = |(heading, bars): &Group| {
        let bars: Vec<String> = bars.iter().map(|Bar { store, nanos }| format!("{store} {}", time(*nanos))).collect();
        format!("{heading}: {}.", bars.join(", "))
    };
    groups.iter().map(in_words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(path: &str) -> String {
        std::fs::read_to_string(root().join(path)).unwrap()
    }

    fn kept_groups() -> Vec<Group> {
        groups(&read_rows(&root().join(FIGURES)).unwrap()).unwrap()
    }

    #[test]
    fn the_picture_shows_the_figures_that_are_kept() {
        let drawn = draw(&kept_groups()).unwrap();
        assert_eq!(text_of(PICTURE), drawn, "draw it again: cargo xtask picture");
    }

    /// The README is also shown where pictures are not.
    #[test]
    fn the_readme_says_in_words_what_the_picture_shows() {
        let alt = format!("![Time of one read of 64 bytes. {}]({PICTURE})", in_words(&kept_groups()));
        assert!(text_of("README.md").contains(&alt), "the README lacks: {alt}");
    }

    #[test]
    fn the_picture_needs_nothing_beside_it_and_is_small() {
        let picture = text_of(PICTURE);
        assert!(picture.len() < 10 << 10);
        for other in ["href", "url(", "@import", "<image", "<script", "<foreignObject"] {
            assert!(!picture.contains(other), "{other}");
        }
        assert_eq!(picture.matches("http").count(), 1, "the name space of SVG only");
    }

    #[test]
    fn the_table_in_the_documents_is_of_the_same_run() {
        let page = text_of("docs/benchmarks.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| what ")).skip(2);
        let listed: Vec<[String; 4]> = rows.map_while(first_cells).collect();
        let nanos = |nanos: f64| if nanos < 100.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") };
        let kept = read_rows(&root().join(FIGURES)).unwrap();
        let kept: Vec<_> = kept
            .iter()
            .map(|row| [row.name.clone(), nanos(row.kennel_ns), row.other.clone(), nanos(row.other_ns)])
            .collect();
        assert_eq!(listed, kept);
    }

    fn first_cells(line: &str) -> Option<[String; 4]> {
        let cells: Vec<String> =
            line.strip_prefix('|')?.split('|').take(4).map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    }

    #[test]
    fn times_have_two_or_three_digits() {
        let times = [10.0, 75.0, 123.4, 1000.0, 2404.0, 10_000.0, 74_039.0].map(time);
        assert_eq!(times, ["10 ns", "75 ns", "123 ns", "1 µs", "2.4 µs", "10 µs", "74 µs"]);
    }

    #[test]
    fn a_row_that_is_missing_is_named() {
        let error = groups(&[]).err().unwrap().to_string();
        assert!(error.contains("LMDB") && error.contains(READ), "{error}");
    }
}
