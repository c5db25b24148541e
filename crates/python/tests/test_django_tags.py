"""Tags in the Django backend, and the keys that it makes by itself."""

from __future__ import annotations

import asyncio
import enum
import itertools
import warnings

import kennel
import pytest
from django.conf import settings

if not settings.configured:
    settings.configure()

from django.core.cache.backends.base import BaseCache, CacheKeyWarning  # noqa: E402
from kennel.django import KennelCache  # noqa: E402


@pytest.fixture
def made(tmp_path):
    def make(name="django.kennel", **params):
        options = {"capacity": 8 << 20, **params.pop("OPTIONS", {})}
        return KennelCache(str(tmp_path / name), {"OPTIONS": options, **params})

    return make


async def later(made):
    return made


WRITES = {
    "set": lambda cache, tags: cache.set("key", 7, tags=tags),
    "set, all arguments": lambda cache, tags: cache.set("key", 7, 60, 1, tags=tags),
    "add": lambda cache, tags: cache.add("key", 7, tags=tags),
    "set_many": lambda cache, tags: cache.set_many({"key": 7}, tags=tags),
    "get_or_set": lambda cache, tags: cache.get_or_set("key", 7, tags=tags),
    "get_or_set, function": lambda cache, tags: cache.get_or_set("key", lambda: 7, tags=tags),
    "created": lambda cache, tags: cache.get_or_set("key", lambda: kennel.Created(7, tags=tags)),
    "created, no function": lambda cache, tags: cache.get_or_set("key", kennel.Created(7, tags=tags)),
    "aset": lambda cache, tags: asyncio.run(cache.aset("key", 7, tags=tags)),
    "aadd": lambda cache, tags: asyncio.run(cache.aadd("key", 7, tags=tags)),
    "aset_many": lambda cache, tags: asyncio.run(cache.aset_many({"key": 7}, tags=tags)),
    "aget_or_set": lambda cache, tags: asyncio.run(cache.aget_or_set("key", 7, tags=tags)),
    "acreated": lambda cache, tags: asyncio.run(
        cache.aget_or_set("key", lambda: later(kennel.Created(7, tags=tags)))
    ),
}


@pytest.mark.parametrize("prefix", ["", "site"])
def test_an_invalidation_covers_each_kind_of_write(made, prefix):
    cache = made(KEY_PREFIX=prefix)
    for form, write in WRITES.items():
        write(cache, (name for name in ["product:7", b"layout"]))
        assert cache.get("key") == 7, form
        cache.invalidate_tags(["other"])
        assert cache.get("key") == 7, form
        cache.invalidate_tags(["layout"])
        assert cache.get("key") is None, form
        write(cache, ["product:7"])
        asyncio.run(cache.ainvalidate_tags([b"product:7"]))
        assert cache.get("key") is None, form


def test_wrong_tags_are_an_error_also_where_failures_are_not(made):
    cache = made()
    for write in WRITES.values():
        with pytest.raises(kennel.TooManyTags):
            write(cache, [f"{n}" for n in range(17)])
        for wrong in ("product:7", 7, [7]):
            with pytest.raises(TypeError, match="tag"):
                write(cache, wrong)
    assert cache.get("key") is None and cache.failures == 0
    with pytest.raises(TypeError, match="tag"):
        cache.invalidate_tags("product:7")
    cache.invalidate_tags([])
    cache.invalidate_tags(f"{n}" for n in range(100))


def test_what_separates_tags(made):
    site, other = made(KEY_PREFIX="site"), made(KEY_PREFIX="other")
    pages = made(KEY_PREFIX="site", OPTIONS={"namespace": "pages"})
    plain = made()
    for cache in (site, other, pages, plain):
        cache.set("key", 1, tags=["t"])
        cache.set("key", 2, version=2, tags=["t"])
    site.invalidate_tags(["t"])
    assert [cache.get("key") for cache in (site, other, pages, plain)] == [None, 1, None, 1]
    assert site.get("key", version=2) is None and other.get("key", version=2) == 2
    # A shell, or another program, knows the tags of a site without a prefix by their names.
    plain._open().namespace.invalidate_tags(["t", "other:t"])
    assert plain.get("key") is None and other.get("key") is None


def test_a_class_may_name_tags_otherwise(made, tmp_path):
    class PerVersion(KennelCache):
        def make_tag(self, tag):
            return b"%d:" % self.version + tag

    one, two = (PerVersion(str(tmp_path / "f"), {"VERSION": version}) for version in (1, 2))
    for cache in (one, two):
        cache.get_or_set("key", lambda: kennel.Created(7, tags=["t"]))
    one.invalidate_tags(["t"])
    assert one.get("key") is None and two.get("key") == 7


