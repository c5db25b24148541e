//! Invalidations of tags.

use super::cache::Cache;
use crate::error::Result;
use crate::store::Invalidation;
use crate::store::tag_words::tag_number;

impl Cache {
    /// Invalidates all values of the file that have one of these tags, in every namespace and for all processes. A hard
    /// invalidation removes them; a soft one makes them stale. The time does not depend on the number of values. A
    /// value whose creation has begun is covered, even if its creator adds the tag only at the end.
    ///
    /// The file does not keep the names of tags, but numbers that it computes from them, and a table with a place for
    /// each number or for several. Tags that share a place are invalidated together, which costs misses: see
    /// [`Options::tags`](crate::Options::tags). In a file without such a table, which has no values with tags, this
    /// does nothing.
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
    /// The errors of [`set`](Cache::set). This takes no lock, and waits only while the file is being resized.
    pub fn invalidate_tags<T: AsRef<[u8]>>(&self, tags: &[T], how: Invalidation) -> Result<()> {
        // The caller's code runs here, before anything is changed.
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
        // A flush that ended in between does not include the invalidation. If the file was closed in between, its
        // successor may not include it, either: then this returns an error, and the invalidation is repeated there.
        opened.mark_dirty()
    }
}
