"""Greenlets of gevent: many of them share a thread and take turns. Imported once gevent is."""

from __future__ import annotations

import sys
import weakref
from typing import Any, Callable, Optional, Tuple

from . import _kennel

__all__ = ["current"]

_tasks: "weakref.WeakKeyDictionary[Any, _kennel.Task]" = weakref.WeakKeyDictionary()


def current() -> Optional[Tuple[_kennel.Task, Callable[[float], None]]]:
    """Who the calling greenlet is, and how it lets others run; ``None`` in a thread where gevent runs none.

    Without an owner of their own, two greenlets of a thread would look like one that waits for itself. One that waited
    without letting others run would wait for a greenlet that cannot go on.
    """
    local, greenlet = sys.modules.get("gevent._hub_local"), sys.modules.get("greenlet")
    hub = None if local is None else local.get_hub_if_exists()
    if hub is None or greenlet is None:
        return None
    running = greenlet.getcurrent()
    if running is hub:
        # The hub runs the others; while it waits itself, none of them does.
        return None
    return _tasks.setdefault(running, _kennel.Task()), sys.modules["gevent"].sleep
