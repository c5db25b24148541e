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
from ._created import Created
from ._errors import (
    BadFile,
    BadOption,
    BufferTooSmall,
    Busy,
    Error,
    Exists,
    FailedElsewhere,
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
    NotResized,
    NotTrusted,
    OpenElsewhere,
    Overflow,
    OwnClaim,
    ReadOnly,
    NamespacesFull,
    Resting,
    SeatsFull,
    TimedOut,
    TooLarge,
    TooManyTags,
    UnknownStrategy,
)
from ._got import Got
from ._kennel import (
    DEFAULT_CAPACITY,
    MAX_KEY,
    MAX_TAGS,
    Claim,
    Entries,
    Item,
    Keys,
    Lock,
    Lookup,
    Moment,
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
from ._stats import (
    Counters,
    Entry,
    Histogram,
    Loaded,
    NamespaceReads,
    Problem,
    Repair,
    Resized,
    Sample,
    Stats,
    StripeStats,
    Times,
    Verification,
)

__all__ = [
    "__version__",
    "BadFile",
    "BadOption",
    "BufferTooSmall",
    "Busy",
    "Cache",
    "Claim",
    "Counters",
    "Created",
    "DEFAULT_CAPACITY",
    "default_path",
    "destroy",
    "Entries",
    "Entry",
    "Error",
    "Exists",
    "FailedElsewhere",
    "Got",
    "Histogram",
    "Io",
    "Item",
    "Json",
    "Keys",
    "KeyTooLong",
    "Loaded",
    "Lock",
    "LeaseRefused",
    "LocksLost",
    "Lookup",
    "Moment",
    "MAX_KEY",
    "MAX_TAGS",
    "memoize",
    "Mismatch",
    "Mutated",
    "Near",
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
    "Pickle",
    "Problem",
    "ReadOnly",
    "record_size",
    "Namespace",
    "NamespaceReads",
    "NamespacesFull",
    "Repair",
    "Resized",
    "Sample",
    "Resting",
    "SeatsFull",
    "Serializer",
    "Stats",
    "StripeStats",
    "Task",
    "TimedOut",
    "Times",
    "TooLarge",
    "TooManyTags",
    "Unchanged",
    "UnknownStrategy",
    "Verification",
]

# Tracebacks and pickles name a public class by the module from which programs import it, not by the one that defines
# it.
for _value in [globals()[name] for name in __all__]:
    if isinstance(_value, type):
        _value.__module__ = __name__
del _value
