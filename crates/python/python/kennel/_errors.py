"""What can go wrong: one class for each error of the engine, with the engine's name for it.

A class is also what Python has for such a thing, so ``except FileNotFoundError`` and ``except TimeoutError`` work. The
numbers and paths of the message are attributes.
"""

from __future__ import annotations

import pathlib
from typing import Any, Dict, Optional, Tuple

__all__ = [
    "BadFile",
    "BadOption",
    "BufferTooSmall",
    "Busy",
    "Error",
    "Exists",
    "Io",
    "KeyTooLong",
    "LeaseRefused",
    "LocksLost",
    "Mismatch",
    "NetworkFilesystem",
    "NoMemory",
    "NoSpace",
    "NotANumber",
    "NotFound",
    "NotTrusted",
    "OpenElsewhere",
    "Overflow",
    "OwnClaim",
    "ReadOnly",
    "NamespacesFull",
    "SeatsFull",
    "TimedOut",
    "TooLarge",
    "UnknownStrategy",
]


class Error(Exception):
    """Any error of Kennel. A miss is none, and neither is a full cache."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> Tuple[Any, ...]:
        # Without this, OSError's own way would leave the attributes out.
        return _again, (type(self), self.args, self.__dict__, getattr(self, "errno", None))


def _again(kind: type[Error], args: Tuple[Any, ...], fields: Dict[str, Any], errno: Optional[int]) -> Error:
    error = kind(*args, **fields)
    if errno is not None:
        error.errno = errno  # type: ignore[attr-defined]
    return error


class _OfFile(Error):
    """An error that concerns a file."""

    path: pathlib.Path
    """The file."""


class Io(_OfFile, OSError):
    """The operating system refused something; ``errno`` is its reason."""


class NotFound(_OfFile, FileNotFoundError):
    """There is no file at this path."""


class Exists(_OfFile, FileExistsError):
    """There is a file at this path already."""


class BadFile(_OfFile):
    """The file is no cache file, or not one of this format, or damaged in its header."""

    field: str
    expected: str
    found: str


class Mismatch(_OfFile):
    """The file differs from what was asked for, and ``on_mismatch="fail"`` was given."""

    option: str
    asked: str
    found: str


class LocksLost(_OfFile):
    """The lock files that belong to the cache file are not where they must be."""


class UnknownStrategy(_OfFile):
    """The file is locked by a strategy that this program does not have."""

    found: str
    asked: str


class OpenElsewhere(_OfFile):
    """Lock strategy ``process``: the file is open, in another process or once more in this one."""


class NotTrusted(_OfFile, PermissionError):
    """Somebody else could have written the file; whoever unpickles from it would run what he put there."""


class NetworkFilesystem(_OfFile, OSError):
    """On this file system memory or locks are not shared between all who open the file."""

    kind: str


class NoSpace(_OfFile, OSError):
    """The file system has no room for the file."""

    needed: int


class SeatsFull(_OfFile):
    """All seats are taken by living processes."""

    seats: int


class BadOption(Error, ValueError):
    """An option cannot be."""

    option: str
    given: str
    expected: str


class KeyTooLong(Error, ValueError):
    """A key is longer than ``kennel.MAX_KEY``."""

    size: int
    limit: int


class TooLarge(Error, ValueError):
    """An item is larger than a quarter of a stripe's main ring."""

    size: int
    limit: int


class NotANumber(Error, ValueError):
    """``incr`` or ``decr`` of a value that is not a number from 0 to 2**64 - 1 in decimal digits."""

    found: str


class Overflow(Error, OverflowError):
    """``incr`` beyond 2**64 - 1, or ``decr`` below 0. The value is as it was."""

    value: int


class Busy(Error, TimeoutError):
    """The stripe's lock was held by somebody else for the whole of ``lock_wait``; nothing was written."""

    stripe: int
    waited: float


class TimedOut(Error, TimeoutError):
    """Somebody else held the key's claim, or others all claims of its stripe, until the caller's time ran out."""

    waited: float


class OwnClaim(Error, RuntimeError):
    """The same thread or task holds the key's claim already: waiting for itself it would wait in vain."""


class NamespacesFull(_OfFile):
    """All entries of the file's table of namespaces are used."""

    namespaces: int


class ReadOnly(_OfFile, PermissionError):
    """The cache was opened read-only."""


class LeaseRefused(_OfFile, OSError):
    """The file system cannot keep the proof that a process lives: strategy ``lease`` is refused there."""


class NoMemory(Error, MemoryError):
    """The process has no memory for a value."""

    needed: int


class BufferTooSmall(Error, ValueError):
    """The caller's buffer does not take the value."""

    needed: int
    given: int
