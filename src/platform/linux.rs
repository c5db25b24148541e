//! What only Linux has.

use super::boot::unknown_boot;
use memmap2::MmapRaw;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use rustix::thread::{MembarrierCommand, futex, membarrier};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};
use std::time::Duration;

/// A path to an open file, which leads to it even if the file has lost its name.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    Some(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// The id of the boot: a random number that the kernel draws when the host starts.
pub(crate) fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match u128::from_str_radix(&text.trim().replace('-', ""), 16) {
        Ok(id) => [id as u64, (id >> 64) as u64],
        // There is no `/proc`, as in some chroots.
        Err(_) => unknown_boot(),
    }
}

/// How many milliseconds this process's monotonic clock is ahead of the host's: a container can have a time namespace
/// of its own. Without `/proc`, or on a kernel without such namespaces, this assumes the host's clock.
pub(crate) fn clock_ahead_ms() -> i64 {
    let namespace = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // `timens_offsets` shows the offsets for the process's children, which are its own unless it has called `unshare`.
    if namespace("time") != namespace("time_for_children") {
        return 0;
    }
    let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    text.lines().find_map(monotonic_offset_ms).unwrap_or(0)
}

/// The milliseconds in a line such as `monotonic  3600  500000000`.
fn monotonic_offset_ms(line: &str) -> Option<i64> {
    let mut fields = line.split_ascii_whitespace();
    if fields.next() != Some("monotonic") {
        return None;
    }
    let (seconds, nanoseconds): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(seconds * 1_000 + nanoseconds / 1_000_000)
}

/// Sets the file's length and reserves all its blocks, so that the disk cannot be full later.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        // The file system cannot reserve blocks.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file lies on a file system that a restart empties.
pub(crate) fn is_in_memory(file: &File) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|stat| matches!(stat.f_type as u32, TMPFS | RAMFS))
}

/// The kind of the file's file system, if mappings or locks on it are not coherent between its users.
pub(crate) fn network_filesystem(file: &File) -> Option<String> {
    const KINDS: [(u32, &str); 9] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9p"),
        (0x6a65_6a63, "virtiofs"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let magic = rustix::fs::fstatfs(file).ok()?.f_type as u32;
    KINDS.into_iter().find(|&(kind, _)| kind == magic).map(|(_, name)| name.to_owned())
}

/// Opens a file without a name, in the directory where it will get one. `None` if the file system does not support
/// that, or if the file could not get its name later: that takes `/proc`, which may be missing in a chroot.
pub(crate) fn nameless_file(directory: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => {
            let file = File::from(fd);
            let can_be_named = path_of(&file).is_some_and(|path| path.exists());
            Ok(can_be_named.then_some(file))
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes every page of a mapping present and writable; `false` if the system has no call for that.
pub(crate) fn prefault(map: &MmapRaw) -> io::Result<bool> {
    map.advise(memmap2::Advice::PopulateWrite).map(|()| true)
}

/// Whether a mapping can keep the lock of a file whose descriptor was closed.
pub(crate) const MAPPINGS_KEEP_LOCKS: bool = true;

/// Whether a mapping of this file keeps its lock: not on overlayfs, where the mapping belongs to the underlying file.
pub(crate) fn mappings_keep_locks(file: &File) -> bool {
    const OVERLAYFS: u32 = 0x794c_7630;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u32 != OVERLAYFS)
}

/// The offset of the first data of a file at or after `offset`; `None` if only holes follow.
pub(crate) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        // The file system does not report holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

/// Excludes a mapping from children forked from now on.
pub(crate) fn keep_from_children(map: &MmapRaw) -> io::Result<()> {
    map.advise(memmap2::Advice::DontFork)
}

/// The largest page size that Linux can be built for.
const MOST_PAGE: usize = 64 << 10;

/// A word on pages of its own.
#[repr(C, align(65536))]
struct Alone {
    word: AtomicU32,
    _rest: [u8; MOST_PAGE - size_of::<AtomicU32>()],
}

static PROCESS_WORD: Alone = Alone { word: AtomicU32::new(0), _rest: [0; MOST_PAGE - size_of::<AtomicU32>()] };

/// A word that is 0 when a process starts.
#[inline(always)]
pub(crate) fn process_word() -> &'static AtomicU32 {
    &PROCESS_WORD.word
}

/// Makes [`process_word`] 0 in each forked child, too, whatever call creates the child. Returns `false` if the kernel
/// cannot do that, as before version 4.14.
#[allow(unsafe_code, reason = "the advice changes what a child finds in memory")]
pub(crate) fn zero_process_word_in_children() -> bool {
    let at: *const Alone = &raw const PROCESS_WORD;
    // SAFETY: the pages are those of the static, which begins and ends at a page boundary and holds nothing but an
    // atomic word, whose every value is valid.
    unsafe { madvise(at.cast_mut().cast(), MOST_PAGE, Advice::LinuxWipeOnFork) }.is_ok()
}

/// Half of a barrier between two threads, for the thread that executes it often; the other executes [`heavy_barrier`].
/// This half only keeps the compiler from moving accesses across it.
#[inline(always)]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// Makes every thread of this process pass a memory barrier. Returns `false` if the kernel cannot do that, or does not
/// allow it.
pub(crate) fn heavy_barrier() -> bool {
    let all_pass = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
    all_pass() || (membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() && all_pass())
}

/// Sleeps until another thread wakes the sleepers of `half`, or `limit` has passed; returns immediately if `half` is no
/// longer `seen`. It may return early for no reason. This is a futex that processes share: without the PRIVATE flag the
/// kernel identifies it by the page of the file, and not by the address.
pub(crate) fn sleep_on(half: &AtomicU32, seen: u32, _is_same: impl Fn() -> bool, limit: Duration) {
    let limit = futex::Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    // A wake-up, another value, a signal, the limit: in each case the caller looks again.
    let _ = futex::wait(half, futex::Flags::empty(), seen, Some(&limit));
}

/// Wakes one thread, of any process, that sleeps on `half`.
pub(crate) fn wake_one(half: &AtomicU32) {
    wake(half, 1);
}

/// Wakes all threads, of any process, that sleep on `half`.
pub(crate) fn wake_all(half: &AtomicU32) {
    wake(half, i32::MAX as u32);
}

fn wake(half: &AtomicU32, most: u32) {
    // It fails only for an invalid address.
    let _ = futex::wake(half, futex::Flags::empty(), most);
}
