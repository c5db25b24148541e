//! What is read: formats, compression, pipes, and what is refused.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::{Outcome, TRACE, Traces, csv, failure, kennel, lis, loops, oracle_general, replay, replay_json, text};

/// The trace as a table: `header` if there is one, and each request as `row` writes it.
fn table(header: &str, row: impl Fn(u64, u32) -> String) -> String {
    let rows: Vec<_> = TRACE.iter().map(|&(key, size)| row(key, size) + "\n").collect();
    header.to_owned() + &rows.concat()
}

fn msr() -> String {
    table("", |key, size| format!("128166372003061629,usr,0,Read,{key},{size},41286"))
}

/// The trace in each format that tells sizes, and the name of the format.
fn traces_with_sizes() -> Vec<Named> {
    let msr_header = "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\n";
    let texts = [
        ("csv", csv()),
        ("csv", table("Time,LBA,Length\n", |key, size| format!("7,{key},{size}"))),
        ("csv", table("\"id\",size,\"what, and why\"\n", |key, size| format!("\"{key}\",\"{size}\",\"a, \"\"b\"\"\""))),
        ("twitter", table("", |key, size| format!("0,{key},1,{size},9,get,0"))),
        ("twitter", table("", |key, size| format!("0,a:{key},b,5,{size},9,gets,0"))),
        ("msr", msr()),
        ("msr", msr_header.to_owned() + &msr()),
        ("cachelib-kv", table("key,op,size,op_count,key_size\n", |key, size| format!("{key},GET,{size},1,16"))),
        (
            "cachelib-kv",
            table("op_time,key,key_size,op,op_count,size,cache_hits,ttl\n", |key, size| {
                format!("0,{key},16,GET,1,{size},0,0")
            }),
        ),
        (
            "cachelib-block",
            table("op_time,block_id,block_id_size,io_offset,io_size,op_name\n", |key, size| {
                format!("0,{key},8388608,0,{size},get")
            }),
        ),
        ("webcachesim", table("", |key, size| format!("15 {key} {size}"))),
        ("webcachesim", table("", |key, size| format!("15.5\t{key}\t{size}\t3"))),
        ("text", text()),
    ];
    let texts = texts.map(|(name, content)| (name, content.into_bytes()));
    texts.into_iter().chain([("oracleGeneral", oracle_general())]).collect()
}

