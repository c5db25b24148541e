//! The tags of a record, as numbers and as the words behind the extension.
//!
//! ```text
//! word 0      clock of tags, from before the old value was read or the creation began
//! words 1..   four numbers of 16 bits each; the last number fills the last word
//! ```
//!
//! Names of tags are not kept. Two names may have the same number. This only costs misses: an invalidation of one of
//! them covers the values of the other.

use xxhash_rust::xxh3::xxh3_64;

/// The most tags of one value.
pub const MAX_TAGS: usize = 16;
/// Numbers in a word.
const PER_WORD: usize = 4;
/// The most words of a record's tags, its clock included.
const MOST_WORDS: usize = 1 + MAX_TAGS / PER_WORD;
/// How many words a record with tags has for them. A record without tags has none.
pub(super) const WORDS: std::ops::RangeInclusive<u64> = 2..=MOST_WORDS as u64;

/// How many words a record has for this number of tags.
pub(super) const fn tag_words(tags: usize) -> usize {
    if tags == 0 { 0 } else { 1 + tags.div_ceil(PER_WORD) }
}

/// The number of a tag, which is the same in every file.
pub(crate) fn tag_number(name: &[u8]) -> u16 {
    (xxh3_64(name) >> 48) as u16
}

/// The numbers of the tags of one value, in ascending order, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TagNumbers {
    /// How many there are: those above [`MAX_TAGS`] are counted, but not kept.
    found: u32,
    numbers: [u16; MAX_TAGS],
}

impl TagNumbers {
    /// The numbers of tags with these names.
    pub(crate) fn of<T: AsRef<[u8]>>(names: &[T]) -> Self {
        names.iter().map(|name| tag_number(name.as_ref())).collect()
    }

    /// These tags and others.
    #[inline]
    pub(crate) fn and(self, others: Self) -> Self {
        if others.found == 0 { self } else { self.with(others) }
    }

    #[cold]
    fn with(self, others: Self) -> Self {
        let both: Self = self.as_slice().iter().chain(others.as_slice()).copied().collect();
        Self { found: both.found.max(self.found).max(others.found), ..both }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.found == 0
    }

    /// How many tags were asked for, if these are more than a record can have.
    pub(crate) fn too_many(self) -> Option<usize> {
        (self.found as usize > MAX_TAGS).then_some(self.found as usize)
    }

    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.numbers[..(self.found as usize).min(MAX_TAGS)]
    }

    /// How many words a record has for these tags.
    pub(super) fn words(&self) -> u64 {
        tag_words(self.as_slice().len()) as u64
    }
}

impl FromIterator<u16> for TagNumbers {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        let mut given: Vec<u16> = numbers.into_iter().collect();
        given.sort_unstable();
        given.dedup();
        let mut numbers = [0; MAX_TAGS];
        given.iter().zip(&mut numbers).for_each(|(&given, number)| *number = given);
        Self { found: u32::try_from(given.len()).unwrap_or(u32::MAX), numbers }
    }
}

/// The words of a record's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagWords {
    len: usize,
    words: [u64; MOST_WORDS],
}

impl TagWords {
    /// The words for the tags of a new record; `None` without tags.
    pub(crate) fn pack(clock: u64, tags: &TagNumbers) -> Option<Self> {
        let last = *tags.as_slice().last()?;
        let mut words = [clock; MOST_WORDS];
        for (numbers, word) in tags.as_slice().chunks(PER_WORD).zip(&mut words[1..]) {
            let number = |i: usize| u64::from(*numbers.get(i).unwrap_or(&last));
            *word = (0..PER_WORD).fold(0, |word, i| word | number(i) << (16 * i));
        }
        Some(Self::load(tags.words() as usize, |i| words[i]))
    }

    /// The words of a record, of which there are `len`.
    #[inline]
    pub(super) fn load(len: usize, word: impl Fn(usize) -> u64) -> Self {
        let (len, mut words) = (len.min(MOST_WORDS), [0; MOST_WORDS]);
        words[..len].iter_mut().enumerate().for_each(|(i, loaded)| *loaded = word(i));
        Self { len, words }
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.words[..self.len]
    }

    /// The clock of tags from before the record's old value was read, or its creation began.
    #[inline]
    pub(crate) fn clock(&self) -> u64 {
        self.words[0]
    }

    /// The numbers. The last number fills up the last word, so its repetition ends the sequence.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        let all = self.as_slice().iter().skip(1).flat_map(|word| (0..PER_WORD).map(move |i| (word >> (16 * i)) as u16));
        all.scan(None, |last, number| (last.replace(number) != Some(number)).then_some(number))
    }

    pub(crate) fn tags(&self) -> TagNumbers {
        self.numbers().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_words() {
        for count in 0..=MAX_TAGS as u16 {
            let tags: TagNumbers = (0..count).map(|n| n.wrapping_mul(40_503)).collect();
            assert_eq!(tags.as_slice().len(), usize::from(count));
            let words = TagWords::pack(7, &tags);
            assert_eq!(words.map_or(0, |words| words.as_slice().len() as u64), tags.words());
            assert!(tags.words() == 0 || WORDS.contains(&tags.words()));
            assert_eq!(words.map(|words| (words.clock(), words.tags())), (count > 0).then_some((7, tags)));
        }
    }

    #[test]
    fn a_tag_counts_once_and_those_that_are_too_many_are_counted() {
        assert_eq!(TagNumbers::of(&["a", "b", "a"]).as_slice().len(), 2);
        let many = TagNumbers::of(&(0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!((many.too_many(), many.as_slice().len(), many.words()), (Some(20), MAX_TAGS, 5));
        let (low, high): (TagNumbers, TagNumbers) = ((0..10).collect(), (5..16).collect());
        assert_eq!((low.and(high).too_many(), low.and(high).as_slice().len()), (None, 16));
        assert_eq!(low.and((10..17).collect()).too_many(), Some(17));
        assert_eq!((many.and(low).too_many().is_some(), low.and(TagNumbers::default())), (true, low));
    }

    /// The numbers are part of the format, and of dumps.
    #[test]
    fn the_number_of_a_tag_never_changes() {
        assert_eq!(["", "user:42", "shop/42/prices"].map(|name| tag_number(name.as_bytes())), [11_526, 40_897, 36_966]);
    }
}
