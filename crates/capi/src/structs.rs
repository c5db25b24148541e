//! The structs of `kennel.h`. Each begins with its own size as the program knows it, and grows at its end only: a program
//! that was compiled with an older header gives a shorter one, and the rest of it has its defaults.

use crate::border::{Failure, bad_option, bytes};
use engine::{CreateOptions, Created, Expiry, Item, SetOptions, Wait};
use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A struct whose first field is its size.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize`, and all bit patterns of its other bytes are valid.
pub(crate) unsafe trait Versioned: Copy {
    /// What the fields hold that a program does not know.
    const INIT: Self;
    const NAME: &'static str;
}

/// `kennel_bytes`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bytes {
    pub(crate) data: *const c_void,
    pub(crate) len: usize,
}

/// `kennel_pair`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Pair {
    pub(crate) key: *const c_void,
    pub(crate) n: usize,
    pub(crate) value: *const c_void,
    pub(crate) len: usize,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
}

/// An array of the caller.
///
/// # Safety
/// NULL, or `count` elements that nobody changes for as long as the call runs.
pub(crate) unsafe fn array<'a, T>(what: &'static str, at: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if at.is_null() || count > isize::MAX as usize / size_of::<T>() {
        return Err(bad_option(what, format!("{at:?} for {count} elements"), "a pointer to that many elements"));
    }
    // SAFETY: the caller's elements, as above.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// The names, or keys, in an array of the caller.
///
/// # Safety
/// As for [`array`], and each element has as many bytes as it says.
pub(crate) unsafe fn names<'a>(what: &'static str, at: *const Bytes, count: usize) -> Result<Vec<&'a [u8]>, Failure> {
    // SAFETY: as above.
    let names = unsafe { array(what, at, count) }?;
    // SAFETY: as above.
    names.iter().map(|name| unsafe { bytes(what, name.data, name.len) }).collect()
}

/// `kennel_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Options {
    pub(crate) size: usize,
    pub(crate) capacity: u64,
    pub(crate) mean_item: u64,
    pub(crate) lock_wait_ms: i64,
    pub(crate) locks: *const c_char,
    pub(crate) stripes: u32,
    pub(crate) seats: u32,
    pub(crate) namespaces: u32,
    pub(crate) claims: u32,
    pub(crate) mode: u32,
    pub(crate) bits: u32,
    pub(crate) tags: u32,
    pub(crate) reserved: u32,
}

// SAFETY: `repr(C)`, a size first, and numbers and a pointer.
unsafe impl Versioned for Options {
    const INIT: Self = Self {
        size: size_of::<Self>(),
        capacity: 0,
        mean_item: 0,
        lock_wait_ms: 0,
        locks: ptr::null(),
        stripes: 0,
        seats: 0,
        namespaces: 0,
        claims: 0,
        mode: 0,
        bits: 0,
        tags: 0,
        reserved: 0,
    };
    const NAME: &'static str = "size of kennel_options";
}

/// `kennel_set_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct StoreOptions {
    pub(crate) size: usize,
    pub(crate) ttl_ms: i64,
    pub(crate) soft_ttl_ms: i64,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
    pub(crate) tags: *const Bytes,
    pub(crate) tag_count: usize,
}

// SAFETY: `repr(C)`, a size first, and numbers and a pointer.
unsafe impl Versioned for StoreOptions {
    const INIT: Self = Self {
        size: size_of::<Self>(),
        ttl_ms: 0,
        soft_ttl_ms: 0,
        flags: 0,
        reserved: 0,
        tags: ptr::null(),
        tag_count: 0,
    };
    const NAME: &'static str = "size of kennel_set_options";
}

/// `kennel_create_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct BeginOptions {
    pub(crate) size: usize,
    pub(crate) ttl_ms: i64,
    pub(crate) soft_ttl_ms: i64,
    pub(crate) absent_ttl_ms: i64,
    pub(crate) wait_ms: i64,
    pub(crate) claim_max_age_ms: i64,
    pub(crate) flags: u32,
    pub(crate) bits: u32,
    pub(crate) tags: *const Bytes,
    pub(crate) tag_count: usize,
}

