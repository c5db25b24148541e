//! What `?` makes of the library's errors.

use crate::handles::new_cache;
use kennel::{Cache, CreateError, CreateOptions, Error, Options};
use std::convert::Infallible;
use std::io;

/// The error of an application, as most have one.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the cache failed")]
    Cache(#[from] Error),
    #[error("the report cannot be read")]
    Report(#[from] io::Error),
}

/// The error of a creator that knows nothing of caches.
#[derive(Debug, thiserror::Error)]
#[error("no report of this year")]
struct NoReport(#[source] io::Error);

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "missing")
}

fn create<E>(cache: &Cache, error: Option<E>) -> Result<Vec<u8>, CreateError<E>> {
    cache.get_or_create("report", &CreateOptions::new(), || error.map_or(Ok(b"rows".to_vec()), Err))
}

/// Functions of one body, by the error that they return.
macro_rules! report {
    ($($function:ident($creator:ty) -> $error:ty;)+) => {
        $(fn $function(cache: &Cache, error: Option<$creator>) -> Result<Vec<u8>, $error> {
            Ok(create(cache, error)?)
        })+
    };
}

report! {
    io_in_anyhow(io::Error) -> anyhow::Error;
    own_in_anyhow(NoReport) -> anyhow::Error;
    io_in_box(io::Error) -> Box<dyn std::error::Error + Send + Sync>;
    own_in_box(NoReport) -> Box<dyn std::error::Error>;
    io_in_io(io::Error) -> io::Error;
    own_in_io(NoReport) -> io::Error;
    kennel_in_io(Error) -> io::Error;
    anyhow_in_io(anyhow::Error) -> io::Error;
    kennel_in_kennel(Error) -> Error;
    none_in_kennel(Infallible) -> Error;
    none_in_anyhow(Infallible) -> anyhow::Error;
}

/// Functions whose creator's error can hold an error of the cache.
macro_rules! report_inner {
    ($($function:ident -> $error:ty;)+) => {
        $(fn $function(cache: &Cache, error: Option<$error>) -> Result<Vec<u8>, $error> {
            create(cache, error).map_err(CreateError::into_inner)
        })+
    };
}

report_inner! {
    inner_anyhow -> anyhow::Error;
    inner_box -> Box<dyn std::error::Error + Send + Sync>;
    inner_io -> io::Error;
    inner_kennel -> Error;
    inner_app -> AppError;
}

/// Errors of the library alone.
fn plain(cache: &Cache) -> Result<(), Error> {
    cache.set("key", "value")
}

fn plain_in_anyhow(cache: &Cache) -> anyhow::Result<()> {
    Ok(plain(cache)?)
}

fn plain_in_box(cache: &Cache) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(plain(cache)?)
}

fn plain_in_io(cache: &Cache) -> io::Result<()> {
    Ok(plain(cache)?)
}

fn plain_in_app(cache: &Cache) -> Result<(), AppError> {
    Ok(plain(cache)?)
}

/// What is behind an error, outermost first.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn a_creators_error_is_what_it_was() {
    let (_directory, cache) = new_cache();
    assert!(io_in_anyhow(&cache, Some(missing())).unwrap_err().to_string() == "missing");
    let error = own_in_anyhow(&cache, Some(NoReport(missing()))).unwrap_err();
    assert_eq!(error.chain().map(ToString::to_string).collect::<Vec<_>>(), ["no report of this year", "missing"]);
    assert_eq!(io_in_box(&cache, Some(missing())).unwrap_err().to_string(), "missing");
    let error = own_in_box(&cache, Some(NoReport(missing()))).unwrap_err();
    assert_eq!(causes(&*error), ["no report of this year", "missing"]);
    assert_eq!(io_in_io(&cache, Some(missing())).unwrap_err().kind(), io::ErrorKind::NotFound);
    let error = own_in_io(&cache, Some(NoReport(missing()))).unwrap_err();
    assert!(error.get_ref().expect("it is inside").is::<NoReport>());
    assert_eq!(kennel_in_io(&cache, Some(Error::OwnClaim)).unwrap_err().kind(), io::ErrorKind::Deadlock);
    assert_eq!(anyhow_in_io(&cache, Some(anyhow::Error::new(missing()))).unwrap_err().to_string(), "missing");
    assert!(matches!(kennel_in_kennel(&cache, Some(Error::OwnClaim)), Err(Error::OwnClaim)));
    assert_eq!(none_in_kennel(&cache, None).expect("a value"), b"rows");
    assert_eq!(none_in_anyhow(&cache, None).expect("a value"), b"rows");
}

#[test]
fn errors_of_creator_and_cache_become_one() {
    let (directory, cache) = new_cache();
    let reader = Options::new().open_read_only(directory.path().join("cache")).expect("a cache");
    assert!(inner_anyhow(&cache, Some(missing().into())).unwrap_err().is::<io::Error>());
    assert!(inner_anyhow(&reader, None).unwrap_err().is::<Error>());
    assert!(inner_box(&cache, Some(missing().into())).unwrap_err().is::<io::Error>());
    assert!(inner_box(&reader, None).unwrap_err().is::<Error>());
    assert_eq!(inner_io(&cache, Some(missing())).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(inner_io(&reader, None).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert!(matches!(inner_kennel(&reader, None), Err(Error::ReadOnly(_))));
    assert!(matches!(inner_app(&cache, Some(missing().into())), Err(AppError::Report(_))));
    assert!(matches!(inner_app(&reader, None), Err(AppError::Cache(Error::ReadOnly(_)))));
}

#[test]
fn an_error_of_the_cache_can_be_taken_out_again() {
    let (directory, _cache) = new_cache();
    let reader = Options::new().open_read_only(directory.path().join("cache")).expect("a cache");
    assert!(matches!(plain_in_anyhow(&reader).unwrap_err().downcast(), Ok(Error::ReadOnly(_))));
    assert!(matches!(plain_in_box(&reader).unwrap_err().downcast().as_deref(), Ok(Error::ReadOnly(_))));
    let error = plain_in_io(&reader).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(matches!(error.downcast(), Ok(Error::ReadOnly(_))));
    assert_eq!(causes(&plain_in_app(&reader).unwrap_err()).len(), 2);
    // The kind of the system's own error is kept.
    let error = Cache::open(directory.path().join("missing").join("cache")).map_err(io::Error::from).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
