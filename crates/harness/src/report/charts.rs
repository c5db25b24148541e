//! Plots, as SVG.

use super::panels::Panel;
use crate::human;
use crate::latency::Latency;
use crate::run::Measured;
use crate::stats::Spread;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::error::Error;

/// Width and height in the units of the drawing; the page scales it to the available width.
const SIZE: (u32, u32) = (560, 330);
/// Colours that everybody can tell apart, including the colour-blind: those of Okabe and Ito, without the yellow.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];
const GRID: RGBColor = RGBColor(228, 231, 235);
const AXIS: RGBColor = RGBColor(150, 156, 164);
const INK: RGBColor = RGBColor(70, 76, 84);

type Drawn = Result<String, Box<dyn Error>>;

/// The colour of the `n`-th strategy, in HTML notation.
pub(super) fn colour(n: usize) -> String {
    let RGBColor(red, green, blue) = rgb(n);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn rgb(n: usize) -> RGBColor {
    COLOURS[n % COLOURS.len()]
}

/// One line of a plot: its colour, its points, and the spread of each.
struct Line {
    colour: RGBColor,
    points: Vec<(f64, f64)>,
    spreads: Vec<(f64, f64, f64)>,
}

/// An axis: its range, the places of its labels, and their text.
#[derive(Clone)]
struct Axis {
    range: std::ops::Range<f64>,
    labels: Vec<f64>,
    text: fn(&f64) -> String,
    title: &'static str,
}

/// Operations a second by processes, with a line for each strategy; `place` is the index of a strategy among all.
pub(super) fn throughput(panel: &Panel<'_>, place: impl Fn(&str) -> usize) -> Drawn {
    let processes = panel.processes();
    let lines =
        panel.series.iter().map(|(name, cells)| line(cells, place(name), |one| f64::from(one.cell.processes).log2()));
    let lines: Vec<Line> = lines.collect();
    let x = Axis {
        range: padded(processes.iter().map(|&n| f64::from(n).log2())),
        labels: processes.iter().map(|&n| f64::from(n).log2()).collect(),
        text: |log| log.exp2().round().to_string(),
        title: "processes",
    };
    draw(&x, &rates(&lines), &lines)
}

/// Operations a second by lock regions, with a line for each strategy.
pub(super) fn by_regions(series: &[(&str, Vec<&Measured>)], place: impl Fn(&str) -> usize) -> Drawn {
    let lines = series.iter().map(|(name, cells)| line(cells, place(name), |one| f64::from(one.cell.regions).log2()));
    let lines: Vec<Line> = lines.collect();
    let mut labels: Vec<f64> = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
    labels.sort_by(f64::total_cmp);
    labels.dedup();
    let x = Axis {
        range: padded(labels.iter().copied()),
        labels,
        text: |log| log.exp2().round().to_string(),
        title: "lock regions",
    };
    draw(&x, &rates(&lines), &lines)
}

/// Latencies by the share of operations that took at most this time, with a line for each strategy. Both axes are
/// logarithmic: beyond each step to the right lies a tenth of the operations that lay beyond the step before.
pub(super) fn latencies(cells: &[&Measured], pick: fn(&Measured) -> &Latency, place: impl Fn(&str) -> usize) -> Drawn {
    const NINES: f64 = 4.0;
    let point = |latency: &Latency, nines: f64| {
        let nanos = latency.quantile(1.0 - 10f64.powf(-nines))?;
        Some((nines, (nanos.max(1) as f64).log10()))
    };
    let lines: Vec<Line> = cells
        .iter()
        .map(|measured| Line {
            colour: rgb(place(&measured.cell.strategy)),
            points: (0..=80).filter_map(|n| point(pick(measured), NINES * f64::from(n) / 80.0)).collect(),
            spreads: Vec::new(),
        })
        .collect();
    let all = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let (low, high) = (all().fold(f64::MAX, f64::min).floor(), all().fold(0.0, f64::max).ceil());
    let (low, high) = if low < high { (low, high) } else { (high - 1.0, high + 1.0) };
    let x = Axis {
        range: 0.0..NINES + 0.15,
        labels: vec![0.0, 0.5f64.log10().abs(), 1.0, 2.0, 3.0, 4.0],
        text: |nines| {
            let percent = 100.0 * (1.0 - 10f64.powf(-nines));
            format!("{} %", (percent * 100.0).round() / 100.0)
        },
        title: "share of the operations",
    };
    let y = Axis {
        range: low..high,
        labels: (low as i32..=high as i32).map(f64::from).collect(),
        text: |log| power_of_ten(log.round() as i32),
        title: "done within",
    };
    draw(&x, &y, &lines)
}

/// A curve: its name, and what was measured at each value of the horizontal axis.
pub(super) struct Curve {
    pub name: String,
    pub points: Vec<(u64, Spread)>,
}

/// The vertical axis of a growth plot.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    /// From 0 to slightly above the maximum.
    FromZero,
    /// Powers of ten, of nanoseconds.
    Powers,
    /// From 0 to 1.
    Share,
}

