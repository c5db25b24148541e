//! The groups of subjects that are compared with each other.

use crate::group::{Effort, Medians, interleave, subject};
use crate::keys::{Key, SEED, in_order, key, shuffled};
use crate::rows::{Table, goal};
use crate::server::{Kind, Server};
use crate::stores::{Lmdb, Moka, Quick, Sqlite, Store, fill, kennel_cache, room};
use crate::walk::{Walk, one_after_another};
use crate::{batches, creation, near, opening, pages, tags, writes};
use anyhow::{Result, ensure};
use kennel::{Cache, LargePages, Values, record_size};
use kennel_harness::{Bench, Cell, Keys, Limit, Matrix, Measured, Plan, Strategies, directory, pin};
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A group: measures its subjects, and adds its rows.
pub type Group = fn(&Effort, &mut Table) -> Result<()>;

/// All groups by name.
pub const ALL: &[(&str, Group)] = &[
    ("limit-64-16m", |effort, table| against_limit(effort, table, 64, 16 << 20)),
    ("limit-64-256m", |effort, table| against_limit(effort, table, 64, 256 << 20)),
    ("limit-4k-16m", |effort, table| against_limit(effort, table, 4096, 16 << 20)),
    ("limit-4k-256m", |effort, table| against_limit(effort, table, 4096, 256 << 20)),
    ("peers-read", peers_read),
    ("peers-write", peers_write),
    ("flock", writes::against_flock),
    ("evict", evict),
    ("full-1g", writes::in_a_full_cache),
    ("batches-16m", |effort, table| batches::batches(effort, table, 16 << 20)),
    ("batches-1g", |effort, table| batches::batches(effort, table, 1 << 30)),
    ("batches-file", batches::under_file_locks),
    ("pages-1g", pages::large_against_small),
    ("create", creation::hits),
    ("stale", creation::stale_hits),
    ("extended", creation::extended),
    ("tags", tags::tagged),
    ("near", near::unchanged),
    ("typed", creation::typed),
    ("opening", opening::open_get_close),
    ("hot-writer", hot_writer),
    ("processes", processes),
    ("servers", servers),
];

/// Keys of one turn of the peers.
const SMALL: u64 = (16 << 20) / 112;
const VALUE: [u8; 64] = [1; 64];
const LEASE: &str = "lease";
const NO_LEASE: &str = "the library has no lock strategy `lease`";

fn has_lease() -> bool {
    Strategies::built_in().named(LEASE).is_ok()
}

/// Reads all keys until no read raises an access mark any more, as with items that are read again and again.
fn settle(cache: &Cache, keys: &[Key]) {
    const HIGHEST_MARK: usize = 3;
    for _ in 0..HIGHEST_MARK {
        black_box(keys.iter().filter(|key| cache.contains(key)).count());
    }
}

/// Reads of keys that are known beforehand: the processor works on several at the same time.
fn independent(
    walk: &mut Walk<'_>,
    into: &mut [u8],
    n: usize,
    mut get: impl FnMut(&Key, &mut [u8]) -> Result<bool>,
) -> Result<()> {
    for _ in 0..n {
        ensure!(get(black_box(walk.step(1)), black_box(into))?, "a key is missing");
    }
    Ok(())
}

