//! The cache file for the results of commands.

use std::path::{Path, PathBuf};

use kennel::{Cache, Error, OnMismatch, Options};

use crate::message;

/// The capacity of a new cache file if there is enough space.
const CAPACITY: u64 = 64 << 20;
/// The least capacity: a smaller file could hold hardly any output, so none is created.
const LEAST_CAPACITY: u64 = 4 << 20;

/// The mean size of a result: a few lines of text.
const MEAN_ITEM: u64 = 2048;

/// The file to use, and how to open it.
pub struct Place<'a> {
    /// The file that the caller named, if any.
    pub file: Option<&'a Path>,
    pub capacity: Option<u64>,
    pub trust: bool,
}

impl Place<'_> {
    /// Opens the cache file or creates it.
    ///
    /// # Errors
    /// A message that says why neither is possible.
    pub fn open(&self) -> Result<Cache, String> {
        match self.file {
            Some(path) => self.open_or_create(path).map_err(|error| message::of_cache(&error)),
            None => self.open_first(default_files()),
        }
    }

    /// Opens or creates the first usable one of the default files. Another user may have created a file with the same
    /// name in a shared directory, and a directory may be missing, full or inaccessible.
    fn open_first(&self, paths: impl IntoIterator<Item = PathBuf>) -> Result<Cache, String> {
        let mut refusals = Vec::new();
        for path in paths {
            let opened = match self.open_or_create(&path) {
                // The file may come from another version of this program. The user did not name it, so it is replaced.
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
        // If the free space is unknown, the attempt itself shows whether the file fits.
        let mut capacity = fs2::available_space(parent).map_or(CAPACITY, fitting);
        loop {
            match options.clone().capacity(capacity).open_or_create(path) {
                // There may be a quota, or another process took the space.
                Err(Error::NoSpace { .. }) if capacity > LEAST_CAPACITY => capacity /= 2,
                other => return other,
            }
        }
    }
}

/// The largest capacity that leaves half of the free space to others: in a container, `/dev/shm` may be as small as the
/// default file.
fn fitting(free: u64) -> u64 {
    let smaller = |capacity: &u64| Some(capacity / 2).filter(|&capacity| capacity >= LEAST_CAPACITY);
    std::iter::successors(Some(CAPACITY), smaller).find(|capacity| *capacity <= free / 2).unwrap_or(LEAST_CAPACITY)
}

/// The default paths of this user's file, the best one first.
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
