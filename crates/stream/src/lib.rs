//! The stream that saves the items of a cache: `kennel dump` and Python's `Cache.dump` write it, `kennel load` and
//! `Cache.load` read it. `docs/dump.md` describes each byte of it.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let old = kennel::Options::new().create(dir.path().join("old"))?;
//! # let new = kennel::Options::new().capacity(4 << 20).create(dir.path().join("new"))?;
//! use kennel_stream::{Choice, FillOptions, dump, load};
//! old.set("greeting", "hello")?;
//! let mut stream = Vec::new();
//! assert_eq!(dump(&old, &Choice::default(), &mut stream, || false)?.items, 1);
//! let loaded = load(&new, &FillOptions::default(), &stream[..], |_, _| {}).expect("a stream");
//! assert_eq!((loaded.tally.stored, loaded.missing()), (1, None));
//! assert_eq!(new.get("greeting").as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dump;
mod fill;
mod frame;
mod item;
mod load;
mod numbers;
mod reader;
mod writer;

pub use dump::{Choice, Written, dump, dump_to};
pub use fill::{FillOptions, Filling, Tally};
pub use frame::{BLOCK, Head};
#[cfg(fuzzing)]
pub use frame::{FrameHead, Kind};
pub use item::{Namespace, items};
pub use load::{LoadError, Loaded, load};
pub use reader::{Ending, OpenError, Part, Reader};
pub use writer::Writer;
