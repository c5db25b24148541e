"""The dogpile backend ``kennel.far``: dogpile.cache's own generic suites, and one region with dogpile's Redis backend."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.proxy import ProxyBackend
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the far tier is for Unix systems")

if os.name == "posix":
    from kennel.far.dogpile import FarBackend, FarLock, _url

HERE = pathlib.Path(tempfile.mkdtemp(prefix="kennel-far-dogpile-"))
#: The suites read their arguments when their classes are made, before there is a server.
ARGUMENTS = {"path": str(HERE / "near"), "capacity": 8 << 20}


@pytest.fixture(scope="module", autouse=True)
def place(server_of_session):
    ARGUMENTS["url"] = server_of_session.url
    yield
    shutil.rmtree(HERE)


class BackendTest(_GenericBackendTestSuite):
    backend = "kennel.far"
    config_args = {"arguments": ARGUMENTS}


class ProxyTest(_GenericBackendTestSuite):
    backend = "kennel.far"
    config_args = {"arguments": ARGUMENTS, "wrap": [ProxyBackend]}


class SerializerTest(_GenericSerializerTestSuite, BackendTest):
    pass


class TimeToLiveTest(_GenericBackendTestSuite):
    """With a time to live at the server."""

    backend = "kennel.far"
    config_args = {"arguments": ARGUMENTS}

    @pytest.fixture(autouse=True)
    def with_time_to_live(self):
        self.config_args = {"arguments": {**ARGUMENTS, "redis_expiration_time": 60}}


class MutexTest(_GenericMutexTestSuite):
    backend = "kennel.far"
    config_args = {"arguments": ARGUMENTS}

    @pytest.fixture(autouse=True)
    def distributed(self):
        self.config_args = {"arguments": {**ARGUMENTS, "distributed_lock": True, "lock_sleep": 0.01}}


def test_these_are_all_that_there_are():
    suites = [BackendTest, ProxyTest, SerializerTest, MutexTest]
    assert sum(name.startswith("test_") for suite in suites for name in dir(suite)) == 80


@pytest.fixture
def regions(server):
    """A region of dogpile's Redis backend and one of ours, as two hosts of an application have them."""
    pytest.importorskip("redis")

    def make(**arguments):
        made = [("dogpile.cache.redis", {}), ("kennel.far", ARGUMENTS)]
        given = {"url": server.url, **arguments}
        return [make_region().configure(name, arguments={**own, **given}) for name, own in made]

    return make


def test_both_backends_store_the_same_bytes(regions, server):
    theirs, ours = regions()
    value = {"name": "Grüße", "list": [1, 2.5, None]}
    stored = []
    for region in (theirs, ours):
        region.backend.set_serialized("raw", b"\0bytes")
        region.set("key:ü", value)
        # The metadata has the time of creation.
        metadata, bar, payload = server.ask("GET", "key:ü").partition(b"|")
        stored.append((bar, payload, sorted(json.loads(metadata)), server.ask("GET", "raw")))
        server.ask("FLUSHALL")
    assert stored[0] == stored[1]


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_hosts_with_either_backend_see_each_others_values(regions, server, until):
    theirs, ours = regions(redis_expiration_time=50)
    ours.set("a", 1)
    assert theirs.get("a") == 1 and 0 < server.ask("PTTL", "a") <= 50_000
    theirs.set("a", 2)
    until(lambda: ours.get("a") == 2)
    theirs.set_multi({"b": 3, "c": 4})
    assert ours.get_multi(["b", "none", "c"]) == [3, NO_VALUE, 4]
    ours.set_multi({"b": 5, "d": 6})
    assert theirs.get_multi(["b", "c", "d"]) == [5, 4, 6] and 0 < server.ask("PTTL", "d") <= 50_000
    assert ours.get("b") == 5, "a host reads its own writes"
    theirs.delete("b")
    until(lambda: ours.get("b") is NO_VALUE)
    ours.delete_multi(["c", "d"])
    assert theirs.get_multi(["c", "d"]) == [NO_VALUE, NO_VALUE]


