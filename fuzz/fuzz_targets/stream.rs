//! The stream of `kennel dump` as `kennel load` reads it.
//!
//! Input: the first byte chooses what the rest is. 0: the stream itself. 1: the bytes behind a good head. 2: contents of
//! frames that pass their checksums: for each its kind, two bytes for its length, and whether it is compressed. 3: a
//! script of items, which are written, read, and read again after the stream was cut or changed at a place.
//!
//! Asserted: no panic; no memory beyond a few frames and the largest item; nothing is read that was not written: all
//! items come back from a whole stream, their first part from a cut one, and some of them from a changed one, each as it
//! was; a whole stream is the only one that counts as whole.
#![no_main]

use kennel::{Ring, SavedItem};
use kennel_fuzz::limits::in_time;
use kennel_fuzz::{Input, key_of, moment, value_of};
use kennel_stream::{Ending, FrameHead, Head, Kind, Namespace, Part, Reader, Writer, items};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The largest item that is wanted in pieces.
const LARGEST: usize = 3 << 20;
/// No input has more frames than this; a stream of 4 KiB has some 128.
const MOST_FRAMES: usize = 10_000;
const HEAD: Head = Head { written_ms: 1, file_id: 2 };

struct Found {
    items: Vec<SavedItem>,
    ending: Ending,
    lost: u64,
}

impl Found {
    fn is_whole(&self) -> bool {
        self.ending == Ending::Whole { items: self.items.len() as u64 } && self.lost == 0
    }
}

/// What a reader finds; `None` if it is no stream.
fn read(bytes: &[u8]) -> Option<Found> {
    let mut reader = Reader::new(bytes, LARGEST).ok()?;
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for _ in 0..MOST_FRAMES {
        match reader.read().expect("memory can be read") {
            Part::Namespaces(added) => {
                assert!(added.iter().all(|namespace| !namespace.name.is_empty() && namespace.jitter <= 1000));
                names = reader.namespaces().to_vec();
                assert!(names.len() <= usize::from(u16::MAX));
            }
            Part::Items(bytes) => {
                assert!(bytes.len() <= LARGEST);
                found.extend(items(bytes, &names).flatten().map(|item| owned(&item)));
            }
            Part::End(ending) => return Some(Found { items: found, ending, lost: reader.lost() }),
        }
    }
    panic!("more frames than the stream has");
}

fn owned(item: &SavedItem<&[u8]>) -> SavedItem {
    let mut owned = SavedItem::new(item.key.to_vec(), item.value.map(<[u8]>::to_vec));
    (owned.namespace, owned.flags, owned.cost) = (item.namespace.clone(), item.flags, item.cost);
    (owned.expires, owned.soft_expires, owned.created) = (item.expires, item.soft_expires, item.created);
    (owned.ring, owned.marks) = (item.ring, item.marks);
    owned
}

/// Frames with any contents, which pass their checksums.
fn framed(mut input: Input<'_>) -> Vec<u8> {
    let mut bytes = HEAD.bytes().to_vec();
    let mut number = 0;
    while !input.is_over() {
        let how = input.byte();
        let len = usize::from(input.half()).min(input.0.len());
        let (content, rest) = input.0.split_at(len);
        input = Input(rest);
        let kinds = [Kind::Namespaces, Kind::Items, Kind::FirstPiece, Kind::NextPiece, Kind::LastPiece, Kind::End];
        let kind = kinds[usize::from(how & 7) % kinds.len()];
        // Compressed bytes that claim another length, or that are none.
        let is_coded = how & 8 != 0;
        let raw_len = if is_coded { len + 1 + usize::from(how >> 4) * 1000 } else { len };
        let head = FrameHead { number, kind, is_coded, raw_len, stored_len: len, check: xxh3_64(content) };
        bytes.extend_from_slice(&head.bytes());
        bytes.extend_from_slice(content);
        number += 1;
    }
    bytes
}

fn item_of(input: &mut Input<'_>) -> SavedItem {
    let how = input.byte();
    let key = key_of(input.byte());
    // Some are larger than a frame.
    let len = usize::from(input.half()) * if how & 3 == 3 { 40 } else { 1 };
    let mut item = SavedItem::new(key, (how & 4 == 0).then(|| value_of(len, how)));
    item.flags = u32::from(input.half()) * 65_537;
    item.namespace = [None, Some("a"), Some("a longer name")][usize::from(input.byte()) % 3].map(Into::into);
    let mut time = || Some(u64::from(input.half()) << (how & 24)).filter(|ms| *ms != 0).map(moment);
    (item.expires, item.soft_expires, item.created) = (time(), time(), time());
    item.cost = Duration::from_millis(input.half().into());
    item.ring = if how & 32 == 0 { Ring::Small } else { Ring::Main };
    item.marks = how >> 6;
    item
}

fn written_and_read(mut input: Input<'_>) {
    let (place, change) = (input.half(), input.byte());
    let mut all = Vec::new();
    let mut writer = Writer::new(Vec::new(), &HEAD).expect("memory can be written");
    while !input.is_over() && all.len() < 20 {
        let item = item_of(&mut input);
        if let Some(name) = item.namespace.as_deref().filter(|name| !writer.has_namespace(name)) {
            writer.namespaces([Namespace::new(name, None)]).expect("memory can be written");
        }
        writer.item(&item).expect("memory can be written");
        all.push(item);
    }
    let (mut bytes, count, len) = writer.finish().expect("memory can be written");
    assert_eq!((count, len), (all.len() as u64, bytes.len() as u64));
    let found = read(&bytes).expect("a stream");
    assert!(found.is_whole() && found.items == all);
    let at = usize::from(place) * bytes.len() / (usize::from(u16::MAX) + 1);
    if let Some(found) = read(&bytes[..at]) {
        assert!(!found.is_whole() && all.starts_with(&found.items), "cut at {at}");
    }
    bytes[at] ^= change.max(1);
    if let Some(found) = read(&bytes) {
        assert!(!found.is_whole(), "changed at {at}");
        let mut rest = all.iter();
        assert!(found.items.iter().all(|item| rest.any(|of| of == item)), "changed at {at}");
    }
}

fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    match how & 3 {
        0 => _ = read(rest),
        1 => _ = read(&[&HEAD.bytes(), rest].concat()),
        2 => _ = read(&framed(Input(rest))),
        _ => written_and_read(Input(rest)),
    }
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
