//! The stream that `kennel dump` writes and `kennel load` reads. `docs/dump.md` describes each byte of it.

pub mod frame;
mod item;
mod numbers;
mod reader;
mod writer;

pub use frame::{BLOCK, Head};
pub use item::{Namespace, items};
pub use reader::{Ending, Part, Reader};
pub use writer::Writer;
