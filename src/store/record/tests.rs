//! Records: what comes back from their words, and what does not pass their checks.

use super::*;

const EPOCHS: RecordEpochs = RecordEpochs { cache: 77, namespace: 5 };

fn location(position: u64) -> RecordLocation {
    RecordLocation { stripe: 3, ring: Ring::Small, position }
}

fn draft<'a>(key: &'a [u8], value: &'a [u8], flags: u32) -> NewRecord<'a> {
    let metadata = Metadata { flags, ..Metadata::default() }.if_any();
    NewRecord::new(Key::new(key, 9), value, 1_700_000_000_000, metadata)
}

#[test]
fn lengths_come_back_from_the_header() {
    for (key, value, flags) in [(0, 0, 0), (1, 1, 0), (8, 8, 5), (16, 64, 0), (9, 255, 1), (65_535, 7, 0)] {
        let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
        let draft = draft(&key, &value, flags);
        let head = draft.head(draft.units(), 5, location(0), EPOCHS);
        assert!(head.is_record() && !head.is_pad() && !head.is_dead());
        assert_eq!(head.key_len(), key.len() as u64);
        assert_eq!(head.value_len(), Some(value.len() as u64));
        assert_eq!((head.epoch(), head.expires_ms()), (77, 1_700_000_000_000));
        let grown = draft.head(draft.units() + 20, 5, location(0), EPOCHS);
        assert_eq!(grown.value_len(), Some(value.len() as u64));
    }
}

#[test]
fn a_changed_bit_anywhere_is_found() {
    let d = draft(b"key", b"some value", 8);
    let head = d.head(d.units(), 123, location(40), EPOCHS);
    let sound = |key: &[u8], value: &[u8], head, ext, at| is_sound(&Key::new(key, 9), value, head, ext, at);
    assert!(sound(b"key", b"some value", head, d.extension(123, EPOCHS), location(40)));
    assert!(!sound(b"kez", b"some value", head, d.extension(123, EPOCHS), location(40)));
    assert!(!sound(b"key", b"some valuf", head, d.extension(123, EPOCHS), location(40)));
    assert!(!sound(b"key", b"some value", head, d.extension(123, EPOCHS), location(41)));
    assert!(!sound(
        b"key",
        b"some value",
        head,
        d.extension(123, EPOCHS),
        RecordLocation { ring: Ring::Main, ..location(40) }
    ));
    assert!(!sound(
        b"key",
        b"some value",
        head,
        d.extension(123, EPOCHS),
        RecordLocation { stripe: 4, ..location(40) }
    ));
    for bit in 0..64 {
        let flip = 1u64 << bit;
        assert!(!sound(
            b"key",
            b"some value",
            Head { seal: head.seal ^ flip, ..head },
            d.extension(123, EPOCHS),
            location(40)
        ));
        assert!(!sound(
            b"key",
            b"some value",
            Head { stamp: head.stamp ^ flip, ..head },
            d.extension(123, EPOCHS),
            location(40)
        ));
        let expiry = Head { expiry: head.expiry ^ flip, ..head };
        assert_eq!(
            sound(b"key", b"some value", expiry, d.extension(123, EPOCHS), location(40)),
            bit == 63,
            "a dead mark is not damage"
        );
        let ext = Extension { flags: d.extension(123, EPOCHS).flags ^ flip, ..d.extension(123, EPOCHS) };
        assert!(!sound(b"key", b"some value", head, ext, location(40)));
        let ext = d.extension(123, EPOCHS);
        let ext = Extension { soft_expiry: ext.soft_expiry ^ flip, ..ext };
        assert!(
            !sound(b"key", b"some value", head, ext, location(40)),
            "bit {bit} of the soft expiry, the idle mark included"
        );
    }
}

/// A draft with the tags 1 to `count`.
fn tagged<'a>(key: &'a [u8], value: &'a [u8], count: u16) -> NewRecord<'a> {
    let metadata = Metadata { tags: (1..=count).collect(), tag_clock: 99, ..Metadata::default() };
    NewRecord::new(Key::new(key, 9), value, 0, metadata.if_any())
}

#[test]
fn tags_lie_between_the_extension_and_the_key() {
    for (count, words) in [(0, 0), (1, 2), (4, 2), (5, 3), (9, 4), (13, 5), (16, 5)] {
        let draft = tagged(b"key", b"value", count);
        let head = draft.head(draft.units(), 5, location(0), EPOCHS);
        assert!(head.is_record());
        assert_eq!((head.tag_words(), head.value_len()), (words, Some(5)));
        assert_eq!(head.key_at(), if count == 0 { RECORD_LEN } else { RECORD_LEN + EXTENSION_LEN + words * 8 });
        let other = tagged(b"key", b"value", if words == 2 { 5 } else { 1 });
        assert!(draft.fits_in(head) && !other.fits_in(head), "a record keeps the number of its words");
    }
}

#[test]
fn another_number_of_tag_words_is_no_record() {
    let of = |shape| Head { shape, seal: 0, stamp: 0, expiry: 0 };
    let known: Vec<u64> = (0..=0xffff).filter(|&lower| of(10 << 32 | lower).is_record()).collect();
    assert_eq!(known, [1, 2, 0x202, 0x302, 0x402, 0x502]);
}

#[test]
fn a_changed_bit_in_the_tags_is_found() {
    let draft = tagged(b"key", b"value", 6);
    let head = draft.head(draft.units(), 123, location(40), EPOCHS);
    let extension = draft.extension(123, EPOCHS);
    let words = extension.tags.unwrap();
    let sound = |tags| is_sound(&draft.key, b"value", head, Extension { tags, ..extension }, location(40));
    assert!(sound(extension.tags) && !sound(None));
    for bit in 0..words.as_slice().len() * 64 {
        let flipped = |i: usize| words.as_slice()[i] ^ u64::from(i == bit / 64) << (bit % 64);
        assert!(!sound(Some(TagWords::load(words.as_slice().len(), flipped))), "bit {bit}");
    }
    let swapped = |i: usize| words.as_slice()[[0, 2, 1][i]];
    assert!(!sound(Some(TagWords::load(3, swapped))), "words in another order");
}

#[test]
fn a_move_needs_no_second_hash() {
    let d = draft(b"key", b"value", 0);
    let mut head = d.head(d.units(), 123, location(40), EPOCHS);
    let to = RecordLocation { stripe: 3, ring: Ring::Main, position: 999 };
    head.seal = reseal(head.seal, location(40), to);
    assert!(is_sound(&d.key, b"value", head, Extension::default(), to));
}

#[test]
fn what_lies_beside_a_value_comes_back() {
    for cost_ms in [0, 1, 2047, 2048, 4096, 65_536, MOST_COST] {
        let metadata = Metadata {
            flags: u32::MAX,
            namespace: u16::MAX,
            soft_expires_ms: LAST_TIME,
            created_ms: 1_700_000_000_120,
            cost_ms,
            is_absence: cost_ms == 1,
            is_idle: cost_ms == 2047,
            tags: [1, 2, 65_535].into_iter().collect(),
            tag_clock: u64::MAX,
        };
        assert_eq!(metadata.extension(5, EPOCH_MASK).metadata(), metadata);
    }
    let rough = Metadata { cost_ms: 10_001, ..Metadata::default() }.extension(5, 0).cost_ms();
    assert!((9_996..=10_001).contains(&rough), "{rough}");
    let most = Metadata { cost_ms: u64::MAX, ..Metadata::default() }.extension(5, 0).cost_ms();
    assert_eq!(most, MOST_COST, "a day or longer");
}
