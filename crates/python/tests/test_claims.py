"""Creating missing values by threads and processes: one caller creates, the others wait or get the stale value."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
import time

import kennel
import pytest


def test_one_thread_creates_for_all(cache, in_threads):
    created = []

    def create():
        created.append(threading.get_ident())
        time.sleep(0.1)
        return "value"

    assert in_threads(8, lambda _: cache.get_or_create("key", create)) == [b"value"] * 8
    assert len(created) == 1
    assert cache.stats().counters.creations == 1


HERD = """
import random, sys, threading, time, kennel
# Of so many who want one stripe at once, nobody is promised its lock in turn.
cache = kennel.Cache(sys.argv[1], lock_wait=60)
seed, keys, count = map(int, sys.argv[2:])

def create(key):
    cache.incr("created")
    time.sleep(0.005)
    return f"value of {key}"

def work(i):
    order = list(range(keys))
    random.Random(seed * 1000 + i).shuffle(order)
    for key in order:
        assert cache.get_or_create(f"key {key}", lambda: create(key)) == f"value of {key}".encode()

threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_a_herd_of_processes_and_threads_creates_each_key_once(opened):
    """Four processes of 50 threads, 1000 keys, each thread in another order. Under Wine one server answers every call of
    all of them, so that there are fewer."""
    keys, threads = 1000, 8 if os.name == "nt" else 50
    cache = opened(capacity=16 << 20, claims=256)
    cache.set("created", "0")
    command = [sys.executable, "-c", HERD, str(cache.path)]
    children = [subprocess.Popen([*command, str(seed), str(keys), str(threads)]) for seed in range(4)]
    assert [child.wait(500) for child in children] == [0] * 4
    assert cache.get("created") == str(keys).encode()
    assert cache.stats().counters.unprotected == 0


def test_a_stale_value_is_returned_to_all_but_its_creator(cache):
    cache.set("key", "old", ttl=60, stale=0)
    item = cache.get_item("key")
    assert item.is_stale and item.soft_expires is not None
    assert cache.get("key") == b"old"
    creating, go_on = threading.Event(), threading.Event()

    def create():
        creating.set()
        go_on.wait(10)
        return "new"

    results = []
    creator = threading.Thread(target=lambda: results.append(cache.get_or_create("key", create, ttl=60)))
    creator.start()
    creating.wait(10)
    assert cache.get_or_create("key", lambda: pytest.fail("a second creator")) == b"old"
    go_on.set()
    creator.join()
    assert results == [b"new"] and cache.get("key") == b"new"


def test_a_stale_value_is_created_anew_in_the_background(cache):
    cache.set("key", "old", stale=0)
    created = threading.Event()

    def create():
        created.set()
        return "new"

    assert cache.get_or_create("key", create, background=True) == b"old"
    assert created.wait(10)
    end = time.monotonic() + 5
    while cache.get("key") != b"new":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_fails_in_the_background_is_logged_and_tried_again(cache, caplog):
    cache.set("key", "old", stale=0)

    def fails():
        raise RuntimeError("no database")

    assert cache.get_or_create("key", fails, background=True) == b"old"
    end = time.monotonic() + 5
    while not caplog.records or cache.is_claimed("key"):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "no database" in caplog.text
    assert cache.get_or_create("key", lambda: "new") == b"new"


def test_what_a_creator_raises_reaches_its_own_caller_only(cache, in_threads):
    tries, lock = [], threading.Lock()

    def create():
        with lock:
            tries.append(1)
            first = len(tries) == 1
        time.sleep(0.05)
        if first:
            raise RuntimeError("no database")
        return "value"

    def ask(_):
        try:
            return cache.get_or_create("key", create)
        except RuntimeError as error:
            return str(error)

    results = in_threads(4, ask)
    assert sorted(results, key=str) == sorted([b"value"] * 3 + ["no database"], key=str)
    assert len(tries) == 2


