"""A cache backend for Django: a near cache in front of the Redis that other hosts use.

.. code-block:: python

    CACHES = {
        "default": {
            "BACKEND": "kennel.far.django.FarCache",
            "LOCATION": ["redis://10.0.0.5:6379"],
            "OPTIONS": {"near": "/dev/shm/mysite.kennel"},
        }
    }

It stores what ``django.core.cache.backends.redis.RedisCache`` stores, under the same keys, so the hosts of a site can
be switched over one at a time, and back: in the settings, change ``BACKEND`` and ``OPTIONS``. It does not need the
package redis. ``OPTIONS`` takes these options:

``near``
    The path of the near file, which all processes of the host share, preferably in memory. It must be given.
``prefix``
    The prefix of the keys whose values the near file may copy, or a list of up to eight prefixes. By default it is
    ``KEY_PREFIX`` and a colon, with which Django's keys begin. With a ``KEY_FUNCTION`` of your own it is empty by
    default, which covers all keys.
``serializer``
    As for Django's backend: a dotted path, a class, or an object with ``dumps`` and ``loads``.
``db``, ``username``, ``password``
    As for Django's backend: the database and the user, if ``LOCATION`` does not name them.

It also takes the options of :class:`kennel.far.FarCache`, and those of :class:`kennel.Cache` for the near file, such as
``capacity``. ``pool_class`` and ``parser_class`` have no effect.

If ``LOCATION`` lists several servers, only the first is used, which must be the master: a replica may not yet have a
change that the near file was told of. As with Django's backend, ``clear`` removes all keys of the database.

``get_or_set`` calls its function in one process among all hosts, and the others wait for its value; with Django's own
backend, each process calls it. ``incr`` is atomic. A value that cannot be decoded, such as a pickle of a class that was
renamed, counts as missing; the first failure of each kind is logged as a warning. The asynchronous methods answer near
hits on the event loop, and ask the server in a thread.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache, RedisSerializer
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .. import far as _far
from .._cache import OPTIONS as NEAR_OPTIONS
from .._decode import Decoder
from .._errors import OwnClaim
from ._cache import OPTIONS
from ._shared import far_at
from ._url import url_of

__all__ = ["FarCache"]

#: Options of Django, and of its Redis backend, that have no meaning here.
_WITHOUT_MEANING = {"MAX_ENTRIES", "CULL_FREQUENCY", "pool_class", "parser_class"}

#: Adds to a number if the key has one.
_INCR = "if redis.call('EXISTS', KEYS[1]) == 0 then return false end return redis.call('INCRBY', KEYS[1], ARGV[1])"


class FarClient:
    """The client that Django's Redis backend calls, over a far tier."""

    def __init__(self, servers: List[str], prefix: Any, options: Mapping[str, Any]) -> None:
        options = {name: value for name, value in options.items() if name not in _WITHOUT_MEANING}
        near = options.pop("near", None)
        if not near:
            raise ImproperlyConfigured("OPTIONS of kennel.far.django.FarCache: expected near, the path of the near file")
        serializer = options.pop("serializer", None)
        if isinstance(serializer, str):
            serializer = import_string(serializer)
        if callable(serializer):
            serializer = serializer()
        self._serializer = serializer or RedisSerializer()
        login = [options.pop(name, None) for name in ("username", "password", "db")]
        prefix = options.pop("prefix", prefix)
        unknown = options.keys() - set(OPTIONS) - set(NEAR_OPTIONS)
        if unknown:
            raise TypeError(f"OPTIONS of kennel.far.django.FarCache: {', '.join(sorted(unknown))}: no such option")
        near = os.path.abspath(near)
        os.makedirs(os.path.dirname(near), mode=0o700, exist_ok=True)
        self.far = far_at(url_of(servers[0].strip(), *login), path=near, prefix=prefix, **options)
        self.decoder = Decoder(self._serializer, near)

    def dumps(self, value: Any) -> bytes:
        """Returns the bytes that the server stores. Django's serializer leaves numbers unchanged for the client, which
        writes them as text."""
        data = self._serializer.dumps(value)
        if isinstance(data, (int, float)) and not isinstance(data, bool):
            return repr(data).encode()
        return data  # type: ignore[no-any-return]

    # The methods of Django's client. A timeout is in whole seconds: None means no limit, and 0 means already expired.

    def add(self, key: str, value: Any, timeout: Optional[int]) -> bool:
        command: List[Any] = ["SET", key, self.dumps(value), "NX"]
        is_added = self.far.call(command if not timeout else [*command, "EX", timeout], [key]) is not None
        if is_added and timeout == 0:
            self.far.delete(key)
        return is_added

    def get(self, key: str, default: Any) -> Any:
        data = self.far.get(key)
        return default if data is None else self.decoder.value(key, data, default)

    def set(self, key: str, value: Any, timeout: Optional[int]) -> None:
        data = self.dumps(value)
        if timeout == 0:
            self.far.delete(key)
        else:
            self.far.set(key, data, timeout)

    def touch(self, key: str, timeout: Optional[int]) -> bool:
        command: List[Any] = ["PERSIST", key] if timeout is None else ["EXPIRE", key, timeout]
        return bool(self.far.call(command, [key]))

    def delete(self, key: str) -> bool:
        return self.far.delete(key)

    def get_many(self, keys: Iterable[str]) -> Dict[str, Any]:
        keys, missing = list(keys), object()
        decoded = (
            (key, self.decoder.value(key, data, missing))
            for key, data in zip(keys, self.far.get_multi(keys))
            if data is not None
        )
        return {key: value for key, value in decoded if value is not missing}

    def has_key(self, key: str) -> bool:
        return self.far.get(key) is not None

    def incr(self, key: str, delta: int) -> int:
        sum = self.far.call(["EVAL", _INCR, 1, key, delta], [key])
        if sum is None:
            raise ValueError(f"Key '{key}' not found.")
        return int(sum)

    def set_many(self, data: Mapping[str, Any], timeout: Optional[int]) -> None:
        items = {key: self.dumps(value) for key, value in data.items()}
        if timeout == 0:
            self.far.delete_multi(items)
        else:
            self.far.set_multi(items, timeout)

    def delete_many(self, keys: Iterable[str]) -> None:
        self.far.delete_multi(keys)

    def clear(self) -> bool:
        self.far.flush_database()
        return True


