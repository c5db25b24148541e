//! Values of one type, beside raw bytes.
#![cfg(feature = "typed")]

mod common;

use common::Place;
use kennel::{
    Cache, CreateError, CreateOptions, Error, Expiry, Invalidation, NamespaceOptions, Options, SetOptions, Swap, Typed,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    links: Vec<(u32, Option<String>)>,
    sizes: BTreeMap<String, f64>,
}

fn page() -> Page {
    Page {
        title: "Hello".into(),
        links: vec![(1, None), (2, Some("two".into()))],
        sizes: [("a".to_owned(), 1.5)].into_iter().collect(),
    }
}

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = Options::new().capacity(64 << 10).create(place.path()).unwrap();
    (place, cache)
}

#[test]
fn a_typed_value_comes_back_from_cache_and_namespace() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for typed in [cache.typed::<Page>(), namespace.typed::<Page>()] {
        assert_eq!(typed.get("1").unwrap(), None);
        typed.set("1", &page()).unwrap();
        assert_eq!(typed.get("1").unwrap(), Some(page()));
        let how = SetOptions::new().expiry(Expiry::After(Duration::ZERO));
        typed.set_with("2", &page(), &how).unwrap();
        assert_eq!(typed.get("2").unwrap(), None);
    }
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert_eq!((namespace.typed::<Page>().get("1").unwrap(), cache.typed().get("1").unwrap()), (None, Some(page())));
    assert!(cache.get_item("1").unwrap().value.len() < 40, "a compact form");
}

#[test]
fn a_typed_handle_is_kept_and_offers_what_a_cache_does() {
    struct Pages(Typed<Page>);
    let (_place, cache) = cache();
    let pages = Pages(cache.namespace("pages", &NamespaceOptions::new()).unwrap().typed());
    let (typed, how) = (pages.0.clone(), SetOptions::new());
    drop(cache);
    let other = || Page { title: "other".into(), ..page() };
    assert!(typed.add("1", &page(), &how).unwrap() && !typed.add("1", &other(), &how).unwrap());
    assert!(typed.replace("1", &other(), &how).unwrap() && !typed.replace("2", &other(), &how).unwrap());
    let item = typed.get_item("1").unwrap().unwrap();
    assert_eq!((item.value, item.expires), (other(), None));
    assert!(matches!(typed.compare_and_swap("1", item.stamp, &page(), &how).unwrap(), Swap::Stored(_)));
    assert_eq!(typed.compare_and_swap("1", item.stamp, &other(), &how).unwrap(), Swap::Changed);
    assert!(typed.touch("1", Expiry::After(Duration::from_secs(60))).unwrap());
    assert!(typed.get_item("1").unwrap().unwrap().expires.is_some());
    assert!(typed.set_multi(&[("2", page()), ("3", other())], &how).iter().all(Result::is_ok));
    typed.cache().set("4", "not typed").unwrap();
    let found = typed.get_multi(&["1", "3", "4", "5"]);
    assert!(matches!(&found[..], [Ok(Some(one)), Ok(Some(three)), Err(Error::Codec { .. }), Ok(None)]
        if *one == page() && *three == other()));
    assert!(typed.contains("2") && typed.delete("2").unwrap() && !typed.contains("2"));
    assert_eq!(typed.cache().namespace_name(), Some("pages"));
}

