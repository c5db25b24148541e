"""fork, spawn and forkserver, threads, and a pre-forking server."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

METHODS = multiprocessing.get_all_start_methods()
ROUNDS = 300


def count(cache, key):
    for _ in range(ROUNDS):
        cache.incr(key)


@pytest.mark.parametrize("method", METHODS)
def test_a_cache_can_be_given_to_a_process(cache, method):
    cache.set("count", "0")
    context = multiprocessing.get_context(method)
    children = [context.Process(target=count, args=(cache, "count")) for _ in range(3)]
    for child in children:
        child.start()
    count(cache, "count")
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert cache.get("count") == str(4 * ROUNDS).encode()
    assert cache.verify().is_ok


def get_from(cache):
    return cache.get("key")


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_shares_a_cache(cache, method):
    cache.set("key", "value")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(get_from, [cache] * 4) == [b"value"] * 4


def test_threads_count_exactly(cache):
    cache.set("count", "0")
    threads = [threading.Thread(target=count, args=(cache, "count")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("count") == str(4 * ROUNDS).encode()


SERVER = """
import os, signal, sys, kennel

# As a pre-forking server does: open first, then fork the workers.
cache = kennel.Cache(sys.argv[1], capacity=8 << 20)
cache.set("count", "0")
workers = []
for _ in range(4):
    worker = os.fork()
    if worker == 0:
        for _ in range(300):
            cache.incr("count")
        cache.set(f"worker {os.getpid()}", "done")
        os._exit(0)
    workers.append(worker)
assert all(os.waitpid(worker, 0)[1] == 0 for worker in workers)
assert cache.get("count") == b"1200", cache.get("count")
assert all(f"worker {worker}" in cache for worker in workers)
assert cache.verify().is_ok
print(cache.stats().members)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_server_that_forks_after_it_opened(path):
    run = subprocess.run([sys.executable, "-c", SERVER, str(path)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    # Each worker took a seat of its own, or one that a worker before it had left.
    assert 2 <= int(run.stdout) <= 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_other_threads_write(cache):
    """The child must not wait for a lock whose holder, a thread of the parent, is not there."""
    stop = threading.Event()

    def write():
        while not stop.is_set():
            cache.set("key", bytes(10_000))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(20):
            child = os.fork()
            if child == 0:
                # Nothing of pytest's may run here.
                try:
                    signal.alarm(30)
                    cache.set(f"child {i}", "here")
                    os._exit(0 if cache.get(f"child {i}") == b"here" else 1)
                finally:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert cache.verify().is_ok


KILLED = """
import kennel, sys
cache = kennel.Cache(sys.argv[1])
print("ready", flush=True)
while True:
    for i in range(100):
        cache.set(f"key {i}", bytes([i]) * (i * 100))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_killed_writer_holds_nobody_up(cache):
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(cache.path)], stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(0.02)
            child.kill()
        began = time.monotonic()
        for i in range(100):
            value = cache.get(f"key {i}")
            assert value is None or value == bytes([i]) * (i * 100)
            cache.set(f"key {i}", bytes([i]) * (i * 100))
        assert time.monotonic() - began < 2
    assert cache.verify().is_ok
