"""Creating missing values: one caller across all threads and processes creates a value, and the others wait for it or
get the stale value."""

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
from ._near import NEAR_BYTES, Near
from ._serializers import Serializer

__all__ = ["Creating"]

BytesLike = Union[str, bytes, bytearray, memoryview]

#: The pauses of a coroutine that waits for another caller's creation, in seconds: the first, and the longest.
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


def as_bytes(given: Any) -> bytes:
    """The stored form of a key or a value."""
    if isinstance(given, bytes):
        return given
    return given.encode("utf-8", "surrogatepass") if isinstance(given, str) else memoryview(given).tobytes()


def _end(space: _kennel.Space, claim: _kennel.Claim, key: object, value: Any, should_cache: Any) -> Optional[bytes]:
    """Stores a created value. If the cache cannot store it, this is logged and is not an error of the caller."""
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
    """Does the same as :func:`_end` on an event loop, whose thread must not wait for a lock. It does not use another
    thread either, because all threads of the default executor may be busy, perhaps waiting for this value."""
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
    """The claim of a lookup, if it has one. If its value will not be stored, the reason is logged."""
    claim = found.claim
    why = None if claim is None else claim.uncached
    if why is not None:
        not_stored(space, key, why)
    return claim


class _Batch(contextlib.ExitStack):
    """The keys of one call with their values and claims. At its end all claims end."""

    def __init__(self, keys: Iterable[BytesLike], wait: Optional[Seconds]) -> None:
        super().__init__()
        self._given = list(keys)
        self._stored = [as_bytes(key) for key in self._given]
        self._deadline = None if wait is None else now() + seconds(wait)
        self._values: Dict[bytes, Optional[bytes]] = {}
        self._claims: Dict[bytes, _kennel.Claim] = {}

    def in_one_order(self) -> List[bytes]:
        """Each key once, in an order that is the same for all callers, so that no two callers wait for each other."""
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
        """Each key to be created, once, in the caller's order."""
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
        """Stores the created values and returns the values of all keys."""
        for key, value in self._created(created):
            self._values[key] = _end(space, self._claims[key], key, value, should_cache)
        return self._all()

    async def afinish(
        self, space: _kennel.Space, created: Sequence[Optional[BytesLike]], should_cache: Any
    ) -> List[Optional[bytes]]:
        """Does the same as :meth:`finish` on an event loop."""
        for key, value in self._created(created):
            self._values[key] = await _aend(space, self._claims[key], key, value, should_cache)
        return self._all()


