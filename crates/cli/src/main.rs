//! `kennel`: the command line tool of the Kennel cache.

mod args;
mod cmd;
mod hex;
mod math;
mod message;
mod output;
mod platform;
mod time;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use cmd::{Command, Internal, Wrapper};
// How numbers and sizes are written is the same in all that the harness and the commands print.
use kennel_harness::{human, size};

const ABOUT: &str = "Kennel is a cache in one memory-mapped file that any number of processes share.";

const AFTER_HELP: &str = "\
Exit status: 0 for a hit or for work done, 1 for a miss (or for problems that verify found), 2 for \
an error.

Sizes are bytes, or numbers with a unit: K, M, G and T (or KiB, MiB, GiB and TiB) are powers of \
1024; kB, MB, GB and TB are powers of 1000. Times are numbers with a unit: ms, s, m, h or d. Both may \
have a fraction: 1.5G, 0.5s.

Examples:
  kennel demo
  kennel create /dev/shm/my.cache --capacity 256MiB
  kennel set /dev/shm/my.cache greeting hello --ttl 5m
  kennel get /dev/shm/my.cache greeting";

#[derive(Parser)]
#[command(name = "kennel", version, about = ABOUT, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The same with those commands only that run others.
#[derive(Parser)]
#[command(name = "kennel")]
struct WrapperCli {
    #[command(subcommand)]
    wrapper: Wrapper,
}

/// The same with those that this program starts itself with.
#[derive(Parser)]
#[command(name = "kennel")]
struct InternalCli {
    #[command(subcommand)]
    command: Internal,
}

fn main() -> ExitCode {
    if cmd::is_internal(std::env::args_os().nth(1).as_deref()) {
        return InternalCli::try_parse().map_or_else(|error| refuse(&error), |cli| end(cli.command.run()));
    }
    match parse() {
        Ok(command) => end(command.run()),
        Err(error) => refuse(&error),
    }
}

/// Most of what a command takes that runs another, and has its result at hand, is to set up the parser. So it is done
/// without the parser where that is enough, else without the other commands' options; help and mistakes are for the whole
/// parser to tell.
fn parse() -> Result<Command, clap::Error> {
    if let Some(wrapper) = Wrapper::plain(std::env::args_os().skip(1)) {
        return Ok(Command::Wrapper(wrapper));
    }
    if cmd::is_wrapper(std::env::args_os().nth(1).as_deref())
        && let Ok(cli) = WrapperCli::try_parse()
    {
        return Ok(Command::Wrapper(cli.wrapper));
    }
    Cli::try_parse().map(|cli| cli.command)
}

fn end(result: cmd::CliResult) -> ExitCode {
    match result {
        Ok(status) => status,
        Err(error) if output::is_reader_gone(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            output::report_error(error.as_ref());
            ExitCode::from(cmd::FAILED)
        }
    }
}

/// Shows help, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        // Where nobody reads it there is nothing better to do.
        let _ = error.print();
        return ExitCode::from(cmd::usage_status(std::env::args_os().nth(1).as_deref()));
    }
    let shown = output::print_styled(&error.render());
    end(shown.map(|()| ExitCode::SUCCESS).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
