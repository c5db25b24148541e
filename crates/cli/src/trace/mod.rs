//! Access traces: what a cache was asked for, request by request, read from the files in which
//! cache research keeps them.
//!
//! [`Format`] lists the formats; each has a parser in a file of its own, and [`csv`] serves all
//! tables. [`detect`] recognizes the format from the content. [`parser::parse`] reads one stream.
//! [`Trace`] opens files and pipes, inflates what is compressed, and joins several inputs. What a file
//! claims is bounded: the length of a line, the memory of a decompressor, and the length of a run of
//! keys, which is counted out one by one. `docs/traces.md` describes all of this for users.

mod arc;
mod columns;
mod compression;
mod csv;
pub mod detect;
mod error;
mod fields;
mod files;
mod format;
mod input;
mod key;
mod layout;
mod lines;
mod lirs;
mod oracle;
pub mod parser;
mod row;
mod text;
mod twitter;
mod webcachesim;

pub use columns::{Columns, Table};
pub use error::FileError;
pub use files::Trace;
pub use format::Format;
pub use input::Input;
pub use key::{KEY_LEN, Key};
pub use parser::Request;