def test_what_is_read_again_comes_from_the_near_file(regions, until):
    _, ours = regions()
    ours.set("near", "value")
    far = ours.backend.far
    until(lambda: ours.get("near") == "value" and far.get_near("near") is not None)
    hits = far.stats().hits
    assert ours.get("near") == "value" and far.stats().hits == hits + 1


def test_one_creator_among_hosts_with_either_backend(regions):
    made = regions(distributed_lock=True, thread_local_lock=False, lock_sleep=0.01) * 3
    created = []

    def create():
        created.append(1)
        time.sleep(0.2)
        return "made"

    threads = [threading.Thread(target=region.get_or_create, args=("key", create)) for region in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert created == [1]


def test_the_lock_of_a_key(server):
    backend = FarBackend({**ARGUMENTS, "distributed_lock": True, "lock_timeout": 20, "lock_blocking_timeout": 0.2})
    one, other = backend.get_mutex("k"), backend.get_mutex("k")
    assert one.acquire() is True and one.locked() and 0 < server.ask("PTTL", "_lockk") <= 20_000
    assert other.acquire(wait=False) is False and other.acquire() is False
    server.ask("SET", "_lockk", "taken over")
    one.release()
    assert server.ask("GET", "_lockk") == b"taken over", "another's lock is not released"
    server.ask("DEL", "_lockk")
    assert other.acquire() and other.locked()
    other.release()
    assert not one.locked()
    with pytest.raises(RuntimeError):
        other.release()
    assert FarBackend(ARGUMENTS).get_mutex("k") is None
    other_name = FarBackend({**ARGUMENTS, "distributed_lock": True, "lock_prefix": "own:", "lock_timeout": None})
    lock = other_name.get_mutex("k")
    assert isinstance(lock, FarLock) and lock.acquire() and server.ask("PTTL", "own:k") == -1
    lock.release()


def test_the_arguments_of_the_redis_backend(caplog):
    assert _url({"url": "redis://h:1?db=3&socket_timeout=1"}) == "redis://h:1/3"
    assert _url({"url": "redis://u:p%40@h/2", "password": "x", "db": 5}) == "redis://u:p%40@h/2"
    assert _url({}) == "redis://localhost:6379/0"
    assert _url({"host": "::1", "port": 7, "db": 2, "username": "u", "password": "p@:"}) == "redis://u:p%40%3A@[::1]:7/2"
    assert _url({"url": "unix:///run/r.sock?db=4"}) == "unix:///run/r.sock?db=4"
    for name in ("connection_pool", "connection_kwargs", "ssl"):
        with pytest.raises(ValueError, match=name):
            FarBackend({**ARGUMENTS, name: {"x": 1}})
    with pytest.raises(ValueError, match="path"):
        FarBackend({"url": ARGUMENTS["url"]})
    FarBackend({**ARGUMENTS, "socket_timeout": 2, "socket_keepalive": True, "colour": "red"})
    assert [record.args for record in caplog.records] == [("colour",)]


MIXED = """
import json, sys
from dogpile.cache import make_region
backend, arguments = sys.argv[1], json.loads(sys.argv[2])
region = make_region().configure(backend, arguments=arguments)
print("ready", flush=True)
for line in sys.stdin:
    command, *given = json.loads(line)
    value = getattr(region, command)(*given)
    print(json.dumps(value if isinstance(value, (int, str, list)) else None), flush=True)
"""


def test_processes_with_either_backend_are_at_most_t_apart(server, until, tmp_path):
    pytest.importorskip("redis")

    def start(backend, arguments):
        program = [sys.executable, "-c", MIXED, backend, json.dumps({"url": server.url, **arguments})]
        child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"

        def ask(*command):
            child.stdin.write(json.dumps(command) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        return child, ask

    near = {"path": str(tmp_path / "near"), "capacity": "1M", "max_staleness": 0.5}
    first, theirs = start("dogpile.cache.redis", {})
    second, ours = start("kennel.far", near)
    try:
        for number in range(30):
            theirs("set", "key", number)
            began = time.monotonic()
            while ours("get", "key") != number:
                assert time.monotonic() - began < 0.5 + 2, "older than max_staleness"
            ours("set", "key", -number)
            assert theirs("get", "key") == ours("get", "key") == -number
    finally:
        for child in (first, second):
            child.stdin.close()
            child.wait(20)
            child.stdout.close()
