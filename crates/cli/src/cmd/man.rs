//! `kennel man`: writes the manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::outcome::CliResult;
use crate::output;

/// Write the manual page to standard output, or one page for each command to a directory.
///
/// Examples: kennel man | man -l -; kennel man --dir /usr/local/share/man/man1
#[derive(Args)]
pub struct ManArgs {
    /// The existing directory for kennel.1, kennel-get.1 and so on.
    #[arg(long, value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Writes the pages of the whole command line `cli`.
pub fn run(args: &ManArgs, mut cli: Command) -> CliResult {
    // Fills in the full names of commands, such as "kennel memo".
    cli.build();
    match &args.dir {
        Some(dir) => write_pages(&cli, dir)?,
        None => {
            let mut out = output::stdout();
            write_page(&cli, &mut out)?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(cli: &Command, dir: &Path) -> Result<(), String> {
    let inner = commands(cli).flat_map(commands);
    for command in std::iter::once(cli).chain(commands(cli)).chain(inner) {
        let path = dir.join(format!("{}.1", page_name(command)));
        let mut page = Vec::new();
        let written = write_page(command, &mut page).and_then(|()| fs::write(&path, page));
        written.map_err(|error| format!("cannot write the manual page {}: {error}", path.display()))?;
    }
    Ok(())
}

/// The subcommands that have a page.
fn commands(cli: &Command) -> impl Iterator<Item = &Command> {
    cli.get_subcommands().filter(|command| command.get_name() != "help")
}

fn page_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

fn write_page(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let is_overview = commands(command).next().is_some();
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let text = Text::of(&format!("{text}\n\n{after}"));
    let described = command.clone().long_about(text.description.join("\n\n"));
    let source = format!("kennel {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(described).title(page_name(command).to_uppercase()).source(source).manual("Kennel");
    man.render_title(out)?;
    man.render_name_section(out)?;
    synopsis(command).to_writer(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if is_overview {
        list(cli_commands(command)).to_writer(out)?;
    }
    section("EXIT STATUS", &text.exit_status).to_writer(out)?;
    if !text.examples.is_empty() {
        examples(&text.examples).to_writer(out)?;
    }
    let above = page_name(command).rsplit_once('-').map(|(above, _)| above.to_owned());
    let others: Vec<String> = above.into_iter().chain(commands(command).map(page_name)).collect();
    let others: Vec<String> = others.into_iter().map(|name| format!("{name}(1)")).collect();
    section("SEE ALSO", &[others.join(", ")]).to_writer(out)
}

/// The help of a command, divided into the sections of a manual page.
#[derive(Debug, PartialEq)]
struct Text {
    description: Vec<String>,
    exit_status: Vec<String>,
    examples: Vec<String>,
}

impl Text {
    /// Assigns each paragraph to a section by its first words.
    fn of(help: &str) -> Self {
        let mut text = Self { description: Vec::new(), exit_status: Vec::new(), examples: Vec::new() };
        for paragraph in help.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
            if paragraph.starts_with("The exit status") || paragraph.starts_with("Exit status") {
                text.exit_status.push(paragraph.to_owned());
            } else if let Some(example) = paragraph.strip_prefix("Example:") {
                text.examples.push(example.trim().to_owned());
            } else if let Some(examples) = paragraph.strip_prefix("Examples:") {
                let lines = examples.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
                text.examples.extend(lines.map(str::to_owned));
            } else {
                text.description.push(paragraph.to_owned());
            }
        }
        if !text.exit_status.iter().any(|paragraph| paragraph.contains("125") || paragraph.starts_with("Exit status")) {
            text.exit_status.push("Otherwise it is 0 after success, and 2 after an error.".to_owned());
        }
        if let [only] = &mut text.exit_status[..] {
            *only = only.replace("Otherwise it is", "It is");
        }
        text
    }
}

fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or(&usage);
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]).text([bold(name), roman(rest)]);
    roff
}

fn section(title: &str, paragraphs: &[String]) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", [title]);
    for (number, paragraph) in paragraphs.iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.as_str())]);
    }
    roff
}

fn examples(lines: &[String]) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    lines.iter().for_each(|line| {
        roff.text([roman(line.as_str())]);
    });
    roff.control("fi", []);
    roff
}

/// The name of each command with its summary.
fn cli_commands(cli: &Command) -> impl Iterator<Item = (String, String)> {
    let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    commands(cli).map(move |command| (command.get_name().to_owned(), about(command)))
}

fn list(commands: impl Iterator<Item = (String, String)>) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["COMMANDS"]);
    for (name, about) in commands {
        roff.control("TP", []).text([bold(name)]).text([roman(about)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_find_their_sections() {
        let text = Text::of("Does it.\n\nThe exit status is 1 for a miss.\n\nExamples: a b; c\n\nMore.");
        assert_eq!(text.description, ["Does it.", "More."]);
        assert_eq!(text.exit_status[0], "The exit status is 1 for a miss.");
        assert!(text.exit_status[1].starts_with("Otherwise it is 0"));
        assert_eq!(text.examples, ["a b", "c"]);
        assert!(Text::of("Does it.").exit_status[0].starts_with("It is 0"));
    }
}
