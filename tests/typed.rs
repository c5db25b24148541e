//! Values of one type, beside raw bytes.
#![cfg(feature = "typed")]

mod common;

use common::Place;
use kennel::{Cache, CreateError, CreateOptions, Error, Expiry, Invalidation, Options, RegionOptions, SetOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
fn a_typed_value_comes_back_from_cache_and_region() {
    let (_place, cache) = cache();
    let region = cache.region("pages", &RegionOptions::new()).unwrap();
    for typed in [cache.typed::<Page>(), region.typed::<Page>()] {
        assert_eq!(typed.get("1").unwrap(), None);
        typed.set("1", &page()).unwrap();
        assert_eq!(typed.get("1").unwrap(), Some(page()));
        let how = SetOptions::new().expiry(Expiry::After(Duration::ZERO));
        typed.set_with("2", &page(), &how).unwrap();
        assert_eq!(typed.get("2").unwrap(), None);
    }
    region.invalidate(Invalidation::Hard).unwrap();
    assert_eq!((region.typed::<Page>().get("1").unwrap(), cache.typed().get("1").unwrap()), (None, Some(page())));
    assert!(cache.get_item("1").unwrap().value.len() < 40, "a compact form");
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
    cache.typed::<(u8, u8)>().set("longer", &(1, 2)).unwrap();
    let error = cache.typed::<u8>().get("raw").unwrap_err();
    assert!(matches!(error, Error::Codec { .. }), "{error}");
    assert!(cache.typed::<Page>().get("number").is_err() && cache.typed::<u8>().get("longer").is_err());
    let anew = cache.typed::<Page>().get_or_create("number", &CreateOptions::new(), || Ok::<_, ()>(page()));
    assert_eq!(anew.unwrap(), page());
    assert_eq!(cache.typed::<Page>().get("number").unwrap(), Some(page()));
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
        let created = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (cache, created) = (cache.clone(), created.clone());
                tokio::spawn(async move {
                    let create = || async {
                        created.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Ok::<_, ()>(page())
                    };
                    cache.typed::<Page>().get_or_create_async("1", &CreateOptions::new(), create).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), page());
        }
        assert_eq!(created.load(std::sync::atomic::Ordering::SeqCst), 1);
        let (typed, how) = (cache.typed::<Page>(), CreateOptions::new());
        let fails = typed.get_or_create_async("2", &how, || async { Err("no") }).await;
        assert!(matches!(fails, Err(CreateError::Creator("no"))));
    });
}

#[cfg(feature = "tokio")]
#[test]
fn what_is_not_of_the_type_is_created_anew_by_a_task_too() {
    let (_place, cache) = cache();
    let region = cache.region("pages", &RegionOptions::new()).unwrap();
    cache.set("key", "bytes").unwrap();
    region.typed::<u64>().set("key", &7).unwrap();
    on_one_thread(async {
        for typed in [cache.typed::<Page>(), region.typed::<Page>()] {
            let anew = typed.get_or_create_async("key", &CreateOptions::new(), || async { Ok::<_, ()>(page()) }).await;
            assert_eq!(anew.unwrap(), page());
            assert_eq!(typed.get("key").unwrap(), Some(page()));
            let never = || async { Err("it is there") };
            assert_eq!(typed.get_or_create_async("key", &CreateOptions::new(), never).await.unwrap(), page());
        }
    });
}
