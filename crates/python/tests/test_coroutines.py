"""Creating missing values by coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time

import kennel
import pytest


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


def test_the_event_loop_goes_on_while_a_stripe_is_busy(opened, locked_stripe, loop_pauses):
    """A coroutine waits for a stripe's lock as long as a thread does, and not on the event loop's thread."""
    cache = opened(capacity=8 << 20, stripes=1, lock_wait=1.5)

    async def create():
        return "value"

    async def main():
        ticking = asyncio.create_task(loop_pauses.watch())
        with locked_stripe(cache):
            found = asyncio.create_task(cache.aget_or_create("key", create))
            await asyncio.sleep(0.7)
            assert not found.done()
        assert await found == b"value"
        with locked_stripe(cache):
            began = time.monotonic()
            with pytest.raises(kennel.Busy):
                await cache.aget_or_create("other", create)
            assert time.monotonic() - began > 1.2
        ticking.cancel()

    asyncio.run(main())
    assert cache.lock_wait == 1.5
    assert loop_pauses.longest < 0.2, "a coroutine blocked the thread of the event loop"


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


def test_a_coroutine_can_be_cancelled_while_its_value_is_stored(opened, locked_stripe):
    cache = opened(capacity=8 << 20, stripes=1)

    async def main():
        with contextlib.ExitStack() as held:
            loop = asyncio.get_running_loop()

            async def create():
                held.enter_context(locked_stripe(cache))
                loop.call_later(0.2, creator.cancel)
                return "value"

            creator = asyncio.create_task(cache.aget_or_create("key", create))
            with pytest.raises(asyncio.CancelledError):
                await creator

    asyncio.run(main())
    assert cache.get_or_create("key", lambda: "other") in (b"value", b"other")


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
