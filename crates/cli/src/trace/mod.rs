//! Access traces: what a cache was asked for, request by request, read from the files in which
//! cache research keeps them.
//!
//! | format | one request is |
//! |---|---|
//! | [`Format::Csv`] | a row; a header names the columns |
//! | [`Format::OracleGeneral`] | libCacheSim's binary record of 24 bytes |
//! | [`Format::Lis`] | one key of a line's run of consecutive keys (the ARC traces) |
//! | [`Format::Text`] | a line: `key`, or `key size` |
//!
//! [`parser::parse`] reads one stream and is all that a fuzz target needs; [`Trace`] opens files, inflates
//! those compressed with zstd, and strings several together. Nothing here allocates by what a
//! file claims: a line has a limit, and a run of keys is counted out one by one.

mod columns;
mod csv;
mod error;
mod files;
mod format;
mod key;
mod lines;
mod lis;
mod oracle;
pub mod parser;
mod text;

pub use columns::Columns;
pub use error::FileError;
pub use files::Trace;
pub use format::Format;
pub use key::{KEY_LEN, Key};
pub use parser::Request;
