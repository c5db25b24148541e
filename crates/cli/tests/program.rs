//! The program as a whole: usage, help, output that nobody reads, programs that it runs, and the demo.

mod fixture;

use std::error::Error;
use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fixture::{Expect as _, Fixture, Outcome, kennel};
use tempfile::TempDir;

/// More of `memo` and `lock` is in `commands.rs`, with the commands of a Unix shell. Here they run this program itself,
/// as they can everywhere.
#[test]
fn memo_and_lock_run_programs_everywhere() -> Outcome {
    let fixture = Fixture::new()?;
    let increment = |command: &mut Command| {
        command
            .arg("--")
            .arg(kennel().get_program())
            .arg("incr")
            .arg(&fixture.file)
            .args(["runs", "--initial", "1"])
            .output()
    };
    for _ in 0..2 {
        let memory = fixture.dir.path().join("memo.cache");
        increment(kennel().arg("memo").env("KENNEL_MEMO_CACHE", memory))?.expect_status(0).expect_stdout("1\n");
    }
    increment(&mut fixture.command("lock", ["key"]))?.expect_status(0).expect_stdout("2\n");
    // Its command waits for input, and goes on doing so when it is killed.
    let mut holder = fixture.command("lock", ["key", "--"]);
    holder.arg(kennel().get_program()).arg("set").arg(&fixture.file).arg("input").stdin(Stdio::piped());
    let mut holder = holder.spawn()?;
    let is_locked = || -> Result<bool, Box<dyn Error>> {
        let output = fixture.run(
            "lock",
            ["key", "--wait", "0s", "--conflict-status", "75", "--"]
                .map(OsStr::new)
                .into_iter()
                .chain([kennel().get_program(), "--version".as_ref()]),
        )?;
        Ok(output.status.code() == Some(75))
    };
    while !is_locked()? {
        sleep(Duration::from_millis(10));
    }
    holder.kill()?;
    holder.wait()?;
    increment(&mut fixture.command("lock", ["key", "--wait", "30s"]))?.expect_status(0).expect_stdout("3\n");
    Ok(())
}

#[test]
fn usage_errors_are_status_2() -> Outcome {
    let wrong: [&[&str]; 7] = [
        &[],
        &["bark"],
        &["get"],
        &["create", "x", "--capacity", "64Q"],
        &["create", "x", "--mode", "999"],
        &["set", "x", "k", "v", "--ttl", "5"],
        &["completions", "cmd.exe"],
    ];
    for args in wrong {
        let output = kennel().args(args).output()?;
        output.expect_status(2).expect_stdout("");
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
    Ok(())
}

#[test]
fn every_command_explains_itself() -> Outcome {
    let overview = kennel().arg("--help").output()?;
    let text = overview.expect_status(0).text();
    assert!(!text.contains("-worker") && !text.contains("-herd"), "{text}");
    for name in [
        "demo",
        "memo",
        "lock",
        "invalidate",
        "create",
        "get",
        "set",
        "delete",
        "touch",
        "incr",
        "keys",
        "clear",
        "flush",
        "resize",
        "destroy",
        "stat",
        "verify",
        #[cfg(all(unix, feature = "far"))]
        "far",
        "replay",
        "completions",
        "man",
    ] {
        assert!(text.contains(&format!("\n  {name} ")), "{name} is not in:\n{text}");
        let help = kennel().args([name, "--help"]).output()?;
        let help = help.expect_status(0).text();
        assert!(help.contains("Example"), "{name} has no example:\n{help}");
    }
    Ok(())
}

#[test]
fn completions_exist_for_every_shell() -> Outcome {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = kennel().args(["completions", shell]).output()?;
        assert!(output.expect_status(0).text().contains("verify"), "{shell}");
    }
    Ok(())
}

#[test]
fn the_manual_has_a_page_for_each_command() -> Outcome {
    let page = kennel().arg("man").output()?;
    assert!(page.expect_status(0).text().contains(".TH KENNEL"));

    let dir = TempDir::new()?;
    kennel().args(["man", "--dir"]).arg(dir.path()).output()?.expect_status(0);
    assert!(dir.path().join("kennel.1").exists());
    assert!(dir.path().join("kennel-get.1").exists());
    assert!(!dir.path().join("kennel-demo-worker.1").exists());
    let nowhere = dir.path().join("nowhere");
    kennel().args(["man", "--dir"]).arg(nowhere).output()?.expect_status(2).expect_error("nowhere");
    Ok(())
}

#[test]
fn a_reader_that_leaves_early_is_no_error() -> Outcome {
    let fixture = Fixture::new()?;
    // More than a pipe holds, so that the writer meets the closed end.
    fixture.feed("set", &["big"], &vec![b'x'; 200_000])?.expect_status(0);
    for (name, args) in [("get", vec!["big"]), ("get", vec!["big", "--json"])] {
        let mut command = fixture.command(name, args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        output.expect_status(0);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for args in [vec!["man"], vec!["completions", "bash"]] {
        let mut child = kennel().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        output.expect_status(0);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[test]
fn the_demo_kills_and_reports() -> Outcome {
    let output = kennel().args(["demo", "--seconds", "2", "--processes", "2"]).output()?;
    let text = output.expect_status(0).text();
    for part in
        ["reads", "writes", "hit ratio", "SIGKILL", "1 creation, 32 served", "wrong values  0 in", "no problem in"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let kills = text.lines().find_map(|line| line.trim().strip_prefix("killed")?.split_whitespace().next());
    let kills: u64 = kills.ok_or("no line on kills")?.parse()?;
    assert!(kills >= 3, "{text}");
    Ok(())
}

#[test]
fn a_demo_worker_ends_with_its_parent() -> Outcome {
    let fixture = Fixture::new()?;
    let mut command = kennel();
    command.arg("demo-worker").arg(&fixture.file).arg("--seed=1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("no pipe")?;
    let mut first = [0; 1];
    stdout.read_exact(&mut first)?;
    assert_eq!(&first, b"{");
    drop(child.stdin.take());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    assert!(rest.ends_with(b"}\n"));
    assert!(child.wait()?.success());
    Ok(())
}

/// Each library that a program loads delays its start; the loader tells which, and does not start the program then.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
fn the_program_loads_no_library_of_mathematics() -> Outcome {
    let loaded = String::from_utf8(kennel().env("LD_TRACE_LOADED_OBJECTS", "1").output()?.stdout)?;
    assert!(loaded.contains("libc.so"), "{loaded}");
    assert!(!loaded.contains("libm.so"), "{loaded}");
    Ok(())
}
