"""gevent: greenlets of one thread create, wait and lock as threads do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="gevent is tested where it is used")
pytest.importorskip("gevent")

BEGIN = """
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent, kennel
cache = kennel.Cache(sys.argv[1], capacity=8 << 20)
"""


def run(path, work, *more, timeout=60):
    """A program of its own: gevent changes the modules of the whole process."""
    program = [sys.executable, "-c", BEGIN + work, str(path), *more]
    done = subprocess.run(program, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_greenlets_of_one_thread_create_once(path):
    told = run(
        path,
        """
created, ticks = [], []
def create():
    created.append(1)
    gevent.sleep(0.3)
    return "value"
def tick():
    while not all(job.ready() for job in jobs):
        ticks.append(1)
        gevent.sleep(0.01)
jobs = [gevent.spawn(cache.get_or_create, "key", create) for _ in range(60)]
gevent.joinall([*jobs, gevent.spawn(tick)], raise_error=True)
assert [job.value for job in jobs] == [b"value"] * 60
print(len(created), len(ticks) > 5)
""",
    )
    assert told == "1 True\n"


def test_the_main_greenlet_lets_others_run_while_it_waits(path):
    told = run(
        path,
        """
job = gevent.spawn(cache.get_or_create, "key", lambda: gevent.sleep(0.2) or "value")
gevent.sleep(0.05)
print(cache.get_or_create("key", lambda: "other"))
""",
    )
    assert told == "b'value'\n"


def test_a_greenlet_knows_that_it_waited_for_an_item(path):
    told = run(
        path,
        """
job = gevent.spawn(cache.get_or_create_item, "key", lambda: gevent.sleep(0.2) or "value", ttl=60)
gevent.sleep(0.05)
waited = cache.get_or_create_item("key", lambda: "other")
created, hit = job.get(), cache.get_or_create_item("key", lambda: "other")
assert created.item.id == waited.item.id == hit.item.id and created.item.expires == hit.item.expires
print(created.source, waited.source, hit.source, hit.value)
""",
    )
    assert told == "created waited hit b'value'\n"


def test_a_wait_has_its_limit_and_unprotected_creation_comes_after_it(path):
    told = run(
        path,
        """
job = gevent.spawn(cache.get_or_create, "key", lambda: gevent.sleep(1.5) or "value")
gevent.sleep(0.05)
began = time.monotonic()
try:
    cache.get_or_create("key", lambda: "other", wait=0.4)
except kennel.TimedOut as error:
    assert error.waited >= 0.4
print(cache.get_or_create("key", lambda: "other", wait=0.4, unprotected=True))
assert 0.8 <= time.monotonic() - began < 1.4
""",
    )
    assert told == "b'other'\n"


def test_a_greenlet_that_asks_for_its_own_key_is_told_so(path):
    told = run(
        path,
        """
def create():
    try:
        cache.get_or_create("key", lambda: "other")
    except kennel.OwnClaim:
        return "told"
print(gevent.spawn(cache.get_or_create, "key", create).get())
""",
    )
    assert told == "b'told'\n"


@pytest.mark.parametrize("handover", [False, True])
def test_a_lock_keeps_other_greenlets_out(path, handover):
    told = run(
        path,
        """
handover = sys.argv[2] == "True"
inside, most = [], []
def work():
    for _ in range(5):
        with cache.lock("key", handover=handover):
            inside.append(1)
            most.append(len(inside))
            gevent.sleep(0.002)
            inside.pop()
gevent.joinall([gevent.spawn(work) for _ in range(8)], raise_error=True)
print(len(most), max(most))
""",
        str(handover),
    )
    assert told == "40 1\n"


def test_dogpile_over_greenlets(path):
    pytest.importorskip("dogpile.cache")
    told = run(
        path,
        """
from dogpile.cache import make_region
region = make_region().configure("kennel", expiration_time=60, arguments={"path": sys.argv[1]})
created = []
def create():
    created.append(1)
    gevent.sleep(0.1)
    return "value"
jobs = [gevent.spawn(region.get_or_create, "key", create) for _ in range(30)]
gevent.joinall(jobs, raise_error=True)
print({job.value for job in jobs}, len(created))
""",
    )
    assert told == "{'value'} 1\n"


def test_greenlets_of_several_processes_create_each_key_once(opened):
    cache = opened(capacity=8 << 20)
    cache.set("created", "0")
    work = BEGIN + """
import random
def create(key):
    cache.incr("created")
    gevent.sleep(0.002)
    return key
def visit(seed):
    keys = [f"key {n}" for n in range(50)]
    random.Random(seed).shuffle(keys)
    for key in keys:
        assert cache.get_or_create(key, lambda: create(key)) == key.encode()
gevent.joinall([gevent.spawn(visit, int(sys.argv[2]) * 100 + n) for n in range(20)], raise_error=True)
"""
    children = [
        subprocess.Popen([sys.executable, "-c", work, str(cache.path), str(seed)], env=dict(os.environ))
        for seed in range(3)
    ]
    assert [child.wait(120) for child in children] == [0] * 3
    assert cache.get("created") == b"50"


def test_waiting_greenlets_share_a_failure_if_they_want(path):
    told = run(
        path,
        """
tried = []
def fails():
    tried.append(1)
    gevent.sleep(0.3)
    raise OSError("down")
first = gevent.spawn(cache.get_or_create, "key", fails, retry_after=(60, 60))
gevent.sleep(0.05)
jobs = [gevent.spawn(cache.get_or_create, "key", fails, share_failure=True) for _ in range(5)]
jobs += [gevent.spawn(cache.get_or_create_multi, ["key"], fails, resilient=True) for _ in range(5)]
gevent.joinall([first, *jobs])
print(type(first.exception).__name__, {type(job.exception).__name__ for job in jobs}, len(tried))
""",
    )
    assert told == "OSError {'FailedElsewhere'} 1\n"


def test_greenlets_use_tags(path):
    told = run(
        path,
        """
def create():
    gevent.sleep(0.2)
    return kennel.Created("value", tags=["t"])
job = gevent.spawn(cache.get_or_create, "key", create)
gevent.sleep(0.05)
cache.invalidate_tags(["t"])
print(job.get(), "key" in cache)
print(cache.get_or_create("key", create), "key" in cache)
cache.invalidate_tags(["t"])
print("key" in cache)
""",
    )
    assert told == "b'value' False\nb'value' True\nFalse\n"
