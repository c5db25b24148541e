//! Time and memory that one input may take. libFuzzer's own limits are far too high for files of 100 KiB: 20
//! minutes and 2 GiB.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::abort;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that one input may take; generous, since the machine may be busy: an input of `schedule` gives its
/// processor away some hundred times, and was seen to take 20 s beside thirty other programs.
const LONGEST: Duration = Duration::from_secs(60);
/// The most memory that may be asked for at once.
const LARGEST: usize = 16 << 20;

static BORN: LazyLock<Instant> = LazyLock::new(|| {
    thread::spawn(watch);
    Instant::now()
});
/// When the input that is being run began, in milliseconds since `BORN`; 0: none is.
static BEGUN: AtomicU64 = AtomicU64::new(0);

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let begun = BEGUN.load(Ordering::Relaxed);
        if begun != 0 && BORN.elapsed().as_millis() as u64 > begun + LONGEST.as_millis() as u64 {
            eprintln!("kennel-fuzz: an input takes longer than {LONGEST:?}");
            abort();
        }
    }
}

/// Runs an input; longer than the limit is a finding.
pub fn in_time<T>(run: impl FnOnce() -> T) -> T {
    BEGUN.store(BORN.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    let done = run();
    BEGUN.store(0, Ordering::Relaxed);
    done
}

struct Limited;

fn check(size: usize) {
    if size > LARGEST {
        eprintln!("kennel-fuzz: {size} bytes of memory asked for at once");
        abort();
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        check(new_size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static LIMITED: Limited = Limited;
