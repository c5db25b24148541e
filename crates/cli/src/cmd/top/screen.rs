//! Draws a frame.

use ratatui::Frame as Terminal;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::frame::{Frame, Parts, View, is_wrong};
use super::tables::{self, Table};
use super::watch::Look;
use super::words::number;

/// The smallest screen on which graphs and stripes are part of the overview.
const WIDE: (u16, u16) = (120, 40);
/// Rows of the graphs, with their frames.
const GRAPH: u16 = 9;

const HELP: [&str; 14] = [
    "Tab    the next file",
    "n      namespaces      s      stripes       k      some keys      g      graphs",
    "+ -    look more often, less often          p      pause          q      quit",
    "",
    "What has ~ is estimated from a sample of the buckets; all else are counters of the whole file.",
    "unread   items that left the small ring without being read while they were new",
    "main     items that left the main ring, because they were not read for a long time",
    "index    items that left because their bucket was full: if many, the mean item size is too large",
    "ghost hits: keys that were stored again soon after their eviction; a larger cache would have kept them",
    "gave up  reads that gave up after too many retries, and count as misses",
    "twice the size: hits that a cache of twice the size would have had, at least, in points",
    "k        with --tap, the keys that are read most",
    "PROBE    the time of a get by this screen, whose handle is read-only",
    "Without --tap the screen locks nothing, counts nothing, and leaves no mark on what it reads.",
];

const KEYS: &str = "Tab file  n namespaces  s stripes  k keys  g graphs  p pause  ? help  q quit";

/// Draws a frame on the whole screen.
pub fn draw(terminal: &mut Terminal<'_>, frame: &Frame<'_>) {
    let area = terminal.area();
    let (body, footer) = match area.height {
        0..4 => (area, Rect { height: 0, ..area }),
        _ => {
            let [body, footer] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(area);
            (body, footer)
        }
    };
    terminal.render_widget(Paragraph::new(KEYS).style(Style::new().fg(Color::DarkGray)), footer);
    let width = usize::from(area.width);
    let mut page = Page { lines: Vec::new(), width };
    page.add(frame.title(), Style::new().bold());
    match frame.look {
        Err(why) => page.text(why, Style::new().fg(Color::Red)),
        Ok(look) => overview(&mut page, frame, look),
    }
    let used = u16::try_from(page.lines.len()).unwrap_or(u16::MAX).min(body.height);
    let [top, rest] = Layout::vertical([Constraint::Length(used), Constraint::Min(0)]).areas(body);
    terminal.render_widget(Paragraph::new(page.lines), top);
    if let Ok(look) = frame.look {
        below(terminal, rest, frame, look);
    }
}

/// The lines above the tables.
fn overview(page: &mut Page, frame: &Frame<'_>, look: &Look) {
    if look.awaits_writer {
        let text = "nothing can be read until a process opens the file for writing";
        page.add(vec![text.to_owned()], Style::new().fg(Color::Red));
    }
    frame.serving(look, page.width).into_iter().for_each(|parts| page.add(parts, Style::new()));
    if frame.view == View::Help {
        return;
    }
    page.rule();
    let events = frame.events(look);
    let last = events.len() - 1;
    for (i, parts) in events.into_iter().enumerate() {
        let red = i == last && is_wrong(look);
        page.add(parts, if red { Style::new().fg(Color::Red) } else { Style::new() });
    }
    page.rule();
}

