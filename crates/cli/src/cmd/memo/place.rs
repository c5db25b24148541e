//! The cache file that commands are remembered in.

use std::path::{Path, PathBuf};

use kennel::{Cache, Error, OnMismatch, Options};

use crate::message;

/// Capacity of a cache file that this command makes, where there is room for it.
const CAPACITY: u64 = 64 << 20;
/// A smaller file than this would take hardly any output; there is none then.
const LEAST_CAPACITY: u64 = 4 << 20;

/// What a remembered command takes on average: a few lines.
const MEAN_ITEM: u64 = 2048;

/// Which file, and what is done to have it.
pub struct Place<'a> {
    /// The file that the caller named.
    pub file: Option<&'a Path>,
    pub capacity: Option<u64>,
    pub trust: bool,
}

impl Place<'_> {
    /// Opens the cache file, or makes it.
    ///
    /// # Errors
    /// Why neither can be, in words.
    pub fn open(&self) -> Result<Cache, String> {
        match self.file {
            Some(path) => self.open_or_create(path).map_err(|error| message::of_cache(&error)),
            None => self.open_first(default_files()),
        }
    }

    /// The first of these files that can be had, which nobody chose. Each may be out of reach: another user can have made a file of its
    /// name where all users may, and a directory can be another user's, full, or not be there.
    fn open_first(&self, paths: impl IntoIterator<Item = PathBuf>) -> Result<Cache, String> {
        let mut refusals = Vec::new();
        for path in paths {
            let opened = match self.open_or_create(&path) {
                // One of another version of this program, say. Nobody chose that file: a new one takes its place.
                Err(Error::BadFile { .. }) => self.options().on_mismatch(OnMismatch::Recreate).open_or_create(&path),
                other => other,
            };
            match opened {
                Ok(cache) => return Ok(cache),
                Err(error) => refusals.push(message::of_cache(&error)),
            }
        }
        Err(refusals.join("; "))
    }

    fn options(&self) -> Options {
        Options::new().trust(self.trust).mean_item(MEAN_ITEM).capacity(self.capacity.unwrap_or(CAPACITY))
    }

    fn open_or_create(&self, path: &Path) -> Result<Cache, Error> {
        let options = self.options().on_mismatch(OnMismatch::UseExisting);
        match options.open(path) {
            Err(Error::NotFound(_)) => {}
            other => return other,
        }
        if self.capacity.is_some() {
            return options.open_or_create(path);
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Should it not be told the attempt tells.
        let mut capacity = fs2::available_space(parent).map_or(CAPACITY, fitting);
        loop {
            match options.clone().capacity(capacity).open_or_create(path) {
                // A quota, say, or somebody was quicker.
                Err(Error::NoSpace { .. }) if capacity > LEAST_CAPACITY => capacity /= 2,
                other => return other,
            }
        }
    }
}

/// The largest capacity that leaves half of the free space to others: in a container `/dev/shm` may be no larger than the
/// usual file.
fn fitting(free: u64) -> u64 {
    let smaller = |capacity: &u64| Some(capacity / 2).filter(|&capacity| capacity >= LEAST_CAPACITY);
    std::iter::successors(Some(CAPACITY), smaller).find(|capacity| *capacity <= free / 2).unwrap_or(LEAST_CAPACITY)
}

/// Where a file of this user may lie, from the best place on.
fn default_files() -> impl Iterator<Item = PathBuf> {
    let renamed = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().replacen("kennel", "kennel-memo", 1);
        path.with_file_name(name)
    };
    kennel::default_paths().map(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn place() -> Place<'static> {
        Place { file: None, capacity: Some(LEAST_CAPACITY), trust: false }
    }

    #[test]
    fn half_of_the_space_is_left_to_others() {
        for (free, capacity) in [(1 << 40, 64), (128, 64), (127, 32), (64, 32), (20, 8), (8, 4), (3, 4), (0, 4)] {
            assert_eq!(fitting(free << 20), capacity << 20, "{free}");
        }
    }

    #[test]
    fn the_first_file_that_can_be_had_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("foreign"), "what somebody else put there").unwrap();
        fs::create_dir(path("directory")).unwrap();
        let paths = ["missing/cache", "foreign", "directory", "cache", "never"].map(path);
        let cache = place().open_first(paths.to_vec()).unwrap();
        assert_eq!(cache.path().file_name(), Some("cache".as_ref()));
        assert!(!path("never").exists());
        assert_eq!(fs::read(path("foreign")).unwrap(), b"what somebody else put there");
        let refusals = place().open_first(paths[..3].to_vec()).unwrap_err();
        for name in ["missing", "foreign", "directory"] {
            assert!(refusals.contains(name), "{name}: {refusals}");
        }
    }
}
