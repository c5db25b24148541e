"""Creating missing values: one caller across all threads and processes creates a value, and the others wait for it or
get the stale value."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from . import _got, _kennel
from ._clock import now
from ._ending import BytesLike, Creatable, CreatedItem, CreatedValue, Note, aend, as_bytes, claim_of, end
from ._finding import find
from ._given import given
from ._got import Got
from ._log import stale_used
from ._memoize import Memoizing
from ._near import NEAR_BYTES, Near
from ._serializers import Serializer
from ._times import Seconds, seconds

if TYPE_CHECKING:
    from ._created import Tags

__all__ = ["Creating"]


class _Batch(contextlib.ExitStack):
    """The keys of one call with their values and claims. When the ``with`` block ends, all claims end."""

    def __init__(self, keys: Iterable[BytesLike], wait: Optional[Seconds]) -> None:
        super().__init__()
        self._given = list(keys)
        self._stored = [as_bytes(key) for key in self._given]
        self._deadline = None if wait is None else now() + seconds(wait)
        self._values: Dict[bytes, Optional[bytes]] = {}
        self._claims: Dict[bytes, _kennel.Claim] = {}

    def in_one_order(self) -> List[bytes]:
        """Returns each key once, in an order that is the same for all callers, so that no two callers wait for each
        other."""
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
        """Returns each key whose value this caller creates, once, in the caller's order."""
        return list(self._missing().values())

    def _created(self, created: Sequence[Creatable]) -> List[Tuple[bytes, Creatable]]:
        missing = self._missing()
        if len(created) != len(missing):
            raise ValueError(f"create: expected {len(missing)} values, one for each key, found {len(created)}")
        return list(zip(missing, created))

    def _all(self) -> List[Optional[bytes]]:
        return [self._values[key] for key in self._stored]

    def failed(self, error: Exception) -> List[Optional[bytes]]:
        """Reports that the creator raised an exception. If each missing key has a stale value, returns the values of
        all keys; otherwise raises the exception."""
        for key, claim in self._claims.items():
            self._values[key] = claim.fail()
        if any(self._values[key] is None for key in self._claims):
            raise error
        for key in self._claims:
            stale_used(key, error)
        return self._all()

    def finish(
        self, space: _kennel.Space, created: Sequence[Creatable], should_cache: Any
    ) -> List[Optional[bytes]]:
        """Stores the created values and returns the values of all keys."""
        for key, value in self._created(created):
            self._values[key] = end(space, self._claims[key], key, value, should_cache)
        return self._all()

    async def afinish(
        self, space: _kennel.Space, created: Sequence[Creatable], should_cache: Any
    ) -> List[Optional[bytes]]:
        """Does the same as :meth:`finish` on an event loop."""
        for key, value in self._created(created):
            self._values[key] = await aend(space, self._claims[key], key, value, should_cache)
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
        """Returns a :class:`kennel.Near`, which keeps decoded objects in this process.

        Before each use, the process looks in the cache whether the object is still the current one. So an object is
        never older than what ``get`` would return, whichever process wrote or invalidated the value, and processes
        exchange no messages. Every process holds its own objects.

        >>> import kennel, tempfile, os
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
        >>> near = cache.near()
        >>> near.get_or_create("point", lambda: (1, 2), ttl=600)
        (1, 2)
        >>> near.get("point") is near.get("point")
        True
        >>> cache.close(); folder.cleanup()

        By default only objects that cannot change are kept: None, numbers, text, bytes, dates and times, UUIDs,
        enumerations, and tuples and frozensets of these. All others are decoded for each call.

        :param items: the largest number of objects to keep; default 1024.
        :param bytes: the largest total size of the kept objects, counted in bytes of their keys and stored values; the
            decoded objects take several times as much memory. Default 16 MiB.
        :param serializer: ``pickle`` (default), ``json``, ``bytes``, or an object with ``dumps`` and ``loads``.
        :param shared: keep other objects, too. All callers in the process then get the same object, and none of them
            may change it. Default False.
        :param check: the share of uses, from 0 to 1, in which to test whether a caller has changed a shared object. If
            so, :class:`kennel.Mutated` is raised. For tests; default 0.
        """
        return Near(self, items, bytes, serializer, shared, check)

    def get_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Creatable],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> Optional[bytes]:
        """Returns the value of a key. If the key has none, exactly one caller across all threads and processes runs
        ``create``, and the others wait for its value.

        If the value is stale, one caller creates a new one, and all others immediately get the stale one. If a creator
        dies or raises an exception, the next waiting caller creates the value; the exception reaches only the caller
        whose ``create`` raised it. If the key is written, deleted or invalidated during the creation, the created value
        is returned to its creator and not stored. ``create`` may create other keys in this way; if it asks for its own
        key, :class:`kennel.OwnClaim` is raised.

        :param create: a function that returns the value, or ``None`` if the key has no value, or a
            :class:`kennel.Created`, a value with times and tags of its own.
        :param ttl: time to live: seconds, or a ``timedelta``, until the value expires. The default is that of the
            namespace; without one the value does not expire.
        :param stale: seconds, or a ``timedelta``, until the value is stale; at most ``ttl``.
        :param absence_ttl: how many seconds to remember that the key has no value. By default this is not remembered.
        :param wait: how many seconds to wait for another caller's creation before :class:`kennel.TimedOut` is raised;
            ``None`` waits without limit, 0 does not wait. Default 30.
        :param unprotected: when ``wait`` is over, run ``create`` in this caller, too, instead of raising an error.
            ``stats().counters.unprotected`` counts this. Default False.
        :param claim_max_age: how many seconds a creator excludes other callers. After that, one of them may create the
            value, even if the first creator is still running. Default 300.
        :param early_refresh: create a new value before the current one becomes stale or expires, with a probability
            that rises as that moment approaches. 1.0 is a good factor; a larger one refreshes earlier. By default there
            is no early refresh.
        :param flags: a number from 0 to 2**32 - 1 that is stored with the value; default 0.
        :param should_cache: a function that gets the created value as bytes, and returns whether to store it. By
            default all values are stored.
        :param background: if the value is stale, create the new one in a thread of its own, so that this caller, too,
            gets the stale value immediately. Default False.
        :param or_uncached: if the cache fails, run ``create`` and store nothing, as if there were no cache, instead of
            raising :class:`kennel.Error`. ``stats().counters.uncached`` counts these calls, and each kind of error is
            logged as a warning once. Default False.
        :param on_error: what follows if ``create`` raises an exception. ``raise`` (default): this caller gets the
            exception. ``stale``: it gets the stale value, and the exception is logged, if there is a stale value that
            has not expired and was not deleted, replaced or invalidated meanwhile. ``stats().counters.stale_on_error``
            counts this.
        :param retry_after: how many seconds the key rests after ``create`` raised an exception: no process then creates
            its value, and callers get the stale value, or :class:`kennel.Resting` is raised. Two numbers: the first
            pause, which doubles with each failure in a row, and the longest, such as ``(1, 30)``. A write of the key or
            an invalidation ends the pause. By default there is no pause.
        :param share_failure: raise :class:`kennel.FailedElsewhere` if the creation for which this caller waits fails,
            instead of running ``create``, too. Default False.
        :param resilient: all of ``on_error="stale"``, ``retry_after=(1, 30)``, ``share_failure`` and ``or_uncached``.
            Default False.
        :param tags: the names of the tags of the value, or of the remembered absence, at most :data:`kennel.MAX_TAGS`.
            An invalidation of one of them by :meth:`invalidate_tags` also covers a value whose creation has begun.
        """
        return self._get_or_create(
            key,
            create,
            None,
            should_cache=should_cache,
            background=background,
            **given(
                ttl,
                stale,
                absence_ttl,
                wait,
                unprotected,
                claim_max_age,
                early_refresh,
                flags,
                or_uncached,
                on_error,
                retry_after,
                share_failure,
                resilient,
                tags,
            ),
        )

    def _get_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Creatable],
        note: Note,
        *,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        **how: Any,
    ) -> Optional[bytes]:
        """Does the same as :meth:`get_or_create`, and calls ``note`` with the id of a value that was found."""
        found = self.claim(key, **how)
        claim = claim_of(self, key, found)
        if claim is None:
            if note is not None and found.id is not None:
                note(found.id)
            return found.value
        return CreatedValue(self, key, found, claim, should_cache, note).run(create, background)

    def get_or_create_item(
        self,
        key: BytesLike,
        create: Callable[[], Creatable],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> Got:
        """Does the same as :meth:`get_or_create`, with the same parameters, but returns a :class:`kennel.Got`: the
        value with its metadata, and how this caller came to it. With these a program can tell a client how long it may
        keep the value, or count how many values were created.

        >>> import kennel, tempfile, os
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
        >>> page = cache.get_or_create_item("page", lambda: "<html>", ttl=60)
        >>> page.source, page.item.value
        ('created', b'<html>')
        >>> again = cache.get_or_create_item("page", lambda: "<html>", ttl=60)
        >>> again.source, again.item.id == page.item.id, again.item.expires == page.item.expires
        ('hit', True, True)
        >>> cache.close(); folder.cleanup()

        If the key has no value, the item is None, and the source says how the caller came to know that.
        """
        found = self.claim(
            key,
            **given(
                ttl,
                stale,
                absence_ttl,
                wait,
                unprotected,
                claim_max_age,
                early_refresh,
                flags,
                or_uncached,
                on_error,
                retry_after,
                share_failure,
                resilient,
                tags,
            ),
        )
        claim = claim_of(self, key, found)
        if claim is None:
            return _got.found(found)
        return CreatedItem(self, key, found, claim, should_cache).run(create, background)

    async def aget_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Creatable]],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> Optional[bytes]:
        """Does the same as :meth:`get_or_create` for coroutines, with the same parameters: ``create`` is a coroutine
        function, and the event loop continues to run while another caller creates the value. The calling task owns the
        claim. With ``background``, a new task replaces a stale value."""
        return await self._aget_or_create(
            key,
            create,
            None,
            should_cache=should_cache,
            background=background,
            **given(
                ttl,
                stale,
                absence_ttl,
                wait,
                unprotected,
                claim_max_age,
                early_refresh,
                flags,
                or_uncached,
                on_error,
                retry_after,
                share_failure,
                resilient,
                tags,
            ),
        )

    async def _aget_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Creatable]],
        note: Note,
        *,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        background: bool = False,
        **how: Any,
    ) -> Optional[bytes]:
        """Does the same as :meth:`aget_or_create`, and calls ``note`` with the id of a value that was found."""
        found = await find(self, key, **how)
        claim = claim_of(self, key, found)
        if claim is None:
            if note is not None and found.id is not None:
                note(found.id)
            return found.value
        return await CreatedValue(self, key, found, claim, should_cache, note).arun(create, background)

    async def aget_or_create_item(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Creatable]],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> Got:
        """Does the same as :meth:`get_or_create_item` for coroutines: see :meth:`aget_or_create`."""
        found = await find(
            self,
            key,
            **given(
                ttl,
                stale,
                absence_ttl,
                wait,
                unprotected,
                claim_max_age,
                early_refresh,
                flags,
                or_uncached,
                on_error,
                retry_after,
                share_failure,
                resilient,
                tags,
            ),
        )
        claim = claim_of(self, key, found)
        if claim is None:
            return _got.found(found)
        return await CreatedItem(self, key, found, claim, should_cache).arun(create, background)

    def get_or_create_multi(
        self,
        keys: Iterable[BytesLike],
        create: Callable[[List[Any]], Sequence[Creatable]],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> List[Optional[bytes]]:
        """Returns the values of many keys, in the order of the keys, and creates the missing ones in one call of
        ``create``. Keys are claimed in an order that is the same for all callers, so two callers never wait for each
        other.

        :param keys: the keys. The value of a key that occurs twice is created once.
        :param create: a function that gets the list of the missing keys, and returns their values in the same order,
            with ``None`` for each key that has no value. Each value may be a :class:`kennel.Created`.
        :param ttl: time to live: seconds, or a ``timedelta``, until the values expire. The default is that of the
            namespace; without one they do not expire.
        :param stale: seconds, or a ``timedelta``, until the values are stale; at most ``ttl``.
        :param absence_ttl: how many seconds to remember that a key has no value. By default this is not remembered.
        :param wait: how many seconds to wait for other callers' creations of all keys together, before
            :class:`kennel.TimedOut` is raised; ``None`` waits without limit, 0 does not wait. Default 30.
        :param unprotected: when ``wait`` is over, create the remaining values in this caller, too, instead of raising
            an error. ``stats().counters.unprotected`` counts this. Default False.
        :param claim_max_age: how many seconds a creator excludes other callers. After that, one of them may create the
            value, even if the first creator is still running. Default 300.
        :param flags: a number from 0 to 2**32 - 1 that is stored with each value; default 0.
        :param should_cache: a function that gets a created value as bytes, and returns whether to store it. By default
            all values are stored.
        :param or_uncached: if the cache fails, create the values and store nothing, instead of raising
            :class:`kennel.Error`. Default False.
        :param on_error: ``stale``: if ``create`` raises an exception and each missing key has a stale value, return
            those values. ``raise`` (default): raise the exception.
        :param retry_after: as for :meth:`get_or_create`, for each key.
        :param share_failure: as for :meth:`get_or_create`.
        :param resilient: as for :meth:`get_or_create`.
        :param tags: the names of the tags of all created values. A :class:`kennel.Created` can add tags to one value.
        """
        how: Dict[str, Any] = dict(
            ttl=ttl,
            stale=stale,
            absence_ttl=absence_ttl,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            flags=flags,
            or_uncached=or_uncached,
            on_error=on_error,
            retry_after=retry_after,
            share_failure=share_failure,
            resilient=resilient,
            tags=None if tags is None else _kennel._tags(tags),
        )
        with _Batch(keys, wait) as batch:
            for key in batch.in_one_order():
                found = self.claim(key, wait=batch.time_left(), **how)
                batch.found(key, found, claim_of(self, key, found))
            missing = batch.missing()
            try:
                created = create(missing) if missing else []
            except Exception as error:
                return batch.failed(error)
            return batch.finish(self, created, should_cache)

    async def aget_or_create_multi(
        self,
        keys: Iterable[BytesLike],
        create: Callable[[List[Any]], Awaitable[Sequence[Creatable]]],
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: Optional[Tags] = None,
    ) -> List[Optional[bytes]]:
        """Does the same as :meth:`get_or_create_multi` for coroutines, with the same parameters: ``create`` is a
        coroutine function."""
        how: Dict[str, Any] = dict(
            ttl=ttl,
            stale=stale,
            absence_ttl=absence_ttl,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            flags=flags,
            or_uncached=or_uncached,
            on_error=on_error,
            retry_after=retry_after,
            share_failure=share_failure,
            resilient=resilient,
            tags=None if tags is None else _kennel._tags(tags),
        )
        with _Batch(keys, wait) as batch:
            for key in batch.in_one_order():
                found = await find(self, key, wait=batch.time_left(), **how)
                batch.found(key, found, claim_of(self, key, found))
            missing = batch.missing()
            try:
                created = await create(missing) if missing else []
            except Exception as error:
                return batch.failed(error)
            return await batch.afinish(self, created, should_cache)