def test_what_changes_a_value_or_its_key_keeps_its_tags(made):
    cache = made()
    cache.set("count", 1, 60, tags=["t"])
    cache.set("moved", [1], 60, tags=["t"])
    assert cache.incr("count") == 2 and asyncio.run(cache.aincr("count")) == 3
    assert cache.touch("count", 600)
    assert cache.incr_version("moved") == 2 and cache.get("moved") is None
    assert asyncio.run(cache.aincr_version("moved", version=2)) == 3
    assert cache.decr_version("moved", version=3) == 2
    assert (cache.get("count"), cache.get("moved", version=2)) == (3, [1])
    cache.invalidate_tags(["t"])
    assert cache.get("count") is None and cache.get("moved", version=2) is None
    for missing in (cache.incr, cache.incr_version):
        with pytest.raises(ValueError):
            missing("count")


def test_a_soft_invalidation_makes_stale(made):
    cache = made(OPTIONS={"near": 10})
    cache.set("key", 1, tags=["t"])
    assert cache.get("key") == 1
    cache.invalidate_tags(["t"], soft=True)
    assert cache.get("key") == 1
    assert cache.get_or_set("key", lambda: 2) == 2
    cache.set("key", 3, tags=["t"])
    asyncio.run(cache.ainvalidate_tags(["t"], soft=True))
    assert cache.get("key") == 3 and cache.get_or_set("key", 4) == 4


def test_what_is_being_created_is_covered(made):
    cache = made()

    def create():
        cache.invalidate_tags(["t"])
        return kennel.Created("old", tags=["t"])

    assert cache.get_or_set("key", create) == "old"
    assert cache.get("key") is None


def test_a_value_of_get_or_set_brings_its_time_along(made):
    cache = made()
    assert cache.get_or_set("key", lambda: kennel.Created(7, 0)) == 7
    assert cache.get("key") is None
    assert cache.get_or_set("key", lambda: kennel.Created(7, stored=False)) == 7
    assert cache.get("key") is None


def test_a_value_that_cannot_be_decoded_is_created_anew_with_its_tags(made):
    cache = made()
    for create in (
        lambda: cache.get_or_set("key", lambda: kennel.Created(7, tags=["t"])),
        lambda: asyncio.run(cache.aget_or_set("key", lambda: later(7), tags=["t"])),
    ):
        cache._open().namespace.set(cache.make_key("key"), b"no pickle")
        assert create() == 7 and cache.get("key") == 7
        cache.invalidate_tags(["t"])
        assert cache.get("key") is None


def test_without_a_cache_nothing_is_invalidated_and_nothing_fails(tmp_path):
    cache = KennelCache(str(tmp_path), {})
    cache.set("key", 7, tags=["t"])
    assert cache.get_or_set("key", lambda: kennel.Created(7, tags=["t"]), tags=["u"]) == 7
    cache.invalidate_tags(["t"])
    asyncio.run(cache.ainvalidate_tags(["t"]))
    assert cache.failures == 4


class Mixed(str, enum.Enum):
    KEY = "key"


class Shown:
    """Django makes keys by ``str``, not by ``format``."""

    def __str__(self):
        return "shown"

    def __format__(self, how):
        return "formatted"


KEYS = ["key", "", "ключ", "a b", "a\tb", "a\x7fb", "\xa0", "\udc80", "k" * 240, "k" * 300, 7, None, 1.5, b"bytes", Mixed.KEY]


@pytest.mark.parametrize("prefix", ["", "site", "my site"])
def test_keys_and_warnings_are_those_of_django(made, prefix):
    cache = made(KEY_PREFIX=prefix)
    reference = BaseCache({"KEY_PREFIX": prefix})
    for key, version in itertools.product([*KEYS, Shown()], [None, 0, 2, "v 2", Mixed.KEY]):
        found = []
        for key_of in (lambda: cache._key(key, version), lambda: reference.make_and_validate_key(key, version=version)):
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                found.append((key_of(), [(w.category, str(w.message)) for w in warned]))
        assert found[0] == found[1], key



def test_a_class_or_a_function_that_makes_keys_is_asked(made, tmp_path):
    asked = made(KEY_FUNCTION=lambda key, prefix, version: f"mine {key}")
    with pytest.warns(CacheKeyWarning):
        assert asked._key("key", None) == "mine key"

    class Strict(KennelCache):
        def validate_key(self, key):
            raise ValueError(key)

    class Own(KennelCache):
        def make_key(self, key, version=None):
            return f"own-{key}"

    with pytest.raises(ValueError, match=":1:key"):
        Strict(str(tmp_path / "s"), {}).get("key")
    assert Own(str(tmp_path / "o"), {})._key("key", None) == "own-key"
    cache = made()
    cache.version, cache.key_prefix = 5, "changed"
    assert cache._key("key", None) == "changed:5:key"
