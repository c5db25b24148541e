"""The statistics of a cache."""

import pathlib
from dataclasses import dataclass
from typing import Dict, List, Optional

__all__ = ["Counters", "Entry", "Problem", "Repair", "Sample", "Stats", "StripeStats", "Verification"]


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

    @property
    def evictions(self) -> int:
        """All evicted items."""
        return self.evictions_small + self.evictions_main + self.evictions_index


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
    seats: int
    """How many processes can have the file open for writing."""
    members: int
    """The number of seats in use. A killed process counts until its seat is reused."""
    counters: Counters
    """The counters since the file was created."""


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
class Sample:
    """One number of ``Cache.samples``, with what a metrics system needs to know about it."""

    name: str
    """The name of the metric. Samples of the same name follow each other and differ in their labels."""
    kind: str
    """``counter`` for a number that only grows, ``gauge`` for one that grows and falls."""
    help: str
    """What the metric means, in one sentence."""
    labels: Dict[str, str]
    """The labels, each with its value."""
    value: int
    """The number."""


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
