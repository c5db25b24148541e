//! Traces in files, compressed or not, one or several.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::columns::Columns;
use super::error::FileError;
use super::format::{Format, is_zst};
use super::parser::{Request, parse};

/// What every zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A trace that lies in files and can be read more than once.
pub struct Trace {
    paths: Vec<PathBuf>,
    format: Option<Format>,
    columns: Columns,
}

impl Trace {
    /// The files in this order as one trace. Each is in the format that its name promises, unless
    /// one is given for all.
    pub fn new(paths: Vec<PathBuf>, format: Option<Format>, columns: Columns) -> Self {
        Self { paths, format, columns }
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Whether any of the files is read in `format`.
    pub fn has(&self, format: Format) -> bool {
        self.paths.iter().any(|path| self.format_of(path) == format)
    }

    /// All requests, from the first; to be left at the first error.
    pub fn requests(&self) -> impl Iterator<Item = Result<Request, FileError>> {
        self.paths.iter().flat_map(|path| self.requests_of(path))
    }

    fn requests_of(&self, path: &Path) -> Box<dyn Iterator<Item = Result<Request, FileError>>> {
        let path = path.to_owned();
        match open(&path) {
            Ok(content) => {
                let requests = parse(content, self.format_of(&path), self.columns.clone());
                Box::new(
                    requests
                        .map(move |request| request.map_err(|error| FileError::Content { path: path.clone(), error })),
                )
            }
            Err(error) => Box::new(std::iter::once(Err(FileError::Open { path, error }))),
        }
    }

    fn format_of(&self, path: &Path) -> Format {
        self.format.unwrap_or_else(|| Format::of(path))
    }
}

/// The content of a file, inflated if it is compressed by its name or by its first bytes.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_compressed = is_zst(path) || file.fill_buf()?.starts_with(&ZSTD_MAGIC);
    if is_compressed {
        return Ok(Box::new(zstd::Decoder::with_buffer(file)?));
    }
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::key::Key;
    use super::*;

    fn read(paths: &[&Path], format: Option<Format>) -> Result<Vec<Key>, String> {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        let trace = Trace::new(paths, format, Columns::default());
        let keys = trace.requests().map(|request| request.map(|request| request.key));
        keys.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    fn compressed(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).expect("compressing memory")
    }

    #[test]
    fn several_files_are_one_trace() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("a.lis"), dir.path().join("b"));
        fs::write(&first, "1 2 0 0\n").expect("written");
        fs::write(&second, "9\n1\n").expect("written");
        assert_eq!(read(&[&first, &second], None), Ok([1, 2, 9, 1].map(Key::from).to_vec()));
        let error = read(&[&first, &second], Some(Format::Lis)).expect_err("not a .lis");
        let found = "line 1: expected a first key and a number of keys, found \"9\"";
        assert_eq!(error, format!("{}: {found}", second.display()));
    }

    #[test]
    fn compression_is_seen_by_name_and_by_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let (named, unnamed) = (dir.path().join("a.lis.zst"), dir.path().join("b.lis"));
        for path in [&named, &unnamed] {
            fs::write(path, compressed(b"1 2 0 0\n")).expect("written");
        }
        assert_eq!(read(&[&named, &unnamed], None), Ok([1, 2, 1, 2].map(Key::from).to_vec()));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(&[Path::new("/nonexistent/a.csv")], None).expect_err("no such file");
        assert!(error.starts_with("/nonexistent/a.csv: cannot be opened: "), "{error}");
    }

    #[test]
    fn damaged_compression_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.zst");
        let whole = compressed("key 1\n".repeat(1000).as_bytes());
        fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        let error = read(&[&path], None).expect_err("a cut-off file");
        assert!(error.contains("cannot read on"), "{error}");
        fs::write(&path, "key 1\n").expect("written");
        let error = read(&[&path], None).expect_err("not compressed at all");
        assert!(error.contains("line 1: cannot read on"), "{error}");
    }
}
