//! What nodes of a cluster answer to `CLUSTER NODES`, and the map in the near file which all processes of a host go by.
//!
//! Input: parts with a zero byte between them. The first is the text of a map, the others are answers of nodes, each six
//! seconds later than the one before.
//!
//! Asserted: no panic; a map is read as it was written; each slot belongs to a master of the map; each namespace that gets
//! or loses a slot, or whose master is another one or has another epoch, is flushed, and then the map counts as changed.
//!
//! Found: a sum that overflowed with the time of a damaged map. Planted and found: a namespace that loses a slot to another
//! master, and is not flushed.
#![no_main]

#[allow(dead_code, reason = "the crate uses the rest")]
#[path = "../../crates/far/src/cluster/map.rs"]
mod map;
#[allow(dead_code, reason = "the crate uses the rest")]
#[path = "../../crates/far/src/slots.rs"]
mod slots;
#[allow(dead_code, reason = "the crate uses the rest")]
#[path = "../../crates/far/src/cluster/view.rs"]
mod view;

use kennel_fuzz::limits::in_time;
use libfuzzer_sys::fuzz_target;
use map::{MOST_MASTERS, Map, Merged};
use slots::SLOTS;
use view::View;

/// More answers than this add time, and nothing new.
const MOST_ANSWERS: usize = 6;
const PAUSE_US: u64 = 6_000_000;

/// The number, id, address, epoch and moved slots of each master, without the time at which it was asked.
fn masters(map: &Map) -> Vec<[String; 5]> {
    let text = map.encode();
    let fields = |line: &str| std::array::from_fn(|i| line.split(' ').nth(i).unwrap_or_default().to_owned());
    text.lines().skip(1).map(fields).collect()
}

fn check(map: &Map) {
    let text = map.encode();
    let read = Map::decode(&text).expect("a map is read as it was written");
    // The text has each slot with its master.
    assert_eq!(read.encode(), text);
    let mut is_master = [false; 256];
    map.masters().for_each(|(number, _)| is_master[number] = true);
    let lost = (0..SLOTS as u16).find(|slot| map.owner(*slot).is_some_and(|owner| !is_master[owner]));
    assert_eq!(lost, None, "a slot that belongs to nobody: {text}");
    assert!(is_master[MOST_MASTERS..].iter().all(|is_master| !is_master));
}

fn check_change(before: &Map, after: &Map, merged: &Merged) {
    for slot in 0..SLOTS as u16 {
        let (owner, next) = (before.owner(slot), after.owner(slot));
        if owner != next {
            assert!(merged.is_changed, "slot {slot} changed hands in silence");
            assert!(owner.into_iter().chain(next).all(|number| merged.flushed.contains(&number)), "slot {slot}");
        }
    }
    let (before, after) = (masters(before), masters(after));
    for master in before.iter().filter(|master| !after.contains(master)).chain(after.iter()) {
        let [number, id, _, epoch, migrating] = master;
        let same = |known: &&[String; 5]| known[0] == *number;
        let (known, next) = (before.iter().find(same), after.iter().find(same));
        assert!(known == next || merged.is_changed, "{known:?} became {next:?} in silence");
        let number = number.parse().unwrap();
        let is_same =
            |known: Option<&[String; 5]>, i: usize, text: &String| known.is_some_and(|known| known[i] == *text);
        let stays = |i, text| is_same(known, i, text) && is_same(next, i, text);
        assert!(stays(1, id) || merged.replaced.contains(&number), "{known:?} became {next:?}");
        assert!(stays(3, epoch) && stays(4, migrating) || merged.flushed.contains(&number), "{known:?}: {next:?}");
    }
}

fn check_view(view: &View) {
    assert!(view.own.slots.len() <= SLOTS);
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_ascii_whitespace());
    assert!(is_word(&view.own.id) && view.masters.iter().all(|other| is_word(&other.id)));
    for other in &view.masters {
        let port = other.address.rsplit_once(':').expect("a place has a port").1;
        assert!(is_word(&other.address) && port.parse::<u16>().is_ok(), "{}", other.address);
    }
}

fn run(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let first = parts.next().and_then(|text| Map::decode(&text));
    first.iter().for_each(check);
    let mut map = first.unwrap_or_default();
    for (i, text) in parts.take(MOST_ANSWERS).enumerate() {
        let Some(view) = View::parse(&text, &format!("h:{i}"), (i as u64 + 1) * PAUSE_US) else { continue };
        check_view(&view);
        let before = map.clone();
        let mut merged = map.merge(&view.own);
        let lost = map.remove_lost(&view, |number| number % 2 == 0);
        merged.is_changed |= lost.is_changed;
        merged.flushed.extend(lost.flushed);
        merged.replaced.extend(lost.replaced);
        check_change(&before, &map, &merged);
    }
    check(&map);
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
