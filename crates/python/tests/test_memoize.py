"""``memoize``: keys, serializers, functions and coroutines."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import inspect
import pathlib
import subprocess
import sys
import threading
import time
import uuid

import kennel
import pytest
from kennel._memoize import encoded


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Text(str):
    pass


@pytest.fixture
def counted(cache):
    """A memoized function, and the arguments with which it was run."""

    def make(**options):
        calls = []

        @cache.memoize(**options)
        def function(a, b=2, *rest, c=3, **more):
            """Adds."""
            calls.append((a, b, rest, c, more))
            return [a, b, *rest, c, more]

        return function, calls

    return make


def test_it_runs_once_for_the_same_arguments(counted):
    function, calls = counted(ttl=60)
    assert function(1) == function(a=1) == function(1, 2) == function(1, c=3, b=2) == [1, 2, 3, {}]
    assert len(calls) == 1
    assert function(1, 3) == [1, 3, 3, {}]
    assert function(1, 2, 9, x=1) == [1, 2, 9, 3, {"x": 1}]
    assert len(calls) == 3


def test_it_looks_like_the_function(counted):
    function, calls = counted()
    assert function.__name__ == "function" and function.__doc__ == "Adds." and "function" in function.__qualname__
    assert function.__wrapped__(1) == [1, 2, 3, {}] and len(calls) == 1


def test_values_can_be_forgotten_and_renewed(cache, counted):
    function, calls = counted()
    function(1)
    assert function.invalidate(1) is True and function.invalidate(1) is False
    function(1)
    assert len(calls) == 2
    assert function.refresh(1) == [1, 2, 3, {}]
    assert len(calls) == 3
    function(1)
    assert len(calls) == 3
    assert function.key(1) in cache


def test_without_options_it_needs_no_call(cache):
    @cache.memoize
    def answer():
        return 42

    assert answer() == answer() == 42


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        ("1", b"1"),
        (0, None),
        (Level.HIGH, 1),
        (Colour.RED, "RED"),
        (Text("a"), "a"),
        ((1,), [1]),
        ({1}, frozenset()),
        ({"a": 1}, {"a": 2}),
        (("a,b",), ("a", "b")),
        (("a", ("b",)), ("a", "b")),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)),
        (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
        (pathlib.PurePosixPath("a"), "a"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ],
)
def test_arguments_that_differ_have_keys_that_differ(counted, one, other):
    function, _ = counted()
    assert encoded(one) != encoded(other)
    assert function.key(one) != function.key(other)
    assert function.key(one) == function.key(one)


def test_keys_are_the_same_in_every_process(cache):
    program = """
