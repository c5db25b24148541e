"""Serializers, which convert objects to bytes and back."""

from __future__ import annotations

import functools
import json
import pickle
from typing import Any, Dict, Protocol, Union

__all__ = ["Bytes", "Json", "Pickle", "Serializer", "serializer"]


class Serializer(Protocol):
    """Converts objects to bytes and back. Modules such as ``pickle`` and ``marshal`` are serializers, too."""

    def dumps(self, value: Any) -> Any:
        """Converts an object to bytes."""

    def loads(self, data: bytes) -> Any:
        """Converts bytes from :meth:`dumps` back to the object."""


class Pickle:
    """Python's own format, which works for almost any object. A user who can write to the file can run code in every
    process that unpickles values from it. Therefore a cache does not open a file that other users can write, unless
    ``trust`` is given."""

    # These functions are written in C. A function in Python around them would take longer than loading a small object.
    dumps = staticmethod(functools.partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL))
    loads = staticmethod(pickle.loads)


class Json:
    """JSON, which other programs can read, and which cannot run code in a process that loads it. Tuples become lists,
    and the keys of dictionaries become ``str``."""

    def dumps(self, value: Any) -> bytes:
        """Converts an object to bytes."""
        return json.dumps(value, separators=(",", ":")).encode()

    def loads(self, data: bytes) -> Any:
        """Converts bytes from :meth:`dumps` back to the object."""
        return json.loads(data)


class Bytes:
    """Passes bytes through unchanged. ``None`` means that there is no value."""

    def dumps(self, value: Any) -> Any:
        """Returns the value unchanged. Raises TypeError if it is not a bytes-like object or ``None``."""
        if value is not None:
            try:
                memoryview(value)
            except TypeError:
                found = type(value).__qualname__
                raise TypeError(f"serializer bytes: expected a bytes-like object or None, found {found}") from None
        return value

    def loads(self, data: bytes) -> bytes:
        """Returns the bytes unchanged."""
        return bytes(data)


_NAMED: Dict[str, Serializer] = {"pickle": Pickle(), "json": Json(), "bytes": Bytes()}


def serializer(given: Union[str, Serializer]) -> Serializer:
    """Returns the serializer with this name (``pickle``, ``json`` or ``bytes``), or the given object."""
    if isinstance(given, str):
        try:
            return _NAMED[given]
        except KeyError:
            names = ", ".join(_NAMED)
            raise ValueError(f"serializer: expected {names} or an object with dumps and loads, found {given}") from None
    if callable(getattr(given, "dumps", None)) and callable(getattr(given, "loads", None)):
        return given
    raise TypeError(f"serializer: expected an object with dumps and loads, found {type(given).__name__}")
