//! The map in the near file, which all processes of the host follow.
//!
//! It is a value in a namespace of its own, and that namespace's first word is its number. The number is raised after
//! the map is stored, so a process that reads a number finds that map or a later one. A process keeps its copy as long
//! as the number stays the same. Without the map of the current number a process uses no near value.
//!
//! The first number in a file is the host's time in microseconds. So a file that takes the place of another one has
//! higher numbers, and no process takes the old file's map for the new file's.

use super::map::{Map, Merged};
use crate::clock::HostClock;
use crate::error::{Error, Result};
use arc_swap::ArcSwap;
use kennel::{Cache, SetOptions, Stamp, Swap};
use std::sync::Arc;

const KEY: &str = "map";
/// The word of the namespace that holds the number.
const NUMBER: usize = 0;
/// How often a change is tried if other processes are faster.
const ATTEMPTS: usize = 64;

pub(crate) struct Atlas {
    cache: Cache,
    clock: HostClock,
    /// The last map that this process read or stored.
    known: ArcSwap<Map>,
}

impl Atlas {
    pub(crate) fn new(cache: Cache, clock: HostClock) -> Self {
        Self { cache, clock, known: ArcSwap::default() }
    }

    fn number(&self) -> u64 {
        self.cache.namespace_word(NUMBER).unwrap_or(0)
    }

    /// The number of the master of a slot, by the current map.
    #[inline]
    pub(crate) fn owner(&self, slot: u16) -> Option<usize> {
        let known = self.known.load();
        if known.number == self.number() && known.number != 0 {
            return known.owner(slot);
        }
        drop(known);
        self.current()?.owner(slot)
    }

    /// The current map; `None` if it is not known.
    pub(crate) fn current(&self) -> Option<Arc<Map>> {
        let number = self.number();
        let known = self.known.load_full();
        if number == 0 {
            return None;
        }
        if known.number == number {
            return Some(known);
        }
        let (map, _) = self.stored()?;
        let map = map.filter(|map| map.number >= number)?;
        // The process that stored it was killed before it raised the number, or is about to raise it.
        if map.number > number {
            self.cache.raise_namespace_word(NUMBER, map.number).ok()?;
        }
        let map = Arc::new(map);
        self.known.store(Arc::clone(&map));
        Some(map)
    }

    /// The current map, or the last one that this process knew: good enough to route a call, and not to trust a near
    /// value.
    pub(crate) fn last_known(&self) -> Arc<Map> {
        self.current().unwrap_or_else(|| self.known.load_full())
    }

    /// Whether the map of this number is the current one, and stored. This call counts as a use, so the map is not
    /// evicted.
    pub(crate) fn stands(&self, number: u64) -> bool {
        self.number() == number && self.cache.get(KEY).is_some()
    }

    /// Whether there has been a map.
    pub(crate) fn is_begun(&self) -> bool {
        self.number() != 0
    }

    /// The stored value: a map unless it is damaged.
    fn stored(&self) -> Option<(Option<Map>, Stamp)> {
        let item = self.cache.get_item(KEY)?;
        Some((std::str::from_utf8(&item.value).ok().and_then(Map::decode), item.stamp))
    }

