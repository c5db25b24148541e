//! The map: which master has which slots, and in which namespace of the near file its keys lie.

use super::view::{Said, View};
use crate::slots::{SLOTS, range};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many masters a map has room for. Keys of further masters are fetched at each read, by way of a redirect.
pub(crate) const MOST_MASTERS: usize = 250;
/// A master that a node does not see any more is forgotten if it said nothing for this long.
pub(crate) const FORGET_AFTER_US: u64 = 10_000_000;
const NOBODY: u8 = u8::MAX;
const HEAD: &str = "kennel-far-map-1";

/// A master, at the number of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Master {
    pub id: String,
    pub address: String,
    epoch: u64,
    migrating: u64,
    asked: u64,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// The number of this version, from 1.
    pub number: u64,
    masters: Vec<Option<Master>>,
    owners: Box<[u8; SLOTS]>,
}

/// What a merge changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    pub is_changed: bool,
    /// Namespaces in which nothing may be kept.
    pub flushed: BTreeSet<usize>,
    /// The flushed namespaces that belong to another master now.
    pub replaced: BTreeSet<usize>,
}

impl Default for Map {
    fn default() -> Self {
        Self { number: 0, masters: Vec::new(), owners: Box::new([NOBODY; SLOTS]) }
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.encode())
    }
}

