"""One near cache for all processes of a host, in front of Redis or Valkey.

.. code-block:: python

    from kennel.far import FarCache

    far = FarCache("redis://10.0.0.5", prefix="app:", path="/dev/shm/app.kennel")
    far.set("app:user:7", "Ann", ttl=600)
    assert far.get("app:user:7") == b"Ann"

The server holds the current value of every key. A Kennel file, which all processes of the host share, holds copies of
the values that were read. The server's invalidation messages keep these copies up to date: no read returns a value that
was replaced more than ``max_staleness`` ago, which is one second by default, and a host sees its own writes at once.

:mod:`kennel.far.dogpile` contains the backend ``kennel.far`` for dogpile.cache, and :mod:`kennel.far.django` the one for
Django. Both store what the Redis backends of these projects store, so hosts can be switched over one at a time, and
back. This module needs a Unix system.
"""

from __future__ import annotations

try:
    from .._kennel import FarCache as _Base  # noqa: F401
except ImportError:
    raise ImportError("kennel.far is for Unix systems: this build of kennel does not have it", name=__name__) from None

from ._cache import FarCache
from ._errors import (
    BadFarOption,
    FarError,
    FarIo,
    FarMismatch,
    ServerError,
    ServerUnreachable,
    SeveralSlots,
    UnexpectedAnswer,
)
from ._stats import FarStats

__all__ = [
    "BadFarOption",
    "FarCache",
    "FarError",
    "FarIo",
    "FarMismatch",
    "FarStats",
    "ServerError",
    "ServerUnreachable",
    "SeveralSlots",
    "UnexpectedAnswer",
]

for _value in [globals()[name] for name in __all__]:
    _value.__module__ = __name__
del _value, _Base
