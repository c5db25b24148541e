"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

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


def server_program() -> Optional[str]:
    """The server's program: KENNEL_FAR_SERVER, one that `cargo xtask far --bring` has brought, or one in the path."""
    brought = pathlib.Path(__file__).parents[3] / "target" / "far" / "redis-server"
    named = os.environ.get("KENNEL_FAR_SERVER") or (str(brought) if brought.is_file() else None)
    return named or shutil.which("redis-server") or shutil.which("valkey-server")


class Server:
    """A Redis or Valkey server on a Unix socket in a folder of its own."""

    def __init__(self, program: str, *more: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kennel-server-")
        self.socket = os.path.join(self._folder.name, "server.sock")
        self.url = f"unix://{self.socket}"
        options = ["--port", "0", "--save", "", "--unixsocket", self.socket, "--loglevel", "warning", *more]
        self._child = subprocess.Popen(
            [program, *options], cwd=self._folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING") == b"PONG")
        except OSError:
            return False

    def ask(self, *command: Any) -> Any:
        """Executes a command over a connection of its own, as any other client of the server does."""
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self.socket)
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            with connection.makefile("rb") as answer:
                return self._value(answer)

    def _value(self, answer: Any) -> Any:
        kind, rest = (line := answer.readline())[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._value(answer) for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()
        self._folder.cleanup()


@pytest.fixture(scope="session")
def server_of_session() -> Iterator[Server]:
    program = server_program() if os.name == "posix" else None
    if program is None:
        pytest.skip("there is no redis-server or valkey-server; cargo xtask far --bring brings one")
    server = Server(program)
    yield server
    server.stop()


@pytest.fixture
def server(server_of_session: Server) -> Server:
    """A server without any keys."""
    server_of_session.ask("FLUSHALL")
    return server_of_session


@pytest.fixture
def cluster(server: Server, until: Callable[[Callable[[], object]], None]) -> Iterator[str]:
    """The URL of a cluster of three masters."""
    program, ports = str(server_program()), []
    for _ in range(6):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    nodes = []
    try:
        for number in range(3):
            own = ["--port", ports[number], "--cluster-port", ports[number + 3], "--cluster-enabled", "yes"]
            nodes.append(Server(program, *map(str, own)))
            first, last = number * 5461, 16383 if number == 2 else number * 5461 + 5460
            nodes[-1].ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            nodes[-1].ask("CLUSTER", "MEET", "127.0.0.1", ports[0], ports[3])
        until(lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes))
        yield "redis-cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:3])
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until something is so."""

    def wait(is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.002)

    return wait


@pytest.fixture
def fars(server: Server, tmp_path: pathlib.Path, until: Any) -> Iterator[Callable[..., Any]]:
    """Opens far tiers, each with the near file of its name, whose near tier answers."""
    from kennel.far import FarCache

    opened: List[FarCache] = []

    def open_one(name: str = "near", **given: Any) -> FarCache:
        options: Dict[str, Any] = {"prefix": "app:", "capacity": "1M", **given}
        far = FarCache(server.url, path=tmp_path / name, **options)
        opened.append(far)
        until(lambda: far.proof_age() is not None)
        return far

    yield open_one
    for far in opened:
        far.close()


@pytest.fixture
def far(fars: Callable[..., Any]) -> Any:
    return fars()


#: Of the classes that run dogpile.cache's suites, those that run the tests that sleep, too: each of the 80 once.
SLEEPING = {"BackendTest", "ProxyTest", "SerializerTest", "MutexTest"}


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    def sleeps_again(item: pytest.Item) -> bool:
        case = getattr(item, "cls", None)
        return item.get_closest_marker("time_intensive") is not None and case.__name__ not in SLEEPING

    deselected = [item for item in items if sleeps_again(item)]
    items[:] = [item for item in items if not sleeps_again(item)]
    config.hook.pytest_deselected(items=deselected)