/// Reads against the lower bound for any cache, over as much data; and batches.
fn against_limit(effort: &Effort, table: &mut Table, value_size: usize, data: u64) -> Result<()> {
    let directory = directory(None)?;
    let items = data / record_size(size_of::<Key>(), value_size);
    let value = vec![1; value_size];
    // Reads do not depend on how stripes are locked; this strategy fills the cache quickly.
    let cache = kennel_cache(&directory.path().join("cache"), "process", room(items, value_size), value_size)?;
    (0..items).try_for_each(|number| Store::set(&cache, &key(number), &value))?;
    let mut keys = shuffled(items);
    keys.retain(|key| cache.contains(key));
    settle(&cache, &keys);
    ensure!(keys.len() as u64 * 100 > items * 97, "only {} of {items} values are held", keys.len());
    let limit = Limit::create(&directory.path().join("limit"), cache.stats().buckets, &in_order(items), value_size)?;
    let from_limit = |key: &Key, into: &mut [u8]| {
        limit.get_into(key, into);
        Ok(true)
    };
    let from_cache = |key: &Key, into: &mut [u8]| Store::get(&cache, key, into);

    let size = if value_size < 1024 { format!("{value_size} B") } else { format!("{} KiB", value_size / 1024) };
    let title = format!("get_into {size}, {} MiB", data >> 20);
    let mut buffers = vec![vec![1; value_size]; 4];
    let [a, b, c, d] = &mut buffers[..] else { unreachable!("four were made") };
    let [mut w, mut x, mut y, mut z, mut batches, mut others] = std::array::from_fn(|_| Walk::new(&keys));
    let mut values = Values::new();
    let mut subjects = vec![
        subject("limit", |n| one_after_another(&mut w, a, n, from_limit)),
        subject("get_into", |n| one_after_another(&mut x, b, n, from_cache)),
        subject("limit, independent", |n| independent(&mut y, c, n, from_limit)),
        subject("get_into, independent", |n| independent(&mut z, d, n, from_cache)),
    ];
    if value_size == VALUE.len() {
        let get_multi = |keys: &[Key]| black_box(cache.get_multi(keys)).iter().all(Option::is_some);
        subjects.push(subject("get_multi of 16, per key", move |n| in_batches(&mut batches, n, get_multi)));
        let mut get_multi_into = |keys: &[Key]| {
            cache.get_multi_into(keys, &mut values);
            black_box(&values).iter().all(|value| value.is_some())
        };
        let name = "get_multi_into of 16, per key";
        subjects.push(subject(name, move |n| in_batches(&mut others, n, &mut get_multi_into)));
    }
    let found = interleave(&title, effort, subjects)?;
    let goal_of = if value_size == VALUE.len() { goal(1.35, 1.15) } else { goal(1.2, 1.05) };
    table.add(&title, found.of("get_into")?, "limit", found.of("limit")?, goal_of);
    let (own, other) = (found.of("get_into, independent")?, found.of("limit, independent")?);
    let goal_of = if value_size == VALUE.len() { goal(1.9, 1.7) } else { None };
    table.add(&format!("{title}, independent"), own, "limit, independent", other, goal_of);
    if value_size == VALUE.len() {
        let name = format!("get_multi of 16 per key, {} MiB", data >> 20);
        let goal = if data == 256 << 20 { goal(0.45, 0.35) } else { None };
        let batch = found.of("get_multi of 16, per key")?;
        table.add(&name, batch, "get_into", found.of("get_into")?, goal);
        table.add(&name, batch, "get_into, independent", found.of("get_into, independent")?, None);
        let name = format!("get_multi_into of 16 per key, {} MiB", data >> 20);
        table.add(&name, found.of("get_multi_into of 16, per key")?, "get_into", found.of("get_into")?, goal);
    }
    Ok(())
}

/// Reads in batches of 16, by a call that returns whether all were there.
fn in_batches(walk: &mut Walk<'_>, n: usize, mut get: impl FnMut(&[Key]) -> bool) -> Result<()> {
    let mut left = n;
    while left > 0 {
        let keys = walk.next_few(left.min(16));
        ensure!(get(keys), "a key is missing");
        left -= keys.len();
    }
    Ok(())
}

/// Does a number of operations on each of two threads.
fn on_two_threads<S: Store + Sync>(store: &S, keys: &[Key], n: usize) -> Result<()> {
    let work = |from: usize| {
        let mut walk = Walk::from(keys, from % keys.len());
        one_after_another(&mut walk, &mut VALUE.clone(), n, |key, into| store.get(key, into))
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(keys.len() / 2 + n));
        work(n)?;
        other.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
    })
}

