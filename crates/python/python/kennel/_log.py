"""What is logged: each kind of failure once as a warning, and again only for those who look for it."""

from __future__ import annotations

import logging
from typing import Set, Tuple

__all__ = ["log", "not_stored", "once"]

log = logging.getLogger("kennel")

#: Kinds that were logged as a warning. Those of a damaged file may all differ, so not all are remembered.
_warned: Set[Tuple[str, ...]] = set()
_MOST_WARNED = 1000


def once(kind: Tuple[str, ...], message: str, *args: object) -> None:
    """Logs a warning; if one of this kind was logged before in this process, for debugging only."""
    level = logging.DEBUG if kind in _warned else logging.WARNING
    if len(_warned) < _MOST_WARNED:
        _warned.add(kind)
    log.log(level, message, *args)


def not_stored(space: object, key: object, error: Exception) -> None:
    """Logs that a value could not be stored."""
    once(("store", type(error).__name__), "not stored in %r: %r: %s", space, key, error)
