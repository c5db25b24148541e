"""Pauses between attempts, during which other greenlets run."""

from __future__ import annotations

import sys
import time
from typing import Callable, Optional

__all__ = ["FIRST_PAUSE", "LAST_PAUSE", "sleeper_of_greenlet", "sleep"]

#: The pauses between attempts while another caller creates the value, in seconds: the first, and the longest.
FIRST_PAUSE, LAST_PAUSE = 0.005, 0.1


def sleeper_of_greenlet() -> Optional[Callable[[float], None]]:
    """Returns the function with which the calling greenlet sleeps. Returns None in a thread without greenlets."""
    if "gevent" not in sys.modules:
        return None
    from .._gevent import current

    greenlet = current()
    return None if greenlet is None else greenlet[1]


def sleep(seconds: float) -> None:
    """Waits while other greenlets, or other threads, run."""
    (sleeper_of_greenlet() or time.sleep)(seconds)
