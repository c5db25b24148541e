//! Invalidations of tags.

use super::cache::Cache;
use crate::error::Result;
use crate::store::Invalidation;
use crate::store::tag_words::tag_number;

impl Cache {
    /// Invalidates all values of the file that bear one of these tags, in every namespace and for all processes. A hard
    /// invalidation removes them; a soft one makes them stale. This takes the same short time for any number of values. A
    /// value whose creation has begun is covered, even if its creator names the tag only at the end.
    ///
    /// The file does not keep the names of tags but numbers, and a table of them. Tags that share a place in the table are
    /// invalidated together, which costs misses: [`Options::tags`](crate::Options::tags).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{Invalidation, SetOptions};
    /// cache.set_with("page:7", "<h1>Tea</h1>", &SetOptions::new().tags(&["product:7", "layout"]))?;
    /// cache.set_with("page:8", "<h1>Jam</h1>", &SetOptions::new().tags(&["product:8", "layout"]))?;
    /// cache.invalidate_tags(&["product:7"], Invalidation::Hard)?;
    /// assert!(!cache.contains("page:7") && cache.contains("page:8"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set). This takes no lock, and waits only while the file is resized.
    pub fn invalidate_tags<T: AsRef<[u8]>>(&self, tags: &[T], how: Invalidation) -> Result<()> {
        // The caller's code, before anything is changed.
        let numbers: Vec<u16> = tags.iter().map(|tag| tag_number(tag.as_ref())).collect();
        self.while_open(|| self.invalidate_numbers(&numbers, how))
    }

    fn invalidate_numbers(&self, numbers: &[u16], how: Invalidation) -> Result<()> {
        let opened = self.current()?.clone();
        opened.member()?;
        if numbers.is_empty() {
            return Ok(());
        }
        opened.mark_dirty()?;
        opened.store.invalidate_tags(numbers, how);
        // A flush that ended in between does not include the invalidation. Nor may the successor of a file that was closed
        // in between: then this is an error, and the invalidation is repeated there.
        opened.mark_dirty()
    }
}
