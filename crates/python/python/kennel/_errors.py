"""The exceptions: one class for each kind of error.

A class also derives from the built-in exception that matches it, if there is one, so ``except FileNotFoundError`` and
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
    """A file already exists at this path."""


class BadFile(_OfFile):
    """The file is not a cache file, has another version of the format, or has a damaged header."""

    field: str
    """The part of the file that is invalid."""
    expected: str
    """What a valid file contains there."""
    found: str
    """What this file contains there."""


class Mismatch(_OfFile):
    """The file differs from the options, and ``on_mismatch="fail"`` was given."""

    option: str
    """The name of the option."""
    asked: str
    """The value that was given for the option."""
    found: str
    """The value in the file."""


class LocksLost(_OfFile):
    """The lock files of the cache file are missing. The file cannot be used without them."""


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
    """The file belongs to another user, or another user can write to it. A process that unpickles its values could be
    made to run any code."""


class NetworkFilesystem(_OfFile, OSError):
    """The file is on a file system on which mapped memory or locks may not be shared between processes."""

    kind: str
    """The kind of file system."""


class NoSpace(_OfFile, OSError):
    """The file system does not have enough space for the file."""

    needed: int
    """The size of the file, in bytes."""


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
    """The largest valid length in bytes."""


class TooManyTags(Error, ValueError):
    """A value has more tags than ``kennel.MAX_TAGS``."""

    found: int
    """How many different tags were given."""
    limit: int
    """The largest number of tags that a value can have."""


class TooLarge(Error, ValueError):
    """An item is larger than a quarter of a stripe's main ring."""

    size: int
    """The size of the item in bytes, header included."""
    limit: int
    """The size of the largest item that fits, in bytes."""


class NotANumber(Error, ValueError):
    """``incr`` or ``decr`` found a value that is not a number from 0 to 2**64 - 1 in decimal digits."""

    found: str
    """The value, shortened if it is long."""


class Overflow(Error, OverflowError):
    """The result of ``incr`` would be above 2**64 - 1, or that of ``decr`` below 0. The value is unchanged."""

    value: int
    """The unchanged value of the key."""


class Busy(Error, TimeoutError):
    """Another caller held the lock of the stripe for the whole of ``lock_wait``, or kept the file closed to resize it.
    Nothing was written."""

    stripe: int
    """The number of the stripe, from 0; 2**32 - 1 stands for the whole file."""
    waited: float
    """How many seconds the caller waited."""


class TimedOut(Error, TimeoutError):
    """The caller's ``wait`` was over: until then another caller held the key's claim, or all claims of its stripe were
    held."""

    waited: float
    """How many seconds the caller waited."""


class OwnClaim(Error, RuntimeError):
    """The calling thread or task already holds the claim of the key, so it would wait for itself forever."""


class Resting(Error, RuntimeError):
    """Creations of the key's value failed, and no process tries again until a pause is over: see the option
    ``retry_after``."""

    left: float
    """How many seconds of the pause are left."""


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
    """The process does not have enough memory for a value."""

    needed: int
    """The size of the value in bytes."""


class BufferTooSmall(Error, ValueError):
    """The value does not fit in the caller's buffer."""

    needed: int
    """The length of the value in bytes."""
    given: int
    """The length of the buffer in bytes."""


class NotResized(Error):
    """The file cannot be resized now: keys stay locked, or another process is resizing it. The file is unchanged."""

    path: pathlib.Path
    """The path of the file."""
