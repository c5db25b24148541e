"""The Django backend: what Django's own tests do not ask, and those tests themselves."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import threading
import time

import django
import kennel
import pytest
from django.conf import settings

if not settings.configured:
    settings.configure()

from django.core.cache.backends.base import InvalidCacheKey  # noqa: E402
from kennel.django import KennelCache  # noqa: E402

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def made(tmp_path):
    def make(name="django.kennel", **params):
        options = {"capacity": 8 << 20, **params.pop("OPTIONS", {})}
        return KennelCache(str(tmp_path / name), {"OPTIONS": options, **params})

    return make


def sources():
    """Django's sources, with its tests, of the version that is installed: fetched once, by pip, beside the packages."""
    folder = pathlib.Path(sys.prefix) / "django-sources"
    found = folder / f"django-{django.__version__}"
    archives = f"*jango-{django.__version__}.tar.gz"
    if not any(folder.glob(archives)):
        fetch = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--disable-pip-version-check"]
        wanted = f"Django=={django.__version__}"
        subprocess.run([sys.executable, "-m", "pip", *fetch, "--dest", str(folder), wanted], check=True, timeout=300)
    if not found.is_dir():
        with tarfile.open(next(folder.glob(archives))) as archive:
            archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return found


def test_djangos_own_cache_tests(tmp_path):
    suite = [sys.executable, str(HERE / "django_suite.py"), str(sources()), str(tmp_path)]
    run = subprocess.run(suite, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    ran, skipped = map(int, re.search(r"^ran (\d+), skipped (\d+)$", run.stdout, re.MULTILINE).groups())
    assert ran >= 100 and skipped == 3


def test_clear_empties_its_own_namespace_only(made):
    one, other = made(), made(OPTIONS={"namespace": "other"})
    with kennel.Cache(one._open().namespace.cache.path, on_mismatch="fail") as outside:
        outside.set("outside", "kept")
        one.set("key", 1)
        other.set("key", 2)
        one.clear()
        assert one.get("key") is None
        assert other.get("key") == 2
        assert outside.get("outside") == b"kept"
        assert set(outside.namespaces()) == {"django", "other"}


COUNT = """
import sys
from django.conf import settings
settings.configure()
from kennel.django import KennelCache
cache = KennelCache(sys.argv[1], {})
for _ in range(500):
    cache.incr("count")
"""


def test_incr_loses_nothing_between_processes(made):
    cache = made()
    cache.set("count", 0, 600)
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(cache._open().namespace.cache.path)]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert cache.get("count") == 1500


def test_incr_keeps_the_timeout(made):
    cache = made()
    cache.set("count", 1, 0.2)
    assert cache.incr("count") == 2
    assert cache.decr("count", 5) == -3
    time.sleep(0.3)
    assert cache.get("count") is None
    cache.set("count", 1, None)
    cache.incr("count")
    assert cache._open().namespace.get_item(cache.make_key("count")).expires is None


