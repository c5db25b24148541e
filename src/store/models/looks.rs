//! Looks at the index that are not reads: that of an observer, and that of a writer before it has the lock.

use super::*;

impl Engine {
    /// A `set` as the interface makes it.
    fn set_seen(&self, key: &[u8], value: &[u8]) {
        let key = self.store.key(key);
        let seen = self.store.see_record(self.store.bucket_view(&key));
        let mut stripe = self.enter();
        let entry = stripe.find_seen(&seen, self.store.bucket_of(&key), &key);
        stripe.put(&NewRecord::new(key, value, 0, None), entry.as_ref(), RecordEpochs { cache: 0, namespace: 0 });
    }

    fn delete(&self, key: &[u8]) {
        let mut stripe = self.enter();
        if let Some(entry) = stripe.find(&self.store.key(key)) {
            stripe.remove(&entry);
        }
    }
}

#[test]
fn loom_a_look_from_before_the_lock_serves_only_while_nothing_has_changed() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::<Heap>::new(2048, 130));
        engine.set(b"key", &value(1, 2));
        let other = engine.clone();
        let writer = thread::spawn(move || other.set_seen(b"key", &value(2, 2)));
        engine.delete(b"key");
        writer.join().unwrap();
        let found = engine.lookup(b"key").expect("no writer is at work").map(|(first, _)| first);
        let live = engine.store.stripe_word(0, at!(Stripe.live)).get();
        assert_eq!(live, u64::from(found.is_some()), "the record of before the deletion was replaced after it");
        in_model.lock().unwrap().insert(found);
    });
    assert_eq!(*seen.lock().unwrap(), [None, Some(2)].into(), "both orders are reached");
}

/// An observer copies a record's header and key. The overwrite changes the stamp and the length of the value.
#[test]
fn loom_an_observer_sees_the_header_of_one_write() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::<Heap>::new(2048, 130));
        engine.set(b"key", &value(1, 2));
        let first = engine.store.stripe_word(0, at!(Stripe.stamp)).get();
        let (other, seen) = (engine.clone(), in_model.clone());
        let observer = thread::spawn(move || {
            let (mut items, store) = (Vec::new(), &other.store);
            let bucket = store.key(b"key").bucket(store.geometry.buckets);
            if !store.items_of_bucket(0, bucket, 0, &mut items) {
                return;
            }
            let [item] = &items[..] else { panic!("{} items", items.len()) };
            let newer = item.head.stamp - first;
            assert_eq!(item.value_len, if newer == 0 { 16 } else { 12 }, "the header of two writes");
            seen.lock().unwrap().insert(newer);
        });
        engine.set(b"key", &value(2, 2)[..12]);
        observer.join().unwrap();
    });
    assert_eq!(seen.lock().unwrap().len(), 2, "saw only {seen:?}");
}
