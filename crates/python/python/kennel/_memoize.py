"""``memoize``: the values of functions."""

from __future__ import annotations

import asyncio
import datetime
import functools
import hashlib
import inspect
import math
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple, Union, overload

from . import _kennel
from ._clock import now
from ._decode import Decoder
from ._errors import BadOption, Error
from ._keys import Keys, called
from ._log import not_stored, once
from ._serializers import Bytes, Serializer, serializer as _serializer

if TYPE_CHECKING:
    from typing import Protocol, Type, TypedDict, TypeVar

    from typing_extensions import Concatenate, ParamSpec, Unpack

    from ._create import Creating

    P = ParamSpec("P")
    Q = ParamSpec("Q")
    R = TypeVar("R", covariant=True)
    Owner = TypeVar("Owner")

    class Memoized(Protocol[P, R]):
        """A function that remembers its values."""

        uncached: int
        undecodable: int

        @property
        def __wrapped__(self) -> Callable[P, R]: ...
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        def key(self, *args: P.args, **kwargs: P.kwargs) -> Union[str, bytes]: ...
        def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __get__(self, instance: None, owner: Type[Any], /) -> "Memoized[P, R]": ...
        @overload
        def __get__(
            self: "Memoized[Concatenate[Owner, Q], R]", instance: Owner, owner: Optional[Type[Any]] = None, /
        ) -> "Memoized[Q, R]": ...

    S = TypeVar("S")

    class Memoizer(Protocol):
        """What makes a function remember its values."""

        def __call__(self, function: Callable[P, S], /) -> Memoized[P, S]: ...

    class Options(TypedDict, total=False):
        """The options of ``memoize``."""

        ttl: Optional["Seconds"]
        stale: Optional["Seconds"]
        serializer: Union[str, Serializer]
        key: Optional[Callable[..., Union[str, bytes]]]
        name: Optional[str]
        wait: Optional["Seconds"]
        unprotected: bool
        claim_max_age: Optional["Seconds"]
        early_refresh: Optional[float]
        should_cache: Optional[Callable[[Any], bool]]
        background: bool
        require: bool


__all__ = ["Memoizing", "memoize"]

Seconds = Union[float, datetime.timedelta]

#: Stands for an object that is not there.
_NONE: Any = object()

#: After a cache could not be opened, the next attempt comes after so many seconds.
_PAUSE = 5.0


class _Made:
    """What a creator made, as bytes and as an object."""

    def __init__(self, serializer: Serializer, should_cache: Optional[Callable[[Any], bool]]) -> None:
        self._serializer = serializer
        self._should_cache = should_cache
        self.object: Any = _NONE

    def bytes_of(self, value: Any) -> Any:
        self.object = value
        return self._serializer.dumps(value)

    @property
    def predicate(self) -> Optional[Callable[[bytes], bool]]:
        should_cache = self._should_cache
        return None if should_cache is None else lambda _: should_cache(self.object)


class How:
    """How the values of a function are created, stored and loaded."""

    def __init__(
        self,
        serializer: Union[str, Serializer],
        should_cache: Optional[Callable[[Any], bool]],
        require: bool,
        creation: Dict[str, Any],
    ) -> None:
        self.serializer = _serializer(serializer)
        self.should_cache = should_cache
        self.require = require
        self.life = {name: creation[name] for name in ("ttl", "stale")}
        self._creation = {**creation, "or_uncached": not require}
        # A function that returned None has no bytes. That is remembered for as long as a value would be; in a namespace
        # its own default holds, which only its file knows.
        absence = {**self._creation, "absence_ttl": math.inf if creation["ttl"] is None else creation["ttl"]}
        remembers = isinstance(self.serializer, Bytes) and should_cache is None
        self._with_absence = absence if remembers else self._creation

    def creation(self, space: "Creating") -> Dict[str, Any]:
        """The options of ``get_or_create``."""
        is_namespace = isinstance(space, _kennel.Namespace)
        return self._creation if is_namespace and self._creation["ttl"] is None else self._with_absence


