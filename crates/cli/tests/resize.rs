//! `kennel resize`: another size for a file that is in use.

mod fixture;

use fixture::{Expect as _, Fixture, Outcome};
use kennel::{Options, Wait};

#[test]
fn a_file_in_use_gets_another_size() -> Outcome {
    let fixture = Fixture::new()?;
    let cache = Options::new().open(&fixture.file)?;
    cache.set("key", "value")?;
    let output = fixture.run("resize", ["--capacity", "8MiB", "--mean-item", "100", "--wait", "0s"])?;
    let text = output.expect_status(0).text();
    assert!(text.starts_with("Resized from 4.0 MiB to 8.0 MiB in "), "{text}");
    assert!(text.contains(": kept 1 items. Writers waited for "), "{text}");
    assert_eq!((cache.get("key").as_deref(), cache.stats().capacity), (Some(&b"value"[..]), 8 << 20));
    assert_eq!(cache.stats().mean_item, 100);
    Ok(())
}

#[test]
fn a_locked_key_is_an_error_and_the_file_stays() -> Outcome {
    let fixture = Fixture::new()?;
    let cache = Options::new().open(&fixture.file)?;
    let lock = cache.lock("key", Wait::No)?;
    let refused = fixture.run("resize", ["--capacity", "8MiB", "--wait", "50ms"])?;
    refused.expect_status(2).expect_error("cannot resize").expect_error("1 key is still locked");
    assert!(lock.release() && cache.stats().capacity == 4 << 20);
    fixture.run("resize", ["--capacity", "1"])?.expect_status(2);
    Ok(())
}
