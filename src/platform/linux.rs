//! What only Linux has.

use super::boot::unknown_boot;
use super::kinds::{Examined, FileSystem, Pages};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use rustix::thread::{MembarrierCommand, futex, membarrier};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};
use std::time::Duration;

/// A path to an open file, which leads to it even if the file has lost its name.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    Some(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// The id of the boot: a random number that the kernel draws when the host starts. A process reads it once.
pub(crate) fn boot_id() -> [u64; 2] {
    static READ: OnceLock<[u64; 2]> = OnceLock::new();
    match READ.get().copied().or_else(read_boot_id) {
        Some(id) => *READ.get_or_init(|| id),
        // There is no `/proc`, as in some chroots.
        None => unknown_boot(),
    }
}

fn read_boot_id() -> Option<[u64; 2]> {
    let mut text = [0; 64];
    let len = File::open("/proc/sys/kernel/random/boot_id").ok()?.read(&mut text).ok()?;
    let id = u128::from_str_radix(&str::from_utf8(&text[..len]).ok()?.trim().replace('-', ""), 16).ok()?;
    Some([id as u64, (id >> 64) as u64])
}

/// Opens an existing regular file by a path that may be or contain links, and asks the kernel for the path without
/// them. `None` for any difficulty: then the path is resolved step by step, which also tells what is wrong. The caller
/// checks that the returned path names the file.
pub(crate) fn open_and_name(path: &Path, writable: bool) -> Option<(Examined, PathBuf)> {
    // Checked before the open, since some devices react to being opened.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(writable).custom_flags(flags).open(path).ok()?;
    let examined = Examined::of(file).ok().filter(|examined| examined.meta.is_file())?;
    let named = std::fs::read_link(path_of(&examined.file)?).ok()?;
    // Outside this process's root the path does not begin with a slash.
    named.is_absolute().then_some((examined, named))
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

/// What is known of the file system of a file.
pub(crate) fn file_system(file: &File) -> FileSystem {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    /// Mappings or locks on these are not coherent between the users of a file.
    const NETWORK: [(u32, &str); 9] = [
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
    /// On these a mapping belongs to the file that was opened, and keeps its lock.
    const PLAIN: [u32; 5] = [TMPFS, RAMFS, EXT, XFS, BTRFS];
    const EXT: u32 = 0xef53;
    const XFS: u32 = 0x5846_5342;
    const BTRFS: u32 = 0x9123_683e;
    let Ok(stat) = rustix::fs::fstatfs(file) else { return FileSystem::default() };
    let magic = stat.f_type as u32;
    FileSystem {
        in_memory: matches!(magic, TMPFS | RAMFS),
        network: NETWORK.into_iter().find(|&(kind, _)| kind == magic).map(|(_, name)| name.to_owned()),
        is_plain: PLAIN.contains(&magic),
    }
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

/// Gives a new file the extended attributes of an old one: access lists and security labels decide who may use it.
pub(crate) fn copy_attributes(old: &File, new: &File) -> io::Result<()> {
    let mut names = vec![0u8; LONGEST_LIST];
    let len = match rustix::fs::flistxattr(old, &mut names) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let (mut value, mut found) = (vec![0u8; LONGEST_LIST], vec![0u8; LONGEST_LIST]);
        let value_len = rustix::fs::fgetxattr(old, name, &mut value)?;
        let is_same = rustix::fs::fgetxattr(new, name, &mut found).is_ok_and(|len| found[..len] == value[..value_len]);
        if !is_same {
            rustix::fs::fsetxattr(new, name, &value[..value_len], rustix::fs::XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// The longest list of attributes, and the longest value of one.
const LONGEST_LIST: usize = 1 << 16;

/// The length of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// A file in the address space, shared with all other mappings of it.
pub(crate) struct Mapped {
    at: *mut u8,
    len: usize,
    _held: Held,
}

/// What gives the address space of a mapping back.
enum Held {
    /// A mapping at an address that the kernel chose.
    Plain { _map: MmapRaw },
    /// A mapping that begins at a multiple of [`LARGE_PAGE`], and the reservation in which it lies.
    Aligned { _reserved: Reserved },
}

/// A part of the address space, which is given back when this is dropped.
struct Reserved {
    at: *mut libc::c_void,
    len: usize,
}

// SAFETY: the struct owns its address space, and every method takes it by `&self` and only calls the kernel.
#[allow(unsafe_code, reason = "a raw pointer is not `Send`")]
unsafe impl Send for Mapped {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a raw pointer is not `Sync`")]
unsafe impl Sync for Mapped {}

impl Reserved {
    /// Maps memory at `at`, or anywhere if that is null. These calls go through the C library, where tools that watch
    /// memory see them.
    ///
    /// # Safety
    /// With `MAP_FIXED` the caller owns the address space from `at` on.
    #[allow(unsafe_code, reason = "there is no safe way to map a file at an address")]
    unsafe fn map(at: *mut libc::c_void, len: usize, access: i32, flags: i32, file: i32) -> io::Result<Self> {
        // SAFETY: without `MAP_FIXED` the kernel chooses free address space; with it the caller promises the rest.
        match unsafe { libc::mmap(at, len, access, flags, file, 0) } {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            at => Ok(Self { at, len }),
        }
    }
}

impl Drop for Reserved {
    #[allow(unsafe_code, reason = "there is no safe way to unmap")]
    fn drop(&mut self) {
        // SAFETY: this owns the address space, and nothing borrows from it any more.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

impl Mapped {
    /// Maps the first `len` bytes of a file. Where large pages are to be possible, the mapping begins at a multiple of
    /// their length; if the address space for that cannot be had, it begins anywhere.
    pub(crate) fn new(file: &File, len: usize, writable: bool, pages: Pages) -> io::Result<Self> {
        let access = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let pages = if len < LARGE_PAGE { Pages::Any } else { pages };
        let fits = matches!(pages, Pages::Large | Pages::LargeIfThere);
        let aligned = if fits { Self::aligned(file, len, access) } else { None };
        let mapped = match aligned {
            Some(mapped) => mapped,
            None => Self::anywhere(file, len, writable)?,
        };
        match pages {
            Pages::Large => drop(mapped.advise(libc::MADV_HUGEPAGE, len)),
            Pages::Small => drop(mapped.advise(libc::MADV_NOHUGEPAGE, len)),
            _ => {}
        }
        Ok(mapped)
    }

    fn anywhere(file: &File, len: usize, writable: bool) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len);
        let map = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) }?;
        Ok(Self { at: map.as_mut_ptr(), len, _held: Held::Plain { _map: map } })
    }

    /// A mapping over the part of a reservation that begins at a multiple of [`LARGE_PAGE`]; the rest stays reserved,
    /// which costs no memory. `None` if the process may not reserve so much, for example under `mlockall(MCL_FUTURE)`.
    #[allow(unsafe_code, reason = "as in `Reserved::map`")]
    fn aligned(file: &File, len: usize, access: i32) -> Option<Self> {
        let more = len.checked_add(LARGE_PAGE)?;
        let nothing = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address.
        let reserved = unsafe { Reserved::map(ptr::null_mut(), more, libc::PROT_NONE, nothing, -1) }.ok()?;
        let at = reserved.at.wrapping_byte_add(reserved.at.addr().next_multiple_of(LARGE_PAGE) - reserved.at.addr());
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: `len` bytes from there lie in the reservation, which nothing uses.
        let mapped = unsafe { Reserved::map(at, len, access, flags, file.as_raw_fd()) }.ok()?;
        // The reservation gives back both.
        std::mem::forget(mapped);
        Some(Self { at: at.cast(), len, _held: Held::Aligned { _reserved: reserved } })
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.at
    }

    /// Gives the kernel advice about the first `len` bytes.
    #[allow(unsafe_code, reason = "some advice changes what memory holds; none that is given here does")]
    fn advise(&self, advice: i32, len: usize) -> io::Result<()> {
        // SAFETY: the range lies in the mapping, and the advice changes no byte of it.
        let done = unsafe { libc::madvise(self.at.cast(), len.min(self.len), advice) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Writes a range back to its file.
    #[allow(unsafe_code, reason = "there is no safe call for that")]
    pub(crate) fn flush_range(&self, offset: usize, len: usize) -> io::Result<()> {
        // The kernel requires an address at the beginning of a page.
        let from = offset & !(page_size() - 1);
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range lies in the mapping.
        let done = unsafe { libc::msync(self.at.wrapping_add(from).cast(), len + (offset - from), libc::MS_SYNC) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes every page present and writable; `false` if the system has no call for that.
    pub(crate) fn prefault(&self) -> io::Result<bool> {
        self.advise(libc::MADV_POPULATE_WRITE, self.len).map(|()| true)
    }

    /// Gives large pages, as far as that succeeds, to a new file that lies in memory and has its length but no pages
    /// yet: where the file system gives them to a mapping, and with `collapse` also elsewhere. Every byte of the file
    /// stays zero. A lack of space shows when the caller allocates the file, which it does next.
    ///
    /// None of these calls can end in a SIGBUS, unlike a store through the mapping.
    pub(crate) fn take_large_pages(&self, file: &File, collapse: bool) -> io::Result<()> {
        if self.len < LARGE_PAGE {
            return Ok(());
        }
        self.advise(libc::MADV_POPULATE_WRITE, 1)?;
        // One touched page shows what the file system gives: the blocks are units of 512 bytes.
        if file.metadata()?.blocks() * 512 >= LARGE_PAGE as u64 {
            return self.advise(libc::MADV_POPULATE_WRITE, self.whole_large_pages());
        }
        if collapse {
            // The kernel collapses only ranges of which at least one small page is present.
            (0..self.whole_large_pages())
                .step_by(LARGE_PAGE)
                .try_for_each(|at| file.write_all_at(&[0; 8], at as u64))?;
            self.collapse()?;
        }
        Ok(())
    }

    /// Gathers the small pages of a file that lies in memory into large ones. Other processes may use the file
    /// meanwhile. Fails on Linux before 6.1.
    pub(crate) fn collapse(&self) -> io::Result<()> {
        self.advise(libc::MADV_COLLAPSE, self.whole_large_pages())
    }

    fn whole_large_pages(&self) -> usize {
        self.len & !(LARGE_PAGE - 1)
    }

    /// How many bytes the processor reaches through large pages; `None` if `/proc` cannot be read. `touch` must read
    /// the byte at an offset: a page is mapped by the first access.
    pub(crate) fn large_bytes(&self, touch: impl Fn(usize)) -> Option<u64> {
        let present = self.present()?;
        let pages = (0..self.len).step_by(page_size()).zip(present);
        pages.filter(|&(at, is_present)| is_present && at % LARGE_PAGE == 0).for_each(|(at, _)| touch(at));
        let text = std::fs::read_to_string("/proc/self/smaps").ok()?;
        Some(large_bytes_of(&text, self.at.addr()..self.at.addr() + self.len))
    }

    /// Whether each page is in memory, so that a read of it does not wait for a disk.
    #[allow(unsafe_code, reason = "there is no safe call for that")]
    fn present(&self) -> Option<impl Iterator<Item = bool>> {
        let mut pages = vec![0_u8; self.len.div_ceil(page_size())];
        // SAFETY: the range is that of the mapping, and the vector has a byte for each of its pages.
        let done = unsafe { libc::mincore(self.at.cast(), self.len, pages.as_mut_ptr()) };
        (done == 0).then(|| pages.into_iter().map(|page| page & 1 == 1))
    }
}

/// The sum of what `smaps` reports as mapped by large pages of a file, over the mappings within `range`.
fn large_bytes_of(smaps: &str, range: std::ops::Range<usize>) -> u64 {
    let (mut is_ours, mut sum) = (false, 0);
    for line in smaps.lines() {
        let Some(first) = line.split_ascii_whitespace().next() else { continue };
        if let Some(name) = first.strip_suffix(':') {
            let is_large = is_ours && matches!(name, "ShmemPmdMapped" | "FilePmdMapped");
            let size = || line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
            sum += if is_large { size().unwrap_or(0) << 10 } else { 0 };
        } else if let Some((from, to)) = first.split_once('-') {
            let number = |digits| usize::from_str_radix(digits, 16).ok();
            is_ours = number(from).is_some_and(|from| from >= range.start)
                && number(to).is_some_and(|to| to <= range.end.next_multiple_of(MOST_PAGE));
        }
    }
    sum
}

/// The length of a usual page. The function of rustix for this reads memory that valgrind does not map.
#[allow(unsafe_code, reason = "there is no safe call for that")]
fn page_size() -> usize {
    // SAFETY: the call returns a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_within_the_range_are_summed() {
        let smaps = "\
            7f0000000000-7f0000400000 rw-s 00000000 00:19 5    /dev/shm/cache\n\
            Size:               4096 kB\n\
            ShmemPmdMapped:     2048 kB\n\
            FilePmdMapped:         0 kB\n\
            VmFlags: rd wr sh\n\
            7f0000400000-7f0000401000 rw-s 00400000 00:19 5    /dev/shm/cache\n\
            FilePmdMapped:         4 kB\n\
            7f0000401000-7f0000600000 ---p 00000000 00:00 0\n\
            FilePmdMapped:        64 kB\n\
            7f0000600000-7f0000a00000 rw-s 00000000 00:19 6\n\
            ShmemPmdMapped:     4096 kB\n";
        let range = |end| 0x7f00_0000_0000..end;
        assert_eq!(large_bytes_of(smaps, range(0x7f00_0040_0800)), (2048 + 4) << 10);
        assert_eq!(large_bytes_of(smaps, range(0x7f00_00a0_0000)), (2048 + 4 + 64 + 4096) << 10);
        assert_eq!(large_bytes_of("", range(0x7f00_0040_0000)), 0);
    }
}
