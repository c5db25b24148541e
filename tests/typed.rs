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