/// What fills the rest of the screen.
fn below(terminal: &mut Terminal<'_>, area: Rect, frame: &Frame<'_>, look: &Look) {
    let screen = terminal.area();
    let is_wide = (screen.width, screen.height) >= WIDE && screen.height >= WIDE.1;
    match frame.view {
        View::Help => terminal.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), area),
        View::Stripes => table(terminal, area, &tables::stripes(look)),
        View::Keys => keys(terminal, area, frame, look),
        View::Graphs => graphs(terminal, area, frame),
        View::Namespaces if is_wide => {
            let [charts, rest] = Layout::vertical([Constraint::Length(GRAPH), Constraint::Min(0)]).areas(area);
            graphs(terminal, charts, frame);
            let rows = u16::try_from(look.sampled.namespaces.len() + 1).unwrap_or(u16::MAX).min(8);
            let [spaces, stripes] = Layout::vertical([Constraint::Length(rows + 5), Constraint::Min(0)]).areas(rest);
            namespaces(terminal, spaces, frame, look);
            table(terminal, stripes, &tables::stripes(look));
        }
        View::Namespaces => namespaces(terminal, area, frame, look),
    }
}

/// The keys that are read most; without samples of reads, some keys.
fn keys(terminal: &mut Terminal<'_>, area: Rect, frame: &Frame<'_>, look: &Look) {
    match &frame.hottest {
        Some(Ok(hottest)) => table(terminal, area, &tables::hot_keys(hottest)),
        Some(Err(why)) => {
            let mut page = Page { lines: Vec::new(), width: usize::from(area.width) };
            page.text(why, Style::new().fg(Color::Red));
            terminal.render_widget(Paragraph::new(page.lines), area);
        }
        None => table(terminal, area, &tables::keys(look)),
    }
}

/// The table of namespaces, and below it the distributions.
fn namespaces(terminal: &mut Terminal<'_>, area: Rect, frame: &Frame<'_>, look: &Look) {
    let mut shapes = Page { lines: Vec::new(), width: usize::from(area.width) };
    shapes.rule();
    frame.shapes(look).into_iter().for_each(|parts| shapes.add(parts, Style::new()));
    let height = u16::try_from(shapes.lines.len()).unwrap_or(u16::MAX);
    let wanted = tables::namespaces(look, frame.lately.as_ref()).lines(usize::from(area.width)).len();
    let rows = area.height.saturating_sub(height).clamp(2, u16::try_from(wanted).unwrap_or(u16::MAX).max(2));
    let [spaces, rest] = Layout::vertical([Constraint::Length(rows), Constraint::Min(0)]).areas(area);
    table(terminal, spaces, &tables::namespaces(look, frame.lately.as_ref()));
    terminal.render_widget(Paragraph::new(shapes.lines), rest);
}

fn table(terminal: &mut Terminal<'_>, area: Rect, table: &Table) {
    let mut lines: Vec<Line<'_>> =
        table.lines(usize::from(area.width)).into_iter().take(area.height.into()).map(Line::from).collect();
    if let Some(head) = lines.first_mut() {
        head.style = Style::new().bold();
    }
    terminal.render_widget(Paragraph::new(lines), area);
}

/// The hit ratio, and reads and writes per second: side by side if there is room.
fn graphs(terminal: &mut Terminal<'_>, area: Rect, frame: &Frame<'_>) {
    let halves = [Constraint::Fill(1); 2];
    let [first, second] =
        if area.width >= 100 { Layout::horizontal(halves).areas(area) } else { Layout::vertical(halves).areas(area) };
    graph(terminal, first, "hit ratio %, 5 min", 100.0, &[(&frame.ratios, Color::Green)]);
    let most = frame.gets.iter().chain(&frame.sets).copied().fold(1.0, f64::max);
    graph(
        terminal,
        second,
        "gets/s and sets/s, 5 min",
        most,
        &[(&frame.gets, Color::Cyan), (&frame.sets, Color::Yellow)],
    );
}

