"""The Django backend over the far tier: its own tests, Django's, and a site with Django's Redis backend beside it."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if not settings.configured:
    settings.configure()

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the far tier is for Unix systems")

if os.name == "posix":
    from kennel.far import BadFarOption, ServerError
    from kennel.far.django import FarCache

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def made(server, tmp_path):
    caches = []

    def make(near="near", **params):
        options = {"near": str(tmp_path / near), "capacity": "1M", **params.pop("OPTIONS", {})}
        caches.append(FarCache(params.pop("LOCATION", server.url), {"OPTIONS": options, **params}))
        return caches[-1]

    yield make
    for cache in caches:
        if "_cache" in vars(cache):
            cache.far.close()


@pytest.fixture
def theirs(server):
    pytest.importorskip("redis")
    from django.core.cache.backends.redis import RedisCache

    def make(**params):
        return RedisCache(server.url, params)

    return make


def test_djangos_own_cache_tests(server, tmp_path):
    from test_django import sources

    suite = [sys.executable, str(HERE / "django_suite.py"), str(sources()), str(tmp_path), server.url]
    run = subprocess.run(suite, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    ran, skipped = map(int, re.search(r"^ran (\d+), skipped (\d+)$", run.stdout, re.MULTILINE).groups())
    assert ran >= 100 and skipped == 3


@pytest.mark.parametrize("params", [{}, {"KEY_PREFIX": "site"}, {"VERSION": 7, "TIMEOUT": None}])
def test_keys_values_and_times_are_those_of_djangos_redis_backend(made, theirs, server, params):
    def stored():
        keys = sorted(key for key in server.ask("KEYS", "*") if b"kennel-far" not in key)
        # In units of ten seconds, since time passes meanwhile; -1 is no limit.
        times = [(left + 5) // 10 if left >= 0 else left for left in (server.ask("TTL", key) for key in keys)]
        return {key: (server.ask("GET", key), time) for key, time in zip(keys, times)}

    found = []
    for cache in (theirs(**params), made(**params)):
        server.ask("FLUSHALL")
        cache.set("text", "Grüße")
        cache.set("number", 41, timeout=100)
        cache.set("flag", True, timeout=None)
        cache.set("over", 1, timeout=0)
        cache.set("past", 1, timeout=-5)
        assert cache.incr("number") == 42 and cache.decr("number", 2) == 40
        assert cache.add("added", [1], timeout=50) is True and cache.add("added", [2]) is False
        assert cache.add("never", 1, timeout=0) is True
        assert cache.set_many({"a": 1, "b": {"c": None}}, timeout=60) == []
        assert cache.set_many({"d": 1, "e": 2}) == [] and cache.set_many({"f": 1}, timeout=0) == []
        assert cache.touch("a", 500) and cache.touch("b", None) and not cache.touch("none")
        assert cache.delete("d") is True and cache.delete("d") is False
        cache.delete_many(["e", "none"])
        assert cache.get_or_set("set", lambda: 5.5, 70) == 5.5
        cache.set("version", "x", version=3)
        assert cache.incr_version("version", version=3) == 4
        with pytest.raises(ValueError):
            cache.incr("none")
        found.append(stored())
    assert found[0] == found[1] and len(found[0]) == 8


def test_sites_with_either_backend_see_each_others_values(made, theirs, until):
    ours, others = made(KEY_PREFIX="site"), theirs(KEY_PREFIX="site")
    until(lambda: ours.get("none") is None and ours.far.proof_age() is not None)
    for number in range(20):
        others.set("key", {"number": number})
        until(lambda: ours.get("key") == {"number": number})
        ours.set("key", {"number": -number})
        assert others.get("key") == ours.get("key") == {"number": -number}
    others.set_many({"a": 1, "b": 2})
    assert ours.get_many(["a", "b", "c"]) == {"a": 1, "b": 2} and "a" in ours and "c" not in ours
    assert ours.incr("a") == 2 and others.incr("a") == 3
    until(lambda: ours.get("a") == 3)
    others.clear()
    until(lambda: ours.get_many(["a", "b"]) == {})
    ours.set("a", 1)
    until(lambda: ours.far.get_near("site:1:a") is not None or ours.get("a") is None)
    ours.clear()
    assert ours.get("a") is None and others.get("a") is None


def test_djangos_keys_are_covered(made, until):
    for params, key in (({}, ":1:key"), ({"KEY_PREFIX": "p"}, "p:1:key"), ({"VERSION": 2, "KEY_PREFIX": "p"}, "p:2:key")):
        cache = made(**params)
        cache.set("key", "value")
        until(lambda: cache.get("key") == "value" and cache.far.get_near(key) is not None)
    cache = made(KEY_FUNCTION=lambda key, prefix, version: f"{key}~{version}")
    cache.set("key", "value")
    until(lambda: cache.get("key") == "value" and cache.far.get_near("key~1") is not None)
    cache = made(OPTIONS={"prefix": ["other:", "elsewhere:"]})
    cache.set("key", "value")
    assert cache.get("key") == "value" and cache.far.get_near(":1:key") is None and cache.far.stats().outside > 0


def test_get_or_set_calls_its_function_once(made, in_threads):
    caches, calls = [made("near-a"), made("near-b")], []

    def create():
        calls.append(1)
        time.sleep(0.1)
        return {"made": 1}

    got = in_threads(8, lambda i: caches[i % 2].get_or_set("key", create))
    assert got == [{"made": 1}] * 8 and len(calls) == 1
    cache = caches[0]
    assert cache.get_or_set("none", None) is None and cache.get("none", "missing") is None
    assert cache.get_or_set("over", 5, timeout=0) == 5 and cache.get("over") is None
    assert cache.get_or_set("own", lambda: cache.get_or_set("own", lambda: "inner") + "!") == "inner!"
    cache.far.set(":1:broken", b"no pickle")
    assert cache.get("broken", "default") == "default" and cache.get_or_set("broken", "made") == "made"
    assert cache.get("broken") == "made" and cache.undecodable == 2


def test_the_asynchronous_methods(made, until):
    cache = made()

    async def default():
        return "awaited"

    async def work():
        await cache.aset("key", 1)
        assert await cache.aget("key") == 1 and await cache.aget("none", "default") == "default"
        assert await cache.aadd("key", 2) is False and await cache.ahas_key("key")
        assert await asyncio.gather(*(cache.aincr("key") for _ in range(9))) and await cache.aget("key") == 10
        assert await cache.atouch("key", 50) and await cache.adelete("key")
        assert await cache.aset_many({"a": 1, "b": 2}) == []
        assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
        await cache.adelete_many(["a"])
        assert await cache.aget_or_set("c", default) == "awaited" == await cache.aget("c")
        assert await cache.aget_or_set("n", lambda: 5) == 5 and await cache.aget_or_set("n", 6) == 5
        cache.far.set(":1:broken", b"no pickle")
        assert await cache.aget_or_set("broken", "made") == "made" == await cache.aget("broken")
        await cache.aclear()
        assert await cache.aget("b") is None

    asyncio.run(work())


def test_the_options(made, server, tmp_path):
    with pytest.raises(ImproperlyConfigured, match="near"):
        FarCache(server.url, {"OPTIONS": {}}).get("key")
    with pytest.raises(TypeError, match="colour"):
        made(OPTIONS={"colour": "red"}).get("key")
    with pytest.raises(BadFarOption):
        made(LOCATION="").get("key")
    made(near="new/folder/near", OPTIONS={"pool_class": "x.y", "MAX_ENTRIES": 5}).set("key", 1)
    assert (tmp_path / "new" / "folder" / "near").exists()
    made(near="of-3", OPTIONS={"db": 3}).set("key", 3)
    assert server.ask("GET", ":1:key") == b"1"
    first = made(near="first", LOCATION=f"{server.url};unix:///no/replica")
    assert first.get("key") == 1
    with pytest.raises(ServerError):
        first.set("text", "x")
        first.incr("text")
    named = made(near="json", OPTIONS={"serializer": "kennel._serializers.Json"})
    named.set("json", {"a": 1})
    assert server.ask("GET", ":1:json") == b'{"a":1}' and named.get("json") == {"a": 1}
    kept = made(near="protocol", OPTIONS={"serializer": Protocol2()})
    kept.set("protocol", [1])
    assert server.ask("GET", ":1:protocol") == pickle.dumps([1], 2)


class Protocol2:
    def dumps(self, value):
        return pickle.dumps(value, 2)

    def loads(self, data):
        return pickle.loads(data)


SITE = """
import json, sys
from django.conf import settings
import django