/// A measure that grows with `values`, with a line and a name for each curve. The horizontal axis is logarithmic.
pub(super) fn growth(
    values: &[u64],
    label: fn(u64) -> String,
    x_title: &'static str,
    y_title: &'static str,
    scale: Scale,
    curves: &[Curve],
) -> Drawn {
    let log = |value: u64| (value.max(1) as f64).log2();
    let height = |value: f64| if matches!(scale, Scale::Powers) { value.max(1.0).log10() } else { value };
    let lines = curves.iter().enumerate().map(|(n, curve)| Line {
        colour: rgb(n),
        points: curve.points.iter().map(|(at, spread)| (log(*at), height(spread.median))).collect(),
        spreads: curve.points.iter().map(|(at, s)| (log(*at), height(s.min), height(s.max))).collect(),
    });
    let lines: Vec<Line> = lines.collect();
    // If there is no room for all labels, only every second one is shown, or fewer.
    let step = values.len().div_ceil(8);
    let labels: Vec<(f64, String)> = values.iter().step_by(step).map(|&value| (log(value), label(value))).collect();
    let x = Axis {
        range: padded(values.iter().map(|&value| log(value))),
        labels: labels.iter().map(|label| label.0).collect(),
        text: |_| String::new(),
        title: x_title,
    };
    let y = growth_axis(scale, y_title, &lines);
    let svg = draw(&x, &y, &lines)?;
    let (width, bottom) = (f64::from(SIZE.0), SIZE.1 - 34);
    let mut names = String::new();
    for (at, label) in labels {
        // The drawing area, as `draw` lays it out.
        let left = 82.0 + (at - x.range.start) / (x.range.end - x.range.start) * (width - 82.0 - 18.0);
        names.push_str(&format!(
            "<text x=\"{left:.0}\" y=\"{bottom}\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"12.5\" \
             fill=\"#464c54\">{label}</text>\n"
        ));
    }
    for (n, curve) in curves.iter().enumerate() {
        let top = 26 + 18 * n;
        let name = super::html::text(&curve.name);
        names.push_str(&format!(
            "<text x=\"96\" y=\"{top}\" font-family=\"sans-serif\" font-size=\"13.5\" font-weight=\"bold\" \
             fill=\"{}\">{name}</text>\n",
            colour(n)
        ));
    }
    Ok(svg.replace("</svg>", &format!("{names}</svg>")))
}

