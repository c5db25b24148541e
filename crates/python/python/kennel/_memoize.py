"""``memoize``: a decorator that caches the return values of functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Optional, Tuple, Union, overload

from . import _kennel
from ._clock import now
from ._created import plain
from ._decode import Decoder, forget
from ._errors import BadOption, Error
from ._how import How, Made, Renewal
from ._keys import Keys, called
from ._log import not_stored, once
from ._near import NEAR_BYTES, Kept
from ._near import NONE as _NONE
from ._serializers import Serializer
from ._times import Seconds, check_life, check_on_error, check_seconds

if TYPE_CHECKING:
    from typing import Protocol, Type, TypedDict, TypeVar

    from typing_extensions import Concatenate, ParamSpec, Unpack

    from ._create import Creating
    from ._created import Created, Tags

    P = ParamSpec("P")
    Q = ParamSpec("Q")
    R = TypeVar("R", covariant=True)
    Owner = TypeVar("Owner")

    class Memoized(Protocol[P, R]):
        """A memoized function."""

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
        """A decorator that memoizes a function."""

        @overload
        def __call__(self, function: Callable[P, Created[S]], /) -> Memoized[P, S]: ...
        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, Created[S]]], /
        ) -> Memoized[P, Coroutine[Any, Any, S]]: ...
        @overload
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
        on_error: str
        retry_after: Optional[Tuple["Seconds", "Seconds"]]
        share_failure: bool
        resilient: bool
        should_cache: Optional[Callable[[Any], bool]]
        background: bool
        require: bool
        near: Optional[int]
        shared: bool
        check: float
        tags: Union[Tags, Callable[..., Tags], None]


__all__ = ["Memoizing", "memoize"]

#: After a failure to open a cache, how many seconds pass before the next attempt.
_PAUSE = 5.0


class _Memoized:
    """A memoized function, which :meth:`kennel.Cache.memoize` creates."""

    #: Whether the function is a class method, whose first argument is the class instead of the object.
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
        """How many calls in this process ran the function because the cache could not be opened."""

    @property
    def undecodable(self) -> int:
        """How many values could not be decoded in this process, and were created again."""
        return self._decoder.undecodable

    def key(self, /, *args: Any, **kwargs: Any) -> Union[str, bytes]:
        """Returns the key for these arguments."""
        return self._key_of(*args, **kwargs)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Removes the value for these arguments. Returns whether there was one."""
        key, space = self._key_of(*args, **kwargs), self._space()
        return space is not None and space.delete(key)

    def _space(self) -> "Optional[Creating]":
        return self._source.space() if self._how.require else self._source.space_if_any(self._called)

    def _fresh(self, space: "Creating", key: Any) -> Any:
        """Returns the object that this process keeps for a key, if it is still the current one."""
        kept = self._how.kept
        return _NONE if kept is None else kept.fresh(space, key, self._how.creation(space))

    def _loaded(self, space: "Creating", key: Any, data: Optional[bytes], made: Made) -> Any:
        """Decodes a value. If this fails for a value that this call created, returns the created object. A stored value
        that cannot be decoded is removed, and the result is the mark of a missing object."""
        value = None if data is None else self._decoder.value(key, data, _NONE)
        if value is not _NONE or data is None:
            if self._how.kept is not None and data is not None:
                self._how.kept.keep_found(key, made.ids, value, len(data))
            return value
        if made.object is _NONE:
            forget(space, key, data)
        return made.object

    def _renewed(self, renewal: Renewal, made: Made, result: Any) -> Any:
        """Stores what the function returned, and returns the value in the form in which later calls get it from the
        cache."""
        stored = made.bytes_of(result)
        if renewal.space is None:
            return made.object
        try:
            renewal.store(stored)
        except BadOption:
            raise
        except Error as error:
            if self._how.require:
                raise
            not_stored(renewal.space, renewal.key, error)
        data = plain(stored)
        return None if data is None else self._decoder.value(renewal.key, data, made.object)

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        if self._of_class:
            return _Bound(self, type(instance) if owner is None else owner)
        return self if instance is None else _Bound(self, instance)

    def __repr__(self) -> str:
        return f"<memoized {self._called}>"

    def __reduce__(self) -> str:
        # As with functions, the pickle contains only the name.
        return str(getattr(self, "__qualname__"))