#[test]
fn a_typed_value_may_be_absent_or_refreshed_in_the_background() {
    let (_place, cache) = cache();
    let typed = cache.typed::<u64>();
    let minute = Expiry::After(Duration::from_secs(60));
    let absent = CreateOptions::new().absence_expiry(minute);
    assert_eq!(typed.get_or_create_optional("none", &absent, || None).unwrap(), None);
    let never = || -> Result<Option<u64>, Infallible> { panic!("the absence is remembered") };
    assert_eq!(typed.get_or_create_optional("none", &absent, never).unwrap(), None);
    assert_eq!(typed.get_or_create_optional("some", &absent, || Some(1)).unwrap(), Some(1));
    assert_eq!(typed.get("some").unwrap(), Some(1));
    let stale = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
    typed.set_with("key", &1, &stale).unwrap();
    let refreshed = |value| typed.get_or_refresh("key", &CreateOptions::new(), move || value).unwrap();
    assert_eq!(refreshed(2), 1);
    while typed.get("key").unwrap() != Some(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A stale value of another type counts as missing.
    cache.typed::<String>().set_with("key", &"text".to_owned(), &stale).unwrap();
    assert_eq!(refreshed(3), 3);
    assert_eq!(typed.get("key").unwrap(), Some(3));
}

#[test]
fn a_typed_value_is_created_once() {
    let (_place, cache) = cache();
    let typed = cache.typed::<Page>();
    let how = CreateOptions::new();
    assert_eq!(typed.get_or_create("1", &how, || Ok::<_, ()>(page())).unwrap(), page());
    assert_eq!(typed.get_or_create("1", &how, || Err("it is there")).unwrap(), page());
    assert!(matches!(typed.get_or_create("2", &how, || Err("no")), Err(CreateError::Creator("no"))));
}

#[test]
fn what_is_not_of_the_type_is_an_error_and_created_anew() {
    let (_place, cache) = cache();
    cache.set("raw", "bytes").unwrap();
    cache.typed::<u64>().set("number", &7).unwrap();
    let error = cache.typed::<u8>().get("raw").unwrap_err();
    assert!(matches!(error, Error::Codec { .. }), "{error}");
    assert!(cache.typed::<Page>().get("number").is_err());
    let anew = cache.typed::<Page>().get_or_create("number", &CreateOptions::new(), || Ok::<_, ()>(page()));
    assert_eq!(anew.unwrap(), page());
    assert_eq!(cache.typed::<Page>().get("number").unwrap(), Some(page()));
}

/// Stores a value of one type and reads it as another.
fn is_told_apart<T: Serialize + DeserializeOwned, U: Serialize + DeserializeOwned + Debug>(value: T) {
    let (_place, cache) = cache();
    cache.typed::<T>().set("key", &value).unwrap();
    let read = cache.typed::<U>().get("key");
    assert!(matches!(read, Err(Error::Codec { what: "read", .. })), "{}: {read:?}", std::any::type_name::<U>());
    assert!(cache.typed::<T>().get("key").unwrap().is_some());
}

#[test]
fn the_values_of_types_with_the_same_bytes_are_told_apart() {
    mod older {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Size {
            pub width: u32,
            pub height: u32,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum Event {
            Start,
            Stop,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Meters(pub f64);
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Dated {
            pub at: super::Day,
            pub size: u8,
        }
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Size {
        height: u32,
        width: u32,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Event {
        Stop,
        Start,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Feet(f64);
    #[derive(Debug, Serialize, Deserialize)]
    struct Dated {
        at: Day,
        size: Option<u8>,
    }
    is_told_apart::<_, Vec<u8>>((1u32, 2u32));
    is_told_apart::<_, Option<u8>>((1u32, 2u32));
    is_told_apart::<_, (u8, u8)>((1u32, 2u32));
    is_told_apart::<_, (u32, u32, u32)>((1u32, 2u32));
    is_told_apart::<_, Vec<Option<bool>>>(vec![Some(1u8)]);
    is_told_apart::<_, Size>(older::Size { width: 1, height: 2 });
    is_told_apart::<_, Event>(older::Event::Start);
    is_told_apart::<_, Feet>(older::Meters(1.0));
    // This also holds behind a part that accepts no made-up value.
    is_told_apart::<_, Dated>(older::Dated { at: Day("2026-11-28".into()), size: 1 });
}

/// A date, which refuses all other strings.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Day(String);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let is_day = text.len() == 10 && text.split('-').count() == 3;
        if is_day { Ok(Self(text)) } else { Err(serde::de::Error::custom("no day")) }
    }
}

/// Types that are deep, endless, or picky.
#[test]
fn whatever_serde_derives_comes_back() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Term {
        Sum(Box<Term>, Box<Term>),
        Call { name: String, arguments: Vec<Term> },
        Number(i64),
        Nothing,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Tree<T> {
        left: Option<Box<Tree<T>>>,
        right: Option<Box<Tree<T>>>,
        value: T,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        unit: Unit,
        #[serde(rename = "renamed", alias = "other")]
        number: NonZeroU16,
        days: BTreeMap<char, Vec<Day>>,
        #[serde(skip)]
        skipped: u8,
        address: IpAddr,
        after: Duration,
        wide: (i128, u128, f32, [u8; 32]),
    }
    fn returns<T: Clone + Debug + PartialEq + Serialize + DeserializeOwned>(value: &T) {
        let (_place, cache) = cache();
        let typed = cache.typed::<T>();
        let created = typed.get_or_create("key", &CreateOptions::new(), || Ok::<_, ()>(value.clone()));
        assert_eq!((created.unwrap(), typed.get("key").unwrap()), (value.clone(), Some(value.clone())));
    }
    let number = Box::new(Term::Number(-1));
    let call = Term::Call { name: "f".into(), arguments: vec![Term::Nothing, Term::Number(2)] };
    returns(&Term::Sum(number, Box::new(call)));
    let leaf = |value| Tree { left: None, right: None, value };
    returns(&Tree { left: Some(Box::new(leaf(Term::Nothing))), right: None, value: Term::Number(1) });
    returns(&All {
        unit: Unit,
        number: NonZeroU16::MAX,
        days: [('a', vec![Day("2026-11-28".into())])].into_iter().collect(),
        skipped: 0,
        address: "::1".parse().unwrap(),
        after: Duration::from_millis(1),
        wide: (i128::MIN, u128::MAX, 0.5, [7; 32]),
    });
    returns(&Ok::<u8, String>(1));
    returns(&Vec::<()>::new());
}

/// Checks that a typed handle refuses this value, and others that contain it, with an error that names this word.
fn is_refused<T: Clone + Serialize + DeserializeOwned>(value: &T, word: &str) {
    let (_place, cache) = cache();
    let deep = (1u8, vec![Some(value.clone())]);
    let errors = [
        cache.typed::<T>().set("key", value).err(),
        cache.typed().set("key", &deep).err(),
        cache.typed::<T>().get("key").err(),
    ];
    for error in errors {
        let error = error.unwrap_or_else(|| panic!("{} was taken", std::any::type_name::<T>()));
        assert!(matches!(error, Error::Codec { .. }) && error.to_string().contains(word), "{error}");
    }
    let never = || -> Result<T, ()> { panic!("nothing is to be created that cannot be stored") };
    let created = cache.typed::<T>().get_or_create("key", &CreateOptions::new(), never);
    assert!(matches!(created, Err(CreateError::Cache(Error::Codec { .. }))));
    assert!(!cache.contains("key") && !cache.is_claimed("key"));
}

/// Values that postcard writes but cannot read, each with a word of the reason.
#[test]
fn a_type_that_cannot_be_read_back_is_refused_before_anything_is_stored() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(tag = "t")]
    enum Tagged {
        One { number: u32 },
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u32),
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Rest {
        one: u8,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        rest: Rest,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Skipping {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        one: Option<u8>,
        two: Vec<u8>,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Half {
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "it is read back")]
        one: u8,
        two: Vec<u8>,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Pair(#[serde(skip_serializing_if = "Vec::is_empty")] Vec<u8>, Vec<u8>);
    is_refused(&Tagged::One { number: 1 }, "tag");
    is_refused(&Untagged::Number(1), "untagged");
    is_refused(&Flattened { rest: Rest { one: 1 } }, "flatten");
    // Although this value has no field that would be left out.
    is_refused(&Skipping { one: Some(1), two: vec![2] }, "`one` of `Skipping` is left out");
    is_refused(&Half { one: 1, two: vec![0] }, "2 are read");
    is_refused(&Pair(vec![1], vec![2]), "2 are read");
}

/// A field that is left out only for some values is detected then; the bytes `[1, 0]` could be read as another value.
#[test]
fn a_value_that_would_be_read_as_another_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sometimes {
        day: Day,
        #[serde(skip_serializing_if = "is_zero")]
        one: u8,
        two: Vec<u8>,
    }
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_zero(one: &u8) -> bool {
        *one == 0
    }
    let (_place, cache) = cache();
    let typed = cache.typed::<Sometimes>();
    let day = || Day("2026-11-28".into());
    typed.set("key", &Sometimes { day: day(), one: 1, two: vec![] }).unwrap();
    let error = typed.set("key", &Sometimes { day: day(), one: 0, two: vec![0] }).unwrap_err();
    assert!(error.to_string().contains("`one` of `Sometimes` is left out"), "{error}");
    assert_eq!(typed.get("key").unwrap(), Some(Sometimes { day: day(), one: 1, two: vec![] }));
}

/// Other programs, and other releases of Kennel, must compute the same fingerprint.
#[test]
fn a_fingerprint_stays_what_it_is() {
    let (_place, cache) = cache();
    let stored = |key: &str| cache.get_item(key).map(|item| (item.flags, item.value)).unwrap();
    cache.typed::<Page>().set("page", &page()).unwrap();
    cache.typed::<(u8, String)>().version(1).set("pair", &(1, "a".into())).unwrap();
    let flags = u32::from_le_bytes(*b"typd");
    assert_eq!((stored("page").0, stored("pair").0), (flags, flags));
    let start = |key| u64::from_le_bytes(stored(key).1[..8].try_into().unwrap());
    assert_eq!((start("page"), start("pair")), (PAGE, PAIR), "{:#x} {:#x}", start("page"), start("pair"));
    assert_eq!(stored("pair").1[8..], [1, 1, b'a']);
}

const PAGE: u64 = 0x7e32_4933_002f_22e1;
const PAIR: u64 = 0xb3ba_4ffa_12e4_399f;

#[test]
fn a_version_says_what_the_type_does_not() {
    let (_place, cache) = cache();
    let (seconds, millis) = (cache.typed::<u64>(), cache.typed::<u64>().version(1));
    seconds.set("key", &5).unwrap();
    assert!(matches!(millis.get("key"), Err(Error::Codec { .. })));
    assert_eq!(millis.get_or_create("key", &CreateOptions::new(), || Ok::<_, ()>(5_000)).unwrap(), 5_000);
    assert_eq!((millis.get("key").unwrap(), seconds.get("key").is_err()), (Some(5_000), true));
    assert!(cache.typed::<u64>().version(0).get("key").is_err());
}

/// Values stored before fingerprints existed, or damaged ones.
#[test]
fn what_has_no_fingerprint_or_cannot_be_read_is_an_error_and_created_anew() {
    let (_place, cache) = cache();
    let typed = cache.typed::<(u8, Day)>();
    let value = (1, Day("2026-11-28".into()));
    typed.set("good", &value).unwrap();
    let good = cache.get_item("good").unwrap();
    let (mut longer, mut refused) = (good.value.clone(), good.value.clone());
    longer.push(0);
    *refused.last_mut().unwrap() = b'-';
    let old = u32::from_le_bytes(*b"post");
    let stored: [(u32, &[u8]); 6] = [
        (old, &good.value[8..]),
        (good.flags, b""),
        (good.flags, &good.value[..8]),
        (good.flags, &good.value[1..]),
        (good.flags, &longer),
        (good.flags, &refused),
    ];
    for (flags, bytes) in stored {
        cache.set_with("key", bytes, &SetOptions::new().flags(flags)).unwrap();
        assert!(matches!(typed.get("key"), Err(Error::Codec { .. })), "{bytes:?}");
        let created = cache.stats().counters.creations;
        let anew = typed.get_or_create("key", &CreateOptions::new(), || {
            assert_eq!(cache.get("key").as_deref(), Some(bytes), "nothing is deleted");
            Ok::<_, ()>(value.clone())
        });
        assert_eq!((anew.unwrap(), typed.get("key").unwrap()), (value.clone(), Some(value.clone())));
        assert_eq!(cache.stats().counters.creations, created + 1);
    }
}

/// The number of running creators, and the maximum at any time.
#[derive(Default)]
struct Creators {
    now: AtomicU32,
    most: AtomicU32,
    all: AtomicU32,
}

impl Creators {
    fn create<T>(&self, value: T) -> Result<T, ()> {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        self.all.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        self.now.fetch_sub(1, SeqCst);
        Ok(value)
    }

    fn counts(&self) -> (u32, u32) {
        (self.all.load(SeqCst), self.most.load(SeqCst))
    }
}

#[test]
fn a_herd_that_meets_another_types_value_creates_once() {
    let (_place, cache) = cache();
    for round in 0..50 {
        let (key, creators, gate) = (format!("key {round}"), Creators::default(), Barrier::new(8));
        cache.typed::<u64>().set(&key, &7).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    gate.wait();
                    let create = || creators.create(page());
                    assert_eq!(
                        cache.typed::<Page>().get_or_create(&key, &CreateOptions::new(), create).unwrap(),
                        page()
                    );
                });
            }
        });
        assert_eq!(creators.counts(), (1, 1));
    }
}

