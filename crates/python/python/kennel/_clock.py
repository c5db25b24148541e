"""The clock for waits."""

from __future__ import annotations

import time
from typing import Callable

__all__ = ["now"]


def now(clock: Callable[[], float] = time.monotonic) -> float:
    """Returns the time of a monotonic clock in seconds. A test that replaces the functions of the module ``time``, for
    example with freezegun, does not replace this clock; otherwise waits would never end."""
    return clock()
