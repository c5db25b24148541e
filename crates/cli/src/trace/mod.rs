//! Access traces: lists of the requests to a cache, read from the file formats of cache research.
//!
//! [`Format`] lists the formats. Each has a parser in a file of its own, except that [`csv`] reads all tables.
//! [`detect`] recognizes the format from the content. [`parser::parse`] reads one stream. [`Trace`] opens files and
//! pipes, decompresses them, and joins several inputs. Limits protect against malformed files: on the length of a line,
//! the memory of a decompressor, and the number of keys that one line stands for. `docs/traces.md` describes all of
//! this for users.

mod arc;
mod columns;
mod compression;
mod csv;
mod detect;
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
pub(crate) mod parser;
mod request;
mod row;
mod text;
mod twitter;
mod webcachesim;

pub(crate) use columns::{Columns, Table};
pub(crate) use error::FileError;
pub(crate) use files::Trace;
pub(crate) use format::Format;
pub(crate) use input::Input;
pub(crate) use key::{KEY_LEN, Key};
pub(crate) use request::Request;
