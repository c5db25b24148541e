"""The clock by which the package waits."""

from __future__ import annotations

import time
from typing import Callable

__all__ = ["now"]


def now(clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds that only grow. A test that replaces the functions of the module ``time``, as with freezegun, does not
    replace this one: else a wait would have no end."""
    return clock()
