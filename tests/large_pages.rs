//! A cache in large pages: where they come from, that nothing else changes, and what happens where they cannot be had.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "the kernel is asked about its pages by its own calls")]

mod common;

use common::children::{self, arg, say};
use common::fork::Forked;
use common::mounted::Mounted;
use common::{Place, assert_sound};
use kennel::{Cache, Error, LargePages, LockStrategy, Options};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;

const LARGE: usize = 2 << 20;
const ITEMS: u32 = 5000;

#[test]
fn child() {
    children::serve(|task, args| match task {
        "little address space" => with_little_address_space(args[0]),
        "locked memory" => with_locked_memory(args[0]),
        "changed root" => in_changed_root(args[0]),
        #[cfg(feature = "crash-points")]
        "die" => deaths::die(args[0], args[1], args[2].parse().unwrap()),
        _ => panic!("no task {task}"),
    });
}

fn options(large: LargePages) -> Options {
    // With an index in which no bucket overflows, whatever the seed.
    Options::new().capacity(8 << 20).mean_item(64).large_pages(large)
}

fn fill(cache: &Cache) {
    (0..ITEMS).for_each(|n| cache.set(n.to_le_bytes(), [n as u8; 300]).unwrap());
}

fn filled(cache: &Cache) -> u32 {
    (0..ITEMS).filter(|n| cache.get(n.to_le_bytes()).is_some_and(|value| value == [*n as u8; 300])).count() as u32
}

/// The bytes of a cache's file that whole large pages can hold.
fn most(cache: &Cache) -> u64 {
    cache.stats().file_size / LARGE as u64 * LARGE as u64
}

/// What the kernel does with files in a directory, found without the library.
#[derive(Debug, PartialEq)]
struct Kernel {
    /// A mapping with the advice gets large pages.
    gives: bool,
    /// Small pages can be gathered into large ones.
    gathers: bool,
}

impl Kernel {
    fn at(dir: &Path) -> Self {
        let file = tempfile::tempfile_in(dir).unwrap();
        file.set_len(LARGE as u64).unwrap();
        // SAFETY: free address space, or that of the reservation below, which nothing else uses.
        let map = |at, len, access, flags, file| unsafe { libc::mmap(at, len, access, flags, file, 0) };
        let (nothing, both) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        let reserved = map(ptr::null_mut(), 2 * LARGE, libc::PROT_NONE, nothing, -1);
        let at = reserved.wrapping_byte_add(reserved.addr().next_multiple_of(LARGE) - reserved.addr());
        assert_eq!(map(at, LARGE, both, libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd()), at);
        // SAFETY: the advice changes no byte.
        let advise = |advice| unsafe { libc::madvise(at, LARGE, advice) } == 0;
        advise(libc::MADV_HUGEPAGE);
        // SAFETY: mapped above, and writable.
        unsafe { at.cast::<u8>().write_volatile(1) };
        let gives = file.metadata().unwrap().blocks() * 512 >= LARGE as u64;
        let gathers = advise(libc::MADV_COLLAPSE);
        // SAFETY: nothing borrows from it.
        unsafe { libc::munmap(reserved, 2 * LARGE) };
        Self { gives, gathers }
    }
}

/// A place in memory whose file system gives no large pages by itself, on a kernel that gathers small ones.
fn to_gather() -> Option<Place> {
    let place = Place::in_memory();
    let kernel = Kernel::at(place.dir());
    if kernel == (Kernel { gives: false, gathers: true }) {
        return Some(place);
    }
    println!("skipped: {} has other pages: {kernel:?}", place.dir().display());
    None
}

/// A place on a file system in memory that is mounted with an option.
fn mounted(option: &str) -> Option<(Place, Mounted)> {
    let place = Place::new();
    let mounted = Mounted::in_memory(option, place.dir().to_owned())?;
    Some((place, mounted))
}

#[test]
fn always_gathers_at_create_and_every_opener_maps_what_is_large() {
    let Some(place) = to_gather() else { return };
    let cache = options(LargePages::Always).create(place.path()).unwrap();
    assert_eq!(cache.large_mapped(), Some(most(&cache)));
    fill(&cache);
    for large in [LargePages::Auto, LargePages::Always] {
        let other = options(large).open(place.path()).unwrap();
        assert_eq!(other.large_mapped(), Some(most(&cache)), "{large}");
        let reader = options(large).open_read_only(place.path()).unwrap();
        assert_eq!(reader.large_mapped(), Some(most(&cache)), "{large}");
        assert_eq!((filled(&other), filled(&reader)), (ITEMS, ITEMS));
    }
    let small = options(LargePages::Never).open(place.path()).unwrap();
    assert_eq!((small.large_mapped(), filled(&small)), (Some(0), ITEMS));
    assert_sound(&cache);
    // The space of the last, shorter part is reserved as well.
    let meta = std::fs::metadata(place.path()).unwrap();
    assert!(meta.blocks() * 512 >= meta.len(), "{} of {} bytes", meta.blocks() * 512, meta.len());
}