class _MemoizedFunction(_Memoized):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, space, made = self._key_of(*args, **kwargs), self._space(), Made(self._how, args, kwargs)
        if space is None:
            self.uncached += 1
            return plain(self._function(*args, **kwargs))

        value = self._fresh(space, key)
        if value is not _NONE:
            return value

        def create() -> Any:
            return made.bytes_of(self._function(*args, **kwargs))

        # The second attempt follows a value that cannot be decoded.
        for _ in range(2):
            how, made.ids = self._how.creation(space), []
            data = space._get_or_create(key, create, made.ids.append, should_cache=made.predicate, **how)
            value = self._loaded(space, key, data, made)
            if value is not _NONE:
                return value
        return plain(self._function(*args, **kwargs))

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function for these arguments, stores its value, and returns it."""
        renewal = Renewal(self._space(), self._key_of(*args, **kwargs), self._how)
        return self._renewed(renewal, Made(self._how, args, kwargs), self._function(*args, **kwargs))


class _MemoizedCoroutine(_Memoized):
    def __init__(self, source: Source, function: Any, key_of: Callable[..., Union[str, bytes]], how: How) -> None:
        super().__init__(source, function, key_of, how)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
            return
        # Older versions recognize a coroutine function by a mark of asyncio and by the attributes of its code.
        self._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(self, name, getattr(function, name, None))

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, space, made = self._key_of(*args, **kwargs), self._space(), Made(self._how, args, kwargs)
        if space is None:
            self.uncached += 1
            return plain(await self._function(*args, **kwargs))

        value = self._fresh(space, key)
        if value is not _NONE:
            return value

        async def create() -> Any:
            return made.bytes_of(await self._function(*args, **kwargs))

        for _ in range(2):
            how, made.ids = self._how.creation(space), []
            data = await space._aget_or_create(key, create, made.ids.append, should_cache=made.predicate, **how)
            value = self._loaded(space, key, data, made)
            if value is not _NONE:
                return value
        return plain(await self._function(*args, **kwargs))

    async def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function for these arguments, stores its value, and returns it."""
        renewal = Renewal(self._space(), self._key_of(*args, **kwargs), self._how)
        return self._renewed(renewal, Made(self._how, args, kwargs), await self._function(*args, **kwargs))


