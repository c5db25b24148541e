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
    run; ``None`` in a thread in which gevent runs no greenlets.

    If the greenlets of a thread had one owner, a greenlet that waits for another would seem to wait for itself. If it
    waited without letting others run, it would wait forever for a greenlet of its own thread.
    """
    local, greenlet = sys.modules.get("gevent._hub_local"), sys.modules.get("greenlet")
    hub = None if local is None else local.get_hub_if_exists()
    if hub is None or greenlet is None:
        return None
    running = greenlet.getcurrent()
    if running is hub:
        # The hub switches between the greenlets. While it waits itself, none of them runs.
        return None
    return _tasks.setdefault(running, _kennel.Task()), sys.modules["gevent"].sleep


def call_in_thread(function: Callable[[], None]) -> None:
    """Calls a function in a thread of gevent's pool. Other greenlets of the calling thread run meanwhile."""
    sys.modules["gevent"].get_hub().threadpool.apply(function)