// SAFETY: `repr(C)`, a size first, and numbers and a pointer.
unsafe impl Versioned for BeginOptions {
    const INIT: Self = Self {
        size: size_of::<Self>(),
        ttl_ms: 0,
        soft_ttl_ms: 0,
        absent_ttl_ms: 0,
        wait_ms: 30_000,
        claim_max_age_ms: 0,
        flags: 0,
        bits: 0,
        tags: ptr::null(),
        tag_count: 0,
    };
    const NAME: &'static str = "size of kennel_create_options";
}

/// `kennel_item`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    pub(crate) size: usize,
    pub(crate) len: usize,
    pub(crate) stamp: u64,
    pub(crate) expires_ms: i64,
    pub(crate) soft_expires_ms: i64,
    pub(crate) created_ms: i64,
    pub(crate) flags: u32,
    pub(crate) is_stale: u32,
}

// SAFETY: `repr(C)`, a size first, and numbers.
unsafe impl Versioned for Entry {
    const INIT: Self = Self {
        size: size_of::<Self>(),
        len: 0,
        stamp: 0,
        expires_ms: 0,
        soft_expires_ms: 0,
        created_ms: 0,
        flags: 0,
        is_stale: 0,
    };
    const NAME: &'static str = "size of kennel_item";
}

/// Reads a struct of the caller. NULL stands for the defaults.
///
/// # Safety
/// NULL, or a struct whose first field holds its size.
pub(crate) unsafe fn read<T: Versioned>(at: *const T) -> Result<T, Failure> {
    let mut read = T::INIT;
    if at.is_null() {
        return Ok(read);
    }
    // SAFETY: the first field is the size.
    let given = unsafe { at.cast::<usize>().read() };
    let known = size_of::<T>();
    if given < 2 * size_of::<usize>() {
        return Err(bad_option(T::NAME, given.to_string(), "sizeof of the struct: begin with its _INIT"));
    }
    // SAFETY: the struct has as many bytes as it says, and the private copy at least as many.
    unsafe { ptr::copy_nonoverlapping(at.cast::<u8>(), (&raw mut read).cast(), given.min(known)) };
    // A program with a newer header must not rely on what this library does not know.
    for i in known..given {
        // SAFETY: within the struct, as above.
        if unsafe { at.cast::<u8>().wrapping_add(i).read() } != 0 {
            return Err(bad_option(T::NAME, given.to_string(), "zeros in what a newer header has added"));
        }
    }
    Ok(read)
}

/// The array of `kennel_item`s of a caller, each of which is cleared first. All have the size of the first.
pub(crate) struct ItemsOut {
    at: *mut Entry,
    stride: usize,
    is_sound: bool,
}

impl ItemsOut {
    /// # Safety
    /// NULL, or `count` structs whose first field holds their size, for as long as the call runs.
    pub(crate) unsafe fn cleared(at: *mut Entry, count: usize) -> Self {
        if at.is_null() || count == 0 {
            return Self { at: ptr::null_mut(), stride: 0, is_sound: true };
        }
        // SAFETY: as above.
        let stride = unsafe { at.cast::<usize>().read() };
        let mut out = Self { at, stride, is_sound: false };
        let fits = stride >= 2 * size_of::<usize>()
            && stride.is_multiple_of(align_of::<Entry>())
            && count <= isize::MAX as usize / stride;
        // SAFETY: each struct begins with its size; one that has another size than the first ends the search.
        out.is_sound = fits && (0..count).all(|i| unsafe { out.of(i).at.cast::<usize>().read() } == stride);
        if out.is_sound {
            (0..count).for_each(|i| out.of(i).write(Entry::INIT));
        }
        out
    }

