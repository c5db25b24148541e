//! The command: the loop of looks, keys and frames.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use kennel::Options;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;

use super::frame::{Frame, View};
use super::screen::draw;
use super::watch::Watch;
use crate::cmd::metrics::Target;
use crate::cmd::outcome::CliResult;
use crate::output::stdout;
use crate::time::parse_duration;

/// The shortest and the longest time between two looks.
const PACES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// The most keys that are shown as read most.
const MOST_HOT: usize = 100;
/// The size of a frame that is printed where there is no terminal.
const PRINTED: (u16, u16) = (80, 24);

/// Show what a cache does, on a live screen.
///
/// It shows the hit ratio now and since the file was created, what is full, which items leave and why, which calls
/// wait, what is wrong, and what the cache holds. The files are opened read-only and without a lock, so no program is
/// disturbed. Press ? for an explanation of the screen.
///
/// Example: kennel top /dev/shm/web.cache
#[derive(Args)]
pub struct TopArgs {
    /// The cache files; Tab shows the next. The default is the user's default file, as for "kennel stat".
    #[arg(value_name = "[NAME=]FILE", value_parser = target)]
    files: Vec<Target>,
    /// How often to look, with a unit: 500ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    every: Duration,
    /// How many buckets to sample for sizes, ages and namespaces. 0 leaves them out.
    #[arg(long, value_name = "BUCKETS", default_value_t = 4096)]
    sample: u64,
    /// Sample reads, to show which keys are read most: press k. The file is opened for writing then, and reads of sampled keys
    /// take a few nanoseconds longer. The file must have room for samples: see "kennel create --samples".
    #[arg(long)]
    tap: bool,
    /// Print one frame for each file and end. It shows what happened within the time of --every.
    #[arg(long)]
    once: bool,
    /// Accept files that belong to another user or that other users can write.
    #[arg(long)]
    trust: bool,
}

fn target(text: &str) -> Result<Target, std::convert::Infallible> {
    Ok(Target::parse(text))
}

fn watch(target: Target, options: &Options, args: &TopArgs) -> Watch {
    let watch = Watch::new(target, options.clone(), args.sample);
    if args.tap { watch.tap() } else { watch }
}

pub fn run(args: &TopArgs) -> CliResult {
    let is_there = |path: &std::path::PathBuf| path.symlink_metadata().is_ok();
    let default = || Target::of(&kennel::default_paths().find(is_there).unwrap_or_else(kennel::default_path));
    let targets = if args.files.is_empty() { vec![default()] } else { args.files.clone() };
    let options = Options::new().trust(args.trust);
    let mut watches: Vec<_> = targets.into_iter().map(|target| watch(target, &options, args)).collect();
    let every = args.every.clamp(PACES.0, PACES.1);
    if args.once {
        return print_once(&mut watches, every);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("kennel top needs a terminal; --once prints one frame without one".into());
    }
    let mut screen = ratatui::try_init()?;
    let shown = Shown { watches, at: 0, every, view: View::default(), is_paused: false }.run(&mut screen);
    // The error of the loop is the one to report.
    let restored = ratatui::try_restore();
    shown.and(restored)?;
    Ok(ExitCode::SUCCESS)
}

