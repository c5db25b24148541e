//! Calls in progress on this process's threads, so that no file is freed while a call may use it.
//!
//! A call does not raise a reference count of the file that it uses: all threads would contend for the counter's cache
//! line. Instead each thread counts its calls in a word of its own thread-local storage, which it finds without a load,
//! and registers that word once in a list.
//!
//! ```text
//! a call                                  the thread that frees a file
//!   calls += 1                              store the address of another file
//!   light barrier                           heavy barrier: every thread passes one
//!   load the file's address, use it         wait until each listed word was seen to be 0
//!   calls -= 1                              free the file
//! ```
//!
//! If a thread's word was 0 once, the thread has ended every call that could have loaded the old address, and each
//! later call loads the new one. This is a hazard pointer with an asymmetric barrier; one hazard covers all files.
#![allow(unsafe_code, reason = "threads read words in each other's storage; the one use says why that is sound")]

use super::threads::SELF;
use crate::platform;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Maximum number of listed threads. All further threads count their calls on one shared word.
const MOST_LISTED: usize = 2048;

/// Addresses of the listed threads' words, in no order; a free place is null.
static LISTED: [AtomicPtr<AtomicU32>; MOST_LISTED] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST_LISTED];
/// Number of threads that are reading listed words now. A listed thread frees its thread-local storage only while this
/// is 0.
static LOOKING: AtomicU32 = AtomicU32::new(0);
/// Number of calls in progress on threads that are not listed.
static UNLISTED_CALLS: AtomicU32 = AtomicU32::new(0);

