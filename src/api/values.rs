//! The values of a batch, in one buffer.

/// The values that [`Cache::get_multi_into`](crate::Cache::get_multi_into) found, and which keys missed.
///
/// All values are in one buffer, which keeps its memory from one call to the next.
#[derive(Clone, Debug, Default)]
pub struct Values {
    bytes: Vec<u8>,
    /// For each key, where its value ends in the buffer, and whether it has a value. A value begins where the previous
    /// one ends.
    ends: Vec<(usize, bool)>,
}

impl Values {
    /// No values. This allocates no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of requested keys, including those that missed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no keys were requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value of key number `i`, counted from 0; `None` if the key missed, or if there is no such key.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let &(end, is_hit) = self.ends.get(i)?;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before].0);
        is_hit.then(|| &self.bytes[start..end])
    }

    /// The values, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Removes all values, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The buffer, cut off after the last value, so that another value can be appended.
    #[inline(always)]
    pub(super) fn open_end(&mut self) -> &mut Vec<u8> {
        self.bytes.truncate(self.end());
        &mut self.bytes
    }

    /// Ends the value of the next key: the appended bytes, or no value if the key missed.
    #[inline(always)]
    pub(super) fn push(&mut self, is_hit: bool) {
        if !is_hit {
            self.open_end();
        }
        self.ends.push((self.bytes.len(), is_hit));
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.ends.last().map_or(0, |&(end, _)| end)
    }
}