class FarCache(RedisCache):  # type: ignore[misc]
    """A Django cache that stores its values in Redis or Valkey, with a near cache for all processes of the host."""

    def __init__(self, server: Any, params: Dict[str, Any]) -> None:
        super().__init__(server, params)
        prefix = "" if params.get("KEY_FUNCTION") else f"{self.key_prefix}:"
        self._class = lambda servers, **options: FarClient(servers, prefix, options)

    @property
    def far(self) -> "_far.FarCache":
        """The far tier of this cache."""
        far: _far.FarCache = self._cache.far
        return far

    @property
    def undecodable(self) -> int:
        """How many values could not be decoded in this process, and counted as missing."""
        count: int = self._cache.decoder.undecodable
        return count

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> Any:
        """Returns the value of a key. If the key has none, stores and returns ``default``, or its result if it is
        callable. One caller among all hosts calls ``default``. The others wait at most 30 seconds for its value, and
        then call ``default`` themselves. If ``default`` itself asks for this key, it is called again."""
        made, client = self.make_and_validate_key(key, version=version), self._cache
        ttl, created = self.get_backend_timeout(timeout), []

        def create() -> bytes:
            created.append(default() if callable(default) else default)
            return client.dumps(created[0])  # type: ignore[no-any-return]

        try:
            data = self.far.get_or_create(made, create, ttl=ttl, should_cache=lambda _: ttl != 0)
        except OwnClaim:
            if not created:
                create()
        if created:
            return created[0]
        found = client.decoder.value(made, data, self._missing_key)
        if found is self._missing_key:
            create()
            client.set(made, created[0], ttl)
            return created[0]
        return found

    # The asynchronous methods.

    async def aget(self, key: Any, default: Any = None, version: Optional[int] = None) -> Any:
        made, client = self.make_and_validate_key(key, version=version), await self._aclient()
        data = await client.far.aget(made)
        return default if data is None else client.decoder.value(made, data, default)

    async def _aclient(self) -> Any:
        # Opening the near file may take a while, so it happens in a thread.
        return self.__dict__.get("_cache") or await asyncio.to_thread(lambda: self._cache)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> Any:
        return await asyncio.to_thread(self.add, key, value, timeout, version)

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> None:
        await asyncio.to_thread(self.set, key, value, timeout, version)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> Any:
        return await asyncio.to_thread(self.touch, key, timeout, version)

    async def adelete(self, key: Any, version: Optional[int] = None) -> Any:
        return await asyncio.to_thread(self.delete, key, version)

    async def aget_many(self, keys: Iterable[Any], version: Optional[int] = None) -> Any:
        return await asyncio.to_thread(self.get_many, keys, version)

    async def ahas_key(self, key: Any, version: Optional[int] = None) -> Any:
        return await asyncio.to_thread(self.has_key, key, version)

    async def aincr(self, key: Any, delta: int = 1, version: Optional[int] = None) -> Any:
        return await asyncio.to_thread(self.incr, key, delta, version)

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> Any:
        return await asyncio.to_thread(self.set_many, data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: Optional[int] = None) -> None:
        await asyncio.to_thread(self.delete_many, keys, version)

    async def aclear(self) -> Any:
        return await asyncio.to_thread(self.clear)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> Any:
        """Does the same as :meth:`get_or_set` for coroutines. If ``default`` returns an awaitable, it is awaited."""
        made, client = self.make_and_validate_key(key, version=version), await self._aclient()
        ttl, created = self.get_backend_timeout(timeout), []

        async def create() -> bytes:
            value = default() if callable(default) else default
            created.append(await value if inspect.isawaitable(value) else value)
            return client.dumps(created[0])  # type: ignore[no-any-return]

        try:
            data = await client.far.aget_or_create(made, create, ttl=ttl, should_cache=lambda _: ttl != 0)
        except OwnClaim:
            if not created:
                await create()
        if created:
            return created[0]
        found = client.decoder.value(made, data, self._missing_key)
        if found is self._missing_key:
            await create()
            await asyncio.to_thread(client.set, made, created[0], ttl)
            return created[0]
        return found