/// Reads of all peers: 16 MiB of values of 64 bytes, with one and two threads.
fn peers_read(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let path = |name: &str| directory.path().join(name);
    let stored = in_order(SMALL);
    let cache = kennel_cache(&path("kennel"), "process", room(SMALL, 64), 64)?;
    stored.iter().try_for_each(|key| Store::set(&cache, key, &VALUE))?;
    let quick = Quick::new(2 * SMALL as usize);
    let moka = Moka::new(2 * SMALL);
    let lmdb = Lmdb::create(&path("lmdb"), SMALL as usize)?;
    let sqlite = Sqlite::create(&path("sqlite"))?;
    fill(&quick, &stored, &VALUE)?;
    fill(&moka, &stored, &VALUE)?;
    fill(&lmdb, &stored, &VALUE)?;
    fill(&sqlite, &stored, &VALUE)?;
    let held: Vec<Key> = shuffled(SMALL).into_iter().filter(|key| cache.contains(key)).collect();
    settle(&cache, &held);

    fn reader<'a>(store: &'a impl Store, keys: &'a [Key]) -> impl FnMut(usize) -> Result<()> + 'a {
        let (mut walk, mut into) = (Walk::new(keys), VALUE);
        move |n| one_after_another(&mut walk, &mut into, n, |key, into| store.get(key, into))
    }
    let found = interleave(
        "get 64 B, 16 MiB, peers",
        effort,
        vec![
            subject("Kennel", reader(&cache, &held)),
            subject("quick_cache", reader(&quick, &held)),
            subject("moka", reader(&moka, &held)),
            subject("LMDB", reader(&lmdb, &held)),
            subject("SQLite", reader(&sqlite, &held)),
            subject("Kennel, 2 threads", |n| on_two_threads(&cache, &held, n)),
            subject("quick_cache, 2 threads", |n| on_two_threads(&quick, &held, n)),
            subject("moka, 2 threads", |n| on_two_threads(&moka, &held, n)),
            subject("LMDB, 2 threads", |n| on_two_threads(&lmdb, &held, n)),
        ],
    )?;
    let goals = [("quick_cache", goal(0.5, 0.35)), ("moka", goal(0.15, 0.1)), ("LMDB", goal(0.15, 0.1))];
    for (other, goal) in goals {
        compare(table, &found, "get_into 64 B, 16 MiB", "Kennel", other, goal)?;
        let name = format!("{other}, 2 threads");
        compare(table, &found, "get_into 64 B, 16 MiB, 2 threads", "Kennel, 2 threads", &name, goal)?;
    }
    compare(table, &found, "get_into 64 B, 16 MiB", "Kennel", "SQLite", None)
}

fn compare(
    table: &mut Table,
    found: &Medians,
    name: &str,
    own: &str,
    other: &str,
    goal: Option<crate::rows::Goal>,
) -> Result<()> {
    table.add(name, found.of(own)?, other, found.of(other)?, goal);
    Ok(())
}

/// Overwrites of values of the same size.
fn peers_write(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let path = |name: &str| directory.path().join(name);
    let keys = shuffled(SMALL);
    let locks: &[&str] = if has_lease() { &["file", LEASE] } else { &["file"] };
    let caches = locks
        .iter()
        .map(|locks| Ok((*locks, kennel_cache(&path(locks), locks, room(SMALL, 64), 64)?)))
        .collect::<Result<Vec<_>>>()?;
    let quick = Quick::new(2 * SMALL as usize);
    let moka = Moka::new(2 * SMALL);
    let lmdb = Lmdb::create(&path("lmdb"), SMALL as usize)?;
    let sqlite = Sqlite::create(&path("sqlite"))?;

    fn writer<'a>(store: &'a impl Store, keys: &'a [Key]) -> Result<impl FnMut(usize) -> Result<()> + 'a> {
        in_order(SMALL).iter().try_for_each(|key| store.set(key, &VALUE))?;
        let mut walk = Walk::new(keys);
        Ok(move |n| (0..n).try_for_each(|_| store.set(walk.step(1), black_box(&VALUE))))
    }
    let mut subjects = vec![
        subject("quick_cache", writer(&quick, &keys)?),
        subject("moka", writer(&moka, &keys)?),
        subject("LMDB", writer(&lmdb, &keys)?),
        subject("SQLite", writer(&sqlite, &keys)?),
    ];
    for (locks, cache) in &caches {
        subjects.push(subject(*locks, writer(cache, &keys)?));
    }
    let found = interleave("set 64 B, overwrite", effort, subjects)?;
    for locks in locks {
        let is_lease = *locks == LEASE;
        let name = format!("set 64 B, overwrite, {locks}");
        compare(table, &found, &name, locks, "quick_cache", is_lease.then_some(()).and(goal(1.05, 0.9)))?;
        compare(table, &found, &name, locks, "LMDB", None)?;
        compare(table, &found, &name, locks, "moka", None)?;
        compare(table, &found, &name, locks, "SQLite", None)?;
    }
    if !has_lease() {
        table.leave_out("set 64 B, overwrite, lease", NO_LEASE);
    }
    Ok(())
}

