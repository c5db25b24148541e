//! Access to the words of the header and of stripes that change in the life of a cache file: its identity, its
//! replacement, its boot. The floor above decides their values; this file knows their offsets.

use super::durable::{Flush, exchange_closed, is_closed};
use super::intent::Intent;
use crate::clock::LAST_TIME;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::{STATE_REPLACED, at};
use crate::shm::{Geometry, Memory, Step};

/// A mapped file whose header is read, or changed under the opening lock.
pub(crate) struct HeaderWords<'a, M>(pub &'a M);

impl<M> Clone for HeaderWords<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for HeaderWords<'_, M> {}

/// The identity and the place of a file, as its header records them.
#[derive(Clone, Copy)]
pub(crate) struct IdentityWords {
    pub file_id: [u64; 2],
    pub data_inode: u64,
    pub data_device: u64,
    pub lock_directory_inode: u64,
    pub lineage: u64,
}

impl<M: Memory> HeaderWords<'_, M> {
    fn get(self, at: u64) -> u64 {
        self.0.word(at).get()
    }

    fn set(self, at: u64, word: u64) {
        self.0.word(at).set(Step::Header, word);
    }

    pub(crate) fn identity(self) -> IdentityWords {
        IdentityWords {
            file_id: [self.get(at!(file_id)), self.get(at!(file_id) + 8)],
            data_inode: self.get(at!(data_inode)),
            data_device: self.get(at!(data_device)),
            lock_directory_inode: self.get(at!(lock_dir_inode)),
            lineage: self.get(at!(lineage)),
        }
    }

    /// Stores the inode of the data file last: until then every opener takes the file for a copy, so a death in between
    /// leaves a copy.
    pub(crate) fn set_identity(self, identity: IdentityWords) {
        self.set(at!(file_id), identity.file_id[0]);
        self.set(at!(file_id) + 8, identity.file_id[1]);
        self.set(at!(lock_dir_inode), identity.lock_directory_inode);
        self.set(at!(lineage), identity.lineage);
        self.set(at!(data_device), identity.data_device);
        self.set(at!(data_inode), identity.data_inode);
    }

    /// The boot that the state of the file belongs to.
    pub(crate) fn boot_id(self) -> [u64; 2] {
        [self.get(at!(boot_id)), self.get(at!(boot_id) + 8)]
    }

    fn set_boot_id(self, id: [u64; 2]) {
        self.set(at!(boot_id), id[0]);
        self.0.word(at!(boot_id) + 8).store(Step::Header, id[1], Ordering::Release);
    }

    /// When the file was created, in milliseconds since 1970.
    pub(crate) fn created_ms(self) -> u64 {
        self.get(at!(created_ms)).min(LAST_TIME)
    }

    /// 0, or the mark that says that the file was replaced or destroyed.
    #[inline(always)]
    pub(crate) fn replaced_mark(self) -> u64 {
        self.0.state().get(STATE_REPLACED)
    }

    /// Tells all processes that have this file open that it was replaced or destroyed. The mark is a number other than
    /// 0 that does not repeat. The caller holds the opening lock, or the file has no name.
    pub(crate) fn set_replaced_mark(self, mark: u64) {
        self.set(at!(replaced), mark);
    }

    /// The name of the member that resizes this file, or of the last member that began to; 0 if there is none.
    pub(crate) fn resizer(self) -> u64 {
        self.get(at!(resizer))
    }

    /// Stores the name of the member that resizes the file. The caller holds the opening lock.
    pub(crate) fn set_resizer(self, member: u64) {
        self.0.word(at!(resizer)).set(Step::Resizer, member);
    }

    /// Whether the flush mark says that nothing was written after the last flush.
    pub(crate) fn was_flushed(self) -> bool {
        Flush::of(self.get(at!(flush))) == Flush::Clean
    }

    /// Marks a file that no other process knows, and that is synced to the device, as flushed.
    pub(crate) fn set_flushed(self) {
        let flush = self.0.word(at!(flush));
        flush.set(Step::FlushMark, Flush::Clean.with(flush.get()));
    }

    /// Whether writers must wait: see [`Store::close`](super::table::Store::close).
    pub(crate) fn is_closed(self) -> bool {
        is_closed(self.0.word(at!(flush)).load(Ordering::Acquire))
    }

    /// Opens a closed file to writers again; does nothing to an open one. The caller holds the opening lock.
    pub(crate) fn reopen(self) -> std::io::Result<()> {
        if self.is_closed() { exchange_closed(self.0, false) } else { Ok(()) }
    }

    fn forget_flush(self) {
        let flush = self.0.word(at!(flush));
        flush.set(Step::FlushMark, Flush::Dirty.with(flush.get()));
    }

    /// Clears the boot id and the flush mark: until a reset is complete, every opener starts it again and trusts
    /// nothing. A copy is disowned before it gets an identity of its own.
    pub(crate) fn disown(self) {
        self.forget_flush();
        fence(Ordering::SeqCst);
        self.set_boot_id([0, 0]);
    }

    /// Ends a reset that flagged `flagged` stripes. The boot id is stored last, so that the next opener repeats a reset
    /// that was killed.
    pub(crate) fn end_reset(self, flagged: u64, was_flushed: bool, boot_id: [u64; 2]) {
        if !was_flushed {
            self.forget_flush();
        }
        self.0.word(at!(unverified)).set(Step::VerifyMe, flagged);
        self.set_replaced_mark(0);
        self.0.word(at!(resets)).bump(Step::Header, 1);
        fence(Ordering::SeqCst);
        self.set_boot_id(boot_id);
    }

    /// Stores the words of a new stripe that are not zero: its first stamp and the start of its rings.
    pub(crate) fn start_stripe(self, geometry: &Geometry, stripe: u32, stamp: u64, small: u64, main: u64) {
        let stripe_at = geometry.stripe(stripe);
        self.set(stripe_at + at!(Stripe.stamp), stamp);
        self.set(stripe_at + at!(Stripe.small_tail), small);
        self.set(stripe_at + at!(Stripe.small_head), small);
        self.set(stripe_at + at!(Stripe.main_tail), main);
        self.set(stripe_at + at!(Stripe.main_head), main);
    }

    /// The inode of the lock file of a stripe's lock region; 0 if there is none.
    pub(crate) fn lock_inode(self, geometry: &Geometry, stripe: u32) -> u64 {
        self.get(geometry.stripe(stripe) + at!(Stripe.lock_inode))
    }

    /// Stores in each stripe the inode of its lock region's lock file. If one lock file serves all regions, every
    /// stripe names it.
    pub(crate) fn set_lock_inodes(self, geometry: &Geometry, inodes: &[u64]) {
        for stripe in 0..geometry.shape.stripes {
            let region = geometry.lock_region(stripe) as usize;
            let inode = inodes.get(region).or(inodes.first()).copied().unwrap_or(0);
            self.set(geometry.stripe(stripe) + at!(Stripe.lock_inode), inode);
        }
    }

    /// Whether the last holder of a stripe's lock left nothing to repair.
    pub(crate) fn is_quiet(self, geometry: &Geometry, stripe: u32) -> bool {
        !Intent::is_in_flight(self.get(geometry.stripe(stripe) + at!(Stripe.intent)))
    }
}
