"""The statistics of a far tier."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FarStats"]


@dataclass(frozen=True)
class FarStats:
    """Counters of this process since it opened the far tier or was forked. The near tier is the near file."""

    hits: int
    """Reads that the near tier answered with a value."""
    absent_hits: int
    """Reads that the near tier answered with a remembered absence."""
    brief_hits: int
    """Reads among ``hits`` and ``absent_hits`` that were answered without a proof that all changes had arrived, from an
    answer that was fetched at most ``max_staleness`` before."""
    fills: int
    """Values and absences that were fetched from the server and stored in the near file."""
    voided: int
    """Fetched values that were not stored because the key was changed or invalidated meanwhile."""
    hot_keys: int
    """How often a key was left out of the near file for a second because it changes too often."""
    bypasses: int
    """Reads that asked the server and stored nothing in the near file, for any reason."""
    untrusted: int
    """Reads among ``bypasses`` for which there was no proof that all changes had arrived."""
    outside: int
    """Reads of keys outside the prefixes."""
    too_large: int
    """Values that were not stored because they are larger than ``near_max_value`` or than the file allows."""
    writes: int
    """Commands to the server other than reads."""
    creations: int
    """How often a caller in this process got the right to create a value."""
    lost_leases: int
    """Created values that were not stored because the lease had already ended."""
    escalations: int
    """Deletions from the near file that failed, so that the whole near file was invalidated instead."""
    revocations: int
    """Deletions for which this invalidation failed, too, so that all proofs were revoked."""
    unshielded: int
    """Deletions for which nothing could be done, because the near file is gone or cannot be used."""
    tracked: int
    """Connections on which this process's tracker turned tracking on."""
    pushes: int
    """Invalidation messages that this process's tracker received."""
    pushed_keys: int
    """Keys in these messages."""
    flushes: int
    """Invalidations of the whole near file by this process's tracker."""
    proofs: int
    """Proofs that this process's tracker renewed."""
    round_trip_us: int
    """How many microseconds the last ping of this process's tracker took."""
