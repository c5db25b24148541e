"""Far tiers that several parts of a program share."""

from __future__ import annotations

import os
from typing import Any, Dict, Tuple

from ._cache import FarCache

__all__ = ["far_at"]

_open: Dict[Tuple[Any, ...], FarCache] = {}


def far_at(url: str, *, path: "os.PathLike[str] | str", **options: Any) -> FarCache:
    """Returns a far tier. A process opens it once for each set of options.

    Frameworks create a backend per thread or per region. Without this function, each backend would start a keeper.
    """
    key = url, os.path.realpath(path), tuple(sorted((name, repr(value)) for name, value in options.items()))
    far = _open.get(key)
    if far is None or far.closed:
        # This takes no lock: a child that is forked while a thread holds the lock could never take it. If two threads
        # open the far tier at the same time, both use one of the two.
        opened = FarCache(url, path=path, **options)
        if far is not None:
            _open[key] = opened
        far = _open.setdefault(key, opened)
    return far