/// New keys in a full cache: every set evicts an item.
fn evict(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let locks: &[&str] = if has_lease() { &["file", LEASE] } else { &["file"] };
    let caches = locks
        .iter()
        .map(|locks| Ok((*locks, kennel_cache(&directory.path().join(locks), locks, 16 << 20, 64)?)))
        .collect::<Result<Vec<_>>>()?;
    let quick = Quick::new(SMALL as usize);

    fn writer<'a>(store: &'a impl Store) -> Result<impl FnMut(usize) -> Result<()> + 'a> {
        let mut next = 0;
        let mut set = move |n: usize| {
            (next..next + n as u64).try_for_each(|number| store.set(&key(number), black_box(&VALUE)))?;
            next += n as u64;
            Ok(())
        };
        set(2 * SMALL as usize)?;
        Ok(set)
    }
    let mut subjects = vec![subject("quick_cache", writer(&quick)?)];
    for (locks, cache) in &caches {
        subjects.push(subject(*locks, writer(cache)?));
    }
    let found = interleave("set of new keys, full cache", effort, subjects)?;
    for locks in locks {
        let goal = if *locks == LEASE { goal(1.2, 0.7) } else { None };
        compare(table, &found, &format!("set of new keys, full cache, {locks}"), locks, "quick_cache", goal)?;
    }
    for (locks, cache) in &caches {
        ensure!(cache.stats().counters.evictions() > 0, "{locks}: nothing was evicted, so nothing was measured");
    }
    if !has_lease() {
        table.leave_out("set of new keys, full cache, lease", NO_LEASE);
    }
    Ok(())
}

/// One reader over 1 024 keys, while a writer on another processor overwrites 8 of them without a pause.
fn hot_writer(effort: &Effort, table: &mut Table) -> Result<()> {
    const KEYS: u64 = 1024;
    const HOT: usize = 8;
    let directory = directory(None)?;
    let locks = if has_lease() { LEASE } else { "process" };
    let cache = kennel_cache(&directory.path().join("cache"), locks, 4 << 20, 64)?;
    let keys = shuffled(KEYS);
    fill(&cache, &keys, &VALUE)?;
    let (writing, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let found = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let pinned = pin(1);
            while !over.load(Ordering::Relaxed) {
                if !writing.load(Ordering::Relaxed) {
                    std::thread::park();
                    continue;
                }
                keys[..HOT].iter().try_for_each(|key| Store::set(&cache, key, &VALUE))?;
            }
            Ok(pinned?)
        });
        let waker = writer.thread().clone();
        let (writing, over, cache, keys) = (&writing, &over, &cache, &keys);
        // On a new thread; the main thread would stay on one processor.
        let reader = scope.spawn(move || {
            let pinned = pin(0);
            let (mut walk, mut into) = (Walk::new(keys), VALUE);
            let read = |walk: &mut Walk<'_>, into: &mut [u8], n| {
                one_after_another(walk, into, n, |key, into| Store::get(cache, key, into))
            };
            let (mut other_walk, mut other_into) = (Walk::new(keys), VALUE);
            let found = interleave(
                "one reader, 1 024 keys",
                effort,
                vec![
                    subject("alone", |n| read(&mut walk, &mut into, n)),
                    subject("while 8 keys are overwritten", |n| {
                        writing.store(true, Ordering::Relaxed);
                        waker.unpark();
                        let result = read(&mut other_walk, &mut other_into, n);
                        writing.store(false, Ordering::Relaxed);
                        result
                    }),
                ],
            );
            over.store(true, Ordering::Relaxed);
            waker.unpark();
            pinned?;
            found
        });
        let found = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        let written: Result<()> = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        written.and(found)
    })?;
    let name = format!("get_into while 8 of 1 024 keys are overwritten, {locks}");
    // Goals: 0.75 and 0.9 of the throughput.
    compare(table, &found, &name, "while 8 keys are overwritten", "alone", goal(1.0 / 0.75, 1.0 / 0.9))
}

