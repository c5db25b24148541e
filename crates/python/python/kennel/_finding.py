"""How coroutines wait for values: the thread of an event loop must not wait, so a coroutine asks again after pauses."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from . import _kennel

__all__ = ["FIRST_PAUSE", "LAST_PAUSE", "find", "own", "task_of"]

#: The pauses of a coroutine that waits for another caller's creation, in seconds: the first, and the longest.
FIRST_PAUSE, LAST_PAUSE = 0.001, 0.02

_tasks: "weakref.WeakKeyDictionary[Any, _kennel.Task]" = weakref.WeakKeyDictionary()


def task_of() -> _kennel.Task:
    """Returns the owner of the current ``asyncio`` task's claims. With it, a task that asks for the key that it creates
    gets an error."""
    current = asyncio.current_task()
    if current is None:
        return _kennel.Task()
    return _tasks.setdefault(current, _kennel.Task())


def own(owner: _kennel.Task) -> None:
    """Makes the current task use the owner of another task."""
    _tasks[asyncio.current_task()] = owner


async def find(space: _kennel.Space, key: Any, **how: Any) -> _kennel.Lookup:
    """Does the same as ``space.claim``. Between two attempts, the request remembers whose creation the caller waits
    for."""
    request = space._request(key, task=task_of(), **how)
    pause = FIRST_PAUSE
    while True:
        found = request.poll()
        if found is not None:
            return found
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)
