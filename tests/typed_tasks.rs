//! Values of one type, for tasks of tokio.
#![cfg(all(feature = "typed", feature = "tokio"))]

mod common;

use common::{Place, must_end};
use kennel::{
    AsyncTyped, Cache, CreateError, CreateOptions, Error, Expiry, NamespaceOptions, Options, SetOptions, Swap, Wait,
};
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));

/// One thread runs all tasks, so a task that blocks it blocks all others.
fn on_one_thread<F: Future<Output = ()>>(work: impl FnOnce(Cache) -> F + Send + 'static) {
    must_end("a task", move || {
        let place = Place::new();
        let cache = Options::new().capacity(256 << 10).create(place.path()).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work(cache));
    });
}

/// A handle is stored in a struct, and its futures run in tasks of their own.
#[test]
fn a_typed_handle_for_tasks_offers_what_a_typed_handle_does() {
    struct Numbers(AsyncTyped<u64>);
    on_one_thread(|cache| async move {
        let named = cache.namespace("numbers", &NamespaceOptions::new()).unwrap();
        let numbers = Numbers(named.typed().to_async());
        drop((cache, named));
        let work = async move {
            let (typed, how) = (numbers.0.clone(), SetOptions::new().expiry(MINUTE));
            typed.set("1", &1).await.unwrap();
            let stamp = typed.set_with("2", &2, &how).await.unwrap();
            let item = typed.get_item("2").unwrap().unwrap();
            assert!((item.value, item.stamp) == (2, stamp) && item.expires.is_some());
            assert!(!typed.add("1", &3, &how).await.unwrap() && typed.add("3", &3, &how).await.unwrap());
            assert!(typed.replace("1", &4, &how).await.unwrap() && !typed.replace("4", &4, &how).await.unwrap());
            assert!(matches!(typed.compare_and_swap("2", stamp, &5, &how).await.unwrap(), Swap::Stored(_)));
            assert_eq!(typed.compare_and_swap("2", stamp, &6, &how).await.unwrap(), Swap::Changed);
            assert!(typed.set_multi(&[("5", 5), ("6", 6)], &how).await.iter().all(Result::is_ok));
            typed.cache().set("7", "not typed").await.unwrap();
            let found = typed.get_multi(&["1", "2", "3", "5", "7", "8"]);
            let numbers: Vec<_> = found.iter().map(|found| found.as_ref().ok().copied().flatten()).collect();
            assert_eq!(numbers, [Some(4), Some(5), Some(3), Some(5), None, None]);
            assert!(matches!(&found[4..], [Err(Error::Codec { .. }), Ok(None)]));
            assert!(typed.touch("1", Expiry::After(Duration::ZERO)).await.unwrap());
            assert_eq!(typed.get("1").unwrap(), None);
            assert!(typed.contains("6") && typed.delete("6").await.unwrap() && !typed.contains("6"));
            assert_eq!(typed.typed().cache().namespace_name(), Some("numbers"));
        };
        tokio::spawn(work).await.unwrap();
    });
}

#[test]
fn a_typed_value_may_be_absent_for_a_task() {
    on_one_thread(|cache| async move {
        let (typed, absent) = (cache.typed::<u64>().to_async(), CreateOptions::new().absence_expiry(MINUTE));
        assert_eq!(typed.get_or_create_optional("none", &absent, async || None).await.unwrap(), None);
        let never = async || -> Option<u64> { panic!("the absence is remembered") };
        assert_eq!(typed.get_or_create_optional("none", &absent, never).await.unwrap(), None);
        assert_eq!(typed.get_or_create_optional("some", &absent, async || Some(1)).await.unwrap(), Some(1));
        assert_eq!(typed.get_or_create_optional("some", &absent, never).await.unwrap(), Some(1));
        // A call that needs a value takes the absence for a miss.
        assert_eq!(typed.get_or_create("none", &absent, async || 2).await.unwrap(), 2);
        assert_eq!(typed.get("none").unwrap(), Some(2));
        let fails = typed.get_or_create_optional("other", &absent, async || Err("no")).await;
        assert!(matches!(fails, Err::<Option<u64>, _>(CreateError::Creator("no"))));
        assert!(!cache.is_claimed("other"));
    });
}

#[test]
fn a_stale_typed_value_is_refreshed_in_a_task_of_its_own() {
    on_one_thread(|cache| async move {
        let (typed, how) = (cache.typed::<u64>().to_async(), CreateOptions::new().wait(Wait::No));
        let stale = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
        typed.set_with("key", &1, &stale).await.unwrap();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let slow = || async {
            wait.await.unwrap();
            2
        };
        assert_eq!(typed.get_or_refresh("key", &how, slow).await.unwrap(), 1);
        // The calling task may ask again meanwhile.
        let never = async || -> u64 { panic!("another task creates it") };
        assert_eq!(typed.get_or_refresh("key", &how, never).await.unwrap(), 1);
        go.send(()).unwrap();
        while typed.get("key").unwrap() != Some(2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A stale value of another type counts as missing.
        cache.typed::<String>().set_with("key", &"text".to_owned(), &stale).unwrap();
        assert_eq!(typed.get_or_refresh("key", &how, async || 3).await.unwrap(), 3);
        assert_eq!(typed.get("key").unwrap(), Some(3));
    });
}

#[test]
fn a_creation_whose_future_is_dropped_leaves_the_key_to_the_next_task() {
    on_one_thread(|cache| async move {
        let (typed, how) = (cache.typed::<u64>().to_async(), CreateOptions::new());
        let endless = || std::future::pending::<u64>();
        let creation = typed.get_or_create("key", &how, endless);
        assert!(tokio::time::timeout(Duration::from_millis(20), creation).await.is_err());
        assert!(!cache.is_claimed("key"));
        assert_eq!(typed.get_or_create("key", &how, async || 1).await.unwrap(), 1);
    });
}

/// 1000 cannot be encoded.
#[derive(Deserialize)]
struct Small(u64);

impl Serialize for Small {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 == 1000 { Err(serde::ser::Error::custom("too large")) } else { to.serialize_u64(self.0) }
    }
}

#[test]
fn each_item_of_a_batch_has_its_own_outcome() {
    on_one_thread(|cache| async move {
        let items = [("a", Small(1)), ("b", Small(1000)), ("c", Small(3))];
        let (typed, how) = (cache.typed::<Small>(), SetOptions::new());
        for stored in [typed.set_multi(&items, &how), typed.to_async().set_multi(&items, &how).await] {
            assert!(matches!(&stored[..], [Ok(()), Err(Error::Codec { .. }), Ok(())]), "{stored:?}");
        }
        assert_eq!(
            typed
                .get_multi(&["a", "b", "c"])
                .into_iter()
                .map(|found| found.unwrap().map(|it| it.0))
                .collect::<Vec<_>>(),
            [Some(1), None, Some(3)]
        );
        let made = typed.to_async().get_or_create("b", &CreateOptions::new(), async || Small(1000)).await;
        assert!(matches!(made, Err(Error::Codec { .. })) && !cache.is_claimed("b"));
    });
}
