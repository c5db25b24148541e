"""A collector for the package prometheus_client.

.. code-block:: python

    from prometheus_client import REGISTRY, start_http_server
    import kennel.prometheus

    REGISTRY.register(kennel.prometheus.Collector({"pages": "/dev/shm/pages.cache"}))
    start_http_server(9897, addr="127.0.0.1")

The metrics are those of the command ``kennel metrics``, with the same names and labels; ``docs/operations.md`` lists
them. They count what all processes did with the file. If several processes of a host exported them, sums over the
processes would count every event several times. So let one process export them, or the command ``kennel metrics``.

This module does not import prometheus_client. Its objects have the attributes that prometheus_client reads.
"""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Union

from ._cache import Cache
from ._errors import Error

__all__ = ["Collector", "Family", "Point"]


class Point(NamedTuple):
    """One number with its labels, like prometheus_client's own ``Sample``."""

    name: str
    labels: Dict[str, str]
    value: float
    timestamp: Optional[float] = None
    exemplar: Optional[object] = None
    native_histogram: Optional[object] = None


class Family:
    """A metric with all its numbers, like prometheus_client's own ``Metric``."""

    unit = ""

    def __init__(self, name: str, documentation: str, kind: str) -> None:
        self.name = name
        self.documentation = documentation
        self.type = kind
        self.samples: List[Point] = []

    def __repr__(self) -> str:
        return f"Family({self.name!r}, {self.documentation!r}, {self.type!r}, {self.samples!r})"


class Collector:
    """Collects the metrics of cache files. Pass an instance to the method ``register`` of a registry of
    prometheus_client.

    :param caches: a mapping of names to open caches or paths. The name becomes the label ``cache`` of its metrics. A
        path is opened read-only for each collection, so the file may be removed and created again. For a cache that
        cannot be read, ``kennel_up`` is 0.
    :param trust: open a file at a path even if it belongs to another user, or if other users can write to it; default
        False.
    """

    def __init__(
        self, caches: Mapping[str, Union[Cache, str, "os.PathLike[str]"]], *, trust: bool = False
    ) -> None:
        self._caches = dict(caches)
        self._trust = trust

    def describe(self) -> List[Family]:
        """Returns an empty list, so that a registry accepts the collector without a first collection."""
        return []

    def collect(self) -> Iterator[Family]:
        """Collects the metrics of all caches."""
        up = Family("kennel_up", "Whether the cache file could be read: 1, or 0.", "gauge")
        families = {"kennel_up": up}
        for name, cache in self._caches.items():
            points = self._look(name, cache, families)
            up.samples.append(Point("kennel_up", {"cache": name}, float(points)))
        return iter(families.values())

    def _look(
        self, name: str, cache: Union[Cache, str, "os.PathLike[str]"], families: Dict[str, Family]
    ) -> bool:
        try:
            if isinstance(cache, Cache):
                samples = cache.samples()
            else:
                with Cache(cache, create=False, read_only=True, trust=self._trust) as opened:
                    samples = opened.samples()
        except (Error, OSError, ValueError):
            # There is no such file, the file is no cache, or the cache is closed.
            return False
        for sample in samples:
            family = families.get(sample.family)
            if family is None:
                family = families[sample.family] = Family(sample.family, sample.help, sample.kind)
            family.samples.append(Point(sample.name, {"cache": name, **sample.labels}, sample.value))
        return True
