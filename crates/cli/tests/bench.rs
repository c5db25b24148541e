//! `kennel bench` as a user meets it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// As little as can be measured.
const TINY: &str = "--seconds 0.03 --warm-up 0.01 --rounds 2 --keys 300";

fn bench(args: &str) -> Output {
    let args = args.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_kennel")).arg("bench").args(args).output().expect("the program")
}

#[track_caller]
fn output(args: &str) -> String {
    let output = bench(&format!("{TINY} {args}"));
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn json(args: &str) -> Value {
    serde_json::from_str(&output(&format!("{args} --json"))).expect("JSON")
}

#[track_caller]
fn refused(args: &str, part: &str) {
    let output = bench(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args}: {said}");
    assert!(said.contains(part), "{args}: {part:?} is not in {said:?}");
}

#[test]
fn cost_is_plotted_against_data_beside_the_limit() {
    let dir = TempDir::new().unwrap();
    let (plots, page) = (dir.path().join("plots"), dir.path().join("page.html"));
    let args = format!(
        "--seconds 0.03 --warm-up 0.01 --rounds 2 --no-syscalls --json --locks lease --processes 1 --batch 1,8 \
         --data-sizes 256KiB,3MiB --large-pages never,always --plots {} --report {}",
        plots.display(),
        page.display()
    );
    let output = bench(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2 * 2 * 2);
    for one in cells {
        assert!(one["limit_ns"]["median"].as_f64() > Some(0.0), "{one}");
        let (hits, reads) = (one["counts"]["hits"].as_u64().unwrap(), one["counts"]["reads"].as_u64().unwrap());
        assert!(hits * 10 > reads * 9 && one["counts"]["writes"].as_u64() > Some(0), "{one}");
    }
    let mut names: Vec<_> = std::fs::read_dir(&plots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cost-by-batch.svg", "cost-by-data.svg"]);
    let data = std::fs::read_to_string(plots.join("cost-by-data.svg")).unwrap();
    for shown in ["lease, large pages never", "lease, large pages always", "limit of a read", "256.0 KiB", "3.0 MiB"] {
        assert!(data.contains(shown), "{shown:?} is not in the plot");
    }
    assert!(std::fs::read_to_string(page).unwrap().contains("How cost grows"));
    refused("--data-sizes 1KiB", "data size: expected 64.0 KiB to 64.0 GiB");
}

#[test]
fn every_combination_is_measured() {
    let results = json("--locks file,rw-file --processes 1,2 --regions 1,4 --writes 50 --no-syscalls");
    let cells = results["cells"].as_array().expect("cells");
    // rw-file has one lock whatever the regions.
    assert_eq!(cells.len(), 2 * 2 + 2);
    assert_eq!((&results["plan"]["seconds"], &results["plan"]["seed"]), (&0.03.into(), &"1".into()));
    for one in cells {
        assert_eq!(one["rounds"].as_array().map(Vec::len), Some(2));
        assert!(one["throughput"]["median"].as_f64() > Some(0.0));
        let (reads, writes) = (one["counts"]["reads"].as_u64(), one["counts"]["writes"].as_u64());
        assert!(reads > Some(0) && writes > Some(0) && one["counts"]["hits"] == one["counts"]["reads"], "{one}");
        let latency = &one["read_latency"];
        assert!(latency["p50_ns"].as_u64() <= latency["p99_99_ns"].as_u64(), "{latency}");
        let jain = one["fairness"]["jain"].as_f64().expect("a number");
        assert!(jain > 0.0 && jain <= 1.0 + 1e-9, "{jain}");
        assert_eq!(one["system_calls"]["not_counted"], "it was not asked for");
        if cfg!(unix) {
            assert!(one["cpu_ns"]["user"].is_number() && one["switches"]["voluntary"].is_number());
        }
    }
    assert!(results["left_out"][0]["what"].as_str().is_some_and(|what| what.contains("rw-file")));
}

#[test]
fn threads_large_values_and_hot_keys_are_measured() {
    let pin = if cfg!(target_os = "linux") { " --pin" } else { "" };
    let what = "--locks process --processes 1 --threads 3 --value-size 4KiB --distribution hot:0.1:0.9";
    let results = json(&(what.to_owned() + pin));
    assert_eq!(results["cells"][0]["cell"]["threads"], 3);
    assert_eq!(results["cells"][0]["cell"]["value_size"], 4096);
}

#[test]
fn system_calls_are_counted_or_it_is_said_why_not() {
    let results = json("--locks file --processes 1 --writes 100 --regions 1");
    let calls = &results["cells"][0]["system_calls"];
    match calls["per_operation"].as_f64() {
        // A file is locked, looked at and unlocked again for each write.
        Some(per_operation) => assert!((2.9..3.6).contains(&per_operation), "{calls}"),
        None => assert!(calls["not_counted"].is_string(), "{calls}"),
    }
}

#[test]
fn a_rate_is_kept_and_not_exceeded() {
    let results = json("--locks file --processes 2 --rate 2000 --no-syscalls");
    let one = &results["cells"][0];
    // 2 rounds of 0.03 s; fewer only if the machine is too busy for even that.
    assert!(one["counts"]["reads"].as_u64() <= Some(120), "{one}");
    assert!(one["cpu_ns"].is_null(), "waiting is no work of an operation's");
}

#[test]
fn a_rate_that_cannot_be_kept_is_told() {
    let dir = TempDir::new().expect("a directory");
    let page = dir.path().join("page.html");
    let what = "--locks file --processes 1 --no-syscalls --rate";
    let said = output(&format!("{what} 1000000000 --report {}", page.display()));
    assert!(said.contains("behind: file, 64 regions, 1 x 1 threads"), "{said}");
    assert!(said.contains("of 1000 M operations a second"), "{said}");
    assert!(std::fs::read_to_string(page).expect("the page").contains("Behind the rate: file, 64 regions"));
    assert!(!output(&format!("{what} 100")).contains("behind"));
}

#[test]
fn the_page_has_every_section_and_needs_nothing_else() {
    let dir = TempDir::new().expect("a directory");
    let page = dir.path().join("page.html");
    let said = output(&format!("--locks file,rw-file --processes 1,2 --regions 1,4 --report {}", page.display()));
    assert!(said.contains("operations/s") && said.contains("page.html"), "{said}");
    let html = std::fs::read_to_string(page).expect("the page");
    for id in ["throughput", "regions", "growth", "strategies", "latency", "table", "method"] {
        assert!(html.contains(&format!("<section id=\"{id}\">")), "no section {id}");
    }
    // Throughput for two numbers of regions, one by regions, and latencies of reads and writes for both. Cost, slow reads,
    // slow writes and fairness by processes for both, and cost by regions for both numbers of processes.
    assert_eq!(html.matches("<svg").count(), 2 + 1 + 4 + 2 * 4 + 2);
    assert!(!html.contains("could not be drawn"));
    // Wider than that a table does not fit on a page of 1280 pixels.
    let rows: Vec<&str> = html.split("<tr>").filter(|row| row.contains("<th>strategy</th>")).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.matches("<th>").count() <= 16), "{rows:?}");
    for word in ["file", "rw-file", "lock region", "Zipf"] {
        assert!(html.contains(&format!("<dt>{word}</dt>")), "{word} is not explained");
    }
    for outside in ["<script", "<link", "<img", "src=", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn samples_are_written_on_request() {
    let dir = TempDir::new().expect("a directory");
    let samples = dir.path().join("samples.csv");
    output(&format!("--locks file --processes 2 --writes 50 --no-syscalls --samples {}", samples.display()));
    let text = std::fs::read_to_string(samples).expect("the samples");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("round,cell,process,thread,kind,nanoseconds"));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    for (round, process) in [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")] {
        for kind in ["read", "write"] {
            let found = lines.iter().any(|line| line[0] == round && line[2] == process && line[4] == kind);
            assert!(found, "no {kind} of process {process} in round {round}");
        }
    }
    assert!(lines.iter().all(|line| line.len() == 6 && line[5].parse::<u64>().is_ok()));
}

#[test]
fn a_trace_gives_the_keys() {
    let dir = TempDir::new().expect("a directory");
    let trace = dir.path().join("trace.txt");
    std::fs::write(&trace, "apple\nbread\napple\ncheese\n").expect("a trace");
    // The keys are the trace's, so their number is not an option any more.
    let args = ["bench", "--seconds", "0.03", "--rounds", "1", "--locks", "file", "--no-syscalls", "--json", "--trace"];
    let output = Command::new(env!("CARGO_BIN_EXE_kennel")).args(args).arg(&trace).output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(results["plan"]["items"], 3);

    std::fs::write(&trace, "").expect("a trace");
    let output = Command::new(env!("CARGO_BIN_EXE_kennel")).args(args).arg(&trace).output().expect("the program");
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected at least one request, found none"));
}

#[test]
fn nothing_is_left_behind() {
    let dir = TempDir::new().expect("a directory");
    output(&format!("--locks file --processes 1 --no-syscalls --directory {}", dir.path().display()));
    assert_eq!(dir.path().read_dir().expect("a directory").count(), 0);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    refused("--locks spin", "lock strategy: expected one of file");
    refused("--regions 3", "lock regions: expected a power of two up to 4096, found 3");
    refused("--processes 0", "processes: expected 1 to 256, found 0");
    refused("--writes 101", "share of writes: expected 0 to 100 percent, found 101");
    refused("--rounds 0", "rounds: expected at least 1, found 0");
    refused("--seconds 0", "seconds: expected more than 0, found 0");
    refused("--rate 0", "rate: expected more than 0 operations a second, found 0");
    refused("--distribution normal", "expected uniform, zipf:THETA or hot:");
    refused("--value-size 64Q", "unknown unit");
    refused("--locks process --processes 2", "it is for one process");
    refused("--trace nowhere.csv --keys 5", "cannot be used with");
    refused("--trace nowhere.csv", "nowhere.csv");
    let nowhere = Path::new("/nowhere/page.html");
    refused(&format!("--report {}", nowhere.display()), "/nowhere/page.html");
    refused("--directory /nowhere", "/nowhere");
    refused("--capacity 1B --no-syscalls --locks file --processes 1", "file, 64 regions, 1 x 1 threads");
}
