"""Open caches that several parts of a program share."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ._cache import Cache

__all__ = ["cache_at"]

_open: Dict[Tuple[str, Tuple[Tuple[str, Any], ...]], Cache] = {}


def cache_at(path: Optional[Union[str, "os.PathLike[str]"]], options: Mapping[str, Any]) -> Cache:
    """Returns the cache at a path. A process opens the file once for each set of options.

    Frameworks create a backend per thread or per region. Without this function, each backend would take a seat of the
    file and map it again.
    """
    where = "" if path is None else os.path.realpath(path)
    key = (where, tuple(sorted((name, repr(value)) for name, value in options.items())))
    cache = _open.get(key)
    if cache is None or cache.closed:
        # This takes no lock: a child that is forked while a thread holds the lock could never take it. If two threads
        # open the cache at the same time, both use one of the two caches.
        opened = Cache(path, **options)
        if cache is not None:
            _open[key] = opened
        cache = _open.setdefault(key, opened)
    return cache
