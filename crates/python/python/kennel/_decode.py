"""Values that cannot be decoded any more: a class was renamed, the file holds another program's bytes."""

from __future__ import annotations

from typing import Any

from ._log import once
from ._serializers import Serializer

__all__ = ["Decoder"]


class Decoder:
    """Decodes stored values, and takes one that cannot be decoded for a miss.

    An error would reach every caller until the value expires, and nobody would replace the value. The first failure of
    a kind is logged as a warning, further ones for debugging only; :attr:`undecodable` counts them.
    """

    def __init__(self, serializer: Serializer, where: object) -> None:
        self._loads = serializer.loads
        self._where = where
        self.undecodable = 0
        """Values that could not be decoded, in this process."""

    def value(self, key: object, data: bytes, default: Any) -> Any:
        """The value that ``data`` was made of, or ``default``."""
        try:
            return self._loads(data)
        except MemoryError:
            raise
        except Exception as error:
            self.undecodable += 1
            kind = "decode", type(error).__name__, str(error)
            once(kind, "%s: the value of %r cannot be decoded and counts as missing: %r", self._where, key, error)
            return default
