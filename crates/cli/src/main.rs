//! `kennel`: the command line tool of the Kennel cache.

mod args;
mod cmd;
mod hex;
mod input;
mod math;
mod message;
mod output;
mod platform;
mod sampled;
mod time;
mod trace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cmd::run() {
        Ok(result) => end(result),
        Err(error) => refuse(&error),
    }
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
        // If standard error cannot be written there is no other place for the message.
        let _ = error.print();
        return ExitCode::from(cmd::usage_status(std::env::args_os().nth(1).as_deref()));
    }
    let shown = output::print_styled(&error.render());
    end(shown.map(|()| ExitCode::SUCCESS).map_err(Into::into))
}
