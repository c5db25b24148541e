"""Creators that raise exceptions: stale values in their place, pauses, and failures that waiters share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import kennel
import pytest


def down(*_):
    raise OSError("the server is down")


async def adown(*_):
    down()


def make_stale(cache, key="key"):
    cache.set(key, "old", stale=0)


FORMS = {
    "cache": lambda cache, **how: cache.get_or_create("key", down, **how),
    "async": lambda cache, **how: asyncio.run(cache.aget_or_create("key", adown, **how)),
    "multi": lambda cache, **how: cache.get_or_create_multi(["key"], down, **how)[0],
    "async multi": lambda cache, **how: asyncio.run(cache.aget_or_create_multi(["key"], adown, **how))[0],
    "memoize": lambda cache, **how: cache.memoize(key=lambda: "key", serializer="bytes", **how)(down)(),
    "async memoize": lambda cache, **how: asyncio.run(
        cache.memoize(key=lambda: "key", serializer="bytes", **how)(adown)()
    ),
    "near": lambda cache, **how: cache.near(serializer="bytes").get_or_create("key", down, **how),
    "namespace": lambda cache, **how: cache.get_or_create("key", down, **how),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_stale_value_takes_the_place_of_an_exception(cache, form):
    space = cache.namespace("pages") if form == "namespace" else cache
    make_stale(space)
    with pytest.raises(OSError, match="the server is down"):
        FORMS[form](space)
    assert FORMS[form](space, on_error="stale") == b"old"
    counters = cache.stats().counters
    assert (counters.stale_on_error, counters.failed) == (1, 2)
    space.delete("key")
    with pytest.raises(OSError):
        FORMS[form](space, on_error="stale")


@pytest.mark.parametrize("form", FORMS)
def test_nobody_tries_while_a_key_rests(cache, form):
    space = cache.namespace("pages") if form == "namespace" else cache
    with pytest.raises(OSError):
        FORMS[form](space, retry_after=(60, 60))
    with pytest.raises(kennel.Resting) as rests:
        FORMS[form](space)
    assert 40 < rests.value.left <= 60
    with pytest.raises(kennel.Resting):
        FORMS[form](space, resilient=True)
    assert cache.stats().counters.failed == 1
    space.set("key", "new", stale=0)
    with pytest.raises(OSError):
        FORMS[form](space, retry_after=(60, 60))
    assert FORMS[form](space) == b"new", "while it rests a stale value is used"


def test_all_processes_see_a_rest(cache):
    with pytest.raises(OSError):
        cache.get_or_create("key", down, retry_after=(60, 60))
    program = """
import sys, kennel
try:
    kennel.Cache(sys.argv[1]).get_or_create("key", lambda: "value")
except kennel.Resting as error:
    print("rests", error.left > 30)
"""
    ran = subprocess.run([sys.executable, "-c", program, str(cache.path)], capture_output=True, text=True, check=True)
    assert ran.stdout == "rests True\n"


def test_waiters_share_a_failure_if_they_want(cache):
    failures = []

    def wait(**how):
        try:
            cache.get_or_create("key", down, **how)
        except Exception as error:
            failures.append(type(error))

    for how, expected in (({"share_failure": True}, kennel.FailedElsewhere), ({}, OSError)):
        failures.clear()
        claim = cache.claim("key").claim
        before = cache.stats().counters.claim_waits
        waiters = [threading.Thread(target=wait, kwargs=how) for _ in range(4)]
        for waiter in waiters:
            waiter.start()
        while cache.stats().counters.claim_waits < before + 4:
            time.sleep(0.005)
        assert claim.fail() is None
        for waiter in waiters:
            waiter.join()
        assert failures == [expected] * 4


@pytest.mark.parametrize("how", [{"share_failure": True}, {"resilient": True}], ids=["share_failure", "resilient"])
def test_waiting_coroutines_share_a_failure_if_they_want(cache, how):
    async def main():
        go_on, tried = asyncio.Event(), []

        async def fails(*_):
            tried.append(1)
            await go_on.wait()
            down()

        first = asyncio.ensure_future(cache.aget_or_create("key", fails, retry_after=(60, 60)))
        while not tried:
            await asyncio.sleep(0.001)
        own = asyncio.ensure_future(cache.aget_or_create("key", fails))
        waiters = [asyncio.ensure_future(cache.aget_or_create("key", fails, **how)) for _ in range(4)]
        waiters += [asyncio.ensure_future(cache.aget_or_create_multi(["key"], fails, **how)) for _ in range(4)]
        await asyncio.sleep(0.05)
        go_on.set()
        return await asyncio.gather(first, own, *waiters, return_exceptions=True), len(tried)

    (first, own, *waiters), tried = asyncio.run(asyncio.wait_for(main(), 30))
    assert [type(error) for error in waiters] == [kennel.FailedElsewhere] * 8
    assert (type(first), type(own), tried) == (OSError, kennel.Resting, 1)


def test_what_a_thread_or_a_cancelled_task_does_is_told_to_a_coroutine(cache):
    """A failure in a thread is shared. Who gave up has not failed: the waiting coroutine creates the value."""

    async def main(end):
        claim = cache.claim("key").claim
        waiter = asyncio.ensure_future(cache.aget_or_create("key", made, share_failure=True, wait=20))
        await asyncio.sleep(0.05)
        end(claim)
        return await asyncio.gather(waiter, return_exceptions=True)

    async def made():
        return "value"

    (failed,) = asyncio.run(main(lambda claim: claim.fail()))
    assert type(failed) is kennel.FailedElsewhere
    (refused,) = asyncio.run(main(lambda claim: claim.refuse()))
    assert refused == b"value"
    cache.delete("key")
    assert asyncio.run(main(lambda claim: claim.__exit__(None, None, None))) == [b"value"]


def test_a_cancelled_coroutine_has_not_failed(cache):
    async def main():
        async def forever():
            await asyncio.sleep(60)

        creation = asyncio.ensure_future(cache.aget_or_create("key", forever, resilient=True))
        await asyncio.sleep(0.05)
        creation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creation

        async def create():
            return "value"

        return await cache.aget_or_create("key", create, resilient=True)

    assert asyncio.run(main()) == b"value"
    assert cache.stats().counters.failed == 0


def test_what_was_deleted_meanwhile_is_not_returned(cache):
    make_stale(cache)

    def create():
        cache.delete("key")
        down()

    with pytest.raises(OSError):
        cache.get_or_create("key", create, on_error="stale")


def test_many_keys_are_all_stale_or_an_error(cache):
    make_stale(cache, "a")
    make_stale(cache, "b")
    assert cache.get_or_create_multi(["b", "a", "b"], down, on_error="stale") == [b"old"] * 3
    with pytest.raises(OSError):
        cache.get_or_create_multi(["a", "c"], down, on_error="stale")


def test_wrong_options_are_named(cache):
    for form in (cache.get_or_create, lambda *args, **how: cache.memoize(**how)):
        with pytest.raises(kennel.BadOption, match="on_error"):
            form("key", down, on_error="ignore")
    with pytest.raises((TypeError, ValueError)):
        cache.get_or_create("key", down, retry_after=1)
