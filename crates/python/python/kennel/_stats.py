"""What a cache tells about itself."""

import pathlib
from dataclasses import dataclass
from typing import List, Optional

__all__ = ["Counters", "Problem", "Repair", "Stats", "StripeStats", "Verification"]


@dataclass(frozen=True)
class Counters:
    """Counts of events since the file was created, over all processes."""

    hits: int
    """Reads that found a value."""
    misses: int
    """Reads that found none."""
    read_retries: int
    """Further looks that reads took because a writer came in between."""
    bounded_misses: int
    """Reads that gave up waiting for a writer; they count as misses, too."""
    lock_waits: int
    """Writes that had to wait for a lock."""
    busy: int
    """Writes that gave up waiting for a lock."""
    sets: int
    """Values stored."""
    deletes: int
    """Items removed by ``delete``."""
    evictions_small: int
    """Items evicted from the small rings: not read often enough since they came."""
    evictions_main: int
    """Items evicted from the main rings."""
    evictions_index: int
    """Items evicted because their bucket was full."""
    expirations: int
    """Expired items whose memory was taken back."""
    ghost_hits: int
    """Keys that were stored again while their eviction was remembered."""
    promotions: int
    """Items that moved from a small ring to a main ring."""
    repairs: int
    """Operations that a killed process left half done and another completed or undid."""
    dropped: int
    """Records that were damaged, found and left out."""
    creations: int
    """Creations begun by one caller for all."""
    claim_waits: int
    """Callers that had to wait for another's creation or lock of a key."""
    takeovers: int
    """Creations and locks that others took over, from a dead process or past their greatest age."""
    unprotected: int
    """Creations and locks without protection: all claims of the stripe were held, or the caller did not wait longer, or
    the value that it waited for was not to be cached."""
    voided: int
    """Created values that were not stored since the key was written, deleted or invalidated meanwhile."""
    uncached: int
    """Values that were created without the cache, which failed, since ``or_uncached`` was asked for."""

    @property
    def evictions(self) -> int:
        """Items evicted, whatever the cause."""
        return self.evictions_small + self.evictions_main + self.evictions_index


@dataclass(frozen=True)
class Stats:
    """What a cache holds and what happened to it, over all processes, the dead ones included."""

    path: pathlib.Path
    """The cache file, symbolic links resolved."""
    format: int
    """Version of the file's format."""
    file_id: str
    """The random id of the file, 32 hexadecimal digits."""
    strategy: str
    """The lock strategy's name."""
    file_size: int
    """Length of the file in bytes."""
    capacity: int
    """Bytes of records that it was created to hold."""
    mean_item: int
    """The mean item size that its index was made for, in bytes."""
    stripes: int
    """Number of stripes."""
    lock_regions: int
    """Number of locks."""
    buckets: int
    """Buckets of all stripes."""
    slots: int
    """Slots of all buckets: items and remembered evicted keys together."""
    items: int
    """Items held; one that is expired counts until its memory is needed."""
    used_bytes: int
    """Bytes between the tails and the heads of all rings, superseded records included."""
    largest_record: int
    """Key and value bytes of the largest item that fits, lengths rounded up to eight."""
    limit: str
    """What keeps the cache from holding more: ``nothing``, ``bytes`` or ``index``."""
    seats: int
    """Processes that can have the file open for writing."""
    members: int
    """Seats in use; a killed process counts until its seat is taken again."""
    counters: Counters
    """What was counted since the file was created."""


@dataclass(frozen=True)
class Repair:
    """A repair of a stripe."""

    by_seat: int
    """Seat of the process that repaired."""
    by_pid: int
    """Its process id, in its own container."""
    intent: str
    """The operation that was found half done."""


@dataclass(frozen=True)
class StripeStats:
    """One stripe."""

    stripe: int
    """Its number, from 0."""
    items: int
    """Items it holds."""
    small_used: int
    """Bytes between tail and head of its small ring."""
    small_size: int
    """Length of its small ring in bytes."""
    main_used: int
    """Bytes between tail and head of its main ring."""
    main_size: int
    """Length of its main ring in bytes."""
    intent: Optional[str]
    """The operation in flight, if one is: of a living process, or left by a killed one."""
    repairs: int
    """Operations left half done that were completed or undone."""
    last_repair: Optional[Repair]
    """The last of them."""
    verify_me: bool
    """A crash of the operating system lies behind, and nobody has written to this stripe since."""
    counters: Counters
    """What was counted in this stripe; reads are counted elsewhere."""


@dataclass(frozen=True)
class Problem:
    """An invariant that does not hold."""

    stripe: int
    """The stripe, from 0."""
    invariant: str
    """The invariant's name, as ``docs/format.md`` lists it."""
    detail: str
    """What was found where."""

    def __str__(self) -> str:
        return f"stripe {self.stripe}: {self.invariant}: {self.detail}"


@dataclass(frozen=True)
class Verification:
    """The result of ``Cache.verify``."""

    stripes: int
    """Stripes checked."""
    unchecked: List[int]
    """Stripes that could not be looked at between two writes: nothing is said of them."""
    records: int
    """Live records found."""
    problems: List[Problem]
    """What does not hold."""

    @property
    def is_ok(self) -> bool:
        """Whether every invariant holds that was checked."""
        return not self.problems
