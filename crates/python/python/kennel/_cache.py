"""The cache: what :mod:`kennel._kennel` has, and how it is opened."""

from __future__ import annotations

import inspect
import os
import weakref
from types import TracebackType
from typing import Any, Dict, Optional, Tuple, Type, TypeVar, Union

from . import _kennel
from ._create import Creating
from ._memoize import Seconds

__all__ = ["Cache", "Namespace"]

Self = TypeVar("Self", bound="Cache")
PathLike = Union[str, "os.PathLike[str]"]


class Cache(_kennel.Cache, Creating):
    """An open cache file, to be used by any number of threads and processes at once.

    Keys and values are bytes. ``str`` is taken as its UTF-8, and whatever has a buffer (``bytearray``, ``memoryview``,
    an array) as its content; what comes back is ``bytes``. Objects go through a serializer, see :meth:`memoize`.

    A read takes no lock, and what cannot be read is a miss. A write locks one stripe and can end in
    :class:`kennel.Busy` when a stopped process holds it. The interpreter's lock is given up while one waits, and
    while a value of 64 KiB or more is copied.

    A forked child may go on using the cache it was born with. A cache that is pickled, as an argument of a
    ``multiprocessing`` process is, opens its file again in the other process.

    The cache is a mapping where that fits: ``cache[key]``, ``cache[key] = value``, ``del cache[key]``, ``key in cache``
    and iteration over the keys, which is no snapshot. It has no length, since what it holds changes under one's
    hands; ``stats().items`` tells.

    :param path: the cache file; by default the one of this user, :func:`kennel.default_path`.
    :param capacity: bytes of records that it holds, headers included: a number, or text such as ``"256M"`` or
        ``"1.5GiB"``; default 64 MiB.
    :param mean_item: mean size of key and value together, which decides how large the index is; default 256. It may be
        text, too.
    :param stripes: number of stripes, a power of two; more of them, fewer writers that wait for each other, and
        smaller items that still fit.
    :param locks: how stripes are locked: ``file`` (default), ``lease``, ``process``, ``none`` or ``rw-file``.
    :param lock_regions: number of locks, a power of two; default one per stripe.
    :param seats: processes that can have the file open for writing at once; default 1024.
    :param namespaces: namespaces that the file has room for; default 64.
    :param claims: keys of one stripe that can be created or locked at the same time; default 64.
    :param mode: permission bits of a new file; default ``0o600``.
    :param after_crash: what a new file holds after a crash of the operating system: ``discard`` (default) or
        ``verify``.
    :param on_mismatch: what happens when the file exists and differs from what is asked for here: ``recreate``
        (the default in Python), ``use_existing`` or ``fail``.
    :param verify_reads: check the checksum of every value that is read.
    :param trust: open a file that belongs to another user, or that others may write. Then do not unpickle from it.
    :param allow_network: use a network or user-space file system all the same.
    :param lock_wait: seconds that a write waits for its stripe's lock; default 5.
    :param seed: seed of the hash of a new file; random by default.
    :param prefault: make every page of the file present at once.
    :param read_only: open to read only; it writes nothing and locks nothing.
    :param create: create the file if there is none (default); otherwise that is :class:`kennel.NotFound`.
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
        mode: Optional[int] = None,
        after_crash: Optional[str] = None,
        on_mismatch: str = "recreate",
        verify_reads: bool = False,
        trust: bool = False,
        allow_network: bool = False,
        lock_wait: Optional[Seconds] = None,
        seed: Optional[int] = None,
        prefault: bool = False,
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
        """Gives the file back; its namespaces are closed with it. Whatever uses it afterwards raises ValueError."""
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
    ) -> "Namespace":
        """A named part of the cache, made at its first use: see :class:`Namespace`. The times are the defaults of what is
        stored there; the file keeps those of the first program that names the namespace.

        :param name: the namespace's name.
        :param ttl: seconds, or a ``timedelta``, after which values expire; by default they do not.
        :param stale: seconds after which they are stale; at most ``ttl``.
        :param absence_ttl: for so long it is remembered that a key has no value; by default it is not.
        """
        return Namespace(self, name, ttl, stale, absence_ttl)

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
    """A named part of a cache, with keys and times to live of its own, that can be invalidated as a whole, immediately and
    in every process. It has all operations of the cache but those that concern the file. Get one from
    :meth:`Cache.namespace`.

    :param cache: the cache that it is a part of.
    :param name: its name.
    :param ttl: seconds, or a ``timedelta``, after which values expire; by default they do not.
    :param stale: seconds after which they are stale; at most ``ttl``.
    :param absence_ttl: for so long it is remembered that a key has no value; by default it is not.
    """

    _made_of: Tuple[Any, ...]

    def __new__(
        cls,
        cache: Cache,
        name: str,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
    ) -> "Namespace":
        self = super().__new__(cls, cache, name, ttl, stale, absence_ttl)
        self._made_of = (cache, name, ttl, stale, absence_ttl)
        cache._namespaces.add(self)
        return self

    @property
    def cache(self) -> Cache:
        """The cache that it is a part of."""
        cache: Cache = self._made_of[0]
        return cache

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._made_of[1]!r} of {self.cache!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), self._made_of


def _open_again(kind: Type[Self], path: str, options: Dict[str, Any]) -> Self:
    return kind(path, **options)
