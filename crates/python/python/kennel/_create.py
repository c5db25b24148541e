"""Creating what is missing: one caller of all threads and processes creates, the others wait or take the stale value."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from typing import Any, Awaitable, Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

from . import _kennel
from ._clock import now
from ._errors import Busy, Error, TimedOut
from ._log import log, not_stored
from ._memoize import Memoizing, Seconds, seconds

__all__ = ["Creating"]

BytesLike = Union[str, bytes, bytearray, memoryview]

#: Pauses of a coroutine that waits for another's creation, in seconds.
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


def as_bytes(given: Any) -> bytes:
    """A key or a value as it is stored."""
    if isinstance(given, bytes):
        return given
    return given.encode("utf-8", "surrogatepass") if isinstance(given, str) else memoryview(given).tobytes()


def _end(space: _kennel.Space, claim: _kennel.Claim, key: object, value: Any, should_cache: Any) -> Optional[bytes]:
    """Stores what a creator made. What keeps the cache from storing it is no error of the caller's."""
    data = None if value is None else as_bytes(value)
    try:
        if data is None:
            claim.store_absence()
        elif should_cache is not None and not should_cache(data):
            claim.refuse()
        else:
            claim.store(data)
    except Error as error:
        not_stored(space, key, error)
    return data


async def _aend(
    space: _kennel.Space, claim: _kennel.Claim, key: object, value: Any, should_cache: Any
) -> Optional[bytes]:
    """The same on an event loop, whose thread waits for no lock. No other thread is asked to: all threads of the default
    executor may be busy, perhaps with waiting for this very value."""
    data = None if value is None else as_bytes(value)
    if data is not None and should_cache is not None and not should_cache(data):
        claim.refuse()
        return data
    deadline, pause = now() + space.lock_wait, _FIRST_PAUSE
    try:
        while not claim._try_store(data):
            if now() >= deadline:
                claim.fail()
                raise Busy(f"the stripe's lock was busy for {space.lock_wait:.1f} seconds", waited=space.lock_wait)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
    except Error as error:
        not_stored(space, key, error)
    return data


def _claim_of(space: _kennel.Space, key: object, found: _kennel.Lookup) -> Optional[_kennel.Claim]:
    """The right to create a value, if it was given. Why it will not be stored, if so, is logged."""
    claim = found.claim
    why = None if claim is None else claim.uncached
    if why is not None:
        not_stored(space, key, why)
    return claim


class _Batch(contextlib.ExitStack):
    """What became of the keys of a list. The claims that were given end with it."""

    def __init__(self, keys: Iterable[BytesLike], wait: Optional[Seconds]) -> None:
        super().__init__()
        self._given = list(keys)
        self._stored = [as_bytes(key) for key in self._given]
        self._deadline = None if wait is None else now() + seconds(wait)
        self._values: Dict[bytes, Optional[bytes]] = {}
        self._claims: Dict[bytes, _kennel.Claim] = {}

    def in_one_order(self) -> List[bytes]:
        """The keys, each once, in an order that is the same for all callers, so that no two wait for each other."""
        return sorted(set(self._stored))

    def time_left(self) -> Optional[float]:
        return None if self._deadline is None else max(0.0, self._deadline - now())

    def found(self, key: bytes, lookup: _kennel.Lookup, claim: Optional[_kennel.Claim]) -> None:
        if claim is None:
            self._values[key] = lookup.value
        else:
            self._claims[key] = self.enter_context(claim)

    def _missing(self) -> Dict[bytes, BytesLike]:
        missing: Dict[bytes, BytesLike] = {}
        for key, name in zip(self._stored, self._given):
            if key in self._claims:
                missing.setdefault(key, name)
        return missing

    def missing(self) -> List[BytesLike]:
        """The keys to be created, in the order in which the caller named them, each once."""
        return list(self._missing().values())

    def _created(self, created: Sequence[Optional[BytesLike]]) -> List[Tuple[bytes, Optional[BytesLike]]]:
        missing = self._missing()
        if len(created) != len(missing):
            raise ValueError(f"create: expected {len(missing)} values, one for each key, found {len(created)}")
        return list(zip(missing, created))

    def _all(self) -> List[Optional[bytes]]:
        return [self._values[key] for key in self._stored]

    def finish(
        self, space: _kennel.Space, created: Sequence[Optional[BytesLike]], should_cache: Any
    ) -> List[Optional[bytes]]:
        """All values, those included that were created for the missing keys."""
        for key, value in self._created(created):
            self._values[key] = _end(space, self._claims[key], key, value, should_cache)
        return self._all()

    async def afinish(
        self, space: _kennel.Space, created: Sequence[Optional[BytesLike]], should_cache: Any
    ) -> List[Optional[bytes]]:
        """The same on an event loop."""
        for key, value in self._created(created):
            self._values[key] = await _aend(space, self._claims[key], key, value, should_cache)
        return self._all()


