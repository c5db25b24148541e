//! Manual pages and completions.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

fn kennel(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kennel")).args(args).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Names of the commands as the help lists them.
fn commands() -> Vec<String> {
    let help = kennel(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("the list");
    let list = list.split("\n\n").next().unwrap_or_default();
    // What stands further in goes on with the description of the one before.
    let lines = list.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(Into::into).collect()
}

/// The commands of `kennel far`, on the systems that have it.
fn commands_of_far() -> Vec<String> {
    let is_there = cfg!(all(unix, feature = "far"));
    let names = ["demo", "keep", "stat", "get", "set", "delete", "check", "bench"];
    names.iter().filter(|_| is_there).map(|name| format!("kennel-far-{name}")).collect()
}

const HIDDEN: [&str; 8] = [
    "demo-worker",
    "demo-herd",
    "replay-worker",
    "bench-worker",
    "memo-worker",
    "far-check-worker",
    "far-demo-worker",
    "far-demo-server",
];

#[test]
fn every_page_has_its_sections() {
    let dir = TempDir::new().expect("a directory");
    kennel(&["man", "--dir", &dir.path().display().to_string()]);
    let names: Vec<String> = std::iter::once("kennel".to_owned())
        .chain(commands().into_iter().map(|name| format!("kennel-{name}")))
        .chain(commands_of_far())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    assert_eq!(dir.path().read_dir().expect("a directory").count(), names.len());
    for name in names {
        let page = fs::read_to_string(dir.path().join(format!("{name}.1"))).expect("the page");
        let title = format!(".TH {} 1  \"kennel {}\" Kennel", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
        assert!(page.contains(&title), "{title:?} is not in {page}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""] {
            assert_eq!(page.matches(&format!("\n.SH {section}\n")).count(), 1, "{section} in {name}: {page}");
        }
        assert!(HIDDEN.iter().all(|hidden| !page.replace("\\-", "-").contains(hidden)), "{name}");
        let (_, status) = page.split_once(".SH \"EXIT STATUS\"\n").expect("the section");
        assert!(status.contains('0') || status.contains("125"), "{name}: {status}");
    }
}

#[test]
fn the_synopsis_says_where_the_command_stands() {
    let dir = TempDir::new().expect("a directory");
    kennel(&["man", "--dir", &dir.path().display().to_string()]);
    let synopsis = |name: &str| {
        let page =
            fs::read_to_string(dir.path().join(format!("kennel-{name}.1"))).expect("the page").replace("\\-", "-");
        let (_, after) = page.split_once(".SH SYNOPSIS\n").expect("the section");
        after.lines().next().unwrap_or_default().replace("\\fB", "").replace("\\fR", "")
    };
    assert_eq!(synopsis("memo"), "kennel memo [OPTIONS] -- <COMMAND>...");
    assert_eq!(synopsis("lock"), "kennel lock [OPTIONS] <FILE> <KEY> -- <COMMAND>...");
    assert_eq!(synopsis("get"), "kennel get [OPTIONS] <FILE> <KEY>");
    if !commands_of_far().is_empty() {
        assert_eq!(synopsis("far-get"), "kennel far get [OPTIONS] <URL> <FILE> <KEY>");
    }
}

#[test]
fn completions_name_no_hidden_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = kennel(&["completions", shell]);
        for hidden in HIDDEN.into_iter().chain(["in-background"]) {
            assert!(!script.contains(hidden) && !script.contains(&hidden.replace('-', "__")), "{hidden} in {shell}");
        }
    }
}

/// What a shell offers; `None` where it is not installed.
fn offered(shell: &str, args: &[&str], script: &str) -> Option<String> {
    let output = Command::new(shell).args(args).arg(script).env("HOME", "/nonexistent").output().ok()?;
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn in_bash(words: &[&str]) -> Option<String> {
    let script = kennel(&["completions", "bash"]);
    let words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let complete = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
         _kennel kennel \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    offered("bash", &["--norc", "-c"], &complete)
}

#[test]
fn bash_completes_the_command_that_follows() {
    let Some(offers) = in_bash(&["kennel", "memo", "--ttl", "1h", "--", "prin"]) else { return };
    assert!(offers.lines().any(|offer| offer == "printf"), "{offers}");
    let offers = in_bash(&["kennel", "lock", "file", "key", "--", "ech"]).expect("bash");
    assert!(offers.lines().any(|offer| offer == "echo"), "{offers}");
    // Options of that command are none of ours.
    let offers = in_bash(&["kennel", "memo", "--", "ls", "--"]).expect("bash");
    assert!(!offers.contains("--ttl"), "{offers}");
    // And ours are where they were.
    let offers = in_bash(&["kennel", "memo", "--"]).expect("bash");
    assert!(offers.contains("--ttl"), "{offers}");
    let offers = in_bash(&["kennel", "mem"]).expect("bash");
    assert_eq!(offers, "memo\n");
}

#[test]
fn fish_completes_the_command_that_follows() {
    let script = kennel(&["completions", "fish"]);
    let complete = |line: &str| offered("fish", &["--no-config", "-c"], &format!("{script}\ncomplete -C'{line}'"));
    let Some(offers) = complete("kennel memo --ttl 1h -- prin") else { return };
    assert!(offers.lines().any(|offer| offer.starts_with("printf")), "{offers}");
    assert!(complete("kennel memo --tt").expect("fish").contains("--ttl"));
    assert!(!complete("kennel memo -- ls --tt").expect("fish").contains("--ttl"));
}
