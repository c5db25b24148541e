//! Two hosts (two near files) with workers and trackers of their own, a real server, and faults; every answer is checked.
//!
//! `cargo xtask far --seconds N [--server PATH]` runs it for long. The last line tells what was done and found; the exit
//! status is 1 if a promise was broken. `KENNEL_FAR_SECONDS`, `KENNEL_FAR_SEED` and, with the feature `faults`,
//! `KENNEL_FAR_LEAVE_OUT` (a rule) change a run; with `KENNEL_FAR_CLUSTER` the server is a cluster.

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[path = "common/hosts.rs"]
mod hosts;
#[cfg(unix)]
#[path = "common/moves.rs"]
mod moves;
// The test `cluster` uses the rest of it.
#[cfg(unix)]
#[allow(dead_code)]
#[path = "common/nodes.rs"]
mod nodes;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
#[cfg(unix)]
#[path = "common/proxy.rs"]
mod proxy;
// The test `real` uses all of it.
#[cfg(unix)]
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, task, rest @ ..] = args.as_slice()
        && task == "worker"
    {
        hosts::work(rest);
    }
    let Some(program) = server::program() else {
        println!(
            "histories: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one"
        );
        return std::process::ExitCode::SUCCESS;
    };
    let number = |name: &str, or| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let seed = number("KENNEL_FAR_SEED", u64::from(std::process::id()));
    let is_cluster = std::env::var_os("KENNEL_FAR_CLUSTER").is_some();
    let program = std::path::absolute(program).unwrap();
    let report = hosts::run(&program, number("KENNEL_FAR_SECONDS", 6), seed, is_cluster);
    report.history.violations.iter().take(20).for_each(|violation| println!("{violation}"));
    println!(
        "reads {}, writes {}, faults {}, stuck rounds {}, oldest {} ms, violations {}",
        report.history.reads,
        report.history.writes,
        report.faults,
        report.stuck,
        report.history.oldest / 1_000,
        report.history.violations.len()
    );
    // A machine on which nothing could be read has checked nothing.
    let is_checked = report.history.reads > 0;
    if is_checked && report.history.violations.is_empty() {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}