/// The trace in each format that tells no sizes, and the name of the format.
fn traces_without_sizes() -> [(&'static str, String); 5] {
    let lirs = table("", |key, _| if key == 3 { "3\n*".to_owned() } else { key.to_string() });
    [
        ("arc", lis()),
        ("lirs", lirs),
        ("time-key", table("", |key, _| format!("1595366400.5 {key}"))),
        ("time-key", table("", |key, _| format!("15 user:{key}"))),
        ("text", table("", |key, _| format!("user:{key}"))),
    ]
}

fn gzip(content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

fn xz(content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0))?;
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

/// A name, and the bytes of a file.
type Named = (&'static str, Vec<u8>);

/// The content in each compression, and its name.
fn compressed(content: &[u8]) -> Result<Vec<Named>, Box<dyn Error>> {
    Ok(vec![("gzip", gzip(content)?), ("xz", xz(content)?), ("zstd", zstd::encode_all(content, 1)?)])
}

/// A replay of what comes through standard input.
fn replay_stdin(content: &[u8], options: &str) -> Result<Output, Box<dyn Error>> {
    let mut command = kennel();
    command.args(["replay", "-"]).args(options.split_whitespace());
    let mut replay = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let written = replay.stdin.take().ok_or("no pipe")?.write_all(content);
    let output = replay.wait_with_output()?;
    // A replay that refuses its input need not read it to the end.
    if output.status.success() {
        written?;
    }
    Ok(output)
}

#[test]
fn every_format_gives_the_same_result() -> Outcome {
    let traces = Traces::new()?;
    for (number, (format, content)) in traces_with_sizes().into_iter().enumerate() {
        let path = traces.write(&format!("trace{number}"), content)?;
        let result = replay_json(&path, "--capacity 1MiB")?;
        let expected = json!([path, format, 10, 4, 6, 0.6, 1400.0 / 2400.0, 0, 0, 4, "file", 1]);
        let names =
            ["objects", "hits", "hit_ratio", "byte_hit_ratio", "too_large", "evictions", "items", "locks", "processes"];
        let found: Vec<_> = [&result["traces"][0], &result["inputs"][0]["format"], &result["requests"]]
            .into_iter()
            .chain(names.map(|name| &result[name]))
            .collect();
        assert_eq!(json!(found), expected, "{result}");
        assert!(result["seconds"].as_f64() > Some(0.0), "{result}");
        assert!(result["operations_per_second"].as_f64() > Some(0.0), "{result}");
        assert!(result["capacity"].as_u64() > Some(0), "{result}");
        assert!(result["stripes"].as_u64() > Some(0), "{result}");
    }
    Ok(())
}

#[test]
fn formats_without_sizes_are_recognized() -> Outcome {
    let traces = Traces::new()?;
    for (number, (format, content)) in traces_without_sizes().into_iter().enumerate() {
        let path = traces.write(&format!("trace{number}"), content)?;
        let result = replay_json(&path, "--capacity 1MiB")?;
        let found = json!([result["inputs"][0]["format"], result["requests"], result["objects"], result["hits"]]);
        assert_eq!(found, json!([format, 10, 4, 6]), "{result}");
    }
    Ok(())
}

#[test]
fn line_ends_and_byte_order_marks_change_nothing() -> Outcome {
    let traces = Traces::new()?;
    let texts = traces_with_sizes()
        .into_iter()
        .filter_map(|(format, content)| Some((format, String::from_utf8(content).ok()?)));
    for (number, (format, content)) in texts.chain(traces_without_sizes()).enumerate() {
        let content = format!("\u{FEFF}\n{}", content.trim_end()).replace('\n', "\r\n");
        let path = traces.write(&format!("trace{number}"), content)?;
        let result = replay_json(&path, "--capacity 1MiB")?;
        assert_eq!(json!([result["inputs"][0]["format"], result["hits"]]), json!([format, 6]), "{result}");
    }
    Ok(())
}

#[test]
fn compression_is_recognized_in_files_and_pipes() -> Outcome {
    let traces = Traces::new()?;
    for (compression, content) in compressed(msr().as_bytes())? {
        // A name that promises something else.
        let path = traces.write("trace.lis.zst", &content)?;
        let result = replay_json(&path, "--capacity 1MiB")?;
        let found = json!([result["inputs"][0]["compression"], result["inputs"][0]["format"], result["hits"]]);
        assert_eq!(found, json!([compression, "msr", 6]), "{result}");
        let output = replay_stdin(&content, "--capacity 1MiB --json")?;
        let result: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(json!([result["traces"], result["hits"]]), json!([["-"], 6]), "{result}");
    }
    Ok(())
}

#[test]
fn a_pipe_is_read_once_and_whole() -> Outcome {
    // More than a pipe holds, and more than is looked at to recognize the format.
    let trace = loops(40_000, 4);
    assert!(trace.len() > 2 << 20);
    let output = replay_stdin(trace.as_bytes(), "--capacity 64MiB --json --processes 2")?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(json!([result["requests"], result["objects"]]), json!([160_000, 40_000]), "{result}");
    let output = replay_stdin(b"", "--items 100")?;
    let message = String::from_utf8(output.stderr)?;
    assert_eq!(
        (output.status.code(), message.as_str()),
        (Some(2), "kennel: -: expected at least one request, found none\n")
    );
    Ok(())
}

/// The kind of file that `<(...)` of a shell gives as well.
#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_once() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    let mut command = kennel();
    command.arg("replay").arg(&path).args(["--items", "100", "--json"]);
    let replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    std::fs::write(&path, csv())?;
    let output = replay.wait_with_output()?;
    let result: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(json!([result["requests"], result["hits"]]), json!([10, 6]), "{result}");
    Ok(())
}

#[test]
fn what_cannot_be_spooled_is_an_error() -> Outcome {
    let traces = Traces::new()?;
    let nowhere = traces.path("nowhere");
    let mut command = kennel();
    command.args(["replay", "-", "--items", "100"]);
    for name in ["TMPDIR", "TMP", "TEMP"] {
        command.env(name, &nowhere);
    }
    let mut replay = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    replay.stdin.take().ok_or("no pipe")?.write_all(csv().as_bytes())?;
    let output = replay.wait_with_output()?;
    let message = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{message}");
    let expected = format!("-: cannot write the contents of the pipe to a temporary file in {}: ", nowhere.display());
    assert!(message.contains(&expected), "{message}");
    Ok(())
}

#[test]
fn what_was_recognized_is_told_with_the_first_requests() -> Outcome {
    let traces = Traces::new()?;
    let compressed = gzip(csv().as_bytes())?;
    let path = traces.write("a", compressed)?;
    let told = |options: &str| -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(replay(&path, &format!("--items 100 {options}"))?.stderr)?)
    };
    let name = path.display();
    let first = "first requests: key 1, size 100; key 2, size 200; key 1, size 100";
    assert_eq!(told("")?, format!("kennel: {name}: detected csv in gzip; {first}\n"));
    let first = "first requests: key 28; key 28; key 28";
    assert_eq!(
        told("--format csv --columns key=op,size=5")?.replace(", size 1", "").replace(", size 2", ""),
        format!("kennel: {name}: read as csv in gzip; {first}\n")
    );
    assert_eq!(told("--json")?, "");
    let result = replay_json(&path, "--items 100")?;
    let first = json!([{"key": "1", "size": 100}, {"key": "2", "size": 200}, {"key": "1", "size": 100}]);
    let expected = json!([{"path": path, "format": "csv", "detected": true, "compression": "gzip", "first": first}]);
    assert_eq!(result["inputs"], expected);
    Ok(())
}

