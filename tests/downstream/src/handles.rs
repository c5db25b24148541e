//! Handles in structs, shared between threads and tasks.

use kennel::{
    AsyncCache, AsyncTyped, Cache, Claim, Counters, CreateError, CreateOptions, Created, Error, Expiry, Item, KeyLock,
    Keys, LockOptions, LockStrategy, Lookup, NamespaceOptions, Options, SetOptions, Stamp, Stats, Stored, Swap, Task,
    Typed, UnknownName, Values, Verification, Wait,
};
use std::fmt::Debug;
use std::sync::Arc;
use std::thread;

/// The handles that a program keeps as long as it runs.
#[derive(Clone, Debug)]
struct Site {
    cache: Cache,
    pages: Cache,
    points: Typed<Point>,
    tasks: AsyncCache,
    point_tasks: AsyncTyped<Point>,
    how: CreateOptions,
}

impl Site {
    fn page(&self, number: u32) -> Result<Vec<u8>, Error> {
        self.pages.get_or_create(number.to_le_bytes(), &self.how, || format!("page {number}"))
    }
}

pub(crate) fn new_cache() -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = Options::new().capacity(1 << 20).create(directory.path().join("cache")).expect("a cache");
    (directory, cache)
}

fn site() -> (tempfile::TempDir, Site) {
    let (directory, cache) = new_cache();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).expect("a namespace");
    let (points, tasks) = (cache.typed(), pages.to_async());
    let point_tasks = points.to_async();
    (directory, Site { cache, pages, points, tasks, point_tasks, how: CreateOptions::new() })
}

#[test]
fn threads_share_handles_in_a_struct() {
    let (_directory, site) = site();
    let site = Arc::new(site);
    let threads: Vec<_> =
        (0..4).map(|_| (0, site.clone())).map(|(n, site)| thread::spawn(move || site.page(n))).collect();
    for thread in threads {
        assert_eq!(thread.join().expect("no panic").expect("a page"), b"page 0");
    }
    assert_eq!(site.cache.stats().counters.creations, 1);
}

#[test]
fn tasks_share_handles_in_a_struct() {
    let (_directory, site) = site();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let other = site.clone();
        let task = tokio::spawn(async move { other.tasks.get_or_create("key", &other.how, async || "page").await });
        assert_eq!(task.await.expect("no panic").expect("a page"), b"page");
        let points = site.point_tasks.clone();
        let create = async || Point { x: 1, y: 2 };
        let task = tokio::spawn(async move { points.get_or_create("point", &CreateOptions::new(), create).await });
        assert_eq!(task.await.expect("no panic").expect("a point"), Point { x: 1, y: 2 });
    });
    assert_eq!(site.pages.get("key").as_deref(), Some(&b"page"[..]));
}

/// A value of the program's own type.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[test]
fn typed_values_need_only_serde() {
    let (_directory, site) = site();
    let points = &site.points;
    let created = points.get_or_create("origin", &CreateOptions::new(), || Point { x: 0, y: 0 });
    assert_eq!(created.expect("a point"), Point { x: 0, y: 0 });
    assert_eq!(points.get("origin").expect("a point"), Some(Point { x: 0, y: 0 }));
}

/// Handles, options and results can be sent to threads, shared by them, and printed for debugging.
#[test]
fn public_types_are_send_sync_and_debug() {
    fn is_sound<T: Send + Sync + Debug>() {}
    fn is_sent<T: Send + Debug>() {}
    is_sound::<Cache>();
    is_sound::<(AsyncCache, AsyncTyped<Point>, Typed<Point>)>();
    is_sound::<Options>();
    is_sound::<SetOptions>();
    is_sound::<CreateOptions>();
    is_sound::<LockOptions>();
    is_sound::<NamespaceOptions>();
    is_sound::<LockStrategy>();
    is_sound::<(Error, CreateError<Error>, UnknownName)>();
    is_sound::<(Item, Stamp, Stored, Swap, Created, Values)>();
    is_sound::<(Stats, Counters, Verification)>();
    is_sound::<(Expiry, Wait, Task)>();
    is_sent::<(Claim, Lookup, KeyLock, Keys)>();
}