class Creating(_kennel.Space, Memoizing):
    """The methods of a cache and a namespace that create missing values."""

    __slots__ = ()

    def near(
        self,
        *,
        items: int = 1024,
        bytes: int = NEAR_BYTES,
        serializer: Union[str, Serializer] = "pickle",
        shared: bool = False,
        check: float = 0.0,
    ) -> Near:
        """Returns a handle for objects that each process keeps decoded, a :class:`kennel.Near`.

        Before each use a look at the cache confirms that the object is the current one: it is never older than what
        ``get`` would return, whichever process wrote or invalidated it, and there are no messages between processes.
        Every process holds its own objects.

        >>> import kennel, tempfile, os
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
        >>> near = cache.near()
        >>> near.get_or_create("point", lambda: (1, 2), ttl=600)
        (1, 2)
        >>> near.get("point") is near.get("point")
        True
        >>> cache.close(); folder.cleanup()

        Only objects that cannot change are kept unasked: None, numbers, text, bytes, dates and times, UUIDs,
        enumerations, and tuples and frozensets of these. All others are decoded for each call.

        :param items: the most objects to keep; default 1024.
        :param bytes: the most bytes of stored values whose objects are kept; objects take several times as much.
            Default 16 MiB.
        :param serializer: ``pickle`` (default), ``json``, ``bytes``, or an object with ``dumps`` and ``loads``.
        :param shared: keep other objects, too, so that all callers in a process get the same object, which none of them
            may change. Default False.
        :param check: the share of uses, from 0 to 1, in which to test whether a caller has changed a shared object; then
            :class:`kennel.Mutated` is raised. For tests; default 0.
        """
        return Near(self, items, bytes, serializer, shared, check)

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
        """Returns the value of a key, and creates it if the key has none: exactly one caller across all threads and
        processes runs ``create``; the others wait for its value.

        If the value is stale, one caller creates a new one, and all others immediately get the stale one. If a creator
        dies or raises an exception, the next waiting caller creates the value; the exception reaches only the caller
        whose ``create`` raised it. If the key is written, deleted or invalidated during the creation, the created value
        is returned to its creator and not stored. ``create`` may create other keys in this way; if it asks for its own
        key, :class:`kennel.OwnClaim` is raised.

        :param create: a function that returns the value, or ``None`` if the key has no value.
        :param ttl: time to live: seconds, or a ``timedelta``, until the value expires. The default is that of the
            namespace; without one the value does not expire.
        :param stale: seconds, or a ``timedelta``, until the value is stale; at most ``ttl``.
        :param absence_ttl: how many seconds to remember that the key has no value. By default this is not remembered.
        :param wait: how many seconds to wait for another caller's creation before :class:`kennel.TimedOut` is raised;
            ``None`` waits without limit, 0 does not wait. Default 30.
        :param unprotected: when ``wait`` is over, run ``create`` in this caller, too, instead of raising an error.
            ``stats().counters.unprotected`` counts this. Default False.
        :param claim_max_age: how many seconds a creator excludes other callers. After that one of them may create the
            value, even if the first creator is still running. Default 300.
        :param early_refresh: create a new value before the current one is stale, or expires, with a probability that
            rises towards that moment. 1.0 is a good factor; a larger one refreshes earlier. By default there is no
            early refresh.
        :param flags: a number from 0 to 2**32 - 1 that is stored with the value; default 0.
        :param should_cache: a function that gets the created value as bytes, and returns whether to store it. By
            default all values are stored.
        :param background: create the new value for a stale one in a thread of its own, so that this caller, too, gets
            the stale value immediately. Default False.
        :param or_uncached: if the cache fails, run ``create`` and store nothing, as if there were no cache, instead of
            raising :class:`kennel.Error`. ``stats().counters.uncached`` counts this, and it is logged once for each
            kind of error. Default False.
        """
        return self._get_or_create(
            key,
            create,
            None,
            ttl=ttl,
            stale=stale,
            absence_ttl=absence_ttl,
            wait=wait,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            early_refresh=early_refresh,
            flags=flags,
            should_cache=should_cache,
            background=background,
            or_uncached=or_uncached,
        )

    def _get_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Optional[BytesLike]],
        note: Optional[Callable[[Tuple[int, int]], None]],
        *,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        **how: Any,
    ) -> Optional[bytes]:
        """Does the same as :meth:`get_or_create`, and calls ``note`` with the id of a value that was found."""
        found = self.claim(key, **how)
        claim = _claim_of(self, key, found)
        if claim is None:
            if note is not None and found.id is not None:
                note(found.id)
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
        """Does the same as :meth:`get_or_create` for coroutines, with the same parameters: ``create`` is a coroutine
        function, and the event loop continues to run while another caller creates the value. The calling task owns the
        claim. With ``background`` a new task creates the new value for a stale one."""
        return await self._aget_or_create(
            key,
            create,
            None,
            ttl=ttl,
            stale=stale,
            absence_ttl=absence_ttl,
            wait=wait,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            early_refresh=early_refresh,
            flags=flags,
            should_cache=should_cache,
            background=background,
            or_uncached=or_uncached,
        )

    async def _aget_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Optional[BytesLike]]],
        note: Optional[Callable[[Tuple[int, int]], None]],
        *,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        or_uncached: bool = False,
        **how: Any,
    ) -> Optional[bytes]:
        """Does the same as :meth:`aget_or_create`, and calls ``note`` with the id of a value that was found."""
        found = await _find_or_uncached(self, key, wait, unprotected, how, or_uncached)
        claim = _claim_of(self, key, found)
        if claim is None:
            if note is not None and found.id is not None:
                note(found.id)
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
        """Returns the values of many keys, in the order of the keys, and creates the missing ones in one call of
        ``create``. Keys are claimed in an order that is the same for all callers, so two callers never wait for each
        other.

        :param keys: the keys. A key that occurs twice is created once.
        :param create: a function that gets the list of the keys to create, and returns as many values in the same
            order, with ``None`` for each key that has no value.
        :param ttl: time to live: seconds, or a ``timedelta``, until the values expire. The default is that of the
            namespace; without one they do not expire.
        :param stale: seconds, or a ``timedelta``, until the values are stale; at most ``ttl``.
        :param absence_ttl: how many seconds to remember that a key has no value. By default this is not remembered.
        :param wait: how many seconds to wait for other callers' creations of all keys together, before
            :class:`kennel.TimedOut` is raised; ``None`` waits without limit, 0 does not wait. Default 30.
        :param unprotected: when ``wait`` is over, create the remaining values in this caller, too, instead of raising
            an error. ``stats().counters.unprotected`` counts this. Default False.
        :param claim_max_age: how many seconds a creator excludes other callers. After that one of them may create the
            value, even if the first creator is still running. Default 300.
        :param flags: a number from 0 to 2**32 - 1 that is stored with each value; default 0.
        :param should_cache: a function that gets a created value as bytes, and returns whether to store it. By default
            all values are stored.
        :param or_uncached: if the cache fails, create the values and store nothing, instead of raising
            :class:`kennel.Error`. Default False.
        """
        how: Dict[str, Any] = dict(
            ttl=ttl, stale=stale, absence_ttl=absence_ttl, claim_max_age=claim_max_age, flags=flags
        )
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
        """Does the same as :meth:`get_or_create_multi` for coroutines, with the same parameters: ``create`` is a
        coroutine function."""
        how: Dict[str, Any] = dict(
            ttl=ttl, stale=stale, absence_ttl=absence_ttl, claim_max_age=claim_max_age, flags=flags
        )
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
    # The event loop keeps only weak references to tasks.
    _refreshing.add(task)
    task.add_done_callback(_refreshing.discard)


