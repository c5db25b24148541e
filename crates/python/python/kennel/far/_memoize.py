"""``memoize`` for a far tier: all hosts share the return values of functions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple, Union, overload

from .._ending import as_bytes
from .._created import Created
from .._how import How, Made
from .._keys import Keys
from .._log import not_stored
from .._memoize import _Bound, _Memoized, _MemoizedCoroutine, memoized
from .._near import NONE as _NONE
from .._serializers import Serializer, serializer as _serializer
from .._times import Seconds, check_seconds
from ._errors import FarError

if TYPE_CHECKING:
    from typing import Protocol, Type, TypeVar

    from typing_extensions import Concatenate, ParamSpec

    from ._cache import FarCache

    P = ParamSpec("P")
    Q = ParamSpec("Q")
    R = TypeVar("R", covariant=True)
    S = TypeVar("S")
    Owner = TypeVar("Owner")

    class FarMemoized(Protocol[P, R]):
        """A memoized function."""

        uncached: int
        undecodable: int

        @property
        def __wrapped__(self) -> Callable[P, R]: ...
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        def key(self, *args: P.args, **kwargs: P.kwargs) -> bytes: ...
        def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __get__(self, instance: None, owner: Type[Any], /) -> "FarMemoized[P, R]": ...
        @overload
        def __get__(
            self: "FarMemoized[Concatenate[Owner, Q], R]", instance: Owner, owner: Optional[Type[Any]] = None, /
        ) -> "FarMemoized[Q, R]": ...

    class FarMemoizer(Protocol):
        """A decorator that memoizes a function."""

        def __call__(self, function: Callable[P, S], /) -> FarMemoized[P, S]: ...


__all__ = ["FarMemoizing"]

#: Removes a value, unless another value has replaced it.
_FORGET = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class _FarHow(How):
    """How the values of a function are created, stored and loaded."""

    def __init__(
        self,
        far: "FarCache",
        serializer: Union[str, Serializer],
        should_cache: Optional[Callable[[Any], bool]],
        require: bool,
        ttl: Optional[Seconds],
        claim: Dict[str, Any],
    ) -> None:
        self.far = far
        self.serializer = _serializer(serializer)
        self.should_cache = should_cache
        self.require = require
        self.ttl = ttl
        #: The options for ``get_or_create``.
        self.of_creation = {**claim, "ttl": ttl}
        self._tags = self._tags_of = None


class _FarMemoized(_Memoized):
    _how: _FarHow

    def __init__(self, source: Any, function: Any, key_of: Callable[..., Any], how: _FarHow) -> None:
        if isinstance(key_of, Keys):
            key_of = _Prefixed(how.far.first_prefix, key_of)
        super().__init__(source, function, key_of, how)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Removes the value for these arguments, for all hosts. Returns whether there was one."""
        return self._how.far.delete(self._key_of(*args, **kwargs))

    async def ainvalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Does the same as :meth:`invalidate` for coroutines."""
        return await self._how.far.adelete(self._key_of(*args, **kwargs))

    def _failed(self, key: Any, made: "_MadeOnce", error: FarError) -> None:
        """Handles a failure of the server. Raises the error if the function has already begun to run or the option
        ``require`` is set. Otherwise logs and counts the failure, and the caller runs the function."""
        if made.has_begun or self._how.require:
            raise error
        not_stored(self._how.far, key, error)
        self.uncached += 1

    def _found(self, key: Any, data: Optional[bytes], made: "_MadeOnce") -> Any:
        """Decodes a value. If this fails for a value that this call created, returns the created object."""
        value = None if data is None else self._decoder.value(key, data, _NONE)
        return made.object if value is _NONE else value

    def _store(self, key: Any, value: Any) -> Any:
        """Stores a value that the function returned, and returns it in the form in which later calls get it."""
        how = self._how
        data = how.serializer.dumps(value)
        try:
            if data is None:
                how.far.delete(key)
            else:
                how.far.set(key, data, how.ttl)
        except FarError as error:
            if how.require:
                raise
            not_stored(how.far, key, error)
        return None if data is None else self._decoder.value(key, data, value)

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        if self._of_class:
            return _FarBound(self, type(instance) if owner is None else owner)
        return self if instance is None else _FarBound(self, instance)


class _Prefixed:
    """Creates keys that begin with a prefix of the far tier, so that the near file may copy their values."""

    def __init__(self, prefix: bytes, keys: Keys) -> None:
        self._prefix = prefix
        self._keys = keys

    def __call__(self, /, *args: Any, **kwargs: Any) -> bytes:
        return self._prefix + as_bytes(self._keys(*args, **kwargs))


class _MadeOnce(Made):
    """The value that a creator returned, and whether the creator has begun to run."""

    has_begun = False

    def bytes_of(self, made: Any) -> Any:
        if isinstance(made, Created):
            raise TypeError("the far tier has neither tags nor times of single values: return the value alone")
        return super().bytes_of(made)


class _FarFunction(_FarMemoized):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, how = self._key_of(*args, **kwargs), self._how
        # The second attempt follows a value that cannot be decoded.
        for _ in range(2):
            made = _MadeOnce(how, args, kwargs)

            def create() -> Any:
                made.has_begun = True
                return made.bytes_of(self._function(*args, **kwargs))

            try:
                data = how.far.get_or_create(key, create, should_cache=made.predicate, **how.of_creation)
            except FarError as error:
                self._failed(key, made, error)
                break
            value = self._found(key, data, made)
            if value is not _NONE:
                return value
            try:
                how.far.call(["EVAL", _FORGET, 1, key, data or b""], [key])
            except FarError:
                pass  # The value counts as a miss until it expires.
        return self._function(*args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function for these arguments, stores its value, and returns it."""
        key = self._key_of(*args, **kwargs)
        return self._store(key, self._function(*args, **kwargs))


