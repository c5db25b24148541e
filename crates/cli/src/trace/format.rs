//! The formats of traces.

use std::ffi::OsStr;
use std::path::Path;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// A format of traces; [`Facts`] describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Twitter,
    Msr,
    CachelibKv,
    CachelibBlock,
    Csv,
    Webcachesim,
    Arc,
    Lirs,
    OracleGeneral,
    TimeKey,
    Text,
}

/// The description of a format for users.
pub struct Facts {
    /// The value of `--format`.
    pub name: &'static str,
    /// Other values of `--format` with the same meaning.
    aliases: &'static [&'static str],
    /// What a request looks like.
    about: &'static str,
    /// The first lines of a trace, if it is text.
    pub example: &'static [&'static str],
}

impl Format {
    pub const ALL: [Self; 11] = [
        Self::Twitter,
        Self::Msr,
        Self::CachelibKv,
        Self::CachelibBlock,
        Self::Csv,
        Self::Webcachesim,
        Self::Arc,
        Self::Lirs,
        Self::OracleGeneral,
        Self::TimeKey,
        Self::Text,
    ];

    #[rustfmt::skip] // A table with one row for each format.
    pub fn facts(self) -> Facts {
        let facts = |name, aliases, about, example| Facts { name, aliases, about, example };
        match self {
            Self::Twitter => facts("twitter", &[],
                "Twitter's cache traces: csv without a header with time, key, key size, value size, client, \
                 operation, TTL; a value size of 0 counts as no size",
                &["0,user:7,6,512,1,get,0"]),
            Self::Msr => facts("msr", &[],
                "Block traces of Microsoft Research: csv of Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime, \
                 with or without this header; host, disk and offset together are the key",
                &["128166372003061629,usr,0,Read,7014609920,24576,41286"]),
            Self::CachelibKv => facts("cachelib-kv", &[],
                "CacheLib's key-value traces: csv with a header; a row stands for op_count requests; \
                 a size of 0 counts as no size",
                &["key,op,size,op_count,key_size", "1668,GET,512,1,16"]),
            Self::CachelibBlock => facts("cachelib-block", &[],
                "CacheLib's block traces: csv with a header; block_id and io_offset together are the key, io_size is the \
                 size",
                &["op_time,block_id,block_id_size,io_offset,io_size,op_name", "1698,7,8388608,0,4096,getChunkData"]),
            Self::Csv => facts("csv", &[],
                "Any other table: rows of comma-separated fields with a header, or without one if --no-header is given",
                &["time,offset,size", "5633898,42932745,512"]),
            Self::Webcachesim => facts("webcachesim", &[],
                "Time, id and size in each line, separated by blanks; further fields are ignored",
                &["15 4294967297 512"]),
            Self::Arc => facts("arc", &["lis"],
                "The traces of the ARC paper: first key, number of consecutive keys, an ignored field, request number",
                &["110765 64 0 0"]),
            Self::Lirs => facts("lirs", &[],
                "The traces of the LIRS paper: a block number in each line; lines of `*` are separators",
                &["7", "*", "8"]),
            Self::OracleGeneral => facts("oracleGeneral", &["oracle-general"],
                "libCacheSim's binary records of 24 bytes: u32 time, u64 id, u32 size, i64 next request. \
                 Example: the files named NAME.oracleGeneral.zst",
                &[]),
            Self::TimeKey => facts("time-key", &[],
                "A time and a key in each line, separated by blanks",
                &["1595.25 user:7"]),
            Self::Text => facts("text", &[],
                "A key, or a key and a size, in each line, separated by blanks",
                &["user:7 512"]),
        }
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The format that a file name suggests, without the extensions of compressed files.
    pub fn suggested_by(path: &Path) -> Option<Self> {
        let mut inner = path.to_owned();
        while has_extension(&inner, &["zst", "gz", "xz"]) {
            inner.set_extension("");
        }
        let extension = inner.extension().and_then(OsStr::to_str)?;
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "oraclegeneral" | "bin" => Some(Self::OracleGeneral),
            "lis" => Some(Self::Arc),
            "trc" => Some(Self::Lirs),
            _ => None,
        }
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let facts = self.facts();
        let example = match facts.example {
            [] => String::new(),
            lines => format!(". Example: {}", lines.join(" | ")),
        };
        let help = format!("{}{example}", facts.about);
        Some(PossibleValue::new(facts.name).aliases(facts.aliases).help(help))
    }
}

fn has_extension(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default();
    endings.iter().any(|ending| extension.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_suggests_a_format() {
        let cases = [
            ("a.csv", Some(Format::Csv)),
            ("dir.csv/a.CSV.zst", Some(Format::Csv)),
            ("a.csv.gz", Some(Format::Csv)),
            ("a.csv.gz.xz", Some(Format::Csv)),
            ("a.lis", Some(Format::Arc)),
            ("a.trc", Some(Format::Lirs)),
            ("a.oracleGeneral", Some(Format::OracleGeneral)),
            ("a.oracleGeneral.bin", Some(Format::OracleGeneral)),
            ("a.bin.ZST", Some(Format::OracleGeneral)),
            ("a.txt", None),
            ("a.zst", None),
            ("csv", None),
            ("", None),
        ];
        for (name, format) in cases {
            assert_eq!(Format::suggested_by(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn every_format_has_a_name_of_its_own() {
        for format in Format::ALL {
            assert_eq!(Format::from_str(format.name(), false), Ok(format));
        }
        assert_eq!(Format::from_str("lis", false), Ok(Format::Arc));
    }

    #[test]
    fn every_format_is_described_for_users() {
        let page = include_str!("../../../../docs/traces.md");
        for format in Format::ALL {
            let row = format!("\n| `{}`", format.name());
            assert!(page.contains(&row), "docs/traces.md does not describe {}", format.name());
        }
    }
}
