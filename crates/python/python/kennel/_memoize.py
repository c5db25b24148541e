"""``memoize``: the values of functions."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import pathlib
import uuid
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Optional, Tuple, Union

from ._serializers import Serializer, serializer as _serializer

if TYPE_CHECKING:
    from typing import Protocol, TypeVar

    from typing_extensions import ParamSpec

    from ._create import Creating

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)

    class Memoized(Protocol[P, R]):
        """A function that remembers its values."""

        @property
        def __wrapped__(self) -> Callable[P, R]: ...
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        def key(self, *args: P.args, **kwargs: P.kwargs) -> Union[str, bytes]: ...
        def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


__all__ = ["memoized"]

Seconds = Union[float, datetime.timedelta]

#: Keys up to this length are readable; of longer ones a hash takes the place of the arguments.
_READABLE = 200

#: Types whose text tells one value from every other.
_TEXT: Tuple[type, ...] = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    complex,
    range,
)


def encoded(value: Any) -> str:
    """An argument as text that is the same in every process, and differs for values that differ in type."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        if isinstance(value, enum.Enum) or type(value) not in (type(None), bool, int, float, str, bytes):
            return _named(value, encoded(value.value) if isinstance(value, enum.Enum) else repr(value))
        return repr(value)
    if isinstance(value, enum.Enum):
        return _named(value, value.name)
    if isinstance(value, _TEXT):
        return _named(value, repr(str(value)))
    if type(value) in (tuple, list):
        return _listed("()" if type(value) is tuple else "[]", map(encoded, value))
    if type(value) in (set, frozenset):
        return _listed("{}", sorted(map(encoded, value)))
    if type(value) is dict:
        return _listed("<>", sorted(f"{encoded(name)}:{encoded(item)}" for name, item in value.items()))
    raise TypeError(
        f"memoize: no key can be made of an argument of type {type(value).__qualname__}: expected numbers, text, bytes, "
        "None, dates, UUIDs, paths, enumerations, or tuples, lists, sets or dictionaries of these; give key=..."
    )


def _named(value: Any, text: str) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}({text})"


def _listed(brackets: str, items: Iterable[str]) -> str:
    return brackets[0] + ",".join(items) + brackets[1]


def _key_maker(function: Callable[..., Any]) -> Callable[..., str]:
    signature = inspect.signature(function)
    name = f"{function.__module__}.{function.__qualname__}"

    def key(*args: Any, **kwargs: Any) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        text = ",".join(f"{parameter}={encoded(value)}" for parameter, value in bound.arguments.items())
        if len(text) > _READABLE:
            text = hashlib.blake2b(text.encode(), digest_size=24).hexdigest()
        return f"{name}({text})"

    return key


class _Value:
    """What a creator made, as bytes and as the object of these bytes."""

    def __init__(self, serializer: Serializer, should_cache: Optional[Callable[[Any], bool]]) -> None:
        self.serializer = serializer
        self.should_cache = should_cache
        self.object: Any = None

    def bytes_of(self, value: Any) -> Any:
        self.object = value
        return self.serializer.dumps(value)

    @property
    def predicate(self) -> Optional[Callable[[bytes], bool]]:
        should_cache = self.should_cache
        return None if should_cache is None else lambda _: should_cache(self.object)


def memoized(
    space: "Creating",
    function: Callable[..., Any],
    *,
    serializer: Union[str, Serializer] = "pickle",
    key: Optional[Callable[..., Union[str, bytes]]] = None,
    should_cache: Optional[Callable[[Any], bool]] = None,
    **how: Any,
) -> Callable[..., Any]:
    """A function that remembers its values in a cache or a region."""
    chosen = _serializer(serializer)
    key_of = key if key is not None else _key_maker(function)
    is_coroutine = inspect.iscoroutinefunction(function)
    _check(space, how, is_coroutine)
    make = _coroutine if is_coroutine else _function
    made, refresh = make(space, function, key_of, chosen, should_cache, how)
    functools.update_wrapper(made, function)
    made.key = key_of  # type: ignore[attr-defined]
    made.invalidate = lambda *args, **kwargs: space.delete(key_of(*args, **kwargs))  # type: ignore[attr-defined]
    made.refresh = refresh  # type: ignore[attr-defined]
    return made


_Made = Tuple[Callable[..., Any], Callable[..., Any]]


def _function(
    space: "Creating",
    function: Callable[..., Any],
    key_of: Callable[..., Any],
    chosen: Serializer,
    should_cache: Optional[Callable[[Any], bool]],
    how: Dict[str, Any],
) -> _Made:
    def made(*args: Any, **kwargs: Any) -> Any:
        value = _Value(chosen, should_cache)

        def create() -> Any:
            return value.bytes_of(function(*args, **kwargs))

        data = space.get_or_create(key_of(*args, **kwargs), create, should_cache=value.predicate, **how)
        return chosen.loads(data if data is not None else b"")

    def refresh(*args: Any, **kwargs: Any) -> Any:
        data = chosen.dumps(function(*args, **kwargs))
        space.set(key_of(*args, **kwargs), data, **_life(how))
        return chosen.loads(data)

    return made, refresh


def _coroutine(
    space: "Creating",
    function: Callable[..., Any],
    key_of: Callable[..., Any],
    chosen: Serializer,
    should_cache: Optional[Callable[[Any], bool]],
    how: Dict[str, Any],
) -> _Made:
    async def made(*args: Any, **kwargs: Any) -> Any:
        value = _Value(chosen, should_cache)

        async def create() -> Any:
            return value.bytes_of(await function(*args, **kwargs))

        data = await space.aget_or_create(key_of(*args, **kwargs), create, should_cache=value.predicate, **how)
        return chosen.loads(data if data is not None else b"")

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        data = chosen.dumps(await function(*args, **kwargs))
        space.set(key_of(*args, **kwargs), data, **_life(how))
        return chosen.loads(data)

    return made, refresh


def _life(how: Dict[str, Any]) -> Dict[str, Any]:
    return {name: how[name] for name in ("ttl", "stale") if name in how}


def _check(space: "Creating", how: Dict[str, Any], is_coroutine: bool) -> None:
    """Says at once, not at the first call, that an option is not one."""
    creator = space.aget_or_create if is_coroutine else space.get_or_create
    known = set(inspect.signature(creator).parameters) - {"key", "create", "absence_ttl", "flags"}
    for name in how:
        if name not in known:
            raise TypeError(f"memoize: {name} is no option of a {'coroutine ' if is_coroutine else ''}function")