def _failed_in_background(key: object) -> None:
    log.exception("creating a new value of %r in the background failed; the next caller tries again", key)


_tasks: "weakref.WeakKeyDictionary[Any, _kennel.Task]" = weakref.WeakKeyDictionary()


def _task() -> _kennel.Task:
    """The owner of the claims of the current ``asyncio`` task, so that a task that asks for its own key gets an
    error."""
    current = asyncio.current_task()
    if current is None:
        return _kennel.Task()
    return _tasks.setdefault(current, _kennel.Task())


def _own(owner: _kennel.Task) -> None:
    """Makes the current task use an owner that another task has."""
    _tasks[asyncio.current_task()] = owner


async def _find_or_uncached(
    space: _kennel.Space,
    key: Any,
    wait: Optional[Seconds],
    unprotected: bool,
    how: Dict[str, Any],
    or_uncached: bool,
) -> _kennel.Lookup:
    """Does the same as :func:`_find`. If the cache fails and ``or_uncached`` is set, the lookup has the right to create
    the value without storing it."""
    try:
        return await _find(space, key, wait, unprotected, how)
    except Error:
        if not or_uncached:
            raise
        return space.claim(key, wait=0, task=_task(), nonblocking=True, or_uncached=True, **how)


async def _find(
    space: _kennel.Space, key: Any, wait: Optional[Seconds], unprotected: bool, how: Dict[str, Any]
) -> _kennel.Lookup:
    deadline = None if wait is None else now() + seconds(wait)
    # The thread of the event loop must not wait, neither for a claim nor for the lock of a stripe.
    ask = functools.partial(space.claim, key, wait=0, nonblocking=True, task=_task(), **how)
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
