"""The dogpile.cache backend: what dogpile's own suites do not ask."""

from __future__ import annotations

import gc
import itertools
import logging
import pathlib
import subprocess
import sys
import threading
import time
import weakref

import dogpile.cache
import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.file import AbstractFileLock
from kennel.dogpile import KennelBackend, SharedInvalidation


@pytest.fixture
def backend(tmp_path):
    def make(**arguments):
        if "filename" not in arguments:
            arguments.setdefault("path", str(tmp_path / "pages.kennel"))
        return KennelBackend({"capacity": 8 << 20, **arguments})

    return make


@pytest.fixture
def region(tmp_path):
    def make(expiration_time=60, region_invalidator=None, **arguments):
        made = make_region()
        arguments = {"path": str(tmp_path / "pages.kennel"), "capacity": 8 << 20, **arguments}
        more = {} if region_invalidator is None else {"region_invalidator": region_invalidator(made)}
        return made.configure("kennel", expiration_time=expiration_time, arguments=arguments, **more)

    return make


def test_it_is_found_by_its_entry_point(region):
    assert isinstance(region().backend, KennelBackend)


def test_processes_share_what_they_cache(region, tmp_path):
    region().set("key", {"a": 1})
    other = f"""
from dogpile.cache import make_region
region = make_region().configure("kennel", arguments={{"path": {str(tmp_path / "pages.kennel")!r}}})
assert region.get("key") == {{"a": 1}}
region.set("answer", 42)
"""
    assert subprocess.run([sys.executable, "-c", other], timeout=60).returncode == 0
    assert region().get("answer") == 42


# The arguments of dogpile.cache.dbm


class Recorder(AbstractFileLock):
    """A lock factory that notes what is asked of it."""

    made = []

    def __init__(self, filename):
        self.filename, self.calls, self.lock = filename, [], threading.Lock()
        Recorder.made.append(self)

    def acquire_read_lock(self, wait):
        self.calls.append("read")
        return self.lock.acquire(wait)

    def acquire_write_lock(self, wait):
        self.calls.append("write")
        return self.lock.acquire(wait)

    def release_read_lock(self):
        self.lock.release()

    def release_write_lock(self):
        self.lock.release()


@pytest.fixture(autouse=True)
def nothing_recorded():
    Recorder.made.clear()


def used(backend):
    """Reads and writes with all the methods that do so."""
    backend.set_serialized("key", b"{}|value")
    backend.set_serialized_multi({"other": b"{}|value"})
    assert backend.get_serialized("key") == b"{}|value"
    assert backend.get_serialized_multi(["key", "none"]) == [b"{}|value", NO_VALUE]
    backend.delete("key")
    backend.delete_multi(["other"])
    return ["write", "write", "read", "read", "write", "write"]


def test_filename_names_what_lies_beside_it_and_leaves_old_files_alone(backend, tmp_path):
    old = tmp_path / "cache.dbm"
    for suffix in ["", ".db", ".dat", ".pag", ".dir"]:
        pathlib.Path(f"{old}{suffix}").write_bytes(b"old")
    made = backend(filename=str(old))
    used(made)
    assert made.cache.path == tmp_path / "cache.dbm.kennel"
    for suffix in ["", ".db", ".dat", ".pag", ".dir"]:
        assert pathlib.Path(f"{old}{suffix}").read_bytes() == b"old"
    assert not (tmp_path / "cache.dbm.rw.lock").exists() and not (tmp_path / "cache.dbm.dogpile.lock").exists()


def test_filename_is_made_absolute_as_dbm_does(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert backend(filename="a/../cache.dbm").cache.path == tmp_path / "cache.dbm.kennel"


def test_filename_and_path_together_are_refused(backend, tmp_path):
    with pytest.raises(ValueError, match="expected one of them"):
        backend(filename=str(tmp_path / "a"), path=str(tmp_path / "b"))


def test_rw_lockfile_none_without_a_factory_is_the_engines_lock(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), rw_lockfile=None)
    used(made)
    assert made._rw_lock is None


def test_rw_lockfile_none_with_a_factory_gets_the_default_name(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), lock_factory=Recorder)
    assert [lock.filename for lock in Recorder.made] == [str(tmp_path / "x.rw.lock"), str(tmp_path / "x.dogpile.lock")]
    expected = used(made)
    assert Recorder.made[0].calls == expected


def test_rw_lockfile_false_takes_none_although_there_is_a_factory(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), rw_lockfile=False, lock_factory=Recorder)
    used(made)
    assert [lock.filename for lock in Recorder.made] == [str(tmp_path / "x.dogpile.lock")]


