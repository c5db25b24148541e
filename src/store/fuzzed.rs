//! Checks the arithmetic of records on arbitrary bytes, for the fuzz target `record`.

use super::record::{Extension, Head, NewRecord, RecordEpochs, RecordLocation, is_sound, reseal};
use super::slot::Ring;
use crate::hash::Key;

/// An item and the words of a record, from a fuzz input.
#[derive(Clone, Copy, Debug)]
pub struct RecordInput<'a> {
    /// The words of a header and an extension, possibly damaged.
    pub words: [u64; 7],
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
    let extension = Extension { soft_expiry, created, flags };
    let damaged = is_sound(&key, input.value, words, extension, location(0));
    assert!(!damaged || words.expires_ms() <= crate::clock::LAST_TIME);

    let draft = NewRecord::new(key, input.value, expiry, extension.metadata().if_any());
    let epochs = RecordEpochs { cache: created, namespace: extension.namespace_epoch() };
    let units = draft.units() + input.spare.min(31);
    let head = draft.head(units, stamp, location(0), epochs);
    assert!(head.is_record() && !head.is_pad() && !head.is_dead());
    assert_eq!(head.key_len(), input.key.len() as u64);
    assert_eq!(head.value_len(), Some(input.value.len() as u64), "a value's length did not come back");
    assert_eq!(head.value_at() + input.value.len() as u64 + head.slack(), units * 8);
    let kept = draft.extension(stamp, epochs).metadata();
    assert!(draft.metadata.is_none_or(|metadata| kept == metadata), "the metadata came back different: {kept:?}");
    assert!(is_sound(&key, input.value, head, draft.extension(stamp, epochs), location(0)), "a record does not pass");
    let moved = Head { seal: reseal(head.seal, location(0), location(1)), ..head };
    assert!(
        is_sound(&key, input.value, moved, draft.extension(stamp, epochs), location(1)),
        "a moved record does not pass"
    );
    let killed = Head { expiry: head.killed(), ..head };
    assert!(killed.is_dead() && is_sound(&key, input.value, killed, draft.extension(stamp, epochs), location(0)));
}