def test_waiting_has_a_limit(cache, in_threads):
    claim = cache.claim("key").claim
    began = time.monotonic()
    result = in_threads(1, lambda _: pytest.raises(kennel.TimedOut, cache.get_or_create, "key", bytes, wait=0.1))
    assert 0.1 <= time.monotonic() - began < 5
    assert result[0].value.waited >= 0.1 and isinstance(result[0].value, TimeoutError)
    in_threads(1, lambda _: pytest.raises(kennel.TimedOut, cache.get_or_create, "key", bytes, wait=0))
    assert in_threads(1, lambda _: cache.get_or_create("key", lambda: "own", wait=0, unprotected=True)) == [b"own"]
    assert cache.stats().counters.unprotected == 1
    claim.fail()


WAITERS = {
    "cache": lambda cache, create: cache.get_or_create("key", create, unprotected=True),
    "namespace": lambda cache, create: cache.namespace("pages").get_or_create("key", create, unprotected=True),
    "multi": lambda cache, create: cache.get_or_create_multi(["key"], lambda _: [create()], unprotected=True)[0],
    "memoize": lambda cache, create: cache.memoize(key=lambda: "key", serializer="bytes", unprotected=True)(create)(),
    "or_uncached": lambda cache, create: cache.get_or_create("key", create, or_uncached=True),
    "async": lambda cache, create: asyncio.run(cache.aget_or_create("key", awaited(create), unprotected=True)),
}


def awaited(create):
    async def coroutine():
        return await asyncio.to_thread(create)

    return coroutine


@pytest.mark.parametrize("how", WAITERS)
def test_unprotected_waits_as_long_as_others_do(cache, how, in_threads):
    """A creation that takes longer than a piece of a wait is run once all the same."""
    created = []

    def create():
        created.append(1)
        time.sleep(1)
        return b"value"

    assert in_threads(6, lambda _: WAITERS[how](cache, create)) == [b"value"] * 6
    counters = cache.stats().counters
    assert (len(created), counters.unprotected, counters.uncached) == (1, 0, 0)


def test_unprotected_claims_after_the_whole_wait(cache, in_threads):
    claim = cache.claim("key").claim
    began = time.monotonic()
    (found,) = in_threads(1, lambda _: cache.claim("key", wait=0.8, unprotected=True))
    assert found.claim is not None and not found.claim.is_protected and time.monotonic() - began >= 0.8
    assert claim.is_protected


@pytest.mark.parametrize("option", ["unprotected", "or_uncached"])
def test_a_stripe_that_stays_busy_keeps_nobody_from_creating(opened, locked_stripe, option):
    cache = opened(capacity=8 << 20, stripes=1, lock_wait=0.4)
    cache.set("other", "value")
    with locked_stripe(cache):
        assert cache.get_or_create("key", lambda: "value", wait=20, **{option: True}) == b"value"
        with pytest.raises(kennel.Busy):
            cache.get_or_create("key", lambda: "value", wait=20)
    counters = cache.stats().counters
    assert counters.unprotected + counters.uncached == 1 == getattr(counters, option.replace("or_", ""))


def test_the_same_key_within_its_own_creation_is_an_error_and_another_is_not(cache):
    assert cache.get_or_create("a", lambda: cache.get_or_create("b", lambda: "value")) == b"value"
    with pytest.raises(kennel.OwnClaim):
        cache.get_or_create("c", lambda: cache.get_or_create("c", lambda: "value"))
    assert not cache.is_claimed("c")


def test_nothing_is_stored_after_a_write_that_came_meanwhile(cache):
    def create():
        cache.set("key", "newer")
        return "created"

    assert cache.get_or_create("key", create) == b"created"
    assert cache.get("key") == b"newer"
    assert cache.stats().counters.voided == 1
    cache.delete("key")
    with cache.claim("key").claim as claim:
        cache.clear()
        assert claim.store("created") is False
    assert "key" not in cache


