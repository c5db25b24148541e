//! Models of the phases of the flush mark, beside a device that keeps any subset of pages.
//!
//! The model's device has three pages: the header, and two of data, which are whole while they are equal. It writes a
//! page back at any time, and a sync writes back every page in its range. Power may fail after any of these steps: then
//! a header that says CLEAN must stand beside whole data.

use super::{Arc, AtomicU64, Heap, Memory, ModelLock, Ordering, Row, Shape, Step, Store, checker, thread};
use crate::shm::Geometry;
use crate::shm::layout::{HEADER_LEN, at};
use crate::store::durable::Flush;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

const PAGES: usize = 3;
const MARK: usize = 0;

/// The mark in memory, which the engine uses, pages of data beside it, and the contents of the device.
///
/// Data and device lie outside the memory that loom models: a device sees one and the same memory, while loom does not
/// order an exchange among plain stores. Each access to them exchanges `moments`, so that loom tries every order.
struct Disk {
    heap: Heap,
    moments: AtomicU64,
    pages: Mutex<Pages>,
}

#[derive(Clone, Copy)]
struct Pages {
    memory: [u64; PAGES],
    device: [u64; PAGES],
}

impl Disk {
    /// Precedes each access to data or device. No other thread runs between the two.
    fn moment(&self) {
        self.moments.fetch_add(1, Ordering::AcqRel);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }

    fn write_back(&self, page: usize) {
        // An exchange that changes nothing, because a load could return an older mark.
        let mark = (page == MARK).then(|| self.word(at!(flush)).fetch_add(Step::Header, 0));
        let data = || {
            self.moment();
            self.pages().memory[page]
        };
        let word = mark.unwrap_or_else(data);
        self.pages().device[page] = word;
    }

    /// Checks what a loss of power would leave at this moment, and returns whether the file would be trusted.
    fn check(&self) -> bool {
        let [mark, first, second] = self.pages().device;
        let is_trusted = Flush::of(mark) == Flush::Clean;
        assert!(!is_trusted || first == second, "mark {mark:#x} says CLEAN other torn data: {first} and {second}");
        is_trusted
    }
}

impl Memory for Disk {
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        self.heap.row(offset, words)
    }

    fn sync(&self, _: u64, len: u64) -> std::io::Result<()> {
        let pages = if len == HEADER_LEN { MARK..1 } else { MARK..PAGES };
        pages.for_each(|page| self.write_back(page));
        Ok(())
    }
}

struct File {
    store: Store<Disk>,
    lock: ModelLock,
}

impl File {
    /// A file with this mark in memory and on the device.
    fn new(mark: u64) -> Self {
        let shape = Shape { capacity: 2048, mean_item: 2048, ..Shape::SMALL };
        let pages = Pages { memory: [mark, 0, 0], device: [mark, 0, 0] };
        let heap = Heap::of_parts(&[(at!(boot_id), 64)]);
        let mem = Disk { heap, moments: AtomicU64::new(0), pages: Mutex::new(pages) };
        mem.word(at!(flush)).set(Step::Header, mark);
        Self { store: Store { mem, geometry: Geometry::new(shape).unwrap(), seed: 0 }, lock: ModelLock::new() }
    }

    /// Each write stores the next number to both pages of data.
    fn write(&self) {
        let _lock = self.lock.lock();
        self.store.mark_dirty().unwrap();
        for page in [1, 2] {
            self.store.mem.moment();
            self.store.mem.pages().memory[page] += 1;
        }
    }

    fn flush(&self) -> bool {
        let pass = || {
            drop(self.lock.lock());
            true
        };
        self.store.flush(pass).unwrap()
    }
}

/// Runs two flushes, a writer and the device, starting from a mark. Both outcomes must occur: that the file is trusted
/// after a loss of power, and that it is not.
fn flushes_beside_a_writer(mark: u64, pages: &'static [usize]) {
    let seen = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let in_model = seen.clone();
    let mut checker = checker();
    checker.preemption_bound = Some(2);
    checker.check(move || {
        let file = Arc::new(File::new(mark));
        let flush = |file: &Arc<File>| {
            let file = file.clone();
            thread::spawn(move || file.flush())
        };
        let flushing = [flush(&file), flush(&file)];
        let (other, seen) = (file.clone(), in_model.clone());
        let device = thread::spawn(move || {
            for &page in pages {
                other.store.mem.write_back(page);
                seen.lock().unwrap().insert(other.store.mem.check());
            }
        });
        file.write();
        flushing.into_iter().for_each(|flush| _ = flush.join().unwrap());
        device.join().unwrap();
        file.store.mem.check();
    });
    assert_eq!(seen.lock().unwrap().len(), 2, "the device was never trusted, or always");
}

#[test]
fn loom_two_flushes_of_what_was_flushed_beside_a_writer_leave_nothing_torn() {
    flushes_beside_a_writer(Flush::Clean.with(8), &[MARK, 1]);
}

#[test]
fn loom_two_flushes_of_what_was_written_beside_a_writer_leave_nothing_torn() {
    flushes_beside_a_writer(Flush::Dirty.with(8), &[1, MARK]);
}

#[test]
fn loom_a_flush_beside_two_writers_leaves_nothing_torn() {
    for mark in [Flush::Clean, Flush::Dirtying] {
        let mut checker = checker();
        checker.preemption_bound = Some(2);
        checker.check(move || {
            let file = Arc::new(File::new(mark.with(8)));
            let write = || {
                let file = file.clone();
                thread::spawn(move || file.write())
            };
            let writing = [write(), write()];
            let other = file.clone();
            let device = thread::spawn(move || {
                for page in [MARK, 1] {
                    other.store.mem.write_back(page);
                    other.store.mem.check();
                }
            });
            file.flush();
            writing.into_iter().for_each(|write| write.join().unwrap());
            device.join().unwrap();
            file.store.mem.check();
        });
    }
}

#[test]
fn loom_two_flushes_with_nobody_who_writes_both_hold() {
    for mark in [Flush::Dirty, Flush::Flushing, Flush::Clean, Flush::Dirtying] {
        checker().check(move || {
            let file = Arc::new(File::new(mark.with(8)));
            let other = file.clone();
            let other = thread::spawn(move || other.flush());
            assert!(file.flush() && other.join().unwrap());
            assert!(file.store.mem.check(), "what was flushed is trusted");
        });
    }
}
