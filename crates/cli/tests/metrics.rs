//! `kennel metrics` and `kennel stat --prometheus`: what they serve, to whom, and what hostile clients get.

mod fixture;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Expect, Fixture, Outcome, kennel};
use openmetrics_parser::openmetrics::parse_openmetrics;
use serde_json::Value;

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(targets: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut command = kennel();
        command.args(["metrics", "--listen", "127.0.0.1:0"]).args(targets).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().trim_start_matches("serving http://").trim_end_matches('/').parse()?;
        Ok(Self { process, address })
    }

    /// Sends bytes, and returns all that comes back.
    fn send(&self, bytes: &[u8]) -> Result<String, std::io::Error> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn get(&self, path: &str) -> Result<(String, String), Box<dyn std::error::Error>> {
        let answer = self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
        Ok((head.to_owned(), body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The lines of a text for one time series.
fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// Checks a text with a parser that others wrote, and returns the number of its families.
fn parsed(text: &str) -> usize {
    let exposition = parse_openmetrics(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    exposition.families.len()
}

#[test]
fn what_is_served_is_open_metrics() -> Outcome {
    let fixture = Fixture::new()?;
    fixture.run("set", ["greeting", "hello"])?.expect_status(0);
    let server = Server::start(&[format!("web={}", fixture.file.display())])?;
    let (head, text) = server.get("/metrics")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{head}");
    assert!(parsed(&text) > 25, "{text}");
    let created = "kennel_creation_seconds_bucket{cache=\"web\",le=\"+Inf\"}";
    assert_eq!(value(&text, created), Some("0"));
    assert_eq!(value(&text, "kennel_creation_seconds_count{cache=\"web\"}"), Some("0"));
    assert_eq!(value(&text, "kennel_up{cache=\"web\"}"), Some("1"));
    assert_eq!(value(&text, "kennel_sets_total{cache=\"web\"}"), Some("1"));
    assert_eq!(value(&text, "kennel_gets_total{cache=\"web\",result=\"miss\"}"), Some("0"));
    assert!(!text.contains(&fixture.dir.path().display().to_string()), "the path is shown");
    let (_, document) = server.get("/stats.json")?;
    assert!(!document.contains(&fixture.dir.path().display().to_string()), "the path is shown");
    let document: Value = serde_json::from_str(&document)?;
    let cache = &document["caches"][0];
    assert_eq!((&cache["name"], &cache["up"], &cache["stats"]["items"]), (&"web".into(), &true.into(), &1.into()));
    assert_eq!(cache["sampled"]["sizes"].as_array().map(Vec::len), Some(8));
    Ok(())
}

#[test]
fn files_come_and_go() -> Outcome {
    let fixture = Fixture::new()?;
    let late = fixture.dir.path().join("late.cache");
    let server = Server::start(&[fixture.file.display().to_string(), late.display().to_string()])?;
    let ups = || -> Result<_, Box<dyn std::error::Error>> {
        let (_, text) = server.get("/metrics")?;
        parsed(&text);
        let up = |name: &str| value(&text, &format!("kennel_up{{cache=\"{name}\"}}")).map(str::to_owned);
        Ok([up("test"), up("late")].map(Option::unwrap_or_default))
    };
    assert_eq!(ups()?, ["1", "0"]);
    let (_, document) = server.get("/stats.json")?;
    let document: Value = serde_json::from_str(&document)?;
    assert_eq!(document["caches"][1]["problem"], "there is no such file");
    kennel().args(["create", "--capacity", "4MiB"]).arg(&late).output()?.expect_status(0);
    assert_eq!(ups()?, ["1", "1"]);
    fs::remove_file(&fixture.file)?;
    assert_eq!(ups()?, ["0", "1"]);
    fs::write(&fixture.file, "no cache")?;
    assert_eq!(ups()?, ["0", "1"]);
    Ok(())
}

#[test]
fn only_get_and_head_of_known_paths_are_answered() -> Outcome {
    let fixture = Fixture::new()?;
    let server = Server::start(&[fixture.file.display().to_string()])?;
    let (head, body) = server.get("/")?;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/html"), "{head}");
    assert!(head.contains("Content-Security-Policy: default-src 'none';") && body.starts_with("<!doctype html>"));
    assert!(server.get("/../etc/passwd")?.0.starts_with("HTTP/1.1 404 "));
    let answer = server.send(b"HEAD /metrics HTTP/1.1\r\n\r\n")?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(server.send(b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")?.starts_with("HTTP/1.1 405 "));
    Ok(())
}

#[test]
fn hostile_clients_get_an_error_and_keep_nobody_waiting() -> Outcome {
    let fixture = Fixture::new()?;
    let server = Server::start(&[fixture.file.display().to_string()])?;
    let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(60_000));
    assert!(server.send(long.as_bytes())?.starts_with("HTTP/1.1 431 "));
    assert!(server.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")?.starts_with("HTTP/1.1 400 "));
    // More silent clients than the server has threads: each is cut off in time.
    let start = Instant::now();
    let silent: Vec<_> = (0..6).map(|_| TcpStream::connect(server.address)).collect::<Result<_, _>>()?;
    let (head, _) = server.get("/metrics")?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(start.elapsed() < Duration::from_secs(18), "{:?}", start.elapsed());
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    Ok(())
}

#[test]
fn stat_writes_the_metrics_of_several_files_once() -> Outcome {
    let fixture = Fixture::new()?;
    let missing = fixture.dir.path().join("no\"such\n.cache");
    let output = kennel().args(["stat", "--prometheus"]).arg(&fixture.file).arg(&missing).output()?;
    output.expect_status(0).expect_error("no cache file");
    let text = output.text();
    parsed(&text);
    assert_eq!(value(&text, "kennel_up{cache=\"test\"}"), Some("1"));
    assert_eq!(value(&text, r#"kennel_up{cache="no\"such\n"}"#), Some("0"));
    let twice = kennel().args(["stat", "--prometheus"]).arg(&fixture.file).arg(&fixture.file).output()?;
    twice.expect_status(2).expect_error("two files have the name");
    let without = kennel().arg("stat").arg(&fixture.file).arg(&fixture.file).output()?;
    without.expect_status(2).expect_error("--prometheus");
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named() -> Outcome {
    let fixture = Fixture::new()?;
    let server = Server::start(&[fixture.file.display().to_string()])?;
    let mut second = Command::new(env!("CARGO_BIN_EXE_kennel"));
    let output = second.args(["metrics", "--listen", &server.address.to_string()]).arg(&fixture.file).output()?;
    output.expect_status(2).expect_error("cannot listen on 127.0.0.1:");
    Ok(())
}

/// The page as a browser shows it after a few seconds; `None` where no browser is installed.
fn in_browser(address: SocketAddr) -> Option<String> {
    let folder = tempfile::tempdir().ok()?;
    let profile = format!("--user-data-dir={}", folder.path().display());
    let show = |name: &str| {
        Command::new(name)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=6000",
                "--dump-dom",
                &profile,
            ])
            .arg(format!("http://{address}/"))
            .stderr(Stdio::null())
            .output()
            .ok()
    };
    let shown = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(show)?;
    Some(String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[test]
fn a_browser_shows_the_page_and_names_are_text_in_it() -> Outcome {
    let fixture = Fixture::new()?;
    let cache = kennel::Options::new().open(&fixture.file)?;
    let hostile = cache.namespace("<b>bold</b>", &kennel::NamespaceOptions::new())?;
    for i in 0..2000 {
        hostile.set(format!("key {i}"), "value")?;
    }
    let server = Server::start(&[format!("web={}", fixture.file.display()), "gone=missing.cache".to_owned()])?;
    let Some(page) = in_browser(server.address) else { return Ok(()) };
    for part in [
        "2.0k items",
        "creations of values",
        "<th>reads/s</th>",
        "limited by nothing yet",
        "&lt;b&gt;bold&lt;/b&gt;",
        "<option value=\"gone\">gone</option>",
        "<polyline",
    ] {
        assert!(page.contains(part), "{part:?} is not in\n{page}");
    }
    assert!(!page.contains("<b>bold</b>"), "a name became a part of the page");
    Ok(())
}

/// A cache that has every metric: those of namespaces need one.
fn with_namespace(dir: &tempfile::TempDir) -> kennel::Result<kennel::Cache> {
    let cache =
        kennel::Options::new().capacity(4 << 20).namespace_reads(true).create(dir.path().join("named.cache"))?;
    cache.namespace("a \"name\"\n\\", &kennel::NamespaceOptions::new())?;
    Ok(cache)
}

#[test]
fn a_metric_that_only_some_files_have_is_served_once() -> Outcome {
    let (fixture, dir) = (Fixture::new()?, tempfile::tempdir()?);
    let named = with_namespace(&dir)?;
    let lock = named.lock("key", kennel::Wait::Forever)?;
    let how = kennel::LockOptions::new().wait(kennel::Wait::For(Duration::from_millis(5)));
    std::thread::scope(|scope| {
        scope.spawn(|| named.lock_with("key", &how).is_err()).join().is_ok_and(|timed_out| timed_out)
    })
    .then_some(())
    .ok_or("it should wait in vain")?;
    drop(lock);
    for files in [[&fixture.file, named.path()], [named.path(), &fixture.file]] {
        let output = kennel().args(["stat", "--prometheus"]).args(files).output()?;
        output.expect_status(0);
        let text = output.text();
        parsed(&text);
        assert_eq!(text.matches("# TYPE kennel_namespace_gets counter\n").count(), 1, "{text}");
        let series = r#"kennel_namespace_gets_total{cache="named",namespace="a \"name\"\n\\",result="hit"}"#;
        assert_eq!(value(&text, series), Some("0"), "{text}");
        assert_eq!(value(&text, "kennel_claim_wait_seconds_count{cache=\"named\"}"), Some("1"));
        assert_eq!(value(&text, "kennel_claim_wait_seconds_bucket{cache=\"named\",le=\"0.004096\"}"), Some("0"));
    }
    let stat = kennel().arg("stat").arg(named.path()).output()?;
    stat.expect_status(0);
    assert!(stat.text().contains("\n  claim wait       1              mean "), "{}", stat.text());
    Ok(())
}

/// All texts of a JSON document under one of these keys.
fn texts_under<'v>(value: &'v Value, keys: &[&str], found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
            Value::String(text) if keys.contains(&key.as_str()) => found.push(text),
            value => texts_under(value, keys, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| texts_under(value, keys, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_exist() -> Outcome {
    let dashboard: Value = serde_json::from_str(include_str!("../grafana.json"))?;
    let mut texts = Vec::new();
    texts_under(&dashboard, &["expr", "query"], &mut texts);
    let dir = tempfile::tempdir()?;
    let samples: Vec<_> = with_namespace(&dir)?.stats().samples().collect();
    let known = |name: &str| name == "kennel_up" || samples.iter().any(|sample| sample.name == name);
    let mut named = std::collections::BTreeSet::new();
    for text in texts {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("kennel_") {
                assert!(known(word), "{word} in {text}");
                named.insert(word);
            }
        }
        // Labels with a fixed value, such as result="hit".
        for (at, _) in text.match_indices("=\"") {
            let label = text[..at].rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
            let value = text[at + 2..].split('"').next().unwrap_or_default();
            let exists = |sample: &kennel::Sample| sample.labels.iter().any(|(name, of)| *name == label && of == value);
            assert!(samples.iter().any(exists), "{label}={value} in {text}");
        }
    }
    assert!(named.len() > 20, "{named:?}");
    Ok(())
}
