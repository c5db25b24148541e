//! Options whose values have names, and the error for an unknown name.

use std::fmt;

/// The error of `FromStr` for this crate's options: a text that is not the name of a value.
///
/// ```
/// let error = "spin".parse::<kennel::LockStrategy>().unwrap_err();
/// assert_eq!((error.what(), error.found()), ("lock strategy", "spin"));
/// assert_eq!(error.to_string(), "no lock strategy \"spin\": expected file, lease, process, none or rw-file");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    what: &'static str,
    found: String,
    expected: &'static str,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, found: &str, expected: &'static str) -> Self {
        Self { what, found: found.to_owned(), expected }
    }

    /// What the text should name, such as `lock strategy`.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The text that was given.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// The valid names, as a phrase such as `discard or verify`.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} {:?}: expected {}", self.what, self.found, self.expected)
    }
}

impl std::error::Error for UnknownName {}

/// Implements `name` for an enum without fields, and `Display` and `FromStr` that agree with it.
macro_rules! names {
    ($type:ident, $what:literal, $expected:literal, $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// The name that `Display` writes and `FromStr` reads.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::names::UnknownName::new($what, name, $expected)),
                }
            }
        }
    };
}

pub(crate) use names;
