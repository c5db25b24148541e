"""Tags: names that values bear, so that one call invalidates all of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import kennel
import pytest


def tagged(cache, key, *tags, **how):
    cache.set(key, "value", tags=tags, **how)


def tags_of(cache, key):
    return {entry.key: entry.tags for entry in cache.entries()}[key]


WRITES = {
    "set": lambda cache, tags: cache.set("key", "value", tags=tags),
    "set, all arguments": lambda cache, tags: cache.set("key", "value", 60, stale=30, flags=1, tags=tags),
    "set with a moment": lambda cache, tags: cache.set("key", "value", as_of=cache.moment(), tags=tags),
    "add": lambda cache, tags: cache.add("key", "value", tags=tags),
    "replace": lambda cache, tags: cache.set("key", "") and cache.replace("key", "value", tags=tags),
    "swap": lambda cache, tags: cache.compare_and_swap("key", cache.set("key", ""), "value", tags=tags),
    "incr": lambda cache, tags: cache.incr("key", initial=1, tags=tags),
    "decr": lambda cache, tags: cache.decr("key", initial=1, tags=tags),
    "multi": lambda cache, tags: cache.set_multi({"key": "value"}, tags=tags),
    "create": lambda cache, tags: cache.get_or_create("key", lambda: "value", tags=tags),
    "create async": lambda cache, tags: asyncio.run(cache.aget_or_create("key", returns("value"), tags=tags)),
    "create many": lambda cache, tags: cache.get_or_create_multi(["key"], lambda keys: ["value"], tags=tags),
    "create many async": lambda cache, tags: asyncio.run(
        cache.aget_or_create_multi(["key"], returns(["value"]), tags=tags)
    ),
    "claim": lambda cache, tags: cache.claim("key", tags=tags).claim.store("value"),
    "store": lambda cache, tags: cache.claim("key").claim.store("value", tags=tags),
    "created": lambda cache, tags: cache.get_or_create("key", lambda: kennel.Created("value", tags=tags)),
    "created async": lambda cache, tags: asyncio.run(
        cache.aget_or_create("key", returns(lambda: kennel.Created("value", tags=tags)))
    ),
    "created many": lambda cache, tags: cache.get_or_create_multi(
        ["key"], lambda keys: [kennel.Created("value", tags=tags)]
    ),
    "created many async": lambda cache, tags: asyncio.run(
        cache.aget_or_create_multi(["key"], returns(lambda: [kennel.Created("value", tags=tags)]))
    ),
    "near": lambda cache, tags: cache.near().set("key", "value", tags=tags),
    "near create": lambda cache, tags: cache.near().get_or_create("key", lambda: "value", tags=tags),
    "near created": lambda cache, tags: cache.near().get_or_create("key", lambda: kennel.Created(7, tags=tags)),
    "near created async": lambda cache, tags: asyncio.run(
        cache.near().aget_or_create("key", returns(lambda: kennel.Created(7, tags=tags)))
    ),
    "memoize": lambda cache, tags: cache.memoize(key=lambda: "key", tags=tags)(lambda: 7)(),
    "memoize created": lambda cache, tags: cache.memoize(key=lambda: "key")(lambda: kennel.Created(7, tags=tags))(),
    "memoize async": lambda cache, tags: asyncio.run(
        cache.memoize(key=lambda *_: "key")(returns(lambda: kennel.Created(7, tags=tags)))()
    ),
    "memoize a function of tags": lambda cache, tags: cache.memoize(key=lambda: "key", tags=lambda: tags)(lambda: 7)(),
    "refresh": lambda cache, tags: cache.memoize(key=lambda: "key")(lambda: kennel.Created(7, tags=tags)).refresh(),
    "namespace": lambda cache, tags: cache.namespace("pages").set("key", "value", tags=tags),
}


def returns(made):
    """A coroutine function that returns what is given, or the result of calling it."""

    async def create(*_):
        return made() if callable(made) else made

    return create


def spaces(cache, *without):
    """Each form of a write, with where it stores, one after the other in an empty cache."""
    for form in WRITES:
        if form not in without:
            yield form, cache.namespace("pages") if form == "namespace" else cache
            cache.clear()


def test_an_invalidation_covers_each_kind_of_write(cache):
    for form, space in spaces(cache):
        WRITES[form](cache, ["product:7", b"layout"])
        assert "key" in space, form
        cache.invalidate_tags(["other"])
        assert "key" in space, form
        cache.invalidate_tags(["product:7"], soft=True)
        assert space.get_item("key").is_stale, form
        cache.invalidate_tags([b"layout"])
        assert "key" not in space, form


NAMES = {
    "nothing": (lambda: [], 0),
    "no tuple": (lambda: (), 0),
    "None": (lambda: None, 0),
    "one name four times": (lambda: ["a", "a", b"a", bytearray(b"a")], 1),
    "a set": (lambda: {"a", "b"}, 2),
    "keys": (lambda: {"a": 1}, 1),
    "as many as may be": (lambda: [f"{n}" for n in range(kennel.MAX_TAGS)], kennel.MAX_TAGS),
    "an empty name": (lambda: [""], 1),
    "a long name": (lambda: ["x" * 100_000], 1),
    "odd names": (lambda: ["\udc80", "\0", "é"], 3),
    "a generator": (lambda: (f"{n}" for n in range(3)), 3),
}


@pytest.mark.parametrize("names", NAMES)
def test_any_iterable_of_names_will_do(cache, names):
    make, expected = NAMES[names]
    for form, space in spaces(cache):
        WRITES[form](cache, make())
        assert [entry.tags for entry in space.entries()] == [expected], form


def test_what_is_no_list_of_names_is_refused(cache):
    for form, space in spaces(cache):
        for wrong in ("product:7", b"product:7", 7, [7], [None], [["a"]], object()):
            with pytest.raises(TypeError, match="tag"):
                WRITES[form](cache, wrong)
            assert space.get("key") in (None, b""), form


def test_too_many_tags_are_an_error(cache):
    many = [f"{n}" for n in range(kennel.MAX_TAGS + 4)]
    for form, space in spaces(cache, "multi"):
        with pytest.raises(kennel.TooManyTags) as raised:
            WRITES[form](cache, many)
        assert (raised.value.found, raised.value.limit) == (20, 16), form
        assert space.get("key") in (None, b""), form
    (error,) = cache.set_multi({"key": "value"}, tags=many).values()
    assert (type(error), error.found, error.limit) == (kennel.TooManyTags, 20, 16)
    assert isinstance(error, ValueError)


def test_too_many_together_are_not_stored(cache, caplog):
    options, own = [f"a{n}" for n in range(10)], [f"b{n}" for n in range(10)]
    assert cache.get_or_create("key", lambda: kennel.Created("value", tags=own), tags=options) == b"value"
    assert "key" not in cache and "20" in caplog.text


def test_any_number_of_tags_can_be_invalidated(cache):
    tagged(cache, "key", "500")
    cache.invalidate_tags([])
    cache.invalidate_tags(iter(()))
    assert "key" in cache
    cache.invalidate_tags(f"{n}" for n in range(1000))
    assert "key" not in cache
    for wrong in ("500", b"500", 7, None, [7], [["a"]]):
        with pytest.raises(TypeError, match="tag"):
            cache.invalidate_tags(wrong)


def test_tags_are_those_of_the_file(cache):
    one, other = cache.namespace("one"), cache.namespace("other")
    for space in (cache, one, other):
        tagged(space, "key", "t")
    one.invalidate_tags(["t"])
    assert not any("key" in space for space in (cache, one, other))


def test_a_write_replaces_the_tags_and_incr_and_touch_keep_them(cache):
    tagged(cache, "key", "t")
    cache.set("key", "untagged")
    cache.invalidate_tags(["t"])
    assert "key" in cache
    cache.set("n", "1", tags=["t"])
    assert cache.incr("n", 4, initial=0, tags=["u"]) == 5
    assert cache.touch("n", 60)
    cache.invalidate_tags(["u"])
    assert cache.get("n") == b"5"
    cache.invalidate_tags(["t"])
    assert "n" not in cache


def test_a_value_and_a_key_can_change_alone(cache):
    stamp = cache.set("key", "value", 60, stale=30, flags=7, tags=["t", "u"])
    before = cache.get_item("key")
    assert cache.swap_value("key", stamp + 1, "lost") is False
    assert cache.swap_value("missing", stamp, "lost") is None
    swapped = cache.swap_value("key", stamp, "other")
    assert swapped != stamp and cache.rename("key", "moved") and not cache.rename("key", "again")
    item = cache.get_item("moved")
    assert (item.value, item.flags, item.expires, item.soft_expires) == (b"other", 7, before.expires, before.soft_expires)
    assert tags_of(cache, b"moved") == 2 and "key" not in cache
    assert cache.rename("moved", "moved") and cache.get("moved") == b"other"
    cache.invalidate_tags(["t"])
    assert "moved" not in cache and not cache.rename("moved", "key")


def test_a_creator_that_names_its_tags_at_the_end_is_checked(cache):
    def create():
        cache.invalidate_tags(["product:7"])
        return kennel.Created("old", tags=["product:7"])

    assert cache.get_or_create("key", create) == b"old"
    assert "key" not in cache
    cache.invalidate_tags(["product:7"])
    assert cache.get_or_create("key", lambda: kennel.Created("new", tags=["product:7"])) == b"new"
    assert cache.get("key") == b"new"
    assert cache.stats().counters.voided == 1


def test_a_value_brings_its_times_and_flags_along(cache):
    made = kennel.Created("value", 60, stale=30, flags=7, tags=["t"])
    assert cache.get_or_create("key", lambda: made, ttl=600, flags=1, tags=["u"]) == b"value"
    item = cache.get_item("key")
    assert item.flags == 7 and 20 < item.soft_expires - item.expires + 60 < 40
    assert tags_of(cache, b"key") == 2
    at = kennel.Created("value", expires_at=item.expires)
    assert cache.get_or_create("other", lambda: at, ttl=600) == b"value"
    assert cache.get_item("other").expires == pytest.approx(item.expires, abs=0.01)
    assert cache.get_or_create("not", lambda: kennel.Created("value", stored=False)) == b"value"
    assert "not" not in cache


def test_the_times_of_one_value_are_checked_where_they_are_given(cache):
    for wrong, error in (
        ({"ttl": 1, "stale": 2}, kennel.BadOption),
        ({"ttl": "1m"}, TypeError),
        ({"ttl": 1, "expires_at": 2.0}, TypeError),
        ({"tags": "t"}, TypeError),
    ):
        with pytest.raises(error):
            kennel.Created("value", **wrong)
    assert repr(kennel.Created(7, 60, tags=["t"], stored=False)) == "Created(7, ttl=60, tags=[b't'], stored=False)"


def test_an_absence_has_tags_and_times(cache):
    def asked(made, **how):
        calls = []
        for _ in range(2):
            assert cache.get_or_create("key", lambda: calls.append(1) or made, **how) is None
        return len(calls)

    assert asked(None, absence_ttl=60, tags=["t"]) == 1
    cache.invalidate_tags(["t"])
    assert asked(kennel.Created(None, tags=["t"]), absence_ttl=60) == 1
    cache.invalidate_tags(["t"])
    assert asked(kennel.Created(None)) == 2
    assert asked(kennel.Created(None, ttl=60, stale=1, flags=1)) == 1
    cache.delete("key")
    assert asked(kennel.Created(None, stored=False), absence_ttl=60) == 2
    cache.claim("key").claim.store_absence(60, tags=["t"])
    assert asked(None) == 0
    cache.invalidate_tags(["t"])

    async def main():
        return await cache.aget_or_create("key", returns(lambda: kennel.Created(None, tags=["t"], ttl=60)))

    assert asyncio.run(main()) is None and asked(None) == 0
    cache.invalidate_tags(["t"])
    assert asked(None) == 2


def test_a_memoized_function_says_what_its_value_is_made_of(cache):
    calls = []

    @cache.memoize(ttl=600, near=10, tags=lambda number, *, kind="page": [kind, f"product:{number}"])
    def page(number, *, kind="page"):
        calls.append(number)
        return kennel.Created((number, kind), tags=["layout"], ttl=60)

    assert page(7) == page(7) == (7, "page") and calls == [7]
    assert page(8, kind="list") == (8, "list")
    (first, second) = (entry for entry in cache.entries())
    assert first.tags == second.tags == 3
    cache.invalidate_tags(["product:7"])
    assert page(8, kind="list") == (8, "list") and calls == [7, 8]
    assert page(7) == (7, "page") and calls == [7, 8, 7], "the near copy has died with its tag"
    cache.invalidate_tags(["layout"])
    assert page.refresh(8, kind="list") == (8, "list")
    (item,) = cache.get_items([page.key(8, kind="list")])
    assert item.expires is not None and calls == [7, 8, 7, 8]
    assert page(8, kind="list") == (8, "list") and calls == [7, 8, 7, 8]


def test_a_refreshed_value_whose_tag_was_invalidated_meanwhile_is_not_stored(cache):
    @cache.memoize(key=lambda: "key", ttl=600, stale=60)
    def page():
        if during:
            cache.invalidate_tags(["t"])
        return kennel.Created("value", tags=["t"], **own)

    during, own = False, {}
    assert page.refresh() == "value" and "key" in cache
    during = True
    assert page.refresh() == "value" and "key" not in cache
    during, own = False, {"ttl": 5}
    assert page.refresh() == "value" and cache.get_item("key").soft_expires is None
    own = {"stored": False}
    assert page.refresh() == "value" and "key" not in cache


def test_a_function_without_its_cache_returns_the_value_alone(tmp_path):
    @kennel.memoize(cache=tmp_path / "no" / "such" / "folder")
    def page():
        return kennel.Created("value", tags=["t"])

    assert page() == page.refresh() == "value"
    assert page.uncached == 1


def test_near_copies_die_with_their_tag(cache):
    near = cache.near()
    near.set("key", (1, 2), tags=["t"])
    assert near.get("key") is near.get("key")
    cache.invalidate_tags(["t"])
    assert near.get("key") is None
    assert near.get_or_create("key", lambda: kennel.Created((3,), tags=["t"])) == (3,)
    assert near.get("key") is near.get("key")
    cache.invalidate_tags(["t"], soft=True)
    assert near.get("key") == (3,)
    assert near.get_or_create("key", lambda: (4,)) == (4,)


def test_a_dump_takes_tags_along_and_a_load_only_if_told(cache, opened, tmp_path):
    tagged(cache, "tagged", "t")
    cache.set("plain", "value")
    assert cache.dump(tmp_path / "dump") == 2
    other = opened("other.kennel", capacity=8 << 20)
    assert other.load(tmp_path / "dump").tagged == 1
    assert "plain" in other and "tagged" not in other
    other.load(tmp_path / "dump", tagged=True)
    assert tags_of(other, b"tagged") == 1
    other.invalidate_tags(["t"])
    assert "tagged" not in other and "tagged" in cache


def test_another_process_invalidates(cache):
    tagged(cache, "key", "t")
    near = cache.near(serializer="bytes")
    assert near.get("key") == b"value"
    program = "import sys, kennel; kennel.Cache(sys.argv[1]).invalidate_tags(['t'])"
    subprocess.run([sys.executable, "-c", program, str(cache.path)], check=True, timeout=60)
    assert "key" not in cache and near.get("key") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_invalidates_with_the_handle_of_its_parent(cache):
    tagged(cache, "key", "t")
    child = os.fork()
    if child == 0:
        try:
            cache.invalidate_tags(["t"])
            os._exit(0 if "key" not in cache else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert "key" not in cache
    tagged(cache, "key", "t")
    cache.invalidate_tags(["t"])
    assert "key" not in cache


def test_a_handle_of_a_resized_file_invalidates_in_the_new_one(cache, path, opened):
    tagged(cache, "key", "t")
    opened().resize(16 << 20)
    cache.invalidate_tags(["t"])
    assert "key" not in cache and "key" not in opened()


def test_handles_that_may_not_write_cannot_invalidate(cache, opened, path):
    reader = opened(read_only=True)
    with pytest.raises(kennel.ReadOnly):
        reader.invalidate_tags(["t"])
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.invalidate_tags(["t"])


def test_a_file_without_tables_refuses_tags(opened, caplog):
    cache = opened(capacity=8 << 20, tags=0)
    assert cache.stats().tags == 0
    with pytest.raises(kennel.BadOption, match="tags"):
        tagged(cache, "key", "t")
    assert cache.get_or_create("key", lambda: "value", tags=["t"]) == b"value"
    assert "key" not in cache and "tables for tags" in caplog.text
    cache.invalidate_tags(["t"])
    other = opened("longer.kennel", capacity=8 << 20, tags=65_536)
    assert other.stats().tags == 65_536
    with pytest.raises(kennel.BadOption, match="tags"):
        opened("wrong.kennel", tags=3)


def test_waiting_callers_create_anew_when_a_creation_was_voided(cache, until):
    go_on, values = threading.Event(), []

    def slow():
        go_on.wait(20)
        return kennel.Created("old", tags=["t"])

    def work(create):
        values.append(cache.get_or_create("key", create))

    creator = threading.Thread(target=work, args=[slow])
    creator.start()
    until(lambda: cache.is_claimed("key"))
    waiter = threading.Thread(target=work, args=[lambda: kennel.Created("new", tags=["t"])])
    waiter.start()
    until(lambda: cache.stats().counters.claim_waits)
    cache.invalidate_tags(["t"])
    go_on.set()
    creator.join()
    waiter.join()
    assert sorted(values) == [b"new", b"old"] and cache.get("key") == b"new"


def test_the_cover_of_set_reads_tags_as_the_method_below_does(cache):
    """A cover that gives up after it has read a generator would leave nothing for the method."""
    for given in (["t"], ("t",), {"t"}, (name for name in ["t"]), iter(["t"]), {"t": 1}.keys()):
        cache.set("key", "value", tags=given)
        assert tags_of(cache, b"key") == 1
    for given in ([], (), None, iter(())):
        cache.set("key", "value", tags=given)
        assert tags_of(cache, b"key") == 0

    class Names(list):
        def __iter__(self):
            return iter(["a", "b"])

    cache.set("key", "value", tags=Names())
    assert tags_of(cache, b"key") == 2
