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
    """Counts of events since the file was created, in all processes."""

    hits: int
    """Reads that found a value."""
    misses: int
    """Reads that found no value."""
    read_retries: int
    """Attempts that reads repeated because of a concurrent write."""
    bounded_misses: int
    """Reads that gave up because of concurrent writes. They also count as misses."""
    lock_waits: int
    """Writes that had to wait for a lock."""
    busy: int
    """Writes that gave up waiting for a lock."""
    sets: int
    """Values stored."""
    deletes: int
    """Items removed by ``delete``."""
    evictions_small: int
    """Items evicted from the small rings, because they were not read often enough while they were new."""
    evictions_main: int
    """Items evicted from the main rings."""
    evictions_index: int
    """Items evicted because their bucket was full."""
    expirations: int
    """Expired items whose memory was reclaimed."""
    ghost_hits: int
    """Evicted keys that were stored again while the cache still remembered their eviction."""
    promotions: int
    """Items that moved from a small ring to a main ring."""
    repairs: int
    """Operations that a killed process left unfinished, and that another process completed or undid."""
    dropped: int
    """Damaged records that were found and removed."""
    creations: int
    """Claims that callers took in order to create values."""
    claim_waits: int
    """Callers that had to wait for another caller's creation or lock of a key."""
    takeovers: int
    """Claims and locks of keys that were taken over from a dead process, or because of their maximum age."""
    unprotected: int
    """Creations and locks without a claim, because all claims of the stripe were held, the caller's time for waiting
    was over, or the creator of the value that it waited for did not store the value."""
    voided: int
    """Created values that were not stored because the key was written, deleted or invalidated meanwhile."""
    uncached: int
    """Values that were created and returned but not stored, because the cache failed and ``or_uncached`` was given."""
    failed: int
    """Creations that failed, because the creator raised an exception."""
    stale_on_error: int
    """Stale values that were returned because a creation failed."""
    rested: int
    """Calls that found a key at rest after failed creations, and got the stale value or an error."""

    @property
    def evictions(self) -> int:
        """All evicted items."""
        return self.evictions_small + self.evictions_main + self.evictions_index


@dataclass(frozen=True)
class Histogram:
    """How long the operations of one kind took."""

    counts: List[int]
    """The number of operations in each of 16 groups. The first group has those that took up to 4 µs, and the limit of
    each group is four times that of the one before. The last group has those that took longer than 1073 s."""
    sum: float
    """The total time of all operations, in seconds."""


@dataclass(frozen=True)
class Times:
    """How long slow operations took, in all processes since the file was created."""

    creation: Histogram
    """Creations of values, from the claim of the key to the end of the store, including those that failed."""
    claim_wait: Histogram
    """Waits for another caller's creation or lock of a key."""
    lock_wait: Histogram
    """Waits of writes for a lock, including those that gave up."""


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
    """The contents of a cache file, and its counters of all processes, including those that have ended."""

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
    """How many bytes of records the file has room for."""
    mean_item: int
    """The mean size of an item in bytes for which the index was made."""
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
    """Bytes between the tails and the heads of all rings, including superseded records."""
    largest_record: int
    """The size in bytes of the largest item that fits: key and value, each rounded up to a multiple of eight."""
    limit: str
    """What limits how much the cache holds: ``nothing`` yet, ``bytes`` if the rings are full, or ``index`` if the
    buckets are full before the rings, because items are smaller than ``mean_item``."""
    tags: int
    """The number of places in the tables of tags; 0 if values cannot bear tags."""
    seats: int
    """How many processes can have the file open for writing at the same time."""
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
    """The process id of that process, as seen in its own container."""
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
    """The operation in progress, which a running process executes or a killed one left unfinished; None if there is
    none."""
    repairs: int
    """The number of unfinished operations that were completed or undone."""
    last_repair: Optional[Repair]
    """The last repair, or None."""
    verify_me: bool
    """Whether no process has written to the stripe since a crash of the operating system."""
    counters: Counters
    """The counters of the stripe. Those of reads and waits are 0, because only the whole file has them."""


@dataclass(frozen=True)
class Problem:
    """An invariant that is violated."""

    stripe: int
    """The number of the stripe, from 0."""
    invariant: str
    """The name of the invariant, from ``docs/format.md``."""
    detail: str
    """The violation, and where in the stripe it is."""

    def __str__(self) -> str:
        return f"stripe {self.stripe}: {self.invariant}: {self.detail}"


@dataclass(frozen=True)
class Verification:
    """The result of ``Cache.verify``."""

    stripes: int
    """The number of stripes that were checked."""
    unchecked: List[int]
    """The numbers of the stripes that could not be checked, because they were written or locked all the time."""
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
    """How many items of a stream were stored, and how many were left out and why: see ``Cache.load``."""

    stored: int
    """Items that were stored."""
    kept: int
    """Items left out because the cache keeps the value that it has for the key."""
    expired: int
    """Items left out because they have expired."""
    tagged: int
    """Items left out because they bear tags."""
    no_room: int
    """Items left out because there was no room for them, the least used ones."""
    too_large: int
    """Items left out because they are larger than the largest item that fits in this cache."""
    no_namespace: int
    """Items left out because the cache has no room for their namespace."""
    missing: Optional[str]
    """What is missing from the stream, if it is cut off or damaged; None if it is complete."""


@dataclass(frozen=True)
class Sample:
    """One number of ``Cache.samples``, with what a metrics system needs to know about it."""

    name: str
    """The name of the time series. Samples with the same name differ in their labels."""
    family: str
    """The name of the metric. All samples of a metric come one after another."""
    kind: str
    """``counter`` for a number that only grows, ``gauge`` for one that grows and falls, ``histogram`` for one of the
    numbers of a histogram: how many operations took at most the time in the label ``le``, their total number, or their
    total time."""
    help: str
    """What the metric means, in one sentence."""
    labels: Dict[str, str]
    """The labels by their names, each with its value."""
    value: float
    """The number. Times are in seconds."""


@dataclass(frozen=True)
class Entry:
    """An item of a cache without its value: see ``Cache.entries`` and ``Cache.sample``."""

    key: bytes
    """The key. Entries of a namespace have the caller's key; entries of a cache have the stored key."""
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
    """How often the item was read since it was put into its ring; at most 3."""
    tags: int
    """How many tags the item bears. The cache does not keep their names."""


@dataclass(frozen=True)
class Resized:
    """The result of ``Cache.resize``."""

    capacity_before: int
    """The capacity before, in bytes."""
    capacity: int
    """The capacity now, in bytes."""
    items_before: int
    """The number of items before, including expired ones whose memory has not been reclaimed."""
    items: int
    """The number of items in the new file."""
    voided: int
    """The number of creations that were in progress, and whose values are not stored."""
    took: float
    """How long the whole resize took, in seconds."""
    closed_for: float
    """The longest time for which writers had to wait, in seconds."""
