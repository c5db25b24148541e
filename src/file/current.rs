//! The file that a handle and its clones use now. A replaced file is freed when the last call that uses it ends.
//!
//! A call does not raise a reference count on the file, since the threads would contend for that counter's cache line.
//! It records in a word of its own thread that it is [in progress](calls), and then loads the file's address. A thread
//! that switches to a successor stores the new address first, then makes every thread pass a memory barrier, and then
//! reads the words of all threads. A thread that is seen outside a call has ended the calls that could have loaded the
//! old address, and its later calls load the new address. A claim or a scan, which uses a file for longer than a call,
//! holds a reference of its own.
#![allow(unsafe_code, reason = "calls borrow through a raw pointer; each use says why it is sound")]

use super::attached::AttachedFile;
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

/// How long a thread that switches to another file waits for the calls that may use the previous one. Most calls end
/// within a microsecond, those of preempted threads within milliseconds.
const RELEASE_WAIT: Duration = Duration::from_millis(10);
/// Maximum number of successors that one call follows before it uses the file that it has reached.
const MOST_FOLLOWED: u32 = 64;

/// The state that the clones of a handle share.
pub(crate) struct Current {
    /// From [`Arc::into_raw`]; this handle owns the reference.
    opened: AtomicPtr<AttachedFile>,
    /// Replaced files that calls may still use.
    retired: AtomicPtr<Retired>,
    pub real: PathBuf,
    pub time: Time,
}

struct Retired {
    _opened: Arc<AttachedFile>,
    next: *mut Retired,
}

/// A file in use by a call.
pub(crate) struct InUse<'a, Call> {
    /// Not counted as a reference: the call keeps the file from being freed.
    opened: ManuallyDrop<Arc<AttachedFile>>,
    _call: Call,
    _handle: PhantomData<&'a Current>,
}

impl<Call> Deref for InUse<'_, Call> {
    type Target = Arc<AttachedFile>;

    #[inline(always)]
    fn deref(&self) -> &Arc<AttachedFile> {
        &self.opened
    }
}

impl Current {
    pub(crate) fn new(opened: AttachedFile) -> Self {
        let (real, time) = (opened.real.clone(), opened.settings.time.clone());
        let opened = AtomicPtr::new(Arc::into_raw(Arc::new(opened)).cast_mut());
        Self { opened, retired: AtomicPtr::new(ptr::null_mut()), real, time }
    }

    /// The file that this handle uses, for a call that has just begun.
    #[inline(always)]
    fn in_use<Call>(&self, call: Call) -> InUse<'_, Call> {
        let raw = self.opened.load(Ordering::Acquire);
        // SAFETY: an `Arc` is never at null. The hint saves each call a test.
        unsafe { std::hint::assert_unchecked(!raw.is_null()) };
        // SAFETY: the pointer came from `Arc::into_raw`, and its reference is dropped only when no call is in progress
        // that may have loaded it, and this call is in progress. `ManuallyDrop` keeps the count unchanged: see `InUse`.
        let opened = ManuallyDrop::new(unsafe { Arc::from_raw(raw) });
        InUse { opened, _call: call, _handle: PhantomData }
    }

    /// The file that this handle uses, for a read on a listed thread; `None` on any other thread.
    #[inline(always)]
    pub(crate) fn in_own_use(&self) -> Option<InUse<'_, OwnCall>> {
        Some(self.in_use(OwnCall::begin()?))
    }

    /// The file that this handle uses, for the length of a call.
    #[inline(always)]
    pub(crate) fn in_any_use(&self) -> InUse<'_, AnyCall> {
        self.in_use(AnyCall::begin())
    }

    /// The file that this handle uses, for longer than a call.
    pub(crate) fn opened(&self) -> Arc<AttachedFile> {
        Arc::clone(&self.in_any_use())
    }

    /// The file to write to: the current one, or its successor if it was replaced.
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

    /// The file to read from; `None` while the successor of a replaced file cannot be opened.
    pub(crate) fn to_read(&self) -> Option<InUse<'_, AnyCall>> {
        self.follow(|opened| opened.follow_for_read().map(Option::<&Arc<AttachedFile>>::cloned).ok_or(())).ok()
    }

    /// Switches from each replaced file to the successor that `next` finds. `Ok(None)` from `next`: there is none yet,
    /// or the mark is stale.
    fn follow<E>(
        &self,
        mut next: impl FnMut(&Arc<AttachedFile>) -> Result<Option<Arc<AttachedFile>>, E>,
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
            // The call must end here: `release` would otherwise wait for the end of this very call.
            drop(in_use);
            let Some(next) = next(&before)? else { break };
            self.go_over(&before, next);
            drop(before);
            self.release(RELEASE_WAIT);
        }
        Ok(self.in_any_use())
    }

    /// Replaces the handle's file by its successor, unless another thread was faster.
    fn go_over(&self, before: &Arc<AttachedFile>, next: Arc<AttachedFile>) {
        let (old, new) = (Arc::as_ptr(before).cast_mut(), Arc::into_raw(next).cast_mut());
        let is_done = self.opened.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        // SAFETY: the pointer of the two that is not stored in `opened` now. Its reference belonged to this handle, or
        // was made above.
        let other = unsafe { Arc::from_raw(if is_done { old } else { new }) };
        if is_done {
            self.retire(Box::into_raw(Box::new(Retired { _opened: other, next: ptr::null_mut() })));
        }
    }

    fn has_retired(&self) -> bool {
        !self.retired.load(Ordering::Relaxed).is_null()
    }

    /// Adds a list of retired files, given its first node, to `retired`.
    fn retire(&self, first: *mut Retired) {
        let mut last = first;
        // SAFETY: no other thread has the list, whose nodes came from boxes.
        while let Some(next) = ptr::NonNull::new(unsafe { (*last).next }) {
            last = next.as_ptr();
        }
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: no other thread has the list yet.
            unsafe { (*last).next = head };
            match self.retired.compare_exchange(head, first, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Drops the retired files, unless a call may still use one after `limit`. In that case the next write, or the next
    /// switch to another file, tries again.
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
        // SAFETY: the nodes came from boxes, and no other thread has the list.
        let retired = unsafe { Box::from_raw(first) };
        first = retired.next;
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        drop_all(*self.retired.get_mut());
        // SAFETY: the reference belongs to this handle, and no call borrows the handle any more.
        drop(unsafe { Arc::from_raw(*self.opened.get_mut()) });
    }
}