class _Bound:
    """A memoized method, bound to an object."""

    def __init__(self, memoized: Any, instance: Any) -> None:
        self._memoized = memoized
        self.__self__ = instance
        self.__func__ = memoized

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._memoized(self.__self__, *args, **kwargs)

    def key(self, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the key for these arguments."""
        return self._memoized.key(self.__self__, *args, **kwargs)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Removes the value for these arguments. Returns whether there was one."""
        return self._memoized.invalidate(self.__self__, *args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function for these arguments, stores its value, and returns it."""
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
    source: Source, function: Any, key: Any, name: Optional[str], how: How, kinds: Tuple[Any, ...] = ()
) -> Any:
    """Memoizes a function in a cache or a namespace. ``kinds`` are the classes for a function and for a coroutine
    function."""
    if isinstance(function, (staticmethod, classmethod)):
        made = memoized(source, function.__func__, key, name, how, kinds)
        if isinstance(function, staticmethod):
            return staticmethod(made)
        made._of_class = True
        return made
    _check(function, key, name)
    key_of = key if key is not None else Keys(function, name)
    kinds = kinds or (_MemoizedFunction, _MemoizedCoroutine)
    return kinds[_is_a(inspect.iscoroutinefunction, function)](source, function, key_of, how)


def _is_a(test: Callable[[Any], bool], function: Any) -> bool:
    """Returns whether a test is true for a function, or for the ``__call__`` method of a callable object."""
    return test(function) or test(getattr(type(function), "__call__", None))


def _check(function: Any, key: Any, name: Any) -> None:
    if isinstance(function, type) or not callable(function):
        what = f"class {function.__qualname__}" if isinstance(function, type) else called(function)
        hint = "; put memoize below property" if isinstance(function, property) else ""
        raise TypeError(f"memoize: expected a function, found {what}{hint}")
    if _is_a(inspect.isgeneratorfunction, function) or _is_a(inspect.isasyncgenfunction, function):
        raise TypeError(
            f"memoize: {called(function)} is a generator function: its result can be iterated only once, so it "
            "cannot be stored; return a list"
        )
    if key is not None and not callable(key):
        raise TypeError(f"memoize: key: expected a function that makes a key, found {type(key).__qualname__}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"memoize: name: expected str, found {type(name).__qualname__}")
    if key is not None and name is not None:
        raise TypeError("memoize: expected key or name, found both")


class Memoizing:
    """The method ``memoize`` of a cache and a namespace."""

    __slots__ = ()

    @overload
    def memoize(self, function: Callable[P, Created[S]]) -> Memoized[P, S]: ...
    @overload
    def memoize(
        self, function: Callable[P, Coroutine[Any, Any, Created[S]]]
    ) -> Memoized[P, Coroutine[Any, Any, S]]: ...
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        near: Optional[int] = None,
        shared: bool = False,
        check: float = 0.0,
        tags: Union[Tags, Callable[..., Tags], None] = None,
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
        on_error: str = "raise",
        retry_after: Optional[Tuple[Seconds, Seconds]] = None,
        share_failure: bool = False,
        resilient: bool = False,
        near: Optional[int] = None,
        shared: bool = False,
        check: float = 0.0,
        tags: Union[Tags, Callable[..., Tags], None] = None,
    ) -> Any:
        """Decorates a function, or a coroutine function, so that the cache keeps its return values by its arguments.

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

        If several threads and processes call the function with the same arguments, exactly one of them runs it; the
        others wait for its value. The value goes through the serializer even for the caller that ran the function, so
        all callers get the same. If the cache fails, the function runs without it, and the failure is logged.

        The key identifies the function by its module, its qualified name, its code and the values of its closure. For
        the main program, the path of its file takes the place of the module. Therefore a function that was changed, or
        compiled by another version of Python, does not get the old values. Other objects that the function reads, such
        as global variables, are not part of the key. If no stable key can be made of a value in its closure, give
        ``name``.

        Arguments may be numbers, text, bytes, ``None``, dates and times, UUIDs, paths, enumerations, numpy scalars,
        functions, classes, and tuples, named tuples, lists, sets, dictionaries and frozen dataclasses of these. Values
        of different types give different keys. For other arguments, give ``key``. Methods usually need ``key``, because
        their first argument is the object.

        The decorated function has the methods ``key(*args)``, which returns the key for these arguments,
        ``invalidate(*args)``, which removes their value, and ``refresh(*args)``, which runs the function and stores its
        value. ``__wrapped__`` is the function itself. Two attributes count events in this process: ``undecodable`` the
        values that could not be decoded and were created again, and ``uncached`` the calls for which the cache could
        not be opened.

        :param function: the function, if the decorator is used without options.
        :param ttl: time to live: seconds, or a ``timedelta``, until a value expires. The default is that of the
            namespace; without one the value does not expire.
        :param stale: seconds, or a ``timedelta``, until a value is stale. Then one caller runs the function, and all
            others immediately get the stale value. At most ``ttl``.
        :param serializer: ``pickle`` (default), ``json``, ``bytes``, or an object with ``dumps`` and ``loads``.
        :param key: a function that gets the arguments and returns the key, a ``str`` or ``bytes``. The key is used
            unchanged, so include the name of the function in it.
        :param name: a name that identifies the function, instead of its module, name, code and closure. Not together
            with ``key``.
        :param wait: how many seconds to wait for another caller's value; ``None`` waits without limit, 0 does not wait.
            When this time is over, the function runs without the cache. Default 30.
        :param unprotected: store the value that the function returns after such a wait.
            ``stats().counters.unprotected`` counts this. Default False.
        :param claim_max_age: how many seconds a caller that runs the function excludes other callers. After that, one
            of them may run it, even if the first caller is still running it. Default 300.
        :param early_refresh: create a new value before the current one becomes stale or expires, with a probability
            that rises as that moment approaches. 1.0 is a good factor; a larger one refreshes earlier. By default there
            is no early refresh.
        :param should_cache: a function that gets a value, and returns whether to store it. By default all values are
            stored.
        :param background: if the value is stale, create the new one in a thread of its own, or for a coroutine function
            in a task, so that this caller, too, immediately gets the stale value. Default False.
        :param require: raise :class:`kennel.Error` if the cache fails, instead of running the function without it.
            Default False.
        :param on_error: what follows if the function raises an exception. ``raise`` (default): the caller gets the
            exception. ``stale``: the caller gets the stale value, if there is one, and the exception is logged.
        :param retry_after: how many seconds pass after an exception before any process runs the function with these
            arguments again. Callers get the stale value, or :class:`kennel.Resting` is raised. Two numbers: the first
            pause, which doubles with each failure in a row, and the longest, such as ``(1, 30)``. By default there is
            no pause.
        :param share_failure: raise :class:`kennel.FailedElsewhere` if this caller waits for the value of another call,
            and that call fails, instead of running the function, too. Default False.
        :param resilient: all of ``on_error="stale"``, ``retry_after=(1, 30)`` and ``share_failure``. Default False.
        :param near: how many values each process keeps as objects, as :meth:`kennel.Cache.near` does: only values that
            cannot change, and each only while it is the current one. By default no values are kept.
        :param shared: keep other values, too. All callers in the process then get the same object, and none of them may
            change it. Default False.
        :param check: the share of uses, from 0 to 1, in which to test whether a caller has changed a shared object. If
            so, :class:`kennel.Mutated` is raised. For tests; default 0.
        :param tags: the names of the tags of all values, or a function that gets the arguments and returns the tags of
            one value. The decorated function can add tags to a value by returning a :class:`kennel.Created`.
        """
        creation = dict(
            ttl=ttl,
            stale=stale,
            wait=wait,
            unprotected=unprotected,
            claim_max_age=claim_max_age,
            early_refresh=early_refresh,
            background=background,
            on_error=on_error,
            retry_after=retry_after,
            share_failure=share_failure,
            resilient=resilient,
        )
        check_on_error(on_error)
        for option, time in (("ttl", ttl), ("stale", stale), ("wait", wait), ("claim_max_age", claim_max_age)):
            check_seconds(option, time)
        check_life(ttl, stale)
        how = How(serializer, should_cache, require, creation, tags)
        if near is not None:
            how.kept = Kept(near, NEAR_BYTES, how.serializer, shared, check)
        source = self if isinstance(self, Source) else Source(self)
        if function is not None:
            return memoized(source, function, key, name, how)
        return lambda function: memoized(source, function, key, name, how)


class Source(Memoizing):
    """The cache or namespace of a memoized function: a given one, or one that is opened at the first call."""

    def __init__(self, given: Any) -> None:
        if not (given is None or callable(given) or isinstance(given, (str, os.PathLike, _kennel.Space))):
            found = type(given).__qualname__
            raise TypeError(f"memoize: cache: expected a path, a cache, a namespace or a function, found {found}")
        self._given = given
        self.opened: "Optional[Creating]" = given if isinstance(given, _kennel.Space) else None  # type: ignore[assignment]
        self._not_before = -math.inf

    def space(self) -> "Creating":
        """Returns the cache or namespace. Raises an error if it cannot be opened."""
        given: Any = self._given
        if self.opened is not None:
            return self.opened
        if callable(given):
            return given()  # type: ignore[no-any-return]
        from ._shared import cache_at

        return cache_at(given, {})

    def space_if_any(self, called: str) -> "Optional[Creating]":
        """Returns the cache or namespace, or None if it cannot be opened. After a failure the next attempt comes only
        after a pause."""
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
def memoize(function: Callable[P, Created[S]]) -> Memoized[P, S]: ...
@overload
def memoize(function: Callable[P, Coroutine[Any, Any, Created[S]]]) -> Memoized[P, Coroutine[Any, Any, S]]: ...
@overload
def memoize(function: Callable[P, S]) -> Memoized[P, S]: ...


@overload
def memoize(*, cache: Any = None, **options: Unpack[Options]) -> Memoizer: ...


def memoize(function: Optional[Callable[..., Any]] = None, *, cache: Any = None, **options: Any) -> Any:
    """Decorates a function as :meth:`kennel.Cache.memoize` does, but opens the cache only at the first call. The
    program starts, and its functions run, even if the cache cannot be opened.

    :param function: the function, if the decorator is used without options.
    :param cache: the path of a cache file, a cache, a namespace, or a function that returns a cache or a namespace.
        Such a function is called for each call of the decorated function, so it should open the cache only once. By
        default the cache file of this user, :func:`kennel.default_path`.

    The other options are those of :meth:`kennel.Cache.memoize`.
    """
    source = Source(cache)
    return source.memoize(**options) if function is None else source.memoize(function, **options)
