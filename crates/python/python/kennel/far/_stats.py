"""The statistics of a far tier."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FarStats"]


@dataclass(frozen=True)
class FarStats:
    """What this process did with the near tier since it opened it, or was forked."""

    hits: int
    """Reads that the near tier answered with a value."""
    absent_hits: int
    """Reads that the near tier answered with a remembered absence."""
    fills: int
    """Values and absences that were fetched and stored."""
    voided: int
    """Fetched values that were not stored because the key was changed or invalidated meanwhile."""
    bypasses: int
    """Reads that went to the server and stored nothing, for any reason."""
    untrusted: int
    """Those of them for which nothing was proved."""
    outside: int
    """Reads of keys outside the prefixes."""
    too_large: int
    """Values that were not stored because they are larger than ``near_max_value`` or than the file allows."""
    writes: int
    """Commands to the server other than reads."""
    creations: int
    """Rights to create a value that this process got."""
    lost_leases: int
    """Created values that were not stored because the lease had ended before."""
    escalations: int
    """Deletions from the near tier that failed; the whole near tier was invalidated instead."""
    revocations: int
    """Deletions for which that failed, too, and all proofs were taken back."""
    unshielded: int
    """Deletions for which nothing could be done: the near file is gone or cannot be used."""
    tracked: int
    """Connections of this process's tracker on which tracking was on."""
    pushes: int
    """Invalidation messages that its tracker received."""
    pushed_keys: int
    """Keys in those messages."""
    flushes: int
    """Invalidations of the whole near tier by its tracker."""
    proofs: int
    """Proofs that its tracker raised."""
    round_trip_us: int
    """Microseconds that the last ping of its tracker took."""
