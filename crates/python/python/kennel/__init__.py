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

:mod:`kennel.dogpile` has the backend for dogpile.cache, :mod:`kennel.django` the one for Django.
"""

from __future__ import annotations

from ._cache import Cache
from ._errors import *  # noqa: F403
from ._errors import __all__ as _error_names
from ._kennel import DEFAULT_CAPACITY, MAX_KEY, Item, Keys, default_path, destroy, record_size
from ._kennel import VERSION as __version__
from ._stats import Counters, Problem, Repair, Stats, StripeStats, Verification

__all__ = [
    "Cache",
    "Counters",
    "DEFAULT_CAPACITY",
    "Item",
    "Keys",
    "MAX_KEY",
    "Problem",
    "Repair",
    "Stats",
    "StripeStats",
    "Verification",
    "__version__",
    "default_path",
    "destroy",
    "record_size",
]
__all__ += _error_names
