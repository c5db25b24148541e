"""Decoding of stored values. It fails, for example, if a class was renamed or another program wrote the value."""

from __future__ import annotations

from typing import Any

from . import _kennel
from ._errors import Error
from ._log import once
from ._serializers import Serializer

__all__ = ["Decoder", "forget"]


class Decoder:
    """Decodes stored values. A value that cannot be decoded counts as a miss.

    If decoding raised an exception instead, every caller would get it until the value expires, and none would replace
    the value. The first failure of each kind is logged as a warning, further ones at debug level; :attr:`undecodable`
    counts them.
    """

    def __init__(self, serializer: Serializer, where: object) -> None:
        self._loads = serializer.loads
        self._where = where
        self.undecodable = 0
        """How many values could not be decoded in this process."""

    def value(self, key: object, data: bytes, default: Any) -> Any:
        """Decodes ``data``. Returns ``default`` if that fails."""
        try:
            return self._loads(data)
        except MemoryError:
            raise
        except Exception as error:
            self.undecodable += 1
            kind = "decode", type(error).__name__, str(error)
            once(kind, "%s: the value of %r cannot be decoded and counts as missing: %r", self._where, key, error)
            return default


def forget(space: _kennel.Space, key: Any, data: bytes) -> None:
    """Removes a value, unless another value has replaced it."""
    try:
        item = space.get_item(key)
        if item is not None and item.value == data:
            space.compare_and_swap(key, item.stamp, b"", ttl=0)
    except Error:
        pass  # The value counts as a miss until it expires.
