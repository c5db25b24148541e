"""``memoize`` over a far tier, with a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import kennel
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the far tier is for Unix systems")

if os.name == "posix":
    from kennel.far import FarCache, FarError, ServerUnreachable


def test_values_are_created_once_among_hosts_and_threads(fars, server, in_threads):
    hosts, runs = [fars("near-a"), fars("near-b")], []

    def report(number):
        runs.append(number)
        time.sleep(0.1)
        return {"number": number}

    # One function on two hosts.
    of_hosts = [far.memoize(ttl=60)(report) for far in hosts]
    found = in_threads(8, lambda i: of_hosts[i % 2](7))
    assert found == [{"number": 7}] * 8 and runs == [7]
    key = of_hosts[0].key(7)
    assert key == of_hosts[1].key(number=7) and key.startswith(b"app:") and b"report" in key
    assert 0 < server.ask("PTTL", key) <= 60_000
    assert of_hosts[0](8) == {"number": 8} and runs == [7, 8]


def test_a_value_is_near_until_it_is_invalidated_by_any_host(fars, until):
    hosts, versions = [fars("near-a"), fars("near-b")], [1]
    of_hosts = [far.memoize(name="version")(lambda: versions[0]) for far in hosts]
    assert [call() for call in of_hosts] == [1, 1]
    until(lambda: of_hosts[1]() == 1 and hosts[1].get_near(of_hosts[1].key()) is not None)
    hits = hosts[1].stats().hits
    assert of_hosts[1]() == 1 and hosts[1].stats().hits > hits, "no server is asked"
    versions[0] = 2
    assert of_hosts[0].invalidate() is True and of_hosts[0]() == 2, "a host sees its own writes at once"
    until(lambda: of_hosts[1]() == 2)
    versions[0] = 3
    assert of_hosts[0].refresh() == 3 and of_hosts[0]() == 3
    until(lambda: of_hosts[1]() == 3)
    assert of_hosts[0].invalidate() is True and of_hosts[0].invalidate() is False


def test_what_only_a_file_can_keep_is_refused(far):
    async def later():
        return kennel.Created(7, ttl=5)

    for call in (far.memoize(lambda: kennel.Created(7, tags=["t"])), lambda: asyncio.run(far.memoize(later)())):
        with pytest.raises(TypeError, match="return the value alone"):
            call()
    with pytest.raises(TypeError):
        far.get_or_create("app:key", lambda: kennel.Created("value", tags=["t"]))
    assert far.get("app:key") is None


def test_what_is_stored_and_what_is_not(far, server):
    runs = []

    @far.memoize(serializer="json", key=lambda number: f"app:square:{number}")
    def square(number):
        runs.append(number)
        return number * number

    assert (square(3), square(3), runs) == (9, 9, [3])
    assert server.ask("GET", "app:square:3") == b"9" and server.ask("PTTL", "app:square:3") == -1

    @far.memoize(should_cache=lambda value: value > 0, name="positive")
    def same(number):
        runs.append(number)
        return number

    assert [same(0), same(0), same(1), same(1)] == [0, 0, 1, 1] and runs == [3, 0, 0, 1]

    @far.memoize(serializer="bytes", name="raw")
    def raw(found):
        runs.append(found)
        return b"x" if found else None

    assert [raw(True), raw(True), raw(False), raw(False)] == [b"x", b"x", None, None]
    assert runs[4:] == [True, False, False], "that there is no value is not remembered"

    @far.memoize
    def nothing():
        runs.append("nothing")

    assert nothing() is None and nothing() is None and runs[7:] == ["nothing"]
    for wrong in ({"ttl": "soon"}, {"key": 5}, {"key": str, "name": "both"}, {"colour": "red"}):
        with pytest.raises(TypeError):
            far.memoize(**wrong)(lambda: 1)
    with pytest.raises(TypeError, match="generator"):
        far.memoize(lambda: (yield 1))


def test_an_exception_reaches_its_caller_and_the_next_call_runs_again(far):
    runs = []

    @far.memoize(name="failing")
    def failing():
        runs.append(1)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing()
    assert len(runs) == 2

    @far.memoize(name="of the server")
    def asks(command):
        runs.append(command)
        return far.call([command])

    with pytest.raises(FarError):
        asks("NOSUCHCOMMAND")
    assert len(runs) == 3 and asks.uncached == 0, "an error of the function itself is not one of the cache"

    @far.memoize(name="own")
    def own():
        return own()

    with pytest.raises(kennel.OwnClaim):
        own()


def test_a_value_that_cannot_be_decoded_is_created_again(far, server):
    far.set("app:odd", b"no pickle")
    memoized = far.memoize(key=lambda: "app:odd")(lambda: [1])
    assert memoized() == [1] and memoized.undecodable == 1
    assert memoized() == [1] and memoized.undecodable == 1
    assert server.ask("GET", "app:odd") != b"no pickle"


def test_without_a_server_the_function_runs(tmp_path):
    with FarCache(f"unix://{tmp_path}/none", prefix="app:", path=tmp_path / "near", capacity="1M", timeout=1) as far:
        runs = []
        memoized = far.memoize(name="lost")(lambda: runs.append(1) or len(runs))
        assert [memoized(), memoized()] == [1, 2] and memoized.uncached == 2
        assert memoized.refresh() == 3
        with pytest.raises(ServerUnreachable):
            memoized.invalidate()
        required = far.memoize(name="lost", require=True)(lambda: runs.append(1))
        for call in (required, required.refresh):
            with pytest.raises(ServerUnreachable):
                call()


class Shop:
    """Methods, static methods and class methods."""

    runs: list = []

    def __init__(self, number):
        self.number = number


def test_methods(far):
    class Store(Shop):
        @far.memoize(key=lambda store, item: f"app:price:{store.number}:{item}")
        def price(self, item):
            """The price of an item."""
            self.runs.append(item)
            return self.number * item

        @staticmethod
        @far.memoize
        def rate(currency):
            return len(currency)

        @far.memoize(key=lambda kind, item: f"app:{kind.__name__}:{item}")
        @classmethod
        def of(cls, item):
            return cls.__name__, item

    assert Store(2).price(3) == Store(2).price(3) == 6 and Store(3).price(3) == 9
    assert Shop.runs == [3, 3] and Store.price.__doc__ == "The price of an item."
    assert Store(2).price.key(3) == "app:price:2:3" and Store(2).price.invalidate(3) is True
    assert asyncio.run(Store(3).price.ainvalidate(3)) is True
    assert Store.rate("EUR") == 3 and Store.of(1) == Store(1).of(1) == ("Store", 1)


def test_coroutines(fars, server, loop_pauses):
    hosts, runs = [fars("near-a"), fars("near-b")], []

    def of(far):
        @far.memoize(ttl=60, name="coroutine")
        async def report(number):
            runs.append(number)
            await asyncio.sleep(0.1)
            return [number]

        return report

    one, other = of(hosts[0]), of(hosts[1])

    async def work():
        watch = asyncio.ensure_future(loop_pauses.watch())
        assert await asyncio.gather(*[one(7), other(7)] * 20) == [[7]] * 40 and runs == [7]
        assert asyncio.iscoroutinefunction(one) or sys.version_info >= (3, 12)
        # While the server keeps a write waiting, the event loop goes on.
        server.ask("CLIENT", "PAUSE", "1500", "WRITE")
        assert await one.refresh(7) == [7] and runs == [7, 7]
        assert await one.ainvalidate(7) is True and await one.ainvalidate(7) is False
        assert await other(8) == [8]
        hosts[0].set(one.key(9), b"no pickle")
        assert await one(9) == [9] and one.undecodable == 1
        watch.cancel()

    asyncio.run(work())
    assert loop_pauses.longest < 1

    async def lost():
        with FarCache("unix:///none", prefix="app:", path=hosts[0].path + "-lost", capacity="1M", timeout=1) as far:
            report = of(far)
            assert await report(1) == [1] and report.uncached == 1

    asyncio.run(lost())


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
from kennel.far import FarCache
far = FarCache(sys.argv[1], prefix="app:", path=sys.argv[2], capacity="1M")
runs, ticks = [], []

@far.memoize(ttl=60)
def report(number):
    runs.append(number)
    gevent.sleep(0.3)
    return [number]

def tick():
    while not all(job.ready() for job in jobs):
        ticks.append(1)
        gevent.sleep(0.01)

jobs = [gevent.spawn(report, 7) for _ in range(40)]
gevent.joinall([*jobs, gevent.spawn(tick)], raise_error=True)
assert [job.value for job in jobs] == [[7]] * 40
print(runs, len(ticks) > 5)
"""


def test_greenlets_run_the_function_once_and_others_go_on(server, tmp_path):
    pytest.importorskip("gevent", reason="installed for Python 3.11 and later")
    program = [sys.executable, "-c", GREENLETS, server.url, str(tmp_path / "near")]
    found = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and found.stdout == "[7] True\n", found.stderr


def test_who_waits_too_long_runs_the_function_and_stores_nothing(far, server):
    runs = []

    @far.memoize(wait=0.2, key=lambda: "app:slow")
    def slow():
        runs.append(threading.current_thread().name)
        return len(runs)

    server.ask("SET", "kennel-far:lease:app:slow", "another", "PX", "60000")
    assert slow() == 1 and server.ask("EXISTS", "app:slow") == 0
