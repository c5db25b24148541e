//! A child that inherits the guard of a lock, because its parent forked in the middle of a write.

use crate::common::fork::Forked;
use crate::common::{self, Place};
use crate::options;
use kennel::crash::{self, Event, Step};
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use kennel::{Error, LockStrategy, SetOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Forks at the first store of a write, which then holds its stripe's lock. The child unwinds out of the write, and
/// so drops the guard of its parent's lock.
fn inherited_guard(strategy: LockStrategy) {
    let place = Place::new();
    let locks_nothing = matches!(strategy, LockStrategy::Custom(_));
    let options = options().locks(strategy).lock_wait(Duration::from_millis(200));
    let cache = options.create(place.path()).unwrap();
    cache.set("key", "before").unwrap();
    let other = options.open(place.path()).unwrap();
    let (beside, forked) = (other.clone(), Arc::new(AtomicBool::new(false)));
    let has_forked = forked.clone();
    let fork = move |event| {
        if !matches!(event, Event::Store(Step::IntentFields)) || has_forked.swap(true, Ordering::SeqCst) {
            return;
        }
        let Some(child) = Forked::unwinding() else { std::panic::resume_unwind(Box::new("in the child")) };
        child.join();
        if !locks_nothing {
            let busy = beside.set("key", "stolen");
            assert!(matches!(busy, Err(Error::Busy { .. })), "the child's guard unlocked: {busy:?}");
        }
    };
    Forked::end_if_unwound(|| {
        crash::watch(fork);
        assert!(cache.replace("key", "after", &SetOptions::new()).unwrap());
        crash::unwatch();
    });
    assert!(forked.load(Ordering::SeqCst), "the write did not fork");
    assert_eq!(other.get("key").as_deref(), Some(&b"after"[..]));
    other.set("key", "other").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"other"[..]));
}

/// A strategy that locks nothing and records every process that unlocks.
struct Notes(PathBuf);

impl LockFactory for Notes {
    fn name(&self) -> &str {
        "notes"
    }

    fn id(&self) -> u64 {
        1002
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Notes(self.0.clone())))
    }
}

impl LockRegions for Notes {
    fn lock(&self, _: u32, _: Duration) -> Result<(), LockError> {
        Ok(())
    }

    fn unlock(&self, _: u32) {
        std::fs::write(self.0.join(std::process::id().to_string()), "unlocked").unwrap();
    }
}

/// A child cannot unlock by mistake through a descriptor that it has lost; a strategy that keeps its lock elsewhere
/// must not even be asked to unlock.
#[test]
fn an_inherited_guard_does_not_unlock() {
    let notes = tempfile::tempdir().unwrap();
    inherited_guard(LockStrategy::Custom(Arc::new(Notes(notes.path().into()))));
    assert_eq!(common::names_in(notes.path()), [std::process::id().to_string()]);
}

#[test]
fn an_inherited_guard_does_nothing() {
    inherited_guard(LockStrategy::File);
    inherited_guard(LockStrategy::Lease);
    inherited_guard(LockStrategy::RwFile);
}
