//! Stores the items of a stream.

use std::io::{self, Read};

use kennel::{Cache, Error};

use super::fill::{FillOptions, Filling, Tally};
use super::frame::BLOCK;
use super::item::{Namespace, items};
use super::reader::{Ending, OpenError, Part, Reader};

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What became of its items.
    pub tally: Tally,
    ending: Ending,
    /// How many items were read, including those that were skipped because of their size.
    items: u64,
    lost: u64,
}

/// Why a stream was not loaded to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not a stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read.
    #[error("the stream cannot be read further")]
    Read(#[source] io::Error, Box<Tally>),
    /// The cache cannot be written.
    #[error("the cache cannot be written")]
    Cache(#[source] Error, Box<Tally>),
}

/// Stores all items of a stream. Namespaces that the file lacks are added; `refused` is called for each one that cannot
/// be added, and its items are left out.
///
/// # Errors
/// What was stored before stays.
pub fn load(
    cache: &Cache,
    how: &FillOptions,
    input: impl Read,
    mut refused: impl FnMut(&Namespace, &Error),
) -> Result<Loaded, LoadError> {
    let largest = usize::try_from(cache.stats().largest_record).unwrap_or(usize::MAX).saturating_add(BLOCK);
    let mut reader = Reader::new(input, largest)?;
    let mut filling = Filling::new(cache, *how);
    let (mut read, mut namespaces) = (0, reader.namespaces().to_vec());
    let ending = loop {
        match reader.read() {
            Ok(Part::Namespaces(added)) => {
                for namespace in &added {
                    match filling.namespace(namespace) {
                        Ok(None) => {}
                        Ok(Some(error)) => refused(namespace, &error),
                        Err(error) => return Err(LoadError::Cache(error, filling.tally.into())),
                    }
                }
                namespaces = reader.namespaces().to_vec();
            }
            Ok(Part::Items(bytes)) => match filling.store(items(bytes, &namespaces).flatten()) {
                Ok(stored) => read += stored,
                Err(error) => return Err(LoadError::Cache(error, filling.tally.into())),
            },
            Ok(Part::End(ending)) => break ending,
            Err(error) => return Err(LoadError::Read(error, filling.tally.into())),
        }
    };
    filling.tally.too_large += reader.too_large();
    Ok(Loaded { tally: filling.tally, ending, items: read + reader.too_large(), lost: reader.lost() })
}

impl Loaded {
    /// What the stream lacks, as a sentence; `None` if it is whole.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let Self { ending, items, lost, .. } = *self;
        let frames = format!("{} {} damaged or missing", plural(lost, "frame"), if lost == 1 { "is" } else { "are" });
        let read = plural(items, "item");
        match ending {
            Ending::Whole { items: all } if all == items && lost == 0 => None,
            Ending::Whole { items: all } => Some(format!(
                "the stream is damaged: it had {}, and {read} could be read; {frames}",
                plural(all, "item")
            )),
            Ending::Cut if lost == 0 => {
                Some(format!("the stream is cut behind {read}: its dump did not finish, or not all of it is here"))
            }
            Ending::Cut => Some(format!("the stream is cut behind {read}, and {frames}")),
            Ending::Damaged => {
                Some(format!("the stream is damaged behind {read}, and nothing behind that place could be read"))
            }
        }
    }
}

/// `n` with a noun, its digits in groups of three.
fn plural(n: u64, one: &str) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{} {one}{}", groups.join(","), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_of_three_digits() {
        assert_eq!((plural(1, "item"), plural(0, "item")), ("1 item".into(), "0 items".into()));
        assert_eq!((plural(1_234_567, "item"), plural(100, "frame")), ("1,234,567 items".into(), "100 frames".into()));
    }
}