fn print_once(watches: &mut [Watch], every: Duration) -> CliResult {
    watches.iter_mut().for_each(|watch| watch.look(Instant::now()));
    std::thread::sleep(every);
    watches.iter_mut().for_each(|watch| watch.look(Instant::now()));
    let (width, height) = if io::stdout().is_terminal() { terminal::size().unwrap_or(PRINTED) } else { PRINTED };
    let all = watches.len();
    let mut out = stdout();
    for (i, watch) in watches.iter().enumerate() {
        let mut screen = Terminal::new(TestBackend::new(width, height))?;
        let frame = frame_of(watch, (i + 1, all), every, false, View::default());
        screen.draw(|terminal| draw(terminal, &frame))?;
        let lines = text_of(screen.backend().buffer());
        // The last line names the keys to press.
        for line in &lines[..lines.len() - 1] {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    let is_any_seen = watches.iter().any(|watch| watch.look.is_ok());
    Ok(if is_any_seen { ExitCode::SUCCESS } else { ExitCode::from(crate::cmd::FAILED) })
}

/// The lines of a screen, without the blanks at their ends.
pub fn text_of(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    buffer.content.chunks(width).map(|cells| line(cells).trim_end().to_owned()).collect()
}

/// What a frame of a file shows now.
pub fn frame_of(watch: &Watch, place: (usize, usize), every: Duration, is_paused: bool, view: View) -> Frame<'_> {
    let changes = watch.changes();
    let rates = |rate: fn(&kennel::Counters) -> u64| changes.iter().map(|(_, change)| change.rate(rate)).collect();
    Frame {
        name: &watch.target.name,
        place,
        every,
        is_paused,
        view,
        look: watch.look.as_ref().map_err(String::as_str),
        now: changes.last().map(|(_, change)| *change),
        minute: watch.minute(),
        lately: watch.lately(),
        hottest: if view == View::Keys { watch.hottest(MOST_HOT) } else { None },
        ratios: changes.iter().filter_map(|(_, change)| change.hit_ratio()).map(|ratio| ratio * 100.0).collect(),
        gets: rates(|counters| counters.hits.wrapping_add(counters.misses)),
        sets: rates(|counters| counters.sets),
    }
}

/// The screen and what is on it.
struct Shown {
    watches: Vec<Watch>,
    /// The file that is shown.
    at: usize,
    every: Duration,
    view: View,
    is_paused: bool,
}

impl Shown {
    fn run(&mut self, screen: &mut ratatui::DefaultTerminal) -> io::Result<()> {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next {
                if !self.is_paused {
                    self.watches.iter_mut().for_each(|watch| watch.look(now));
                }
                next = now + self.every;
            }
            let place = (self.at + 1, self.watches.len());
            let frame = frame_of(&self.watches[self.at], place, self.every, self.is_paused, self.view);
            screen.draw(|terminal| draw(terminal, &frame))?;
            if event::poll(next.saturating_duration_since(Instant::now()))?
                && let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                if !self.press(key) {
                    return Ok(());
                }
                next = next.min(Instant::now() + self.every);
            }
        }
    }

    /// Does what a key press asks for. `false`: the user wants to end.
    fn press(&mut self, key: KeyEvent) -> bool {
        let is_same = |view: View| if self.view == view { View::default() } else { view };
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('q') => return false,
            KeyCode::Esc if self.view == View::default() => return false,
            KeyCode::Esc | KeyCode::Char('n') => self.view = View::default(),
            KeyCode::Char('s') => self.view = is_same(View::Stripes),
            KeyCode::Char('k') => self.view = is_same(View::Keys),
            KeyCode::Char('g') => self.view = is_same(View::Graphs),
            KeyCode::Char('?' | 'h') => self.view = is_same(View::Help),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('+') => self.every = (self.every / 2).max(PACES.0),
            KeyCode::Char('-') => self.every = (self.every * 2).min(PACES.1),
            KeyCode::Tab => self.at = (self.at + 1) % self.watches.len(),
            KeyCode::BackTab => self.at = (self.at + self.watches.len() - 1) % self.watches.len(),
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        let watch = |name: &str| Watch::new(Target::parse(name), Options::new(), 0);
        let every = Duration::from_secs(1);
        Shown { watches: vec![watch("a"), watch("b")], at: 0, every, view: View::default(), is_paused: false }
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut shown = shown();
        let press = |shown: &mut Shown, code| shown.press(KeyEvent::new(code, KeyModifiers::NONE));
        assert!(press(&mut shown, KeyCode::Tab) && shown.at == 1);
        assert!(press(&mut shown, KeyCode::Tab) && shown.at == 0);
        assert!(press(&mut shown, KeyCode::BackTab) && shown.at == 1);
        for (key, view) in [('s', View::Stripes), ('k', View::Keys), ('g', View::Graphs), ('?', View::Help)] {
            assert!(press(&mut shown, KeyCode::Char(key)) && shown.view == view);
        }
        assert!(press(&mut shown, KeyCode::Char('?')) && shown.view == View::Namespaces);
        assert!(press(&mut shown, KeyCode::Char('p')) && shown.is_paused);
        (0..20).for_each(|_| assert!(press(&mut shown, KeyCode::Char('+'))));
        assert_eq!(shown.every, PACES.0);
        (0..20).for_each(|_| assert!(press(&mut shown, KeyCode::Char('-'))));
        assert_eq!(shown.every, PACES.1);
        assert!(!press(&mut shown, KeyCode::Char('q')) && !press(&mut shown, KeyCode::Esc));
        assert!(!shown.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }
}
