"""What a creator may return in addition to the value itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, Iterable, Optional, Tuple, TypeVar, Union

from . import _kennel
from ._times import Seconds, check_life, check_seconds

if TYPE_CHECKING:
    from typing_extensions import Buffer

    #: The names of tags.
    Tags = Iterable[Union[str, Buffer]]

__all__ = ["Created", "again", "parts", "plain"]

T = TypeVar("T", covariant=True)

#: The options that also apply to a remembered absence.
_OF_ABSENCE = ("ttl", "expires_at", "tags")


class Created(Generic[T]):
    """A created value with options of its own, which may depend on the value. A creator returns it instead of the value
    alone.

    >>> import kennel, tempfile, os
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
    >>> def page():
    ...     product = 7  # known only at the end
    ...     return kennel.Created("<h1>Tea</h1>", tags=[f"product:{product}"], ttl=600)
    >>> cache.get_or_create("page:/new", page)
    b'<h1>Tea</h1>'
    >>> cache.invalidate_tags(["product:7"])
    >>> "page:/new" in cache
    False
    >>> cache.close(); folder.cleanup()

    For each option that is not given, the option of the call that runs the creator applies. Callers get the value
    alone.

    :param value: the value. If ``None`` means that there is no value, the times and tags are those of the remembered
        absence.
    :param ttl: time to live: seconds, or a ``timedelta``, until the value expires.
    :param stale: seconds, or a ``timedelta``, until the value is stale; at most ``ttl``.
    :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
    :param flags: a number from 0 to 2**32 - 1 that is stored with the value.
    :param tags: the names of tags, in addition to those of the call, together at most :data:`kennel.MAX_TAGS`. Every
        invalidation since the creation began counts, also for tags that are known only now.
    :param stored: False returns the value to the caller that created it and does not store it; default True.
    """

    __slots__ = ("value", "stored", "_own")

    value: T
    """The value."""
    stored: bool
    """Whether the value is stored."""

    def __init__(
        self,
        value: T,
        ttl: Optional[Seconds] = None,
        *,
        stale: Optional[Seconds] = None,
        expires_at: Optional[float] = None,
        flags: Optional[int] = None,
        tags: Optional[Tags] = None,
        stored: bool = True,
    ) -> None:
        # Check the options here, so that the traceback shows where the wrong one was given.
        check_seconds("ttl", ttl)
        check_seconds("stale", stale)
        check_life(ttl, stale)
        if ttl is not None and expires_at is not None:
            raise TypeError("expected ttl or expires_at, found both")
        given: Dict[str, Any] = dict(ttl=ttl, stale=stale, expires_at=expires_at, flags=flags)
        self.value = value
        self.stored = stored
        self._own = {name: option for name, option in given.items() if option is not None}
        if tags is not None:
            self._own["tags"] = _kennel._tags(tags)

    def __repr__(self) -> str:
        own = "".join(f", {name}={option!r}" for name, option in self._own.items())
        return f"{type(self).__name__}({self.value!r}{own}{'' if self.stored else ', stored=False'})"


def plain(made: Any) -> Any:
    """Returns the value alone from what a creator returned."""
    return made.value if isinstance(made, Created) else made


def parts(made: Any) -> Tuple[Any, Dict[str, Any], bool]:
    """Splits what a creator returned into the value, the options of its own, and whether to store it."""
    if not isinstance(made, Created):
        return made, {}, True
    own = made._own
    if made.value is None:
        own = {name: own[name] for name in _OF_ABSENCE if name in own}
    return made.value, own, made.stored


def again(
    made: Any, value: Any, tags: Optional[Tags] = None, renamed: Optional[Callable[[bytes], bytes]] = None
) -> Any:
    """Returns what a creator returned, with its value in another form, its tags under other names, and further tags."""
    if not isinstance(made, Created):
        return value if tags is None else Created(value, tags=tags)
    other: Created[Any] = Created(value, stored=made.stored)
    other._own = dict(made._own)
    own: Iterable[bytes] = made._own.get("tags", ())
    own = own if renamed is None else map(renamed, own)
    other._own["tags"] = _kennel._tags([*own, *(tags or ())])
    return other
