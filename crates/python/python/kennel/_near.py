"""Near copies: decoded objects that a process keeps, and that it checks against the cache before each use."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import os
import random
import threading
import uuid
import weakref
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple, Union

from . import _kennel
from ._created import again, plain
from ._decode import Decoder, forget
from ._errors import BadOption
from ._serializers import Serializer, serializer as _serializer

__all__ = ["NEAR_BYTES", "NONE", "Kept", "Mutated", "Near"]

#: The default limit of the objects that a process keeps, in bytes of their keys and stored values.
NEAR_BYTES = 16 << 20

Key = Union[str, bytes]
#: Identifies one write of a key: :attr:`kennel.Item.id`.
Id = Tuple[int, int]

#: The mark of a missing object.
NONE: Any = object()

#: Objects of exactly these types cannot change.
_IMMUTABLE = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        range,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        fractions.Fraction,
        uuid.UUID,
    }
)
#: Text that templates treat as safe: subclasses of ``str`` without attributes, by the names of their classes.
_SAFE_TEXT = frozenset({("django.utils.safestring", "SafeString"), ("markupsafe", "Markup")})


class Mutated(RuntimeError):
    """A program changed an object that the cache had given to several callers.

    The option ``check`` of near copies finds such changes. Copy the object before changing it, or do not share it.
    """

    def __init__(self, key: Any) -> None:
        super().__init__(f"the value of {key!r} was changed, although other callers have the same object; copy it first")
        self.key = key


def is_immutable(value: Any) -> bool:
    """Returns whether neither an object nor any part of it can change."""
    rest = [value]
    while rest:
        one = rest.pop()
        kind = type(one)
        if kind is tuple or kind is frozenset:
            rest.extend(one)
        elif kind not in _IMMUTABLE and not isinstance(one, enum.Enum):
            if (kind.__module__, kind.__qualname__) not in _SAFE_TEXT:
                return False
    return True


class _Entry:
    __slots__ = ("id", "value", "size", "is_immutable", "is_used", "digest")

    def __init__(self, id: Id, value: Any, size: int, is_immutable: bool, digest: Optional[int]) -> None:
        self.id = id
        self.value = value
        self.size = size
        self.is_immutable = is_immutable
        #: Whether the entry was used since it was stored or last spared from eviction.
        self.is_used = False
        #: A hash of the object in its stored form, if uses are to be checked.
        self.digest = digest


class Kept:
    """The objects that a process keeps. They do not tell whether they are current, so each use asks the cache.

    Finding an object takes no lock. Keeping one takes the lock without waiting, and gives up if another thread holds
    it. A forked child begins with no objects, because another thread may have held the lock at the fork.
    """

    def __init__(self, items: int, size: int, serializer: Serializer, shared: bool, check: float) -> None:
        for option, given in (("near", items), ("bytes", size)):
            if isinstance(given, bool) or not isinstance(given, int) or given < 0:
                raise BadOption(
                    f"option {option}: expected a number of at least 0, found {given!r}",
                    option=option,
                    given=repr(given),
                    expected="a number of at least 0",
                )
        if not 0 <= check <= 1:
            raise BadOption(
                f"option check: expected a share from 0 to 1, found {check!r}",
                option="check",
                given=repr(check),
                expected="a share from 0 to 1",
            )
        self._most_items, self._most_bytes = items, size
        self._dumps = serializer.dumps
        self._shared = shared
        self._check = check
        self.forget_all()
        _all.add(self)

    def forget_all(self) -> None:
        """Forgets all objects."""
        self._lock = threading.Lock()
        self._entries: Dict[Key, _Entry] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, shared: bool = False) -> Optional[_Entry]:
        """Returns the entry of a key if this caller may use it: its object is immutable, or the caller accepts a shared
        one."""
        entry = self._entries.get(key)
        if entry is None or not (entry.is_immutable or shared or self._shared):
            return None
        return entry

    def use(self, key: Key, entry: _Entry) -> Any:
        """Returns the object of an entry that the cache has confirmed."""
        entry.is_used = True
        if entry.digest is not None and random.random() < self._check and self._digest(entry.value) != entry.digest:
            self.forget(key)
            raise Mutated(key)
        return entry.value

    def keep(self, key: Key, id: Id, value: Any, stored_len: int, shared: bool = False) -> None:
        """Keeps an object if it is immutable or may be shared, and is not larger than the limit."""
        immutable = is_immutable(value)
        size = len(key) + stored_len
        if not (immutable or shared or self._shared) or self._most_items == 0 or size > self._most_bytes:
            return
        digest = self._digest(value) if self._check and not immutable else None
        entry, lock = _Entry(id, value, size, immutable, digest), self._lock
        if not lock.acquire(False):
            return
        try:
            self._remove(key)
            while len(self._entries) >= self._most_items or self._size + size > self._most_bytes:
                self._pass_over_oldest()
            self._entries[key] = entry
            self._size += size
        finally:
            lock.release()

    def keep_found(self, key: Key, ids: List[Id], value: Any, stored_len: int) -> None:
        """Keeps an object that was found in the cache. ``ids`` is empty if this caller created the object."""
        if ids:
            self.keep(key, ids[-1], value, stored_len)

    def get(self, space: Any, decoder: Decoder, key: Key, default: Any, shared: bool = False) -> Any:
        """Returns the object of a key, or ``default`` if the key has no value, or one that cannot be decoded."""
        entry = self.find(key, shared)
        found = space.get_item(key) if entry is None else space.get_if_changed(key, entry.id)
        if entry is not None and type(found) is _kennel.Unchanged:
            return self.use(key, entry)
        if found is None:
            self.forget(key)
            return default
        value = decoder.value(key, found.value, NONE)
        if value is NONE:
            return default
        self.keep(key, found.id, value, len(found.value), shared)
        return value

    def fresh(self, space: Any, key: Key, how: Mapping[str, Any]) -> Any:
        """Returns the kept object of a key if it is current and not stale, and the caller wants no early refresh;
        otherwise :data:`NONE`."""
        entry = self.find(key)
        if entry is None or how.get("early_refresh") is not None or not space.is_fresh(key, entry.id):
            return NONE
        return self.use(key, entry)

    def forget(self, key: Key) -> None:
        """Forgets the object of a key."""
        lock = self._lock
        if key in self._entries and lock.acquire(False):
            try:
                self._remove(key)
            finally:
                lock.release()

    def _digest(self, value: Any) -> int:
        return hash(bytes(self._dumps(value)))

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size

    def _pass_over_oldest(self) -> None:
        """Removes the oldest entry, or makes it the newest if it was used since it was last passed over."""
        key = next(iter(self._entries))
        entry = self._entries.pop(key)
        if entry.is_used:
            entry.is_used = False
            self._entries[key] = entry
        else:
            self._size -= entry.size


_all: "weakref.WeakSet[Kept]" = weakref.WeakSet()


def _forget_inherited() -> None:
    for kept in list(_all):
        kept.forget_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)


class Near:
    """A handle that keeps decoded objects of a cache or a namespace in this process: see :meth:`kennel.Cache.near`."""

    def __init__(
        self, space: Any, items: int, bytes: int, serializer: Union[str, Serializer], shared: bool, check: float
    ) -> None:
        self._space = space
        self._serializer = _serializer(serializer)
        self._decoder = Decoder(self._serializer, space)
        self._kept = Kept(items, bytes, self._serializer, shared, check)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def undecodable(self) -> int:
        """How many values could not be decoded in this process, and counted as missing."""
        return self._decoder.undecodable

    def get(self, key: Key, default: Any = None) -> Any:
        """Returns the object of a key, or ``default`` if the key has no value. It is never older than what
        :meth:`kennel.Cache.get` would return."""
        return self._kept.get(self._space, self._decoder, key, default)

    def set(self, key: Key, value: Any, ttl: Any = None, **life: Any) -> int:
        """Stores an object. Returns its stamp. The parameters are those of :meth:`kennel.Cache.set`."""
        return int(self._space.set(key, self._serializer.dumps(value), ttl, **life))

    def get_or_create(self, key: Key, create: Callable[[], Any], **how: Any) -> Any:
        """Returns the object of a key. If the key has no value, ``create`` makes the object. It goes through the
        serializer even for the caller that created it. The parameters are those of
        :meth:`kennel.Cache.get_or_create`."""
        value = self._kept.fresh(self._space, key, how)
        if value is not NONE:
            return value
        made = NONE

        def stored() -> Any:
            nonlocal made
            created = create()
            made = plain(created)
            return again(created, self._serializer.dumps(made))

        # The second attempt follows a value that cannot be decoded.
        for _ in range(2):
            ids: List[Id] = []
            data = self._space._get_or_create(key, stored, ids.append, **how)
            value = self._loaded(key, data, ids, made)
            if value is not NONE:
                return value
        return plain(create())

    async def aget_or_create(self, key: Key, create: Callable[[], Awaitable[Any]], **how: Any) -> Any:
        """Does the same as :meth:`get_or_create` for coroutines: ``create`` is a coroutine function."""
        value = self._kept.fresh(self._space, key, how)
        if value is not NONE:
            return value
        made = NONE

        async def stored() -> Any:
            nonlocal made
            created = await create()
            made = plain(created)
            return again(created, self._serializer.dumps(made))

        for _ in range(2):
            ids: List[Id] = []
            data = await self._space._aget_or_create(key, stored, ids.append, **how)
            value = self._loaded(key, data, ids, made)
            if value is not NONE:
                return value
        return plain(await create())

    def _loaded(self, key: Key, data: Optional[bytes], ids: List[Id], made: Any) -> Any:
        """Decodes a value, and keeps the object if the value was found in the cache."""
        if data is None:
            return None
        value = self._decoder.value(key, data, NONE)
        if value is not NONE:
            self._kept.keep_found(key, ids, value, len(data))
        elif made is NONE:
            forget(self._space, key, data)
        else:
            value = made
        return value

    def clear(self) -> None:
        """Forgets the objects that this process keeps."""
        self._kept.forget_all()