def test_rw_lockfile_path_with_a_factory_gets_that_path(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), rw_lockfile=str(tmp_path / "mine"), lock_factory=Recorder)
    expected = used(made)
    assert Recorder.made[0].filename == str(tmp_path / "mine") and Recorder.made[0].calls == expected


def test_rw_lockfile_path_without_a_factory_is_a_lock_for_all_who_name_it(backend, tmp_path):
    one = backend(filename=str(tmp_path / "x"), rw_lockfile=str(tmp_path / "mine"))
    two = backend(filename=str(tmp_path / "x"), rw_lockfile=str(tmp_path / "mine"))
    used(one)
    with one._rw_lock.write():
        waiting = threading.Thread(target=two.get_serialized, args=("key",))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize("argument", ["rw_lockfile", "dogpile_lockfile"])
@pytest.mark.parametrize("value", [True, 1, object()])
def test_a_lockfile_of_another_kind_is_refused(backend, tmp_path, argument, value):
    with pytest.raises(TypeError, match=f"{argument}: expected a path, None or False"):
        backend(filename=str(tmp_path / "x"), **{argument: value})


def test_dogpile_lockfile_none_is_a_lock_for_each_key(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), dogpile_lockfile=None)
    one, two = made.get_mutex("one"), made.get_mutex("two")
    assert one.acquire(False) and two.acquire(False)
    assert not made.get_mutex("one").acquire(False)
    one.release(), two.release()


def test_dogpile_lockfile_false_is_dogpiles_own_lock_of_threads(backend, tmp_path):
    assert backend(filename=str(tmp_path / "x"), dogpile_lockfile=False).get_mutex("key") is None


def test_dogpile_lockfile_none_with_a_factory_is_one_lock_of_it_for_all_keys(backend, tmp_path):
    made = backend(filename=str(tmp_path / "x"), dogpile_lockfile=None, lock_factory=Recorder)
    lock = Recorder.made[1]
    assert lock.filename == str(tmp_path / "x.dogpile.lock")
    mutex = made.get_mutex("one")
    assert mutex.acquire() and lock.calls == ["write"] and lock.lock.locked()
    mutex.release()
    assert not lock.lock.locked()


@pytest.mark.parametrize("factory", [None, Recorder])
def test_dogpile_lockfile_path_is_one_lock_for_all_keys(backend, tmp_path, factory):
    made = backend(filename=str(tmp_path / "x"), dogpile_lockfile=str(tmp_path / "mine"), lock_factory=factory)
    mutex = made.get_mutex("one")
    assert mutex.acquire()
    tried = []
    thread = threading.Thread(target=lambda: tried.append(made.get_mutex("two").acquire(False)))
    thread.start()
    thread.join()
    assert tried == [False]
    mutex.release()
    if factory is not None:
        assert str(tmp_path / "mine") in [lock.filename for lock in Recorder.made]