class _Memoized:
    """A function that remembers its values in a cache: what :meth:`kennel.Cache.memoize` makes."""

    #: Whether the class takes the place of its object, as in a class method.
    _of_class = False

    def __init__(self, source: Source, function: Any, key_of: Callable[..., Union[str, bytes]], how: How) -> None:
        wrapper: Any = self
        functools.update_wrapper(wrapper, function)
        self._source = source
        self._function = function
        self._key_of = key_of
        self._how = how
        self._called = called(function)
        self._decoder = Decoder(how.serializer, self)
        self.uncached = 0
        """Calls that ran the function because the cache could not be opened, in this process."""

    @property
    def undecodable(self) -> int:
        """Values that could not be decoded, and were created anew, in this process."""
        return self._decoder.undecodable

    def key(self, /, *args: Any, **kwargs: Any) -> Union[str, bytes]:
        """The key for these arguments."""
        return self._key_of(*args, **kwargs)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Forgets the value for these arguments; False if there was none."""
        key, space = self._key_of(*args, **kwargs), self._space()
        return space is not None and space.delete(key)

    def _space(self) -> "Optional[Creating]":
        return self._source.space() if self._how.require else self._source.space_if_any(self._called)

    def _made(self) -> _Made:
        return _Made(self._how.serializer, self._how.should_cache)

    def _loaded(self, space: "Creating", key: Any, data: Optional[bytes], made: _Made) -> Any:
        """The object of a value. One that cannot be decoded is forgotten, unless it was made just now: then what was made
        is returned."""
        value = None if data is None else self._decoder.value(key, data, _NONE)
        if value is not _NONE or data is None:
            return value
        if made.object is _NONE:
            _forget(space, key, data)
        return made.object

    def _renewed(self, space: "Optional[Creating]", key: Any, value: Any) -> Any:
        """Stores what the function returned just now, and returns what the cache will."""
        how = self._how
        data = how.serializer.dumps(value)
        if space is None:
            return value
        try:
            if data is None:
                space.delete(key)
            else:
                space.set(key, data, **how.life)
        except BadOption:
            raise
        except Error as error:
            if how.require:
                raise
            not_stored(space, key, error)
        return None if data is None else self._decoder.value(key, data, value)

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        if self._of_class:
            return _Bound(self, type(instance) if owner is None else owner)
        return self if instance is None else _Bound(self, instance)

    def __repr__(self) -> str:
        return f"<memoized {self._called}>"

    def __reduce__(self) -> str:
        # As a function is pickled: by its name.
        return str(getattr(self, "__qualname__"))


def _forget(space: _kennel.Space, key: Any, data: bytes) -> None:
    """Removes a value, unless another has taken its place."""
    try:
        item = space.get_item(key)
        if item is not None and item.value == data:
            space.compare_and_swap(key, item.stamp, b"", ttl=0)
    except Error:
        pass  # It stays until it expires, and is a miss meanwhile.


class _MemoizedFunction(_Memoized):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, space, made = self._key_of(*args, **kwargs), self._space(), self._made()
        if space is None:
            self.uncached += 1
            return self._function(*args, **kwargs)

        def create() -> Any:
            return made.bytes_of(self._function(*args, **kwargs))

        # Once more after a value that cannot be decoded.
        for _ in range(2):
            data = space.get_or_create(key, create, should_cache=made.predicate, **self._how.creation(space))
            value = self._loaded(space, key, data, made)
            if value is not _NONE:
                return value
        return self._function(*args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Creates the value for these arguments anew."""
        key = self._key_of(*args, **kwargs)
        return self._renewed(self._space(), key, self._function(*args, **kwargs))


