"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import threading
import time
from typing import Any, Callable, ContextManager, Iterator, List

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


@pytest.fixture
def in_threads() -> Callable[[int, Callable[[int], Any]], List[Any]]:
    """Calls a function in several threads, each with its number, and returns the results in the order of their end."""

    def run(count: int, work: Callable[[int], Any]) -> List[Any]:
        results: List[Any] = []
        threads = [threading.Thread(target=lambda i=i: results.append(work(i))) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run


class LoopPauses:
    """The longest pause of an event loop, in seconds, while :meth:`watch` runs there."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - began)


@pytest.fixture
def loop_pauses() -> LoopPauses:
    return LoopPauses()


@pytest.fixture
def locked_stripe() -> Callable[[kennel.Cache], ContextManager[None]]:
    """Holds the lock of a cache's only stripe, as a stopped process does."""
    fcntl = pytest.importorskip("fcntl", reason="locks a stripe by hand")

    @contextlib.contextmanager
    def locked(cache: kennel.Cache) -> Iterator[None]:
        (stripe,) = cache.path.parent.glob("*.locks/*/*.lock")
        with stripe.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    return locked


#: Of the classes that run dogpile.cache's suites, those that run the tests that sleep, too: each of the 80 once.
SLEEPING = {"BackendTest", "ProxyTest", "SerializerTest", "MutexTest"}


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    def sleeps_again(item: pytest.Item) -> bool:
        case = getattr(item, "cls", None)
        return item.get_closest_marker("time_intensive") is not None and case.__name__ not in SLEEPING

    deselected = [item for item in items if sleeps_again(item)]
    items[:] = [item for item in items if not sleeps_again(item)]
    config.hook.pytest_deselected(items=deselected)
