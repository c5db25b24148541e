"""The exceptions of the far tier. If the near file fails, no exception is raised, and reads ask the server instead.
Only opening the near file raises the errors of :class:`kennel.Cache`."""

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
    """Other processes use the near file with the same prefixes, but with another database, ``max_staleness`` or
    ``tracking``."""


class ServerError(FarError):
    """The server answered with an error."""


class ServerUnreachable(FarError, ConnectionError):
    """The connection to the server failed, or no answer came within ``timeout``. The server may have executed a write,
    or may still execute it."""


class SeveralSlots(FarError, ValueError):
    """The keys of a command lie in different slots of a cluster."""


class UnexpectedAnswer(FarError):
    """The server's answer does not have the form that the command's answers have."""


class FarIo(FarError, OSError):
    """A call of the operating system failed; ``errno`` is its error number."""
