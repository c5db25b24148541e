"""Locks of keys, between threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import kennel
import pytest


def test_a_lock_keeps_others_out(cache, in_threads):
    inside = []

    def work(i):
        for _ in range(20):
            with cache.lock("key"):
                inside.append(i)
                assert len(inside) == 1
                inside.pop()
        return True

    assert in_threads(4, work) == [True] * 4


def test_a_lock_is_a_mutex(cache, in_threads):
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


def test_a_lock_that_is_not_to_be_had_raises_in_a_block(cache, in_threads):
    with cache.lock("key"):

        def other(_):
            with pytest.raises(kennel.TimedOut):
                with cache.lock("key", wait=0.05):
                    pass
            return True

        assert in_threads(1, other) == [True]


def test_a_busy_stripe_is_waited_for_as_long_as_was_said(opened, locked_stripe):
    """The wait of the main thread is cut into pieces, and once the first of them was all that was waited for a stripe."""
    cache = opened(capacity=8 << 20, stripes=1, lock_wait=1)

    def busy_for(seconds):
        with locked_stripe(cache):
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


def test_a_lock_past_its_age_is_taken_over(cache, in_threads):
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