/// An old and a new program at the same time: each gets values of its own type, and only one creates at a time.
#[test]
fn two_versions_of_a_type_create_in_turn() {
    let (_place, cache) = cache();
    let (creators, gate) = (Creators::default(), Barrier::new(8));
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (cache, creators, gate) = (&cache, &creators, &gate);
            scope.spawn(move || {
                gate.wait();
                for _ in 0..25 {
                    let how = CreateOptions::new();
                    if thread % 2 == 0 {
                        let old = cache.typed::<(u32, u32)>().get_or_create("key", &how, || creators.create((1, 2)));
                        assert_eq!(old.unwrap(), (1, 2));
                    } else {
                        let new = cache.typed::<Vec<u8>>().get_or_create("key", &how, || creators.create(vec![9]));
                        assert_eq!(new.unwrap(), [9]);
                    }
                }
            });
        }
    });
    let (all, most) = creators.counts();
    assert!(most == 1 && all <= 200, "{all} creations, up to {most} at the same time");
    assert_eq!(cache.stats().counters.voided, 0);
}

/// A number that counts how often one is deserialized.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Counted(u32);

static READ: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, SeqCst);
        u32::deserialize(from).map(Self)
    }
}

#[test]
fn a_hit_reads_and_decodes_its_value_once() {
    let (_place, cache) = cache();
    let typed = cache.typed::<Counted>();
    typed.set("key", &Counted(7)).unwrap();
    let counts = || (READ.load(SeqCst), cache.stats().counters.hits);
    let one_more = |(read, hits)| (read + 1, hits + 1);
    let before = counts();
    assert_eq!(typed.get_or_create("key", &CreateOptions::new(), || Err("it is there")).unwrap(), Counted(7));
    assert_eq!(counts(), one_more(before));
    #[cfg(feature = "tokio")]
    on_one_thread(async {
        let before = counts();
        let never = || async { Err("it is there") };
        assert_eq!(typed.to_async().get_or_create("key", &CreateOptions::new(), never).await.unwrap(), Counted(7));
        assert_eq!(counts(), one_more(before));
    });
}