/// A thread's place in the list, given back when the thread ends.
struct Listing(Option<&'static AtomicPtr<AtomicU32>>);

thread_local! {
    static LISTING: Listing = Listing::new();
}

impl Listing {
    fn new() -> Self {
        let mine = SELF.with(|this| (&raw const this.calls).cast_mut());
        let take =
            |place: &&AtomicPtr<_>| place.compare_exchange(ptr::null_mut(), mine, Ordering::SeqCst, Ordering::Relaxed);
        Self(LISTED.iter().find(|place| take(place).is_ok()))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Further calls of this thread count as those of an unlisted thread.
        SELF.with(|this| this.is_listed.set(false));
        if let Some(place) = self.0 {
            place.store(ptr::null_mut(), Ordering::SeqCst);
            // A thread that starts to read the list after this store finds null.
            while LOOKING.load(Ordering::SeqCst) != 0 {
                std::thread::yield_now();
            }
        }
    }
}

/// A call in progress on a listed thread. It ends on the same thread.
pub(crate) struct OwnCall(PhantomData<*const ()>);

impl OwnCall {
    /// Begins a call; `None` on a thread that is not listed.
    #[inline(always)]
    pub(crate) fn begin() -> Option<Self> {
        SELF.with(|this| {
            if !this.is_listed.get() {
                return None;
            }
            this.calls.store(this.calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            // Orders the count before the loads of the call. Partner: the heavy barrier that precedes `have_ended`.
            platform::light_barrier();
            Some(Self(PhantomData))
        })
    }
}

impl Drop for OwnCall {
    #[inline(always)]
    fn drop(&mut self) {
        // Orders the loads of the call before the `Acquire` of `have_ended`.
        SELF.with(|this| this.calls.store(this.calls.load(Ordering::Relaxed) - 1, Ordering::Release));
    }
}

/// A call in progress on any thread; `None` inside if the thread is not listed.
pub(crate) struct AnyCall(Option<OwnCall>);

impl AnyCall {
    /// Begins a call.
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        match OwnCall::begin() {
            Some(call) => Self(Some(call)),
            None => Self::begin_first(),
        }
    }

    /// The first call of a thread: registers the thread in the list if there is room.
    #[cold]
    #[inline(never)]
    fn begin_first() -> Self {
        let is_listed = LISTING.try_with(|listing| listing.0.is_some()).unwrap_or(false);
        SELF.with(|this| this.is_listed.set(is_listed));
        OwnCall::begin().map_or_else(Self::begin_unlisted, |call| Self(Some(call)))
    }

    fn begin_unlisted() -> Self {
        UNLISTED_CALLS.fetch_add(1, Ordering::SeqCst);
        Self(None)
    }
}

impl Drop for AnyCall {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_none() {
            UNLISTED_CALLS.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Number of reads of a thread's word between two reads of the clock.
const LOOKS: u32 = 100;

/// Waits, at most for `limit`, until it has seen each thread outside a call. If it returns `true`, all calls that were
/// in progress at the start have ended. Precondition: every thread has passed a [heavy
/// barrier](platform::heavy_barrier) since the caller stored the address of the new file.
pub(crate) fn have_ended(limit: Duration) -> bool {
    let start = Instant::now();
    let has_ended = |calls: &AtomicU32| {
        loop {
            // A busy thread is outside a call only for the moment between two calls.
            if (0..LOOKS).any(|_| calls.load(Ordering::Acquire) == 0) {
                return true;
            }
            if start.elapsed() >= limit {
                return false;
            }
            std::thread::yield_now();
        }
    };
    LOOKING.fetch_add(1, Ordering::SeqCst);
    let have_listed_ended = LISTED.iter().all(|place| {
        // SAFETY: the pointer is null, or leads to the word of a thread that does not end before `LOOKING` is 0 again.
        unsafe { place.load(Ordering::SeqCst).as_ref() }.is_none_or(has_ended)
    });
    LOOKING.fetch_sub(1, Ordering::Release);
    have_listed_ended && has_ended(&UNLISTED_CALLS)
}

/// Resets the counts and the list in a forked child, where only the thread that forked lives on.
pub(super) fn forget_other_threads() {
    LOOKING.store(0, Ordering::Relaxed);
    let mine = SELF.with(|this| this.is_listed.get().then_some(&raw const this.calls));
    for place in LISTED.iter().filter(|place| Some(place.load(Ordering::Relaxed).cast_const()) != mine) {
        place.store(ptr::null_mut(), Ordering::Relaxed);
    }
    // If this thread is not listed, the shared count stays as it is: this thread may be in a call itself.
    if mine.is_some() {
        UNLISTED_CALLS.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    /// Makes a call on a new thread; the call lasts until the returned sender is dropped.
    fn call_elsewhere<'s>(scope: &'s thread::Scope<'s, '_>) -> mpsc::Sender<()> {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        scope.spawn(move || {
            let _call = AnyCall::begin();
            tell.send(()).unwrap();
            let _ = stopped.recv();
        });
        told.recv().unwrap();
        stop
    }

    #[test]
    fn a_call_is_seen_for_as_long_as_it_is_under_way() {
        thread::scope(|scope| {
            let stop = call_elsewhere(scope);
            assert!(!have_ended(Duration::ZERO));
            drop(stop);
        });
        assert!(have_ended(Duration::from_secs(60)));
    }

    #[test]
    fn an_outer_call_is_seen_after_an_inner_one_has_ended() {
        let outer = AnyCall::begin();
        drop(AnyCall::begin());
        assert!(!have_ended(Duration::ZERO));
        drop(outer);
        assert!(have_ended(Duration::from_secs(60)));
    }

    /// The call is made as the 2049th thread would make it. That many real threads would take the places in the list
    /// that the threads of other tests need.
    #[test]
    fn a_call_of_a_thread_that_is_not_listed_is_seen() {
        let call = AnyCall::begin_unlisted();
        assert!(!have_ended(Duration::ZERO));
        drop(call);
        assert!(have_ended(Duration::from_secs(60)));
    }

    /// Threads start, make one call each and end while another thread reads their words in a loop.
    #[test]
    fn threads_end_while_somebody_looks() {
        let rounds = if cfg!(miri) { 5 } else { 500 };
        thread::scope(|scope| {
            let (stop, stopped) = mpsc::channel::<()>();
            scope.spawn(move || {
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    have_ended(Duration::ZERO);
                }
            });
            for _ in 0..rounds {
                scope.spawn(|| drop(AnyCall::begin())).join().unwrap();
            }
            drop(stop);
        });
    }
}
