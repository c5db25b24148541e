"""Namespaces: their keys, their times, their invalidation."""

from __future__ import annotations

import pickle
import time
from datetime import timedelta

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


def test_a_value_lives_as_long_as_it_is_read(cache):
    sessions = cache.namespace("sessions", ttl=7200, idle=timedelta(hours=1))
    sessions.set("4f2a", "Ada")
    assert sessions.get_item("4f2a").expires - time.time() == pytest.approx(3600, abs=60)
    sessions.set("4f2a", "Ada", ttl=60)
    assert sessions.get_item("4f2a").expires - time.time() == pytest.approx(60, abs=50)
    # The file keeps the times of who was first, and another process gets the namespace as it is.
    pickle.loads(pickle.dumps(sessions)).set("other", "Grace")
    cache.namespace("sessions", idle=10).set("third", "Alan")
    for key in "other", "third":
        assert sessions.get_item(key).expires - time.time() == pytest.approx(3600, abs=60)
    # Whatever it says, a value does not outlive its time to live.
    bounded = cache.namespace("bounded", ttl=60, idle=3600)
    bounded.set("key", "value")
    assert bounded.get_item("key").expires - time.time() == pytest.approx(60, abs=50)


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


def test_what_was_invalidated_since_a_moment_is_not_stored(cache):
    pages = cache.namespace("pages")
    for space in (cache, pages):
        moment = space.moment()
        assert space.set("key", "value", as_of=moment) != 0
        cache.invalidate(soft=True)
        assert space.set("key", "late", as_of=moment) == 0
        assert not space.add("absent", "late", as_of=moment) and not space.replace("key", "late", as_of=moment)
        stamp = space.get_item("key").stamp
        assert space.compare_and_swap("key", stamp, "late", as_of=moment) is False
        assert space.set_multi({"key": "late", "absent": "late"}, as_of=moment) == {}
        assert space.get("key") == b"value" and space.get("absent") is None
    with pytest.raises(kennel.BadOption, match="another namespace"):
        cache.set("key", "value", as_of=pages.moment())


def test_a_removed_namespace_makes_room_and_leaves_nothing(tmp_path):
    with kennel.Cache(tmp_path / "cache", capacity="1M", namespaces=1) as cache:
        old = cache.namespace("old", ttl=60)
        old["key"] = "value"
        with pytest.raises(kennel.NamespacesFull):
            cache.namespace("new")
        assert cache.remove_namespace("old") and not cache.remove_namespace("old")
        assert cache.namespaces() == [] and old.get("key") is None
        new = cache.namespace("new")
        assert list(new) == [] and cache.namespaces() == ["new"]
        with pytest.raises(kennel.NamespacesFull):
            old.set("key", "late")
        cache.remove_namespace("new")
        old.set("key", "again")
        assert cache.namespaces() == ["old"] and old.get("key") == b"again"
        with pytest.raises(ValueError):
            cache.remove_namespace("")
