"""One creates, the others wait or take the stale value: over threads, processes and coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref

import kennel
import pytest


def in_threads(count, work):
    results, threads = [], []
    for i in range(count):
        threads.append(threading.Thread(target=lambda i=i: results.append(work(i))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_thread_creates_for_all(cache):
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


def test_what_a_creator_raises_reaches_its_own_caller_only(cache):
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


def test_waiting_has_a_limit(cache):
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
def test_unprotected_waits_as_long_as_others_do(cache, how):
    """A creation that takes longer than a piece of a wait is run once all the same."""
    created = []

    def create():
        created.append(1)
        time.sleep(1)
        return b"value"

    assert in_threads(6, lambda _: WAITERS[how](cache, create)) == [b"value"] * 6
    counters = cache.stats().counters
    assert (len(created), counters.unprotected, counters.uncached) == (1, 0, 0)


def test_unprotected_claims_after_the_whole_wait(cache):
    claim = cache.claim("key").claim
    began = time.monotonic()
    (found,) = in_threads(1, lambda _: cache.claim("key", wait=0.8, unprotected=True))
    assert found.claim is not None and not found.claim.is_protected and time.monotonic() - began >= 0.8
    assert claim.is_protected


@pytest.mark.skipif(os.name != "posix", reason="locks a stripe by hand")
@pytest.mark.parametrize("option", ["unprotected", "or_uncached"])
def test_a_stripe_that_stays_busy_keeps_nobody_from_creating(opened, option):
    import fcntl

    cache = opened(capacity=8 << 20, stripes=1, lock_wait=0.4)
    cache.set("other", "value")
    (stripe,) = cache.path.parent.glob("*.locks/*/*.lock")
    with stripe.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
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


def test_many_in_other_orders_do_not_wait_in_a_circle(cache):
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


# Locks


def test_a_lock_keeps_others_out(cache):
    inside = []

    def work(i):
        for _ in range(20):
            with cache.lock("key"):
                inside.append(i)
                assert len(inside) == 1
                inside.pop()
        return True

    assert in_threads(4, work) == [True] * 4


def test_a_lock_is_a_mutex(cache):
    lock = cache.lock("key")
    assert not lock.locked()
    assert lock.acquire() and lock.locked() and lock.is_protected
    assert in_threads(1, lambda _: cache.lock("key").acquire(False)) == [False]
    assert in_threads(1, lambda _: cache.lock("key").acquire(0.05)) == [False]
    assert lock.acquire(False) is False
    with pytest.raises(kennel.OwnClaim):
        lock.acquire()
    in_threads(1, lambda _: lock.release())
    assert not lock.locked() and cache.lock("key").acquire(False)
    with pytest.raises(RuntimeError, match="not held"):
        lock.release()
    assert weakref.ref(lock)() is lock


def test_a_lock_that_is_not_to_be_had_raises_in_a_block(cache):
    with cache.lock("key"):

        def other(_):
            with pytest.raises(kennel.TimedOut):
                with cache.lock("key", wait=0.05):
                    pass
            return True

        assert in_threads(1, other) == [True]


@pytest.mark.skipif(os.name != "posix", reason="locks a stripe by hand")
def test_a_busy_stripe_is_waited_for_as_long_as_was_said(opened):
    """The wait of the main thread is cut into pieces, and once the first of them was all that was waited for a stripe."""
    import fcntl

    cache = opened(capacity=8 << 20, stripes=1, lock_wait=1)
    (stripe,) = cache.path.parent.glob("*.locks/*/*.lock")

    def busy_for(seconds):
        with stripe.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            locked.set()
            time.sleep(seconds)

    for seconds in [0.6, 3]:
        locked = threading.Event()
        holder = threading.Thread(target=busy_for, args=[seconds])
        holder.start()
        locked.wait()
        if seconds < 1:
            assert cache.lock("key").acquire()
        else:
            with pytest.raises(kennel.Busy) as caught:
                cache.lock("other").acquire()
            assert 0.9 < caught.value.waited < 2.5
        holder.join()


def test_a_lock_past_its_age_is_taken_over(cache):
    lock = cache.lock("key", max_age=0.1)
    assert lock.acquire()
    assert in_threads(1, lambda _: cache.lock("key").acquire(10)) == [True]
    assert not lock.is_protected
    assert cache.stats().counters.takeovers == 1


def test_other_keys_do_not_wait(cache):
    locks = [cache.lock(str(i)) for i in range(50)]
    assert all(lock.acquire(False) for lock in locks)
    assert not cache.lock("other").locked()


KILLED = """
import kennel, sys, time
cache = kennel.Cache(sys.argv[1])
lock = cache.lock("key")
lock.acquire()
claim = cache.claim("other").claim
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_the_locks_and_claims_of_a_killed_process_are_free_within_a_second_or_so(cache):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(cache.path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        assert not cache.lock("key").acquire(False)
        child.kill()
    began = time.monotonic()
    assert cache.lock("key").acquire(10)
    assert cache.get_or_create("other", lambda: "value", wait=10) == b"value"
    assert time.monotonic() - began < 5


# A run in the background ignores the signal, and hands that on to its children.
INTERRUPTED = """
import kennel, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
cache = kennel.Cache(sys.argv[1])
print("ready", flush=True)
try:
    cache.lock("key", wait=None).acquire()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="interrupts by a signal")
def test_ctrl_c_ends_a_wait(cache):
    with cache.lock("key"):
        with subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(cache.path)], stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == b"interrupted\n"
            assert child.wait(10) == 0


def hold(cache, held, go_on):
    with cache.lock("key"):
        held.set()
        go_on.wait(30)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_locks_hold_over_processes_of_all_kinds(cache, method):
    context = multiprocessing.get_context(method)
    held, go_on = context.Event(), context.Event()
    child = context.Process(target=hold, args=(cache, held, go_on))
    child.start()
    assert held.wait(30)
    assert cache.lock("key").acquire(False) is False
    go_on.set()
    assert cache.lock("key").acquire(20)
    child.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_hold_its_parents_lock(cache):
    lock = cache.lock("key")
    assert lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            lock.release()
            os._exit(0 if not lock.is_protected and cache.is_claimed("key") else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.is_protected and lock.locked()


# Namespaces


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
    import pickle

    namespace = cache.namespace("people", ttl=60)
    namespace.set("1", "Ada")
    again = pickle.loads(pickle.dumps(namespace))
    assert again.get("1") == b"Ada"
    again.cache.close()
    assert again.closed and not namespace.closed
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        namespace.get("1")


# Coroutines


def test_one_coroutine_creates_for_all(cache):
    created = []

    async def create():
        created.append(1)
        await asyncio.sleep(0.1)
        return "value"

    async def main():
        return await asyncio.gather(*[cache.aget_or_create("key", create) for _ in range(20)])

    assert asyncio.run(main()) == [b"value"] * 20
    assert len(created) == 1


def test_the_event_loop_goes_on_while_a_coroutine_waits(cache):
    claim = cache.claim("key").claim

    async def main():
        waiting = asyncio.create_task(cache.aget_or_create("key", None, wait=20))
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.01)
            ticks += 1
        assert not waiting.done()
        claim.store("value")
        assert await waiting == b"value"
        return ticks

    assert asyncio.run(main()) == 20


@pytest.mark.skipif(os.name != "posix", reason="locks a stripe by hand")
def test_the_event_loop_goes_on_while_a_stripe_is_busy(opened):
    """A coroutine waits for a stripe's lock as long as a thread does, and not on the event loop's thread."""
    import fcntl

    cache = opened(capacity=8 << 20, stripes=1, lock_wait=1.5)
    (stripe,) = cache.path.parent.glob("*.locks/*/*.lock")
    longest = 0.0

    async def create():
        return "value"

    async def tick():
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    async def main():
        ticking = asyncio.create_task(tick())
        with stripe.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            found = asyncio.create_task(cache.aget_or_create("key", create))
            await asyncio.sleep(0.7)
            assert not found.done()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert await found == b"value"
            fcntl.flock(held, fcntl.LOCK_EX)
            began = time.monotonic()
            with pytest.raises(kennel.Busy):
                await cache.aget_or_create("other", create)
            assert time.monotonic() - began > 1.2
        ticking.cancel()

    asyncio.run(main())
    assert cache.lock_wait == 1.5
    assert longest < 0.2, "somebody waited on the event loop's thread"


def test_a_coroutines_wait_has_a_limit(cache):
    claim = cache.claim("key").claim

    async def own():
        return "own"

    async def main():
        with pytest.raises(kennel.TimedOut):
            await cache.aget_or_create("key", own, wait=0.05)
        assert await cache.aget_or_create("key", own, wait=0.05, unprotected=True) == b"own"

    asyncio.run(main())
    claim.fail()


def test_a_cancelled_coroutine_gives_its_claim_back(cache):
    async def never():
        await asyncio.sleep(60)

    async def main():
        creator = asyncio.create_task(cache.aget_or_create("key", never))
        await asyncio.sleep(0.05)
        assert cache.is_claimed("key")
        creator.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creator
        assert not cache.is_claimed("key")

    asyncio.run(main())


def test_coroutines_need_no_thread_of_the_default_executor(cache):
    """All of its threads may be busy, even with waiting for what a coroutine is about to store."""
    release = threading.Event()

    async def create(key):
        await asyncio.sleep(0.01)
        return key

    async def main():
        loop = asyncio.get_running_loop()
        executor = concurrent.futures.ThreadPoolExecutor(1)
        loop.set_default_executor(executor)
        blocked = loop.run_in_executor(None, release.wait, 60)
        try:
            jobs = [cache.aget_or_create(f"key {n}", lambda n=n: create(f"{n}"), wait=10) for n in range(40)]
            values = await asyncio.wait_for(asyncio.gather(*jobs), 20)
            many = cache.aget_or_create_multi(["a", "b"], lambda keys: create_many(keys))
            assert await asyncio.wait_for(many, 20) == [b"a", b"b"]
        finally:
            release.set()
            await blocked
        return values

    async def create_many(keys):
        return keys

    assert asyncio.run(main()) == [f"{n}".encode() for n in range(40)]
    assert [cache.get(f"key {n}") for n in range(40)] == [f"{n}".encode() for n in range(40)]


@pytest.mark.skipif(os.name != "posix", reason="locks a stripe by hand")
def test_a_coroutine_can_be_cancelled_while_its_value_is_stored(opened):
    import fcntl

    cache = opened(capacity=8 << 20, stripes=1)
    (stripe,) = cache.path.parent.glob("*.locks/*/*.lock")

    async def main():
        with stripe.open("r+b") as held:
            loop = asyncio.get_running_loop()

            async def create():
                fcntl.flock(held, fcntl.LOCK_EX)
                loop.call_later(0.2, creator.cancel)
                return "value"

            creator = asyncio.create_task(cache.aget_or_create("key", create))
            with pytest.raises(asyncio.CancelledError):
                await creator
            fcntl.flock(held, fcntl.LOCK_UN)

    asyncio.run(main())
    assert cache.get_or_create("key", lambda: "other") in (b"value", b"other")


def test_threads_share_an_iterator_over_keys(cache):
    cache.set_multi({f"key {n}": "" for n in range(5000)})
    keys = cache.keys()
    found = in_threads(4, lambda _: list(keys))
    assert sorted(sum(found, [])) == sorted(cache.keys())
    assert len(sum(found, [])) == 5000


def test_a_coroutine_that_asks_for_its_own_key_is_told_so(cache):
    async def create():
        return await cache.aget_or_create("key", create)

    with pytest.raises(kennel.OwnClaim):
        asyncio.run(cache.aget_or_create("key", create))


def test_a_task_creates_a_stale_value_anew_in_the_background(cache, caplog):
    cache.set("key", "old", stale=0)

    async def main():
        go_on = asyncio.Event()

        async def create():
            await go_on.wait()
            # It is known whose the creation is.
            cache.delete("other")
            assert await cache.aget_or_create("other", made) == b"made"
            return "new"

        async def made():
            return "made"

        async def fails():
            raise RuntimeError("no database")

        assert await cache.aget_or_create("key", create, background=True) == b"old"
        assert await cache.aget_or_create("key", None, background=True) == b"old"
        go_on.set()
        while cache.is_claimed("key"):
            await asyncio.sleep(0.01)
        assert cache.get("key") == b"new"
        cache.set("key", "old", stale=0)
        assert await cache.aget_or_create("key", fails, background=True) == b"old"
        while not caplog.records or cache.is_claimed("key"):
            await asyncio.sleep(0.01)
        assert "no database" in caplog.text

    asyncio.run(asyncio.wait_for(main(), 30))


def test_tasks_create_many_keys_at_once(cache):
    asked = []

    async def create(missing):
        asked.extend(missing)
        await asyncio.sleep(0.02)
        return [f"value of {key}" for key in missing]

    async def main():
        there = cache.aget_or_create_multi(["a", "b", "c", "a"], create)
        back = cache.aget_or_create_multi(["d", "c", "b", "a"], create)
        first, second = await asyncio.gather(there, back)
        assert first == [b"value of a", b"value of b", b"value of c", b"value of a"]
        assert second == [b"value of d", b"value of c", b"value of b", b"value of a"]
        with pytest.raises(ValueError, match="expected 2 values, one for each key, found 0"):
            await cache.aget_or_create_multi(["x", "y"], nothing)

    async def nothing(missing):
        return []

    asyncio.run(asyncio.wait_for(main(), 30))
    assert sorted(asked) == ["a", "b", "c", "d"]
    assert not cache.is_claimed("x") and not cache.is_claimed("y")
