"""Open caches that several parts of a program share."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ._cache import Cache

__all__ = ["cache_at"]

_open: Dict[Tuple[str, Tuple[Tuple[str, Any], ...]], Cache] = {}


def cache_at(path: Optional[Union[str, "os.PathLike[str]"]], options: Mapping[str, Any]) -> Cache:
    """Returns the cache at a path, which is opened once in this process for each set of options.

    Frameworks create a backend per thread or per region. Without this, each of them would take a seat of the file and
    map it again.
    """
    where = "" if path is None else os.path.realpath(path)
    key = (where, tuple(sorted((name, repr(value)) for name, value in options.items())))
    cache = _open.get(key)
    if cache is None or cache.closed:
        # There is no lock, because a child that is forked meanwhile would find it taken forever. If two threads open
        # the cache at the same time, one of the two is kept.
        opened = Cache(path, **options)
        if cache is not None:
            _open[key] = opened
        cache = _open.setdefault(key, opened)
    return cache
