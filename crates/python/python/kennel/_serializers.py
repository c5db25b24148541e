"""How objects become bytes. A serializer is always named: by the caller, or as the default of what he uses."""

from __future__ import annotations

import json
import pickle
from typing import Any, Dict, Protocol, Union

__all__ = ["Bytes", "Json", "Pickle", "Serializer", "serializer"]


class Serializer(Protocol):
    """What turns objects into bytes and back. Modules such as ``pickle`` and ``marshal`` are serializers, too."""

    def dumps(self, value: Any) -> Any:
        """The bytes of an object."""

    def loads(self, data: bytes) -> Any:
        """The object of bytes that :meth:`dumps` made."""


class Pickle:
    """Python's own format, for any object. Whoever can write the file can run code in whoever reads it; therefore a
    file that others can write is not opened."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of an object."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def loads(self, data: bytes) -> Any:
        """The object of bytes that :meth:`dumps` made."""
        return pickle.loads(data)


class Json:
    """JSON, for what other programs read, and where not even the owner of the file shall run code in its readers. Tuples
    come back as lists, keys of dictionaries as ``str``."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of an object."""
        return json.dumps(value, separators=(",", ":")).encode()

    def loads(self, data: bytes) -> Any:
        """The object of bytes that :meth:`dumps` made."""
        return json.loads(data)


class Bytes:
    """No serializer: the values are bytes already. ``None`` says that there is no value."""

    def dumps(self, value: Any) -> Any:
        """The value as it is."""
        if value is not None:
            try:
                memoryview(value)
            except TypeError:
                found = type(value).__qualname__
                raise TypeError(f"serializer bytes: expected a bytes-like object or None, found {found}") from None
        return value

    def loads(self, data: bytes) -> bytes:
        """The bytes as they are."""
        return bytes(data)


_NAMED: Dict[str, Serializer] = {"pickle": Pickle(), "json": Json(), "bytes": Bytes()}


def serializer(given: Union[str, Serializer]) -> Serializer:
    """A serializer by its name (``pickle``, ``json``, ``bytes``), or the one that was given."""
    if isinstance(given, str):
        try:
            return _NAMED[given]
        except KeyError:
            names = ", ".join(_NAMED)
            raise ValueError(f"serializer: expected {names} or an object with dumps and loads, found {given}") from None
    if callable(getattr(given, "dumps", None)) and callable(getattr(given, "loads", None)):
        return given
    raise TypeError(f"serializer: expected an object with dumps and loads, found {type(given).__name__}")
