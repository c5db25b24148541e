//! How long it takes to dump, load, copy and resize a cache file of a million items, and what other processes feel.
//!
//! ```sh
//! cargo run --release -p kennel-stream --example moving                     # 1,000,000 items of 100 bytes
//! cargo run --release -p kennel-stream --example moving 200000 4096         # so many items of so many bytes
//! cargo run --release -p kennel-stream --example moving 1000000 100 resize  # only the rows with this in their names
//! ```
//!
//! An item is a key of 16 bytes and a value. While a file is resized, two processes read and two write, over all keys: the
//! readers all the time, each writer 20,000 times a second, or all the time in the rows called *storm*. A row gives the
//! longest read and the longest write in the two seconds before the resize and during it: the first is what the machine does
//! to any call. A file has twice the room that its items need. A few items find no slot in the index all the same, and reads
//! of these count as missed; a resize to half or less leaves more out.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kennel::{Cache, Changed, LockStrategy, NamespaceOptions, Options, ResizeOptions, SetOptions, record_size};
use kennel_stream::{Choice, FillOptions, Filling, dump_to, load};

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Bytes of a key.
const KEY: usize = 16;
/// How often a paced writer writes.
const PACE: Duration = Duration::from_micros(50);
/// How long the processes work before the resize begins.
const BEFORE: Duration = Duration::from_secs(2);
/// Bytes of the words of an item that has a tag or a namespace.
const MORE: usize = 40;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("worker") => work(&args[1..]),
        _ => measure(&args),
    };
    if let Err(error) = done {
        eprintln!("moving: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What a file holds.
#[derive(Clone, Copy)]
struct Content {
    items: u64,
    value: usize,
    tags: u64,
    namespaces: u64,
}

impl Content {
    /// A file with this many times the room that the items need.
    fn create(&self, path: &Path, times: f64) -> kennel::Result<Cache> {
        let more = if self.tags + self.namespaces > 0 { MORE } else { 0 };
        let room = self.items * record_size(KEY, self.value + more) as u64;
        let options = Options::new().capacity(capacity(room, times)).mean_item((KEY + self.value) as u64);
        options.locks(LockStrategy::Lease).create(path)
    }

    /// The handles of the parts of a file among which its items are spread.
    fn parts(cache: &Cache, namespaces: u64) -> kennel::Result<Vec<Cache>> {
        let part = |n| cache.namespace(&format!("part {n}"), &NamespaceOptions::new());
        if namespaces == 0 { Ok(vec![cache.clone()]) } else { (0..namespaces).map(part).collect() }
    }

    fn fill(&self, cache: &Cache) -> Done {
        let parts = Self::parts(cache, self.namespaces)?;
        let value = vec![b'v'; self.value];
        for n in 0..self.items {
            let tags: Vec<_> = (0..self.tags).map(|tag| format!("{tag} of {}", n / 8)).collect();
            parts[n as usize % parts.len()].set_with(key(n), &value, &SetOptions::new().tags(&tags))?;
        }
        Ok(())
    }
}

fn capacity(bytes: u64, times: f64) -> u64 {
    (bytes as f64 * times) as u64
}

fn key(n: u64) -> [u8; KEY] {
    let mut key = *b"item:00000000000";
    key[8..].copy_from_slice(&n.to_le_bytes());
    key
}

/// Measures the rows whose names contain the last argument.
fn measure(args: &[String]) -> Done {
    let items = args.first().map_or(Ok(1_000_000), |n| n.parse())?;
    let value = args.get(1).map_or(Ok(100), |n| n.parse::<usize>())?.saturating_sub(KEY);
    let is_wanted = |name: &str| args.get(2).is_none_or(|part| name.contains(part.as_str()));
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?;
    let plain = Content { items, value, tags: 0, namespaces: 0 };
    println!("{items} items of {} bytes", KEY + value);
    if is_wanted("dump, load, copy") {
        move_out(&plain, directory.path())?;
    }
    let tagged = Content { tags: 3, ..plain };
    let in_namespaces = Content { namespaces: 8, ..plain };
    for (name, content, times, writers) in [
        ("resize to twice, idle", plain, 2.0, None),
        ("resize to half, idle", plain, 0.5, None),
        ("resize to a quarter, idle", plain, 0.25, None),
        ("resize to twice", plain, 2.0, Some("write")),
        ("resize to half", plain, 0.5, Some("write")),
        ("resize to twice, tags", tagged, 2.0, Some("write")),
        ("resize to twice, namespaces", in_namespaces, 2.0, Some("write")),
        ("resize to twice, near copies", plain, 2.0, Some("near")),
        ("resize to twice, storm", plain, 2.0, Some("storm")),
        ("resize to half, storm", plain, 0.5, Some("storm")),
    ] {
        if is_wanted(name) {
            let path = directory.path().join("resized");
            let cache = content.create(&path, 2.0)?;
            content.fill(&cache)?;
            resize(name, &content, &cache, times, writers)?;
            drop(cache);
            Options::new().destroy(&path)?;
        }
    }
    Ok(())
}

/// Dumps a file, and loads and copies it into files of the same size.
fn move_out(content: &Content, directory: &Path) -> Done {
    let [from, loaded, copied, stream] = ["from", "loaded", "copied", "stream"].map(|name| directory.join(name));
    let cache = content.create(&from, 2.0)?;
    content.fill(&cache)?;
    let held = cache.stats().items;

    let began = Instant::now();
    let written = dump_to(&cache, &Choice::default(), &stream, || false)?;
    println!("{:<32} {:>8.3} s  {} items, {} MiB", "dump", seconds(began), written.items, written.bytes >> 20);

    let to = content.create(&loaded, 2.0)?;
    let began = Instant::now();
    let tally = load(&to, &FillOptions::default(), File::open(&stream)?, |_, _| {})?.tally;
    let room = |no_room: u64| format!("{no_room} of {held} had no room");
    println!("{:<32} {:>8.3} s  {}", "load", seconds(began), room(tally.no_room));

    let to = content.create(&copied, 2.0)?;
    let began = Instant::now();
    let mut filling = Filling::new(&to, FillOptions::default());
    filling.store(cache.hottest_first())?;
    println!("{:<32} {:>8.3} s  {}", "copy", seconds(began), room(filling.tally.no_room));
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Resizes a file, beside two readers and two writers if these are named.
fn resize(name: &str, content: &Content, cache: &Cache, times: f64, writers: Option<&str>) -> Done {
    let kinds = writers.into_iter().flat_map(|writer| {
        let (reader, writer) = if writer == "near" { ("near", "write") } else { ("read", writer) };
        [reader, reader, writer, writer]
    });
    let mut workers = kinds.map(|kind| Worker::start(kind, cache.path(), content)).collect::<Done<Vec<_>>>()?;
    if !workers.is_empty() {
        thread::sleep(BEFORE);
    }
    workers.iter_mut().try_for_each(Worker::next_phase)?;
    let resized = cache.resize(capacity(cache.stats().capacity, times), &ResizeOptions::new())?;
    println!(
        "{name:<32} {:>8.3} s  closed for {:.1} ms, {} of {} items kept",
        resized.took.as_secs_f64(),
        resized.closed_for.as_secs_f64() * 1e3,
        resized.items,
        resized.items_before
    );
    for worker in workers {
        println!("    {}", worker.end()?);
    }
    Ok(())
}

/// A process that uses the file.
struct Worker {
    child: Child,
    input: ChildStdin,
}

impl Worker {
    fn start(kind: &str, path: &Path, content: &Content) -> Done<Self> {
        let mut command = Command::new(env::current_exe()?);
        let numbers = [content.items, content.value as u64, content.namespaces].map(|n| n.to_string());
        command.args(["worker", kind]).arg(path).args(numbers);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let mut ready = [0];
        child.stdout.as_mut().ok_or("no standard output")?.read_exact(&mut ready)?;
        Ok(Self { child, input })
    }

    fn next_phase(&mut self) -> Done {
        Ok(self.input.write_all(b"\n")?)
    }

    fn end(self) -> Done<String> {
        let Self { child, input } = self;
        drop(input);
        let output = child.wait_with_output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// What a worker saw in one phase.
#[derive(Clone, Copy, Default)]
struct Seen {
    calls: u64,
    missed: u64,
    longest: Duration,
}

/// Reads or writes until standard input ends. A line there begins the next phase.
fn work(args: &[String]) -> Done {
    static PHASE: AtomicUsize = AtomicUsize::new(0);
    let [kind, path, items, value, namespaces] = args else { return Err("a worker has five arguments".into()) };
    let (items, value) = (items.parse::<u64>()?, value.parse()?);
    let parts = Content::parts(&Options::new().open(path)?, namespaces.parse()?)?;
    let (mut seen, value, mut buf) = ([Seen::default(); 2], vec![b'w'; value], vec![0; value]);
    let mut near = HashMap::new();
    println!();
    thread::spawn(|| {
        let lines = BufReader::new(std::io::stdin()).lines().map_while(Result::ok);
        lines.for_each(|_| _ = PHASE.fetch_add(1, Ordering::Relaxed));
        PHASE.store(2, Ordering::Relaxed);
    });
    let mut random = u64::from(std::process::id()) | 1;
    let mut due = Instant::now();
    while let Some(seen) = seen.get_mut(PHASE.load(Ordering::Relaxed)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (n, key) = (random % items, key(random % items));
        let cache = &parts[n as usize % parts.len()];
        if kind == "write" {
            due += PACE;
            while Instant::now() < due {
                thread::sleep(due - Instant::now());
            }
        }
        let began = Instant::now();
        match kind.as_str() {
            "read" => seen.missed += u64::from(cache.get_into(key, &mut buf)?.is_none()),
            "near" => match near
                .get(&n)
                .map_or_else(|| Ok(cache.get_item(key).map(Changed::New)), |id| cache.get_if_changed(key, *id))?
            {
                Some(Changed::New(item)) => _ = near.insert(n, item.id()),
                Some(_) => {}
                None => seen.missed += 1,
            },
            _ => cache.set(key, &value)?,
        }
        seen.longest = seen.longest.max(began.elapsed());
        seen.calls += 1;
    }
    let [before, during] = seen.map(|seen| seen.longest.as_secs_f64() * 1e3);
    let Seen { calls, missed, .. } = seen[1];
    println!("{kind:<6} longest {before:.2} ms before, {during:.2} ms during; {calls} calls, {missed} missed");
    Ok(())
}
