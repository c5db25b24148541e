"""The exceptions: one class for each error of the engine, with the same name.

Each class also derives from the matching built-in exception, so ``except FileNotFoundError`` and
``except TimeoutError`` work. The numbers and paths of the message are attributes.
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
    "FailedElsewhere",
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
    "NotResized",
    "NotTrusted",
    "OpenElsewhere",
    "Overflow",
    "OwnClaim",
    "ReadOnly",
    "NamespacesFull",
    "Resting",
    "SeatsFull",
    "TimedOut",
    "TooLarge",
    "TooManyTags",
    "UnknownStrategy",
]


class Error(Exception):
    """The base class of all errors of Kennel. Misses and evictions are not errors."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> Tuple[Any, ...]:
        # OSError's own method would omit the attributes.
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
    """A call of the operating system failed; ``errno`` is its error number."""


class NotFound(_OfFile, FileNotFoundError):
    """The cache file does not exist."""


class Exists(_OfFile, FileExistsError):
    """A file exists already at this path."""


class BadFile(_OfFile):
    """The file is not a cache file, has another version of the format, or has a damaged header."""

    field: str
    """The invalid part of the file."""
    expected: str
    """The valid value."""
    found: str
    """The value in the file."""


class Mismatch(_OfFile):
    """The file differs from the options, and ``on_mismatch="fail"`` was given."""

    option: str
    """The name of the option."""
    asked: str
    """The value that was given for the option."""
    found: str
    """The value of the file."""


class LocksLost(_OfFile):
    """The lock files of the cache file are missing."""


class UnknownStrategy(_OfFile):
    """The file uses a lock strategy that this program does not have."""

    found: str
    """The lock strategy of the file."""
    asked: str
    """The lock strategy in the options."""


class OpenElsewhere(_OfFile):
    """The file has the lock strategy ``process``, and is already open in another process, or a second time in this
    one."""


class NotTrusted(_OfFile, PermissionError):
    """Another user can write the file, or owns it. Its contents could make a process that unpickles them run any
    code."""


class NetworkFilesystem(_OfFile, OSError):
    """The file is on a file system on which mapped memory or locks may not be shared between processes."""

    kind: str
    """The file system."""


class NoSpace(_OfFile, OSError):
    """The file system has not enough space for the file."""

    needed: int
    """The size of the file in bytes."""


class SeatsFull(_OfFile):
    """All seats of the file are taken by running processes."""

    seats: int
    """The number of seats."""


class BadOption(Error, ValueError):
    """An option has an invalid value."""

    option: str
    """The name of the option."""
    given: str
    """The value that was given."""
    expected: str
    """The valid values."""


class KeyTooLong(Error, ValueError):
    """A key is longer than ``kennel.MAX_KEY`` bytes."""

    size: int
    """The length of the key in bytes."""
    limit: int
    """The largest length in bytes."""


class TooManyTags(Error, ValueError):
    """A value has more tags than ``kennel.MAX_TAGS``."""

    found: int
    """How many tags were given."""
    limit: int
    """The most tags of a value."""


class TooLarge(Error, ValueError):
    """An item is larger than a quarter of a stripe's main ring."""

    size: int
    """The size of the item in bytes."""
    limit: int
    """The largest size in bytes."""


class NotANumber(Error, ValueError):
    """``incr`` or ``decr`` of a value that is not a number from 0 to 2**64 - 1 in decimal digits."""

    found: str
    """The value."""


class Overflow(Error, OverflowError):
    """``incr`` above 2**64 - 1, or ``decr`` below 0. The value is unchanged."""

    value: int
    """The number that the key has."""


class Busy(Error, TimeoutError):
    """The lock of the stripe was held by another caller for the whole of ``lock_wait``; nothing was written."""

    stripe: int
    """The number of the stripe, from 0."""
    waited: float
    """How many seconds the caller waited."""


class TimedOut(Error, TimeoutError):
    """The caller's ``wait`` was over before the key's claim, or any claim of its stripe, was free."""

    waited: float
    """How many seconds the caller waited."""


class OwnClaim(Error, RuntimeError):
    """The thread or task already holds the claim of the key, so it would wait for itself forever."""


class Resting(Error, RuntimeError):
    """Creations of the key failed, and nobody creates it for a time: see the option ``retry_after``."""

    left: float
    """How many seconds are left."""


class FailedElsewhere(Error, RuntimeError):
    """The creation for which this caller waited failed: see the option ``share_failure``."""


class NamespacesFull(_OfFile):
    """The file has no room for another namespace."""

    namespaces: int
    """The number of namespaces that the file has room for."""


class ReadOnly(_OfFile, PermissionError):
    """The cache was opened read-only."""


class LeaseRefused(_OfFile, OSError):
    """The lock strategy ``lease`` is refused on this file system, where a lease does not show whether a process is
    alive."""


class NoMemory(Error, MemoryError):
    """The process has not enough memory for a value."""

    needed: int
    """The size of the value in bytes."""


class BufferTooSmall(Error, ValueError):
    """The value does not fit in the caller's buffer."""

    needed: int
    """The length of the value in bytes."""
    given: int
    """The length of the buffer in bytes."""


class NotResized(Error):
    """The file cannot get another size now: keys stay locked, or another process resizes it. It is as it was."""

    path: pathlib.Path
    """The path of the file."""
