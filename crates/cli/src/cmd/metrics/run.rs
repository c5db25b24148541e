//! The command: it listens, and answers each request with a new look at the files.

use std::net::{SocketAddr, TcpListener};

use clap::Args;
use kennel::Options;

use super::document::document;
use super::exposition::{CONTENT_TYPE, exposition};
use super::http::{Answer, Status};
use super::server::serve;
use super::target::{Look, Target, named_once};
use crate::cmd::outcome::CliResult;
use crate::output::print_line;

const PAGE: &str = include_str!("page.html");

/// Serve the statistics of cache files over HTTP.
///
/// /metrics has them for Prometheus, /stats.json for programs, and / shows them in a browser. The files are opened
/// read-only for each request, so they may come and go: a file that cannot be read has kennel_up 0. Only this machine
/// can connect, unless --listen names an address of the network; there is no password. The numbers are for whole files,
/// with all processes that use them, so one server on each machine is enough. The command runs until it is stopped.
///
/// Example: kennel metrics pages=/dev/shm/web.cache sessions=/dev/shm/sessions.cache
#[derive(Args)]
pub struct MetricsArgs {
    /// The cache files. NAME, by default the file's name without its ending, is the label "cache" of the metrics; the
    /// path is not shown.
    #[arg(value_name = "[NAME=]FILE", required = true, value_parser = target)]
    files: Vec<Target>,
    /// The address and port to listen on. Port 0 means any free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9897")]
    listen: SocketAddr,
    /// Accept files that belong to another user or that other users can write.
    #[arg(long)]
    trust: bool,
}

fn target(text: &str) -> Result<Target, std::convert::Infallible> {
    Ok(Target::parse(text))
}

pub fn run(args: &MetricsArgs) -> CliResult {
    named_once(&args.files)?;
    let listener =
        TcpListener::bind(args.listen).map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let options = Options::new().trust(args.trust);
    print_line(format_args!("serving http://{}/", listener.local_addr()?))?;
    serve(&listener, |path| answer(path, || args.files.iter().map(|file| file.look(&options)).collect()));
    Ok(std::process::ExitCode::SUCCESS)
}

fn answer(path: &str, look: impl Fn() -> Vec<Look>) -> Answer {
    match path {
        "/metrics" => Answer::ok(CONTENT_TYPE, exposition(&look())),
        "/stats.json" => Answer::ok("application/json", document(&look()).to_string()),
        "/" => Answer::ok("text/html; charset=utf-8", PAGE),
        _ => Answer::error(Status::NotFound),
    }
}
