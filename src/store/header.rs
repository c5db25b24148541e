//! The words of the header and of stripes that the life of a cache file changes: where it lies, who replaced it, which
//! boot it is from. The floor above decides what they say; this file knows where they are.

use super::durable::Flush;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::{Geometry, Memory, Step};

/// A mapped file whose header is looked at, or changed under the lock of the data file.
pub(crate) struct HeaderWords<'a, M>(pub &'a M);

impl<M> Clone for HeaderWords<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for HeaderWords<'_, M> {}

/// Where a file lies, as it says itself.
#[derive(Clone, Copy)]
pub(crate) struct IdentityWords {
    pub file_id: [u64; 2],
    pub data_inode: u64,
    pub data_device: u64,
    pub lock_directory_inode: u64,
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
        }
    }

    /// Stores where the file lies last: until then it counts as a copy, and a death on the way leaves one.
    pub(crate) fn set_identity(self, identity: IdentityWords) {
        self.set(at!(file_id), identity.file_id[0]);
        self.set(at!(file_id) + 8, identity.file_id[1]);
        self.set(at!(lock_dir_inode), identity.lock_directory_inode);
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

    /// 0, or the mark of whoever replaced the file.
    pub(crate) fn replaced_mark(self) -> u64 {
        self.get(at!(replaced))
    }

    /// Says to all that have this file open that another took its place, or that it is gone: a number other than 0 that
    /// does not repeat. The caller holds the data lock, or the file has no name.
    pub(crate) fn set_replaced_mark(self, mark: u64) {
        self.set(at!(replaced), mark);
    }

    /// Whether the file says that a flush was its last act.
    pub(crate) fn was_flushed(self) -> bool {
        Flush::of(self.get(at!(flush))) == Flush::Clean
    }

    fn forget_flush(self) {
        let flush = self.0.word(at!(flush));
        flush.set(Step::FlushMark, Flush::Dirty.with(flush.get()));
    }

    /// Takes a file from its boot, and any flush from its past: until a reset is complete every opener begins it anew, and
    /// believes nothing. A copy is disowned before it gets an identity of its own.
    pub(crate) fn disown(self) {
        self.forget_flush();
        fence(Ordering::SeqCst);
        self.set_boot_id([0, 0]);
    }

    /// The end of a reset, which has flagged so many stripes. The boot is stored last: a reset that is killed is begun
    /// again by the next opener.
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

    /// What is not zero of a new stripe: its first stamp, and where its rings begin.
    pub(crate) fn start_stripe(self, geometry: &Geometry, stripe: u32, stamp: u64, small: u64, main: u64) {
        let stripe_at = geometry.stripe(stripe);
        self.set(stripe_at + at!(Stripe.stamp), stamp);
        self.set(stripe_at + at!(Stripe.small_tail), small);
        self.set(stripe_at + at!(Stripe.small_head), small);
        self.set(stripe_at + at!(Stripe.main_tail), main);
        self.set(stripe_at + at!(Stripe.main_head), main);
    }

    /// The inode of the lock file of each stripe's lock region; 0 where there is none.
    pub(crate) fn lock_inode(self, geometry: &Geometry, stripe: u32) -> u64 {
        self.get(geometry.stripe(stripe) + at!(Stripe.lock_inode))
    }

    /// Has each stripe name the lock file of its lock region. One lock file for all regions is named by each of them.
    pub(crate) fn set_lock_inodes(self, geometry: &Geometry, inodes: &[u64]) {
        for stripe in 0..geometry.shape.stripes {
            let region = geometry.lock_region(stripe) as usize;
            let inode = inodes.get(region).or(inodes.first()).copied().unwrap_or(0);
            self.set(geometry.stripe(stripe) + at!(Stripe.lock_inode), inode);
        }
    }

    /// Whether the last holder of a stripe's lock left nothing to repair.
    pub(crate) fn is_quiet(self, geometry: &Geometry, stripe: u32) -> bool {
        self.get(geometry.stripe(stripe) + at!(Stripe.intent)) & 0xff == 0
    }
}
