//! Items and namespaces as the contents of frames.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kennel::{MAX_KEY, MAX_TAGS, NamespaceDefaults, Ring, SavedItem};

use super::numbers::{LONGEST, put, take, take_bytes};

/// The most bytes of an item in front of its key.
pub(crate) const MOST_BEFORE_KEY: usize = 8 * LONGEST + 2 + 2 * MAX_TAGS;
/// The latest moment that a cache file can hold, in milliseconds since 1970.
const LAST_TIME: u64 = (1 << 44) - 1;
const MOST_MARKS: u8 = 3;
/// The bit beside ring and marks which says that tags follow.
const HAS_TAGS: u8 = 1 << 3;
/// The bit beside them which says that reads move the expiry.
const FOLLOWS_READS: u8 = 1 << 4;
const LONGEST_NAME: u64 = 128;
const THOUSANDTHS: f64 = 1000.0;

/// A namespace with the default times that its file keeps, in milliseconds; 0: none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// How long an item lives.
    pub ttl_ms: u64,
    /// How long an item is fresh.
    pub soft_ttl_ms: u64,
    /// How long the cache remembers that a key has no value.
    pub absence_ttl_ms: u64,
    /// How long an item lives without a read.
    pub idle_ms: u64,
    /// By how many thousandths a time to live is shortened at most.
    pub jitter: u16,
}

impl Namespace {
    /// A namespace with the times of a file.
    #[must_use]
    pub fn new(name: &str, defaults: Option<NamespaceDefaults>) -> Self {
        let ms = |time: Option<Duration>| time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Self {
            name: name.into(),
            ttl_ms: ms(defaults.and_then(|defaults| defaults.ttl)),
            soft_ttl_ms: ms(defaults.and_then(|defaults| defaults.soft_ttl)),
            absence_ttl_ms: ms(defaults.and_then(|defaults| defaults.absence_ttl)),
            idle_ms: ms(defaults.and_then(|defaults| defaults.idle)),
            jitter: (defaults.map_or(0.0, |defaults| defaults.jitter) * THOUSANDTHS).round() as u16,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put(self.name.len() as u64, out);
        out.extend_from_slice(self.name.as_bytes());
        [self.ttl_ms, self.soft_ttl_ms, self.absence_ttl_ms, self.idle_ms, self.jitter.into()]
            .iter()
            .for_each(|&number| put(number, out));
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let len = take(bytes).filter(|len| (1..=LONGEST_NAME).contains(len))?;
        let name = std::str::from_utf8(take_bytes(bytes, len)?).ok().filter(|name| !name.contains('\0'))?;
        Some(Self {
            name: name.into(),
            ttl_ms: take(bytes)?,
            soft_ttl_ms: take(bytes)?,
            absence_ttl_ms: take(bytes)?,
            idle_ms: take(bytes)?,
            jitter: take(bytes).filter(|jitter| *jitter <= THOUSANDTHS as u64)? as u16,
        })
    }
}

fn ms_of(time: Option<SystemTime>) -> u64 {
    let since = time.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX).min(LAST_TIME))
}

fn take_time(bytes: &mut &[u8]) -> Option<Option<SystemTime>> {
    let ms = take(bytes).filter(|ms| *ms <= LAST_TIME)?;
    Some((ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(ms)))
}

/// Writes what stands in front of an item's key and value. `namespace` is the namespace's number in the stream, or 0
/// for none.
pub(crate) fn encode_head(item: &SavedItem, namespace: u64, out: &mut Vec<u8>) {
    put(item.key.len() as u64, out);
    // 0 stands for a remembered absence.
    put(item.value.as_ref().map_or(0, |value| value.len() as u64 + 1), out);
    put(item.flags.into(), out);
    put(namespace, out);
    [item.expires, item.soft_expires, item.created].iter().for_each(|&time| put(ms_of(time), out));
    put(u64::try_from(item.cost.as_millis()).unwrap_or(u64::MAX), out);
    let tags = &item.tags[..item.tags.len().min(MAX_TAGS)];
    let has_tags = if tags.is_empty() { 0 } else { HAS_TAGS };
    let follows_reads = if item.follows_reads { FOLLOWS_READS } else { 0 };
    out.push(u8::from(item.ring == Ring::Main) | item.marks.min(MOST_MARKS) << 1 | has_tags | follows_reads);
    if !tags.is_empty() {
        out.push(tags.len() as u8);
        tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
    }
}

/// The items of a frame; `None` for an item of a namespace that was lost. Bytes that are no item also give `None`, and
/// what follows them is lost.
pub fn items<'b>(
    mut bytes: &'b [u8],
    namespaces: &'b [Option<Arc<str>>],
) -> impl Iterator<Item = Option<SavedItem<&'b [u8]>>> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| {
            let item = decode(&mut bytes, namespaces);
            if item.is_none() {
                bytes = &[];
            }
            item.flatten()
        })
    })
}

/// Takes the numbers of tags, of which there is at least one.
fn take_tags(bytes: &mut &[u8]) -> Option<Vec<u16>> {
    let (&count, rest) = bytes.split_first().filter(|(count, _)| (1..=MAX_TAGS).contains(&usize::from(**count)))?;
    *bytes = rest;
    let numbers = take_bytes(bytes, 2 * u64::from(count))?;
    Some(numbers.as_chunks::<2>().0.iter().map(|&number| u16::from_le_bytes(number)).collect())
}

/// Takes an item from the beginning of the bytes.
fn decode<'b>(bytes: &mut &'b [u8], namespaces: &[Option<Arc<str>>]) -> Option<Option<SavedItem<&'b [u8]>>> {
    let key_len = take(bytes).filter(|len| *len <= MAX_KEY as u64)?;
    let value_len = take(bytes)?.checked_sub(1);
    let flags = u32::try_from(take(bytes)?).ok()?;
    let namespace = take(bytes)?;
    let (expires, soft_expires, created) = (take_time(bytes)?, take_time(bytes)?, take_time(bytes)?);
    let cost = Duration::from_millis(take(bytes)?);
    let (&heat, rest) = bytes.split_first()?;
    *bytes = rest;
    if heat > 1 | MOST_MARKS << 1 | HAS_TAGS | FOLLOWS_READS {
        return None;
    }
    let tags = if heat & HAS_TAGS == 0 { Vec::new() } else { take_tags(bytes)? };
    let key = take_bytes(bytes, key_len)?;
    let value = match value_len {
        None => None,
        Some(len) => Some(take_bytes(bytes, len)?),
    };
    let namespace = match namespace {
        0 => None,
        number => match namespaces.get(usize::try_from(number - 1).ok()?) {
            Some(Some(name)) => Some(name.clone()),
            _ => return Some(None),
        },
    };
    let mut item = SavedItem::new(key, value);
    (item.namespace, item.flags, item.cost) = (namespace, flags, cost);
    (item.expires, item.soft_expires, item.created) = (expires, soft_expires, created);
    (item.ring, item.marks) = (if heat & 1 == 1 { Ring::Main } else { Ring::Small }, heat >> 1 & MOST_MARKS);
    (item.tags, item.follows_reads) = (tags, heat & FOLLOWS_READS != 0);
    Some(Some(item))
}
