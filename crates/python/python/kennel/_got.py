"""A value with its metadata, and how the caller came to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from ._kennel import Item, Lookup

__all__ = ["Got", "Source", "found", "stored"]

Source = Literal["hit", "stale", "waited", "created", "not_stored", "failed"]


@dataclass(frozen=True)
class Got:
    """A value with its metadata, and how the caller came to it: see :meth:`kennel.Cache.get_or_create_item`.

    ``source`` says how the caller came to the value, or learned that the key has none:

    * ``hit``: the cache had the value.
    * ``stale``: the cache had the value, and it is stale. Another caller or a background thread or task creates the new
      value, or the key rests after failures.
    * ``waited``: this caller waited for another one, which created the value.
    * ``created``: this caller created the value, and it is stored.
    * ``not_stored``: this caller created the value, and it is not stored: the key was written, deleted or invalidated
      meanwhile, or a tag of the value was invalidated, or the value was refused or is too large, or the cache failed.
      Or the key has no value, and this is not remembered.
    * ``failed``: this caller's ``create`` raised an exception, and the caller gets the stale value.
    """

    item: Optional[Item]
    """The value with its metadata, a :class:`kennel.Item`; None if the key has no value. An item that is not stored has
    the flags and the times that it would have been stored with, and the stamp 0, which no stored item has."""
    source: Source
    """How the caller came to the value: see above."""

    @property
    def value(self) -> Optional[bytes]:
        """The value alone, which ``get_or_create`` would have returned."""
        return None if self.item is None else self.item.value


def found(lookup: Lookup) -> Got:
    """Returns the result for a caller that does not create the value."""
    if lookup.is_stale:
        return Got(lookup.item, "stale")
    return Got(lookup.item, "waited" if lookup.has_waited else "hit")


def stored(item: Optional[Item], is_stored: bool) -> Got:
    """Returns the result for the caller that created the value."""
    return Got(item, "created" if is_stored else "not_stored")
