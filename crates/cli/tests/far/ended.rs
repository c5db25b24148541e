//! A demo that is ended from outside. Its descendants are looked up in /proc.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::ctrl_c::heeding_ctrl_c;
use crate::fixture::kennel;
use crate::server::{program, send, wait_until};

/// Descendants of a process, from /proc.
fn descendants(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all: Vec<u32> =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&of) = found.get(next) {
        found.extend(all.iter().copied().filter(|pid| parent(*pid) == Some(of)));
        next += 1;
    }
    found.split_off(1)
}

#[test]
fn a_demo_that_is_ended_leaves_no_process() {
    let Some(program) = program() else { return };
    for signal in ["TERM", "INT", "KILL"] {
        let mut command = kennel();
        command.args(["far", "demo", "--seconds", "600", "--server"]).arg(&program);
        let mut child = heeding_ctrl_c(&mut command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let folder: PathBuf = loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended early");
            if let Some((_, rest)) = line.split_once("The files are in ") {
                break Path::new(rest.split(". From").next().unwrap()).to_owned();
            }
        };
        wait_until("no worker starts", || descendants(child.id()).len() >= 10);
        let processes = descendants(child.id());
        send(signal, child.id());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        child.wait().unwrap();
        let is_there = |pid: &u32| Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok();
        wait_until("a process goes on", || !processes.iter().any(is_there));
        if signal == "KILL" {
            // What nobody could remove.
            fs::remove_dir_all(&folder).unwrap();
        }
        assert!(!folder.exists(), "{signal}: {} is left", folder.display());
    }
}