far, redis = json.loads(sys.argv[1])
settings.configure(
    CACHES={"default": far, "theirs": redis},
    SECRET_KEY="for tests only",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    INSTALLED_APPS=["django.contrib.sessions"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

from django.core.cache import caches
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import path
from django.views.decorators.cache import cache_page

made = []

def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))

@cache_page(60)
def page(request):
    made.append(1)
    return HttpResponse(f"page {len(made)}")

def fragment(request):
    made.append(1)
    text = "{% load cache %}{% cache 60 part %}{{ number }}{% endcache %}"
    return HttpResponse(engines["django"].from_string(text).render({"number": len(made)}))

def end(request):
    request.session.flush()
    return HttpResponse("")

urlpatterns = [path("count", count), path("page", page), path("fragment", fragment), path("end", end)]

def get(client, where):
    return client.get("/" + where).content.decode()

client = Client()
assert [get(client, "count") for _ in range(3)] == ["1", "2", "3"]
session = client.cookies["sessionid"].value

# Another host of the site has Django's own backend.
settings.SESSION_CACHE_ALIAS = "theirs"
from django.contrib.sessions.backends.cache import SessionStore
other = SessionStore(session)
other._cache = caches["theirs"]
assert other["count"] == 3
other["count"] = 10
other.save()
own = SessionStore(session)
own._cache = caches["default"]
deadline = __import__("time").monotonic() + 3
while own.load()["count"] != 10:
    assert __import__("time").monotonic() < deadline
settings.SESSION_CACHE_ALIAS = "default"
assert get(client, "count") == "11"
get(client, "end")
assert get(client, "count") == "1"

assert get(client, "page") == get(client, "page")
assert get(client, "fragment") == get(client, "fragment")
print("fine")
"""


def test_sessions_pages_and_fragments(server, tmp_path):
    pytest.importorskip("redis")
    near = {"near": str(tmp_path / "near"), "capacity": "1M"}
    far = {"BACKEND": "kennel.far.django.FarCache", "LOCATION": [server.url], "OPTIONS": near}
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url}
    program = [sys.executable, "-c", SITE, json.dumps([far, redis])]
    found = subprocess.run(program, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert found.returncode == 0 and found.stdout == "fine\n", found.stderr
