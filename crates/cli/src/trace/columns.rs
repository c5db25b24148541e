//! The columns of a table that the user gives for key and size.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// The value of `--columns`, such as `key=3,size=2` or `key=object`. Columns that are not given are found by common
/// names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub(super) key: Option<Column>,
    pub(super) size: Option<Column>,
}

/// The user's options for tables of comma-separated values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub(super) columns: Columns,
    /// Whether the first row is a request and not a header.
    pub(super) no_header: bool,
}

/// A contradiction between the options for tables.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("--no-header: expected --columns key=NUMBER as well, because there is no header that names the key")]
    NoKey,

    #[error("--no-header: expected a number for each column in --columns, found the name {name:?}")]
    Named { name: String },
}

impl Table {
    /// Combines `--columns` and `--no-header`.
    pub fn new(columns: Option<Columns>, no_header: bool) -> Result<Self, TableError> {
        let columns = columns.unwrap_or_default();
        if no_header {
            if columns.key.is_none() {
                return Err(TableError::NoKey);
            }
            for column in [&columns.key, &columns.size] {
                if let Some(Column::Name(name)) = column {
                    return Err(TableError::Named { name: name.clone() });
                }
            }
        }
        Ok(Self { columns, no_header })
    }

    /// Whether the user gave any option.
    pub fn is_told(&self) -> bool {
        *self != Self::default()
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The number of the column, counted from 1.
    Number(NonZeroUsize),
    /// The name in the header.
    Name(String),
}

impl Columns {
    fn assign(&mut self, part: &str) -> Result<(), ColumnsError> {
        let fault = || ColumnsError { found: part.to_owned() };
        let (role, column) = part.split_once('=').ok_or_else(fault)?;
        let place = match role.trim() {
            "key" => &mut self.key,
            "size" => &mut self.size,
            _ => return Err(fault()),
        };
        let column = Column::new(column.trim()).ok_or_else(fault)?;
        if place.replace(column).is_some() {
            return Err(fault());
        }
        Ok(())
    }
}

impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let mut columns = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            columns.assign(part)?;
        }
        Ok(columns)
    }
}

impl Column {
    /// A column by number if `text` consists of digits, else by name. Empty text and 0 are not valid.
    fn new(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Number);
        }
        Some(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(out, "a column {number}"),
            Self::Name(name) => write!(out, "a column {name:?}"),
        }
    }
}

/// Text that is not a valid list of columns.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected `key=COLUMN` and `size=COLUMN`, each at most once, \
     with a number counted from 1 or a name for COLUMN, found {found:?}"
)]
pub struct ColumnsError {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: usize) -> Option<Column> {
        NonZeroUsize::new(number).map(Column::Number)
    }

    #[test]
    fn columns_by_number_and_by_name() {
        let columns: Columns = "key=3,size=2".parse().expect("valid");
        assert_eq!(columns, Columns { key: number(3), size: number(2) });
        let columns: Columns = " size = bytes ".parse().expect("valid");
        assert_eq!(columns, Columns { key: None, size: Some(Column::Name("bytes".into())) });
        assert_eq!("".parse::<Columns>().expect("valid"), Columns::default());
    }

    #[test]
    fn without_a_header_only_numbers_name_columns() {
        let table = |columns: &str, no_header| Table::new(Some(columns.parse().expect("valid")), no_header);
        assert!(table("key=2,size=4", true).is_ok_and(|table| table.is_told()));
        assert!(table("size=bytes", false).is_ok_and(|table| table.is_told()));
        assert_eq!(Table::new(None, false), Ok(Table::default()));
        assert_eq!(Table::new(None, true), Err(TableError::NoKey));
        assert_eq!(table("size=4", true), Err(TableError::NoKey));
        assert_eq!(table("key=2,size=bytes", true), Err(TableError::Named { name: "bytes".into() }));
    }

    #[test]
    fn what_names_no_column_is_an_error() {
        let cases = ["key", "key=", "key=0", "time=1", "=3", "key=99999999999999999999999"];
        for text in cases {
            let message = text.parse::<Columns>().expect_err(text).to_string();
            assert!(message.ends_with(&format!("found {text:?}")), "{message}");
        }
        let message = "key=1,key=2".parse::<Columns>().expect_err("twice").to_string();
        assert_eq!(
            message,
            "expected `key=COLUMN` and `size=COLUMN`, each at most once, \
             with a number counted from 1 or a name for COLUMN, found \"key=2\""
        );
    }
}
