//! `kennel replay` as a user meets it, on small traces in every format.

mod inputs;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

/// Keys and sizes of a trace of ten requests for four objects.
const TRACE: [(u64, u32); 10] =
    [(1, 100), (2, 200), (1, 100), (3, 300), (3, 300), (3, 300), (2, 200), (4, 400), (1, 100), (4, 400)];

fn kennel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kennel"));
    command.stdin(Stdio::null());
    command
}

/// Traces in a directory of their own.
struct Traces {
    dir: TempDir,
}

impl Traces {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { dir: TempDir::new()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

fn replay(trace: &Path, options: &str) -> Result<Output, Box<dyn Error>> {
    Ok(kennel().arg("replay").arg(trace).args(options.split_whitespace()).output()?)
}

/// The JSON of a replay that must succeed.
fn replay_json(trace: &Path, options: &str) -> Result<Value, Box<dyn Error>> {
    let output = replay(trace, &format!("{options} --json"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "standard error: {errors}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The message of a replay that must fail.
fn failure(trace: &Path, options: &str) -> Result<String, Box<dyn Error>> {
    let output = replay(trace, options)?;
    let message = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "standard error: {message}");
    assert_eq!(output.stdout, b"", "a failed replay prints no result");
    Ok(message)
}

fn csv() -> String {
    let rows: Vec<_> = TRACE.iter().map(|(key, size)| format!("1,0,28,{size},{key}\n")).collect();
    format!("version,time,op,size,lbn\n{}", rows.concat())
}

fn text() -> String {
    TRACE.iter().map(|(key, size)| format!("{key} {size}\n")).collect()
}

fn lis() -> String {
    TRACE.iter().map(|(key, _)| format!("{key} 1 0 0\n")).collect()
}

fn oracle_general() -> Vec<u8> {
    let record = |&(key, size): &(u64, u32)| {
        let fields = [&[0; 4][..], &key.to_le_bytes(), &size.to_le_bytes(), &[0xFF; 8]];
        fields.concat()
    };
    TRACE.iter().flat_map(record).collect()
}

/// A trace that asks for each of `objects` keys `rounds` times, in the same order every time.
fn loops(objects: u32, rounds: u32) -> String {
    let round: String = (0..objects).map(|key| format!("object:{key} 100\n")).collect();
    round.repeat(rounds as usize)
}

#[test]
fn a_trace_without_sizes_gets_values_of_one_size() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.lis", lis())?;
    let result = replay_json(&path, "--capacity 1MiB --value-size 1KiB")?;
    assert_eq!((&result["hits"], &result["byte_hit_ratio"]), (&json!(6), &json!(0.6)));
    Ok(())
}

#[test]
fn several_files_are_one_trace() -> Outcome {
    let traces = Traces::new()?;
    let first = traces.write("a.csv", csv())?;
    let second = traces.write("b.lis", "1 4 0 0\n")?;
    let second = second.to_str().ok_or("not text")?;
    let result = replay_json(&first, &format!("{second} --capacity 1MiB"))?;
    assert_eq!((&result["requests"], &result["hits"]), (&json!(14), &json!(10)));
    Ok(())
}

#[test]
fn format_and_columns_can_be_told() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", csv())?;
    for columns in ["key=5,size=4", "key=lbn,size=4"] {
        let options = format!("--capacity 1MiB --columns {columns}");
        assert_eq!(replay_json(&path, &options)?["hits"], 6);
    }
    let operations_as_keys = "--capacity 1MiB --format csv --columns key=op";
    assert_eq!(replay_json(&path, operations_as_keys)?["objects"], 1);
    Ok(())
}

#[test]
fn processes_add_up() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", loops(1000, 3))?;
    let alone = replay_json(&path, "--capacity 4MiB")?;
    let together = replay_json(&path, "--capacity 4MiB --processes 3")?;
    assert_eq!((&alone["hits"], &alone["processes"]), (&json!(2000), &json!(1)));
    assert_eq!(together["processes"], 3);
    for name in ["requests", "objects", "too_large", "evictions", "items"] {
        assert_eq!(alone[name], together[name], "{name}");
    }
    // A get may miss at any time: here when another worker is off the processor amid a write.
    let hits = together["hits"].as_u64();
    assert!((Some(1980)..=Some(2000)).contains(&hits), "{together}");
    Ok(())
}

#[test]
fn a_small_cache_evicts_in_any_number_of_processes() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", loops(20_000, 2))?;
    for processes in [1, 3] {
        let options = format!("--items 2000 --value-size 100 --processes {processes}");
        let result = replay_json(&path, &options)?;
        assert_eq!(result["requests"], 40_000);
        assert!(result["evictions"].as_u64() > Some(0), "{result}");
        assert!(result["hits"].as_u64() < Some(20_000), "{result}");
        // Smaller than the trace; how exactly capacity becomes records is the engine's business.
        assert!(result["items"].as_u64() < Some(4000), "{result}");
    }
    Ok(())
}

