"""A memory-mapped cache shared by the processes of a host.

>>> import kennel, tempfile, os
>>> folder = tempfile.TemporaryDirectory()
>>> cache = kennel.Cache(os.path.join(folder.name, "pages"), capacity=8 << 20)
>>> stamp = cache.set("page:42", "<h1>Hello</h1>", ttl=300)
>>> cache.get("page:42")
b'<h1>Hello</h1>'
>>> "page:43" in cache
False
>>> cache.close()
>>> folder.cleanup()

:mod:`kennel.dogpile` contains the backend for dogpile.cache, and :mod:`kennel.django` the one for Django.
:mod:`kennel.prometheus` exports statistics to Prometheus.
"""

from __future__ import annotations

from ._cache import Cache, Namespace
from ._errors import (
    BadFile,
    BadOption,
    BufferTooSmall,
    Busy,
    Error,
    Exists,
    Io,
    KeyTooLong,
    LeaseRefused,
    LocksLost,
    Mismatch,
    NetworkFilesystem,
    NoMemory,
    NoSpace,
    NotANumber,
    NotFound,
    NotTrusted,
    OpenElsewhere,
    Overflow,
    OwnClaim,
    ReadOnly,
    NamespacesFull,
    SeatsFull,
    TimedOut,
    TooLarge,
    UnknownStrategy,
)
from ._kennel import (
    DEFAULT_CAPACITY,
    MAX_KEY,
    Claim,
    Entries,
    Item,
    Keys,
    Lock,
    Lookup,
    Task,
    Unchanged,
    default_path,
    destroy,
    record_size,
)
from ._kennel import VERSION as __version__
from ._memoize import memoize
from ._near import Mutated, Near
from ._serializers import Json, Pickle, Serializer
from ._stats import Counters, Entry, Problem, Repair, Sample, Stats, StripeStats, Verification

__all__ = [
    "__version__",
    "BadFile",
    "BadOption",
    "BufferTooSmall",
    "Busy",
    "Cache",
    "Claim",
    "Counters",
    "DEFAULT_CAPACITY",
    "default_path",
    "destroy",
    "Entries",
    "Entry",
    "Error",
    "Exists",
    "Io",
    "Item",
    "Json",
    "Keys",
    "KeyTooLong",
    "Lock",
    "LeaseRefused",
    "LocksLost",
    "Lookup",
    "MAX_KEY",
    "memoize",
    "Mismatch",
    "Mutated",
    "Near",
    "NetworkFilesystem",
    "NoMemory",
    "NoSpace",
    "NotANumber",
    "NotFound",
    "NotTrusted",
    "OpenElsewhere",
    "Overflow",
    "OwnClaim",
    "Pickle",
    "Problem",
    "ReadOnly",
    "record_size",
    "Namespace",
    "NamespacesFull",
    "Repair",
    "Sample",
    "SeatsFull",
    "Serializer",
    "Stats",
    "StripeStats",
    "Task",
    "TimedOut",
    "TooLarge",
    "Unchanged",
    "UnknownStrategy",
    "Verification",
]

# Public classes are named as programs import them, also in tracebacks, and not after the file that defines them.
for _value in [globals()[name] for name in __all__]:
    if isinstance(_value, type):
        _value.__module__ = __name__
del _value