from kennel._memoize import encoded
print(encoded(({"b", "a", "c", "d"}, {"y": 1, "x": 2}, 1.5, None, b"z")))
"""
    found = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout for _ in range(3)}
    assert found == {encoded(({"d", "c", "b", "a"}, {"x": 2, "y": 1}, 1.5, None, b"z")) + "\n"}


def test_long_arguments_are_hashed(counted):
    function, calls = counted()
    one, other = "x" * 10_000 + "1", "x" * 10_000 + "2"
    assert len(function.key(one)) < 300 and function.key(one) != function.key(other)
    function(one), function(one), function(other)
    assert len(calls) == 2


def test_an_argument_that_has_no_key_is_refused(counted):
    function, calls = counted()
    with pytest.raises(TypeError, match="argument of type object.*give key="):
        function(object())
    assert not calls


def test_a_key_of_ones_own(cache):
    class Page:
        def __init__(self, number):
            self.number, self.rendered = number, 0

        @cache.memoize(key=lambda page: f"page:{page.number}")
        def render(self):
            self.rendered += 1
            return f"<h1>{self.number}</h1>"

    page = Page(7)
    assert page.render() == Page(7).render() == page.render() == "<h1>7</h1>"
    assert page.rendered == 1 and "page:7" in cache


@pytest.mark.parametrize(
    ("serializer", "value", "back", "stored"),
    [
        ("pickle", {1: (2,)}, {1: (2,)}, None),
        ("json", {"a": (2,)}, {"a": [2]}, b'{"a":[2]}'),
        ("bytes", b"raw", b"raw", b"raw"),
        ("bytes", bytearray(b"raw"), b"raw", b"raw"),
        (kennel.Json(), [1], [1], b"[1]"),
    ],
)
def test_serializers(cache, serializer, value, back, stored):
    @cache.memoize(serializer=serializer)
    def function():
        return value

    # The first caller gets what all others get.
    assert function() == back and type(function()) is type(back)
    assert stored is None or cache.get(function.key()) == stored


def test_a_serializer_that_there_is_not(cache):
    with pytest.raises(ValueError, match="expected pickle, json, bytes or an object"):
        cache.memoize(serializer="xml")(len)
    with pytest.raises(TypeError, match="dumps and loads"):
        cache.memoize(serializer=object())(len)


def test_an_option_that_there_is_not_is_refused_at_once(cache):
    with pytest.raises(TypeError, match="tttl is no option"):
        cache.memoize(tttl=1)(len)

    async def coroutine():
        pass

    with pytest.raises(TypeError, match="tttl is no option of a coroutine"):
        cache.memoize(tttl=1)(coroutine)


def test_a_coroutines_stale_value_is_created_anew_in_the_background(cache):
    calls = []

    @cache.memoize(stale=0, background=True)
    async def coroutine():
        calls.append(1)
        return len(calls)

    async def main():
        assert await coroutine() == 1
        assert await coroutine() == 1
        while cache.is_claimed(coroutine.key()):
            await asyncio.sleep(0.01)
        assert len(calls) == 2
        # One more is under way when the loop ends; what becomes of it harms nobody.
        assert await coroutine() == 2

    asyncio.run(main())
    assert not cache.is_claimed(coroutine.key())


def test_what_was_raised_is_not_remembered(cache):
    calls = []

    @cache.memoize
    def function():
        calls.append(1)
        raise RuntimeError("no database")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            function()
    assert len(calls) == 2


def test_none_is_a_value(cache):
    calls = []

    @cache.memoize
    def function():
        calls.append(1)

    assert function() is None and function() is None and len(calls) == 1


def test_should_cache_sees_the_object(cache):
    calls = []

    @cache.memoize(should_cache=lambda rows: len(rows) > 0)
    def function(rows):
        calls.append(1)
        return rows

    for rows in ([], [], [1], [1]):
        assert function(rows) == rows
    assert len(calls) == 3


def test_a_stale_value_is_served_while_one_creates(cache):
    calls = []

    @cache.memoize(ttl=60, stale=0.1)
    def function():
        calls.append(1)
        time.sleep(0.3 if len(calls) > 1 else 0)
        return len(calls)

    assert function() == 1
    time.sleep(0.2)
    creator = threading.Thread(target=function)
    creator.start()
    time.sleep(0.1)
    assert function() == 1
    creator.join()
    assert len(calls) == 2 and function() == 2


def test_regions_memoize_too(cache):
    calls, region = [], cache.region("pages", ttl=60)

    @region.memoize
    def function(number):
        calls.append(number)
        return number

    function(1), function(1)
    region.invalidate()
    function(1)
    assert len(calls) == 2


def test_coroutines(cache):
    calls = []

    @cache.memoize(ttl=60)
    async def function(number):
        calls.append(number)
        await asyncio.sleep(0.05)
        return [number]

    async def main():
        assert await asyncio.gather(*[function(1) for _ in range(10)]) == [[1]] * 10
        assert await function(2) == [2]
        assert function.invalidate(2) is True
        assert await function.refresh(2) == [2]
        assert await function(2) == [2]

    asyncio.run(main())
    assert calls == [1, 2, 2]
    assert inspect.iscoroutinefunction(function)