class _FarCoroutine(_FarMemoized, _MemoizedCoroutine):
    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, how = self._key_of(*args, **kwargs), self._how
        for _ in range(2):
            made = _MadeOnce(how, args, kwargs)

            async def create() -> Any:
                made.has_begun = True
                return made.bytes_of(await self._function(*args, **kwargs))

            try:
                data = await how.far.aget_or_create(key, create, should_cache=made.predicate, **how.of_creation)
            except FarError as error:
                self._failed(key, made, error)
                break
            value = self._found(key, data, made)
            if value is not _NONE:
                return value
            try:
                await how.far.acall(["EVAL", _FORGET, 1, key, data or b""], [key])
            except FarError:
                pass
        return await self._function(*args, **kwargs)

    async def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function for these arguments, stores its value, and returns it."""
        key = self._key_of(*args, **kwargs)
        return await asyncio.to_thread(self._store, key, await self._function(*args, **kwargs))


class _FarBound(_Bound):
    async def ainvalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Does the same as ``invalidate`` for coroutines."""
        return await self._memoized.ainvalidate(self.__self__, *args, **kwargs)


_KINDS: Tuple[Any, Any] = (_FarFunction, _FarCoroutine)


class FarMemoizing:
    """The method ``memoize`` of a far tier."""

    @overload
    def memoize(self, function: Callable[P, S]) -> FarMemoized[P, S]: ...

    @overload
    def memoize(
        self,
        *,
        ttl: Optional[Seconds] = None,
        serializer: Union[str, Serializer] = "pickle",
        key: Optional[Callable[..., Union[str, bytes]]] = None,
        name: Optional[str] = None,
        lease: Seconds = 30.0,
        wait: Optional[Seconds] = 30.0,
        should_cache: Optional[Callable[[Any], bool]] = None,
        require: bool = False,
    ) -> FarMemoizer: ...

    def memoize(
        self,
        function: Optional[Callable[..., Any]] = None,
        *,
        ttl: Optional[Seconds] = None,
        serializer: Union[str, Serializer] = "pickle",
        key: Optional[Callable[..., Union[str, bytes]]] = None,
        name: Optional[str] = None,
        lease: Seconds = 30.0,
        wait: Optional[Seconds] = 30.0,
        should_cache: Optional[Callable[[Any], bool]] = None,
        require: bool = False,
    ) -> Any:
        """Decorates a function, or a coroutine function, so that all hosts that use the server share its return values
        by its arguments. :meth:`kennel.Cache.memoize` does the same for the processes of one host.

        If several callers of any host call the function with the same arguments, exactly one of them runs it; the others
        wait for its value. The value is stored at the server, and this host keeps a near copy of it that is never older
        than ``max_staleness``. If the server fails, the function runs without it, and the failure is logged.

        The key begins with the first prefix of this far tier. The rest identifies the function and its arguments, as
        for :meth:`kennel.Cache.memoize`. A function that was changed, or compiled by another version of Python, has
        other keys. So while hosts are updated one at a time, only hosts with the same version of the function share its
        values. Give ``name`` if all hosts are to share them.

        The decorated function has the methods ``key(*args)``, which returns the key for these arguments,
        ``invalidate(*args)``, which removes their value for all hosts, ``ainvalidate(*args)``, which does the same for
        coroutines, and ``refresh(*args)``, which runs the function and stores its value; for a coroutine function,
        ``refresh`` is awaited. ``__wrapped__`` is the function itself. Two attributes count events in this process:
        ``undecodable`` the values that could not be decoded and were created again, and ``uncached`` the calls that ran
        the function because the server failed.

        :param function: the function, if the decorator is used without options.
        :param ttl: time to live: seconds, or a ``timedelta``, until a value expires. By default it does not expire.
        :param serializer: ``pickle`` (default), ``json``, ``bytes``, or an object with ``dumps`` and ``loads``. With
            ``pickle``, any program that can write to the server can run code in each process that unpickles its values.
        :param key: a function that gets the arguments and returns the key, a ``str`` or ``bytes``. The key is used
            unchanged, so begin it with a prefix of this far tier, and include the name of the function in it.
        :param name: a name that identifies the function, instead of its module, name, code and closure. Not together
            with ``key``.
        :param lease: how many seconds a caller that runs the function excludes other callers. If the function takes
            longer, its value is returned to this caller and not stored. Default 30.
        :param wait: how many seconds to wait for another caller's value. After that, this caller runs the function,
            too, and stores nothing; ``None`` waits without limit. Default 30.
        :param should_cache: a function that gets a value, and returns whether to store it. By default all values are
            stored.
        :param require: raise :class:`kennel.far.FarError` if the server fails, instead of running the function without
            it. Default False.
        """
        for option, time in (("ttl", ttl), ("lease", lease), ("wait", wait)):
            check_seconds(option, time)
        far: Any = self
        how = _FarHow(far, serializer, should_cache, require, ttl, {"lease": lease, "wait": wait})
        source: Any = None
        if function is not None:
            return memoized(source, function, key, name, how, _KINDS)
        return lambda function: memoized(source, function, key, name, how, _KINDS)
