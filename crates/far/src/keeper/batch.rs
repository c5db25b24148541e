//! Keys that were pushed and are to be deleted together.

/// Keys, one behind the other.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl Batch {
    pub(super) fn add(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn keys(&self) -> Vec<&[u8]> {
        let mut begin = 0;
        self.ends.iter().map(|end| &self.bytes[std::mem::replace(&mut begin, *end)..*end]).collect()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_as_they_went_in() {
        let mut batch = Batch::default();
        assert!(batch.keys().is_empty());
        for _ in 0..2 {
            let keys: [&[u8]; 4] = [b"a", b"", b"long key", b"b"];
            keys.iter().for_each(|key| batch.add(key));
            assert_eq!((batch.len(), batch.keys()), (4, keys.to_vec()));
            batch.clear();
        }
        assert_eq!((batch.len(), batch.keys().len()), (0, 0));
    }
}