    /// # Errors
    /// The caller gave structs without a size, or with different ones.
    pub(crate) fn checked(&self) -> Result<(), Failure> {
        if self.is_sound {
            return Ok(());
        }
        Err(bad_option(Entry::NAME, self.stride.to_string(), "sizeof of the struct, in each: KENNEL_ITEM_INIT"))
    }

    /// The struct of one item.
    pub(crate) fn of(&self, i: usize) -> ItemOut {
        ItemOut { at: self.at.cast::<u8>().wrapping_add(i * self.stride).cast(), room: self.stride }
    }
}

/// A `kennel_item` of the caller, which is cleared first.
pub(crate) struct ItemOut {
    at: *mut Entry,
    room: usize,
}

impl ItemOut {
    /// # Safety
    /// NULL, or a struct whose first field holds its size, for as long as the call runs.
    pub(crate) unsafe fn cleared(at: *mut Entry) -> Self {
        // SAFETY: as above.
        let room = if at.is_null() { 0 } else { unsafe { at.cast::<usize>().read() } };
        let out = Self { at, room };
        out.write(Entry::INIT);
        out
    }

    pub(crate) fn required(&self) -> Result<(), Failure> {
        if self.at.is_null() {
            return Err(bad_option("item", "NULL", "a pointer"));
        }
        if self.room < 2 * size_of::<usize>() {
            return Err(bad_option(
                Entry::NAME,
                self.room.to_string(),
                "sizeof of the struct: begin with KENNEL_ITEM_INIT",
            ));
        }
        Ok(())
    }

    /// Writes the fields that the program knows, except the size.
    fn write(&self, entry: Entry) {
        let size = size_of::<usize>();
        let known = self.room.min(size_of::<Entry>());
        if known <= size {
            return;
        }
        let entry = Entry { size: self.room, ..entry };
        // SAFETY: the struct has as many bytes as it says.
        unsafe { ptr::copy_nonoverlapping((&raw const entry).cast::<u8>(), self.at.cast(), known) };
    }

    pub(crate) fn set<V>(&self, item: &Item<V>, len: usize) {
        self.write(Entry {
            size: 0,
            len,
            stamp: item.stamp.0,
            expires_ms: moment(item.expires),
            soft_expires_ms: moment(item.soft_expires),
            created_ms: moment(item.created),
            flags: item.flags,
            is_stale: item.is_stale.into(),
        });
    }

    pub(crate) fn set_entry(&self, entry: &engine::Entry, now: SystemTime) {
        self.write(Entry {
            size: 0,
            len: usize::try_from(entry.value_len).unwrap_or(usize::MAX),
            stamp: entry.stamp.0,
            expires_ms: moment(entry.expires),
            soft_expires_ms: moment(entry.soft_expires),
            created_ms: moment(entry.created),
            flags: entry.flags,
            is_stale: entry.soft_expires.is_some_and(|stale| stale <= now).into(),
        });
    }

    /// Tells the length of a value that did not fit.
    pub(crate) fn set_len(&self, len: usize) {
        self.write(Entry { len, ..Entry::INIT });
    }
}

fn moment(time: Option<SystemTime>) -> i64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A time to live: -1 is never, 0 the default.
pub(crate) fn ttl(option: &'static str, ms: i64) -> Result<Option<Expiry>, Failure> {
    match ms {
        0 => Ok(None),
        -1 => Ok(Some(Expiry::Never)),
        _ => match u64::try_from(ms) {
            Ok(ms) => Ok(Some(Expiry::After(Duration::from_millis(ms)))),
            Err(_) => Err(bad_option(option, ms.to_string(), "milliseconds, 0 for the default, or KENNEL_NEVER")),
        },
    }
}

/// A length of time, of which 0 is the default.
pub(crate) fn time(option: &'static str, ms: i64) -> Result<Option<Duration>, Failure> {
    match u64::try_from(ms) {
        Ok(0) => Ok(None),
        Ok(ms) => Ok(Some(Duration::from_millis(ms))),
        Err(_) => Err(bad_option(option, ms.to_string(), "milliseconds, or 0 for the default")),
    }
}

