"""The greenlets of gevent, many of which share a thread. This module is imported only after gevent."""

from __future__ import annotations

import sys
import weakref
from typing import Any, Callable, Optional, Tuple

from . import _kennel

__all__ = ["call_in_thread", "current"]

_tasks: "weakref.WeakKeyDictionary[Any, _kennel.Task]" = weakref.WeakKeyDictionary()


def current() -> Optional[Tuple[_kennel.Task, Callable[[float], None]]]:
    """Returns the owner of the calling greenlet's claims, and the function with which it sleeps while other greenlets
    run. Returns ``None`` in a thread in which gevent runs no greenlets.

    If all greenlets of a thread had the same owner, one that waits for another would seem to wait for itself. If a
    greenlet waited without letting others run, it would wait forever for another greenlet of its thread.
    """
    local, greenlet = sys.modules.get("gevent._hub_local"), sys.modules.get("greenlet")
    hub = None if local is None else local.get_hub_if_exists()
    if hub is None or greenlet is None:
        return None
    running = greenlet.getcurrent()
    if running is hub:
        # The hub is the greenlet that switches between the others. While the hub itself waits, none of them can run.
        return None
    return _tasks.setdefault(running, _kennel.Task()), sys.modules["gevent"].sleep


def call_in_thread(function: Callable[[], None]) -> None:
    """Calls a function in a thread of gevent's pool. Other greenlets of the calling thread run meanwhile."""
    sys.modules["gevent"].get_hub().threadpool.apply(function)