/// One thread runs all tasks.
#[cfg(feature = "tokio")]
fn on_one_thread<F: Future<Output = ()>>(work: F) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work);
}

#[cfg(feature = "tokio")]
#[test]
fn tasks_create_a_typed_value_once() {
    let (_place, cache) = cache();
    on_one_thread(async {
        let created = std::sync::Arc::new(AtomicU32::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (cache, created) = (cache.clone(), created.clone());
                tokio::spawn(async move {
                    let create = || async {
                        created.fetch_add(1, SeqCst);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Ok::<_, ()>(page())
                    };
                    cache.typed::<Page>().to_async().get_or_create("1", &CreateOptions::new(), create).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), page());
        }
        assert_eq!(created.load(SeqCst), 1);
        let (typed, how) = (cache.typed::<Page>(), CreateOptions::new());
        let fails = typed.to_async().get_or_create("2", &how, || async { Err("no") }).await;
        assert!(matches!(fails, Err(CreateError::Creator("no"))));
    });
}

#[cfg(feature = "tokio")]
#[test]
fn what_is_not_of_the_type_is_created_anew_by_a_task_too() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    cache.set("key", "bytes").unwrap();
    namespace.typed::<u64>().set("key", &7).unwrap();
    on_one_thread(async {
        for typed in [cache.typed::<Page>(), namespace.typed::<Page>()] {
            let anew =
                typed.to_async().get_or_create("key", &CreateOptions::new(), || async { Ok::<_, ()>(page()) }).await;
            assert_eq!(anew.unwrap(), page());
            assert_eq!(typed.get("key").unwrap(), Some(page()));
            let never = || async { Err("it is there") };
            assert_eq!(typed.to_async().get_or_create("key", &CreateOptions::new(), never).await.unwrap(), page());
        }
    });
}
