//! Models of the removal of a namespace, and of its entry's next name, beside handles that know the old name.
//!
//! The remover takes the lock of stripe 0, and a writer takes that of another stripe, so only the words of the entry
//! order them. In these models the remover takes no lock.

use super::{Arc, Defaults, Engine, FIRST, Metadata, NewRecord, Seen, checker, thread, value};
use crate::store::namespace::Removal;

const KEY: &[u8] = b"key";

impl Engine {
    fn with_old_name() -> Arc<Self> {
        let engine = Self::new(2048, 130);
        assert_eq!(engine.enter().add_namespace("old", Defaults::default()), Some(FIRST));
        Arc::new(engine)
    }

    fn remove_old(&self) {
        assert_eq!(self.store.remove_namespace("old"), Removal::Done);
    }

    /// Looks for the namespace and then stores a value in it, as a handle does. Returns whether the namespace was
    /// found.
    fn set_in_old(&self) -> bool {
        let Some(namespace) = self.store.namespace_named("old") else { return false };
        let mut stripe = self.enter();
        let epochs = stripe.epochs_now(namespace);
        let metadata = Metadata { namespace: namespace.number(), ..Metadata::default() };
        let value = value(1, 1);
        stripe.put(&NewRecord::new(self.store.key(KEY), &value, 0, Some(metadata)), None, epochs);
        true
    }
}

#[test]
fn loom_what_an_old_handle_writes_is_gone_with_its_namespace() {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Engine::with_old_name();
        let (other, found) = (engine.clone(), in_model.clone());
        let writer = thread::spawn(move || {
            found.lock().unwrap().insert(Some(other.set_in_old().into()));
        });
        engine.remove_old();
        writer.join().unwrap();
        // A handle that adds the next name and reads the key finds nothing, however its stored keys are made.
        assert_eq!(engine.lookup(KEY), Some(None), "a value of a namespace that was removed");
    });
    assert_eq!(*found.lock().unwrap(), [Some(0), Some(1)].into(), "both outcomes are reached");
}

#[test]
fn loom_an_old_handle_reads_no_word_of_the_next_name() {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Engine::with_old_name();
        let (other, found) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let word = other.store.callers_word(FIRST, 0);
            assert!(word.is_none_or(|word| word == 0), "{word:?} of another namespace");
            found.lock().unwrap().insert(word);
        });
        engine.remove_old();
        let new = engine.enter().add_namespace("new", Defaults::default()).unwrap();
        assert_eq!(engine.store.raise_callers_word(new, 0, 7), Some(0));
        reader.join().unwrap();
    });
    assert_eq!(*found.lock().unwrap(), [None, Some(0)].into(), "both outcomes are reached");
}
