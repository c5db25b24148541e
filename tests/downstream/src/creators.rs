//! Results that a creator may return.

use crate::handles::new_cache;
use kennel::{Cache, CreateError, CreateOptions, Created, Error, Expiry};
use std::io;
use std::time::Duration;

/// A creator that cannot fail needs no type annotation: the call fails with the library's error alone.
fn bytes_and_text(cache: &Cache) -> Result<(), Error> {
    let how = CreateOptions::new();
    assert_eq!(cache.get_or_create("literal", &how, || "text")?, b"text");
    assert_eq!(cache.get_or_create("array", &how, || b"bytes")?, b"bytes");
    assert_eq!(cache.get_or_create("slice", &how, || &b"bytes"[..])?, b"bytes");
    assert_eq!(cache.get_or_create("string", &how, || format!("{} rows", 42))?, b"42 rows");
    assert_eq!(cache.get_or_create("bytes", &how, || vec![1, 2])?, [1, 2]);
    let minute = Expiry::After(Duration::from_secs(60));
    assert_eq!(cache.get_or_create("created", &how, || Created::new("text").expiry(minute))?, b"text");
    assert_eq!(cache.get_or_refresh("refreshed", &how, || "text")?, b"text");
    assert_eq!(cache.get_or_create_optional("one", &how, || Some("text"))?.as_deref(), Some(&b"text"[..]));
    assert_eq!(cache.get_or_create_optional("none", &how, || None::<String>)?, None);
    let several =
        cache.get_or_create_multi(&["a", "b"], &how, |keys| keys.iter().map(|key| Some(**key)).collect::<Vec<_>>());
    assert_eq!(several?, [Some(b"a".to_vec()), Some(b"b".to_vec())]);
    Ok(())
}

/// A creator that can fail returns a `Result` with any of these values.
fn results(cache: &Cache) -> Result<(), CreateError<io::Error>> {
    let how = CreateOptions::new();
    let fails = || Err::<&str, _>(io::Error::other("no report"));
    assert!(matches!(cache.get_or_create("key", &how, fails), Err(CreateError::Creator(_))));
    assert_eq!(cache.get_or_create("key", &how, || Ok("text"))?, b"text");
    assert_eq!(cache.get_or_create_optional("one", &how, || Ok(Some("text")))?.as_deref(), Some(&b"text"[..]));
    assert_eq!(cache.get_or_refresh("refreshed", &how, || Ok(b"bytes".to_vec()))?, b"bytes");
    assert_eq!(
        cache.get_or_create_multi(&["a"], &how, |_| Ok(vec![Some(Created::new("text"))]))?,
        [Some(b"text".to_vec())]
    );
    Ok(())
}

async fn tasks(cache: &Cache) -> Result<(), Error> {
    let (cache, how) = (cache.to_async(), CreateOptions::new());
    assert_eq!(cache.get_or_create("async", &how, async || "text").await?, b"text");
    assert_eq!(cache.get_or_refresh("async", &how, || async { "other" }).await?, b"text");
    assert_eq!(cache.get_or_create_optional("missing", &how, async || None::<String>).await?, None);
    assert_eq!(cache.get_or_create_multi(&["x"], &how, async |_| vec![Some("text")]).await?, [Some(b"text".to_vec())]);
    Ok(())
}

async fn typed(cache: &Cache) -> Result<(), Error> {
    let (numbers, how) = (cache.typed::<u64>(), CreateOptions::new());
    assert_eq!(numbers.get_or_create("n", &how, || 1)?, 1);
    assert_eq!(numbers.get_or_refresh("n", &how, || 2)?, 1);
    assert_eq!(numbers.get_or_create_optional("m", &how, || None)?, None);
    assert_eq!(numbers.to_async().get_or_create("o", &how, async || 3).await?, 3);
    let failing = numbers.get_or_create("p", &how, || Err(io::Error::other("no number")));
    assert!(matches!(failing, Err(CreateError::Creator(_))));
    // A value that is itself a `Result` is stored as one.
    let results = cache.typed::<Result<u64, String>>();
    assert_eq!(results.get_or_create("r", &how, || Ok(4))?, Ok(4));
    Ok(())
}

#[test]
fn creators_return_values_or_results() {
    let (_directory, cache) = new_cache();
    bytes_and_text(&cache).expect("values");
    let (_directory, cache) = new_cache();
    results(&cache).expect("values");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(tasks(&cache)).expect("values");
    runtime.block_on(typed(&cache)).expect("values");
}