#[test]
fn always_gathers_at_open_while_others_use_the_file() {
    let Some(place) = to_gather() else { return };
    let cache = options(LargePages::Auto).create(place.path()).unwrap();
    assert_eq!(cache.large_mapped(), Some(0));
    fill(&cache);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| (0..3).map(|_| filled(&cache)).min());
        let writer = scope.spawn(|| (0..3).for_each(|_| fill(&cache)));
        let large = options(LargePages::Always).open(place.path()).unwrap();
        assert_eq!(filled(&large), ITEMS);
        assert!((reader.join().unwrap(), writer.join().unwrap()) == (Some(ITEMS), ()));
    });
    assert_eq!(cache.large_mapped(), Some(most(&cache)));
    assert_sound(&cache);
}

#[test]
fn auto_takes_what_the_file_system_gives() {
    let Some((place, _mounted)) = mounted("size=64m,huge=advise") else { return };
    if !Kernel::at(place.dir()).gives {
        return println!("skipped: the kernel gives no large pages");
    }
    for large in [LargePages::Auto, LargePages::Always] {
        let cache = options(large).create(place.path()).unwrap();
        assert_eq!(cache.large_mapped(), Some(most(&cache)), "{large}");
        fill(&cache);
        assert_eq!(filled(&cache), ITEMS);
        drop(cache);
        options(large).destroy(place.path()).unwrap();
    }
    let small = options(LargePages::Never).create(place.path()).unwrap();
    assert_eq!(small.large_mapped(), Some(0));
}

#[test]
fn a_full_file_system_is_an_error_at_create_whatever_the_pages() {
    for option in ["size=5m", "size=5m,huge=advise", "size=5m,huge=always"] {
        let Some((place, _mounted)) = mounted(option) else { return };
        for large in [LargePages::Auto, LargePages::Always, LargePages::Never] {
            // A store into a page that cannot be had would end this process.
            let refused = options(large).create(place.path());
            assert!(matches!(refused, Err(Error::NoSpace { .. })), "{option}, {large}: {refused:?}");
            assert_eq!(place.left(), [""; 0], "{option}, {large}");
            let fits = options(large).capacity(3 << 20).create(place.path()).unwrap();
            fill(&fits);
            assert_sound(&fits);
            drop(fits);
            options(large).destroy(place.path()).unwrap();
        }
    }
}

#[test]
fn a_file_on_a_disk_and_one_shorter_than_a_large_page_work_like_any_other() {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let memory = Place::in_memory();
    for (dir, capacity) in [(disk.path(), 8 << 20), (memory.dir(), 64 << 10)] {
        for large in [LargePages::Auto, LargePages::Always, LargePages::Never] {
            let path = dir.join("cache");
            let cache = options(large).capacity(capacity).create(&path).unwrap();
            fill(&cache);
            assert!(filled(&cache) > 50);
            let mapped = cache.large_mapped().expect("this system has /proc");
            assert!(large == LargePages::Always || mapped == 0, "{large}: {mapped}");
            let held = filled(&cache);
            assert!(cache.flush().unwrap());
            drop(cache);
            assert_eq!(filled(&options(large).capacity(capacity).open(&path).unwrap()), held);
            options(large).destroy(&path).unwrap();
        }
    }
}

#[test]
fn forked_children_share_the_large_pages() {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let place = Place::in_memory();
        let cache = options(LargePages::Always).locks(locks).create(place.path()).unwrap();
        fill(&cache);
        let before = cache.large_mapped();
        let child = Forked::start(|| {
            assert_eq!(filled(&cache), ITEMS);
            cache.set("from the child", [7; 5000]).unwrap();
            assert_eq!(cache.large_mapped(), before);
        });
        child.join();
        assert_eq!(cache.get("from the child").as_deref(), Some(&[7; 5000][..]));
        assert_eq!((cache.large_mapped(), filled(&cache)), (before, ITEMS));
        assert_sound(&cache);
    }
}

