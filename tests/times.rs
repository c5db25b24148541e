//! How long slow operations took, and the reads of each namespace.

use kennel::{
    Cache, CreateOptions, Error, Histogram, LockOptions, LockStrategy, Lookup, NamespaceOptions, Options, Wait,
};
use std::time::Duration;

fn create(dir: &tempfile::TempDir, options: &Options) -> Cache {
    options.clone().stripes(1).create(dir.path().join("cache")).unwrap()
}

/// The group of a time of this length or up to four times as long, in which the one operation must be.
fn is_one_of_about(histogram: &Histogram, time: Duration) -> bool {
    let sum = histogram.sum;
    let within = histogram.within(1.0).unwrap_or(Duration::MAX);
    histogram.count() == 1 && sum >= time && within >= time && sum <= within
}

const PAUSE: Duration = Duration::from_millis(30);

#[test]
fn a_creation_is_timed_whether_it_succeeds_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir, &Options::new());
    assert_eq!(cache.stats().times, kennel::Times::default());
    let creator = || {
        std::thread::sleep(PAUSE);
        Ok::<_, Error>("value")
    };
    cache.get_or_create("key", &CreateOptions::new(), creator).unwrap();
    let times = cache.stats().times;
    assert!(is_one_of_about(&times.creation, PAUSE), "{times:?}");
    cache.get_or_create("key", &CreateOptions::new(), creator).unwrap();
    assert_eq!(cache.stats().times.creation.count(), 1, "a hit is no creation");
    let Lookup::Create(claim) = cache.claim("other", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    claim.fail();
    let times = cache.stats().times;
    assert_eq!((times.creation.count(), times.claim_wait.count(), times.lock_wait.count()), (2, 0, 0));
}

#[test]
fn a_wait_for_a_claim_is_timed_also_when_its_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir, &Options::new());
    let wait = Wait::For(PAUSE);
    let lock = cache.lock("key", Wait::Forever).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(cache.lock_with("key", &LockOptions::new().wait(wait)).is_err()));
    });
    let times = cache.stats().times;
    assert!(is_one_of_about(&times.claim_wait, PAUSE), "{times:?}");
    drop(lock);
    drop(cache.lock("key", Wait::Forever).unwrap());
    assert_eq!(cache.stats().times.claim_wait.count(), 1, "nobody waited");
}

#[test]
fn waits_for_locks_are_timed_with_every_strategy() {
    for locks in [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::RwFile] {
        let dir = tempfile::tempdir().unwrap();
        let name = locks.name().to_owned();
        let cache = match Options::new().stripes(1).locks(locks).create(dir.path().join("cache")) {
            Err(Error::LeaseRefused(_)) => continue,
            created => created.unwrap(),
        };
        let waiting = cache.clone();
        cache
            .while_locked(0, || {
                let thread = std::thread::spawn(move || waiting.set("key", "value"));
                std::thread::sleep(PAUSE);
                thread
            })
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        let stats = cache.stats();
        // The thread may have begun late.
        if stats.counters.lock_waits > 0 {
            assert!(is_one_of_about(&stats.times.lock_wait, Duration::from_micros(1)), "{name}: {:?}", stats.times);
        }
        let limit = Duration::from_millis(20);
        let impatient = cache.with_lock_wait(limit);
        let before = cache.stats().times.lock_wait;
        // Another thread: one that has the lock and wants it again counts as dead under `lease`.
        let refused = cache.while_locked(0, || {
            std::thread::scope(|scope| scope.spawn(|| impatient.set("key", "value").is_err()).join().unwrap())
        });
        assert!(refused.unwrap(), "{name}");
        let after = cache.stats().times.lock_wait;
        assert_eq!(after.count(), before.count() + 1, "{name}: those that gave up are among them");
        assert!(after.sum - before.sum >= limit, "{name}: {after:?}");
    }
}

#[test]
fn a_handle_without_a_seat_times_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir, &Options::new());
    let reader = Options::new().open_read_only(cache.path()).unwrap();
    let how = CreateOptions::new().or_uncached(true);
    assert_eq!(reader.get_or_create("key", &how, || Ok::<_, Error>("value")).unwrap(), b"value");
    assert_eq!(cache.stats().times, kennel::Times::default());
}

fn reads_of(cache: &Cache, name: &str) -> Option<(u64, u64)> {
    let reads = cache.stats().namespace_reads;
    reads.into_iter().find(|reads| reads.name == name).map(|reads| (reads.hits, reads.misses))
}

#[test]
fn reads_of_namespaces_are_counted_by_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir, &Options::new().namespace_reads(true));
    assert!(cache.stats().namespace_reads.is_empty());
    let space = |name| cache.namespace(name, &NamespaceOptions::new()).unwrap();
    let (pages, users) = (space("pages"), space("users"));
    pages.set("here", "value").unwrap();
    let mut buf = [0; 16];
    // By turns, so that a sample by a plain rhythm would see one of them only.
    for _ in 0..16_000 {
        assert_eq!(pages.get_into("here", &mut buf).unwrap(), Some(5));
        assert_eq!(users.get_into("here", &mut buf).unwrap(), None);
        assert_eq!(cache.get_into("here", &mut buf).unwrap(), None);
    }
    let near = |count: u64| (14_000..=18_000).contains(&count);
    let of_pages = reads_of(&cache, "pages").unwrap();
    assert!(near(of_pages.0) && of_pages.1 == 0, "{of_pages:?}");
    let of_users = reads_of(&cache, "users").unwrap();
    assert!(near(of_users.1) && of_users.0 == 0, "{of_users:?}");
    assert!(of_pages.0.is_multiple_of(16) && of_users.1.is_multiple_of(16));
}

