//! One input of a trace: a file, a pipe, or standard input.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::columns::Table;
use super::compression::Compression;
use super::detect::{detect, whole_lines};
use super::error::{FileError, TraceError, plain_excerpt};
use super::format::Format;
use super::lines::MAX_LINE;
use super::parser::{parse, parser};
use super::request::{KeyText, Request, Spelled};

/// The path that stands for standard input.
pub(super) const STDIN: &str = "-";

/// How many bytes of an input are used to recognize its format: more than the longest line.
const SAMPLE: usize = MAX_LINE + 1;

/// How many of the first requests are shown.
const SHOWN: usize = 3;

/// An input of known format, which can be read any number of times.
pub struct Input {
    path: PathBuf,
    content: Content,
    compression: Option<Compression>,
    format: Format,
    is_detected: bool,
    first: Vec<FirstRequest>,
}

/// Where the content of an input is.
enum Content {
    File(PathBuf),
    /// A temporary file with the content of a pipe, because a pipe can be read only once.
    Spooled(File),
}

/// One of the first requests, for display.
pub struct FirstRequest {
    /// The key in the notation of the trace, shortened if it is long.
    pub key: String,
    pub size: Option<u32>,
}

impl Input {
    /// Opens `path` and recognizes its format. Anything but a regular file is copied to a temporary file.
    pub(super) fn open(path: &Path, format: Option<Format>, table: &Table) -> Result<Self, FileError> {
        let (mut reader, is_regular) = start(path)?;
        let read_error = |error| FileError::Read { path: path.to_owned(), error };
        let mut head = Vec::new();
        reader.by_ref().take(SAMPLE as u64).read_to_end(&mut head).map_err(read_error)?;
        let compression = Compression::of(&head);
        let sample = sample(&head, head.len() == SAMPLE, compression).map_err(read_error)?;

        let content_error = |error| FileError::Content { path: path.to_owned(), error };
        let found = match format {
            Some(format) => Some(format),
            None => detect(&sample, Format::suggested_by(path), table).map_err(content_error)?,
        };
        let is_blank = sample.iter().all(u8::is_ascii_whitespace);
        let recognized = found.filter(|_| !is_blank).ok_or_else(|| FileError::Empty { path: path.to_owned() })?;
        let first = first_requests(&sample, recognized, table).map_err(content_error)?;
        let content = match is_regular {
            true => Content::File(path.to_owned()),
            false => Content::Spooled(spool(&head, reader).map_err(|error| FileError::spool(path, error))?),
        };
        let is_detected = format.is_none();
        Ok(Self { path: path.to_owned(), content, compression, format: recognized, is_detected, first })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the format was recognized and not given by the user.
    pub fn is_detected(&self) -> bool {
        self.is_detected
    }

    /// The name of the compression, if any.
    pub fn compression(&self) -> Option<String> {
        self.compression.map(|compression| compression.to_string())
    }

    pub fn first(&self) -> &[FirstRequest] {
        &self.first
    }

    /// All requests from the first one. The caller must stop at the first error.
    pub(super) fn requests(&self, table: &Table) -> Box<dyn Iterator<Item = Result<Request, FileError>> + '_> {
        match self.reader() {
            Ok(reader) => {
                let requests = parse(reader, self.format, table);
                let fault = |error| FileError::Content { path: self.path.clone(), error };
                Box::new(requests.map(move |request| request.map_err(fault)))
            }
            Err(error) => Box::new(std::iter::once(Err(FileError::Open { path: self.path.clone(), error }))),
        }
    }

    fn reader(&self) -> io::Result<Box<dyn Read + '_>> {
        let raw: Box<dyn Read + '_> = match &self.content {
            Content::File(path) => {
                let mut file = File::open(path)?;
                // On some systems a path such as /dev/fd/3 opens a file at its current position.
                file.rewind()?;
                Box::new(file)
            }
            Content::Spooled(file) => {
                let mut file = file;
                file.rewind()?;
                Box::new(file)
            }
        };
        match self.compression {
            Some(compression) => compression.inflate(raw),
            None => Ok(raw),
        }
    }
}

/// Opens `path`, and returns as well whether it is a regular file, which can be opened again.
fn start(path: &Path) -> Result<(Box<dyn Read>, bool), FileError> {
    if path == Path::new(STDIN) {
        return Ok((Box::new(io::stdin().lock()), false));
    }
    let open_error = |error| FileError::Open { path: path.to_owned(), error };
    // Checked first, because the error of opening a directory differs between systems.
    if path.is_dir() {
        return Err(FileError::Directory { path: path.to_owned() });
    }
    let file = File::open(path).map_err(open_error)?;
    let is_regular = file.metadata().map_err(open_error)?.is_file();
    Ok((Box::new(file), is_regular))
}

/// The content at the beginning of an input, in whole lines if it is text. `is_cut` means that more bytes follow
/// `head`.
fn sample(head: &[u8], is_cut: bool, compression: Option<Compression>) -> io::Result<Vec<u8>> {
    let Some(compression) = compression else {
        return Ok(whole_lines(head, is_cut).to_vec());
    };
    let mut sample = Vec::new();
    let inflated = compression.inflate(head).and_then(|content| content.take(SAMPLE as u64).read_to_end(&mut sample));
    match inflated {
        // A cut head may end anywhere in the compressed data.
        Err(_) if is_cut && !sample.is_empty() => {}
        inflated => drop(inflated?),
    }
    let is_cut = is_cut || sample.len() == SAMPLE;
    Ok(whole_lines(&sample, is_cut).to_vec())
}

fn first_requests(sample: &[u8], format: Format, table: &Table) -> Result<Vec<FirstRequest>, TraceError> {
    let mut parser = parser(sample, format, table);
    let mut first = Vec::new();
    while first.len() < SHOWN
        && let Some(Spelled { key, size }) = parser.next_request()?
    {
        let key = match key {
            KeyText::Number(number) => number.to_string(),
            KeyText::Text(text) => plain_excerpt(text),
        };
        first.push(FirstRequest { key, size });
    }
    Ok(first)
}

/// An unnamed temporary file with the whole input.
fn spool(head: &[u8], mut rest: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(head)?;
    io::copy(&mut rest, &mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::compression::tests::{ALL, compress};
    use super::*;

    #[test]
    fn the_sample_of_a_cut_off_stream_is_whole_lines() {
        // Keys that no compression makes much shorter, so that half of the stream is several blocks.
        let mut state = 1_u64;
        let mut key = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}{:016x}\n", state.rotate_left(32) ^ 0x5555)
        };
        let content = (0..20_000).map(|_| key()).collect::<String>().into_bytes();
        for compression in ALL {
            let stream = compress(compression, &content);
            let half = &stream[..stream.len() / 2];
            let sample = |is_cut| sample(half, is_cut, Some(compression));
            let lines = sample(true).expect("the beginning of the content");
            assert!(
                content.starts_with(&lines) && lines.ends_with(b"\n") && lines.len() < content.len(),
                "{compression}"
            );
            assert!(sample(false).is_err(), "nothing follows, so {compression} data is missing");
        }
        assert_eq!(super::sample(b"7\n8", true, None).expect("lines"), b"7\n");
        assert_eq!(super::sample(b"7\n8", false, None).expect("lines"), b"7\n8");
        assert_eq!(super::sample(b"78", true, None).expect("one line"), b"78");
    }
}
