"""The creation of a missing value by the caller that holds the claim, and how it ends: the created value is stored, or
the creator's failure is reported."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Any, Awaitable, Callable, Dict, Generic, Optional, Set, Tuple, TypeVar, Union

from . import _got, _kennel
from ._clock import now
from ._created import Created, parts
from ._errors import Error
from ._finding import FIRST_PAUSE, LAST_PAUSE, own, task_of
from ._got import Got
from ._log import log, not_stored, stale_used

__all__ = ["BytesLike", "Creatable", "CreatedItem", "CreatedValue", "Note", "aend", "as_bytes", "claim_of", "end"]

BytesLike = Union[str, bytes, bytearray, memoryview]
#: What a creator may return. None means that there is no value.
Creatable = Union[BytesLike, None, "Created[Optional[BytesLike]]"]
#: A function that gets the id of a value that was found.
Note = Optional[Callable[[Tuple[int, int]], None]]
R = TypeVar("R")


def as_bytes(given: Any) -> bytes:
    """Returns the stored form of a key or a value."""
    if isinstance(given, bytes):
        return given
    return given.encode("utf-8", "surrogatepass") if isinstance(given, str) else memoryview(given).tobytes()


def _stored_parts(made: Any, should_cache: Any) -> Tuple[Optional[bytes], Dict[str, Any], bool]:
    """Splits what a creator returned into the value as bytes, how to store it, and whether to store it."""
    value, how, stored = parts(made)
    if value is None:
        return None, how, stored
    data = as_bytes(value)
    return data, how, stored and (should_cache is None or bool(should_cache(data)))


def end(space: _kennel.Space, claim: _kennel.Claim, key: object, made: Any, should_cache: Any) -> Optional[bytes]:
    """Stores a created value. If the cache cannot store it, the error is logged, and the caller still gets the
    value."""
    data, how, stored = _stored_parts(made, should_cache)
    try:
        if not stored:
            claim.refuse()
        elif data is None:
            claim.store_absence(**how)
        else:
            claim.store(data, **how)
    except Error as error:
        not_stored(space, key, error)
    return data


async def aend(
    space: _kennel.Space, claim: _kennel.Claim, key: object, made: Any, should_cache: Any
) -> Optional[bytes]:
    """Does the same as :func:`end` on an event loop."""
    data, how, stored = _stored_parts(made, should_cache)
    await _astore(space, claim, key, data, stored=stored, **how)
    return data


async def _astore(
    space: _kennel.Space, claim: _kennel.Claim, key: object, data: Optional[bytes], **how: Any
) -> Tuple[Optional[_kennel.Item], bool]:
    """Stores a created value on an event loop, whose thread must not wait for a lock. Another thread does not wait
    either, because all threads of the default executor may be busy, perhaps waiting for this value."""
    told = claim._try_store_as_item(data, **how)
    began, pause = now(), FIRST_PAUSE
    while told is None:
        if now() >= began + space.lock_wait:
            told = claim._store_as_item(data, waited=space.lock_wait, **how)
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
            told = claim._try_store_as_item(data, **how)
    return _logged(space, key, *told)


def _logged(
    space: _kennel.Space, key: object, item: Optional[_kennel.Item], is_stored: bool, error: Optional[Error]
) -> Tuple[Optional[_kennel.Item], bool]:
    if error is not None:
        not_stored(space, key, error)
    return item, is_stored


def claim_of(space: _kennel.Space, key: object, found: _kennel.Lookup) -> Optional[_kennel.Claim]:
    """Returns the claim of a lookup, if it has one. If the created value cannot be stored, logs the reason."""
    claim = found.claim
    why = None if claim is None else claim.uncached
    if why is not None:
        not_stored(space, key, why)
    return claim


class _Creation(ABC, Generic[R]):
    """One creation of the value of a key. Subclasses determine what the caller gets."""

    def __init__(
        self, space: _kennel.Space, key: object, found: _kennel.Lookup, claim: _kennel.Claim, should_cache: Any
    ) -> None:
        self.space, self.key, self.found, self.claim = space, key, found, claim
        self.should_cache = should_cache

    def run(self, create: Callable[[], Any], background: bool) -> R:
        """Calls the creator: in the background if the caller wants that and there is a stale value to use meanwhile."""
        if background and self.found.value is not None:
            _in_background(lambda: self._run(create), self.key)
            return self.meanwhile()
        return self._run(create)

    def _run(self, create: Callable[[], Any]) -> R:
        with self.claim:
            try:
                made = create()
            except Exception as error:
                return self.failed(error)
            return self.end(made)

    async def arun(self, create: Callable[[], Awaitable[Any]], background: bool) -> R:
        """Does the same as :meth:`run` for a coroutine function."""
        if background and self.found.value is not None:
            _in_background_task(lambda: self._arun(create), self.key)
            return self.meanwhile()
        return await self._arun(create)

    async def _arun(self, create: Callable[[], Awaitable[Any]]) -> R:
        with self.claim:
            try:
                made = await create()
            except Exception as error:
                return self.failed(error)
            return await self.aend(made)

    @abstractmethod
    def meanwhile(self) -> R:
        """Returns the value to use while the new one is created in the background."""

    @abstractmethod
    def failed(self, error: Exception) -> R:
        """Reports that the creator raised an exception. Returns the stale value to use instead, or raises the
        exception."""

    @abstractmethod
    def end(self, made: Any) -> R:
        """Stores a created value."""

    @abstractmethod
    async def aend(self, made: Any) -> R:
        """Does the same as :meth:`end` on an event loop."""


class CreatedValue(_Creation[Optional[bytes]]):
    """A creation whose caller gets the value alone."""

    def __init__(
        self,
        space: _kennel.Space,
        key: object,
        found: _kennel.Lookup,
        claim: _kennel.Claim,
        should_cache: Any,
        note: Note,
    ) -> None:
        super().__init__(space, key, found, claim, should_cache)
        self._note = note

    def meanwhile(self) -> Optional[bytes]:
        return self.found.value

    def failed(self, error: Exception) -> Optional[bytes]:
        stale = self.claim.fail()
        if stale is None:
            raise error
        stale_used(self.key, error)
        if self._note is not None and self.found.id is not None:
            self._note(self.found.id)
        return stale

    def end(self, made: Any) -> Optional[bytes]:
        return end(self.space, self.claim, self.key, made, self.should_cache)

    async def aend(self, made: Any) -> Optional[bytes]:
        return await aend(self.space, self.claim, self.key, made, self.should_cache)


class CreatedItem(_Creation[Got]):
    """A creation whose caller gets the item."""

    def meanwhile(self) -> Got:
        # An early refresh begins before the value is stale.
        item = self.found.item
        return Got(item, "stale" if item is not None and item.is_stale else "hit")

    def failed(self, error: Exception) -> Got:
        stale = self.claim._fail_as_item()
        if stale is None:
            raise error
        stale_used(self.key, error)
        return Got(stale, "failed")

    def end(self, made: Any) -> Got:
        data, how, stored = _stored_parts(made, self.should_cache)
        told = self.claim._store_as_item(data, stored=stored, **how)
        return _got.stored(*_logged(self.space, self.key, *told))

    async def aend(self, made: Any) -> Got:
        data, how, stored = _stored_parts(made, self.should_cache)
        return _got.stored(*await _astore(self.space, self.claim, self.key, data, stored=stored, **how))


def _in_background(work: Callable[[], Any], key: object) -> None:
    def run() -> None:
        try:
            work()
        except Exception:
            _failed_in_background(key)

    threading.Thread(target=run, name="kennel-refresh", daemon=True).start()


_refreshing: Set["asyncio.Task[None]"] = set()


def _in_background_task(work: Callable[[], Awaitable[Any]], key: object) -> None:
    owner = task_of()

    async def run() -> None:
        own(owner)
        try:
            await work()
        except Exception:
            _failed_in_background(key)

    task = asyncio.get_running_loop().create_task(run(), name="kennel-refresh")
    # The event loop keeps only weak references to tasks.
    _refreshing.add(task)
    task.add_done_callback(_refreshing.discard)


def _failed_in_background(key: object) -> None:
    log.exception("creating a new value of %r in the background failed; the next caller tries again", key)
