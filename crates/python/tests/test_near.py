"""Near copies: objects that a process keeps decoded."""

import datetime
import enum
import os
import pickle
import threading
import uuid

import pytest

import kennel
from kennel._near import is_immutable


class Color(enum.Enum):
    RED = 1


class Text(str):
    """A subclass of ``str`` may have attributes."""


class Counting:
    """A serializer that counts."""

    def __init__(self):
        self.loaded = 0

    def dumps(self, value):
        return pickle.dumps(value)

    def loads(self, data):
        self.loaded += 1
        return pickle.loads(data)


IMMUTABLE = [
    None,
    True,
    7,
    1.5,
    2j,
    "text",
    b"bytes",
    range(3),
    datetime.datetime(2026, 1, 1),
    uuid.UUID(int=7),
    Color.RED,
    (1, ("a", frozenset({2}))),
]
MUTABLE = [[], {}, set(), bytearray(), (1, []), Text("t"), object(), frozenset({Text("t")})]


def test_get_if_changed_says_what_became_of_a_value(cache):
    cache.set("key", "value")
    item = cache.get_item("key")
    assert cache.get_if_changed("key", item.id).is_stale is False
    assert cache.is_fresh("key", item.id)
    cache.invalidate(soft=True)
    assert cache.get_if_changed(b"key", item.id).is_stale is True
    assert not cache.is_fresh("key", item.id)
    cache.set("key", "value")
    changed = cache.get_if_changed("key", item.id)
    assert (type(changed), changed.value) == (kennel.Item, b"value")
    assert changed.id != item.id
    cache.delete("key")
    assert cache.get_if_changed("key", item.id) is None
    with pytest.raises(TypeError):
        cache.get_if_changed("key", 7)


def test_objects_are_immutable_or_not():
    assert all(is_immutable(value) for value in IMMUTABLE)
    assert not any(is_immutable(value) for value in MUTABLE)
    deep = ()
    for _ in range(100_000):
        deep = (deep,)
    assert is_immutable(deep)


@pytest.mark.parametrize("value", IMMUTABLE)
def test_an_immutable_object_is_decoded_once(cache, value):
    serializer = Counting()
    near = cache.near(serializer=serializer)
    near.set("key", value)
    assert [near.get("key") for _ in range(5)] == [value] * 5
    assert near.get_or_create("key", lambda: 1 / 0) == value
    assert serializer.loaded == 1
    near.clear()
    assert near.get("key") == value
    assert serializer.loaded == 2


def test_a_mutable_object_is_shared_only_when_asked(cache):
    near, shared = cache.near(), cache.near(shared=True)
    near.set("key", [1])
    assert near.get("key") is not near.get("key")
    assert shared.get("key") is shared.get("key")
    assert (len(near), len(shared)) == (0, 1)


def test_a_near_object_is_never_an_old_one(cache):
    near = cache.near(shared=True)
    assert near.get("key", 7) == 7
    assert near.get_or_create("key", lambda: [1]) == [1]
    assert near.get_or_create("key", lambda: [2]) == [1]
    near.set("key", [3])
    assert near.get("key") == [3]
    cache.invalidate(soft=True)
    assert near.get("key") == [3]
    assert near.get_or_create("key", lambda: [4]) == [4]
    # The object that was kept for the stale value is not the one of the new value.
    assert near.get("key") == [4]
    cache.clear()
    assert near.get("key") is None
    cache.set("key", b"no pickle")
    assert near.get("key", "default") == "default"
    assert near.get_or_create("key", lambda: [5]) == [5]
    assert near.undecodable == 2


def test_what_is_kept_has_limits(cache):
    near = cache.near(items=10, bytes=5000)
    for n in range(100):
        near.set(str(n), "x" * n)
        assert near.get(str(n)) == "x" * n
        near.get("0")
    assert 1 <= len(near) <= 10
    assert near._kept._size == sum(entry.size for entry in near._kept._entries.values()) <= 5000
    assert near._kept.find("0") is not None, "it is used all the time"
    near.set("large", "x" * 6000)
    assert near.get("large") == "x" * 6000
    assert near._kept.find("large") is None
    for options in [{"items": -1}, {"items": 1.5}, {"bytes": True}, {"check": 2}]:
        with pytest.raises(kennel.BadOption):
            cache.near(**options)


def test_a_check_finds_who_changes_a_shared_object(cache):
    near = cache.near(shared=True, check=1.0)
    near.set("key", {"a": [1]})
    near.get("key")["a"].append(2)
    with pytest.raises(kennel.Mutated, match="key") as raised:
        near.get("key")
    assert raised.value.key == "key"
    assert near.get("key") == {"a": [1]}, "the file has the right value"


def test_memoize_keeps_objects(cache):
    runs, serializer = [], Counting()

    @cache.memoize(near=16, serializer=serializer)
    def double(n):
        runs.append(n)
        return (n, n)

    assert [double(n % 3) for n in range(30)] == [(n % 3, n % 3) for n in range(30)]
    assert sorted(runs) == [0, 1, 2]
    # Once when it was created, once when it was found.
    assert serializer.loaded == 6
    double.invalidate(1)
    assert double(1) == (1, 1) and len(runs) == 4
    double.refresh(2)
    assert double(2) is double(2)

    @cache.memoize(near=16, shared=True)
    def rows():
        return [1, 2]

    rows()
    assert rows() is rows()


def test_memoized_coroutines_keep_objects(cache):
    import asyncio

    @cache.memoize(near=16)
    async def double(n):
        return (n, n)

    async def run():
        near = cache.near()
        assert await near.aget_or_create("key", double_of_three) == (3, 3)
        assert await near.aget_or_create("key", double_of_three) is await near.aget_or_create("key", double_of_three)
        await double(1)
        return await double(1) is await double(1)

    async def double_of_three():
        return (3, 3)

    assert asyncio.run(run())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_keeps_objects_of_its_own(cache):
    near = cache.near()
    near.set("key", (1, 2))
    near.get("key")
    # As another thread may hold it at the fork.
    near._kept._lock.acquire()
    pid = os.fork()
    if pid == 0:
        ok = len(near) == 0 and near.get("key") is near.get("key") and len(near) == 1
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_threads_share_what_is_kept(cache):
    near, wrong = cache.near(items=8), []

    def use():
        for n in range(2000):
            if near.get_or_create(str(n % 20), lambda: (n % 20,)) != (n % 20,):
                wrong.append(n)

    threads = [threading.Thread(target=use) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []
    assert near._kept._size == sum(entry.size for entry in near._kept._entries.values())
