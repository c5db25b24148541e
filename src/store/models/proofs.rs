//! A model of a word that vouches for values, as a near tier uses it: everything that changed elsewhere before the
//! word's time has been deleted here.

use super::{Arc, AtomicU64, Engine, FIRST, Ordering, checker, thread, value};
use crate::store::epochs::Invalidation;
use std::collections::BTreeSet;
use std::sync::Mutex;

const KEY: &[u8] = b"key";

/// An engine beside the place from which its values come. Values are the times at which that place got them.
struct Near {
    engine: Engine,
    far: AtomicU64,
}

/// How a fill ended, or what a read found, with the time that was proved before.
type Seen = std::sync::Arc<Mutex<BTreeSet<(&'static str, u64)>>>;

impl Near {
    /// The value of a key, which must not be older than what the word proved before.
    fn read(&self, seen: &Seen) {
        let proof = self.engine.store.callers_word(FIRST, 0).unwrap();
        // While a writer is at work nothing is found.
        let found = self.engine.lookup(KEY).flatten().map_or(0, |(first, _)| first);
        assert!(found == 0 || found >= proof, "the value of {found} after a proof of {proof}");
        seen.lock().unwrap().insert((if found == 0 { "a miss" } else { "a hit" }, proof));
    }

    /// Fetches the value under a claim, and stores it.
    fn fill(&self, seen: &Seen) {
        let Some(Ok(creator)) = self.engine.claim(KEY, 1) else { panic!("nobody else fills the key") };
        let fetched = self.far.load(Ordering::SeqCst);
        let is_stored = self.engine.store_created(KEY, creator, &value(fetched, 1));
        seen.lock().unwrap().insert((if is_stored { "stored" } else { "voided" }, fetched));
    }

    /// The tracker that is told of the change: it deletes, and proves.
    fn follow(&self) {
        self.far.store(2, Ordering::SeqCst);
        let mut stripe = self.engine.enter();
        let key = self.engine.store.key(KEY);
        stripe.void(&key);
        if let Some(entry) = stripe.find(&key) {
            stripe.remove(&entry);
        }
        drop(stripe);
        self.engine.store.raise_callers_word(FIRST, 0, 2);
    }

    /// A tracker that joins. It is told of no earlier change, so it invalidates everything, and proves the time at
    /// which it joined.
    fn join(&self) {
        let on = self.far.load(Ordering::SeqCst);
        assert!(self.engine.store.raise_epoch(0, Invalidation::Hard));
        self.engine.store.raise_callers_word(FIRST, 0, on);
    }
}

#[test]
fn loom_a_proof_holds_beside_two_trackers_and_a_fill() {
    let seen = Seen::default();
    let in_model = seen.clone();
    let mut checker = checker();
    checker.preemption_bound = Some(2);
    checker.check(move || {
        let near = Arc::new(Near { engine: Engine::new(2048, 130), far: AtomicU64::new(1) });
        let (following, joining, seen) = (near.clone(), near.clone(), in_model.clone());
        let follower = thread::spawn(move || following.follow());
        let joiner = thread::spawn(move || joining.join());
        near.fill(&seen);
        near.read(&seen);
        follower.join().unwrap();
        joiner.join().unwrap();
        near.read(&seen);
    });
    let seen = seen.lock().unwrap();
    let outcomes =
        [("stored", 1), ("stored", 2), ("voided", 1), ("a hit", 0), ("a hit", 1), ("a hit", 2), ("a miss", 2)];
    for outcome in outcomes {
        assert!(seen.contains(&outcome), "{outcome:?} was not reached, only {seen:?}");
    }
}
