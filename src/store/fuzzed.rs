//! Checks the arithmetic of records on arbitrary bytes, for the fuzz target `record`.

use super::record::{Extension, Head, Metadata, NewRecord, RecordEpochs, RecordLocation, is_sound, reseal};
use super::slot::Ring;
use super::tag_words::{TagNumbers, TagWords};
use crate::hash::Key;

/// An item and the words of a record, from a fuzz input.
#[derive(Clone, Copy, Debug)]
pub struct RecordInput<'a> {
    /// The words of a header and an extension, possibly damaged.
    pub words: [u64; 7],
    /// The clock of tags and up to 16 numbers.
    pub tag_clock: u64,
    /// Numbers of tags, in any order.
    pub tags: &'a [u16],
    /// Key of the item.
    pub key: &'a [u8],
    /// Value of the item.
    pub value: &'a [u8],
    /// Units allocated beyond what the item needs, at most 31.
    pub spare: u64,
    /// Positions of the record before and after a move.
    pub positions: [u64; 2],
}

/// Checks the properties of records that the engine relies on.
///
/// # Panics
/// If one of them does not hold.
pub fn check_record(input: &RecordInput<'_>) {
    let [shape, seal, stamp, expiry, soft_expiry, created, flags] = input.words;
    let words = Head { shape, seal, stamp, expiry };
    let key = Key::new(input.key, 7);
    let location = |n: usize| RecordLocation { stripe: 1, ring: Ring::Main, position: input.positions[n] >> 16 };
    if let Some(len) = words.value_len() {
        assert_eq!(words.value_at() + len + words.slack(), words.units() * 8, "lengths that do not add up");
    }
    // The words as the file holds them: numbers in any order, some of them several times.
    let loaded = |i: usize| input.tags.get(i).map_or(input.tag_clock, |&number| u64::from(number) << (i % 4 * 16));
    let tags = (words.tag_words() > 0).then(|| TagWords::load(words.tag_words() as usize, loaded));
    let extension = Extension { soft_expiry, created, flags, tags };
    let damaged = is_sound(&key, input.value, words, extension, location(0));
    assert!(!damaged || words.expires_ms() <= crate::clock::LAST_TIME);

    let given = TagNumbers::default().and(input.tags.iter().copied().collect());
    assert!(given.as_slice().is_sorted() && (given.too_many().is_some() || given.as_slice().len() <= input.tags.len()));
    let metadata = Metadata { tags: given, tag_clock: input.tag_clock, ..extension.metadata() };
    let draft = NewRecord::new(key, input.value, expiry, metadata.if_any());
    let epochs = RecordEpochs { cache: created, namespace: extension.namespace_epoch() };
    let units = draft.units() + input.spare.min(31);
    let head = draft.head(units, stamp, location(0), epochs);
    assert!(head.is_record() && !head.is_pad() && !head.is_dead());
    assert_eq!(head.key_len(), input.key.len() as u64);
    assert_eq!(head.tag_words(), given.as_slice().len().div_ceil(4) as u64 + u64::from(!given.is_empty()));
    assert_eq!(head.value_len(), Some(input.value.len() as u64), "a value's length did not come back");
    assert_eq!(head.value_at() + input.value.len() as u64 + head.slack(), units * 8);
    let kept = draft.extension(stamp, epochs).metadata();
    let is_kept = |metadata: Metadata| match metadata.tags.too_many() {
        None if metadata.tags.is_empty() => kept == Metadata { tag_clock: 0, ..metadata },
        None => kept == metadata,
        // Such a record is refused before it is written.
        Some(_) => kept.tags.as_slice() == metadata.tags.as_slice(),
    };
    assert!(draft.metadata.is_none_or(is_kept), "the metadata came back different: {kept:?}");
    assert!(is_sound(&key, input.value, head, draft.extension(stamp, epochs), location(0)), "a record does not pass");
    let moved = Head { seal: reseal(head.seal, location(0), location(1)), ..head };
    assert!(
        is_sound(&key, input.value, moved, draft.extension(stamp, epochs), location(1)),
        "a moved record does not pass"
    );
    let killed = Head { expiry: head.killed(), ..head };
    assert!(killed.is_dead() && is_sound(&key, input.value, killed, draft.extension(stamp, epochs), location(0)));
}
