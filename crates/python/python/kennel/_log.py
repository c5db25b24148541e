"""Logging: the first failure of each kind is a warning, and further ones are logged at debug level."""

from __future__ import annotations

import logging
from typing import Set, Tuple

__all__ = ["log", "not_stored", "once", "stale_used"]

log = logging.getLogger("kennel")

#: The kinds that were logged as a warning. Their number is limited, because every failure of a damaged file may differ.
_warned: Set[Tuple[str, ...]] = set()
_MOST_WARNED = 1000


def once(kind: Tuple[str, ...], message: str, *args: object) -> None:
    """Logs a warning, or a message at debug level if this process has already logged one of this kind."""
    level = logging.DEBUG if kind in _warned else logging.WARNING
    if len(_warned) < _MOST_WARNED:
        _warned.add(kind)
    log.log(level, message, *args)


def not_stored(space: object, key: object, error: Exception) -> None:
    """Logs that a value could not be stored."""
    once(("store", type(error).__name__), "not stored in %r: %r: %s", space, key, error)


def stale_used(key: object, error: Exception) -> None:
    """Logs that a creator failed and its caller gets the stale value."""
    once(("stale", type(error).__name__), "creating %r failed, and its stale value is used: %r", key, error)
