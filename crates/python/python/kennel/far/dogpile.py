"""The backend ``kennel.far`` for dogpile.cache: a near cache in front of the Redis that other hosts use.

.. code-block:: python

    from dogpile.cache import make_region

    region = make_region().configure(
        "kennel.far",
        expiration_time=600,
        arguments={"url": "redis://10.0.0.5", "path": "/dev/shm/pages.kennel", "redis_expiration_time": 7200},
    )

It stores what ``dogpile.cache.redis`` stores, under the same keys, and takes the same arguments. So the hosts of an
application can be switched over one at a time, and back: in the configuration, change the name of the backend and add
``path``.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex

from .._cache import OPTIONS as NEAR_OPTIONS
from .._clock import now
from ._cache import OPTIONS, FarCache
from ._shared import far_at
from ._url import url_of
from ._wait import sleep

__all__ = ["FarBackend"]

log = logging.getLogger(__name__)

#: Arguments of ``dogpile.cache.redis`` that have the same meaning here.
_OF_REDIS = (
    "url",
    "host",
    "port",
    "db",
    "username",
    "password",
    "redis_expiration_time",
    "distributed_lock",
    "lock_timeout",
    "lock_sleep",
    "lock_blocking",
    "lock_blocking_timeout",
    "lock_prefix",
    "socket_timeout",
)
#: Arguments of ``dogpile.cache.redis`` about its client's connections, which have no meaning here.
_WITHOUT_MEANING = ("thread_local_lock", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")
#: Arguments of ``dogpile.cache.redis`` that may name another server, so they must not be ignored.
_REFUSED = ("connection_pool", "connection_kwargs", "ssl")

#: Removes a lock that still has its owner's token.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class FarBackend(BytesBackend):
    """A dogpile.cache backend that stores values in Redis or Valkey, with a near cache for all processes of the host.

    :param path: the path of the near file, preferably in memory, such as ``/dev/shm/pages.kennel``. It must be given.
    :param prefix: the prefix of the keys whose values the near file may copy, or a list of up to eight prefixes. If the
        region has a key mangler that gives its keys a prefix, name this prefix, so that the server does not report
        changes of other keys. By default all keys are covered.

    All options of :class:`kennel.far.FarCache`, and those of :class:`kennel.Cache` for the near file, are arguments, too.

    These arguments of ``dogpile.cache.redis`` have the same meaning here: ``url``, or ``host``, ``port``, ``db``,
    ``username`` and ``password``; ``redis_expiration_time``; ``socket_timeout``, which here is the same as ``timeout``;
    and those of its lock:

    :param distributed_lock: with True, one caller among all hosts creates the value of a key. The lock is the one that
        ``dogpile.cache.redis`` takes, the key ``_lockKEY`` of the server, so hosts with either backend exclude each
        other. With False, the default, each process has locks of its own.
    :param lock_timeout: the largest number of seconds for which the lock excludes other callers. After that, another
        caller may take the lock, even if its holder is still running. If the holder was killed, the lock also lasts
        until then. Default 300; None is no limit.
    :param lock_sleep: how many seconds to wait between two attempts to take the lock; default 0.1.
    :param lock_blocking: whether to wait if another caller holds the lock; default True.
    :param lock_blocking_timeout: how many seconds to wait for the lock; by default without limit.
    :param lock_prefix: the prefix of the keys of locks, ``_lock`` by default.

    ``thread_local_lock`` and the arguments of sockets have no effect. ``connection_pool``, ``connection_kwargs`` and
    ``ssl`` are refused, because they may name another server. Other arguments are logged and ignored.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        for name in _REFUSED:
            if arguments.get(name):
                raise ValueError(f"{name}: the backend kennel.far cannot use it; name the server with url")
        if arguments.get("path") is None:
            raise ValueError("path: expected the path of the near file, found none")
        options = {name: arguments[name] for name in (*OPTIONS, *NEAR_OPTIONS) if name in arguments}
        if arguments.get("socket_timeout") is not None:
            options.setdefault("timeout", arguments["socket_timeout"])
        for name in arguments:
            if name not in options and name not in ("path", "prefix", *_OF_REDIS, *_WITHOUT_MEANING, *_REFUSED):
                log.warning("%r is not an argument of the backend kennel.far; it is ignored", name)
        prefix = arguments.get("prefix", "")
        self.far: FarCache = far_at(_url(arguments), path=arguments["path"], prefix=prefix, **options)
        self._ttl: Optional[float] = arguments.get("redis_expiration_time") or None
        self._is_distributed = bool(arguments.get("distributed_lock", False))
        self._lock_prefix = arguments.get("lock_prefix") or "_lock"
        self._lock_how: Dict[str, Any] = {
            "timeout": arguments.get("lock_timeout", 300.0),
            "pause": arguments.get("lock_sleep", 0.1),
            "is_blocking": arguments.get("lock_blocking", True),
            "longest": arguments.get("lock_blocking_timeout"),
        }
        self._load = self.far.get

    def get_mutex(self, key: str) -> Optional["FarLock"]:
        """Returns the lock of a key if ``distributed_lock`` was given. Otherwise returns None, so that dogpile.cache
        uses a lock within this process."""
        return FarLock(self.far, self._lock_prefix + key, **self._lock_how) if self._is_distributed else None

    def get_serialized(self, key: str) -> Any:
        """Returns the stored bytes of a key, or ``NO_VALUE``."""
        return self._load(key, NO_VALUE)

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Returns the stored bytes of many keys, in the order of the keys, with ``NO_VALUE`` for each missing one."""
        return [NO_VALUE if value is None else value for value in self.far.get_multi(keys)]

    def set_serialized(self, key: str, value: bytes) -> None:
        """Stores the bytes of a key."""
        self.far.set(key, value, self._ttl)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Stores the bytes of many keys."""
        self.far.set_multi(mapping, self._ttl)

    def delete(self, key: str) -> None:
        """Removes the value of a key, if it has one."""
        self.far.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Removes the values of many keys."""
        self.far.delete_multi(keys)


class FarLock(CacheMutex):
    """The lock of a key among all hosts. Like the lock of the client redis-py, it is a key of the server whose value is
    a random token."""

    def __init__(
        self,
        far: FarCache,
        name: str,
        *,
        timeout: Optional[float],
        pause: float,
        is_blocking: bool,
        longest: Optional[float],
    ) -> None:
        self._far, self._name = far, name
        self._timeout, self._pause, self._is_blocking, self._longest = timeout, pause, is_blocking, longest
        self._token: Optional[str] = None

    def acquire(self, wait: bool = True) -> bool:
        """Takes the lock. Returns whether this succeeded."""
        token = uuid.uuid4().hex
        command: List[Any] = ["SET", self._name, token, "NX"]
        if self._timeout is not None:
            command += ["PX", max(1, int(self._timeout * 1000))]
        deadline = None if self._longest is None else now() + self._longest
        while self._far.call(command, [self._name]) is None:
            if not (wait and self._is_blocking) or (deadline is not None and now() + self._pause > deadline):
                return False
            sleep(self._pause)
        self._token = token
        return True

    def release(self) -> None:
        """Releases the lock. If the lock has ended meanwhile, logs a warning. If another caller now holds the lock,
        leaves it to that caller."""
        token, self._token = self._token, None
        if token is None:
            raise RuntimeError("release of a lock that is not held")
        if not self._far.call(["EVAL", _RELEASE, 1, self._name, token], [self._name]):
            log.warning("the lock %r had ended before it was released", self._name)

    def locked(self) -> bool:
        """Returns whether any caller currently holds the lock."""
        return self._far.get_fresh(self._name) is not None


def _url(arguments: Mapping[str, Any]) -> str:
    """Returns the URL of the server from the argument ``url``, or from ``host``, ``port`` and so on."""
    if arguments.get("url") is not None:
        return url_of(arguments["url"])
    host, port = arguments.get("host", "localhost"), arguments.get("port", 6379)
    where = f"redis://{f'[{host}]' if ':' in host else host}:{port}"
    return url_of(where, arguments.get("username"), arguments.get("password"), arguments.get("db", 0))
