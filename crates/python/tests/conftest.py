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


#: Of the classes that run dogpile.cache's suites, those that run the tests that sleep, too: each of the 80 once.
SLEEPING = {"BackendTest", "ProxyTest", "SerializerTest", "MutexTest"}


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    def sleeps_again(item: pytest.Item) -> bool:
        case = getattr(item, "cls", None)
        return item.get_closest_marker("time_intensive") is not None and case.__name__ not in SLEEPING

    deselected = [item for item in items if sleeps_again(item)]
    items[:] = [item for item in items if not sleeps_again(item)]
    config.hook.pytest_deselected(items=deselected)
