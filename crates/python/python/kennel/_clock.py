"""The clock for waits."""

from __future__ import annotations

import time
from typing import Callable

__all__ = ["now"]


def now(clock: Callable[[], float] = time.monotonic) -> float:
    """Returns the time of a monotonic clock in seconds. If a test replaces the functions of the module ``time``, for
    example with freezegun, this clock still runs; otherwise waits would never end."""
    return clock()