/// The vertical axis of a growth plot. The names of the curves stand above the highest point.
fn growth_axis(scale: Scale, title: &'static str, lines: &[Line]) -> Axis {
    let most = lines.iter().flat_map(|line| line.spreads.iter().map(|spread| spread.2)).fold(1.0, f64::max);
    match scale {
        Scale::FromZero => {
            let step = nice_step(most / 5.0);
            let steps = (most / step).ceil();
            Axis {
                range: 0.0..steps * step * (1.05 + 0.07 * lines.len() as f64),
                labels: (0..=steps as u32).map(|n| f64::from(n) * step).collect(),
                text: |nanos| nanos.round().to_string(),
                title,
            }
        }
        Scale::Powers => Axis {
            range: 1.0..most.ceil().max(2.0) + 0.3 * lines.len() as f64,
            labels: (1..=most.ceil().max(2.0) as i32).map(f64::from).collect(),
            text: |log| power_of_ten(log.round() as i32),
            title,
        },
        Scale::Share => Axis {
            range: 0.0..1.05 + 0.08 * lines.len() as f64,
            labels: vec![0.0, 0.25, 0.5, 0.75, 1.0],
            text: |share| format!("{share:.2}"),
            title,
        },
    }
}

fn line(cells: &[&Measured], place: usize, x: impl Fn(&Measured) -> f64) -> Line {
    let spread = |one: &&Measured| (x(one), one.throughput.min, one.throughput.max);
    Line {
        colour: rgb(place),
        points: cells.iter().map(|one| (x(one), one.throughput.median)).collect(),
        spreads: cells.iter().map(spread).collect(),
    }
}

/// The axis of operations a second: from 0 to slightly above the maximum.
fn rates(lines: &[Line]) -> Axis {
    let most = lines.iter().flat_map(|line| line.spreads.iter().map(|spread| spread.2)).fold(1.0, f64::max);
    let step = nice_step(most / 5.0);
    let steps = (most / step).ceil();
    Axis {
        range: 0.0..steps * step * 1.02,
        labels: (0..=steps as u32).map(|n| f64::from(n) * step).collect(),
        text: |rate| human::millions(*rate),
        title: "operations a second",
    }
}

/// A power of ten of nanoseconds: `100 ns`, `1 µs`, `10 ms`.
fn power_of_ten(power: i32) -> String {
    let unit = ["ns", "µs", "ms", "s"];
    let thousands = power.div_euclid(3).clamp(0, 3);
    format!("{} {}", 10f64.powi(power - 3 * thousands), unit[thousands as usize])
}

/// The next of 1, 2, 5, 10, 20, ...
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * power >= least);
    digit.unwrap_or(10.0) * power
}

/// The range of some values, with a margin on both sides.
fn padded(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let (low, high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
    let room = ((high - low) * 0.06).max(0.1);
    low - room..high + room
}

fn draw(x: &Axis, y: &Axis, lines: &[Line]) -> Drawn {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(12)
            .margin_left(6)
            .margin_right(18)
            .x_label_area_size(50)
            .y_label_area_size(76)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(("sans-serif", 15.5).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 15.5).into_font().color(&INK))
            .x_labels(x.labels.len())
            .y_labels(y.labels.len())
            .x_desc(x.title)
            .y_desc(y.title)
            .draw()?;
        for line in lines {
            let whisker = line.colour.mix(0.35).stroke_width(6);
            for &(at, min, max) in &line.spreads {
                chart.draw_series([PathElement::new([(at, min), (at, max)], whisker)])?;
            }
            chart.draw_series(LineSeries::new(line.points.iter().copied(), line.colour.stroke_width(2)))?;
            // Points are drawn only on lines with few of them, not on curves.
            if !line.spreads.is_empty() {
                chart.draw_series(line.points.iter().map(|&at| Circle::new(at, 4, line.colour.filled())))?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        low + (f64::from(high - low) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.labels.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.text)(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers() {
        for (least, step) in [(1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (700.0, 1000.0), (0.03, 0.05)] {
            assert!((nice_step(least) - step).abs() < 1e-9, "{least}");
        }
    }

    #[test]
    fn powers_of_ten_have_the_unit_that_fits() {
        let told: Vec<String> = (0..=10).step_by(2).map(power_of_ten).collect();
        assert_eq!(told, ["1 ns", "100 ns", "10 µs", "1 ms", "100 ms", "10 s"]);
    }

    #[test]
    fn colours_are_written_as_html_does() {
        assert_eq!(colour(0), "#0072b2");
        assert_eq!(colour(COLOURS.len()), colour(0));
    }
}
