"""The backend for dogpile.cache.

.. code-block:: python

    from dogpile.cache import make_region

    region = make_region().configure(
        "kennel",
        expiration_time=600,
        arguments={"path": "/var/cache/mysite/pages.kennel", "capacity": 256 << 20},
    )

``kennel`` is an entry point; where there are none, register the class by its path::

    dogpile.cache.register_backend("kennel", "kennel.dogpile", "KennelBackend")

Registered under the name ``dogpile.cache.dbm`` it takes that backend's place, and its arguments: see
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
#: The creation time of a value that was invalidated soft. Later than 0, which would mean that there is no value.
_LONG_AGO = 1e-6
#: The longest key that is stored as it is, in characters.
_LONGEST_KEY = 1024


class KennelBackend(BytesBackend):
    """A dogpile.cache backend in a Kennel file.

    Arguments of its own:

    :param path: the cache file; by default the one of this user, :func:`kennel.default_path`. Regions that name the
        same file share it, so give them key manglers, or a ``namespace`` each.
    :param capacity: bytes of records that the file holds; default 64 MiB. What does not fit any more is evicted.
    :param ttl: seconds after which the engine itself forgets a value. It must be longer than the expiration time of the
        dogpile region, and longer than any that is given to a call: a region does not tell its backend when values
        expire, and one that the engine has forgotten cannot be returned while another caller creates it anew. By
        default values stay until their room is needed.
    :param namespace: the name of a part of the file that these keys have to themselves, and that
        :class:`SharedInvalidation` invalidates for all processes.
    :param longest_key: keys with more characters are stored under their beginning and a hash; default 1024, and
        ``None`` for never.
    :param lock_max_age: seconds after which another may take a key's lock although its holder lives; by default
        never. (When the holder is killed, others go on within a second.)

    The options of :class:`kennel.Cache` (``locks``, ``stripes``, ``mean_item``, ``on_mismatch`` and so on) are
    arguments, too. An argument that there is not is logged and ignored, as other backends ignore theirs.

    Arguments of ``dogpile.cache.dbm``:

    :param filename: the cache lies beside that file, with the suffix ``.kennel``. The old file, under whatever suffix
        its library gave it, is left alone.
    :param rw_lockfile: ``None``: the engine's own locks; with a ``lock_factory`` a lock of it, for ``FILENAME.rw.lock``, is
        taken around all reads and writes, too. ``False``: the engine's own in any case. A path: a lock from
        ``lock_factory`` for that path is taken around all reads and writes.
    :param dogpile_lockfile: ``None``: a lock for each key, over all processes, by the engine; with a ``lock_factory`` one
        lock of it for all keys, for ``FILENAME.dogpile.lock``. ``False``: a lock for each key, over the threads of this
        process, by dogpile. A path: one lock for all keys from ``lock_factory`` for that path.
    :param lock_factory: is called with the path of each lock, the default one where that argument is ``None``, and its
        locks are used. Without it a path means a lock of the engine that is named like the path.

    The keys' locks are exact: different keys never wait for each other, so that ``get_or_create_multi`` cannot run into
    a deadlock. A value that is too large for the file is not stored, and the value before is removed. A value is not
    stored either while a stopped process holds the lock of its stripe (:class:`kennel.Busy`). Both are counted in
    ``not_stored`` and logged once; the caller has its value.
    """

    not_stored: int
    """Values that could not be stored, in this process."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = {name: arguments[name] for name in OPTIONS if name in arguments}
        for name in arguments:
            if name not in OPTIONS and name not in _OWN:
                log.warning("%r is no argument of the backend kennel; it is ignored", name)
        filename = arguments.get("filename")
        if filename is not None and "path" in arguments:
            raise ValueError("path and filename both say where the cache lies: expected one of them")
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
        """Whether the keys have a namespace of the file to themselves."""
        self._load, self._store = self._space.get, self._space.set
        self._locks(arguments)
        if self._rw_lock is not None:
            self._take_around(self._rw_lock.read, "get_serialized", "get_serialized_multi")
            writes = "set_serialized", "set_serialized_multi", "delete", "delete_multi", "invalidate"
            self._take_around(self._rw_lock.write, *writes)
        longest = arguments.get("longest_key", _LONGEST_KEY)
        self.key_mangler = None if longest is None else length_conditional_mangler(int(longest))

    def _locks(self, arguments: Mapping[str, Any]) -> None:
        """Finds the locks that dbm's arguments ask for."""
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
        """The lock of a key: the engine's, unless dbm's arguments ask for another."""
        if self._one_mutex is not None:
            return self._one_mutex(key)
        if self._thread_mutexes:
            return None
        # An asynchronous creation runner releases it in another thread. When a stripe has no claims left, the
        # key is created without protection, and counted.
        return self._space.lock(key, wait=None, max_age=self._lock_max_age, unprotected=True, handover=True)

    def _take_around(self, lock: Callable[[], "AbstractContextManager[Any]"], *methods: str) -> None:
        """Makes this object's methods take a lock of dbm's arguments. Without one, which is how it should be, each of
        them is one call of the engine."""
        for name in methods:
            setattr(self, name, _within(lock, getattr(self, name)))

    def get_serialized(self, key: str) -> Any:
        """The stored bytes of a key, or ``NO_VALUE``."""
        return self._get_aged(key) if self.is_shared else self._load(key, NO_VALUE)

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """The stored bytes of many keys, in their order."""
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
        """Stores the bytes of many keys, each stripe locked once."""
        for key, error in self._space.set_multi(mapping, self._ttl).items():
            self._refused(key, error)

    def _refused(self, key: str, error: Exception) -> None:
        """Goes on with a value that was not stored: the caller that created it needs it all the same."""
        self.not_stored += 1
        level = logging.DEBUG if type(error) in self._logged_not_stored else logging.WARNING
        self._logged_not_stored.add(type(error))
        log.log(level, "not stored in %s: %s", self.cache.path, error)
        if isinstance(error, TooLarge):
            # Rather no value than the one before.
            self._space.delete(key)

    def delete(self, key: str) -> None:
        """Removes a key, if it has a value."""
        # No value can be there under a key that is too long.
        if _fits(key):
            self._space.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Removes many keys, each stripe locked once."""
        self._space.delete_multi([key for key in keys if _fits(key)])

    def invalidate(self, hard: bool = True) -> None:
        """Makes all values of this backend's namespace gone, or stale, in every process."""
        if not self.is_shared:
            raise ValueError("only the keys of a namespace can be invalidated: expected the argument namespace")
        self._space.invalidate(soft=not hard)