/// Every call that counts a hit or a miss counts it for the namespace, too.
#[test]
fn each_kind_of_read_counts_for_its_namespace() {
    const CALLS: u64 = 3200;
    let how = CreateOptions::new();
    let creator = || Ok::<_, Error>("value");
    type Call<'a> = (&'static str, Box<dyn Fn(&Cache) + 'a>);
    let calls: Vec<Call<'_>> = vec![
        ("get", Box::new(|cache| drop(cache.get("key")))),
        ("get_multi", Box::new(|cache| drop(cache.get_multi(&["key"])))),
        ("get_or_create", Box::new(|cache| drop(cache.get_or_create("key", &how, creator).unwrap()))),
        ("claim", Box::new(|cache| drop(cache.claim("key", &how).unwrap()))),
        (
            "get_or_create_multi",
            Box::new(|cache| {
                drop(
                    cache
                        .get_or_create_multi(&["key"], &how, |_| {
                            Ok::<_, Error>(vec![Some(kennel::Created::new("value"))])
                        })
                        .unwrap(),
                );
            }),
        ),
        (
            "get_and_touch",
            Box::new(|cache| {
                drop(cache.get_and_touch("key", kennel::Expiry::Never).unwrap());
            }),
        ),
        (
            "get_if_changed",
            Box::new(|cache| {
                let id = cache.get_item("key").unwrap().id();
                drop(cache.get_if_changed("key", id).unwrap());
            }),
        ),
        (
            "is_fresh",
            Box::new(|cache| {
                let id = cache.get_item("key").unwrap().id();
                assert!(cache.is_fresh("key", id));
            }),
        ),
    ];
    for verify in [false, true] {
        // Where reads verify checksums, no value counts as unchanged.
        for (name, call) in calls.iter().filter(|(name, _)| !verify || *name != "is_fresh") {
            let dir = tempfile::tempdir().unwrap();
            let cache = create(&dir, &Options::new().namespace_reads(true).verify_reads(verify));
            let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
            pages.set("key", "value").unwrap();
            (0..CALLS).for_each(|_| call(&pages));
            let (counters, reads) = (cache.stats().counters, reads_of(&cache, "pages").unwrap());
            let counted = counters.hits + counters.misses;
            assert!(
                counted >= CALLS && counted.abs_diff(reads.0 + reads.1) <= counted / 4,
                "{name}: {counted} {reads:?}"
            );
        }
    }
}

#[test]
fn a_file_counts_the_reads_of_namespaces_if_it_has_room_or_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let counts = |options: Options| {
        let path = dir.path().join("cache");
        let cache = options.create(&path).unwrap();
        cache.namespace("pages", &NamespaceOptions::new()).unwrap();
        let counts = !cache.stats().namespace_reads.is_empty();
        options.destroy(&path).unwrap();
        counts
    };
    assert!(counts(Options::new()), "64 MiB");
    assert!(!counts(Options::new().capacity(32 << 20)));
    assert!(counts(Options::new().capacity(32 << 20).seats(64)));
    assert!(counts(Options::new().capacity(4 << 20).namespace_reads(true)));
    assert!(!counts(Options::new().namespace_reads(false)));
}

#[test]
fn bytes_that_came_in_tell_how_long_an_unread_item_lives() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir, &Options::new().capacity(1 << 20));
    let stats = cache.stats();
    assert_eq!((stats.small_bytes_in, stats.main_bytes_in), (0, 0));
    assert_eq!(stats.small_size + stats.main_size, 1 << 20);
    let fill = |name: &str| (0..20_000).for_each(|i| cache.set(format!("{name} {i:05}"), [7; 64]).unwrap());
    let written = 20_000 * kennel::record_size(9, 64);
    let is_written = |bytes: u64| (written..written + written / 50).contains(&bytes);
    fill("one");
    let full = cache.stats();
    assert!(is_written(full.small_bytes_in), "{} of {written}", full.small_bytes_in);
    assert!(full.main_bytes_in < full.main_size * 2, "unread items are kept only as long as there is room");
    fill("two");
    let stats = cache.stats();
    assert!(is_written(stats.small_bytes_in - full.small_bytes_in), "{} of {written}", stats.small_bytes_in);
    let moved = stats.main_bytes_in - full.main_bytes_in;
    assert!(moved < written / 50, "nothing was read, and {moved} bytes moved");
    let read =
        (0..20_000).filter(|i| cache.contains(format!("two {i:05}")) && cache.contains(format!("two {i:05}"))).count();
    fill("new");
    assert!(read > 100 && cache.stats().main_bytes_in > stats.main_bytes_in + written / 50, "{read} were read");
}