/// The limit of a wait: -1 means no limit, and 0 means that the call does not wait.
pub(crate) fn wait(ms: i64) -> Result<Wait, Failure> {
    match ms {
        0 => Ok(Wait::No),
        -1 => Ok(Wait::Forever),
        _ => match u64::try_from(ms) {
            Ok(ms) => Ok(Wait::For(Duration::from_millis(ms))),
            Err(_) => Err(bad_option("wait_ms", ms.to_string(), "milliseconds, 0 for no wait, or KENNEL_FOREVER")),
        },
    }
}

/// Refuses bits that this library does not know.
pub(crate) fn known_bits(bits: u32, known: u32) -> Result<(), Failure> {
    if bits & !known == 0 {
        return Ok(());
    }
    Err(bad_option("bits", format!("{bits:#x}"), "bits of this header"))
}

impl StoreOptions {
    /// # Safety
    /// The tags can be read for as long as the call runs.
    pub(crate) unsafe fn for_engine(&self) -> Result<SetOptions, Failure> {
        known_bits(self.reserved, 0)?;
        // SAFETY: as above.
        let mut how = SetOptions::new().flags(self.flags).tags(&unsafe { names("tags", self.tags, self.tag_count) }?);
        if let Some(expiry) = ttl("ttl_ms", self.ttl_ms)? {
            how = how.expiry(expiry);
        }
        if let Some(expiry) = ttl("soft_ttl_ms", self.soft_ttl_ms)? {
            how = how.soft_expiry(expiry);
        }
        Ok(how)
    }

    /// A created value with these options in place of those of its claim.
    ///
    /// # Safety
    /// The tags can be read for as long as the call runs.
    pub(crate) unsafe fn created(&self, value: &[u8]) -> Result<Created, Failure> {
        known_bits(self.reserved, 0)?;
        let mut made = Created::new(value);
        if let Some(expiry) = ttl("ttl_ms", self.ttl_ms)? {
            made = made.expiry(expiry);
        }
        if let Some(expiry) = ttl("soft_ttl_ms", self.soft_ttl_ms)? {
            made = made.soft_expiry(expiry);
        }
        if self.tag_count > 0 {
            // SAFETY: as above.
            made = made.tags(&unsafe { names("tags", self.tags, self.tag_count) }?);
        }
        Ok(if self.flags == 0 { made } else { made.flags(self.flags) })
    }
}

const UNPROTECTED: u32 = 1;
const OR_UNCACHED: u32 = 2;
const NEEDS_VALUE: u32 = 4;

impl BeginOptions {
    /// # Safety
    /// The tags can be read for as long as the call runs.
    pub(crate) unsafe fn for_engine(&self) -> Result<CreateOptions, Failure> {
        known_bits(self.bits, UNPROTECTED | OR_UNCACHED | NEEDS_VALUE)?;
        // SAFETY: as above.
        let tags = unsafe { names("tags", self.tags, self.tag_count) }?;
        let mut how = CreateOptions::new()
            .flags(self.flags)
            .tags(&tags)
            .wait(wait(self.wait_ms)?)
            .task(engine::Task::unique())
            .unprotected(self.bits & UNPROTECTED != 0)
            .or_uncached(self.bits & OR_UNCACHED != 0)
            .needs_value(self.bits & NEEDS_VALUE != 0);
        if let Some(expiry) = ttl("ttl_ms", self.ttl_ms)? {
            how = how.expiry(expiry);
        }
        if let Some(expiry) = ttl("soft_ttl_ms", self.soft_ttl_ms)? {
            how = how.soft_expiry(expiry);
        }
        if let Some(expiry) = ttl("absent_ttl_ms", self.absent_ttl_ms)? {
            how = how.absence_expiry(expiry);
        }
        if let Some(age) = time("claim_max_age_ms", self.claim_max_age_ms)? {
            how = how.claim_max_age(age);
        }
        Ok(how)
    }
}
