"""What the tests share."""

from __future__ import annotations

import pathlib
from typing import Callable, Iterator, List

import kennel
import pytest

CAPACITY = 8 << 20


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "test.kennel"


@pytest.fixture
def cache(path: pathlib.Path) -> Iterator[kennel.Cache]:
    with kennel.Cache(path, capacity=CAPACITY) as cache:
        yield cache


@pytest.fixture
def opened(tmp_path: pathlib.Path) -> Iterator[Callable[..., kennel.Cache]]:
    """Opens caches that are closed when the test ends."""
    caches: List[kennel.Cache] = []

    def open_one(name: str = "test.kennel", **options: object) -> kennel.Cache:
        caches.append(kennel.Cache(tmp_path / name, **options))  # type: ignore[arg-type]
        return caches[-1]

    yield open_one
    for cache in caches:
        cache.close()