def test_get_or_set_creates_once(made):
    cache, created = made(), []

    def create():
        created.append(1)
        time.sleep(0.1)
        return "value"

    values = []
    threads = [threading.Thread(target=lambda: values.append(cache.get_or_set("key", create))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ["value"] * 8
    assert len(created) == 1


def test_get_or_set_with_timeouts_and_values(made):
    cache = made()
    assert cache.get_or_set("none", None) is None
    assert cache.get("none", "default") is None
    assert cache.get_or_set("key", lambda: 1, timeout=0) == 1
    assert cache.get("key") is None
    assert cache.get_or_set("key", 2, timeout=None, version=3) == 2
    assert cache.get("key", version=3) == 2

    def fails():
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        cache.get_or_set("other", fails)
    assert cache.get_or_set("other", 1) == 1


def test_what_is_too_large_is_not_stored_and_leaves_nothing_behind(made, caplog):
    cache = made()
    large = bytes(4 << 20)
    cache.set("key", "before")
    with caplog.at_level(logging.WARNING, logger="kennel.django"):
        cache.set("key", large)
        assert cache.get("key") is None
        assert cache.set_many({"small": 1, "key": large}) == ["key"]
        with pytest.raises(kennel.TooLarge, match="an item of 41[0-9]{5} bytes"):
            cache.add("key", large)
        assert cache.get_or_set("key", lambda: large) == large
    assert cache.get("small") == 1 and cache.get("key") is None
    assert len([record for record in caplog.records if record.name == "kennel.django"]) == 1
    assert cache.not_stored == 2


def test_a_key_that_is_too_long(made):
    cache = made()
    with pytest.warns(Warning, match="longer than 250"):
        for use in [lambda key: cache.set(key, 1), cache.get, cache.delete, cache.incr]:
            with pytest.raises(InvalidCacheKey, match="65535"):
                use("ü" * 40_000)


@pytest.mark.parametrize("serializer", ["json", kennel.Json(), kennel.Json, "kennel._serializers.Json"])
def test_another_serializer(made, serializer):
    cache = made(OPTIONS={"serializer": serializer})
    cache.set("key", {"a": [1, (2,)]})
    assert cache.get("key") == {"a": [1, [2]]}
    assert cache._open().namespace.get(cache.make_key("key")) == b'{"a":[1,[2]]}'
    with pytest.raises(TypeError):
        cache.set("key", object())


def test_an_option_that_there_is_not(made):
    with pytest.raises(TypeError, match="size"):
        made(OPTIONS={"size": 1})
    with pytest.raises(ValueError, match="serializer"):
        made(OPTIONS={"serializer": "xml"})


def test_threads_share_one_open_file(made):
    caches = [made(), made()]
    thread = threading.Thread(target=lambda: caches.append(made()))
    thread.start()
    thread.join()
    assert len({id(cache._open().namespace.cache) for cache in caches}) == 1
    assert caches[0]._open().namespace.cache.stats().members == 1


def test_the_end_of_a_request_leaves_the_file_open(made):
    cache = made()
    cache.set("key", 1)
    cache.close()
    assert cache.get("key") == 1


def test_async_methods(made):
    cache = made()

    async def use():
        assert await cache.aadd("key", 1) is True
        assert await cache.aadd("key", 2) is False
        assert await cache.aget("key") == 1
        assert await cache.aincr("key", 2) == 3
        assert await cache.adecr("key", 1) == 2
        assert await cache.aincr_version("key") == 2
        assert await cache.aget("key") is None and await cache.aget("key", version=2) == 2
        assert await cache.adecr_version("key", version=2) == 1
        assert await cache.aset_many({"a": 1, "b": 2}) == []
        assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
        assert await cache.aget_or_set("d", lambda: 4) == 4
        assert await cache.aget_or_set("d", lambda: 5) == 4
        assert await cache.aset("e", 5) is None
        assert await cache.atouch("a", 0) is True
        assert await cache.ahas_key("a") is False
        assert await cache.adelete("b") is True
        await cache.adelete_many(["d", "e"])
        assert await cache.aget_many(["d", "e"]) == {}
        for missing in [cache.aincr("f"), cache.aincr_version("f")]:
            with pytest.raises(ValueError, match="not found"):
                await missing
        await cache.aclear()
        assert await cache.aget("key") is None
        await cache.aclose()

    asyncio.run(use())


def test_every_async_method_of_django_is_the_backends_own():
    """Those of the base class run in one thread for the whole process, in steps that others can come between."""
    from django.core.cache.backends.base import BaseCache

    methods = {name for name in dir(BaseCache) if inspect.iscoroutinefunction(getattr(BaseCache, name))}
    # These two call the ones of the backend, once.
    assert {"aget", "aincr"} < methods
    assert methods - vars(KennelCache).keys() <= {"adecr", "adecr_version"}


def test_tasks_count_exactly_and_keep_the_timeout(made):
    cache = made()

    async def count():
        for _ in range(50):
            await cache.aincr("count")
            await asyncio.sleep(0)

    async def main():
        await cache.aset("count", 0, 600)
        await asyncio.gather(*[count() for _ in range(8)])

    asyncio.run(main())
    assert cache.get("count") == 400
    expires = cache._open().namespace.get_item(cache.make_key("count")).expires
    assert 590 < expires - time.time() < 601
    cache.incr_version("count")
    assert cache._open().namespace.get_item(cache.make_key("count", version=2)).expires == pytest.approx(expires, abs=0.01)


def test_tasks_create_once(made):
    cache, created = made(), []

    async def create():
        created.append(1)
        await asyncio.sleep(0.1)
        return "value"

    async def main():
        return await asyncio.gather(*[cache.aget_or_set("key", create) for _ in range(20)])

    assert asyncio.run(main()) == ["value"] * 20
    assert len(created) == 1


def test_a_task_does_not_hold_the_event_loop_while_a_stripe_is_busy(made, loop_pauses):
    fcntl = pytest.importorskip("fcntl")
    cache = made(OPTIONS={"stripes": 1, "lock_wait": 0.4})
    cache.set("key", 1)
    (stripe,) = cache._open().namespace.cache.path.parent.glob("*.locks/*/*.lock")

    async def main():
        ticking = asyncio.create_task(loop_pauses.watch())
        await asyncio.sleep(0.02)
        with stripe.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # The cache is busy: nothing is stored, and that is told as a failure.
            await cache.aset("key", 2)
            assert await cache.aset_many({"a": 1}) == ["a"]
            storing = asyncio.create_task(cache.aset("key", 3))
            await asyncio.sleep(0.1)
            fcntl.flock(held, fcntl.LOCK_UN)
            await storing
        ticking.cancel()

    asyncio.run(main())
    assert cache.get("key") == 3
    assert cache.failures == 2
    assert loop_pauses.longest < 0.3, "somebody waited on the event loop's thread"


def test_a_default_that_asks_for_its_own_key_creates(made):
    cache = made()
    assert cache.get_or_set("key", lambda: cache.get_or_set("key", lambda: "inner") + " outer") == "inner outer"
    assert cache.get("key") == "inner outer"

    async def outer():
        return await cache.aget_or_set("async", lambda: "inner") + " outer"

    assert asyncio.run(cache.aget_or_set("async", outer)) == "inner outer"
    assert cache.failures == 0


def test_nothing_is_opened_before_its_use_and_directories_are_made(made, tmp_path):
    cache = made("one/two/django.kennel")
    assert not (tmp_path / "one").exists()
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert (tmp_path / "one" / "two" / "django.kennel").is_file()


def every_use(cache):
    """What each operation answers where there is no cache."""
    assert cache.get("key", "default") == "default"
    assert cache.set("key", 1) is None
    assert cache.add("key", 1) is True
    assert cache.touch("key") is False
    assert cache.delete("key") is False
    assert cache.has_key("key") is False and "key" not in cache
    assert cache.get_or_set("key", lambda: "value") == "value"
    assert cache.get_many(["key"]) == {}
    assert cache.set_many({"key": 1}) == ["key"]
    assert cache.delete_many(["key"]) is None
    assert cache.clear() is None
    for counting in [cache.incr, cache.decr, cache.incr_version]:
        with pytest.raises(ValueError, match="not found"):
            counting("key")

    async def use():
        assert await cache.aget("key") is None
        assert await cache.aset_many({"key": 1}) == ["key"]
        assert await cache.aget_or_set("key", lambda: "value") == "value"
        with pytest.raises(ValueError, match="not found"):
            await cache.aincr("key")

    asyncio.run(use())


def foreign(path):
    path.write_text("no cache file")


def directory(path):
    path.mkdir()


def under_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("spoil", [foreign, directory, under_a_file])
def test_a_site_goes_on_without_a_cache_that_cannot_be_opened(made, tmp_path, caplog, spoil):
    (tmp_path / "folder").mkdir()
    spoil(tmp_path / "folder" / "django.kennel")
    cache = made("folder/django.kennel")
    with caplog.at_level(logging.WARNING, logger="kennel"):
        every_use(cache)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1 and "cannot be opened" in warnings[0], warnings
    assert cache.failures > 10
    required = made("folder/django.kennel", OPTIONS={"require": True})
    with pytest.raises((kennel.Error, OSError)):
        required.get("key")
    with pytest.raises((kennel.Error, OSError)):
        required.set("key", 1)


def test_a_cache_that_could_not_be_opened_is_tried_again(made, tmp_path, monkeypatch):
    foreign(tmp_path / "django.kennel")
    cache = made()
    cache.set("key", 1)
    (tmp_path / "django.kennel").unlink()
    cache.set("key", 1)
    assert cache.get("key") is None
    later = time.monotonic() + 11
    monkeypatch.setattr("kennel.django.now", lambda: later)
    cache.set("key", 1)
    assert cache.get("key") == 1


def test_a_session_that_is_too_large_says_so(made, monkeypatch):
    from django.contrib.sessions.backends import cache as backend
    from django.contrib.sessions.backends.cache import SessionStore

    monkeypatch.setattr(backend, "caches", {"default": made()})
    session = SessionStore()
    session["basket"] = "x" * (4 << 20)
    with pytest.raises(kennel.TooLarge, match="an item of 4[0-9]{6} bytes"):
        session.create()
    # Elsewhere Django saves a session that has a key already.
    small = SessionStore()
    small["basket"] = "x"
    small.create()
    assert SessionStore(small.session_key)["basket"] == "x"


class Renamed:
    pass


def test_a_value_that_cannot_be_decoded_any_more_counts_as_missing(made, caplog, monkeypatch):
    cache = made()
    cache.set_many({"key": Renamed(), "other": Renamed(), "good": 1})
    monkeypatch.delattr(sys.modules[__name__], "Renamed")
    with caplog.at_level(logging.WARNING, logger="kennel"):
        assert cache.get("key", "default") == "default"
        assert cache.get_many(["key", "good"]) == {"good": 1}
        with pytest.raises(ValueError, match="not found"):
            cache.incr("key")
        assert asyncio.run(cache.aget("key", "default")) == "default"
        assert cache.get_or_set("key", lambda: "new") == "new"
        assert asyncio.run(cache.aget_or_set("other", lambda: "new")) == "new"
    assert cache.get_many(["key", "other"]) == {"key": "new", "other": "new"}
    assert cache.undecodable == 6
    assert len(caplog.records) == 1 and "Renamed" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_file_is_one_that_others_cannot_write(made):
    cache = made()
    path = cache._open().namespace.cache.path
    path.chmod(0o666)
    with pytest.raises(kennel.NotTrusted):
        made(OPTIONS={"lock_wait": 4.0, "require": True}).get("key")


def test_near_objects_are_shared_if_they_cannot_change_or_when_asked(made):
    cache, other = made(OPTIONS={"near": 100}), made()
    other.set("text", "text")
    other.set("rows", [1])
    assert cache.get("text") is cache.get("text")
    assert cache.get("rows") is not cache.get("rows")
    shared = cache.get("rows", shared=True)
    assert shared == [1] and cache.get("rows", shared=True) is shared
    assert cache.get("rows") is not shared
    assert cache.get_or_set("text", "another") is cache.get("text")
    other.set("text", "new")
    assert cache.get("text") == cache.get_or_set("text", "another") == "new"
    other.clear()
    assert cache.get("text", "default") == cache.get("rows", "default", shared=True) == "default"
    assert cache.get_or_set("text", lambda: ("a", 1)) == ("a", 1)
    assert cache.get_or_set("text", "another") is cache.get_or_set("text", "another")
    assert other.get("text", shared=True) == ("a", 1), "without the option nothing is shared"


def test_a_check_finds_a_changed_near_object(made):
    cache = made(OPTIONS={"near": 100, "near_check": 1.0})
    cache.set("rows", [1])
    cache.get("rows", shared=True).append(2)
    with pytest.raises(kennel.Mutated):
        cache.get("rows", shared=True)


def test_tasks_get_near_objects(made):
    async def run():
        cache = made(OPTIONS={"near": 100})
        await cache.aset("text", "text")
        assert await cache.aget("text") is await cache.aget("text")
        assert await cache.aget_or_set("text", "another") is await cache.aget("text", shared=True)

    asyncio.run(run())