    /// Changes the map. `flush` is called with what changes before any process can see it; `true`: all namespaces
    /// change, because the last map is lost.
    pub(crate) fn change(&self, change: impl Fn(&mut Map) -> Merged, flush: impl Fn(&Merged, bool)) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let number = self.number();
            let (found, stamp) = self.stored().map_or((None, None), |(map, stamp)| (map, Some(stamp)));
            let is_lost = number == 0 || found.as_ref().is_none_or(|map| map.number < number);
            let stored = found.as_ref().map_or(0, |map| map.number);
            // Without a number the map is of another boot: its times mean nothing here.
            let mut map = found.filter(|_| number != 0).unwrap_or_else(|| Map::clone(&self.known.load()));
            let merged = change(&mut map);
            if !merged.is_changed && !is_lost {
                if map.number > number {
                    self.cache.raise_namespace_word(NUMBER, map.number)?;
                }
                return Ok(());
            }
            // A damaged map may have the highest number, so that no number is left for another map.
            let first = if number == 0 { self.clock.now() } else { 0 };
            let next = map.number.max(stored).max(number).max(first).checked_add(1);
            map.number = next.ok_or_else(|| Error::Connection("no number is left for a map of slots".into()))?;
            flush(&merged, is_lost);
            // Of two callers that store a map of the same number, one finds out here, and tries again.
            if self.store(&map, stamp)? && self.cache.raise_namespace_word(NUMBER, map.number)? < map.number {
                return Ok(());
            }
        }
        Err(Error::Connection("the map of slots changes too fast".into()))
    }

    /// Stores a map in place of the one with this stamp; `false` if another caller was faster.
    fn store(&self, map: &Map, stamp: Option<Stamp>) -> Result<bool> {
        let (text, how) = (map.encode(), SetOptions::new());
        match stamp {
            Some(stamp) => Ok(matches!(self.cache.compare_and_swap(KEY, stamp, text, &how)?, Swap::Stored(_))),
            None => Ok(self.cache.add(KEY, text, &how)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::View;
    use super::*;
    use std::cell::RefCell;

    fn atlas(place: &tempfile::TempDir) -> Atlas {
        let file = kennel::Options::new().capacity(1 << 20).open_or_create(place.path().join("near")).unwrap();
        Atlas::new(file.namespace("map", &kennel::NamespaceOptions::new()).unwrap(), HostClock::new())
    }

    fn take(epoch: u64, asked: u64) -> impl Fn(&mut Map) -> Merged {
        move |map| {
            let text = format!("a h:1@2 myself,master - 0 0 {epoch} connected 0-9");
            map.merge(&View::parse(&text, "h:1", asked).unwrap().own)
        }
    }

    #[test]
    fn a_change_is_seen_by_all_and_flushes_before_it_is() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (one, other) = (atlas(&place), atlas(&place));
        assert!(one.current().is_none() && one.owner(5).is_none() && !one.is_begun());
        let flushes = RefCell::new(Vec::new());
        let flush = |merged: &Merged, all: bool| {
            flushes.borrow_mut().push((other.number(), merged.flushed.iter().copied().collect::<Vec<_>>(), all));
        };
        one.change(take(1, 1), flush).unwrap();
        assert_eq!((one.owner(5), other.owner(5), other.owner(10)), (Some(0), Some(0), None));
        let first = one.number();
        other.change(take(1, 2), flush).unwrap();
        one.change(take(2, 3), flush).unwrap();
        assert_eq!(*flushes.borrow(), [(0, vec![0], true), (first, vec![0], false)]);
        assert_eq!((other.current().unwrap().number, other.owner(5)), (first + 1, Some(0)));
    }

    #[test]
    fn a_map_that_was_lost_is_not_used_and_comes_again_with_everything_flushed() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (one, other) = (atlas(&place), atlas(&place));
        one.change(take(1, 1), |_, _| ()).unwrap();
        let first = one.number();
        assert!(one.owner(5).is_some());
        one.cache.delete(KEY).unwrap();
        assert!(one.owner(5).is_some(), "who has it goes on");
        assert_eq!(other.owner(5), None);
        let all = RefCell::new(false);
        one.change(take(1, 2), |_, is_all| *all.borrow_mut() = is_all).unwrap();
        assert!(*all.borrow() && other.owner(5).is_some());
        one.cache.set(KEY, "no map").unwrap();
        one.change(take(1, 3), |_, _| ()).unwrap();
        assert_eq!((one.current().unwrap().number, other.current().unwrap().number), (first + 2, first + 2));
        // A process ended between the store and the number.
        let mut next = Map::clone(&one.current().unwrap());
        next.number = first + 9;
        one.cache.set(KEY, next.encode()).unwrap();
        assert_eq!((other.current().unwrap().number, one.number()), (first + 2, first + 2), "the number stands");
        one.change(take(1, 4), |_, _| ()).unwrap();
        assert_eq!((other.current().unwrap().number, one.number()), (first + 9, first + 9));
    }

    /// A file that is taken over from another boot may keep the map, and its words are cleared.
    #[test]
    fn a_map_of_another_boot_is_not_believed() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (one, other) = (atlas(&place), atlas(&place));
        one.cache.set(KEY, "kennel-far-map-1 4\n0 a h:1 9 0 18446744073709551615 0-99\n").unwrap();
        assert!(one.current().is_none() && other.owner(5).is_none());
        let all = RefCell::new(false);
        one.change(take(1, 3), |_, is_all| *all.borrow_mut() = is_all).unwrap();
        assert!(*all.borrow());
        assert_eq!((other.owner(5), other.owner(50)), (Some(0), None));
        assert!(other.current().unwrap().number > 4);
    }

    /// A file that is removed and made again counts its maps anew.
    #[test]
    fn the_map_of_a_file_is_not_taken_for_that_of_its_successor() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let one = atlas(&place);
        one.change(take(1, 1), |_, _| ()).unwrap();
        assert_eq!(one.owner(5), Some(0));
        std::fs::remove_file(one.cache.path()).unwrap();
        let other = atlas(&place);
        let without = |map: &mut Map| {
            map.merge(&View::parse("a h:1@2 myself,master - 0 0 1 connected 0-4", "h:1", 2).unwrap().own)
        };
        other.change(without, |_, _| ()).unwrap();
        assert_eq!((one.owner(5), other.owner(5)), (Some(0), None), "one uses the removed file still");
        one.cache.notice_removal();
        assert_eq!((one.owner(4), one.owner(5)), (Some(0), None));
    }

    #[test]
    fn a_number_that_cannot_rise_changes_nothing_and_ends() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let one = atlas(&place);
        one.change(take(1, 1), |_, _| ()).unwrap();
        one.cache.set(KEY, format!("kennel-far-map-1 {}\n0 a h:1 1 0 1 0-9\n", u64::MAX)).unwrap();
        // A process that cannot tell the others about a change must not go on as if it had.
        assert!(one.change(take(2, 3), |_, _| ()).is_err() && one.change(take(2, 4), |_, _| ()).is_err());
        assert_eq!((atlas(&place).owner(5), one.number()), (Some(0), u64::MAX));
    }
}