impl Map {
    /// The number of the master of a slot.
    #[inline]
    pub(crate) fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then_some(usize::from(owner))
    }

    pub(crate) fn master(&self, number: usize) -> Option<&Master> {
        self.masters.get(number)?.as_ref()
    }

    /// All masters with their numbers.
    pub(crate) fn masters(&self) -> impl Iterator<Item = (usize, &Master)> {
        self.masters.iter().enumerate().filter_map(|(number, master)| Some((number, master.as_ref()?)))
    }

    pub(crate) fn number_of(&self, id: &str) -> Option<usize> {
        self.masters().find(|(_, master)| master.id == id).map(|(number, _)| number)
    }

    pub(crate) fn number_at(&self, address: &str) -> Option<usize> {
        self.masters().find(|(_, master)| master.address == address).map(|(number, _)| number)
    }

    /// How many slots a master has.
    pub(crate) fn count(&self, number: usize) -> usize {
        self.owners.iter().filter(|owner| usize::from(**owner) == number).count()
    }

    /// Merges what a node says about itself.
    pub(crate) fn merge(&mut self, said: &Said) -> Merged {
        let mut merged = Merged::default();
        if !said.is_master {
            if let Some(number) = self.number_of(&said.id).filter(|number| self.is_news(*number, said)) {
                self.remove(number, &mut merged);
            }
            return merged;
        }
        let Some(number) = self.number_of(&said.id).or_else(|| self.make_room(&mut merged)) else { return merged };
        let before = self.masters[number].as_ref();
        if before.is_some() && !self.is_news(number, said) {
            return merged;
        }
        let Said { id, address, epoch, migrating, asked, .. } = said;
        match before {
            None => {
                merged.is_changed = true;
                merged.flushed.insert(number);
                merged.replaced.insert(number);
            }
            Some(before) => {
                merged.is_changed = before.address != *address;
                if (before.epoch, before.migrating) != (*epoch, *migrating) {
                    merged.is_changed = true;
                    merged.flushed.insert(number);
                }
            }
        }
        let master =
            Master { id: id.clone(), address: address.clone(), epoch: *epoch, migrating: *migrating, asked: *asked };
        self.masters[number] = Some(master);
        self.take_slots(number, said, &mut merged);
        merged
    }

    fn is_news(&self, number: usize, said: &Said) -> bool {
        self.master(number).is_some_and(|known| known.asked < said.asked)
    }

    /// Gives a master the slots that it says it has, unless another master has them with an epoch that is not lower.
    /// Takes away the slots that it no longer has.
    fn take_slots(&mut self, number: usize, said: &Said, merged: &mut Merged) {
        for slot in 0..SLOTS as u16 {
            let (owner, has) = (usize::from(self.owners[usize::from(slot)]), said.slots.has(slot));
            if has == (owner == number) {
                continue;
            }
            // The epoch of another master that has the slot.
            let other = self.master(owner).filter(|_| has).map(|other| other.epoch);
            if other.is_some_and(|epoch| epoch >= said.epoch) {
                continue;
            }
            self.owners[usize::from(slot)] = if has { number as u8 } else { NOBODY };
            merged.is_changed = true;
            merged.flushed.insert(number);
            merged.flushed.extend(other.map(|_| owner));
        }
    }

    /// Removes the masters that a node does not see, or sees as lost, unless they are proved to be there, or said
    /// something new a moment ago: the node may not have heard of them yet.
    pub(crate) fn remove_lost(&mut self, view: &View, is_proved: impl Fn(usize) -> bool) -> Merged {
        let mut merged = Merged::default();
        let lost: Vec<usize> = self
            .masters()
            .filter(|(_, master)| master.id != view.own.id && !view.has(&master.id))
            .filter(|(number, master)| {
                master.asked.saturating_add(FORGET_AFTER_US) < view.own.asked && !is_proved(*number)
            })
            .map(|(number, _)| number)
            .collect();
        lost.into_iter().for_each(|number| self.remove(number, &mut merged));
        merged
    }

    fn remove(&mut self, number: usize, merged: &mut Merged) {
        self.masters[number] = None;
        self.owners.iter_mut().filter(|owner| usize::from(**owner) == number).for_each(|owner| *owner = NOBODY);
        merged.is_changed = true;
        merged.flushed.insert(number);
        merged.replaced.insert(number);
    }

    /// A number for another master: the first that is free, else that of a master without slots.
    fn make_room(&mut self, merged: &mut Merged) -> Option<usize> {
        if let Some(free) = self.masters.iter().position(Option::is_none) {
            return Some(free);
        }
        if self.masters.len() < MOST_MASTERS {
            self.masters.push(None);
            return Some(self.masters.len() - 1);
        }
        let empty = (0..self.masters.len()).find(|number| !self.owners.contains(&(*number as u8)))?;
        self.remove(empty, merged);
        Some(empty)
    }

    /// A text of one line for each master.
    pub(crate) fn encode(&self) -> String {
        let mut ranges = vec![String::new(); self.masters.len()];
        let mut first = 0;
        for slots in self.owners.chunk_by(|a, b| a == b) {
            let next = first + slots.len();
            if let Some(ranges) = ranges.get_mut(usize::from(slots[0])) {
                // Writing to a string does not fail.
                let _ = write!(ranges, " {first}-{}", next - 1);
            }
            first = next;
        }
        let mut text = format!("{HEAD} {}\n", self.number);
        for (number, Master { id, address, epoch, migrating, asked }) in self.masters() {
            let _ = writeln!(text, "{number} {id} {address} {epoch} {migrating} {asked}{}", ranges[number]);
        }
        text
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for any other text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut map = Self { number: lines.next()?.strip_prefix(HEAD)?.trim_start().parse().ok()?, ..Self::default() };
        for line in lines {
            let mut fields = line.split_ascii_whitespace();
            let number: usize = fields.next()?.parse().ok()?;
            let (id, address) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            let mut word = || fields.next()?.parse::<u64>().ok();
            let (epoch, migrating, asked) = (word()?, word()?, word()?);
            if number >= MOST_MASTERS || map.master(number).is_some() {
                return None;
            }
            map.masters.resize(map.masters.len().max(number + 1), None);
            map.masters[number] = Some(Master { id, address, epoch, migrating, asked });
            for text in fields {
                let (first, last) = range(text)?;
                map.owners[usize::from(first)..=usize::from(last)].fill(number as u8);
            }
        }
        Some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::SlotSet;

    fn said(id: &str, epoch: u64, asked: u64, ranges: &[&str]) -> Said {
        let mut slots = SlotSet::default();
        ranges.iter().for_each(|range| slots.add(range).unwrap());
        let address = format!("{id}:1");
        Said { id: id.into(), address, is_master: true, epoch, slots, migrating: 0, asked }
    }

    fn numbers(of: &BTreeSet<usize>) -> Vec<usize> {
        of.iter().copied().collect()
    }

    fn two() -> Map {
        let mut map = Map::default();
        assert!(map.merge(&said("a", 1, 10, &["0-99"])).is_changed);
        assert!(map.merge(&said("b", 2, 10, &["100-199"])).is_changed);
        map
    }

    #[test]
    fn a_slot_belongs_to_the_highest_epoch_that_says_so() {
        let mut map = two();
        assert_eq!((map.owner(5), map.owner(150), map.owner(200)), (Some(0), Some(1), None));
        assert_eq!(map.merge(&said("a", 1, 20, &["0-99"])), Merged::default(), "nothing is new");
        let taken = map.merge(&said("b", 3, 20, &["5-5", "100-199"]));
        assert_eq!((map.owner(5), taken.is_changed, numbers(&taken.flushed)), (Some(1), true, vec![0, 1]));
        assert!(taken.replaced.is_empty());
        assert_eq!(map.merge(&said("a", 1, 30, &["0-99"])), Merged::default(), "an older epoch takes nothing back");
        assert_eq!(map.owner(5), Some(1));
        let back = map.merge(&said("a", 4, 40, &["0-99"]));
        assert_eq!((map.owner(5), numbers(&back.flushed)), (Some(0), vec![0, 1]));
        assert_eq!(map.merge(&said("b", 3, 15, &["5-5"])), Merged::default(), "what was said before means nothing");
    }

    #[test]
    fn a_namespace_that_loses_slots_is_flushed_as_is_one_whose_master_had_another_epoch() {
        let mut map = two();
        let lost = map.merge(&said("a", 1, 20, &["0-98"]));
        assert_eq!((numbers(&lost.flushed), map.owner(99)), (vec![0], None));
        // Forced away and back between two questions.
        let again = map.merge(&said("a", 7, 30, &["0-98"]));
        assert_eq!((again.is_changed, numbers(&again.flushed)), (true, vec![0]));
        let leaving = map.merge(&Said { migrating: 5, ..said("a", 7, 40, &["0-98"]) });
        assert_eq!(numbers(&leaving.flushed), [0]);
        let moved = map.merge(&Said { migrating: 5, address: "c:2".into(), ..said("a", 7, 50, &["0-98"]) });
        assert!(moved.is_changed && moved.flushed.is_empty());
    }

    #[test]
    fn masters_come_and_go_and_their_numbers_are_used_again() {
        let mut map = two();
        let gone = map.merge(&Said { is_master: false, ..said("a", 5, 20, &[]) });
        assert_eq!((map.owner(5), numbers(&gone.replaced)), (None, vec![0]));
        let new = map.merge(&said("c", 5, 30, &["0-99"]));
        assert_eq!((map.owner(5), map.number_of("c"), numbers(&new.replaced)), (Some(0), Some(0), vec![0]));
        let text = "b b:1@2 myself,master - 0 0 2 connected\nc c:1@2 master,fail - 0 0 5 connected";
        let soon = View::parse(text, "b:1", 40).unwrap();
        assert_eq!(map.remove_lost(&soon, |_| false), Merged::default(), "it said something a moment ago");
        let view = View::parse(text, "b:1", 40 + FORGET_AFTER_US).unwrap();
        assert_eq!(map.clone().remove_lost(&view, |number| number == 0), Merged::default(), "it is proved");
        assert_eq!(numbers(&map.remove_lost(&view, |_| false).replaced), [0]);
        assert_eq!(map.owner(5), None);
    }

    #[test]
    fn a_map_has_room_for_so_many_masters_with_slots() {
        let mut map = Map::default();
        for i in 0..MOST_MASTERS {
            map.merge(&said(&format!("m{i}"), i as u64 + 1, 1, &[&format!("{i}")]));
        }
        assert_eq!(map.merge(&said("more", 999, 1, &["300"])), Merged::default());
        assert_eq!((map.owner(300), map.number_of("more")), (None, None));
        map.merge(&said("m7", 8, 2, &[]));
        map.merge(&said("more", 999, 2, &["300"]));
        assert_eq!((map.owner(300), map.number_of("m7")), (Some(7), None));
    }

    #[test]
    fn a_map_is_read_as_it_was_written_and_nothing_else_is() {
        let mut map = two();
        map.number = 17;
        map.merge(&Said { migrating: 99, ..said("c", 9, 11, &["300", "400-16383"]) });
        let text = map.encode();
        assert_eq!(Map::decode(&text), Some(map));
        for bad in ["", "x", "kennel-far-map-1 x\n", "kennel-far-map-1 1\n250 a a:1 1 1 1\n"] {
            assert_eq!(Map::decode(bad), None, "{bad}");
        }
        assert_eq!(Map::decode(&text.replace("\n1 ", "\n0 ")), None, "a number twice");
        assert_eq!(Map::decode(&text.replace("16383", "16384")), None);
        for len in 0..text.len() {
            drop(Map::decode(&text[..len]));
        }
    }
}
