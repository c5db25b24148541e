//! `cargo xtask speed`: measures Kennel, a lower limit and other caches, interleaved in one run.
//!
//! The program is `crates/peers`. It is a separate workspace, so that no other command builds the other caches.

use std::process::ExitCode;

use anyhow::Result;

use crate::runner;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds and no cache servers: at most 50 seconds once built
    #[arg(long)]
    quick: bool,
    /// Also write the rows to a file: [{"name", "kennel_ns", "other", "other_ns", "ratio"}, ...]
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Run only the groups whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let step = Step::cargo("speed", "run --quiet --release --manifest-path crates/peers/Cargo.toml")
        .target_dir("peers")
        .harness_args(program_args(args)?);
    runner::run(&[step], |_| runner::this_command())
}

/// The arguments for the program. A relative path is made absolute, because the step runs at the root of the workspace.
fn program_args(Args { quick, json, only }: Args) -> Result<Vec<String>> {
    let mut args = Vec::new();
    if quick {
        args.push("--quick".to_owned());
    }
    if let Some(json) = json {
        args.push(format!("--json={}", std::path::absolute(json)?.display()));
    }
    args.extend(only.into_iter().map(|part| format!("--only={part}")));
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_handed_on() {
        let args = Args { quick: true, json: Some("rows.json".into()), only: vec!["limit".into()] };
        let args = program_args(args).unwrap();
        assert_eq!((args[0].as_str(), args[2].as_str()), ("--quick", "--only=limit"));
        let json = args[1].strip_prefix("--json=").unwrap();
        assert!(std::path::Path::new(json).is_absolute(), "{json}");
    }

    #[test]
    fn the_peers_are_a_workspace_of_their_own() {
        let manifest = crate::toolchain::root().join("crates/peers/Cargo.toml");
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains("\n[workspace]\n"));
    }
}