/// Processes on one file, by the harness of `kennel bench`.
fn processes(effort: &Effort, table: &mut Table) -> Result<()> {
    let strategies = Strategies::built_in();
    let locks: Vec<String> = ["file", LEASE, "rw-file"]
        .map(String::from)
        .into_iter()
        .filter(|name| strategies.named(name).is_ok())
        .collect();
    let matrix = |locks: Vec<String>, processes: Vec<u32>| Matrix {
        strategies: locks,
        regions: vec![64],
        processes,
        threads: vec![1],
        write_percents: vec![5.0],
        value_sizes: vec![64],
        keys: vec![Keys::Zipf { theta: 0.99 }],
        batches: vec![1],
        data_sizes: Vec::new(),
        large_pages: vec![LargePages::Auto],
    };
    let (mut cells, mut left_out) = matrix(locks.clone(), vec![2]).cells(&strategies)?;
    let striped = locks.iter().filter(|name| *name != "rw-file").cloned().collect();
    let (more, others) = matrix(striped, vec![8]).cells(&strategies)?;
    cells.extend(more);
    left_out.extend(others);
    let (measured, rounds) = effort.cell;
    let plan = Plan { measured, rounds, seed: SEED, count_calls: false, ..Plan::default() };
    let program = std::env::current_exe()?;
    let launcher = |task: &str| {
        let mut command = Command::new(&program);
        command.args(["worker", task]);
        command
    };
    let bar = crate::group::bar("processes", 0);
    let results = Bench::new(plan, &strategies, &launcher).run(cells, left_out, |progress| {
        bar.set_length(progress.of as u64);
        bar.set_position(progress.done as u64);
        true
    })?;
    bar.finish_and_clear();
    print_by_processes(&results.cells);
    let nanos = |strategy: &str, processes: u32| {
        let of = |one: &&Measured| one.cell.strategy == strategy && one.cell.processes == processes;
        let found = results.cells.iter().find(of).map(|one| 1e9 / one.throughput.median);
        found.ok_or_else(|| anyhow::anyhow!("{strategy} with {processes} processes was not measured"))
    };
    for strategy in locks.iter().filter(|name| *name != "rw-file") {
        // Goals: 0.9 and 1.0 of the throughput.
        let name = format!("8 processes, 95 % reads, {strategy}");
        table.add(&name, nanos(strategy, 8)?, "2 processes", nanos(strategy, 2)?, goal(1.0 / 0.9, 1.0));
        let goal = if strategy == LEASE { goal(0.15, 0.08) } else { goal(0.25, 0.15) };
        let name = format!("2 processes, 95 % reads, {strategy}");
        table.add(&name, nanos(strategy, 2)?, "rw-file", nanos("rw-file", 2)?, goal);
    }
    if !has_lease() {
        table.leave_out("processes with lease", NO_LEASE);
    }
    Ok(())
}

fn print_by_processes(cells: &[Measured]) {
    println!("95 % reads, Zipf 0.99, by processes");
    for Measured { cell: Cell { strategy, processes, .. }, throughput, .. } in cells {
        let nanos = 1e9 / throughput.median;
        let (best, worst) = (1e9 / throughput.max, 1e9 / throughput.min);
        println!("  {:<34} {nanos:>10.1} ns  ({best:.1} to {worst:.1})", format!("{strategy}, {processes} processes"));
    }
}

/// A round trip to a server on the same host.
fn servers(effort: &Effort, table: &mut Table) -> Result<()> {
    if !effort.servers {
        table.leave_out("memcached and Redis", "--quick starts no servers");
        return Ok(());
    }
    let directory = directory(None)?;
    let keys = shuffled(SMALL);
    let cache = kennel_cache(&directory.path().join("kennel"), "file", room(SMALL, 64), 64)?;
    keys.iter().try_for_each(|key| Store::set(&cache, key, &VALUE))?;
    let mut running = Vec::new();
    for kind in [Kind::Memcached, Kind::Redis] {
        match Server::start(kind, directory.path()) {
            Ok(server) => {
                fill(&server, &keys, &VALUE)?;
                running.push((kind, server));
            }
            Err(error) => table.leave_out(kind.name(), format_args!("{error:#}")),
        }
    }
    let held: Vec<Key> = keys.into_iter().filter(|key| cache.contains(key)).collect();
    let read = |store: &dyn Fn(&Key, &mut [u8]) -> Result<bool>, walk: &mut Walk<'_>, n| {
        one_after_another(walk, &mut VALUE.clone(), n, store)
    };
    let mut walk = Walk::new(&held);
    let mut subjects = vec![subject("Kennel", |n| read(&|key, into| Store::get(&cache, key, into), &mut walk, n))];
    for (kind, server) in &running {
        let mut walk = Walk::new(&held);
        subjects.push(subject(kind.name(), move |n| read(&|key, into| server.get(key, into), &mut walk, n)));
    }
    let found = interleave("get 64 B, servers", effort, subjects)?;
    for (kind, _) in &running {
        compare(table, &found, "get_into 64 B, 16 MiB", "Kennel", kind.name(), goal(0.01, 0.003))?;
    }
    Ok(())
}
