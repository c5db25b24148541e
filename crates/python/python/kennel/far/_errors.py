"""The exceptions of the far tier. A near file that fails is none: the server is asked instead. Only if the near file cannot
be opened, the errors of :class:`kennel.Cache` are raised."""

from __future__ import annotations

from .._errors import BadOption, Error

__all__ = [
    "BadFarOption",
    "FarError",
    "FarIo",
    "FarMismatch",
    "ServerError",
    "ServerUnreachable",
    "SeveralSlots",
    "UnexpectedAnswer",
]


class FarError(Error):
    """The base class of all errors of the far tier."""


class BadFarOption(FarError, BadOption):
    """An option, or the URL, has an invalid value."""


class FarMismatch(FarError):
    """Other processes use the near file with the same prefixes and another database, ``max_staleness`` or ``tracking``."""


class ServerError(FarError):
    """The server answered with an error."""


class ServerUnreachable(FarError, ConnectionError):
    """The connection to the server failed, or no answer came within ``timeout``. If the call was a write, the server may
    have executed it, or may do so later."""


class SeveralSlots(FarError, ValueError):
    """The keys of a command lie in different slots of a cluster."""


class UnexpectedAnswer(FarError):
    """The server's answer has not the form that answers of the command have."""


class FarIo(FarError, OSError):
    """A call of the operating system failed; ``errno`` is its error number."""