fn graph(terminal: &mut Terminal<'_>, area: Rect, title: &str, most: f64, lines: &[(&Vec<f64>, Color)]) {
    let points: Vec<Vec<(f64, f64)>> =
        lines.iter().map(|(line, _)| line.iter().enumerate().map(|(i, &value)| (i as f64, value)).collect()).collect();
    let last = points.iter().map(Vec::len).max().unwrap_or_default().saturating_sub(1).max(1);
    let sets = points.iter().zip(lines).map(|(points, (_, color))| {
        Dataset::default()
            .data(points)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(*color))
    });
    let chart = Chart::new(sets.collect())
        .block(Block::bordered().title(title.to_owned()))
        .x_axis(Axis::default().bounds([0.0, last as f64]))
        .y_axis(Axis::default().bounds([0.0, most]).labels(["0".to_owned(), number(most)]));
    terminal.render_widget(chart, area);
}

/// Lines of parts, as many parts on a line as fit.
struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
}

impl Page {
    fn add(&mut self, parts: Parts, style: Style) {
        let mut line = String::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let len = part.chars().count();
            if !line.is_empty() && line.chars().count() + 3 + len > self.width {
                self.lines.push(Line::styled(std::mem::take(&mut line), style));
                line.push_str("  ");
            } else if !line.is_empty() {
                line.push_str("   ");
            }
            line.push_str(&part);
        }
        self.lines.push(Line::styled(line, style));
    }

    /// A text, broken between words. A word that is longer than a line is cut.
    fn text(&mut self, text: &str, style: Style) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > self.width {
                self.lines.push(Line::styled(std::mem::take(&mut line), style));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.lines.push(Line::styled(line, style));
    }

    fn rule(&mut self) {
        self.lines.push(Line::styled("─".repeat(self.width), Style::new().fg(Color::DarkGray)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::metrics::Target;
    use crate::cmd::top::run::frame_of;
    use crate::cmd::top::watch::Watch;
    use kennel::{Expiry, NamespaceOptions, Options, SetOptions};
    use ratatui::Terminal as Screen;
    use ratatui::backend::TestBackend;
    use std::time::{Duration, Instant};

    /// A cache with known contents, looked at twice.
    fn watched(dir: &tempfile::TempDir) -> Watch {
        let path = dir.path().join("web.cache");
        let cache = Options::new().capacity(4 << 20).namespace_reads(true).create(&path).expect("a cache");
        let mut watch = Watch::new(Target::of(&path), Options::new(), u64::MAX);
        let start = Instant::now();
        watch.look(start);
        let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(3600))).expect("added");
        for i in 0..100 {
            pages.set(format!("page {i}"), vec![1; 300]).expect("stored");
        }
        let options = SetOptions::new().expiry(Expiry::After(Duration::from_secs(30)));
        cache.set_with("\u{1b}[31mred", vec![1; 40], &options).expect("stored");
        assert!((0..98).all(|i| pages.get(format!("page {i}")).is_some()));
        assert!(cache.get("none").is_none() && cache.get("no").is_none());
        watch.look(start + Duration::from_secs(10));
        watch
    }

    fn drawn(watch: &Watch, view: View, width: u16, height: u16) -> Vec<String> {
        let mut screen = Screen::new(TestBackend::new(width, height)).expect("a screen");
        let frame = frame_of(watch, (1, 2), Duration::from_secs(1), false, view);
        screen.draw(|terminal| draw(terminal, &frame)).expect("drawn");
        super::super::run::text_of(screen.backend().buffer())
    }

    fn has(lines: &[String], part: &str) -> bool {
        lines.iter().any(|line| line.contains(part))
    }

    #[test]
    fn eighty_columns_show_what_is_asked_at_night() {
        let dir = tempfile::tempdir().expect("a directory");
        let lines = drawn(&watched(&dir), View::Namespaces, 80, 24);
        for part in [
            "kennel top  web 1/2   file   1 member   made ",
            "hit ratio  98.0 % now   98.0 % ever",
            "gets/s     10   sets/s 10   creates/s 0",
            "items      101",
            "limited by nothing yet",
            "leaving/s  unread 0   main 0   index 0   expired 0   deleted 0",
            "waiting/s  lock 0   busy 0   claim 0   retries 0   gave up 0",
            "wrong      repairs 0   dropped 0   to be checked 0 stripes",
            "staying    unread items 1.9 min   main ring turns in -",
            "NAMESPACE               ITEMS~     BYTES~    HIT~  GETS/S~     AGE~ TTL LEFT~",
            "pages                      100 ",
            "(none)                       1",
            "CREATION   1 ms ·   16 ms ·",
            "SIZE~      <64 B █   128 ·   256 ·   512 ████",
            "EXPIRES~   1 min █",
            "PROBE      get of a sampled key: p50 ",
            "Tab file  n namespaces",
        ] {
            assert!(has(&lines, part), "{part:?} is not in\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn a_wide_screen_has_graphs_and_stripes_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let lines = drawn(&watched(&dir), View::Namespaces, 120, 40);
        for part in ["hit ratio %, 5 min", "gets/s and sets/s, 5 min", "NAMESPACE", "STRIPE", "PROBE", "q quit"] {
            assert!(has(&lines, part), "{part:?} is not in\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn a_narrow_screen_puts_what_does_not_fit_on_further_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let watch = watched(&dir);
        let lines = drawn(&watch, View::Namespaces, 40, 60);
        for part in ["98.0 % now", "98.0 % ever", "unread 0", "deleted 0", "gave up 0", "pages ", "longest "] {
            assert!(has(&lines, part), "{part:?} is not in\n{}", lines.join("\n"));
        }
        for (width, height) in [(1, 1), (7, 3), (20, 5), (300, 2), (200, 100)] {
            for view in [View::Namespaces, View::Stripes, View::Keys, View::Graphs, View::Help] {
                drawn(&watch, view, width, height);
            }
        }
    }

    #[test]
    fn each_view_shows_its_subject_and_no_key_can_write_to_the_terminal() {
        let dir = tempfile::tempdir().expect("a directory");
        let watch = watched(&dir);
        let keys = drawn(&watch, View::Keys, 80, 120);
        assert!(has(&keys, "pages · page 7") && has(&keys, "?[31mred"), "{}", keys.join("\n"));
        assert!(has(&drawn(&watch, View::Stripes, 80, 24), "REPAIRS"));
        assert!(has(&drawn(&watch, View::Graphs, 80, 40), "hit ratio %"));
        assert!(has(&drawn(&watch, View::Help, 80, 24), "the screen locks nothing"));
    }

    #[test]
    fn with_a_tap_the_keys_are_those_that_are_read_most() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("web.cache");
        let cache = Options::new().capacity(4 << 20).samples(true).seed(5).create(&path).expect("a cache");
        let mut watch = Watch::new(Target::of(&path), Options::new(), u64::MAX).tap();
        let start = Instant::now();
        cache.set("hot", "value").expect("stored");
        for i in 0..8 {
            watch.look(start + Duration::from_secs(i));
            assert!(cache.contains("hot"));
        }
        watch.look(start + Duration::from_secs(9));
        let lines = drawn(&watch, View::Keys, 80, 24);
        let is_shown = |line: &String| line.starts_with("hot ") && line.ends_with("  100.0 %");
        assert!(has(&lines, "KEYS READ MOST~") && lines.iter().any(is_shown), "{}", lines.join("\n"));
        drop((watch, cache));
        Options::new().destroy(&path).expect("destroyed");
        let _without = Options::new().capacity(4 << 20).create(&path).expect("a cache");
        let mut watch = Watch::new(Target::of(&path), Options::new(), u64::MAX).tap();
        watch.look(start);
        assert!(has(&drawn(&watch, View::Keys, 80, 24), "samples"), "why there are none");
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be_missing() {
        let mut watch = Watch::new(Target::of("gone.cache".as_ref()), Options::new(), 64);
        watch.look(Instant::now());
        let lines = drawn(&watch, View::Namespaces, 80, 24);
        assert!(has(&lines, "no cache file at ") && has(&lines, "create\""), "{}", lines.join("\n"));
    }
}