#[test]
fn a_replay_can_be_repeated() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", loops(5000, 3))?;
    let options = "--items 1000 --stripes 2 --seed 7";
    let (first, second) = (replay_json(&path, options)?, replay_json(&path, options)?);
    for name in ["hits", "evictions", "items"] {
        assert_eq!(first[name], second[name], "{name}");
    }
    assert_eq!(first["stripes"], 2);
    Ok(())
}

#[test]
fn values_that_are_too_large_are_counted() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", "a 100\nb 4294967295\na 100\nb 4294967295\n")?;
    let result = replay_json(&path, "--capacity 1MiB --stripes 1")?;
    assert_eq!((&result["hits"], &result["too_large"]), (&json!(1), &json!(2)));
    Ok(())
}

#[test]
fn the_cache_file_is_kept_where_it_is_wanted() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.csv", csv())?;
    let file = traces.path("kept.cache");
    let options = format!("--capacity 1MiB --file {}", file.display());
    replay_json(&path, &options)?;
    assert!(file.is_file());
    // A cache with something in it would falsify the result.
    let message = failure(&path, &options)?;
    assert!(message.contains("kept.cache"), "{message}");
    Ok(())
}

#[test]
fn people_get_a_table() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.csv", csv())?;
    let output = replay(&path, "--capacity 1MiB")?;
    let table = String::from_utf8(output.stdout)?;
    for (name, value) in [("requests", "10"), ("hit ratio", "60.0 %"), ("evictions", "0")] {
        let row = table.lines().find(|line| line.starts_with(&format!("{name} ")));
        let row = row.ok_or_else(|| format!("no row {name:?} in\n{table}"))?;
        assert!(row.ends_with(&format!("  {value}")), "{row}");
    }
    Ok(())
}

#[test]
fn errors_name_file_and_place() -> Outcome {
    let traces = Traces::new()?;
    let missing = traces.path("missing.csv");
    let message = failure(&missing, "--items 10")?;
    assert!(message.contains("missing.csv: cannot be opened: "), "{message}");
    let cases = [
        (
            traces.write("bad.csv", "id,size\n1,2\n1,x\n")?,
            "bad.csv: line 3: expected a size in bytes from 0 to 4294967295, found \"x\"",
        ),
        (
            traces.write("bad.lis", "1 1 0 0\n2\n")?,
            "bad.lis: line 2: expected a first key and a number of keys, found \"2\"",
        ),
        (
            traces.write("bad.oracleGeneral", &oracle_general()[..47])?,
            "bad.oracleGeneral: byte 24: expected a record of 24 bytes, \
             found the end of the trace after 23",
        ),
        (traces.write("empty.txt", "\n")?, "empty.txt: expected at least one request, found none"),
    ];
    for (path, expected) in cases {
        let message = failure(&path, "--items 10")?;
        assert!(message.contains(expected), "expected {expected}, found {message}");
    }
    Ok(())
}

#[test]
fn wrong_options_are_refused() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.txt", text())?;
    let cases = [
        ("", "--capacity"),
        ("--items 10 --capacity 1MiB", "cannot be used with"),
        ("--items 0", "--items"),
        ("--items 10 --value-size 5GiB", "expected at most 4294967295 bytes, found 5368709120"),
        ("--items 10 --processes 0", "--processes"),
        ("--items 10 --columns size", "expected `key=COLUMN` and `size=COLUMN`"),
        ("--items 10 --columns key=1", "--columns is for csv traces"),
        ("--items 10 --columns key=1 --no-header", "--columns is for csv traces"),
        ("--items 10 --format lis --columns key=1", "--columns is for csv traces"),
        (
            "--items 10 --processes 2 --locks process",
            "--locks process is for one process: expected --processes 1, found 2",
        ),
        ("--items 18446744073709551615", "expected less than 2^64 bytes in all"),
        ("--items 1", "--items 1 of 64 bytes: expected "),
        ("--capacity 1B", "--capacity: expected "),
        ("--items 100 --stripes 3", "--stripes: expected "),
        ("--items 100 --stripes 1 --lock-regions 3", "--lock-regions: expected "),
    ];
    for (options, expected) in cases {
        let message = failure(&path, options)?;
        assert!(message.contains(expected), "{options}: expected {expected}, found {message}");
    }
    Ok(())
}

/// The replay must not wait for the answers of a worker that is gone.
#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_is_killed_ends_the_replay() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("trace", loops(200_000, 5))?;
    let mut command = kennel();
    command.arg("replay").arg(path).args(["--items", "1000", "--processes", "2"]);
    let replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let worker = first_child(replay.id())?;
    let killed = Command::new("kill").args(["-KILL", &worker]).status()?;
    assert!(killed.success());
    let output = replay.wait_with_output()?;
    let message = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{message}");
    let expected = format!("worker 1 (process {worker}) ended before the trace did");
    assert!(message.contains(&expected), "{message}");
    Ok(())
}

/// Waits for the first child process of the process `parent`.
#[cfg(target_os = "linux")]
fn first_child(parent: u32) -> Result<String, Box<dyn Error>> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let patience = std::time::Duration::from_secs(300);
    let start = std::time::Instant::now();
    while start.elapsed() < patience {
        if let Some(child) = fs::read_to_string(&children)?.split_whitespace().next() {
            return Ok(child.to_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Err("no worker was started".into())
}
