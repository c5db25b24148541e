//! Writes the items of a cache.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use kennel::{Cache, SavedItem};

use super::frame::Head;
use super::item::Namespace;
use super::writer::Writer;

/// Which items are wanted; by default all.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those whose keys begin with this. With a namespace, the part of the key after its name counts.
    pub prefix: Vec<u8>,
}

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of items.
    pub items: u64,
    /// The length of the stream.
    pub bytes: u64,
}

/// Writes a stream of the items of a whole file, the most used ones first. It is not a snapshot. The dump fails once
/// `is_asked_to_end` returns `true`.
///
/// # Errors
/// Those of the output.
pub fn dump(
    cache: &Cache,
    choice: &Choice,
    out: impl Write,
    is_asked_to_end: impl Fn() -> bool,
) -> io::Result<Written> {
    let stats = cache.stats();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let head = Head {
        written_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        file_id: u128::from_str_radix(&stats.file_id, 16).unwrap_or_default(),
    };
    let mut writer = Writer::new(out, &head)?;
    let with_defaults = |name: &str| Namespace::new(name, cache.namespace_defaults(name));
    let names =
        cache.namespaces().into_iter().filter(|name| choice.namespace.as_ref().is_none_or(|wanted| wanted == name));
    writer.namespaces(names.map(|name| with_defaults(&name)))?;
    for item in cache.hottest_first().filter(|item| choice.wants(item)) {
        if is_asked_to_end() {
            return Err(io::Error::other("interrupted before the end of the dump"));
        }
        if let Some(name) = item.namespace.as_deref().filter(|name| !writer.has_namespace(name)) {
            // It was added to the file after the dump began.
            writer.namespaces([with_defaults(name)])?;
        }
        writer.item(&item)?;
    }
    let (_, items, bytes) = writer.finish()?;
    Ok(Written { items, bytes })
}

/// [`dump`] to a file. A regular file gets its name only when the stream is complete, and replaces a file of that name.
/// Only its owner can read it.
///
/// # Errors
/// Those of the file; and one if it is the cache file itself.
pub fn dump_to(
    cache: &Cache,
    choice: &Choice,
    output: &Path,
    is_asked_to_end: impl Fn() -> bool,
) -> io::Result<Written> {
    // A link leads to the file to be replaced.
    let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    if place == cache.path() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is the cache file itself"));
    }
    if fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(&place)?;
        return dump(cache, choice, BufWriter::new(file), is_asked_to_end);
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".kennel-dump-").tempfile_in(folder)?;
    let written = dump(cache, choice, BufWriter::new(file.as_file()), is_asked_to_end)?;
    file.as_file().sync_all()?;
    file.persist(&place).map_err(|error| error.error)?;
    Ok(written)
}

impl Choice {
    fn wants(&self, item: &SavedItem) -> bool {
        let Some(name) = &self.namespace else { return item.key.starts_with(&self.prefix) };
        // A key mangler may have made a stored key that does not begin with the name.
        let own = item.key.strip_prefix(name.as_bytes()).and_then(|key| key.strip_prefix(&[0]));
        item.namespace.as_deref() == Some(name) && own.unwrap_or(&item.key).starts_with(&self.prefix)
    }
}