def test_lock_factory_without_a_filename_must_be_told_the_names(backend, tmp_path):
    with pytest.raises(ValueError, match="expected filename"):
        backend(lock_factory=Recorder)
    names = {"rw_lockfile": str(tmp_path / "a"), "dogpile_lockfile": str(tmp_path / "b")}
    backend(lock_factory=Recorder, **names)
    assert [lock.filename for lock in Recorder.made] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_it_takes_dbms_place(tmp_path):
    program = f"""
import dogpile.cache, kennel.dogpile
dogpile.cache.register_backend("dogpile.cache.dbm", "kennel.dogpile", "KennelBackend")
region = dogpile.cache.make_region().configure(
    "dogpile.cache.dbm", expiration_time=60, arguments={{"filename": {str(tmp_path / "old.dbm")!r}}})
assert isinstance(region.backend, kennel.dogpile.KennelBackend)
assert region.get_or_create("key", lambda: 42) == 42
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
    assert (tmp_path / "old.dbm.kennel").exists()


# Its own arguments


def test_an_argument_that_there_is_not_is_logged(backend, caplog):
    backend(capcity=1)
    assert "'capcity' is not an argument" in caplog.text


def test_options_of_the_cache_are_arguments(backend):
    stats = backend(capacity=16 << 20, stripes=2, mean_item=1024).cache.stats()
    assert (stats.capacity, stats.stripes, stats.mean_item) == (16 << 20, 2, 1024)


def test_ttl_is_the_engines(backend):
    made = backend(ttl=0.1)
    made.set_serialized("one", b"1")
    made.set_serialized_multi({"two": b"2"})
    assert made.get_serialized("one") == b"1"
    time.sleep(0.2)
    assert made.get_serialized_multi(["one", "two"]) == [NO_VALUE, NO_VALUE]


def test_long_keys_are_stored_under_their_beginning_and_a_hash(region):
    made = region(longest_key=100)
    keys = ["x" * 200 + str(i) for i in range(3)]
    made.set_multi({key: key for key in keys})
    assert made.get_multi(keys) == keys
    stored = list(made.backend.cache)
    assert len(set(stored)) == 3 and all(len(key) == 100 and key.startswith(b"x" * 50 + b"x") for key in stored)
    made.set("x" * 100, 1)
    assert b"x" * 100 in made.backend.cache
    with pytest.raises(ValueError, match="at least 64"):
        region(longest_key=10)


def test_a_users_mangler_goes_before(tmp_path):
    made = make_region(key_mangler=lambda key: "mine:" + key)
    made.configure("kennel", arguments={"path": str(tmp_path / "x"), "capacity": 8 << 20})
    made.set("key", 1)
    assert list(made.backend.cache) == [b"mine:key"]


def test_without_a_mangler_a_key_that_is_too_long_is_not_stored(backend):
    made = backend(longest_key=None)
    assert made.key_mangler is None
    key = "x" * 70_000
    made.set_serialized(key, b"1")
    made.set_serialized_multi({key: b"1", "key": b"2"})
    assert made.get_serialized_multi([key, "key"]) == [NO_VALUE, b"2"]
    made.delete(key)
    made.delete_multi([key])
    assert made.not_stored == 2


def test_what_is_too_large_is_counted_logged_once_and_leaves_nothing_behind(backend, caplog):
    made = backend()
    large = bytes(4 << 20)
    made.set_serialized("key", b"before")
    with caplog.at_level(logging.WARNING, logger="kennel.dogpile"):
        made.set_serialized("key", large)
        assert made.get_serialized("key") is NO_VALUE
        made.set_serialized_multi({"key": large, "small": b"1"})
    assert made.get_serialized_multi(["key", "small"]) == [NO_VALUE, b"1"]
    assert made.not_stored == 2
    assert len(caplog.records) == 1 and "expected at most" in caplog.text


def test_too_large_a_value_is_returned_all_the_same(region):
    large = "x" * (4 << 20)
    assert region().get_or_create("key", lambda: large) == large


# Locks


def test_mutexes_can_be_weakly_referenced_and_die(backend):
    mutex = backend().get_mutex("key")
    reference = weakref.ref(mutex)
    assert reference() is mutex
    del mutex
    gc.collect()
    assert reference() is None


def test_a_mutex_may_be_released_by_another_thread_and_waited_for_meanwhile(backend):
    mutex = backend().get_mutex("key")
    assert mutex.acquire()
    threading.Timer(0.1, mutex.release).start()
    # The same thread again: it waits for that other thread.
    assert mutex.acquire()
    mutex.release()
    assert not mutex.locked()


def test_an_asynchronous_creation_runner(tmp_path):
    done = threading.Event()

    def runner(cache, key, create, mutex):
        def work():
            try:
                cache.set(key, create())
            finally:
                mutex.release()
                done.set()

        threading.Thread(target=work).start()

    made = make_region(async_creation_runner=runner)
    made.configure("kennel", expiration_time=0.1, arguments={"path": str(tmp_path / "x"), "capacity": 8 << 20})
    values = itertools.count(1)
    assert made.get_or_create("key", lambda: next(values)) == 1
    time.sleep(0.2)
    assert made.get_or_create("key", lambda: next(values)) == 1
    assert done.wait(10)
    assert made.get("key", ignore_expiration=True) == 2
    assert not made.key_is_locked("key")


DEADLOCK = """
import random, sys, threading
from dogpile.cache import make_region
path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
region = make_region().configure("kennel", expiration_time=600, arguments={"path": path})

def work(i):
    rng = random.Random(seed * 100 + i)
    for round_ in range(rounds):
        # All work on the same few rounds at a time, so that their keys overlap; each in another order.
        keys = [f"{round_ // 8}:{k}" for k in rng.sample(range(16), 8)]
        values = region.get_or_create_multi(keys, lambda *missing: [f"value of {key}" for key in missing])
        assert values == [f"value of {key}" for key in keys]

threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_overlapping_get_or_create_multi_of_four_processes_never_ends_in_a_deadlock(region, tmp_path):
    rounds = 500  # of each of two threads of four processes: 4000 calls
    region()
    path = str(tmp_path / "pages.kennel")
    command = [sys.executable, "-c", DEADLOCK, path]
    children = [subprocess.Popen([*command, str(seed), str(rounds)]) for seed in range(4)]
    try:
        assert [child.wait(180) for child in children] == [0] * 4
    finally:
        for child in children:
            child.kill()


HERD = """
import sys, threading, time
from dogpile.cache import make_region
region = make_region().configure("kennel", expiration_time=600, arguments={"path": sys.argv[1]})
def create():
    region.backend.cache.incr("created")
    time.sleep(0.2)
    return "value"
threads = [threading.Thread(target=lambda: region.get_or_create("key", create)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert region.get("key") == "value"
"""


def test_one_of_many_processes_creates(region, tmp_path):
    made = region()
    made.backend.cache.set("created", "0")
    children = [subprocess.Popen([sys.executable, "-c", HERD, str(tmp_path / "pages.kennel")]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert made.backend.cache.get("created") == b"1"


# Invalidation that other processes see

ASKED = """
import sys, kennel.dogpile
from dogpile.cache import make_region
region = make_region()
region.configure("kennel", expiration_time=600, arguments={"path": sys.argv[1], "namespace": "pages"},
                 region_invalidator=kennel.dogpile.SharedInvalidation(region))
for line in sys.stdin:
    print(eval(line), flush=True)
"""


class Other:
    """Another process with the same region."""

    def __init__(self, path):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", ASKED, path], stdin=pipe, stdout=pipe, text=True)

    def ask(self, expression):
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        with self.process:
            self.process.stdin.close()
            assert self.process.wait(10) == 0


@pytest.fixture
def other(tmp_path):
    made = Other(str(tmp_path / "pages.kennel"))
    yield made
    made.close()


def test_a_hard_invalidation_is_seen_by_other_processes(region, other):
    made = region(600, SharedInvalidation, namespace="pages")
    made.set("key", "value")
    assert other.ask('region.get("key")') == "value"
    other.ask("region.invalidate()")
    assert made.get("key") is NO_VALUE
    assert made.get_multi(["key"]) == [NO_VALUE]
    assert made.get_or_create("key", lambda: "new") == "new"
    assert other.ask('region.get("key")') == "new"


def test_after_a_soft_invalidation_one_creates_and_the_others_take_the_old_value(region, other):
    made = region(600, SharedInvalidation, namespace="pages")
    made.set("key", "old")
    assert other.ask('region.invalidate(hard=False) or "done"') == "done"
    assert made.get("key", ignore_expiration=True) == "old"
    seen = []

    def create():
        seen.append(other.ask('region.get_or_create("key", lambda: "a second creation")'))
        return "new"

    assert made.get_or_create("key", create) == "new"
    assert seen == ["old"]
    assert other.ask('region.get_or_create("key", lambda: "a second creation")') == "new"


def test_a_soft_invalidation_needs_an_expiration_time_as_in_dogpile_itself(region):
    made = region(None, SharedInvalidation, namespace="pages")
    made.set("key", "old")
    made.invalidate(hard=False)
    with pytest.raises(dogpile.cache.exception.DogpileCacheException, match="expiration time"):
        made.get_or_create("key", lambda: "new")


def test_shared_invalidation_needs_a_namespace(region):
    made = region(60, SharedInvalidation)
    with pytest.raises(ValueError, match="expected the argument namespace"):
        made.invalidate()


def test_other_namespaces_of_the_file_stay(region):
    pages, people = region(600, SharedInvalidation, namespace="pages"), region(600, SharedInvalidation, namespace="people")
    pages.set("1", "page"), people.set("1", "Ada")
    pages.invalidate()
    assert pages.get("1") is NO_VALUE and people.get("1") == "Ada"


def test_a_busy_stripe_costs_the_caching_and_not_the_value(backend, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    region = make_region().configure(
        "kennel",
        expiration_time=60,
        arguments={"path": str(tmp_path / "busy"), "stripes": 1, "lock_wait": 0.1},
    )
    made = region.actual_backend
    (stripe,) = tmp_path.glob("busy.locks/*/*.lock")
    with stripe.open("r+b") as held:

        def create():
            fcntl.flock(held, fcntl.LOCK_EX)
            return "value"

        assert region.get_or_create("key", create) == "value"
        region.set_multi({"a": 1, "b": 2})
    assert made.not_stored == 3
    made.cache.close()