#[test]
fn the_fields_of_the_json_are_those_that_are_documented() -> Outcome {
    let page = include_str!("../../../../docs/traces.md");
    let (_, table) = page.split_once("one object with these fields:").ok_or("no table of the fields")?;
    let first_column =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |")).map(|(names, _)| names);
    let mut documented: Vec<_> =
        first_column.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect();
    documented.sort_unstable();

    let traces = Traces::new()?;
    let path = traces.write("a.csv", csv())?;
    let result = replay_json(&path, "--items 100")?;
    let mut fields: Vec<_> = result.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, documented);
    Ok(())
}

#[test]
fn a_table_without_a_header_keeps_its_first_request() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.csv", table("", |key, size| format!("419,W,{key},{size}")))?;
    for options in ["", "--columns key=3,size=4", "--format csv --columns key=3"] {
        let message = failure(&path, &format!("--items 100 {options}"))?;
        assert!(message.contains("line 1: expected a header of names "), "{message}");
        assert!(message.contains("--no-header"), "{message}");
    }
    let result = replay_json(&path, "--capacity 1MiB --no-header --columns key=3,size=4")?;
    let found = json!([result["requests"], result["hits"], result["byte_hit_ratio"]]);
    assert_eq!(found, json!([10, 6, 1400.0 / 2400.0]), "{result}");
    for (options, expected) in [
        ("--no-header", "--no-header: expected --columns key=NUMBER as well"),
        ("--no-header --columns key=lbn", "expected a number for each column in --columns, found the name \"lbn\""),
    ] {
        let message = failure(&path, &format!("--items 100 {options}"))?;
        assert!(message.contains(expected), "{message}");
    }
    Ok(())
}

#[test]
fn what_looks_wrong_is_refused() -> Outcome {
    let traces = Traces::new()?;
    let cases: [(&[u8], &str); 9] = [
        (b"1 5\n2 7\n3 5\n", "--format text reads them as key and size, --format time-key as time and key"),
        (b"a,b\nc,d\n", "line 1: expected a header with a column key or id"),
        (b"a;b;c\nd;e;f\n", "line 1: expected fields separated by commas or blanks, not by `;`"),
        (b"<html>\n", "line 1: expected a trace, not HTML"),
        (b"ab cd ef\n", "line 1: expected lines of `key`"),
        (&[0; 100], "byte 0: expected text, or records of oracleGeneral"),
        (b"BZh91AY&SY\0\0\0", "bzip2 data, which has to be decompressed first: bzcat FILE | kennel replay -"),
        (&[b'a'; 3 << 20], "line 1: expected a line of at most 1048576 bytes, found a longer one"),
        (b"7\n*\nabc\n", "line 3: expected a block number or `*` alone in a line"),
    ];
    for (content, expected) in cases {
        let path = traces.write("trace", content)?;
        let message = failure(&path, "--items 100")?;
        assert!(message.contains(expected), "expected {expected}, found {message}");
    }
    let message = failure(traces.dir.path(), "--items 100")?;
    assert!(message.contains("expected a file, a pipe or -, found a directory"), "{message}");
    Ok(())
}

#[test]
fn a_cut_off_file_is_an_error() -> Outcome {
    let traces = Traces::new()?;
    let trace = loops(5000, 2);
    for (compression, whole) in compressed(trace.as_bytes())? {
        for len in [10, whole.len() / 2, whole.len() - 1] {
            let path = traces.write("trace", &whole[..len])?;
            let message = failure(&path, "--items 100")?;
            let expected = format!("the {compression} data cannot be decompressed");
            assert!(message.contains(&expected), "{compression}, {len} bytes: {message}");
        }
    }
    Ok(())
}

#[test]
fn standard_input_cannot_be_read_twice() -> Outcome {
    let message = failure(Path::new("-"), "- --items 100")?;
    assert!(message.contains("-: expected standard input once, found it twice"), "{message}");
    Ok(())
}

#[test]
fn a_reader_that_left_is_no_error() -> Outcome {
    let traces = Traces::new()?;
    let path = traces.write("a.csv", csv())?;
    let mut command = kennel();
    command.arg("replay").arg(path).args(["--items", "100"]);
    let mut replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(replay.stdout.take());
    let output = replay.wait_with_output()?;
    let message = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    Ok(())
}

#[test]
fn the_help_lists_the_formats_with_examples() -> Outcome {
    let output = kennel().args(["replay", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "- twitter: Twitter's cache traces",
        "Example: 0,user:7,6,512,1,get,0",
        "- msr: ",
        "Example: 128166372003061629,usr,0,Read,7014609920,24576,41286",
        "- cachelib-kv: ",
        "Example: key,op,size,op_count,key_size | 1668,GET,512,1,16",
        "- cachelib-block: ",
        "- csv: ",
        "Example: time,offset,size | 5633898,42932745,512",
        "- webcachesim: ",
        "Example: 15 4294967297 512",
        "- arc: ",
        "Example: 110765 64 0 0",
        "- lirs: ",
        "Example: 7 | * | 8",
        "- oracleGeneral: ",
        "24 bytes: u32 time, u64 id, u32 size, i64 next",
        "- time-key: ",
        "- text: ",
    ] {
        assert!(help.contains(expected), "no {expected:?} in {help}");
    }
    Ok(())
}
