"""How the values of a memoized function are created, stored and loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Union

from . import _kennel
from ._created import again, parts, plain
from ._errors import BadOption, Error
from ._near import NONE, Id, Kept
from ._serializers import Bytes, Serializer, serializer as _serializer
from ._times import seconds

if TYPE_CHECKING:
    from ._create import Creating
    from ._created import Tags

__all__ = ["How", "Made", "Renewal"]


class Made:
    """The value that a creator returned, as an object and as bytes."""

    def __init__(self, how: "How", args: Any, kwargs: Any) -> None:
        self._how, self._args, self._kwargs = how, args, kwargs
        self.object: Any = NONE
        #: The ids of the writes that stored the values that were found in the cache; the last one counts.
        self.ids: List[Id] = []

    def bytes_of(self, made: Any) -> Any:
        """Returns what the function returned, with its value as bytes."""
        self.object = plain(made)
        return again(made, self._how.serializer.dumps(self.object), self._how.tags(self._args, self._kwargs))

    @property
    def predicate(self) -> Optional[Callable[[bytes], bool]]:
        should_cache = self._how.should_cache
        return None if should_cache is None else lambda _: should_cache(self.object)


class How:
    """How the values of a function are created, stored and loaded."""

    def __init__(
        self,
        serializer: Union[str, Serializer],
        should_cache: Optional[Callable[[Any], bool]],
        require: bool,
        creation: Dict[str, Any],
        tags: Any = None,
    ) -> None:
        self.serializer = _serializer(serializer)
        self.should_cache = should_cache
        self.require = require
        self.life = {name: creation[name] for name in ("ttl", "stale")}
        #: The objects that this process keeps, if it keeps any.
        self.kept: Optional[Kept] = None
        self._tags_of: Optional[Callable[..., Tags]] = tags if callable(tags) else None
        #: The tags that all values of the function have.
        self._tags = None if tags is None or callable(tags) else _kennel._tags(tags)
        self._creation = {**creation, "or_uncached": not require}
        # With the serializer "bytes", None means that there is no value. An absence is remembered for as long as a
        # value. A namespace may have a default time for absences, which only its file knows.
        absence = {**self._creation, "absence_ttl": math.inf if creation["ttl"] is None else creation["ttl"]}
        remembers = isinstance(self.serializer, Bytes) and should_cache is None
        self._with_absence = absence if remembers else self._creation

    def creation(self, space: "Creating") -> Dict[str, Any]:
        """The options for ``get_or_create``."""
        is_namespace = isinstance(space, _kennel.Namespace)
        return self._creation if is_namespace and self._creation["ttl"] is None else self._with_absence

    def tags(self, args: Any, kwargs: Any) -> "Optional[Tags]":
        """Returns the tags of the value for these arguments, or None. A function that names the tags is called only
        when there is a value to store."""
        return self._tags if self._tags_of is None else self._tags_of(*args, **kwargs)


class Renewal:
    """A value that ``refresh`` creates to replace the stored one."""

    def __init__(self, space: Any, key: Any, how: How) -> None:
        self.space, self.key, self._how = space, key, how
        self._moment = None if space is None else _moment(space)

    def store(self, made: Any) -> None:
        """Stores what the function returned, whose value is bytes. If one of its tags was invalidated meanwhile, or if
        the value is not to be stored, removes the old value instead."""
        data, own, stored = parts(made)
        if data is None or not stored:
            self.space.delete(self.key)
            return
        as_of = self._moment if own.get("tags") else None
        try:
            is_stored = self.space.set(self.key, data, **self._life(own), as_of=as_of) != 0
        except BadOption as error:
            if error.option != "as_of":
                raise
            # The file was replaced while the function ran.
            is_stored = False
        if not is_stored:
            self.space.delete(self.key)

    def _life(self, own: Dict[str, Any]) -> Dict[str, Any]:
        """Returns the options of the value: its own ones take the place of those of the function."""
        given = {name: time for name, time in self._how.life.items() if time is not None}
        if "expires_at" in own:
            given.pop("ttl", None)
        given.update(own)
        if "ttl" in own and "stale" not in own and seconds(given.get("stale", 0)) > seconds(given["ttl"]):
            # As with a value of ``get_or_create``: it expires before it would be stale.
            del given["stale"]
        return given


def _moment(space: Any) -> Optional[_kennel.Moment]:
    try:
        return space.moment()  # type: ignore[no-any-return]
    except Error:
        return None  # The write that follows reports the error.
