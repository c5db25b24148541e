//! The file that a handle and its clones use now. One that was replaced is let go when the last call that uses it ends.
//!
//! A call does not count itself on the file, since threads would take that counter from each other. It notes on a word of
//! its own thread that it is [under way](threads), and then loads the file's address. Whoever goes over to the file that
//! took another's place stores the new address first, then has every thread pass a memory barrier, and then looks at the
//! words of all threads. A thread that is seen in no call has ended those that could have loaded the old address, and
//! every later one loads the new address. What holds a file for longer than a call, such as a claim or a scan, has a
//! reference of its own.
#![allow(unsafe_code, reason = "calls borrow what a pointer leads to; each use says why it is there")]

use super::opened::Opened;
use crate::clock::Time;
use crate::error::Result;
use crate::platform;
use crate::sync::calls::{self, AnyCall, OwnCall};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

/// How long whoever goes over to another file waits for the calls that may use the one before. Most end within a
/// microsecond, those of threads that the scheduler has put aside within milliseconds.
const RELEASE_WAIT: Duration = Duration::from_millis(10);
/// Files that one call goes over to, one after the other, before it takes the one that it has.
const MOST_FOLLOWED: u32 = 64;

/// What the clones of a handle share.
pub(crate) struct Current {
    /// From [`Arc::into_raw`]; the reference is this handle's.
    opened: AtomicPtr<Opened>,
    /// Replaced files that calls may still use.
    retired: AtomicPtr<Retired>,
    pub real: PathBuf,
    pub time: Time,
}

struct Retired {
    _opened: Arc<Opened>,
    next: *mut Retired,
}

/// A file, for as long as a call uses it.
pub(crate) struct InUse<'a, Call> {
    /// Not counted: the call keeps it from being let go.
    opened: ManuallyDrop<Arc<Opened>>,
    _call: Call,
    _handle: PhantomData<&'a Current>,
}

impl<Call> Deref for InUse<'_, Call> {
    type Target = Arc<Opened>;

    #[inline(always)]
    fn deref(&self) -> &Arc<Opened> {
        &self.opened
    }
}

impl Current {
    pub(crate) fn new(opened: Opened) -> Self {
        let (real, time) = (opened.real.clone(), opened.settings.time.clone());
        let opened = AtomicPtr::new(Arc::into_raw(Arc::new(opened)).cast_mut());
        Self { opened, retired: AtomicPtr::new(ptr::null_mut()), real, time }
    }

    /// The file as far as this handle knows, for a call that has begun just now.
    #[inline(always)]
    fn in_use<Call>(&self, call: Call) -> InUse<'_, Call> {
        let raw = self.opened.load(Ordering::Acquire);
        // SAFETY: an `Arc` is nowhere at null. Said to the compiler, it saves each call a test.
        unsafe { std::hint::assert_unchecked(!raw.is_null()) };
        // SAFETY: the pointer came from `Arc::into_raw`, and its reference is dropped only when no call is under way that
        // may have loaded it, as this one is. It is not counted down again: see `InUse`.
        let opened = ManuallyDrop::new(unsafe { Arc::from_raw(raw) });
        InUse { opened, _call: call, _handle: PhantomData }
    }

    /// The file as far as this handle knows, for a read on a thread that has a number of its own.
    #[inline(always)]
    pub(crate) fn in_own_use(&self) -> Option<InUse<'_, OwnCall>> {
        Some(self.in_use(OwnCall::begin()?))
    }

    /// The file as far as this handle knows, for the length of a call.
    #[inline(always)]
    pub(crate) fn in_any_use(&self) -> InUse<'_, AnyCall> {
        self.in_use(AnyCall::begin())
    }

    /// The file as far as this handle knows, for longer than a call.
    pub(crate) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.in_any_use())
    }

    /// The file to write to: if it was replaced, the one that took its place.
    #[inline(always)]
    pub(crate) fn to_write(&self, limit: Duration) -> Result<InUse<'_, AnyCall>> {
        let in_use = self.in_any_use();
        if in_use.replaced_difference() | self.retired.load(Ordering::Relaxed).addr() as u64 != 0 {
            drop(in_use);
            return self.to_write_slow(limit);
        }
        Ok(in_use)
    }

    #[cold]
    #[inline(never)]
    fn to_write_slow(&self, limit: Duration) -> Result<InUse<'_, AnyCall>> {
        self.follow(|opened| Ok(opened.follow(limit)?.cloned()))
    }

    /// The file to read from; `None` while a replaced one's successor is not to be had.
    pub(crate) fn to_read(&self) -> Option<InUse<'_, AnyCall>> {
        self.follow(|opened| opened.follow_for_read().map(Option::<&Arc<Opened>>::cloned).ok_or(())).ok()
    }

    /// Goes over from file to file, as `next` finds them. `None` of it: the file's mark means nothing.
    fn follow<E>(
        &self,
        mut next: impl FnMut(&Arc<Opened>) -> Result<Option<Arc<Opened>>, E>,
    ) -> Result<InUse<'_, AnyCall>, E> {
        if self.has_retired() {
            self.release(Duration::ZERO);
        }
        for _ in 0..MOST_FOLLOWED {
            let in_use = self.in_any_use();
            if !in_use.is_replaced() {
                return Ok(in_use);
            }
            let before = Arc::clone(&in_use);
            // A call would wait for its own end.
            drop(in_use);
            if let Some(next) = next(&before)? {
                self.go_over(&before, next);
                drop(before);
                self.release(RELEASE_WAIT);
            }
        }
        Ok(self.in_any_use())
    }

    /// Puts a file in the place of another, unless another thread was faster.
    fn go_over(&self, before: &Arc<Opened>, next: Arc<Opened>) {
        let (old, new) = (Arc::as_ptr(before).cast_mut(), Arc::into_raw(next).cast_mut());
        let is_done = self.opened.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        // SAFETY: the one of the two that is not in place now: the reference was this handle's, or was made above.
        let other = unsafe { Arc::from_raw(if is_done { old } else { new }) };
        if is_done {
            self.retire(Box::into_raw(Box::new(Retired { _opened: other, next: ptr::null_mut() })));
        }
    }

    fn has_retired(&self) -> bool {
        !self.retired.load(Ordering::Relaxed).is_null()
    }

    /// Adds to the retired files a list of which this is the first.
    fn retire(&self, first: *mut Retired) {
        let mut last = first;
        // SAFETY: nobody else has the list, whose nodes came from boxes.
        while let Some(next) = ptr::NonNull::new(unsafe { (*last).next }) {
            last = next.as_ptr();
        }
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: as above.
            unsafe { (*last).next = head };
            match self.retired.compare_exchange(head, first, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Lets go of the retired files, unless a call may still use one when the time to wait is over. Then the next write,
    /// or whoever goes over to another file, tries again.
    fn release(&self, limit: Duration) {
        let first = self.retired.swap(ptr::null_mut(), Ordering::Acquire);
        if first.is_null() {
            return;
        }
        if platform::heavy_barrier() && calls::have_ended(limit) {
            drop_all(first);
        } else {
            self.retire(first);
        }
    }
}

fn drop_all(mut first: *mut Retired) {
    while !first.is_null() {
        // SAFETY: the nodes came from boxes, and nobody else has the list.
        let retired = unsafe { Box::from_raw(first) };
        first = retired.next;
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        drop_all(*self.retired.get_mut());
        // SAFETY: the reference is this handle's, and no call borrows the handle any more.
        drop(unsafe { Arc::from_raw(*self.opened.get_mut()) });
    }
}
