//! The operations in which children are killed, in a cache with space for all keys.

use crate::SEATS;
use crate::common::raw::Raw;
use crate::common::stop::Stop;
use kennel::crash::{self, Event, Step};
use kennel::{
    Cache, CreateError, CreateOptions, Expiry, Invalidation, Lookup, NamespaceOptions, Options, RestoreOptions,
    Restored, SavedItem, SetOptions, Stored, Swap, Wait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// An operation in which a child is killed.
pub struct Case {
    pub name: &'static str,
    pub options: fn() -> Options,
    /// Prepares the state before the operation, in the survivor.
    pub before: fn(&Cache),
    /// The operation of the child; the number differs each time.
    pub work: fn(&Cache, u64),
    /// The values of [`KEY`] before and after, in this order; the survivor finds one of them, and never an earlier one
    /// later.
    pub states: &'static [Option<&'static [u8]>],
    /// Whether the death can cost the key.
    pub may_lose: bool,
}

pub const KEY: &str = "the key";
/// The key whose value is moved to [`KEY`].
pub const RENAMED: &str = "the key to be renamed";
pub const OLD: &[u8] = b"the old value, a small one";
pub const NEW: &[u8] = b"the new value, a small one";
/// Too large to be overwritten in place.
pub const OLD_LARGE: &[u8] = &[b'o'; 700];
pub const NEW_LARGE: &[u8] = &[b'n'; 900];