class Creating(_kennel.Space, Memoizing):
    """What a cache and a namespace have that is made of claims."""

    __slots__ = ()

    def get_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Optional[BytesLike]],
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        early_refresh: Optional[float] = None,
        flags: int = 0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        or_uncached: bool = False,
    ) -> Optional[bytes]:
        """The value of a key; if it has none, ``create`` makes one, and this or that caller of all threads and processes
        runs it while the others wait for its value.

        A stale value is created anew by one caller while all others get the stale one at once. If the creator dies or
        raises, the next who waits tries; what it raised reaches only its own caller. What a write, a deletion or an
        invalidation of the key comes to while it is created is returned to its creator, and not stored. A creator may
        create other keys in this way; the same key is :class:`kennel.OwnClaim`.

        :param create: makes the value; ``None`` says that there is none.
        :param ttl: seconds, or a ``timedelta``, after which the value expires.
        :param stale: seconds after which it is stale; at most ``ttl``.
        :param absence_ttl: for so long it is remembered that there is none; without it, it is not.
        :param wait: seconds to wait for another's creation; ``None`` for ever, 0 not at all. Then
            :class:`kennel.TimedOut`.
        :param unprotected: create the value all the same when the time for waiting is over. It is counted.
        :param claim_max_age: seconds after which others may create it, too, although the first lives; default 300.
        :param early_refresh: create the value anew before it is stale, or expires, with a probability that rises towards
            that moment; 1.0 is a good value, a larger one is earlier.
        :param flags: a number that is stored beside the value.
        :param should_cache: stores only values of which this says yes.
        :param background: a thread creates a stale value anew, and its creator gets the stale one, too.
        :param or_uncached: when the cache fails, create the value all the same and store nothing, as if there were no
            cache, instead of raising :class:`kennel.Error`. That is counted, and logged once for each kind of error.
        """
        found = self.claim(
            key,
            ttl=ttl,
            stale=stale,
            absence_ttl=absence_ttl,
            wait=wait,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            early_refresh=early_refresh,
            flags=flags,
            or_uncached=or_uncached,
        )
        claim = _claim_of(self, key, found)
        if claim is None:
            return found.value

        def work() -> Optional[bytes]:
            with claim:
                return _end(self, claim, key, create(), should_cache)

        if background and found.value is not None:
            _in_background(work, key)
            return found.value
        return work()

    async def aget_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Optional[BytesLike]]],
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        early_refresh: Optional[float] = None,
        flags: int = 0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        or_uncached: bool = False,
    ) -> Optional[bytes]:
        """As :meth:`get_or_create` for coroutines: ``create`` is awaited, and while others create, the event loop goes
        on. The claim is the task's. With ``background`` a task of its own creates a stale value anew."""
        how: Dict[str, Any] = dict(ttl=ttl, stale=stale, absence_ttl=absence_ttl, claim_max_age=claim_max_age, flags=flags)
        how["early_refresh"] = early_refresh
        found = await _find_or_uncached(self, key, wait, unprotected, how, or_uncached)
        claim = _claim_of(self, key, found)
        if claim is None:
            return found.value

        async def work() -> Optional[bytes]:
            with claim:
                return await _aend(self, claim, key, await create(), should_cache)

        if background and found.value is not None:
            _in_background_task(work, key)
            return found.value
        return await work()

    def get_or_create_multi(
        self,
        keys: Iterable[BytesLike],
        create: Callable[[List[Any]], Sequence[Optional[BytesLike]]],
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        flags: int = 0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        or_uncached: bool = False,
    ) -> List[Optional[bytes]]:
        """The values of many keys, in their order. Those that are missing are claimed in one order that is the same for
        all callers, so that no two wait for each other, and ``create`` gets all of them at once. It returns as many
        values, in the order of the keys that it was given.

        :param keys: the keys; one that is there twice is created once.
        :param create: makes the values of the keys that it is given, in their order; ``None`` for one that has none.
        :param ttl: seconds, or a ``timedelta``, after which the values expire.
        :param stale: seconds after which they are stale; at most ``ttl``.
        :param absence_ttl: for so long it is remembered that a key has none; without it, it is not.
        :param wait: seconds to wait for others' creations, of all keys together; ``None`` for ever, 0 not at all. Then
            :class:`kennel.TimedOut`.
        :param unprotected: create the values all the same when the time for waiting is over. It is counted.
        :param claim_max_age: seconds after which others may create them, too, although the first lives; default 300.
        :param flags: a number that is stored beside the values.
        :param should_cache: stores only values of which this says yes.
        :param or_uncached: when the cache fails, create the values all the same and store nothing.
        """
        how: Dict[str, Any] = dict(ttl=ttl, stale=stale, absence_ttl=absence_ttl, claim_max_age=claim_max_age, flags=flags)
        with _Batch(keys, wait) as batch:
            for key in batch.in_one_order():
                found = self.claim(
                    key, wait=batch.time_left(), unprotected=unprotected, or_uncached=or_uncached, **how
                )
                batch.found(key, found, _claim_of(self, key, found))
            missing = batch.missing()
            return batch.finish(self, create(missing) if missing else [], should_cache)

    async def aget_or_create_multi(
        self,
        keys: Iterable[BytesLike],
        create: Callable[[List[Any]], Awaitable[Sequence[Optional[BytesLike]]]],
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        flags: int = 0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        or_uncached: bool = False,
    ) -> List[Optional[bytes]]:
        """As :meth:`get_or_create_multi` for coroutines."""
        how: Dict[str, Any] = dict(ttl=ttl, stale=stale, absence_ttl=absence_ttl, claim_max_age=claim_max_age, flags=flags)
        with _Batch(keys, wait) as batch:
            for key in batch.in_one_order():
                found = await _find_or_uncached(self, key, batch.time_left(), unprotected, how, or_uncached)
                batch.found(key, found, _claim_of(self, key, found))
            missing = batch.missing()
            created = await create(missing) if missing else []
            return await batch.afinish(self, created, should_cache)


