//! A cache under a custom lock strategy. `crates/conformance/tests/custom_lock.rs` shows one for several processes;
//! this one serves the threads of one process, and counts.

mod common;

use common::Place;
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use kennel::{Cache, Error, LockStrategy, NamespaceOptions, Options, SetOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STRIPES: u32 = 4;

/// A flag for each lock region, and the number of times that a flag was set.
#[derive(Default)]
struct Flags {
    held: [AtomicBool; STRIPES as usize],
    taken: AtomicU64,
}

/// A strategy of flags, which its attachments share.
struct Counting {
    name: &'static str,
    id: u64,
    flags: Arc<Flags>,
}

struct Attached(Arc<Flags>);

impl LockFactory for Counting {
    fn name(&self) -> &str {
        self.name
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Attached(self.flags.clone())))
    }
}

impl LockRegions for Attached {
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
        let start = Instant::now();
        while self.0.held[region as usize].swap(true, Ordering::Acquire) {
            if start.elapsed() >= limit {
                return Err(LockError::Busy);
            }
            std::thread::yield_now();
        }
        self.0.taken.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn unlock(&self, region: u32) {
        self.0.held[region as usize].store(false, Ordering::Release);
    }
}

fn strategy(name: &'static str, id: u64, flags: &Arc<Flags>) -> LockStrategy {
    LockStrategy::Custom(Arc::new(Counting { name, id, flags: flags.clone() }))
}

fn create(place: &Place, flags: &Arc<Flags>) -> Cache {
    let locks = strategy("counting", 1010, flags);
    Options::new().capacity(256 << 10).stripes(STRIPES).locks(locks).create(place.path()).unwrap()
}

#[test]
fn who_opens_without_the_strategy_is_refused() {
    let (place, flags) = (Place::new(), Arc::<Flags>::default());
    let cache = create(&place, &flags);
    cache.set("key", "value").unwrap();
    assert_eq!(cache.stats().strategy, "counting");
    for (locks, asked) in [
        (None, "file"),
        (Some(LockStrategy::RwFile), "rw-file"),
        (Some(strategy("counting", 1011, &flags)), "counting"),
        (Some(strategy("another", 1010, &flags)), "another"),
    ] {
        let options = locks.map_or_else(Options::new, |locks| Options::new().locks(locks));
        match options.open(place.path()) {
            Err(Error::UnknownStrategy { found, id, asked: said, .. }) => {
                assert_eq!((found.as_str(), id, said.as_str()), ("counting", 1010, asked));
            }
            other => panic!("expected UnknownStrategy, found {other:?}"),
        }
    }
    // The attempts changed nothing.
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    let again = Options::new().locks(strategy("counting", 1010, &flags)).open(place.path()).unwrap();
    assert_eq!(again.get("key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_batch_takes_the_lock_of_each_stripe_once_and_reads_take_none() {
    let (place, flags) = (Place::new(), Arc::<Flags>::default());
    let cache = create(&place, &flags);
    let namespace = cache.namespace("r", &NamespaceOptions::new()).unwrap();
    let locks_of = |work: &dyn Fn()| {
        let before = flags.taken.load(Ordering::SeqCst);
        work();
        flags.taken.load(Ordering::SeqCst) - before
    };
    let each = u64::from(STRIPES);
    // Enough keys for every stripe, but no more for one stripe than a single hold of its lock writes.
    let keys: Vec<String> = (0..60).map(|n| format!("key {n}")).collect();
    let items: Vec<(&String, &str)> = keys.iter().map(|key| (key, "value")).collect();
    let how = SetOptions::new();
    for round in 0..2 {
        assert_eq!(locks_of(&|| assert!(cache.set_multi(&items, &how).iter().all(Result::is_ok))), each, "{round}");
        assert_eq!(locks_of(&|| assert!(namespace.set_multi(&items, &how).iter().all(Result::is_ok))), each, "{round}");
    }
    assert_eq!(locks_of(&|| assert!(cache.get_multi(&keys).iter().all(Option::is_some))), 0);
    assert_eq!(locks_of(&|| assert!(namespace.get_multi(&keys).iter().all(Option::is_some))), 0);
    assert_eq!(locks_of(&|| assert!(keys.iter().all(|key| namespace.get_item(key).is_some()))), 0);
    assert_eq!(locks_of(&|| assert!(cache.delete_multi(&keys).iter().all(Result::is_ok))), each);
    assert_eq!(locks_of(&|| assert!(namespace.delete_multi(&keys).iter().all(Result::is_ok))), each);
}
