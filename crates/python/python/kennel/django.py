"""A cache backend for Django.

.. code-block:: python

    CACHES = {
        "default": {
            "BACKEND": "kennel.django.KennelCache",
            "LOCATION": "/var/cache/mysite/django.kennel",
            "OPTIONS": {"capacity": 256 << 20},
        }
    }

All processes that name the same file share one cache. Without ``LOCATION``, they share the cache file of the user,
:func:`kennel.default_path`. The first use of the cache opens the file, and creates the file and its directory if they
are missing. A ``manage.py`` command that does not use the cache needs no file.

``OPTIONS`` takes the options of :class:`kennel.Cache`, and these:

``namespace``
    The name of this cache's namespace in the file; default ``django``. :meth:`KennelCache.clear` empties this namespace
    and nothing else. Two caches with the same file and the same namespace share their values, unless different values
    of ``KEY_PREFIX`` or ``VERSION`` separate their keys, as Django's documentation says.
``serializer``
    ``pickle`` (default), ``json``, an object or a class with ``dumps`` and ``loads``, or the dotted path of one.
``near``
    How many values each process keeps as objects; by default none. Before each use, the process looks in the cache
    whether the value is still the current one. ``get`` and ``get_or_set`` share only objects that cannot change: None,
    numbers, text (also safe text of templates), bytes, dates and times, UUIDs, enumerations, and tuples and frozensets
    of these. ``cache.get(key, shared=True)`` shares any object, which no caller may change.
``near_check``
    The share of uses of a shared object, from 0 to 1, in which to test whether a caller has changed it. If so,
    :class:`kennel.Mutated` is raised. For tests; default 0.
``require``
    With ``True``, operations raise the errors of the cache. By default a site continues without its cache: if the file
    cannot be opened, or a write fails, the operation behaves like that of Django's dummy cache (``set_many`` returns
    the keys that it did not store), and the first failure of each kind is logged as a warning. After a failure to open
    the file, the backend tries again after ten seconds at the earliest.

``MAX_ENTRIES`` and ``CULL_FREQUENCY`` have no effect: the capacity limits the cache.

**Tags** are names that values bear, so that one call invalidates all of them, in all processes::

    cache.set("page:/sale", html, tags=["product:7", "product:8"])
    cache.get_or_set("page:/new", lambda: kennel.Created(html, tags=["product:9"]))
    cache.invalidate_tags(["product:7"])

``set``, ``add``, ``set_many`` and ``get_or_set``, and their asynchronous variants, take ``tags``, at most 16 for each
value. A function of ``get_or_set`` that knows the tags only when the value is made returns a :class:`kennel.Created`.
An invalidation also covers a value that ``get_or_set`` is creating meanwhile. ``incr``, ``touch`` and ``incr_version``
keep the tags of a value. ``KEY_PREFIX`` separates tags as it separates keys. ``VERSION`` does not separate tags: if the
data from which a value was made have changed, the values of all versions of its key are outdated. Caches with the same
file and the same ``KEY_PREFIX`` share their tags, whatever their namespaces.

If a value is too large for the cache, ``set`` does not store it, removes the previous value, and logs this as a warning
once. ``add`` raises :class:`kennel.TooLarge`, whose message contains the size. It does not return ``False``, which
would mean that the key has a value: for a session that is too large, Django would then try 10 000 session keys. A key
of more than 65 535 bytes is refused with ``InvalidCacheKey``. A value that cannot be decoded, such as a pickle of a
class that was renamed, counts as missing; the first failure of each kind is logged as a warning.

The asynchronous methods run in the thread of the event loop, where an operation takes microseconds. If the lock of a
stripe is held, they try again after a pause. Only the first use, which opens the file, runs in another thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, TypeVar, cast

from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    MEMCACHE_MAX_KEY_LENGTH,
    BaseCache,
    InvalidCacheKey,
    default_key_func,
)
from django.utils.module_loading import import_string

from . import _kennel
from ._cache import OPTIONS, Namespace
from ._clock import now
from ._creation import Creation
from ._decode import Decoder, forget
from ._errors import BadOption, Busy, Error, OwnClaim, TooLarge
from ._kennel import MAX_KEY
from ._near import NEAR_BYTES, NONE, Id, Kept
from ._serializers import serializer as _serializer
from ._shared import cache_at

__all__ = ["KennelCache"]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Django's own options, which every backend may get.
_DJANGOS = {"MAX_ENTRIES", "CULL_FREQUENCY"}
#: After a failure to open the file, how many seconds pass before the next attempt.
_REOPEN_AFTER = 10.0


class _Opened(NamedTuple):
    namespace: Namespace
    #: A handle with the same keys, which raises Busy instead of waiting.
    nonblocking: _kennel.Space


class KennelCache(BaseCache):  # type: ignore[misc]
    """A Django cache that stores its values in a Kennel file."""

    def __init__(self, location: Any, params: Dict[str, Any]) -> None:
        super().__init__(params)
        options = {name: value for name, value in params.get("OPTIONS", {}).items() if name not in _DJANGOS}
        given = options.pop("serializer", "pickle")
        if isinstance(given, str) and "." in given:
            given = import_string(given)
        self._serializer = _serializer(given() if isinstance(given, type) else given)
        self._namespace_name = options.pop("namespace", "django")
        self._require = bool(options.pop("require", False))
        near, check = options.pop("near", None), options.pop("near_check", 0.0)
        self._kept = None if near is None else Kept(near, NEAR_BYTES, self._serializer, False, check)
        unknown = options.keys() - set(OPTIONS)
        if unknown:
            raise TypeError(f"OPTIONS of {type(self).__name__}: {', '.join(sorted(unknown))}: no such option")
        self._location, self._options = os.path.abspath(location) if location else None, options
        methods = "make_key", "validate_key", "make_and_validate_key"
        self._has_plain_keys = all(getattr(type(self), name) is getattr(BaseCache, name) for name in methods)
        self._opened: Optional[_Opened] = None
        self._reopen_at = 0.0
        self._decoder = Decoder(self._serializer, self._location or "the default cache")
        self._warned: Set[str] = set()
        self.not_stored = 0
        """How many values were not stored in this process because they were too large."""
        self.failures = 0
        """How many operations of this process continued without the cache, because the file could not be opened or a
        write failed."""

    @property
    def undecodable(self) -> int:
        """How many values could not be decoded in this process, and counted as missing."""
        return self._decoder.undecodable

    @property
    def _where(self) -> str:
        return self._location or os.fspath(_kennel.default_path())

    # How the file is opened, and how operations continue without it.

    def _open(self) -> Optional[_Opened]:
        """Returns the open cache, or ``None`` if it cannot be opened now."""
        if self._opened is not None:
            return self._opened
        if not self._require and now() < self._reopen_at:
            self.failures += 1
            return None
        try:
            if self._location is not None and self._options.get("create", True):
                os.makedirs(os.path.dirname(self._location), mode=0o700, exist_ok=True)
            namespace = cache_at(self._location, self._options).namespace(self._namespace_name)
            self._opened = _Opened(namespace, namespace._nonblocking())
        except BadOption:
            raise
        except (Error, OSError) as error:
            self._reopen_at = now() + _REOPEN_AFTER
            self._failed("the cache cannot be opened and is not used", error)
        return self._opened

    def _failed(self, what: str, error: Exception) -> None:
        """Counts and logs a failure, or raises the error if the cache is required."""
        if self._require:
            raise error
        self.failures += 1
        self._log_once(f"{what} {type(error).__name__}", "%s: %s: %s", self._where, what, error)

    def _log_once(self, reason: str, message: str, *about: Any) -> None:
        """Logs the first message of a kind as a warning, and further ones at debug level."""
        level = logging.DEBUG if reason in self._warned else logging.WARNING
        self._warned.add(reason)
        log.log(level, message, *about)

    def _write(self, work: Callable[[_kennel.Space], T], otherwise: T) -> T:
        """Runs an operation that changes the cache. Returns ``otherwise`` if the operation is not possible now."""
        opened = self._open()
        if opened is None:
            return otherwise
        try:
            return work(opened.namespace)
        except TooLarge:
            raise
        except Error as error:
            self._failed("a write failed", error)
            return otherwise

    async def _aopen(self) -> Optional[_Opened]:
        # Opening a file may take a while.
        return self._opened or await asyncio.to_thread(self._open)

    async def _awrite(self, work: Callable[[_kennel.Space], T], otherwise: T) -> T:
        """Does the same as :meth:`_write` on an event loop, whose thread must not wait: while a stripe is locked, it
        tries again."""
        opened = await self._aopen()
        if opened is None:
            return otherwise
        deadline, pause = now() + opened.namespace.lock_wait, 0.001
        try:
            while True:
                try:
                    return work(opened.nonblocking)
                except Busy:
                    if now() >= deadline:
                        raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.05)
        except TooLarge:
            raise
        except Error as error:
            self._failed("a write failed", error)
            return otherwise

    # Keys, values and times.

    def _key(self, key: Any, version: Optional[int]) -> str:
        if self._has_plain_keys and self.key_func is default_key_func:
            # Make and check the key as Django does, but in one step. Django's own functions handle a key that may need
            # a warning.
            made = f"{self.key_prefix!s}:{self.version if version is None else version!s}:{key!s}"
            if len(made) <= MEMCACHE_MAX_KEY_LENGTH and made.isprintable() and " " not in made:
                return made
        made = str(self.make_and_validate_key(key, version=version))
        # In UTF-8 a character has at most four bytes.
        size = len(made.encode("utf-8", "surrogatepass")) if len(made) > MAX_KEY // 4 else 0
        if size > MAX_KEY:
            raise InvalidCacheKey(f"a key of {size} bytes: expected at most {MAX_KEY}")
        return made

    def make_tag(self, tag: bytes) -> bytes:
        """Returns the name that a tag has in the file."""
        return f"{self.key_prefix}:".encode() + tag if self.key_prefix else tag

    def _tags(self, tags: Any, any_number: bool = False) -> Optional[List[bytes]]:
        return None if tags is None else [self.make_tag(tag) for tag in _kennel._tags(tags, any_number=any_number)]

    def _ttl(self, timeout: Any) -> Optional[float]:
        """Returns the time to live in seconds: None for no limit, 0 if the value expires immediately."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(0.0, float(timeout))

    def _too_large(self, space: _kennel.Space, key: str, error: Exception) -> None:
        """Removes the value of a key whose new value does not fit, so that no caller reads the outdated one."""
        space.delete(key)
        self.not_stored += 1
        self._log_once("too large", "not stored in %s: %s: %s", self._where, key, error)

    # Parts that the blocking and the asynchronous methods share. They take keys in their stored form.

    def _found(self, opened: Optional[_Opened], key: str, default: Any, shared: bool) -> Any:
        if opened is not None and self._kept is not None:
            return self._kept.get(opened.namespace, self._decoder, key, default, shared)
        data = None if opened is None else opened.namespace.get(key)
        return default if data is None else self._decoder.value(key, data, default)

    def _creation(self, default: Any) -> Creation:
        return Creation(default, self._serializer.dumps, self.make_tag)

    def _fresh(self, opened: _Opened, key: str) -> Any:
        """Returns the object that this process keeps for a key, if it is still the current one; otherwise the mark of a
        missing key."""
        value = NONE if self._kept is None else self._kept.fresh(opened.namespace, key, {})
        return self._missing_key if value is NONE else value

    def _created(self, key: str, creation: Creation, data: Optional[bytes], ids: List[Id]) -> Any:
        """Returns the result of ``get_or_set``, or the mark of a missing key if the stored value cannot be decoded."""
        if creation.has_begun:
            return creation.value
        found = self._decoder.value(key, data or b"", self._missing_key)
        if found is not self._missing_key and self._kept is not None:
            self._kept.keep_found(key, ids, found, len(data or b""))
        return found

    def _found_many(self, opened: Optional[_Opened], made: Mapping[str, Any]) -> Dict[Any, Any]:
        if opened is None:
            return {}
        missing = self._missing_key
        values: Dict[Any, Any] = {}
        for (key, given), data in zip(made.items(), opened.namespace.get_multi(made)):
            value = missing if data is None else self._decoder.value(key, data, missing)
            if value is not missing:
                values[given] = value
        return values

    def _set(self, key: str, value: Any, timeout: Any, tags: Any) -> Callable[[_kennel.Space], None]:
        data, ttl, tags = self._serializer.dumps(value), self._ttl(timeout), self._tags(tags)

        def work(space: _kennel.Space) -> None:
            try:
                space.set(key, data, ttl, tags=tags)
            except TooLarge as error:
                self._too_large(space, key, error)

        return work

    def _set_many(
        self, made: Mapping[str, Any], data: Mapping[Any, Any], timeout: Any, tags: Any
    ) -> Callable[[_kennel.Space], Dict[str, Error]]:
        items, ttl = {key: self._serializer.dumps(data[given]) for key, given in made.items()}, self._ttl(timeout)
        tags = self._tags(tags)

        def work(space: _kennel.Space) -> Dict[str, Error]:
            failed = space.set_multi(items, ttl, tags=tags)
            for key, error in failed.items():
                if isinstance(error, TooLarge):
                    self._too_large(space, key, error)
                elif isinstance(error, Busy) and not isinstance(space, Namespace):
                    # Try again: the next attempt stores all items.
                    raise error
            return failed

        return work

    def _not_stored(self, made: Mapping[str, Any], failed: Optional[Mapping[str, Error]]) -> List[Any]:
        if failed is None:
            return list(made.values())
        for error in failed.values():
            if not isinstance(error, TooLarge):
                self._failed("a write failed", error)
        return [made[key] for key in failed]

    def _add(self, key: str, value: Any, timeout: Any, tags: Any) -> Callable[[_kennel.Space], bool]:
        data, ttl, tags = self._serializer.dumps(value), self._ttl(timeout), self._tags(tags)
        return lambda space: space.add(key, data, ttl, tags=tags)

    def _invalidate_tags(self, tags: Any, soft: bool) -> Callable[[_kennel.Space], None]:
        names = self._tags(tags, any_number=True) or []
        return lambda space: space.invalidate_tags(names, soft=soft)

    def _incr(self, key: str, delta: int) -> Callable[[_kennel.Space], Any]:
        """Adds to a number without losing the increments of other callers. Returns the new number, or the mark of a
        missing key."""
        missing = self._missing_key

        def work(space: _kennel.Space) -> Any:
            while True:
                item = space.get_item(key)
                value = missing if item is None else self._decoder.value(key, item.value, missing)
                if item is None or value is missing:
                    return missing
                data = self._serializer.dumps(value + delta)
                # The value keeps its expiry and its tags.
                if space.swap_value(key, item.stamp, data):
                    return value + delta

        return work

    def _counted(self, key: str, new: Any) -> Any:
        if new is self._missing_key:
            raise ValueError(f"Key '{key}' not found")
        return new

    def _move(self, old: str, new: str) -> Callable[[_kennel.Space], bool]:
        """Moves a value with its expiry and its tags to another key. Returns whether there was one."""
        return lambda space: space.rename(old, new)

    # The blocking methods.

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> bool:
        """Stores a value only if the key has none. Returns whether it was stored. Raises :class:`kennel.TooLarge` if
        the value does not fit."""
        return self._write(self._add(self._key(key, version), value, timeout, tags), True)

    def get(self, key: Any, default: Any = None, version: Optional[int] = None, *, shared: bool = False) -> Any:
        """Returns the value of a key, or ``default``. With ``shared`` and the option ``near``, all callers of the
        process get the same object, which none of them may change."""
        opened, made = self._opened or self._open(), self._key(key, version)
        if opened is None or self._kept is not None:
            return self._found(opened, made, default, shared)
        data = opened.namespace.get(made)
        return default if data is None else self._decoder.value(made, data, default)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> None:
        """Stores a value."""
        self._write(self._set(self._key(key, version), value, timeout, tags), None)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> bool:
        """Changes when the value of a key expires. Returns whether the key has a value."""
        made, ttl = self._key(key, version), self._ttl(timeout)
        return self._write(lambda space: space.touch(made, ttl), False)

    def delete(self, key: Any, version: Optional[int] = None) -> bool:
        """Removes the value of a key. Returns whether the key had one."""
        made = self._key(key, version)
        return self._write(lambda space: space.delete(made), False)

    def has_key(self, key: Any, version: Optional[int] = None) -> bool:
        """Returns whether a key has a value."""
        made, opened = self._key(key, version), self._open()
        return opened is not None and made in opened.namespace

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> Any:
        """Returns the value of a key. If the key has none, stores and returns ``default``, or its result if it is
        callable. Exactly one caller across all threads and processes calls ``default``. The others wait at most 30
        seconds for its value, and then call ``default`` themselves. If the cache fails, or if ``default`` itself asks
        for this key, ``default`` is called without the cache."""
        made, opened = self._key(key, version), self._open()
        creation, ttl, missing = self._creation(default), self._ttl(timeout), self._missing_key
        if opened is None:
            return creation.run()
        kept, ids = self._fresh(opened, made), cast(List[Id], [])
        if kept is not missing:
            return kept
        how: Dict[str, Any] = dict(ttl=ttl, unprotected=True, tags=self._tags(tags))
        # The second attempt follows a value that cannot be decoded.
        for _ in range(2):
            try:
                data = opened.namespace._get_or_create(made, creation.stored, ids.append, **how)
            except Error as error:
                self._not_created(creation, error)
                break
            found = self._created(made, creation, data, ids)
            if found is not missing:
                return found
            forget(opened.namespace, made, data or b"")
        return creation.run()

    def _not_created(self, creation: Creation, error: Error) -> None:
        """Raises the error if it came from the creator. After an error of the cache, the caller creates the value
        without it."""
        if creation.has_begun:
            raise error
        if not isinstance(error, OwnClaim):
            self._failed("a value was created without the cache", error)

    def incr(self, key: Any, delta: int = 1, version: Optional[int] = None) -> Any:
        """Adds to a number atomically across all processes, and returns the new number. The expiry is unchanged. Raises
        ValueError if the key has no value."""
        made = self._key(key, version)
        return self._counted(made, self._write(self._incr(made, delta), self._missing_key))

    def incr_version(self, key: Any, delta: int = 1, version: Optional[int] = None) -> int:
        """Moves the value with its expiry to a higher version of the key, and returns that version. Raises ValueError
        if the key has no value."""
        version = self.version if version is None else version
        old, new = self._key(key, version), self._key(key, version + delta)
        if not self._write(self._move(old, new), False):
            raise ValueError(f"Key '{old}' not found")
        return version + delta

    def get_many(self, keys: Iterable[Any], version: Optional[int] = None) -> Dict[Any, Any]:
        """Returns a dictionary with the keys that have a value, and their values."""
        made = {self._key(key, version): key for key in keys}
        return self._found_many(self._open(), made)

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: Optional[int] = None,
        *,
        tags: Any = None,
    ) -> List[Any]:
        """Stores many values. Returns the keys of the values that were not stored."""
        made = {self._key(key, version): key for key in data}
        return self._not_stored(made, self._write(self._set_many(made, data, timeout, tags), None))

    def delete_many(self, keys: Iterable[Any], version: Optional[int] = None) -> None:
        """Removes the values of many keys."""
        made = [self._key(key, version) for key in keys]
        self._write(lambda space: space.delete_multi(made), None)

    def clear(self) -> None:
        """Empties the namespace of this cache, for every process, and nothing else in the file."""
        self._write(lambda space: space.invalidate(), None)

    def invalidate_tags(self, tags: Iterable[Any], *, soft: bool = False) -> None:
        """Invalidates all values that bear one of these tags, for every process.

        :param tags: the names of tags.
        :param soft: make the values stale instead of removing them: ``get`` still returns them, and one caller of
            ``get_or_set`` creates each value anew; default False.
        """
        self._write(self._invalidate_tags(tags, soft), None)

    # The methods for coroutines. Those of Django's base class would all run in one thread of the process, and some
    # would consist of several steps, between which other tasks can run.

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> bool:
        """See :meth:`add`."""
        return await self._awrite(self._add(self._key(key, version), value, timeout, tags), True)

    async def aget(self, key: Any, default: Any = None, version: Optional[int] = None, *, shared: bool = False) -> Any:
        """See :meth:`get`."""
        return self._found(await self._aopen(), self._key(key, version), default, shared)

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> None:
        """See :meth:`set`."""
        await self._awrite(self._set(self._key(key, version), value, timeout, tags), None)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> bool:
        """See :meth:`touch`."""
        made, ttl = self._key(key, version), self._ttl(timeout)
        return await self._awrite(lambda space: space.touch(made, ttl), False)

    async def adelete(self, key: Any, version: Optional[int] = None) -> bool:
        """See :meth:`delete`."""
        made = self._key(key, version)
        return await self._awrite(lambda space: space.delete(made), False)

    async def ahas_key(self, key: Any, version: Optional[int] = None) -> bool:
        """See :meth:`has_key`."""
        made, opened = self._key(key, version), await self._aopen()
        return opened is not None and made in opened.namespace

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None, *, tags: Any = None
    ) -> Any:
        """See :meth:`get_or_set`. If ``default`` returns an awaitable, as a coroutine function does, it is awaited."""
        made, opened = self._key(key, version), await self._aopen()
        creation, ttl, missing = self._creation(default), self._ttl(timeout), self._missing_key
        if opened is None:
            return await creation.arun()
        kept, ids = self._fresh(opened, made), cast(List[Id], [])
        if kept is not missing:
            return kept
        how: Dict[str, Any] = dict(ttl=ttl, unprotected=True, tags=self._tags(tags))
        for _ in range(2):
            try:
                data = await opened.namespace._aget_or_create(made, creation.astored, ids.append, **how)
            except Error as error:
                self._not_created(creation, error)
                break
            found = self._created(made, creation, data, ids)
            if found is not missing:
                return found
            forget(opened.nonblocking, made, data or b"")
        return await creation.arun()

    async def aincr(self, key: Any, delta: int = 1, version: Optional[int] = None) -> Any:
        """See :meth:`incr`."""
        made = self._key(key, version)
        return self._counted(made, await self._awrite(self._incr(made, delta), self._missing_key))

    async def aincr_version(self, key: Any, delta: int = 1, version: Optional[int] = None) -> int:
        """See :meth:`incr_version`."""
        version = self.version if version is None else version
        old, new = self._key(key, version), self._key(key, version + delta)
        if not await self._awrite(self._move(old, new), False):
            raise ValueError(f"Key '{old}' not found")
        return version + delta

    async def aget_many(self, keys: Iterable[Any], version: Optional[int] = None) -> Dict[Any, Any]:
        """See :meth:`get_many`."""
        made = {self._key(key, version): key for key in keys}
        return self._found_many(await self._aopen(), made)

    async def aset_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: Optional[int] = None,
        *,
        tags: Any = None,
    ) -> List[Any]:
        """See :meth:`set_many`."""
        made = {self._key(key, version): key for key in data}
        return self._not_stored(made, await self._awrite(self._set_many(made, data, timeout, tags), None))

    async def adelete_many(self, keys: Iterable[Any], version: Optional[int] = None) -> None:
        """See :meth:`delete_many`."""
        made = [self._key(key, version) for key in keys]
        await self._awrite(lambda space: space.delete_multi(made), None)

    async def aclear(self) -> None:
        """See :meth:`clear`."""
        await self._awrite(lambda space: space.invalidate(), None)

    async def ainvalidate_tags(self, tags: Iterable[Any], *, soft: bool = False) -> None:
        """See :meth:`invalidate_tags`."""
        await self._awrite(self._invalidate_tags(tags, soft), None)

    async def aclose(self, **kwargs: Any) -> None:
        """Does nothing, like :meth:`close`: the file stays open for the next request."""
