//! Writes of many keys. While one key is written, the memory of the next keys is fetched.
//!
//! If a lock is a word, a batch is sixteen keys in the caller's order, and each key is written under its own hold of a
//! lock. If a lock takes system calls, the keys are grouped by stripe, and up to 64 keys are written under one hold of
//! the lock.

use super::cache::Cache;
use super::namespace::Namespace;
use super::stripe_lock::Patience;
use super::waiting::{Pause, Step};
use super::writer::{Writer, namespace_of};
use crate::error::{Error, Result, WHOLE_FILE};
use crate::file::AttachedFile;
use crate::shm::Memory;
use crate::shm::mapping::Mapping;
use crate::store::read::SeenBucket;
use crate::store::stripe_guard::StripeGuard;

/// How many keys have their cache lines prefetched together.
const BATCH: usize = 16;
/// How many items are written under one hold of a stripe's lock.
const MOST_PER_LOCK: usize = 64;
/// The lower bits of the number that orders items by stripe. They hold the item's place in the list.
const PLACE: u64 = (1 << 52) - 1;

/// One call, and how it writes an item. Only `each` runs under a lock of this file; the other functions may run the
/// caller's code.
struct WriteMulti<'c, K, O, P, E> {
    cache: &'c Cache,
    namespace: Option<&'c Namespace>,
    key_of: K,
    one: O,
    prepare: P,
    each: E,
    locks: Patience,
}

