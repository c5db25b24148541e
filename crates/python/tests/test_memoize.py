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
from kennel._keys import encoded


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
from kennel._keys import encoded
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
    with pytest.raises(TypeError, match="argument 'a' of .*function: .* an object of type object; give key="):
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
    with pytest.raises(TypeError, match="unexpected keyword argument 'tttl'"):
        cache.memoize(tttl=1)(len)
    with pytest.raises(TypeError, match="unexpected keyword argument 'tttl'"):
        kennel.memoize(tttl=1)


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


def test_namespaces_memoize_too(cache):
    calls, namespace = [], cache.namespace("pages", ttl=60)

    @namespace.memoize
    def function(number):
        calls.append(number)
        return number

    function(1), function(1)
    namespace.invalidate()
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
    # Python 3.9 takes nothing but functions for such.
    assert asyncio.iscoroutinefunction(function) if sys.version_info < (3, 10) else inspect.iscoroutinefunction(function)


class Gone:
    """A class that another version of the program does not have."""


def test_a_value_that_cannot_be_decoded_is_created_anew(cache, caplog, monkeypatch):
    calls = []

    @cache.memoize
    def function(number):
        calls.append(number)
        return [number, Gone()]

    function(1), function(2), function(2)
    assert calls == [1, 2]
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    cache.set(function.key(2), b"no pickle")
    replaced = []

    @cache.memoize(name="function")
    def renamed(number):
        replaced.append(number)
        return number

    for number in (1, 2):
        cache.set(renamed.key(number), cache.get(function.key(number)))
    assert [renamed(1), renamed(2), renamed(1), renamed(2)] == [1, 2, 1, 2] and replaced == [1, 2]
    assert renamed.undecodable == 2 and function.undecodable == 0
    assert [record.levelname for record in caplog.records].count("WARNING") <= 2
    assert "cannot be decoded" in caplog.text and "renamed" in caplog.text


def test_many_who_find_a_value_that_cannot_be_decoded_create_it_once(cache):
    calls = []

    @cache.memoize
    def function():
        calls.append(1)
        time.sleep(0.3)
        return len(calls)

    cache.set(function.key(), b"no pickle")
    found, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: found.append(function())))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8 and len(calls) == 1


def test_a_coroutine_creates_anew_what_cannot_be_decoded(cache):
    @cache.memoize
    async def function():
        return 1

    cache.set(function.key(), b"no pickle")
    assert asyncio.run(function()) == 1 and function.undecodable == 1
    assert asyncio.run(function()) == 1 and function.undecodable == 1


class Unsteady:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def test_what_can_be_encoded_but_not_decoded_is_returned_all_the_same(cache):
    function = cache.memoize(name="unsteady")(lambda: Unsteady())
    assert isinstance(function(), Unsteady) and isinstance(function(), Unsteady)
    assert isinstance(function.refresh(), Unsteady)


@pytest.mark.parametrize("given", ["text", 7, ["list"]])
def test_no_other_type_is_turned_into_bytes(cache, given):
    function = cache.memoize(serializer="bytes")(lambda: given)
    for call in (function, function.refresh):
        with pytest.raises(TypeError, match=f"serializer bytes: expected .* or None, found {type(given).__name__}"):
            call()


@pytest.mark.parametrize("ttl", [None, 60])
def test_none_is_no_bytes_and_is_remembered_all_the_same(cache, ttl):
    calls = []

    def function(a):
        calls.append(a)
        return None if a == 1 else b""

    for space in (cache, cache.namespace("pages", absence_ttl=60)):
        calls.clear()
        made = space.memoize(serializer="bytes", ttl=ttl)(function)
        assert [made(1), made(1), made(2), made(2)] == [None, None, b"", b""] and calls == [1, 2]
        assert made.refresh(2) == b"" and made.refresh(1) is None and made(2) == b""


# Without a cache.


@pytest.fixture
def reader(opened):
    """A cache that cannot store anything."""
    opened(capacity=8 << 20)
    return opened(read_only=True)


def test_a_function_runs_when_its_cache_fails(reader, caplog):
    calls = []

    def function(number):
        calls.append(number)
        return number

    async def coroutine(number):
        return function(number)

    made, later = reader.memoize(function), reader.memoize(coroutine)
    assert [made(1), made(1), asyncio.run(later(1))] == [1, 1, 1] and calls == [1, 1, 1]
    assert made.refresh(1) == 1
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) <= 1
    assert reader.stats().counters.uncached == 3
    for strict in (reader.memoize(require=True)(function), reader.memoize(require=True)(coroutine)):
        for call in (strict, strict.refresh):
            with pytest.raises(kennel.ReadOnly):
                made = call(1)
                asyncio.run(made)


