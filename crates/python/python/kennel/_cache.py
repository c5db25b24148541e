"""The public classes of a cache and its namespaces, on top of those in :mod:`kennel._kennel`."""

from __future__ import annotations

import inspect
import os
import weakref
from types import TracebackType
from typing import Any, Dict, Optional, Tuple, Type, TypeVar, Union

from . import _kennel
from ._create import Creating
from ._times import Seconds

__all__ = ["Cache", "Namespace"]

Self = TypeVar("Self", bound="Cache")
PathLike = Union[str, "os.PathLike[str]"]


class Cache(_kennel.Cache, Creating):
    """An open cache file, for any number of threads and processes.

    Keys and values are bytes. A ``str`` is encoded as UTF-8, and any other object with a buffer (``bytearray``,
    ``memoryview``, an array) is copied. Reads return ``bytes``. For objects, use :meth:`memoize`, which has
    serializers.

    A read takes no lock; a value that cannot be read is a miss. A write locks one stripe, and raises
    :class:`kennel.Busy` if another process, such as a stopped one, holds that lock for longer than ``lock_wait``. The
    interpreter's lock is released during waits, and while a value of 64 KiB or more is copied.

    A forked child can continue to use the cache that its parent opened. A cache that is pickled, for example as an
    argument of a ``multiprocessing`` process, opens its file again in the other process.

    The cache supports ``cache[key]``, ``cache[key] = value``, ``del cache[key]``, ``key in cache``, and iteration over
    the keys, which is not a snapshot. It has no length, because its contents change at any time; ``stats().items`` is
    the number of items.

    The options from ``capacity`` to ``samples`` describe the file. If the file already exists, each of these options
    that is given is compared with the file: see ``on_mismatch``.

    :param path: the path of the cache file; by default the cache file of this user, :func:`kennel.default_path`.
    :param capacity: how many bytes of records the cache holds, headers included: a number, or text such as ``"256M"``
        or ``"1.5GiB"``. At least 2 KiB per stripe; default 64 MiB. The index makes the file larger than this.
    :param mean_item: the mean size of key and value together in bytes, which determines the size of the index; default
        256. It may be text, as for ``capacity``.
    :param stripes: the number of stripes, a power of two up to 4096. With more stripes, fewer writers wait for each
        other, but the largest item that fits, a quarter of a stripe's main ring, is smaller. By default the number
        depends on the capacity.
    :param locks: the lock strategy of the stripes: ``file`` (default), ``lease``, ``process``, ``none`` or ``rw-file``.
    :param lock_regions: the number of locks that the stripes share, a power of two, at most the number of stripes,
        which is the default.
    :param seats: how many processes can have the file open for writing at the same time; default 1024.
    :param namespaces: how many namespaces the file has room for, at most 65 535; default 64.
    :param claims: how many keys of one stripe can be created or locked at the same time, at most 4096; default 64.
    :param tags: the number of places in the file's tables of tags: 0, or a power of two from 64 to 65 536. Each place
        takes 16 bytes. Tags that share a place are invalidated together, which costs misses. With 0, no value can bear
        tags. By default there is one place for each KiB of capacity, but at least 4096 and at most 65 536.
    :param namespace_reads: count the hits and misses of each namespace; see ``stats().namespace_reads``. By default a
        new file counts them if the counters take at most a fiftieth of its capacity: with the default ``seats`` and
        ``namespaces``, from 50 MiB on.
    :param samples: reserve room for samples of reads, which the command ``kennel advise`` takes. By default a new file
        has this room if it takes at most a hundredth of the capacity: with the default ``seats``, from 113 MiB on.
    :param mode: the permission bits of a new file, at most ``0o777``. They must include ``0o600``, which is the
        default.
    :param after_crash: which records remain after a crash of the operating system: ``discard``, none (default), or
        ``verify``, those whose checksum is valid.
    :param on_mismatch: what to do if the file exists and differs from these options: ``recreate``, replace it by an
        empty file (the default in Python); ``use_existing``, use it as it is; or ``fail``, raise
        :class:`kennel.Mismatch`.
    :param verify_reads: check the checksum of every value that is read; default False.
    :param trust: open the file even if it belongs to another user, or if other users can write to it; default False. Do
        not unpickle values from such a file.
    :param allow_network: use the file even if it is on a network or user-space file system; default False.
    :param lock_wait: how many seconds a write waits for the lock of its stripe before it raises :class:`kennel.Busy`;
        default 5.
    :param seed: the seed of the hash of a new file, from 0 to 2**64 - 1; random by default.
    :param prefault: bring every page of the file into memory when the file is opened, so that no write causes a page
        fault; default False.
    :param large_pages: whether the file uses large pages of 2 MiB, on Linux. ``auto`` (default): for a file in memory,
        if its file system provides them. ``always``: for a file in memory, also ask the system for them, which takes
        time when the file is opened; for a file on a disk, too, where the smallest change then writes 2 MiB. ``never``:
        only small pages. See :meth:`large_mapped`.
    :param read_only: open the file for reading only: this handle writes nothing and locks nothing; default False.
    :param create: create the file if it does not exist (default). With False, :class:`kennel.NotFound` is raised.
    """

    _opened_with: Dict[str, Any]
    _namespaces: "weakref.WeakSet[Namespace]"

    def __new__(
        cls: Type[Self],
        path: Optional[PathLike] = None,
        *,
        capacity: Union[int, str, None] = None,
        mean_item: Union[int, str, None] = None,
        stripes: Optional[int] = None,
        locks: Optional[str] = None,
        lock_regions: Optional[int] = None,
        seats: Optional[int] = None,
        namespaces: Optional[int] = None,
        claims: Optional[int] = None,
        tags: Optional[int] = None,
        namespace_reads: Optional[bool] = None,
        samples: Optional[bool] = None,
        mode: Optional[int] = None,
        after_crash: Optional[str] = None,
        on_mismatch: str = "recreate",
        verify_reads: bool = False,
        trust: bool = False,
        allow_network: bool = False,
        lock_wait: Optional[Seconds] = None,
        seed: Optional[int] = None,
        prefault: bool = False,
        large_pages: Optional[str] = None,
        read_only: bool = False,
        create: bool = True,
    ) -> Self:
        given = locals()
        options = {name: given[name] for name in OPTIONS}
        self = super().__new__(cls, _kennel.default_path() if path is None else path, options)
        self._opened_with = options
        self._namespaces = weakref.WeakSet()
        return self

    def close(self) -> None:
        """Closes the cache and its namespaces. Every later use of them raises ValueError. Raises RuntimeError if
        another thread is using one of them."""
        for namespace in list(self._namespaces):
            namespace.close()
        super().close()

    def namespace(
        self,
        name: str,
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        jitter: Optional[float] = None,
        idle: Optional[Seconds] = None,
    ) -> "Namespace":
        """Opens a named part of the cache, and creates it if the file does not have it: see :class:`Namespace`. The
        times are the defaults for the values that this object stores. The file keeps the times of the first program
        that opens the namespace; they apply to a program that gives none.

        :param name: the name of the namespace, 1 to 128 bytes in UTF-8 without a zero byte.
        :param ttl: seconds, or a ``timedelta``, until values expire; by default they do not expire.
        :param stale: seconds, or a ``timedelta``, until values are stale; at most ``ttl``. By default they are never
            stale.
        :param absence_ttl: how many seconds to remember that a key has no value. By default this is not remembered.
        :param jitter: the largest part, from 0 to 1, of ``ttl`` and ``stale`` that is taken off at random for each
            value, so that values that are stored together do not all expire together; default 0.
        :param idle: seconds, or a ``timedelta``, until a value expires if no caller reads it. Each read starts this
            time again, but the value never lives longer than ``ttl``. It does not apply to a value that is stored with
            a ``ttl`` of its own. The idle time of the first program that gives one applies to all programs. If no
            program gives one, reads do not change when a value expires.
        """
        return Namespace(self, name, ttl, stale, absence_ttl, jitter, idle)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{kind}, closed>" if self.closed else f"<{kind} {os.fspath(self.path)!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return _open_again, (type(self), os.fspath(self.path), self._opened_with)


#: The names of the options of a cache file. The signature of :class:`Cache` is the only list of them in Python.
OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(Cache.__new__).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
)


