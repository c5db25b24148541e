"""A backend for dogpile.cache.

.. code-block:: python

    from dogpile.cache import make_region

    region = make_region().configure(
        "kennel",
        expiration_time=600,
        arguments={"path": "/var/cache/mysite/pages.kennel", "capacity": 256 << 20},
    )

The name ``kennel`` is an entry point of the package. Where entry points are not available, register the class::

    dogpile.cache.register_backend("kennel", "kennel.dogpile", "KennelBackend")

Registered under the name ``dogpile.cache.dbm``, it replaces that backend and accepts its arguments: see
:class:`KennelBackend`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from contextlib import AbstractContextManager
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Set, Union

from dogpile.cache.api import NO_VALUE, BytesBackend
from dogpile.cache.region import RegionInvalidationStrategy
from dogpile.util.langhelpers import KeyReentrantMutex

from . import _kennel
from ._cache import OPTIONS, Cache, Namespace
from ._errors import Error, TooLarge
from ._shared import cache_at

__all__ = ["KennelBackend", "SharedInvalidation"]

log = logging.getLogger(__name__)

#: Arguments that are not options of the cache file.
_OWN = (
    "path",
    "ttl",
    "namespace",
    "longest_key",
    "lock_max_age",
    "filename",
    "rw_lockfile",
    "dogpile_lockfile",
    "lock_factory",
)
#: The creation time that this backend reports for a stale value. It is not 0, which would mean that there is no value.
_LONG_AGO = 1e-6
#: Keys of up to this many characters are stored unchanged by default.
_LONGEST_KEY = 1024


class KennelBackend(BytesBackend):
    """A dogpile.cache backend that stores values in a Kennel file.

    Its own arguments:

    :param path: the path of the cache file; by default the cache file of this user, :func:`kennel.default_path`.
        Dogpile regions that name the same file share it, so give each of them a key mangler or a ``namespace``.
    :param capacity: how many bytes of records the file holds; default 64 MiB. When it is full, values are evicted.
    :param ttl: how many seconds the file keeps a value. This must be longer than the expiration time of the dogpile
        region, and longer than any expiration time that is passed to a call: a region does not tell its backend when
        values expire, and a stale value can be returned during the creation of a new one only while the file still has
        it. By default the file keeps values until it needs their room.
    :param namespace: the name of a namespace of the file for the keys of this backend. :class:`SharedInvalidation`
        invalidates this namespace for all processes. By default the keys are in no namespace.
    :param longest_key: the length in characters up to which keys are stored unchanged. A longer key is stored as its
        beginning and a hash. At least 64; default 1024; ``None`` stores all keys unchanged.
    :param lock_max_age: how many seconds the lock of a key excludes other callers. After that, another caller may take
        it over, even if its holder is still running. By default there is no limit. (If the holder is killed, another
        caller gets the lock within a second.)

    All options of :class:`kennel.Cache` are arguments, too. An unknown argument is logged and ignored, as in other
    backends.

    Arguments of ``dogpile.cache.dbm``:

    :param filename: the path of the dbm file. The cache file has this path with the suffix ``.kennel``; the dbm file
        remains untouched.
    :param rw_lockfile: a lock around all reads and writes, in addition to Kennel's own locks. ``None``: with a
        ``lock_factory``, its lock for ``FILENAME.rw.lock``; otherwise no lock. ``False``: no lock. A path: the lock
        from ``lock_factory`` for that path.
    :param dogpile_lockfile: the locks of keys. ``None``: with a ``lock_factory``, its lock for
        ``FILENAME.dogpile.lock``, one for all keys; otherwise Kennel's lock of each key, which all processes share.
        ``False``: dogpile's own lock of each key, within this process. A path: the lock from ``lock_factory`` for that
        path, one for all keys.
    :param lock_factory: a function that gets the path of a lock and returns the lock. Without it, a path is the name of
        a lock of Kennel.

    By default each key has its own lock, so callers of different keys never wait for each other, and
    ``get_or_create_multi`` cannot deadlock. If a value is too large for the file, it is not stored, and the previous
    value is removed. If a stopped process holds the lock of the stripe (:class:`kennel.Busy`), the value is not stored
    either. In both cases the caller gets its value, ``not_stored`` counts it, and the first case of each kind is logged
    as a warning.
    """

    not_stored: int
    """How many values could not be stored in this process."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = {name: arguments[name] for name in OPTIONS if name in arguments}
        for name in arguments:
            if name not in OPTIONS and name not in _OWN:
                log.warning("%r is not an argument of the backend kennel; it is ignored", name)
        filename = arguments.get("filename")
        if filename is not None and "path" in arguments:
            raise ValueError("path and filename both name the cache file: expected one of them")
        self.filename = None if filename is None else os.path.abspath(os.path.normpath(filename))
        path = arguments.get("path") if self.filename is None else self.filename + ".kennel"
        self.cache: Cache = cache_at(path, options)
        self.not_stored = 0
        self._logged_not_stored: Set[type] = set()
        self._ttl = arguments.get("ttl")
        self._lock_max_age = arguments.get("lock_max_age")
        namespace: Optional[str] = arguments.get("namespace")
        self._space: Union[Cache, Namespace] = self.cache if namespace is None else self.cache.namespace(namespace)
        self.is_shared = namespace is not None
        """Whether the keys are in a namespace, so that :meth:`invalidate` works."""
        self._load, self._store = self._space.get, self._space.set
        self._locks(arguments)
        if self._rw_lock is not None:
            self._take_around(self._rw_lock.read, "get_serialized", "get_serialized_multi")
            writes = "set_serialized", "set_serialized_multi", "delete", "delete_multi", "invalidate"
            self._take_around(self._rw_lock.write, *writes)
        longest = arguments.get("longest_key", _LONGEST_KEY)
        self.key_mangler = None if longest is None else length_conditional_mangler(int(longest))

    def _locks(self, arguments: Mapping[str, Any]) -> None:
        """Creates the locks that the arguments of ``dogpile.cache.dbm`` name."""
        factory = arguments.get("lock_factory")
        self.lock_factory = factory
        self._rw_lock = self._lock_of(arguments.get("rw_lockfile"), ".rw.lock", factory, "rw_lockfile")
        named = arguments.get("dogpile_lockfile")
        self._thread_mutexes = named is False
        lock = self._lock_of(named, ".dogpile.lock", factory, "dogpile_lockfile")
        self._one_mutex: Optional[Callable[[str], Any]] = None
        if lock is not None:
            self._one_mutex = KeyReentrantMutex.factory(lock)  # type: ignore[no-untyped-call]

    def _lock_of(self, named: Any, suffix: str, factory: Any, argument: str) -> Any:
        if named is False or (named is None and factory is None):
            return None
        if named is None:
            if self.filename is None:
                raise ValueError(f"lock_factory without {argument} names its lock after filename: expected filename")
            return factory(self.filename + suffix)
        if not isinstance(named, (str, os.PathLike)):
            raise TypeError(f"{argument}: expected a path, None or False, found {named!r}")
        path = os.path.abspath(os.path.normpath(named))
        return _NamedLock(self.cache, path) if factory is None else factory(path)

    def get_mutex(self, key: str) -> Any:
        """Returns the lock of a key: Kennel's own, unless the arguments of ``dogpile.cache.dbm`` select another one."""
        if self._one_mutex is not None:
            return self._one_mutex(key)
        if self._thread_mutexes:
            return None
        # An asynchronous creation runner releases the lock in another thread. If all claims of the stripe are held, the
        # value is created without protection, and a counter counts this.
        return self._space.lock(key, wait=None, max_age=self._lock_max_age, unprotected=True, handover=True)

    def _take_around(self, lock: Callable[[], "AbstractContextManager[Any]"], *methods: str) -> None:
        """Makes methods of this object take the lock that the argument ``rw_lockfile`` selects. Usually there is none,
        and each method is a single call of the cache."""
        for name in methods:
            setattr(self, name, _within(lock, getattr(self, name)))

    def get_serialized(self, key: str) -> Any:
        """Returns the stored bytes of a key, or ``NO_VALUE``."""
        return self._get_aged(key) if self.is_shared else self._load(key, NO_VALUE)

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Returns the stored bytes of many keys, in the order of the keys, with ``NO_VALUE`` for each missing one."""
        if self.is_shared:
            return [self._get_aged(key) for key in keys]
        return [NO_VALUE if value is None else value for value in self._space.get_multi(keys)]

    def _get_aged(self, key: str) -> Any:
        item = self._space.get_item(key)
        if item is None:
            return NO_VALUE
        return _aged(item.value) if item.is_stale else item.value

    def set_serialized(self, key: str, value: bytes) -> None:
        """Stores the bytes of a key."""
        try:
            self._store(key, value, self._ttl)
        except Error as error:
            self._refused(key, error)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Stores the bytes of many keys, and locks each stripe once for up to 64 of them."""
        for key, error in self._space.set_multi(mapping, self._ttl).items():
            self._refused(key, error)

    def _refused(self, key: str, error: Exception) -> None:
        """Counts and logs a value that was not stored. This is not an error for the caller that created it."""
        self.not_stored += 1
        level = logging.DEBUG if type(error) in self._logged_not_stored else logging.WARNING
        self._logged_not_stored.add(type(error))
        log.log(level, "not stored in %s: %s", self.cache.path, error)
        if isinstance(error, TooLarge):
            # A missing value is better than an outdated one.
            self._space.delete(key)

    def delete(self, key: str) -> None:
        """Removes the value of a key, if it has one."""
        # A key that is too long cannot have a value, and would raise an error.
        if _fits(key):
            self._space.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Removes the values of many keys, and locks each stripe once for up to 64 of them."""
        self._space.delete_multi([key for key in keys if _fits(key)])

    def invalidate(self, hard: bool = True) -> None:
        """Invalidates all values of this backend's namespace, for every process.

        :param hard: remove the values (default). With False they become stale.
        """
        if not self.is_shared:
            raise ValueError("only the keys of a namespace can be invalidated: expected the argument namespace")
        self._space.invalidate(soft=not hard)


class SharedInvalidation(RegionInvalidationStrategy):
    """Makes ``region.invalidate()`` take effect in every process that uses the same file with the same argument
    ``namespace``.

    .. code-block:: python

        region = make_region()
        region.configure(
            "kennel",
            expiration_time=600,
            arguments={"path": "/var/cache/mysite/pages.kennel", "namespace": "pages"},
            region_invalidator=kennel.dogpile.SharedInvalidation(region),
        )

    A hard invalidation removes the values. A soft invalidation makes them stale: one caller creates each new value
    while the others get the old one. As always in dogpile.cache, a soft invalidation needs an ``expiration_time``.
    """

    def __init__(self, region: Any) -> None:
        self._region = region
        self._was_soft = False

    def invalidate(self, hard: bool = True) -> None:
        """Invalidates all present values.

        :param hard: remove the values (default). With False they become stale.
        """
        self._region.actual_backend.invalidate(hard)
        self._was_soft = not hard

    # After a hard invalidation by any process, the backend does not return the old values. After a soft one, it returns
    # them with a special creation time.

    def is_hard_invalidated(self, timestamp: float) -> bool:
        """Returns False: the backend does not return a value after a hard invalidation."""
        return False

    def is_soft_invalidated(self, timestamp: float) -> bool:
        """Returns whether a value with this creation time is stale."""
        return timestamp == _LONG_AGO

    def is_invalidated(self, timestamp: float) -> bool:
        """Returns whether a value with this creation time is stale or removed."""
        return self.is_soft_invalidated(timestamp)

    def was_hard_invalidated(self) -> bool:
        """Returns False: see :meth:`is_hard_invalidated`."""
        return False

    def was_soft_invalidated(self) -> bool:
        """Returns whether the last invalidation by this process was a soft one. If so, dogpile.cache demands an
        expiration time."""
        return self._was_soft


class _NamedLock:
    """The lock that a path names if there is no ``lock_factory``. It excludes other readers, too."""

    def __init__(self, cache: Cache, path: str) -> None:
        self._lock: _kennel.Lock = cache.lock("\0kennel.dogpile lock\0" + path, wait=None, handover=True)

    def acquire(self, wait: bool = True) -> bool:
        return self._lock.acquire(wait)

    def release(self) -> None:
        self._lock.release()

    def read(self) -> _kennel.Lock:
        return self._lock

    def write(self) -> _kennel.Lock:
        return self._lock


def length_conditional_mangler(longest: int) -> Callable[[str], str]:
    """Returns a key mangler that shortens longer keys to this many characters: the beginning of the key, for people who
    read the keys of the file, and a hash."""
    if longest < 64:
        raise ValueError(f"longest_key: expected at least 64 characters, found {longest}")

    def mangle(key: str) -> str:
        if len(key) <= longest:
            return key
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return f"{key[: longest - len(digest) - 1]}#{digest}"

    return mangle


def _within(lock: Callable[[], "AbstractContextManager[Any]"], method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method that takes a lock around another method."""

    @functools.wraps(method)
    def locked(*given: Any, **named: Any) -> Any:
        with lock():
            return method(*given, **named)

    return locked


def _fits(key: str) -> bool:
    return len(key) <= _kennel.MAX_KEY // 4 or len(key.encode("utf-8", "surrogatepass")) <= _kennel.MAX_KEY


def _aged(value: bytes) -> bytes:
    """Returns a stored value as if it had been created long ago. Replaces the creation time in dogpile's metadata,
    which is the JSON before the first ``|``."""
    metadata, bar, payload = value.partition(b"|")
    aged: Dict[str, Any] = json.loads(metadata)
    aged["ct"] = _LONG_AGO
    return json.dumps(aged).encode() + bar + payload
