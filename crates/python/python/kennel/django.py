"""The cache backend for Django.

.. code-block:: python

    CACHES = {
        "default": {
            "BACKEND": "kennel.django.KennelCache",
            "LOCATION": "/var/cache/mysite/django.kennel",
            "OPTIONS": {"capacity": 256 << 20},
        }
    }

All processes that name the same file share one cache. ``LOCATION`` may be left out; then it is the one of this
user, :func:`kennel.default_path`.

``OPTIONS`` are those of :class:`kennel.Cache`, and

``region``
    The name of the region in the file that this cache has to itself, ``django`` by default: :meth:`KennelCache.clear`
    empties it and nothing else. Two caches with the same file and the same region are one cache, which
    ``KEY_PREFIX`` and ``VERSION`` tell apart as Django's documentation says.
``serializer``
    ``pickle`` (default), ``json``, or an object, or the dotted path of one, with ``dumps`` and ``loads``.

``MAX_ENTRIES`` and ``CULL_FREQUENCY`` have no meaning here: the cache holds what fits into its capacity.

A value that is too large for the cache is not stored, and neither stays the value before; it is logged once. A key of
more than 65 535 bytes is refused with ``InvalidCacheKey``.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, Iterable, List, Mapping, Optional

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, InvalidCacheKey
from django.utils.module_loading import import_string

from ._errors import TooLarge
from ._kennel import MAX_KEY
from ._serializers import serializer as _serializer
from ._shared import cache_at

__all__ = ["KennelCache"]

log = logging.getLogger(__name__)

#: Options of Django's own that every backend may be given.
_DJANGOS = {"MAX_ENTRIES", "CULL_FREQUENCY"}


class KennelCache(BaseCache):  # type: ignore[misc]
    """A Django cache in a Kennel file."""

    def __init__(self, location: Any, params: Dict[str, Any]) -> None:
        super().__init__(params)
        options = {name: value for name, value in params.get("OPTIONS", {}).items() if name not in _DJANGOS}
        given = options.pop("serializer", "pickle")
        if isinstance(given, str) and "." in given:
            given = import_string(given)
        self._serializer = _serializer(given() if isinstance(given, type) else given)
        self._region_name = options.pop("region", "django")
        self._cache = cache_at(location or None, options)
        self._space = self._cache.region(self._region_name)
        self._logged_too_large = False
        self.not_stored = 0
        """Values that were not stored because they were too large, in this process."""

    def _key(self, key: Any, version: Optional[int]) -> str:
        made: str = self.make_and_validate_key(key, version=version)
        # In UTF-8 a character has at most four bytes.
        if len(made) > MAX_KEY // 4 and len(made.encode()) > MAX_KEY:
            raise InvalidCacheKey(f"a key of {len(made.encode())} bytes: expected at most {MAX_KEY}")
        return made

    def _ttl(self, timeout: Any) -> Optional[float]:
        """Seconds to live; None for ever; 0 for what is expired at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(0.0, float(timeout))

    def _refused(self, key: str, error: Exception) -> None:
        """What happens to a value that does not fit: the key has no value, rather than the one before."""
        self._space.delete(key)
        self.not_stored += 1
        level = logging.DEBUG if self._logged_too_large else logging.WARNING
        self._logged_too_large = True
        log.log(level, "not stored in %s: %s: %s", self._cache.path, key, error)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> bool:
        """Stores a value if the key has none."""
        key = self._key(key, version)
        data = self._serializer.dumps(value)
        try:
            return self._space.add(key, data, self._ttl(timeout))
        except TooLarge as error:
            if key not in self._space:
                self._refused(key, error)
            return False

    def get(self, key: Any, default: Any = None, version: Optional[int] = None) -> Any:
        """The value of a key, or ``default``."""
        data = self._space.get(self._key(key, version))
        return default if data is None else self._serializer.loads(data)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> None:
        """Stores a value."""
        key = self._key(key, version)
        data = self._serializer.dumps(value)
        try:
            self._space.set(key, data, self._ttl(timeout))
        except TooLarge as error:
            self._refused(key, error)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None) -> bool:
        """Changes when a key expires; False if it has no value."""
        return self._space.touch(self._key(key, version), self._ttl(timeout))

    def delete(self, key: Any, version: Optional[int] = None) -> bool:
        """Removes a key; False if it had no value."""
        return self._space.delete(self._key(key, version))

    def has_key(self, key: Any, version: Optional[int] = None) -> bool:
        """Whether a key has a value."""
        return self._key(key, version) in self._space

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> Any:
        """The value of a key; if it has none, ``default``, or what it returns when it is called. Of all threads and
        processes that ask at the same time one calls it, and the others wait for its value, 30 seconds at most; then
        they call it themselves."""
        made = self._key(key, version)
        serializer, value = self._serializer, self._missing_key

        def create() -> Any:
            nonlocal value
            value = default() if callable(default) else default
            return serializer.dumps(value)

        data = self._space.get_or_create(made, create, ttl=self._ttl(timeout), unprotected=True)
        if value is not self._missing_key:
            return value
        return serializer.loads(data) if data is not None else None

    def incr(self, key: Any, delta: int = 1, version: Optional[int] = None) -> Any:
        """Adds to a number; no other process comes in between. Its expiry stays. ValueError if there is none."""
        key = self._key(key, version)
        while True:
            item = self._space.get_item(key)
            if item is None:
                raise ValueError(f"Key '{key}' not found")
            new = self._serializer.loads(item.value) + delta
            data = self._serializer.dumps(new)
            if self._space.compare_and_swap(key, item.stamp, data, expires_at=item.expires):
                return new

    def get_many(self, keys: Iterable[Any], version: Optional[int] = None) -> Dict[Any, Any]:
        """The values of many keys, of those that have one."""
        made = {self._key(key, version): key for key in keys}
        found = zip(made.values(), self._space.get_multi(made))
        return {key: self._serializer.loads(data) for key, data in found if data is not None}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Optional[int] = None
    ) -> List[Any]:
        """Stores many values; the keys of those that were too large."""
        made = {self._key(key, version): key for key in data}
        items = {key: self._serializer.dumps(data[given]) for key, given in made.items()}
        failed = self._space.set_multi(items, self._ttl(timeout))
        for key, error in failed.items():
            if not isinstance(error, TooLarge):
                raise error
            self._refused(key, error)
        return [made[key] for key in failed]

    def delete_many(self, keys: Iterable[Any], version: Optional[int] = None) -> None:
        """Removes many keys."""
        self._space.delete_multi([self._key(key, version) for key in keys])

    def clear(self) -> None:
        """Empties this cache's region, in every process, and nothing else in the file."""
        self._space.invalidate()
