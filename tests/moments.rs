//! Values that were computed before they are stored: what was invalidated meanwhile does not come to life.

mod common;

use common::{Place, assert_sound, small_options};
use kennel::{Cache, Error, Expiry, Invalidation, NamespaceOptions, SetOptions, Stamp, Swap};
use std::time::Duration;

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = small_options().create(place.path()).unwrap();
    (place, cache)
}

fn namespace(cache: &Cache, name: &str) -> Cache {
    cache.namespace(name, &NamespaceOptions::new()).unwrap()
}

#[test]
fn what_was_invalidated_since_a_moment_is_not_stored() {
    let (_place, file) = cache();
    let (own, other) = (namespace(&file, "own"), namespace(&file, "other"));
    for cache in [&file, &own] {
        for how in [Invalidation::Hard, Invalidation::Soft] {
            for covers in [&file, cache] {
                let moment = cache.moment().unwrap();
                let how_to = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60))).as_of(moment);
                assert_ne!(cache.set_with("key", "before", &how_to).unwrap(), Stamp(0));
                covers.invalidate(how).unwrap();
                cache.set("newer", "value").unwrap();
                let voided = file.stats().counters.voided;
                assert_eq!(cache.set_with("key", "late", &how_to).unwrap(), Stamp(0));
                assert_eq!(cache.set_with("newer", "late", &how_to).unwrap(), Stamp(0), "what is newer stays");
                assert!(!cache.add("absent", "late", &how_to).unwrap());
                assert!(!cache.replace("newer", "late", &how_to).unwrap());
                let stamp = cache.get_item("newer").unwrap().stamp;
                assert_eq!(cache.compare_and_swap("newer", stamp, "late", &how_to).unwrap(), Swap::Changed);
                assert_eq!(cache.incr_or("number", 1, 7, &how_to).unwrap(), 7);
                let many = cache.set_multi(&[("key", "late"), ("absent", "late")], &how_to);
                assert!(many.iter().all(Result::is_ok));
                assert_eq!(file.stats().counters.voided - voided, 8);
                assert_eq!(cache.get("newer").as_deref(), Some(&b"value"[..]));
                assert!(cache.get("absent").is_none() && cache.get("number").is_none());
                assert_ne!(cache.get("key").as_deref(), Some(&b"late"[..]));
                cache.delete("key").unwrap();
            }
        }
    }
    // Invalidations of other namespaces do not concern it.
    let moment = own.moment().unwrap();
    other.invalidate(Invalidation::Hard).unwrap();
    own.set_with("key", "value", &SetOptions::new().as_of(moment)).unwrap();
    assert_eq!(own.get("key").as_deref(), Some(&b"value"[..]));
    // A plain set does not ask.
    own.clear().unwrap();
    own.set("key", "new").unwrap();
    assert_eq!(own.get("key").as_deref(), Some(&b"new"[..]));
    assert_sound(&file);
}

#[test]
fn a_moment_is_refused_elsewhere() {
    let (_place, file) = cache();
    let (_second, other) = cache();
    let own = namespace(&file, "own");
    let refused = |error: Error, found: &str| {
        assert!(
            matches!(&error, Error::BadOption { option: "as_of", .. }) && error.to_string().contains(found),
            "{error}"
        );
    };
    let of_file = SetOptions::new().as_of(file.moment().unwrap());
    refused(other.set_with("key", "value", &of_file).unwrap_err(), "another file");
    refused(own.set_with("key", "value", &of_file).unwrap_err(), "another namespace");
    refused(own.add("key", "value", &of_file).unwrap_err(), "another namespace");
    let of_own = SetOptions::new().as_of(own.moment().unwrap());
    refused(file.set_with("key", "value", &of_own).unwrap_err(), "another namespace");
    for stored in file.set_multi(&[("key", "value")], &of_own) {
        refused(stored.unwrap_err(), "another namespace");
    }
    assert!(file.get("key").is_none() && own.get("key").is_none() && other.get("key").is_none());
    // Another handle of the same file takes it.
    let again = small_options().open(file.path()).unwrap();
    again.set_with("key", "value", &of_file).unwrap();
    assert_eq!(file.get("key").as_deref(), Some(&b"value"[..]));
    // After the file was replaced.
    small_options().destroy(file.path()).unwrap();
    let _anew = small_options().create(file.path()).unwrap();
    refused(file.set_with("key", "value", &of_file).unwrap_err(), "was replaced");
}

#[test]
fn a_moment_of_a_read_only_handle_does_not_help_it_to_write() {
    let (_place, file) = cache();
    let reader = small_options().open_read_only(file.path()).unwrap();
    let moment = reader.moment().unwrap();
    assert!(matches!(reader.set_with("key", "value", &SetOptions::new().as_of(moment)), Err(Error::ReadOnly(_))));
    file.set_with("key", "value", &SetOptions::new().as_of(moment)).unwrap();
    assert_eq!(reader.get("key").as_deref(), Some(&b"value"[..]));
}
