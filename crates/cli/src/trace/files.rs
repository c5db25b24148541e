//! A trace that consists of several inputs.

use std::path::{Path, PathBuf};

use super::columns::Table;
use super::error::FileError;
use super::format::Format;
use super::input::{Input, STDIN};
use super::request::Request;

/// A trace from files and pipes, which can be read several times.
pub struct Trace {
    inputs: Vec<Input>,
    table: Table,
}

impl Trace {
    /// Opens the inputs, in this order, as one trace. The format of each is recognized from its content unless `format`
    /// is given. The path `-` is standard input.
    pub fn open(paths: &[PathBuf], format: Option<Format>, table: Table) -> Result<Self, FileError> {
        if paths.iter().filter(|path| path.as_path() == Path::new(STDIN)).count() > 1 {
            return Err(FileError::StdinTwice);
        }
        let inputs = paths.iter().map(|path| Input::open(path, format, &table)).collect::<Result<Vec<_>, _>>()?;
        if table.is_told() && inputs.iter().all(|input| input.format() != Format::Csv) {
            return Err(FileError::NoTable);
        }
        Ok(Self { inputs, table })
    }

    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// All requests from the first one. The caller must stop at the first error.
    pub fn requests(&mut self) -> impl Iterator<Item = Result<Request, FileError>> {
        self.inputs.iter().flat_map(|input| input.requests(&self.table))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::compression::tests::{ALL, compress};
    use super::super::key::Key;
    use super::super::lines::MAX_LINE;
    use super::*;

    fn open(paths: &[&Path], format: Option<Format>) -> Result<Trace, String> {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        Trace::open(&paths, format, Table::default()).map_err(|error| error.to_string())
    }

    fn read(paths: &[&Path], format: Option<Format>) -> Result<Vec<Key>, String> {
        let mut trace = open(paths, format)?;
        let keys = trace.requests().map(|request| request.map(|request| request.key));
        keys.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    /// A directory, and a file in it.
    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        (dir, path)
    }

    #[test]
    fn several_files_are_one_trace() {
        let (dir, first) = file("a.lis", b"1 2 0 0\n");
        let second = dir.path().join("b");
        fs::write(&second, "9\n1\n").expect("written");
        assert_eq!(read(&[&first, &second], None), Ok([1, 2, 9, 1].map(Key::from).to_vec()));
        let error = read(&[&first, &second], Some(Format::Arc)).expect_err("not a .lis");
        let found = "line 1: expected a first key and a number of keys, found \"9\"";
        assert_eq!(error, format!("{}: {found}", second.display()));
    }

    #[test]
    fn a_trace_can_be_read_again() {
        let (_dir, path) = file("a", b"9\n1\n");
        let mut trace = open(&[&path, &path], None).expect("a trace");
        for _ in 0..2 {
            assert_eq!(trace.requests().filter_map(Result::ok).count(), 4);
        }
    }

    #[test]
    fn compression_is_seen_by_content_alone() {
        for compression in ALL {
            let (_dir, path) = file("a.csv", &compress(compression, b"1 2 0 0\n"));
            assert_eq!(read(&[&path], None), Ok([1, 2].map(Key::from).to_vec()), "{compression}");
        }
        for name in ["a.gz", "a.xz", "a.zst"] {
            let (_dir, path) = file(name, b"1 2 0 0\n");
            assert_eq!(read(&[&path], None), Ok([1, 2].map(Key::from).to_vec()), "{name}");
        }
    }

    #[test]
    fn what_is_longer_than_the_sample_is_read_whole() {
        let content: Vec<u8> = (0..70_000_u32).flat_map(|key| format!("{key:030}\n").into_bytes()).collect();
        assert!(content.len() > 2 * MAX_LINE);
        let (dir, path) = file("a", &content);
        assert_eq!(read(&[&path], None).map(|keys| keys.len()), Ok(70_000));
        for compression in ALL {
            let path = dir.path().join(compression.to_string());
            fs::write(&path, compress(compression, &content)).expect("written");
            assert_eq!(read(&[&path], None).map(|keys| keys.len()), Ok(70_000), "{compression}");
        }
    }

    #[test]
    fn what_is_not_there_or_no_file_is_named() {
        let error = read(&[Path::new("/nonexistent/a.csv")], None).expect_err("no such file");
        assert!(error.starts_with("/nonexistent/a.csv: cannot be opened: "), "{error}");
        let (dir, path) = file("empty", b" \n\n");
        let error = read(&[dir.path()], None).expect_err("a directory");
        assert_eq!(error, format!("{}: expected a file, a pipe or -, found a directory", dir.path().display()));
        let nothing = "expected at least one request, found none";
        assert_eq!(read(&[&path], None), Err(format!("{}: {nothing}", path.display())));
        assert_eq!(read(&[&path], Some(Format::Csv)), Err(format!("{}: {nothing}", path.display())));
    }

    #[test]
    fn standard_input_cannot_be_read_twice() {
        let error = read(&[Path::new("-"), Path::new("-")], None).expect_err("twice");
        assert_eq!(error, "-: expected standard input once, found it twice");
    }

    #[test]
    fn damaged_compression_is_an_error() {
        for compression in ALL {
            let whole = compress(compression, &b"key 1\n".repeat(1000));
            let (_dir, path) = file("a", &whole[..whole.len() - 1]);
            let error = read(&[&path], None).expect_err("a cut-off file");
            assert!(error.contains(&format!("the {compression} data cannot be decompressed")), "{error}");
        }
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let expected = "line 1: expected a line of at most 1048576 bytes, found a longer one";
        for byte in [b'a', b',', b'1'] {
            let (_dir, path) = file("a", &vec![byte; 3 * MAX_LINE]);
            assert_eq!(read(&[&path], None), Err(format!("{}: {expected}", path.display())));
        }
    }
}
