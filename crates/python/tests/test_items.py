"""``get_or_create_item``: a value with its metadata, and how the caller came to it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time

import kennel
import pytest


def by_thread(space, key, create, **how):
    return space.get_or_create_item(key, create, **how)


def by_coroutine(space, key, create, **how):
    async def created():
        return create()

    return asyncio.run(space.aget_or_create_item(key, created, **how))


@pytest.fixture(autouse=True)
def log_as_in_a_new_process(monkeypatch):
    """The first failure of each kind is a warning, and other tests look for theirs."""
    monkeypatch.setattr(kennel._log, "_warned", set())


@pytest.fixture(params=[by_thread, by_coroutine])
def ask(request):
    return request.param


@pytest.fixture(params=["cache", "namespace"])
def space(request, cache):
    return cache if request.param == "cache" else cache.namespace("pages")


FIELDS = ("value", "flags", "stamp", "id", "expires", "soft_expires", "created", "is_stale")


def fields(item):
    return {name: getattr(item, name) for name in FIELDS}


def never():
    raise AssertionError("the key has a value")


def down():
    raise OSError("down")


def make_stale(space):
    space.set("key", "old", ttl=60, stale=0, flags=3)
    return fields(space.get_item("key"))


def test_it_is_the_item_that_a_read_finds(space, ask):
    got = ask(space, "key", lambda: "value", ttl=60, stale=30, flags=7)
    assert (got.source, got.value, got.item.flags, got.item.is_stale) == ("created", b"value", 7, False)
    assert 58 < got.item.expires - time.time() <= 60 and 28 < got.item.soft_expires - time.time() <= 30
    assert fields(got.item) == fields(space.get_item("key"))
    assert abs(time.time() - got.item.created) < 2
    hit = ask(space, "key", never)
    assert (hit.source, fields(hit.item)) == ("hit", fields(got.item))
    assert isinstance(space.get_if_changed("key", got.item.id), kennel.Unchanged)
    assert space.compare_and_swap("key", got.item.stamp, "other")


def test_a_created_value_brings_its_own(space, ask):
    made = kennel.Created(memoryview(b"value"), ttl=10, flags=9, tags=["one"])
    got = ask(space, "key", lambda: made, ttl=60, flags=7, tags=["all"])
    assert (got.source, got.value, got.item.flags) == ("created", b"value", 9)
    assert 8 < got.item.expires - time.time() <= 10
    assert fields(got.item) == fields(space.get_item("key"))
    for tag in ("one", "all"):
        assert ask(space, "key", lambda: made, tags=["all"]).source in ("hit", "created")
        space.invalidate_tags([tag])
        assert "key" not in space
    got = ask(space, "moment", lambda: kennel.Created("value", expires_at=2**33))
    assert got.item.expires == 2**33 and fields(got.item) == fields(space.get_item("moment"))


def test_the_times_are_those_of_the_namespace(cache, ask):
    pages = cache.namespace("pages", ttl=60, stale=20)
    got = ask(pages, "key", lambda: "value")
    assert 58 < got.item.expires - time.time() <= 60 and 18 < got.item.soft_expires - time.time() <= 20
    assert fields(got.item) == fields(pages.get_item("key"))
    refused = ask(pages, "other", lambda: "value", should_cache=lambda _: False)
    assert refused.source == "not_stored" and 58 < refused.item.expires - time.time() <= 60


def test_a_stale_item_is_used_while_another_caller_creates(space, ask):
    old = make_stale(space)
    with space.claim("key").claim:
        got = ask(space, "key", never)
        assert (got.source, fields(got.item)) == ("stale", old)
    got = ask(space, "key", lambda: "new")
    assert (got.source, got.value, got.item.soft_expires) == ("created", b"new", None)


def test_a_stale_item_takes_the_place_of_a_failure(space, ask):
    old = make_stale(space)
    got = ask(space, "key", down, on_error="stale")
    assert (got.source, fields(got.item)) == ("failed", old)
    with pytest.raises(OSError, match="down"):
        ask(space, "key", down)
    with pytest.raises(OSError, match="down"):
        ask(space, "other", down, resilient=True)
    got = ask(space, "key", down, resilient=True)
    assert (got.source, fields(got.item)) == ("failed", old)
    got = ask(space, "key", never)
    assert (got.source, fields(got.item)) == ("stale", old), "the key rests"


def test_an_exception_that_is_no_error_ends_the_claim(cache, ask):
    def ends():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(cache, "key", ends)
    assert not cache.is_claimed("key")


def test_a_key_without_a_value_has_no_item(space, ask):
    got = ask(space, "key", lambda: None)
    assert (got.source, got.item, got.value) == ("not_stored", None, None)
    got = ask(space, "key", lambda: kennel.Created(None, stored=False), absence_ttl=60)
    assert (got.source, got.item) == ("not_stored", None)
    got = ask(space, "key", lambda: None, absence_ttl=60)
    assert (got.source, got.item) == ("created", None)
    assert ask(space, "key", never) == kennel.Got(None, "hit")
    got = ask(space, "other", lambda: kennel.Created(None, ttl=60))
    assert (got.source, ask(space, "other", never).source) == ("created", "hit")


NOT_STORED = {
    "refused by the caller": (lambda space: "value", {"should_cache": lambda value: value != b"value"}),
    "refused by its creator": (lambda space: kennel.Created("value", stored=False), {}),
    "too large": (lambda space: bytes(4 << 20), {}),
    "too many tags": (lambda space: kennel.Created("value", tags=["x"]), {"tags": [str(i) for i in range(16)]}),
    "written meanwhile": (lambda space: space.set("key", "newer") and "value", {}),
    "invalidated meanwhile": (lambda space: space.clear() or "value", {}),
}


@pytest.mark.parametrize("why", NOT_STORED)
def test_an_item_that_is_not_stored_has_no_stamp(space, ask, why):
    create, how = NOT_STORED[why]
    got = ask(space, "key", lambda: create(space), ttl=60, flags=5, **how)
    expected = bytes(4 << 20) if why == "too large" else b"value"
    assert (got.source, got.value, got.item.stamp, got.item.flags) == ("not_stored", expected, 0, 5)
    assert 58 < got.item.expires - time.time() <= 60
    assert space.get("key") == (b"newer" if why == "written meanwhile" else None)
    assert not isinstance(space.get_if_changed("key", got.item.id), kennel.Unchanged)
    assert not space.is_claimed("key")


def test_a_refused_value_has_what_its_creator_said(cache, ask):
    got = ask(cache, "key", lambda: kennel.Created("value", ttl=10, flags=9, stored=False), ttl=60, flags=5)
    assert (got.source, got.item.flags) == ("not_stored", 9) and 8 < got.item.expires - time.time() <= 10


def test_an_item_without_the_cache(opened, locked_stripe, ask):
    cache = opened(stripes=1, lock_wait=0.3)
    cache.set("other", "value")
    with locked_stripe(cache):
        got = ask(cache, "key", lambda: "value", or_uncached=True, flags=5)
        assert (got.source, got.value, got.item.stamp, got.item.flags) == ("not_stored", b"value", 0, 5)
        assert ask(cache, "key", lambda: None, or_uncached=True) == kennel.Got(None, "not_stored")
        with pytest.raises(kennel.Busy):
            ask(cache, "key", never)
    assert cache.stats().counters.uncached == 2


def test_a_value_that_is_not_stored_in_time_is_returned_and_nobody_has_failed(opened, locked_stripe, ask, caplog):
    cache = opened(stripes=1, lock_wait=0.3)
    cache.set("other", "value")
    how = dict(retry_after=(60, 60), flags=5)
    with contextlib.ExitStack() as held:

        def create():
            held.enter_context(locked_stripe(cache))
            return "value"

        got = ask(cache, "key", create, **how)
        assert (got.source, got.value, got.item.stamp, got.item.flags) == ("not_stored", b"value", 0, 5)
    assert ask(cache, "key", lambda: "again", **how).source == "created", "the key rests only after failures"
    assert cache.stats().counters.failed == 0
    assert re.search("locked by another thread or process for 3..ms", caplog.text), "the whole wait is logged"


def test_a_plain_value_that_is_not_stored_in_time_is_no_failure_either(opened, locked_stripe, loop_pauses):
    cache = opened(stripes=1, lock_wait=0.5)
    cache.set("other", "value")

    async def main():
        ticking = asyncio.create_task(loop_pauses.watch())
        with contextlib.ExitStack() as held:

            async def create():
                held.enter_context(locked_stripe(cache))
                return "value"

            assert await cache.aget_or_create("key", create, retry_after=(60, 60)) == b"value"
        ticking.cancel()
        return await cache.aget_or_create("key", again)

    async def again():
        return "again"

    assert asyncio.run(main()) == b"again"
    assert cache.stats().counters.failed == 0
    assert loop_pauses.longest < 0.2, "a coroutine blocked the thread of the event loop"


# Shorter and longer than the pieces in which the main thread waits.
@pytest.mark.parametrize("seconds", [0.05, 0.7])
def test_a_waiter_says_that_it_waited(space, ask, seconds):
    for store, value in ((lambda claim: claim.store("value"), b"value"), (lambda claim: claim.store_absence(60), None)):
        claims = []
        creator = threading.Thread(target=lambda: claims.append(space.claim("key").claim))
        creator.start()
        creator.join()
        end = threading.Timer(seconds, store, claims)
        end.start()
        got = ask(space, "key", never, wait=20)
        assert (got.source, got.value) == ("waited", value)
        assert ask(space, "key", never).source == "hit"
        space.clear()


def test_a_waiting_thread_says_that_it_waited(cache, in_threads):
    claim = cache.claim("key").claim
    end = threading.Timer(0.1, claim.store, ["value"])
    end.start()
    got = in_threads(4, lambda _: cache.get_or_create_item("key", never, wait=20))
    assert {one.source for one in got} == {"waited"}
    assert [fields(one.item) for one in got] == [fields(cache.get_item("key"))] * 4


def test_a_wait_has_its_end(space, ask, in_threads):
    claims = in_threads(1, lambda _: space.claim("key").claim)
    with pytest.raises(kennel.TimedOut):
        ask(space, "key", never, wait=0.1)
    with pytest.raises(kennel.TimedOut):
        ask(space, "key", never, wait=0)
    got = ask(space, "key", lambda: "own", wait=0.1, unprotected=True)
    assert (got.source, got.value) == ("created", b"own")
    assert claims[0].store("late") is False


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_background_creates_while_the_stale_item_is_used(cache):
    old = make_stale(cache)
    got = cache.get_or_create_item("key", lambda: "new", background=True)
    assert (got.source, fields(got.item)) == ("stale", old)
    wait_for(lambda: cache.get("key") == b"new")
    assert cache.get_or_create_item("other", lambda: "new", background=True).source == "created"


def test_a_task_creates_in_the_background_while_the_stale_item_is_used(cache):
    old = make_stale(cache)

    async def main():
        async def create():
            return "new"

        got = await cache.aget_or_create_item("key", create, background=True)
        while cache.get("key") != b"new":
            await asyncio.sleep(0.005)
        return got

    got = asyncio.run(asyncio.wait_for(main(), 20))
    assert (got.source, fields(got.item)) == ("stale", old)


def test_an_early_refresh_in_the_background_is_a_hit(cache):
    def create():
        time.sleep(0.02)
        return "value"

    first = cache.get_or_create_item("key", create, ttl=60, early_refresh=1e9)
    got = cache.get_or_create_item("key", create, ttl=60, early_refresh=1e9, background=True)
    assert (got.source, fields(got.item)) == ("hit", fields(first.item))
    wait_for(lambda: cache.get_item("key").stamp != first.item.stamp)


def test_one_creates_and_the_others_wait(cache, in_threads):
    created = []

    def create():
        created.append(1)
        time.sleep(0.2)
        return "value"

    got = in_threads(8, lambda _: cache.get_or_create_item("key", create))
    assert len(created) == 1 == [one.source for one in got].count("created")
    assert len({one.item.id for one in got}) == 1


def test_a_lookup_has_the_item_and_says_whether_it_waited(space):
    found = space.claim("key")
    assert (found.item, found.has_waited) == (None, False)
    found.claim.store("value", flags=7)
    found = space.claim("key")
    assert fields(found.item) == fields(space.get_item("key")) and not found.has_waited
    assert (found.value, found.id) == (found.item.value, found.item.id)
    old = make_stale(space)
    with space.claim("key").claim:
        found = space.claim("key")
        assert fields(found.item) == old and found.is_stale


def test_what_it_returns_reads_well(cache):
    got = cache.get_or_create_item("key", lambda: None)
    assert repr(got) == "Got(item=None, source='not_stored')"
    assert got == kennel.Got(None, "not_stored")
    with pytest.raises(AttributeError):
        got.source = "hit"