class _MemoizedCoroutine(_Memoized):
    def __init__(self, source: Source, function: Any, key_of: Callable[..., Union[str, bytes]], how: How) -> None:
        super().__init__(source, function, key_of, how)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
            return
        # Before, asyncio looks for its own mark, and inspect at what a function has.
        self._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(self, name, getattr(function, name, None))

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, space, made = self._key_of(*args, **kwargs), self._space(), self._made()
        if space is None:
            self.uncached += 1
            return await self._function(*args, **kwargs)

        async def create() -> Any:
            return made.bytes_of(await self._function(*args, **kwargs))

        for _ in range(2):
            data = await space.aget_or_create(key, create, should_cache=made.predicate, **self._how.creation(space))
            value = self._loaded(space, key, data, made)
            if value is not _NONE:
                return value
        return await self._function(*args, **kwargs)

    async def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Creates the value for these arguments anew."""
        key = self._key_of(*args, **kwargs)
        return self._renewed(self._space(), key, await self._function(*args, **kwargs))


class _Bound:
    """A memoized method of an object."""

    def __init__(self, memoized: Any, instance: Any) -> None:
        self._memoized = memoized
        self.__self__ = instance
        self.__func__ = memoized

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._memoized(self.__self__, *args, **kwargs)

    def key(self, /, *args: Any, **kwargs: Any) -> Any:
        """The key for these arguments."""
        return self._memoized.key(self.__self__, *args, **kwargs)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Forgets the value for these arguments; False if there was none."""
        return self._memoized.invalidate(self.__self__, *args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Creates the value for these arguments anew."""
        return self._memoized.refresh(self.__self__, *args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        return types.MethodType(self._memoized.__wrapped__, self.__self__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memoized, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Bound):
            return NotImplemented
        return self._memoized is other._memoized and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((id(self._memoized), id(self.__self__)))

    def __repr__(self) -> str:
        return f"<memoized method {self._memoized._called} of {self.__self__!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return getattr, (self.__self__, self._memoized.__name__)


def memoized(
    source: Source, function: Any, key: Optional[Callable[..., Union[str, bytes]]], name: Optional[str], how: How
) -> Any:
    """A function that remembers its values in a cache or a namespace."""
    if isinstance(function, (staticmethod, classmethod)):
        made = memoized(source, function.__func__, key, name, how)
        if isinstance(function, staticmethod):
            return staticmethod(made)
        made._of_class = True
        return made
    _check(function, key, name)
    key_of = key if key is not None else Keys(function, name)
    kind = _MemoizedCoroutine if _is_a(inspect.iscoroutinefunction, function) else _MemoizedFunction
    return kind(source, function, key_of, how)


def _is_a(test: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function, or what an object does when it is called, is of a kind."""
    return test(function) or test(getattr(type(function), "__call__", None))


def _check(function: Any, key: Any, name: Any) -> None:
    if isinstance(function, type) or not callable(function):
        what = f"class {function.__qualname__}" if isinstance(function, type) else called(function)
        hint = "; put memoize below property" if isinstance(function, property) else ""
        raise TypeError(f"memoize: expected a function, found {what}{hint}")
    if _is_a(inspect.isgeneratorfunction, function) or _is_a(inspect.isasyncgenfunction, function):
        raise TypeError(
            f"memoize: {called(function)} is a generator function: what it returns can be gone through once and cannot "
            "be stored; return a list"
        )
    if key is not None and not callable(key):
        raise TypeError(f"memoize: key: expected a function that makes a key, found {type(key).__qualname__}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"memoize: name: expected str, found {type(name).__qualname__}")
    if key is not None and name is not None:
        raise TypeError("memoize: expected key or name, found both")


class Memoizing:
    """What remembers the values of functions."""

    __slots__ = ()

    @overload
    def memoize(self, function: Callable[P, S]) -> Memoized[P, S]: ...

    @overload
    def memoize(
        self,
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        serializer: Union[str, Serializer] = "pickle",
        key: Optional[Callable[..., Union[str, bytes]]] = None,
        name: Optional[str] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        early_refresh: Optional[float] = None,
        should_cache: Optional[Callable[[Any], bool]] = None,
        background: bool = False,
        require: bool = False,
    ) -> Memoizer: ...

    def memoize(
        self,
        function: Optional[Callable[..., Any]] = None,
        *,
        ttl: Optional[Seconds] = None,
        stale: Optional[Seconds] = None,
        serializer: Union[str, Serializer] = "pickle",
        key: Optional[Callable[..., Union[str, bytes]]] = None,
        name: Optional[str] = None,
        wait: Optional[Seconds] = 30.0,
        unprotected: bool = False,
        claim_max_age: Optional[Seconds] = None,
        early_refresh: Optional[float] = None,
        should_cache: Optional[Callable[[Any], bool]] = None,
        background: bool = False,
        require: bool = False,
    ) -> Any:
        """Remembers what a function, or a coroutine function, returned for its arguments: a decorator.

        >>> import kennel, tempfile, os
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
        >>> @cache.memoize(ttl=600, stale=60)
        ... def page(number):
        ...     print("rendered")
        ...     return f"<h1>Page {number}</h1>"
        >>> page(7)
        rendered
        '<h1>Page 7</h1>'
        >>> page(number=7)
        '<h1>Page 7</h1>'
        >>> page.invalidate(7)
        True
        >>> cache.close(); folder.cleanup()

        Of all threads and processes that call it with the same arguments one runs the function, and the others wait for
        its value. What the function returns goes through the serializer even for its first caller, so that all get the
        same. When the cache fails, the function runs without it; that is logged.

        The function is known by its module, its qualified name, its code and the values of its closure; a program that
        was not imported is known by its file. So a function that was changed does not get the values of the one before,
        and neither does one that another version of Python compiled. What a function reads elsewhere, such as global
        variables, is not part of its key. If a closure has values that no stable key can be made of, give ``name``.

        Arguments may be numbers, text, bytes, ``None``, dates and times, UUIDs, paths, enumerations, scalars of numpy,
        functions, classes, and tuples, named tuples, lists, sets, dictionaries and frozen dataclasses of these; those of
        different types are different. For others, give ``key``: for a method, whose first argument is its object, most
        of the time.

        The function gets these attributes: ``key(*args)``, the key for these arguments; ``invalidate(*args)``, which
        forgets their value; ``refresh(*args)``, which creates it anew; ``__wrapped__``, the function itself; and the
        counts ``undecodable``, values that could not be decoded and were created anew, and ``uncached``, calls whose cache
        could not be opened, both in this process.

        :param ttl: seconds, or a ``timedelta``, after which a value expires; by default it does not.
        :param stale: seconds after which it is stale: one caller creates it anew, and all others get the stale one at
            once. At most ``ttl``.
        :param serializer: ``pickle`` (default), ``json``, ``bytes``, or an object with ``dumps`` and ``loads``.
        :param function: the function, where the decorator has no options.
        :param key: makes the key of the arguments. It is used as it is: put the name of the function into it.
        :param name: by what the function is known, in place of its module, name, code and closure.
        :param wait: seconds to wait for another's creation; ``None`` for ever, 0 not at all. Then the function runs
            without the cache.
        :param unprotected: store what is created after such a wait. It is counted.
        :param claim_max_age: seconds after which others may create a value, too, although its first creator lives; default 300.
        :param early_refresh: create a value anew before it is stale, or expires, with a probability that rises towards that
            moment; 1.0 is a good value, a larger one is earlier.
        :param should_cache: stores only values of which this says yes.
        :param background: a thread, or a task, creates a stale value anew, and its creator gets the stale one, too.
        :param require: raise :class:`kennel.Error` when the cache fails.
        """
        creation = dict(ttl=ttl, stale=stale, wait=wait, unprotected=unprotected, claim_max_age=claim_max_age, early_refresh=early_refresh)
        for option, time in (("ttl", ttl), ("stale", stale), ("wait", wait), ("claim_max_age", claim_max_age)):
            check_seconds(option, time)
        check_life(ttl, stale)
        how = How(serializer, should_cache, require, {**creation, "background": background})
        source = self if isinstance(self, Source) else Source(self)
        if function is not None:
            return memoized(source, function, key, name, how)
        return lambda function: memoized(source, function, key, name, how)


class Source(Memoizing):
    """The cache or namespace in which a function remembers its values: a given one, or one that is opened at the first call."""

    def __init__(self, given: Any) -> None:
        if not (given is None or callable(given) or isinstance(given, (str, os.PathLike, _kennel.Space))):
            found = type(given).__qualname__
            raise TypeError(f"memoize: cache: expected a path, a cache, a namespace or a function, found {found}")
        self._given = given
        #: The cache or namespace, if it was open already.
        self.opened: "Optional[Creating]" = given if isinstance(given, _kennel.Space) else None  # type: ignore[assignment]
        self._not_before = -math.inf

    def space(self) -> "Creating":
        """The cache or namespace; an error if it cannot be opened."""
        given: Any = self._given
        if self.opened is not None:
            return self.opened
        if callable(given):
            return given()  # type: ignore[no-any-return]
        from ._shared import cache_at

        return cache_at(given, {})

    def space_if_any(self, called: str) -> "Optional[Creating]":
        """The same; none if it cannot be opened. For a while no other call tries again."""
        if self.opened is not None:
            return self.opened
        if now() < self._not_before:
            return None
        try:
            return self.space()
        except BadOption:
            raise
        except (Error, OSError) as error:
            self._not_before = now() + _PAUSE
            once(("open", called, type(error).__name__), "%s runs without its cache: %s", called, error)
            return None


@overload
def memoize(function: Callable[P, S]) -> Memoized[P, S]: ...


@overload
def memoize(*, cache: Any = None, **options: Unpack[Options]) -> Memoizer: ...


def memoize(function: Optional[Callable[..., Any]] = None, *, cache: Any = None, **options: Any) -> Any:
    """Remembers what a function returned, as :meth:`kennel.Cache.memoize` does, in a cache that is opened at its first
    call: a decorator. A program that is decorated so starts, and its functions run, where the cache cannot be opened.

    :param cache: the path of a cache file; or a cache, or a namespace; or a function that returns one, which is called each
        time, and should be one that opens it once. By default the cache of this user, :func:`kennel.default_path`.

    The others are those of :meth:`kennel.Cache.memoize`, ``help(kennel.Cache.memoize)``.
    """
    source = Source(cache)
    return source.memoize(**options) if function is None else source.memoize(function, **options)


def check_seconds(option: str, time: Any) -> None:
    """Refuses what is no length of time."""
    if time is not None and not isinstance(time, datetime.timedelta) and not hasattr(time, "__float__"):
        raise TypeError(f"option {option}: expected seconds or a timedelta, found {type(time).__qualname__}")


def check_life(ttl: Optional[Seconds], stale: Optional[Seconds]) -> None:
    """Refuses a value that would be stale only when it has expired."""
    if ttl is not None and stale is not None and seconds(stale) > seconds(ttl):
        raise BadOption(
            f"option stale: expected at most ttl, {seconds(ttl):g} s, found {seconds(stale):g} s",
            option="stale",
            given=f"{seconds(stale):g}",
            expected=f"at most ttl, {seconds(ttl):g} s",
        )


def seconds(time: Seconds) -> float:
    """A length of time as a number of seconds."""
    return time.total_seconds() if isinstance(time, datetime.timedelta) else float(time)