def test_that_there_is_none_is_remembered_if_asked(cache):
    asked = []

    def none():
        asked.append(1)

    for _ in range(3):
        assert cache.get_or_create("key", none) is None
    assert len(asked) == 3
    for _ in range(3):
        assert cache.get_or_create("key", none, absence_ttl=60) is None
    assert len(asked) == 4
    assert "key" not in cache


def test_what_shall_not_be_cached_is_not(cache):
    assert cache.get_or_create("key", lambda: "", should_cache=bool) == b""
    assert "key" not in cache
    assert cache.get_or_create("key", lambda: "1", should_cache=bool) == b"1"
    assert "key" in cache


def test_what_is_too_large_is_returned_all_the_same(cache):
    large = bytes(4 << 20)
    assert cache.get_or_create("key", lambda: large) == large
    assert not cache.is_claimed("key") and "key" not in cache


def test_a_claim_says_what_became_of_it_once(cache):
    claim = cache.claim("key", ttl=60).claim
    assert claim.is_protected and not claim.has_ended and cache.is_claimed("key")
    assert claim.store("value") is True
    assert claim.has_ended and not cache.is_claimed("key")
    for again in [lambda: claim.store("x"), claim.store_absence, claim.refuse, claim.fail]:
        with pytest.raises(ValueError, match="has ended"):
            again()
    found = cache.claim("key")
    assert (found.value, found.is_stale, found.claim) == (b"value", False, None)
    assert cache.get_item("key").expires is not None


def test_a_forgotten_claim_has_failed(cache):
    claim = cache.claim("key").claim
    assert cache.is_claimed("key")
    del claim
    gc.collect()
    assert not cache.is_claimed("key")


def test_many_are_created_at_once(cache):
    cache.set("b", "2")
    asked = []

    def create(keys):
        asked.append(keys)
        return [f"new {key}" for key in keys]

    assert cache.get_or_create_multi(["c", "b", "a", "c"], create) == [b"new c", b"2", b"new a", b"new c"]
    assert asked == [["c", "a"]]
    assert cache.get("a") == b"new a"
    with pytest.raises(ValueError, match="expected 2 values"):
        cache.get_or_create_multi(["x", "y"], lambda keys: ["1"])
    assert not cache.is_claimed("x") and not cache.is_claimed("y")
    assert cache.get_or_create_multi([], create) == []


def test_many_in_other_orders_do_not_wait_in_a_circle(cache, in_threads):
    keys = [f"key {i}" for i in range(12)]

    def work(i):
        rng = random.Random(i)
        for round_ in range(30):
            chosen = [f"{round_} {key}" for key in rng.sample(keys, 8)]
            got = cache.get_or_create_multi(chosen, lambda missing: missing, wait=20)
            assert got == [key.encode() for key in chosen]
        return i

    assert sorted(in_threads(6, work)) == list(range(6))


def test_early_creation_happens_before_the_end(cache):
    created = []

    def create():
        created.append(1)
        time.sleep(0.02)
        return "value"

    for _ in range(20):
        cache.get_or_create("key", create, ttl=60, early_refresh=1e9)
    assert len(created) == 20
    for _ in range(20):
        cache.get_or_create("key", create, ttl=60, early_refresh=1e-9)
    assert len(created) == 20


def test_an_option_that_does_not_exist_is_named(cache):
    for how in ({"tll": 1}, {"ttl": 1, "tags": ["t"], "tll": None}):
        with pytest.raises(TypeError, match="tll"):
            cache.claim("key", **how)
    assert not cache.is_claimed("key")
    everything = dict.fromkeys(["ttl", "stale", "absence_ttl", "wait", "claim_max_age", "early_refresh", "task", "tags"])
    flags = dict.fromkeys(["unprotected", "nonblocking", "or_uncached", "share_failure", "resilient"], False)
    claim = cache.claim("key", **everything, **flags, flags=7, on_error="raise", retry_after=None).claim
    assert claim.store("value") and cache.get_item("key").flags == 7