class SharedInvalidation(RegionInvalidationStrategy):
    """Makes ``region.invalidate()`` hold in every process that uses the same file and the same ``namespace`` argument.

    .. code-block:: python

        region = make_region()
        region.configure(
            "kennel",
            expiration_time=600,
            arguments={"path": "/var/cache/mysite/pages.kennel", "namespace": "pages"},
            region_invalidator=kennel.dogpile.SharedInvalidation(region),
        )

    A hard invalidation makes the values gone. After a soft one they are stale: one caller creates each of them anew while
    the others get the old one. That needs an ``expiration_time``, as it does in dogpile.cache itself.
    """

    def __init__(self, region: Any) -> None:
        self._region = region
        self._was_soft = False

    def invalidate(self, hard: bool = True) -> None:
        """Invalidates all values that are there now."""
        self._region.actual_backend.invalidate(hard)
        self._was_soft = not hard

    # What was invalidated hard is not returned by the backend any more; what was invalidated soft comes with a
    # creation time that says so, whichever process invalidated it.

    def is_hard_invalidated(self, timestamp: float) -> bool:
        """Never: such a value is not there."""
        return False

    def is_soft_invalidated(self, timestamp: float) -> bool:
        """Whether a value that was created then is stale."""
        return timestamp == _LONG_AGO

    def is_invalidated(self, timestamp: float) -> bool:
        """Whether a value that was created then is stale or gone."""
        return self.is_soft_invalidated(timestamp)

    def was_hard_invalidated(self) -> bool:
        """Never: see :meth:`is_hard_invalidated`."""
        return False

    def was_soft_invalidated(self) -> bool:
        """Whether the last invalidation by this process was a soft one; dogpile.cache then demands an expiration time."""
        return self._was_soft


class _NamedLock:
    """What a path means without ``lock_factory``: one lock of the engine for all who name that path, exclusive for
    readers, too."""

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
    """Leaves keys as they are up to so many characters, and makes them that long otherwise: their beginning, which a
    reader of the file knows again, and a hash."""
    if longest < 64:
        raise ValueError(f"longest_key: expected at least 64 characters, found {longest}")

    def mangle(key: str) -> str:
        if len(key) <= longest:
            return key
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return f"{key[: longest - len(digest) - 1]}#{digest}"

    return mangle


def _within(lock: Callable[[], "AbstractContextManager[Any]"], method: Callable[..., Any]) -> Callable[..., Any]:
    """A method with a lock around it."""

    @functools.wraps(method)
    def locked(*given: Any, **named: Any) -> Any:
        with lock():
            return method(*given, **named)

    return locked


def _fits(key: str) -> bool:
    return len(key) <= _kennel.MAX_KEY // 4 or len(key.encode("utf-8", "surrogatepass")) <= _kennel.MAX_KEY


def _aged(value: bytes) -> bytes:
    """A stored value as if it had been created long ago: dogpile's metadata, JSON before the first ``|``, with another
    creation time."""
    metadata, bar, payload = value.partition(b"|")
    aged: Dict[str, Any] = json.loads(metadata)
    aged["ct"] = _LONG_AGO
    return json.dumps(aged).encode() + bar + payload
