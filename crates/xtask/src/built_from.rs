//! What something was built from, so that a step which needs it builds it again only after a change.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold no sources.
const NO_SOURCES: [&str; 3] = ["target", "__pycache__", "node_modules"];

/// The contents of all sources, as a number, and the file beside the built thing that repeats it.
pub(crate) struct BuiltFrom {
    sources: String,
    written: PathBuf,
}

impl BuiltFrom {
    /// Reads the sources: files, and folders with everything in them. `tools` says what else decides about the result.
    pub(crate) fn read(written: PathBuf, sources: &[PathBuf], tools: &str) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        tools.hash(&mut hasher);
        for source in sources {
            add(source, &mut hasher)?;
        }
        Ok(Self { sources: format!("{:016x}\n", hasher.finish()), written })
    }

    /// Whether the thing was built completely, from the same sources.
    pub(crate) fn is_current(&self) -> bool {
        fs::read_to_string(&self.written).is_ok_and(|found| found == self.sources)
    }

    /// Forgets what was built, before it is built anew.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(&self.written);
    }

    pub(crate) fn write(&self) -> Result<()> {
        fs::write(&self.written, &self.sources).with_context(|| format!("could not write {}", self.written.display()))
    }
}

fn add(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    path.hash(hasher);
    if !path.is_dir() {
        fs::read(path).with_context(|| format!("could not read {}", path.display()))?.hash(hasher);
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.retain(|name| NO_SOURCES.iter().all(|other| name != other));
    names.sort_unstable();
    names.iter().try_for_each(|name| add(&path.join(name), hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_source_is_noticed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (source, written) = (folder.path().join("source"), folder.path().join("built"));
        fs::create_dir_all(source.join("deep/target")).unwrap();
        fs::write(source.join("deep/one.c"), "1").unwrap();
        let read = |tools| BuiltFrom::read(written.clone(), std::slice::from_ref(&source), tools).unwrap();
        assert!(!read("").is_current());
        read("").write().unwrap();
        assert!(read("").is_current() && !read("another compiler").is_current());
        fs::write(source.join("deep/target/made"), "x").unwrap();
        assert!(read("").is_current());
        for (name, text) in [("deep/one.c", "2"), ("deep/two.c", "1")] {
            fs::write(source.join(name), text).unwrap();
            assert!(!read("").is_current(), "{name}");
            read("").write().unwrap();
        }
        fs::rename(source.join("deep/two.c"), source.join("deep/three.c")).unwrap();
        assert!(!read("").is_current());
        read("").write().unwrap();
        read("").forget();
        assert!(!read("").is_current());
        assert!(BuiltFrom::read(written.clone(), &[folder.path().join("none")], "").is_err());
    }
}
