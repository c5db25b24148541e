//! What a creator returns, and the errors of the call that runs it.

use super::created::Created;
use crate::error::{Error, Result};
use std::convert::Infallible;
use std::io;

/// What a creator returns: a value, or a `Result` of one.
///
/// | the creator returns | the call that runs it fails with |
/// |---|---|
/// | a value | [`Error`], when the cache fails |
/// | `Result<value, E>` | [`CreateError<E>`] |
///
/// For a [`Cache`](crate::Cache), a value is bytes or text (`Vec<u8>`, `String`, `&[u8]`, `&str`), or a [`Created`].
/// For a typed handle it has the handle's type. Where a key may have no value, the creator returns an `Option` of a
/// value, and for several keys a `Vec` of `Option`s.
#[diagnostic::on_unimplemented(
    message = "a creator cannot return `{Self}` here",
    label = "this creator returns neither a value nor a `Result` of one",
    note = "expected a value that becomes `{T}`, or a `Result` of one"
)]
pub trait CreatorOutput<T>: sealed::Sealed<T> {
    /// The error of the call that runs the creator.
    type Error: From<Error>;

    /// The value, or the creator's error.
    #[doc(hidden)]
    fn into_result(self) -> Result<T, Self::Error>;
}

mod sealed {
    pub trait Sealed<T> {}
}

impl<T> sealed::Sealed<T> for T {}

impl<T> CreatorOutput<T> for T {
    type Error = Error;

    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}

impl<T, E> sealed::Sealed<T> for Result<T, E> {}

impl<T, E> CreatorOutput<T> for Result<T, E> {
    type Error = CreateError<E>;

    fn into_result(self) -> Result<T, CreateError<E>> {
        self.map_err(CreateError::Creator)
    }
}

/// Implements the traits for a type that is converted to a value of another type, and for a `Result` of it.
macro_rules! becomes {
    ([$($n:tt)*] $made:ty => $value:ty, $convert:expr) => {
        impl<$($n)*> sealed::Sealed<$value> for $made {}

        impl<$($n)*> CreatorOutput<$value> for $made {
            type Error = Error;

            fn into_result(self) -> Result<$value> {
                Ok($convert(self))
            }
        }

        impl<E, $($n)*> sealed::Sealed<$value> for Result<$made, E> {}

        impl<E, $($n)*> CreatorOutput<$value> for Result<$made, E> {
            type Error = CreateError<E>;

            fn into_result(self) -> Result<$value, CreateError<E>> {
                self.map($convert).map_err(CreateError::Creator)
            }
        }
    };
}

/// Implements the traits for types that become a [`Created`]: for one value, for one that may be missing, and for
/// several.
macro_rules! become_created {
    ($([$($n:tt)*] $made:ty;)+) => {$(
        becomes!([$($n)*] $made => Created, Created::from);
        becomes!([$($n)*] Option<$made> => Option<Created>, |made: Option<$made>| made.map(Created::from));
        becomes!([$($n)*] Vec<Option<$made>> => Vec<Option<Created>>, |made: Vec<Option<$made>>| {
            made.into_iter().map(|made| made.map(Created::from)).collect()
        });
    )+};
}

become_created! {
    [] Vec<u8>;
    [] String;
    [] &str;
    [] &[u8];
    [const N: usize] &[u8; N];
}

/// Why [`get_or_create`](crate::Cache::get_or_create) returned no value: the caller's creator failed, or the cache did.
///
/// The operator `?` converts it to each type to which both errors can be converted: `Box<dyn Error + Send + Sync>`,
/// `anyhow::Error`, [`io::Error`], and [`Error`] if the creator fails with one. If the creator's own error type can
/// hold an [`Error`], as `anyhow::Error`, boxed errors and most enums of an application can,
/// [`into_inner`](Self::into_inner) makes one error of the two:
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::{CreateError, CreateOptions};
/// fn load() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
///     Ok("42 rows".parse::<String>()?.into_bytes())
/// }
/// let rows = cache.get_or_create("report", &CreateOptions::new(), load).map_err(CreateError::into_inner)?;
/// assert_eq!(rows, b"42 rows");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum CreateError<E> {
    /// The caller's own creator failed.
    #[error(transparent)]
    Creator(E),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] Error),
}

impl<E: From<Error>> CreateError<E> {
    /// The creator's error, or the cache's error converted to the creator's type.
    pub fn into_inner(self) -> E {
        match self {
            CreateError::Creator(error) => error,
            CreateError::Cache(error) => error.into(),
        }
    }
}

/// For a creator that fails with [`Error`], such as one that uses another cache.
impl From<CreateError<Error>> for Error {
    fn from(error: CreateError<Error>) -> Self {
        error.into_inner()
    }
}

/// For a creator that cannot fail.
impl From<CreateError<Infallible>> for Error {
    fn from(error: CreateError<Infallible>) -> Self {
        match error {
            CreateError::Creator(never) => match never {},
            CreateError::Cache(error) => error,
        }
    }
}

/// A creator's [`io::Error`] stays as it is, and an [`Error`] is converted as by `io::Error::from`. Any other error
/// gets the kind [`Other`](io::ErrorKind::Other).
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<CreateError<E>> for io::Error {
    fn from(error: CreateError<E>) -> Self {
        match error {
            CreateError::Creator(error) => match error.into().downcast::<io::Error>() {
                Ok(error) => *error,
                Err(error) => match error.downcast::<Error>() {
                    Ok(error) => (*error).into(),
                    Err(error) => io::Error::other(error),
                },
            },
            CreateError::Cache(error) => error.into(),
        }
    }
}