/// A cache of 64 MiB that can be mapped, but not with another 2 MiB around it.
fn with_little_address_space(path: &str) {
    let file_size = Options::new().large_pages(LargePages::Never).create(path).unwrap().stats().file_size;
    Options::new().destroy(path).unwrap();
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let most = pages * rustix::param::page_size() as u64 + file_size + (1 << 20);
    let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
    let made = Options::new().large_pages(LargePages::Always).create(path).unwrap();
    made.set("key", "value").unwrap();
    drop(made);
    let opened = Options::new().large_pages(LargePages::Always).open(path).unwrap();
    assert_eq!(opened.get("key").as_deref(), Some(&b"value"[..]));
    say("done");
}

/// All memory that this process maps from now on is locked: it is allocated when it is mapped.
fn with_locked_memory(path: &str) {
    if let Err(error) = rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE) {
        return say(format!("skipped: memory cannot be locked: {error}"));
    }
    for large in [LargePages::Auto, LargePages::Always, LargePages::Never] {
        let cache = options(large).create(path).unwrap();
        fill(&cache);
        assert_eq!(filled(&cache), ITEMS);
        let mapped = cache.large_mapped().unwrap();
        let expected = large == LargePages::Always && Kernel::at(Path::new(path).parent().unwrap()).gathers;
        assert!(!expected || mapped > 0, "{large}: {mapped}");
        drop(cache);
        options(large).destroy(path).unwrap();
    }
    say("done");
}

fn in_changed_root(root: &str) {
    if let Err(error) = std::os::unix::fs::chroot(root) {
        return say(format!("skipped: only root can change the root: {error}"));
    }
    let cache = options(LargePages::Always).create("/cache").unwrap();
    fill(&cache);
    assert_eq!((cache.large_mapped(), filled(&cache)), (None, ITEMS));
    options(LargePages::Always).destroy("/cache").unwrap();
    say("done");
}

fn in_child(task: &str, arg: &str) {
    let mut process = children::start(task, &[arg]);
    let told = process.hear_all();
    process.finish();
    assert!(told.iter().any(|line| line == "done" || line.starts_with("skipped")), "{task}: {told:?}");
}

#[test]
fn without_address_space_for_an_aligned_mapping_a_plain_one_serves() {
    let place = Place::in_memory();
    in_child("little address space", arg(&place.path()));
}

#[test]
fn locked_memory_takes_large_pages_too() {
    let place = Place::in_memory();
    in_child("locked memory", arg(&place.path()));
}

#[test]
fn without_proc_nobody_knows_what_is_large() {
    let place = Place::in_memory();
    in_child("changed root", arg(place.dir()));
    assert_eq!(place.left(), [""; 0]);
}

/// Deaths at stores into large pages.
#[cfg(feature = "crash-points")]
mod deaths {
    use super::*;
    use kennel::crash::{Plan, Step, arm};

    const STEPS: [Step; 6] = [Step::RecordBody, Step::Slot, Step::BucketOdd, Step::Head, Step::Live, Step::IntentKind];

    pub fn die(path: &str, step: &str, nth: u64) {
        let cache = Options::new().open(path).unwrap();
        let step = Step::ALL.iter().copied().find(|known| known.name() == step);
        assert!(step.is_some());
        arm(step, nth, Plan::Kill);
        (0..200_u32).for_each(|n| cache.set(n.to_le_bytes(), [n as u8; 700]).unwrap());
        say("passed");
    }

    #[test]
    fn a_death_at_a_store_into_a_large_page_leaves_a_cache_that_others_go_on_with() {
        for locks in [LockStrategy::File, LockStrategy::Lease] {
            let place = Place::in_memory();
            let cache = options(LargePages::Always).locks(locks).create(place.path()).unwrap();
            fill(&cache);
            for (i, step) in STEPS.into_iter().enumerate() {
                let mut process = children::start("die", &[arg(&place.path()), step.name(), &(i * 7).to_string()]);
                let told = process.hear_all();
                assert_eq!(told, [""; 0], "{step:?} was not reached");
                let status = process.wait_with_input();
                assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{step:?}: {status}");
                (0..ITEMS).for_each(|n| {
                    let value = cache.get(n.to_le_bytes());
                    let is_whole =
                        |value: &Vec<u8>| value.iter().all(|&byte| byte == n as u8) && matches!(value.len(), 300 | 700);
                    assert!(value.as_ref().is_none_or(is_whole), "{step:?}: key {n}");
                });
                cache.set("and so on", "x").unwrap();
                assert_sound(&cache);
            }
            assert!(filled(&cache) >= ITEMS - 200);
        }
    }
}
