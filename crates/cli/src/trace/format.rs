//! Which format a file is in.

use std::ffi::OsStr;
use std::path::Path;

/// A format of traces; the [module](super) tells what is in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Rows under a header that names the columns
    Csv,
    /// libCacheSim's binary records of 24 bytes
    #[value(name = "oracleGeneral")]
    OracleGeneral,
    /// The ARC traces: first key, number of consecutive keys
    Lis,
    /// A key in each line, or a key and a size
    Text,
}

impl Format {
    /// The format that the name of a file promises. A `.zst` at its end says nothing about it.
    pub fn of(path: &Path) -> Self {
        let inner = if is_zst(path) { path.with_extension("") } else { path.to_owned() };
        let extension = inner.extension().and_then(OsStr::to_str).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv,
            "oraclegeneral" | "bin" => Self::OracleGeneral,
            "lis" => Self::Lis,
            _ => Self::Text,
        }
    }
}

/// Whether the name of a file promises that it is compressed with zstd.
pub(super) fn is_zst(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_tells_the_format() {
        let cases = [
            ("a.csv", Format::Csv),
            ("dir.csv/a.CSV.zst", Format::Csv),
            ("a.lis", Format::Lis),
            ("a.lis.zst", Format::Lis),
            ("a.oracleGeneral", Format::OracleGeneral),
            ("a.oracleGeneral.bin", Format::OracleGeneral),
            ("a.oracleGeneral.zst", Format::OracleGeneral),
            ("a.bin.ZST", Format::OracleGeneral),
            ("a.txt", Format::Text),
            ("a.zst", Format::Text),
            ("csv", Format::Text),
            ("", Format::Text),
        ];
        for (name, format) in cases {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
