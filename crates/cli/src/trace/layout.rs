//! The positions of key and size in the rows of a table.

use super::columns::{Column, Table};
use super::error::{Place, TraceError};
use super::key::decimal;
use super::row::Row;

/// Common names of the key column, in order of preference.
const KEY_NAMES: [&str; 14] = [
    "key",
    "id",
    "obj_id",
    "object_id",
    "cachekey",
    "lbn",
    "lba",
    "block",
    "block_id",
    "block_number",
    "blkno",
    "offset",
    "sector",
    "address",
];

/// Common names of the size column, in order of preference.
const SIZE_NAMES: [&str; 9] =
    ["size", "obj_size", "object_size", "objectsize", "value_size", "length", "len", "bytes", "io_size"];

/// The remedy for a missing or unsuitable header.
const ADVICE: &str = "(--columns key=N makes column N the key, --no-header reads the first row as a request, \
                      --format text reads each line as a key)";

/// The indices of the fields, counted from 0.
#[derive(Clone, Default)]
pub(super) struct Layout {
    /// The fields that form the key together.
    pub(super) key: Vec<usize>,
    pub(super) size: Option<usize>,
    /// The field with the number of requests that a row stands for.
    pub(super) count: Option<usize>,
    /// Whether a size of 0 means that a read missed, so that it is not the size of the object.
    pub(super) zero_is_no_size: bool,
}

impl Layout {
    /// The layout of the MSR traces: Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime.
    pub(super) fn msr() -> Self {
        Self { key: vec![1, 2, 4], size: Some(5), ..Self::default() }
    }

    /// The layout that the user gives for a table without a header.
    pub(super) fn by_number(table: &Table) -> Self {
        let index = |column: &Option<Column>| match column {
            Some(Column::Number(number)) => Some(number.get() - 1),
            _ => None,
        };
        Self { key: vec![index(&table.columns.key).unwrap_or(0)], size: index(&table.columns.size), ..Self::default() }
    }
}

/// The names of the columns in a header.
pub(super) enum Names {
    CachelibKv,
    CachelibBlock,
    /// The names that the user gives, else the common ones.
    Told(Table),
}

impl Names {
    /// The layout of a table with the header in `row`.
    pub(super) fn find(&self, place: Place, row: &Row) -> Result<Layout, TraceError> {
        let header = Header { place, row };
        match self {
            Self::CachelibKv => Ok(Layout {
                key: vec![header.need("key")?],
                size: Some(header.need("size")?),
                count: row.index_of("op_count"),
                zero_is_no_size: true,
            }),
            Self::CachelibBlock => Ok(Layout {
                key: vec![header.need("block_id")?, header.need("io_offset")?],
                size: Some(header.need("io_size")?),
                count: row.index_of("op_count"),
                zero_is_no_size: false,
            }),
            Self::Told(table) => header.told(table),
        }
    }
}

/// The first row of a table.
struct Header<'a> {
    place: Place,
    row: &'a Row,
}

impl Header<'_> {
    fn need(&self, name: &str) -> Result<usize, TraceError> {
        let column = Column::Name(name.to_owned());
        self.row.index_of(name).ok_or_else(|| self.lacks(&column.to_string()))
    }

    fn told(&self, table: &Table) -> Result<Layout, TraceError> {
        // A request that is taken for the header would be lost without a message.
        if self.row.fields().any(|field| decimal::<u64>(field).is_some()) {
            return Err(TraceError::found(self.place, format!("a header of names {ADVICE}"), &self.row.text()));
        }
        let key = self.find(table.columns.key.as_ref(), &KEY_NAMES)?;
        let key = key.ok_or_else(|| self.lacks(&format!("a column {}", KEY_NAMES.join(" or "))))?;
        let size = self.find(table.columns.size.as_ref(), &SIZE_NAMES)?;
        Ok(Layout { key: vec![key], size, ..Layout::default() })
    }

    /// The column that the user gives, which must exist, else the one with a common name.
    fn find(&self, asked: Option<&Column>, usual: &[&str]) -> Result<Option<usize>, TraceError> {
        let index = match asked {
            None => return Ok(usual.iter().find_map(|name| self.row.index_of(name))),
            Some(Column::Number(number)) => Some(number.get() - 1).filter(|&index| index < self.row.len()),
            Some(Column::Name(name)) => self.row.index_of(name),
        };
        let missing = |column: &Column| self.lacks(&column.to_string());
        index.map(Some).ok_or_else(|| asked.map_or_else(|| self.lacks("a column"), missing))
    }

    fn lacks(&self, column: &str) -> TraceError {
        TraceError::found(self.place, format!("a header with {column} {ADVICE}"), &self.row.text())
    }
}

/// Whether `field` is a common name of the key column.
pub(super) fn is_key_name(field: &[u8]) -> bool {
    KEY_NAMES.iter().any(|name| field.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether a row is the header of the MSR traces.
pub(super) fn is_msr_header(row: &Row) -> bool {
    let names = ["timestamp", "hostname", "disknumber", "type", "offset", "size", "responsetime"];
    row.len() == names.len() && names.iter().enumerate().all(|(index, name)| row.index_of(name) == Some(index))
}

/// Whether a row is a request of the MSR traces.
pub(super) fn is_msr_row(row: &Row) -> bool {
    let is_number = |index| row.field(index).is_some_and(|field| decimal::<u64>(field).is_some());
    let is_operation = row.field(3).is_some_and(|field| {
        ["read", "write"].iter().any(|operation| field.eq_ignore_ascii_case(operation.as_bytes()))
    });
    row.len() == 7 && is_operation && [0, 2, 4, 5, 6].into_iter().all(is_number)
}

/// Whether a row is the header of CacheLib's key-value traces.
pub(super) fn is_cachelib_kv(row: &Row) -> bool {
    ["key", "op", "size", "op_count"].iter().all(|name| row.index_of(name).is_some())
}

/// Whether a row is the header of CacheLib's block traces.
pub(super) fn is_cachelib_block(row: &Row) -> bool {
    ["op_time", "block_id", "io_offset", "io_size"].iter().all(|name| row.index_of(name).is_some())
}
