//! The cache files that are observed, each under a name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kennel::{Cache, Options, Stats};

/// A cache file, and the name that it has in the output. Clients on the network do not see the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub path: PathBuf,
}

/// What a look at a target found.
pub struct Look {
    pub name: String,
    /// The open file, or why it cannot be opened.
    pub found: kennel::Result<(Cache, Stats)>,
}

impl Target {
    /// A file under the first part of its name: `web` for `/dev/shm/web.cache`.
    pub fn of(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Self { name: stem.to_string_lossy().into_owned(), path: path.to_owned() }
    }

    /// From `NAME=FILE` or `FILE`. A name has letters, digits and `_`, `-` or `.`, so `./a=b` is a file.
    pub fn parse(text: &str) -> Self {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        match text.split_once('=') {
            Some((name, path)) if is_name(name) => Self { name: name.to_owned(), path: path.into() },
            _ => Self::of(Path::new(text)),
        }
    }

    /// Opens the file, read-only. This is done for each look, because the file may be removed and created again.
    pub fn look(&self, options: &Options) -> Look {
        let found = options.open_read_only(&self.path).map(|cache| {
            let stats = cache.stats();
            (cache, stats)
        });
        Look { name: self.name.clone(), found }
    }
}

/// Checks that no two targets have the same name, which would merge their time series.
pub fn named_once(targets: &[Target]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    match targets.iter().find(|target| !names.insert(&target.name)) {
        None => Ok(()),
        Some(Target { name, .. }) => {
            Err(format!("two files have the name {name:?}: give each a name of its own, as in first={name}.cache"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_name_that_was_given_or_its_stem() {
        let cases = [
            ("/dev/shm/web.cache", "web", "/dev/shm/web.cache"),
            ("pages=/dev/shm/web.cache", "pages", "/dev/shm/web.cache"),
            ("./a=b.cache", "a=b", "./a=b.cache"),
            ("=b.cache", "=b", "=b.cache"),
            ("a=b=c", "a", "b=c"),
        ];
        for (text, name, path) in cases {
            assert_eq!(Target::parse(text), Target { name: name.into(), path: path.into() }, "{text}");
        }
    }

    #[test]
    fn two_targets_of_one_name_are_refused() {
        let targets = |texts: &[&str]| texts.iter().map(|text| Target::parse(text)).collect::<Vec<_>>();
        assert_eq!(named_once(&targets(&["a/web.cache", "other=b/web.cache"])), Ok(()));
        assert!(named_once(&targets(&["a/web.cache", "b/web.cache"])).unwrap_err().contains("\"web\""));
    }
}
