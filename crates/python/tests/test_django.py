"""The Django backend: what Django's own tests do not ask, and those tests themselves."""

from __future__ import annotations

import asyncio
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


def test_clear_empties_its_own_region_only(made):
    one, other = made(), made(OPTIONS={"region": "other"})
    with kennel.Cache(one._cache.path, on_mismatch="fail") as outside:
        outside.set("outside", "kept")
        one.set("key", 1)
        other.set("key", 2)
        one.clear()
        assert one.get("key") is None
        assert other.get("key") == 2
        assert outside.get("outside") == b"kept"
        assert set(outside.regions()) == {"django", "other"}


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
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(cache._cache.path)]) for _ in range(3)]
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
    assert cache._space.get_item(cache.make_key("count")).expires is None


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
        assert cache.add("key", large) is False
        assert cache.get_or_set("key", lambda: large) == large
    assert cache.get("small") == 1 and cache.get("key") is None
    assert len([record for record in caplog.records if record.name == "kennel.django"]) == 1
    assert cache.not_stored == 3


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
    assert cache._space.get(cache.make_key("key")) == b'{"a":[1,[2]]}'
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
    assert len({id(cache._cache) for cache in caches}) == 1
    assert caches[0]._cache.stats().members == 1


def test_the_end_of_a_request_leaves_the_file_open(made):
    cache = made()
    cache.set("key", 1)
    cache.close()
    assert cache.get("key") == 1


def test_async_methods(made):
    cache = made()

    async def use():
        assert await cache.aadd("key", 1) is True
        assert await cache.aget("key") == 1
        assert await cache.aincr("key", 2) == 3
        assert await cache.aset_many({"a": 1, "b": 2}) == []
        assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
        assert await cache.aget_or_set("d", lambda: 4) == 4
        assert await cache.atouch("a", 0) is True
        assert await cache.ahas_key("a") is False
        assert await cache.adelete("b") is True
        await cache.aclear()
        assert await cache.aget("key") is None

    asyncio.run(use())


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_file_is_one_that_others_cannot_write(made):
    cache = made()
    path = cache._cache.path
    path.chmod(0o666)
    with pytest.raises(kennel.NotTrusted):
        made(OPTIONS={"lock_wait": 4.0})
