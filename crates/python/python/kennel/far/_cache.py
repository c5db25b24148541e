"""The public class of a far tier, on top of that in :mod:`kennel._kennel`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
from types import TracebackType
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    overload,
)

from .. import _kennel
from .._clock import now
from .._ending import BytesLike, as_bytes
from .._errors import OwnClaim
from .._log import not_stored
from .._times import Seconds, seconds
from ._errors import FarError
from ._memoize import FarMemoizing
from ._wait import FIRST_PAUSE, LAST_PAUSE, sleeper_of_greenlet

__all__ = ["FarCache"]

Self = TypeVar("Self", bound="FarCache")
T = TypeVar("T")
Key = TypeVar("Key", bound=BytesLike)

#: How many seconds one attempt to get or create the value of a key waits. Between attempts Python handles signals such
#: as Ctrl-C.
_PIECE = 1.0

#: The keys whose values the calling thread or task is creating.
_creating: "contextvars.ContextVar[FrozenSet[Tuple[int, bytes]]]" = contextvars.ContextVar(
    "kennel_far_creating", default=frozenset()
)

Found = Tuple[Optional[bytes], "Optional[_kennel.FarCreation]"]


class FarCache(_kennel.FarCache, FarMemoizing):
    """A server that many hosts share, Redis or Valkey, with a near cache for all processes of this host.

    Keys and values are bytes. As in :class:`kennel.Cache`, a ``str`` is encoded as UTF-8, and reads return ``bytes``.
    The server stores the bytes unchanged, so other programs can read and write them with any client. For objects use
    :meth:`memoize`, a serializer of your own, or the backends :mod:`kennel.far.dogpile` and :mod:`kennel.far.django`.

    A near hit takes no lock, makes no system call, and keeps the interpreter's lock. Every other call may ask the
    server, and releases the interpreter's lock. Such a call waits at most ``timeout`` for an answer of the server.
    Python handles signals such as Ctrl-C after the call has returned. A greenlet of gevent lets other greenlets run
    meanwhile. For coroutines, the methods whose names begin with ``a`` answer near hits on the event loop, and ask the
    server in a thread.

    All processes of a host should give the same options. A forked child can continue to use the object. An object that
    is pickled, for example as an argument of a ``multiprocessing`` process, opens its near file again in the other
    process. The pickle contains the URL with its password.

    :param url: ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`` or
        ``unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]``; for a cluster some of its nodes,
        ``redis-cluster://HOST:PORT,HOST:PORT``; for a master that sentinels watch,
        ``redis-sentinel://HOST:PORT,HOST:PORT/NAME[?db=DATABASE]``. With ``rediss`` in place of ``redis`` the
        connection uses TLS.
    :param prefix: the prefix of the keys whose values the near file may copy, or a list of up to eight prefixes, none
        of which is the beginning of another. Calls work with all keys; calls with other keys go to the server. ``""``
        covers all keys.
    :param path: the path of the near file, preferably in memory, such as ``/dev/shm/app.kennel``.
    :param max_staleness: at most how many seconds ago a value that a read returns may have been replaced; from 0.02
        (20 ms) to 3600 (an hour), default 1.
    :param keepers: how many processes of the host track the server's changes at the same time: 1 or 2 (default). With 0
        this process never tracks them, and relies on other processes.
    :param tracking: whether the server's invalidation messages keep the near file up to date; default True. With False
        a near value ends ``max_staleness`` after it was asked for, and the server needs no ``CLIENT TRACKING``.
    :param probe: whether a process that begins to track changes a key under each prefix, and trusts the server only if
        it is told of these changes; default True.
    :param degraded: what reads do while there is no proof that all changes have arrived. ``bypass`` (default): each
        read asks the server. ``brief``: one process asks for all, and the value is used for ``max_staleness`` from then
        on.
    :param hot_keys: how many times a second the fetched value of a key may be out of date before it is stored. A key
        that changes more often is left out of the near file for a second. Default 20.
    :param near_ttl: how many seconds a value without a time to live stays in the near file; default 3600.
    :param absence_ttl: how many seconds to remember that a key has no value; default 60.
    :param near_max_value: the size in bytes of the largest value that the near file stores; larger values are fetched
        each time. A number, or text such as ``"64K"``, which is the default.
    :param fetch_wait: how many seconds a read waits for another process's fetch of the same key; default 0.2.
    :param timeout: how many seconds a call waits for the server; default 5.
    :param ssl_ca_certs: for a ``rediss`` URL: the path of a PEM file with the certificate authorities to trust, in
        place of the system's.
    :param ssl_certfile: the path of a PEM file with the certificate of this client, which some servers ask for. Needs
        ``ssl_keyfile``.
    :param ssl_keyfile: the path of a PEM file with the private key of ``ssl_certfile``.
    :param ssl_server_name: the name that the server's certificate must have, in place of the URL's host.
    :param sentinel_username: the user name for the sentinels themselves; by default their default user. Needs
        ``sentinel_password``.
    :param sentinel_password: the password for the sentinels themselves, if they ask for one.
    :param near: the options of :class:`kennel.Cache` for the near file, ``capacity`` for example, except ``read_only`` and
        ``create``.
    """

    _opened_with: Tuple[Any, ...]

    def __new__(
        cls: Type[Self],
        url: str,
        *,
        prefix: Union[BytesLike, Iterable[BytesLike]],
        path: Union[str, "os.PathLike[str]"],
        max_staleness: Optional[Seconds] = None,
        keepers: Optional[int] = None,
        tracking: Optional[bool] = None,
        probe: Optional[bool] = None,
        degraded: Optional[str] = None,
        hot_keys: Optional[int] = None,
        near_ttl: Optional[Seconds] = None,
        absence_ttl: Optional[Seconds] = None,
        near_max_value: Union[int, str, None] = None,
        fetch_wait: Optional[Seconds] = None,
        timeout: Optional[Seconds] = None,
        ssl_ca_certs: Union[str, "os.PathLike[str]", None] = None,
        ssl_certfile: Union[str, "os.PathLike[str]", None] = None,
        ssl_keyfile: Union[str, "os.PathLike[str]", None] = None,
        ssl_server_name: Optional[str] = None,
        sentinel_username: Optional[str] = None,
        sentinel_password: Optional[str] = None,
        **near: Any,
    ) -> Self:
        given = locals()
        options = {name: given[name] for name in OPTIONS}
        for name in ("read_only", "create"):
            if name in near:
                raise TypeError(f"{name} is not an option of a near file")
        one = isinstance(prefix, (str, bytes, bytearray, memoryview))
        prefixes = [as_bytes(each) for each in ([prefix] if one else prefix)]
        self = super().__new__(cls, url, prefixes, path, options, {"on_mismatch": "recreate", **near})
        self._opened_with = (url, prefixes, os.fspath(path), {**options, **near})
        return self

    @property
    def path(self) -> str:
        """The path of the near file, as it was given."""
        path: str = self._opened_with[2]
        return path

    @property
    def first_prefix(self) -> bytes:
        """The first of the prefixes, as they were given. The keys of memoized functions begin with it."""
        first: bytes = self._opened_with[1][0]
        return first

    def call(self, command: Iterable[Union[BytesLike, int, float]], keys: Iterable[BytesLike] = ()) -> Any:
        """Executes any command of the server once, and returns the answer: bytes, a number, a bool, None, or a list.

        :param command: a list of the name of the command and its arguments.
        :param keys: the keys that the command changes. After the call, no read of this host returns their old values.
        """
        if isinstance(command, (str, bytes)):
            raise TypeError("command: expected its name and its arguments as a list, found text")
        return self._call([_part(part) for part in command], keys)

    def get_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Optional[BytesLike]],
        *,
        ttl: Optional[Seconds] = None,
        expires_at: Optional[float] = None,
        lease: Seconds = 30.0,
        wait: Optional[Seconds] = 30.0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        or_uncached: bool = False,
    ) -> Optional[bytes]:
        """Returns the value of a key. If the key has none, exactly one caller among all hosts runs ``create``, and the
        others wait for its value.

        If ``create`` raises an exception, only the caller that ran it gets the exception, and the next waiting caller
        creates the value. If ``create`` calls this method for its own key, :class:`kennel.OwnClaim` is raised.

        :param create: a function that returns the value, or ``None`` if the key has no value, which is not remembered.
        :param ttl: time to live: seconds, or a ``timedelta``, until the value expires. By default it does not expire.
        :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
        :param lease: how many seconds a creator excludes other callers. If ``create`` takes longer, its value is
            returned to this caller and not stored. Default 30.
        :param wait: how many seconds to wait for another caller's creation. After that, this caller runs ``create``,
            too, and stores nothing; ``None`` waits without limit. Default 30.
        :param should_cache: a function that gets the created value as bytes, and returns whether to store it. By default
            all values are stored.
        :param or_uncached: if the server fails, run ``create`` and store nothing, instead of raising
            :class:`kennel.far.FarError`. Default False.
        """
        name = as_bytes(key)
        _check_not_own(self, name)
        try:
            value, creation = self._find(name, lease, wait)
        except FarError as error:
            if not or_uncached:
                raise
            not_stored(self, key, error)
            value, creation = None, None
        if value is not None:
            return value
        with _is_creating(self, name), creation or contextlib.nullcontext():
            made = create()
            data = None if made is None else as_bytes(made)
            if creation is not None and data is not None and (should_cache is None or should_cache(data)):
                try:
                    creation.store(data, ttl, expires_at=expires_at)
                except FarError as error:
                    not_stored(self, key, error)
        return data

    def _find(self, key: bytes, lease: Seconds, wait: Optional[Seconds]) -> Found:
        """Returns the value of a key, or the right to create it, or neither if another caller was still creating it
        when ``wait`` was over."""
        deadline = None if wait is None else now() + seconds(wait)
        sleep, pause = sleeper_of_greenlet(), FIRST_PAUSE
        while True:
            left = _PIECE if deadline is None else max(0.0, deadline - now())
            # A greenlet does not wait in a thread of the pool: all threads of the pool could be waiting for one
            # greenlet.
            found = self._claim(key, lease, 0.0 if sleep else min(left, _PIECE))
            if found != (None, None) or left == 0:
                return found
            if sleep is not None:
                sleep(min(pause, left))
                pause = min(2 * pause, LAST_PAUSE)

    # Coroutines.

    @overload
    async def aget(self, key: BytesLike, default: None = None) -> Optional[bytes]: ...
    @overload
    async def aget(self, key: BytesLike, default: T) -> Union[bytes, T]: ...
    async def aget(self, key: BytesLike, default: Any = None) -> Any:
        """Does the same as ``get`` for coroutines. A near hit is returned at once."""
        found = self.get_near(key)
        return await asyncio.to_thread(self.get, key, default) if found is None else found

    async def aget_fresh(self, key: BytesLike, default: Any = None) -> Any:
        """Does the same as ``get_fresh`` for coroutines."""
        return await asyncio.to_thread(self.get_fresh, key, default)

    async def aget_multi(self, keys: Iterable[BytesLike]) -> List[Optional[bytes]]:
        """Does the same as ``get_multi`` for coroutines. If all values are near, they are returned at once."""
        keys = list(keys)
        found: List[Optional[bytes]] = []
        for key in keys:
            value = self.get_near(key)
            if value is None:
                return await asyncio.to_thread(self.get_multi, keys)
            found.append(value)
        return found

    async def aset(
        self, key: BytesLike, value: BytesLike, ttl: Optional[Seconds] = None, *, expires_at: Optional[float] = None
    ) -> None:
        """Does the same as ``set`` for coroutines."""
        await asyncio.to_thread(self.set, key, value, ttl, expires_at=expires_at)

    async def aset_multi(
        self,
        items: Union[Mapping[Key, BytesLike], Iterable[Tuple[Key, BytesLike]]],
        ttl: Optional[Seconds] = None,
        *,
        expires_at: Optional[float] = None,
    ) -> None:
        """Does the same as ``set_multi`` for coroutines."""
        await asyncio.to_thread(self.set_multi, items, ttl, expires_at=expires_at)

    async def adelete(self, key: BytesLike) -> bool:
        """Does the same as ``delete`` for coroutines."""
        return await asyncio.to_thread(self.delete, key)

    async def adelete_multi(self, keys: Iterable[BytesLike]) -> int:
        """Does the same as ``delete_multi`` for coroutines."""
        return await asyncio.to_thread(self.delete_multi, keys)

    async def aincr(self, key: BytesLike, delta: int = 1) -> int:
        """Does the same as ``incr`` for coroutines."""
        return await asyncio.to_thread(self.incr, key, delta)

    async def acall(self, command: Iterable[Union[BytesLike, int, float]], keys: Iterable[BytesLike] = ()) -> Any:
        """Does the same as :meth:`call` for coroutines."""
        return await asyncio.to_thread(self.call, command, keys)

    async def aget_or_create(
        self,
        key: BytesLike,
        create: Callable[[], Awaitable[Optional[BytesLike]]],
        *,
        ttl: Optional[Seconds] = None,
        expires_at: Optional[float] = None,
        lease: Seconds = 30.0,
        wait: Optional[Seconds] = 30.0,
        should_cache: Optional[Callable[[bytes], bool]] = None,
        or_uncached: bool = False,
    ) -> Optional[bytes]:
        """Does the same as :meth:`get_or_create` for coroutines, with the same parameters: ``create`` is a coroutine
        function, and the event loop continues to run while another caller creates the value."""
        name = as_bytes(key)
        _check_not_own(self, name)
        try:
            value, creation = await self._afind(name, lease, wait)
        except FarError as error:
            if not or_uncached:
                raise
            not_stored(self, key, error)
            value, creation = None, None
        if value is not None:
            return value
        try:
            with _is_creating(self, name):
                made = await create()
            data = None if made is None else as_bytes(made)
            if creation is not None and data is not None and (should_cache is None or should_cache(data)):
                try:
                    await asyncio.to_thread(creation.store, data, ttl, expires_at=expires_at)
                except FarError as error:
                    not_stored(self, key, error)
        finally:
            # Deleting the object ends the right in a thread. This is not awaited, because the task may be cancelled.
            creation = None
        return data

    async def _afind(self, key: bytes, lease: Seconds, wait: Optional[Seconds]) -> Found:
        deadline, pause = None if wait is None else now() + seconds(wait), FIRST_PAUSE
        near = self.get_near(key)
        if near is not None:
            return near, None
        while True:
            is_last = deadline is not None and now() >= deadline
            # The attempt does not wait in a thread of the executor: all its threads could be waiting for one coroutine.
            found = await asyncio.to_thread(self._claim, key, lease, 0.0)
            if found != (None, None) or is_last:
                return found
            await asyncio.sleep(pause if deadline is None else max(0.0, min(pause, deadline - now())))
            pause = min(2 * pause, LAST_PAUSE)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{kind}, closed>" if self.closed else f"<{kind} near {self.path!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return _open_again, (type(self), *self._opened_with)


#: The names of the options of a far tier. The signature of :class:`FarCache` is the only list of them in Python.
OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(FarCache.__new__).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in ("prefix", "path")
)


def _open_again(kind: Type[Self], url: str, prefixes: List[bytes], path: str, options: Dict[str, Any]) -> Self:
    return kind(url, prefix=prefixes, path=path, **options)


def _part(part: Union[BytesLike, int, float]) -> BytesLike:
    """Converts a part of a command: a number becomes text, as the server writes it."""
    if isinstance(part, bool):
        raise TypeError("command: expected text, bytes or a number, found a bool")
    return repr(part) if isinstance(part, (int, float)) else part


def _check_not_own(far: FarCache, key: bytes) -> None:
    if (id(far), key) in _creating.get():
        raise OwnClaim(f"the caller is already creating {key!r}, and would wait for itself")


@contextlib.contextmanager
def _is_creating(far: FarCache, key: bytes) -> Iterator[None]:
    token = _creating.set(_creating.get() | {(id(far), key)})
    try:
        yield
    finally:
        _creating.reset(token)
