"""The statistics of a cache."""

import pathlib
from dataclasses import dataclass
from typing import Dict, List, Optional

__all__ = [
    "Counters",
    "Entry",
    "Histogram",
    "Loaded",
    "NamespaceReads",
    "Problem",
    "Repair",
    "Resized",
    "Sample",
    "Stats",
    "StripeStats",
    "Times",
    "Verification",
]


@dataclass(frozen=True)
class Counters:
    """Counts of events since the file was created, over all processes."""

    hits: int
    """Reads that found a value."""
    misses: int
    """Reads that found no value."""
    read_retries: int
    """Attempts that reads repeated because of a concurrent write."""
    bounded_misses: int
    """Reads that gave up because of concurrent writes. They count as misses, too."""
    lock_waits: int
    """Writes that had to wait for a lock."""
    busy: int
    """Writes that gave up waiting for a lock."""
    sets: int
    """Values stored."""
    deletes: int
    """Items removed by ``delete``."""
    evictions_small: int
    """Items evicted from the small rings: they were not read often enough while they were new."""
    evictions_main: int
    """Items evicted from the main rings."""
    evictions_index: int
    """Items evicted because their bucket was full."""
    expirations: int
    """Expired items whose memory was reclaimed."""
    ghost_hits: int
    """Keys that were stored again while their eviction was remembered."""
    promotions: int
    """Items that moved from a small ring to a main ring."""
    repairs: int
    """Operations that a killed process left unfinished and another process completed or undid."""
    dropped: int
    """Damaged records that were found and removed."""
    creations: int
    """Claims of keys to create their values."""
    claim_waits: int
    """Callers that had to wait for another caller's creation or lock of a key."""
    takeovers: int
    """Claims and locks of keys that were taken over from a dead process, or because of their maximum age."""
    unprotected: int
    """Creations and locks without a claim: all claims of the stripe were held, the caller's time for waiting was over,
    or the value that it waited for was not to be cached."""
    voided: int
    """Created values that were not stored because the key was written, deleted or invalidated meanwhile."""
    uncached: int
    """Values that were created and returned but not stored, because the cache failed and ``or_uncached`` was given."""
    failed: int
    """Creations that failed: the creator raised an exception or panicked."""
    stale_on_error: int
    """Stale values that were returned because a creation failed."""
    rested: int
    """Calls that found a key at rest after failed creations, and got a stale value or an error."""

    @property
    def evictions(self) -> int:
        """All evicted items."""
        return self.evictions_small + self.evictions_main + self.evictions_index


@dataclass(frozen=True)
class Histogram:
    """How long the operations of one kind took."""

    counts: List[int]
    """The number of operations in each of 16 groups: up to 4 µs, up to four times as long, and so on; the last group has
    all that took longer than 1073 s."""
    sum: float
    """The time of all operations together, in seconds."""


@dataclass(frozen=True)
class Times:
    """How long slow operations took, over all processes since the file was created."""

    creation: Histogram
    """Creations of values, from the claim of the key to the end of the store. Those that failed are among them."""
    claim_wait: Histogram
    """Waits for another caller's creation or lock of a key."""
    lock_wait: Histogram
    """Waits of writes for a lock. Those that gave up are among them."""


@dataclass(frozen=True)
class NamespaceReads:
    """The reads of one namespace since the file was created, estimated from one read in sixteen."""

    name: str
    """The name of the namespace."""
    hits: int
    """Reads that found a value."""
    misses: int
    """Reads that found no value."""


@dataclass(frozen=True)
class Stats:
    """The contents of a cache file, and its counters over all processes, including those that have ended."""

    path: pathlib.Path
    """The path of the cache file, with symbolic links resolved."""
    format: int
    """The version of the file's format."""
    file_id: str
    """The random id of the file, 32 hexadecimal digits."""
    created_ms: int
    """When the file was created, in milliseconds since 1970."""
    strategy: str
    """The lock strategy's name."""
    file_size: int
    """The length of the file in bytes."""
    capacity: int
    """How many bytes of records the file was created for."""
    mean_item: int
    """The mean item size in bytes that the index was made for."""
    stripes: int
    """The number of stripes."""
    lock_regions: int
    """The number of locks."""
    buckets: int
    """The number of buckets in all stripes."""
    slots: int
    """The number of slots in all buckets, for items and for evicted keys that are remembered."""
    items: int
    """The number of items. An expired item counts until its memory is reclaimed."""
    used_bytes: int
    """Bytes between the tails and the heads of all rings, superseded records included."""
    largest_record: int
    """The size in bytes of the largest item that fits: key and value, each rounded up to a multiple of eight."""
    limit: str
    """The limit of what the cache holds: ``nothing`` yet, ``bytes`` if the rings are full, or ``index`` if the buckets
    are full first, because items are smaller than ``mean_item``."""
    tags: int
    """The length of the tables of tags; 0 if values cannot bear tags."""
    seats: int
    """How many processes can have the file open for writing."""
    members: int
    """The number of seats in use. A killed process counts until its seat is reused."""
    small_bytes_in: int
    """Bytes that were written to the small rings, which take new items. The number falls when a stripe is emptied."""
    small_size: int
    """The length of the small rings in bytes."""
    main_bytes_in: int
    """Bytes that were written to the main rings. The number falls when a stripe is emptied."""
    main_size: int
    """The length of the main rings in bytes."""
    counters: Counters
    """The counters since the file was created."""
    times: Times
    """How long slow operations took, since the file was created."""
    namespace_reads: List[NamespaceReads]
    """The reads of each namespace: empty if the file does not count them."""


