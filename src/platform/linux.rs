//! What only Linux does.

use super::super::unread_boot;
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

/// A path that leads to the very file that is open, even if its name is gone.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    Some(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// A number that changes when the host starts anew: random, made by the kernel at its start.
pub(crate) fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match u128::from_str_radix(&text.trim().replace('-', ""), 16) {
        Ok(id) => [id as u64, (id >> 64) as u64],
        // Without /proc, as in a changed root.
        Err(_) => unread_boot(),
    }
}

/// By how many milliseconds this process's monotonic clock is ahead of the host's: a container can have a time namespace
/// of its own. Without `/proc`, or on a kernel without such namespaces, it is taken to be the host's.
pub(crate) fn clock_ahead_ms() -> i64 {
    let namespace = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // The offsets that a process reads of itself are those of its children: the same, unless it has called `unshare`.
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

/// Gives the file its length with all its blocks reserved, so that the disk cannot be full later.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        // The file system cannot.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file lies on a file system that does not outlive the boot.
pub(crate) fn is_in_memory(file: &File) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|stat| matches!(stat.f_type as u32, TMPFS | RAMFS))
}

/// The kind of a file system on which mappings or locks are not shared as they must be.
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

/// Opens a file that has no name yet, in the directory where it will get one, if the file system can, and if it can get
/// one: that takes `/proc`, which may be missing in a changed root.
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

/// Makes every page of a mapping present and writable; `false` where the system has no call for it.
pub(crate) fn populate(map: &MmapRaw) -> io::Result<bool> {
    map.advise(memmap2::Advice::PopulateWrite).map(|()| true)
}

/// Whether a mapping can keep the lock of a file whose descriptor was closed.
pub(crate) const MAPPINGS_KEEP_LOCKS: bool = true;

/// Whether a mapping of this very file does: not on overlayfs, where it belongs to the file beneath.
pub(crate) fn mappings_keep_locks(file: &File) -> bool {
    const OVERLAYFS: u32 = 0x794c_7630;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u32 != OVERLAYFS)
}

/// Where a file has data at or after an offset, unless nothing but holes follows.
pub(crate) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        // The file system keeps no account of holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

/// Keeps a mapping from children that are forked from here on.
pub(crate) fn keep_from_children(map: &MmapRaw) -> io::Result<()> {
    map.advise(memmap2::Advice::DontFork)
}

/// The largest size of a page that Linux is built for.
const MOST_PAGE: usize = 64 << 10;

/// A word that has its pages for itself.
#[repr(C, align(65536))]
struct Alone {
    word: AtomicU32,
    _rest: [u8; MOST_PAGE - size_of::<AtomicU32>()],
}

static PROCESS_WORD: Alone = Alone { word: AtomicU32::new(0), _rest: [0; MOST_PAGE - size_of::<AtomicU32>()] };

/// A word that is 0 when a process begins.
#[inline(always)]
pub(crate) fn process_word() -> &'static AtomicU32 {
    &PROCESS_WORD.word
}

/// Has the word be 0 in each forked child, too, by whatever call the child is made; `false`: the kernel, one older than
/// 4.14, cannot do that.
#[allow(unsafe_code, reason = "the advice changes what a child finds in memory")]
pub(crate) fn zero_process_word_in_children() -> bool {
    let at: *const Alone = &raw const PROCESS_WORD;
    // SAFETY: the pages are those of the static, which begins and ends with a page, and nothing else lies there. It holds
    // an atomic word, whose every value is valid.
    unsafe { madvise(at.cast_mut().cast(), MOST_PAGE, Advice::LinuxWipeOnFork) }.is_ok()
}

/// Half of a barrier between two threads, for the one that passes it often: the other passes [`heavy_barrier`]. It keeps
/// the compiler from moving accesses across it.
#[inline(always)]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// Has every thread of this process pass a memory barrier; `false`: the kernel cannot do that, or must not.
pub(crate) fn heavy_barrier() -> bool {
    let all_pass = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
    all_pass() || (membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() && all_pass())
}

/// Sleeps until somebody wakes who sleeps on `half`, or `limit` has passed; not at all if it is not `seen` any more. It
/// may end early for no reason. A futex, shared between processes: without the PRIVATE flag it is known by the file's
/// page and not by the address.
pub(crate) fn sleep_on(half: &AtomicU32, seen: u32, _is_same: impl Fn() -> bool, limit: Duration) {
    let limit = futex::Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    // Woken, another word, a signal, time over: the caller looks again in each case.
    let _ = futex::wait(half, futex::Flags::empty(), seen, Some(&limit));
}

/// Wakes one who sleeps on `half`, in whatever process.
pub(crate) fn wake_one(half: &AtomicU32) {
    wake(half, 1);
}

/// Wakes all who sleep on `half`, in whatever process.
pub(crate) fn wake_all(half: &AtomicU32) {
    wake(half, i32::MAX as u32);
}

fn wake(half: &AtomicU32, most: u32) {
    // It fails only for an address that is none.
    let _ = futex::wake(half, futex::Flags::empty(), most);
}