def test_a_function_runs_when_its_time_for_waiting_is_over(cache):
    function = cache.memoize(wait=0.6)(lambda: 1)
    claim = cache.claim(function.key(), task=kennel.Task()).claim
    began = time.monotonic()
    # Not after the first piece of its wait.
    assert function() == 1 and time.monotonic() - began >= 0.6
    strict = cache.memoize(wait=0.1, require=True, key=function.key)(lambda: 1)
    with pytest.raises(kennel.TimedOut):
        strict()
    assert claim.is_protected and cache.get(function.key()) is None
    assert cache.stats().counters.uncached == 1


def test_what_a_creator_of_its_own_raises_is_no_failure_of_the_cache(cache):
    calls = []

    @cache.memoize
    def function():
        calls.append(1)
        raise kennel.Busy("of another cache")

    with pytest.raises(kennel.Busy, match="of another cache"):
        function()
    assert len(calls) == 1


def test_a_function_runs_when_its_cache_cannot_be_opened(tmp_path, caplog):
    path = tmp_path / "missing" / "pages.kennel"
    calls = []

    @kennel.memoize(cache=path, ttl=60)
    def function(number):
        calls.append(number)
        return number

    @kennel.memoize(cache=path)
    async def coroutine():
        return 7

    assert [function(1), function(1), function.refresh(1), function.invalidate(1)] == [1, 1, 1, False]
    assert calls == [1, 1, 1] and function.uncached == 2 and asyncio.run(coroutine()) == 7
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "runs without its cache" in text and str(path.parent) in text]) <= 2
    with pytest.raises(kennel.Io):
        kennel.memoize(cache=path, require=True)(lambda: 1)()
    # Once it can be opened, it is, after a pause.
    path.parent.mkdir()
    function._source._not_before = 0
    assert [function(1), function(1)] == [1, 1] and len(calls) == 4 and path.exists()


def test_a_foreign_file_is_left_alone_and_the_function_runs(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("my thesis")
    path.chmod(0o600)
    function = kennel.memoize(cache=path)(lambda: 1)
    assert function() == 1 and path.read_text() == "my thesis"


def test_where_a_function_finds_its_cache(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_RUNTIME_DIR", str(tmp_path))
    namespace = cache.namespace("pages")
    places = [cache, namespace, lambda: cache, str(tmp_path / "a.kennel"), tmp_path / "b.kennel", None]
    for place in places:
        calls = []
        function = kennel.memoize(cache=place, name="f")(lambda: calls.append(1))
        function(), function()
        assert len(calls) == (0 if callable(place) else 1)
    assert cache.get("f()") is not None and namespace.get("f()") is not None
    assert (tmp_path / "a.kennel").exists() and (tmp_path / "b.kennel").exists()
    with pytest.raises(TypeError, match="memoize: cache: expected a path, a cache, a namespace or a function, found int"):
        kennel.memoize(cache=7)(len)


def test_a_value_that_would_be_stale_only_when_it_is_gone_is_an_error(cache):
    calls = [
        lambda how: cache.set("key", "value", **how),
        lambda how: cache.add("key", "value", **how),
        lambda how: cache.set_multi({"key": "value"}, **how),
        lambda how: cache.claim("key", **how),
        lambda how: cache.namespace("pages", **how),
        lambda how: cache.get_or_create("key", bytes, **how),
        lambda how: cache.get_or_create_multi(["key"], lambda keys: [b""], **how),
        lambda how: asyncio.run(cache.aget_or_create("key", bytes, **how)),
        lambda how: cache.memoize(**how),
        lambda how: kennel.memoize(**how),
    ]
    for call in calls:
        with pytest.raises(kennel.BadOption, match="option stale: expected at most ttl, 10.*, found 11"):
            call({"ttl": 10, "stale": datetime.timedelta(seconds=11)})
        if call is not calls[7]:
            call({"ttl": 10, "stale": 10})


@pytest.mark.parametrize("option", ["ttl", "stale", "wait", "claim_max_age"])
def test_a_time_of_another_kind_is_refused_at_once_and_named(cache, option):
    for memoize in (cache.memoize, kennel.memoize):
        with pytest.raises(TypeError, match=f"option {option}: expected seconds or a timedelta, found str"):
            memoize(**{option: "60"})


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an exception has no notes before")
def test_an_argument_that_is_refused_is_named_by_a_note(cache):
    calls = {
        "ttl": lambda: cache.set("key", "value", ttl="60"),
        "flags": lambda: cache.set("key", "value", flags=1 << 40),
        "delta": lambda: cache.incr("key", -1),
        "stale": lambda: cache.claim("key", stale=float("nan")),
        "wait": lambda: cache.lock("key", wait="1"),
        "expires_at": lambda: cache.touch("key", expires_at="soon"),
        "early_refresh": lambda: cache.get_or_create("key", bytes, early_refresh="soon"),
    }
    for name, call in calls.items():
        with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
            call()
        assert f"while processing '{name}'" in caught.value.__notes__
