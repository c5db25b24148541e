"""Namespaces: their keys, their times, their invalidation."""

from __future__ import annotations

import pickle

import kennel
import pytest


def test_a_namespace_has_keys_of_its_own(cache):
    people, pages = cache.namespace("people"), cache.namespace("pages")
    people.set("1", "Ada")
    pages["1"] = "<h1>"
    assert people.get("1") == b"Ada" and pages["1"] == b"<h1>" and cache.get("1") is None
    assert people.name == "people" and people.cache is cache and "people" in repr(people)
    assert sorted(cache.namespaces()) == ["pages", "people"]
    people.invalidate()
    assert "1" not in people and "1" in pages


def test_a_namespace_lists_and_clears_its_own_keys(cache):
    pages = cache.namespace("pages")
    cache["1"] = pages["2"] = pages["3"] = "value"
    assert sorted(pages) == sorted(pages.keys()) == [b"2", b"3"]
    assert sorted(cache) == [b"1", b"pages\x002", b"pages\x003"]
    pages.clear()
    assert list(pages) == [] and list(cache) == [b"1"]


def test_a_namespaces_times_hold_for_what_says_nothing(cache):
    namespace = cache.namespace("short", ttl=60, stale=30)
    namespace.set("key", "value")
    item = namespace.get_item("key")
    assert item.expires - item.soft_expires == pytest.approx(30, abs=0.1)
    namespace.set("key", "value", ttl=10, stale=5)
    item = namespace.get_item("key")
    assert item.expires - item.soft_expires == pytest.approx(5, abs=0.1)


def test_a_soft_invalidation_makes_values_stale(cache):
    namespace = cache.namespace("pages")
    namespace.set("key", "old")
    namespace.invalidate(soft=True)
    assert namespace.get("key") == b"old" and namespace.get_item("key").is_stale
    assert namespace.get_or_create("key", lambda: "new") == b"new"
    assert not namespace.get_item("key").is_stale


@pytest.mark.parametrize("name", ["", "x" * 129, "a\0b"])
def test_a_namespace_that_cannot_be(cache, name):
    with pytest.raises(kennel.BadOption, match="name of a namespace"):
        cache.namespace(name)


def test_the_table_of_namespaces_is_bounded(opened):
    cache = opened(capacity=8 << 20, namespaces=2)
    cache.namespace("a"), cache.namespace("b")
    with pytest.raises(kennel.NamespacesFull) as caught:
        cache.namespace("c")
    assert caught.value.namespaces == 2


def test_namespaces_close_with_their_cache_and_open_again_from_a_pickle(cache):
    namespace = cache.namespace("people", ttl=60)
    namespace.set("1", "Ada")
    again = pickle.loads(pickle.dumps(namespace))
    assert again.get("1") == b"Ada"
    again.cache.close()
    assert again.closed and not namespace.closed
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        namespace.get("1")
