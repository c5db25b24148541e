"""Open caches that the parts of a program share."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ._cache import Cache

__all__ = ["cache_at"]

_open: Dict[Tuple[str, Tuple[Tuple[str, Any], ...]], Cache] = {}


def cache_at(path: Optional[Union[str, "os.PathLike[str]"]], options: Mapping[str, Any]) -> Cache:
    """The cache at a path, opened once in this process for each set of options.

    Frameworks make a backend per thread or per region; each would take a seat of the file and map it once more.
    """
    where = "" if path is None else os.path.realpath(path)
    key = (where, tuple(sorted((name, repr(value)) for name, value in options.items())))
    cache = _open.get(key)
    if cache is None or cache.closed:
        # No lock, which a child that was forked meanwhile would find taken: of two that open, one is kept.
        opened = Cache(path, **options)
        if cache is not None:
            _open[key] = opened
        cache = _open.setdefault(key, opened)
    return cache