pub const CASES: &[Case] = &[
    Case {
        name: "set a new key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "set a new large key",
        options: roomy,
        before: absent,
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "overwrite in place",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW),
        states: &[Some(OLD), Some(NEW)],
        may_lose: true,
    },
    // The key is never missing: the old record stays until the new one is linked.
    Case {
        name: "overwrite large",
        options: roomy,
        before: large,
        work: |c, _| set(c, NEW_LARGE),
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "overwrite small by large",
        options: roomy,
        before: small,
        work: |c, _| set(c, NEW_LARGE),
        states: &[Some(OLD), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "delete",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.delete(KEY).unwrap()),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    Case {
        name: "incr",
        options: roomy,
        before: |c| c.set(KEY, "41").unwrap(),
        work: |c, _| assert_eq!(c.incr(KEY, 1).unwrap(), Some(42)),
        states: &[Some(b"41"), Some(b"42")],
        may_lose: true,
    },
    Case {
        name: "touch",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.touch(KEY, Expiry::After(Duration::from_secs(3600))).unwrap()),
        states: &[Some(OLD)],
        may_lose: false,
    },
    Case {
        name: "add",
        options: roomy,
        before: absent,
        work: |c, _| assert!(c.add(KEY, NEW, &SetOptions::new().flags(7)).unwrap()),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "compare and swap",
        options: roomy,
        before: large,
        work: |c, _| {
            let stamp = c.get_item(KEY).unwrap().stamp;
            let swap = c.compare_and_swap(KEY, stamp, NEW_LARGE, &SetOptions::new()).unwrap();
            assert!(matches!(swap, Swap::Stored(_)));
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "swap a value",
        options: roomy,
        before: |c| set_tagged(c, OLD_LARGE, &["a", "b"]),
        work: |c, _| {
            let stamp = c.get_item(KEY).unwrap().stamp;
            assert!(matches!(c.swap_value(KEY, stamp, NEW_LARGE).unwrap(), Swap::Stored(_)));
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    // A swap of equal length overwrites the record in place, like `incr`.
    Case {
        name: "swap a small value",
        options: roomy,
        before: small,
        work: |c, _| {
            let stamp = c.get_item(KEY).unwrap().stamp;
            assert!(matches!(c.swap_value(KEY, stamp, NEW).unwrap(), Swap::Stored(_)));
        },
        states: &[Some(OLD), Some(NEW)],
        may_lose: true,
    },
    Case {
        name: "rename",
        options: roomy,
        before: |c| {
            large(c);
            c.set_with(RENAMED, NEW_LARGE, &SetOptions::new().tags(&["a", "b"])).unwrap();
        },
        work: |c, _| assert!(c.rename(RENAMED, KEY).unwrap()),
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "restore",
        options: roomy,
        // The record to be replaced has no access marks.
        before: |c| {
            absent(c);
            set(c, OLD_LARGE);
        },
        work: |c, _| {
            let mut item = SavedItem::new(KEY.as_bytes(), Some(NEW_LARGE));
            item.marks = 3;
            assert_eq!(c.restore(&item, &RestoreOptions::new().replace(true)).unwrap(), Restored::Stored);
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "get",
        options: roomy,
        // The new handle has no access marks.
        before: |c| {
            absent(c);
            set(c, NEW_LARGE);
        },
        work: |c, _| assert!(c.get(KEY).is_some()),
        states: &[Some(NEW_LARGE)],
        may_lose: false,
    },
    // The expiry moves under the stripe's lock.
    Case {
        name: "get what lives as long as it is read",
        options: roomy,
        before: |c| {
            absent(c);
            let hour = Duration::from_secs(3600);
            c.namespace("idle", &NamespaceOptions::new().idle(hour)).unwrap();
            let mut item = SavedItem::new(KEY.as_bytes(), Some(NEW_LARGE));
            (item.namespace, item.follows_reads) = (Some("idle".into()), true);
            item.expires = Some(SystemTime::now() + hour / 2);
            assert_eq!(c.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored);
        },
        work: |c, _| {
            assert!(c.get(KEY).is_some());
            let left = c.get_item(KEY).unwrap().expires.unwrap().duration_since(SystemTime::now()).unwrap();
            assert!(left > Duration::from_secs(3000), "the read has moved the expiry: {left:?}");
        },
        states: &[Some(NEW_LARGE)],
        may_lose: false,
    },
    // The flush mark says that the file is durable; a writer first clears it.
    Case {
        name: "flush and overwrite",
        options: roomy,
        before: large,
        work: |c, _| {
            assert!(c.flush().unwrap());
            set(c, NEW_LARGE);
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "clear",
        options: roomy,
        before: small,
        work: |c, _| c.clear().unwrap(),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    Case {
        name: "set what was cleared",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW),
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "set what was cleared, large",
        options: roomy,
        before: |c| {
            c.set(KEY, OLD_LARGE).unwrap();
            c.clear().unwrap();
        },
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "decr",
        options: roomy,
        before: |c| c.set(KEY, "1000").unwrap(),
        work: |c, _| assert_eq!(c.decr(KEY, 1).unwrap(), Some(999)),
        states: &[Some(b"1000"), Some(b"999")],
        may_lose: true,
    },
    Case {
        name: "replace",
        options: roomy,
        before: large,
        work: |c, _| assert!(c.replace(KEY, NEW_LARGE, &SetOptions::new()).unwrap()),
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "set many",
        options: roomy,
        before: large,
        work: |c, number| {
            let items = [(KEY.to_owned(), NEW_LARGE.to_vec()), (format!("another {number}"), OLD.to_vec())];
            assert!(c.set_multi(&items, &SetOptions::new()).iter().all(Result::is_ok));
        },
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "delete many",
        options: roomy,
        before: small,
        work: |c, _| assert!(c.delete_multi(&[KEY, "no such key"])[0].as_ref().is_ok_and(|was_there| *was_there)),
        states: &[Some(OLD), None],
        may_lose: false,
    },
    // An expired record stays in the ring until it is overwritten, or its space is needed.
    Case {
        name: "set what is expired",
        options: roomy,
        before: |c| {
            let expired = SetOptions::new().expiry(Expiry::After(Duration::ZERO));
            c.set_with(KEY, OLD_LARGE, &expired).unwrap();
        },
        work: |c, _| set(c, NEW_LARGE),
        states: &[None, Some(NEW_LARGE)],
        may_lose: false,
    },
    // Another thread waits for the lock when it is released.
    Case {
        name: "replace while others wait",
        options: roomy,
        before: large,
        work: while_others_wait,
        states: &[Some(OLD_LARGE), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "get or create",
        options: roomy,
        before: absent,
        work: |c, _| {
            let create = || NEW.to_vec();
            assert_eq!(c.get_or_create(KEY, &CreateOptions::new(), create).unwrap(), NEW);
        },
        states: &[None, Some(NEW)],
        may_lose: false,
    },
    // The check writes the key, which ends a rest.
    Case {
        name: "fail to create",
        options: roomy,
        before: absent,
        work: |c, _| {
            let how = CreateOptions::new().rest(Duration::from_secs(60), Duration::from_secs(60));
            let failed = c.get_or_create(KEY, &how, || Err::<Vec<u8>, _>("down")).unwrap_err();
            assert!(matches!(failed, CreateError::Creator("down")), "{failed}");
        },
        states: &[None],
        may_lose: false,
    },
    Case {
        name: "write what is being created",
        options: roomy,
        before: large,
        work: |c, _| {
            let _claim = c.lock("another", Wait::No).unwrap();
            c.delete(KEY).unwrap();
            let Lookup::Create(claim) = c.claim(KEY, &CreateOptions::new()).unwrap() else { panic!("it is deleted") };
            set(c, NEW);
            assert_eq!(claim.store(OLD).unwrap(), Stored::Voided);
        },
        states: &[Some(OLD_LARGE), None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "make a namespace and invalidate it",
        options: || roomy().namespaces(1_000),
        before: small,
        work: |c, number| {
            let namespace = c
                .namespace(&format!("namespace {number}"), &NamespaceOptions::new().ttl(Duration::from_secs(60)))
                .unwrap();
            namespace.set(KEY, NEW).unwrap();
            namespace.invalidate(Invalidation::Hard).unwrap();
            assert!(namespace.get(KEY).is_none());
        },
        states: &[Some(OLD)],
        may_lose: false,
    },
    Case {
        name: "remove a namespace",
        options: || roomy().namespaces(1),
        before: small,
        work: |c, number| {
            let (one, other) = if number % 2 == 0 { ("a", "b") } else { ("b", "a") };
            // Stored keys that do not tell namespaces apart: only epochs do.
            let shared = NamespaceOptions::new().key_mangler(|_, key| key.to_vec());
            // What a child left that was killed.
            for name in ["a", "b"] {
                c.remove_namespace(name).unwrap();
            }
            let old = c.namespace(one, &shared).unwrap();
            assert!(old.get("shared").is_none(), "a value of {other}");
            old.set("shared", NEW).unwrap();
            assert!(c.remove_namespace(one).unwrap());
            assert!(old.get("shared").is_none() && c.get("shared").is_none());
        },
        states: &[Some(OLD)],
        may_lose: false,
    },
    Case {
        name: "set with tags",
        options: roomy,
        before: |c| set_tagged(c, OLD, &["a", "b"]),
        work: |c, _| set_tagged(c, NEW_LARGE, &["a", "b", "c", "d", "e"]),
        states: &[Some(OLD), Some(NEW_LARGE)],
        may_lose: false,
    },
    Case {
        name: "invalidate tags",
        options: roomy,
        before: |c| set_tagged(c, OLD, &["a", "b"]),
        work: |c, _| {
            c.invalidate_tags(&["other", "b"], Invalidation::Hard).unwrap();
            assert!(!c.contains(KEY));
            set_tagged(c, NEW, &["b"]);
        },
        states: &[Some(OLD), None, Some(NEW)],
        may_lose: false,
    },
    Case {
        name: "leave",
        options: roomy,
        before: small,
        work: |c, _| drop(roomy().open(c.path()).unwrap()),
        states: &[Some(OLD)],
        may_lose: false,
    },
];

/// Under `lease` a mark in the lock word shows that a waiter sleeps.
fn wait_until_others_wait(cache: &Cache) {
    let is_marked = || {
        let raw = Raw::load(cache.path());
        raw.word(raw.stripe(0)) >> 63 == 1
    };
    let end = Instant::now() + Duration::from_secs(20);
    while cache.stats().strategy == "lease" && !is_marked() && Instant::now() < end {
        std::thread::yield_now();
    }
}

fn while_others_wait(cache: &Cache, number: u64) {
    let holds = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (held, begun) = (cache.clone(), holds.clone());
        scope.spawn(|| {
            while !holds.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            cache.set(format!("of another {number}"), OLD).unwrap();
        });
        let _end = Stop(&holds);
        // At the first store of a write, its stripe is locked.
        crash::watch(move |event| {
            if matches!(event, Event::Store(Step::IntentFields)) && !begun.swap(true, Ordering::SeqCst) {
                wait_until_others_wait(&held);
            }
        });
        assert!(cache.replace(KEY, NEW_LARGE, &SetOptions::new()).unwrap());
        crash::unwatch();
    });
}

pub fn set(cache: &Cache, value: &[u8]) {
    cache.set(KEY, value).unwrap();
}

fn absent(cache: &Cache) {
    cache.delete(KEY).unwrap();
}

fn set_tagged(cache: &Cache, value: &[u8], tags: &[&str]) {
    cache.set_with(KEY, value, &SetOptions::new().tags(tags)).unwrap();
}

pub fn small(cache: &Cache) {
    set(cache, OLD);
}

fn large(cache: &Cache) {
    set(cache, OLD_LARGE);
}

/// Space for everything that is written here: no key is ever evicted.
pub fn roomy() -> Options {
    Options::new().capacity(1 << 20).stripes(1).mean_item(128).seed(1).seats(SEATS)
}

/// Full after a few hundred keys.
pub fn tight() -> Options {
    Options::new().capacity(32 << 10).stripes(1).mean_item(64).seed(2).seats(SEATS)
}

/// The positions of its rings soon run out, which empties stripes.
pub fn ending() -> Options {
    tight().near_last_position(true)
}

/// Keys that no operation touches, small and large, with values that identify them.
pub fn bystanders() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..30).map(|i| (format!("bystander {i}"), format!("of bystander {i};").repeat(1 + i * 3).into_bytes()))
}

pub fn put_bystanders(cache: &Cache) {
    bystanders().for_each(|(key, value)| cache.set(key, value).unwrap());
}