class Namespace(_kennel.Namespace, Creating):
    """A named part of a cache, with its own keys and default times to live. It can be invalidated as a whole,
    immediately and for every process. A namespace has all operations of the cache except those on the whole file.
    :meth:`Cache.namespace` creates one.

    :param cache: the cache.
    :param name: the name of the namespace, 1 to 128 bytes in UTF-8 without a zero byte.
    :param ttl: seconds, or a ``timedelta``, until values expire; by default they do not expire.
    :param stale: seconds, or a ``timedelta``, until values are stale; at most ``ttl``. By default they are never stale.
    :param absence_ttl: how many seconds to remember that a key has no value. By default this is not remembered.
    :param jitter: the largest part, from 0 to 1, of ``ttl`` and ``stale`` that is taken off at random for each value,
        so that values that are stored together do not all expire together; default 0.
    :param idle: seconds, or a ``timedelta``, until a value expires if no caller reads it: see :meth:`Cache.namespace`.
    """

    _made_of: Tuple[Any, ...]

    def __new__(
        cls,
        cache: Cache,
        name: str,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        jitter: Optional[float] = None,
        idle: Optional[Seconds] = None,
    ) -> "Namespace":
        self = super().__new__(cls, cache, name, ttl, stale, absence_ttl, jitter, idle)
        self._made_of = (cache, name, ttl, stale, absence_ttl, jitter, idle)
        cache._namespaces.add(self)
        return self

    @property
    def cache(self) -> Cache:
        """The cache that contains this namespace."""
        cache: Cache = self._made_of[0]
        return cache

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._made_of[1]!r} of {self.cache!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), self._made_of


def _open_again(kind: Type[Self], path: str, options: Dict[str, Any]) -> Self:
    return kind(path, **options)