@dataclass(frozen=True)
class Repair:
    """A repair of a stripe."""

    by_seat: int
    """The seat of the process that repaired the stripe."""
    by_pid: int
    """The id of that process, in its own container."""
    intent: str
    """The operation that was found unfinished."""


@dataclass(frozen=True)
class StripeStats:
    """The statistics of one stripe."""

    stripe: int
    """The number of the stripe, from 0."""
    items: int
    """The number of items in the stripe."""
    small_used: int
    """Bytes between tail and head of the small ring."""
    small_size: int
    """The length of the small ring in bytes."""
    main_used: int
    """Bytes between tail and head of the main ring."""
    main_size: int
    """The length of the main ring in bytes."""
    intent: Optional[str]
    """The operation in progress, of a running process or left by a killed one; None if there is none."""
    repairs: int
    """Unfinished operations that were completed or undone."""
    last_repair: Optional[Repair]
    """The last repair, or None."""
    verify_me: bool
    """Whether no process has written to the stripe since a crash of the operating system."""
    counters: Counters
    """The counters of the stripe. Only the whole file has counters of reads and waits."""


@dataclass(frozen=True)
class Problem:
    """An invariant that is violated."""

    stripe: int
    """The number of the stripe, from 0."""
    invariant: str
    """The name of the invariant, from ``docs/format.md``."""
    detail: str
    """The violation, and its place."""

    def __str__(self) -> str:
        return f"stripe {self.stripe}: {self.invariant}: {self.detail}"


@dataclass(frozen=True)
class Verification:
    """The result of ``Cache.verify``."""

    stripes: int
    """The number of stripes that were checked."""
    unchecked: List[int]
    """The stripes that could not be checked, because they were written or locked all the time."""
    records: int
    """The number of live records that were found."""
    problems: List[Problem]
    """The violated invariants."""

    @property
    def is_ok(self) -> bool:
        """Whether all checked invariants hold."""
        return not self.problems


@dataclass(frozen=True)
class Loaded:
    """What became of the items of a stream: see ``Cache.load``."""

    stored: int
    """They are stored."""
    kept: int
    """The cache has a value for the key, which it keeps."""
    expired: int
    """They have expired."""
    tagged: int
    """They bear tags, and were left out."""
    no_room: int
    """There was no room for them: the least used ones."""
    too_large: int
    """They are larger than any item of this cache can be."""
    no_namespace: int
    """The cache has no room for their namespace."""
    missing: Optional[str]
    """What the stream lacks, if it is cut or damaged; None if it is whole."""


@dataclass(frozen=True)
class Sample:
    """One number of ``Cache.samples``, with what a metrics system needs to know about it."""

    name: str
    """The name of the time series. Samples of the same name differ in their labels."""
    family: str
    """The name of the metric. Samples of one metric follow each other."""
    kind: str
    """``counter`` for a number that only grows, ``gauge`` for one that grows and falls, ``histogram`` for the number of
    operations that took at most the time in the label ``le``, their number and their sum."""
    help: str
    """What the metric means, in one sentence."""
    labels: Dict[str, str]
    """The labels, each with its value."""
    value: float
    """The number. Times are in seconds."""


@dataclass(frozen=True)
class Entry:
    """An item of a cache without its value: see ``Cache.entries`` and ``Cache.sample``."""

    key: bytes
    """The key: that of the caller for a namespace, else the stored key."""
    namespace: Optional[str]
    """The name of the item's namespace, if it has one."""
    value_len: int
    """The length of the value in bytes."""
    record_len: int
    """How many bytes of the capacity the item takes."""
    flags: int
    """The number that the caller stored with the value."""
    stamp: int
    """The stamp of the write that stored the item."""
    expires: Optional[float]
    """When the item expires, in seconds since 1970; None if it does not."""
    soft_expires: Optional[float]
    """When the item becomes stale, in seconds since 1970; None if it does not."""
    created: Optional[float]
    """When the item was created, in seconds since 1970, if that is known."""
    ring: str
    """``small`` for the ring of new items, ``main`` for the ring of items that were read while they were new."""
    marks: int
    """How often the item was read since it came into its ring, up to 3."""
    tags: int
    """How many tags the item bears. Their names are not kept."""


@dataclass(frozen=True)
class Resized:
    """What ``Cache.resize`` has done."""

    capacity_before: int
    """The capacity before, in bytes."""
    capacity: int
    """The capacity now, in bytes."""
    items_before: int
    """How many items there were before. Expired ones count until their memory is needed."""
    items: int
    """How many items the new file holds."""
    voided: int
    """Creations that were in progress. Their values were not stored."""
    took: float
    """How long all of it took, in seconds."""
    closed_for: float
    """The longest time for which the file was closed to writers, in seconds."""