impl Cache {
    /// Writes many items, in one of two ways. Either it writes them in their order, and `one` writes each item under a
    /// lock that it takes itself. Or it groups them by stripe: before the first lock is taken, `prepare` makes what
    /// each item needs, and `each` then writes the item to its locked stripe. The handle's time for waiting covers all
    /// locks together.
    pub(super) fn write_multi<'i, I, D, R>(
        &self,
        namespace: Option<&Namespace>,
        items: &'i [I],
        key_of: impl Fn(&'i I) -> &'i [u8],
        one: impl Fn(&Writer<'_, 'i>, &SeenBucket<'_>, &'i I, &mut Patience) -> Result<R>,
        prepare: impl Fn(&Writer<'_, 'i>, &'i I) -> Result<D>,
        each: impl Fn(&Writer<'_, 'i>, &mut StripeGuard<'_, Mapping>, &D) -> R,
    ) -> Vec<Result<R>> {
        let locks = Patience::of_thread(self.lock_wait);
        let mut call = WriteMulti { cache: self, namespace, key_of, one, prepare, each, locks };
        let (mut left, mut results) = (items, Vec::with_capacity(items.len()));
        while let Some((_, others)) = left.split_first() {
            left = match self.current() {
                // If the file cannot be used, the next item tries again.
                Err(error) => {
                    results.push(Err(error));
                    others
                }
                Ok(file) if file.settings.locks.are_words() => {
                    let (batch, rest) = left.split_at(left.len().min(BATCH));
                    let before = results.len();
                    call.one_by_one(&file, batch, &mut results);
                    drop(file);
                    match left.split_at(results.len() - before) {
                        (written, _) if written.len() == batch.len() => rest,
                        // The file was closed: the rest of the batch goes to its successor.
                        (_, unwritten) => call.pause().map_or_else(
                            |error| {
                                results.push(Err(error));
                                &unwritten[1..]
                            },
                            |()| unwritten,
                        ),
                    }
                }
                Ok(file) => {
                    let mut of_items: Vec<_> = left.iter().map(|_| None).collect();
                    call.by_stripe(&file, left, &mut of_items);
                    drop(file);
                    call.in_successor(left, &mut of_items);
                    results.extend(of_items.into_iter().flatten());
                    &[]
                }
            };
        }
        results
    }
}

impl<K, O, P, E> WriteMulti<'_, K, O, P, E> {
    /// Waits a little for a closed file to open, or to be replaced by its successor.
    fn pause(&mut self) -> Result<()> {
        match self.locks.retry_if_closed::<()>(Err(Error::Busy { stripe: WHOLE_FILE, waited: self.cache.lock_wait }))? {
            Step::Wait(Pause::Time(time)) => std::thread::sleep(time),
            Step::Wait(Pause::Claim { .. }) | Step::Done(()) => {}
        }
        Ok(())
    }

    /// Writes the items that have no result yet because the file was closed, until each item has a result.
    fn in_successor<'i, I, D, R>(&mut self, items: &'i [I], results: &mut [Option<Result<R>>])
    where
        K: Fn(&'i I) -> &'i [u8],
        P: Fn(&Writer<'_, 'i>, &'i I) -> Result<D>,
        E: Fn(&Writer<'_, 'i>, &mut StripeGuard<'_, Mapping>, &D) -> R,
    {
        while let Some(first) = results.iter().position(Option::is_none) {
            let cache = self.cache;
            match self.pause().and_then(|()| cache.current()) {
                Ok(file) => self.by_stripe(&file, items, results),
                Err(error) => results[first] = Some(Err(error)),
            }
        }
    }
}

impl<K, O, P, E> WriteMulti<'_, K, O, P, E> {
    /// Writes up to [`BATCH`] items in their order. Stops at the first item that finds the file closed.
    fn one_by_one<'f, 'i, I, R>(&mut self, opened: &'f AttachedFile, items: &'i [I], results: &mut Vec<Result<R>>)
    where
        K: Fn(&'i I) -> &'i [u8],
        O: Fn(&Writer<'f, 'i>, &SeenBucket<'f>, &'i I, &mut Patience) -> Result<R>,
    {
        let (store, lock_wait) = (&opened.store, self.cache.lock_wait);
        let mut writers = [const { None }; BATCH];
        let mut errors = Vec::new();
        for (item, writer) in items.iter().zip(&mut writers) {
            let key = (self.key_of)(item);
            match namespace_of(opened, self.namespace, key, lock_wait) {
                Ok(place) => {
                    let writer = writer.insert(Writer::at(opened, place, key, lock_wait));
                    store.mem.prefetch(writer.location.bucket_at);
                }
                Err(error) => errors.push(error),
            }
        }
        let mut looks = [const { None }; BATCH];
        for (writer, seen) in writers.iter().zip(&mut looks) {
            *seen = writer
                .as_ref()
                .map(|writer: &Writer<'f, 'i>| store.see_record(store.bucket_view_at(writer.location, &writer.key)));
        }
        let mut errors = errors.into_iter();
        for (item, (writer, seen)) in items.iter().zip(writers.iter().zip(&looks)) {
            let written = match (writer, seen) {
                (Some(writer), Some(seen)) => Some((self.one)(writer, seen, item, &mut self.locks)),
                _ => errors.next().map(Err),
            };
            if matches!(&written, Some(Err(error)) if error.says_closed()) {
                return;
            }
            results.extend(written);
        }
    }

    /// Writes the items that have no result yet, grouped by stripe. Items that find the file closed get no result.
    fn by_stripe<'f, 'i, I, D, R>(
        &mut self,
        opened: &'f AttachedFile,
        items: &'i [I],
        results: &mut [Option<Result<R>>],
    ) where
        K: Fn(&'i I) -> &'i [u8],
        P: Fn(&Writer<'f, 'i>, &'i I) -> Result<D>,
        E: Fn(&Writer<'f, 'i>, &mut StripeGuard<'f, Mapping>, &D) -> R,
    {
        let (mut prepared, mut order) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for (place, item) in items.iter().enumerate() {
            if results[place].is_some() {
                prepared.push(None);
                continue;
            }
            let key = (self.key_of)(item);
            let of_item = Writer::new(opened, self.namespace, key, self.cache.lock_wait).and_then(|writer| {
                let draft = (self.prepare)(&writer, item)?;
                Ok((writer, draft))
            });
            results[place] = match of_item {
                Ok((writer, draft)) => {
                    // No slice has more items than a place has values, and no file has more stripes than the other bits
                    // can hold.
                    order.push(u64::from(writer.stripe()) << PLACE.count_ones() | place as u64);
                    prepared.push(Some((writer, draft)));
                    None
                }
                Err(error) if error.says_closed() => return,
                Err(error) => {
                    prepared.push(None);
                    Some(Err(error))
                }
            };
        }
        order.sort_unstable();
        let mut order = &order[..];
        while !order.is_empty() {
            let (window, rest) = order.split_at(window_of(order));
            let place_of = |number: &u64| (number & PLACE) as usize;
            prefetch(opened, || window.iter().filter_map(|number| Some(&prepared[place_of(number)].as_ref()?.0)));
            for group in window.chunk_by(|a, b| stripe_of(*a) == stripe_of(*b)) {
                // After a failure to lock, the next item tries again.
                let mut locked = None;
                for place in group.iter().map(place_of) {
                    let Some((writer, draft)) = &prepared[place] else { continue };
                    let guard = match &mut locked {
                        Some(guard) => Ok(guard),
                        None => self.locks.lock_stripe(opened, writer.stripe()).map(|guard| locked.insert(guard)),
                    };
                    results[place] = match guard {
                        Err(error) if error.says_closed() => return,
                        guard => Some(guard.map(|guard| (self.each)(writer, guard, draft))),
                    };
                }
            }
            order = rest;
        }
    }
}

/// Prefetches the memory of the keys that are written next.
fn prefetch<'w, 'f: 'w, 'i: 'w, W: Iterator<Item = &'w Writer<'f, 'i>>>(
    opened: &AttachedFile,
    writers: impl Fn() -> W,
) {
    let store = &opened.store;
    writers().for_each(|writer| store.mem.prefetch(writer.location.bucket_at));
    writers().for_each(|writer| store.prefetch_record(&store.bucket_view_at(writer.location, &writer.key)));
}

fn stripe_of(number: u64) -> u64 {
    number >> PLACE.count_ones()
}

/// How many of these ordered items are written next: all items of the next few stripes, or a part of the items of a
/// stripe that has more than one hold of its lock may serve.
fn window_of(order: &[u64]) -> usize {
    let most = order.len().min(MOST_PER_LOCK);
    let Some(next) = order.get(most) else { return most };
    let whole = order[..most].iter().take_while(|&&number| stripe_of(number) != stripe_of(*next)).count();
    if whole == 0 { most } else { whole }
}