def _in_background(work: Callable[[], Any], key: object) -> None:
    def run() -> None:
        try:
            work()
        except Exception:
            _failed_in_background(key)

    threading.Thread(target=run, name="kennel-refresh", daemon=True).start()


_refreshing: Set["asyncio.Task[None]"] = set()


def _in_background_task(work: Callable[[], Awaitable[Any]], key: object) -> None:
    owner = _task()

    async def run() -> None:
        _own(owner)
        try:
            await work()
        except Exception:
            _failed_in_background(key)

    task = asyncio.get_running_loop().create_task(run(), name="kennel-refresh")
    # The event loop keeps only weak references.
    _refreshing.add(task)
    task.add_done_callback(_refreshing.discard)


def _failed_in_background(key: object) -> None:
    log.exception("creating %r anew in the background failed; the next caller tries again", key)


_tasks: "weakref.WeakKeyDictionary[Any, _kennel.Task]" = weakref.WeakKeyDictionary()


def _task() -> _kennel.Task:
    """Whose a coroutine's claims are: its task's, so that one that asks for its own key is told so."""
    current = asyncio.current_task()
    if current is None:
        return _kennel.Task()
    return _tasks.setdefault(current, _kennel.Task())


def _own(owner: _kennel.Task) -> None:
    """Makes this coroutine's claims those of another task."""
    _tasks[asyncio.current_task()] = owner


async def _find_or_uncached(
    space: _kennel.Space,
    key: Any,
    wait: Optional[Seconds],
    unprotected: bool,
    how: Dict[str, Any],
    or_uncached: bool,
) -> _kennel.Lookup:
    """As :func:`_find`; when the cache fails, the right to create the value without it."""
    try:
        return await _find(space, key, wait, unprotected, how)
    except Error:
        if not or_uncached:
            raise
        return space.claim(key, wait=0, task=_task(), at_once=True, or_uncached=True, **how)


async def _find(
    space: _kennel.Space, key: Any, wait: Optional[Seconds], unprotected: bool, how: Dict[str, Any]
) -> _kennel.Lookup:
    deadline = None if wait is None else now() + seconds(wait)
    # On the event loop's own thread nothing is waited for, neither a claim nor the stripe's lock.
    ask = functools.partial(space.claim, key, wait=0, at_once=True, task=_task(), **how)
    pause, busy_since = _FIRST_PAUSE, None
    while True:
        is_last = deadline is not None and now() >= deadline
        try:
            return ask()
        except TimedOut:
            if is_last and not unprotected:
                raise
            busy_since, is_over = None, is_last
        except Busy:
            busy_since = busy_since or now()
            is_over = now() - busy_since >= space.lock_wait
            if is_over and not unprotected:
                raise
        if is_over:
            return ask(unprotected=True)
        await asyncio.sleep(pause if deadline is None else min(pause, max(deadline - now(), _FIRST_PAUSE)))
        pause = min(2 * pause, _LAST_PAUSE)
