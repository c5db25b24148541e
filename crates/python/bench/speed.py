"""How fast Kennel is from Python, beside others, in one run.

    pip install lmdb diskcache dogpile.cache django
    python bench/speed.py [--folder FOLDER] [--rounds N] [--keys N]

Every contestant stores and reads the same keys with the same 100-byte values, one process, one call at a time, in an
order that is not the order of storing. The contestants take turns, round after round, so that what disturbs the
machine disturbs all; the fastest round of each counts, and the median is printed beside it. What a loop around an
empty function takes is measured, too, and not subtracted.

The figures to reach are at the end of the output; the exit status is 1 if one is missed. A contestant whose package is
missing is left out, and so are its figures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import kennel

VALUE = bytes(range(100))
CAPACITY = 64 << 20


class Contestant(NamedTuple):
    name: str
    get: Callable[[Any], Any]
    set: Callable[[Any, Any], Any]
    #: Calls of a round, as a part of those of the fast ones: the slow ones would take all day.
    share: float
    #: Whether its keys are text.
    text: bool


def strategies(folder: str) -> Sequence[str]:
    """The lock strategies that this build has, of those that processes can share."""
    found = []
    for locks in ("lease", "file"):
        try:
            kennel.Cache(os.path.join(folder, "try-" + locks), capacity=8 << 20, locks=locks).close()
            found.append(locks)
        except kennel.BadOption:
            print(f"this build has no lock strategy {locks}: left out")
    return found


def package(name: str) -> Any:
    """A package; ``None`` if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is missing: its contestants are left out")
        return None


def contestants(folder: str) -> List[Contestant]:
    found = []
    for locks in strategies(folder):
        cache = kennel.Cache(os.path.join(folder, "kennel-" + locks), capacity=CAPACITY, locks=locks)
        found.append(Contestant(f"kennel, {locks}", cache.get, cache.set, 1, False))
    lmdb, diskcache = package("lmdb"), package("diskcache")
    if lmdb is not None:
        found.append(of_lmdb(lmdb, os.path.join(folder, "lmdb")))
    if diskcache is not None:
        disk = diskcache.Cache(os.path.join(folder, "diskcache"))
        found.append(Contestant("diskcache.Cache", disk.get, disk.set, 0.02, False))
    if package("dogpile.cache") is not None:
        found += regions(folder)
    if package("django") is not None:
        found += djangos(folder, diskcache is not None)
    return found


def of_lmdb(lmdb: Any, path: str) -> Contestant:
    environment = lmdb.open(path, map_size=256 << 20, sync=False, metasync=False)

    def lmdb_get(key: bytes) -> Any:
        with environment.begin() as transaction:
            return transaction.get(key)

    def lmdb_set(key: bytes, value: bytes) -> None:
        with environment.begin(write=True) as transaction:
            transaction.put(key, value)

    return Contestant("lmdb, sync off", lmdb_get, lmdb_set, 0.5, False)


def regions(folder: str) -> List[Contestant]:
    """Regions of dogpile.cache."""
    from dogpile.cache import make_region

    def at(name: str) -> str:
        return os.path.join(folder, name)

    def region(backend: str, **arguments: Any) -> Any:
        return make_region().configure(backend, expiration_time=3600, arguments=arguments)

    found = []
    for locks in strategies(folder):
        made = region("kennel", path=at("region-" + locks), capacity=CAPACITY, locks=locks)
        found.append(Contestant(f"region: kennel, {locks}", made.get, made.set, 0.25, True))
    memory = region("dogpile.cache.memory_pickle")
    found.append(Contestant("region: memory_pickle", memory.get, memory.set, 0.25, True))
    dbm = region("dogpile.cache.dbm", filename=at("region.dbm"))
    found.append(Contestant("region: dbm", dbm.get, dbm.set, 0.002, True))
    return found


def djangos(folder: str, has_diskcache: bool) -> List[Contestant]:
    """Caches of Django."""
    from django.conf import settings

    options = {"capacity": CAPACITY, "locks": strategies(folder)[0]}
    made: Dict[str, Dict[str, Any]] = {
        "default": {
            "BACKEND": "kennel.django.KennelCache",
            "LOCATION": os.path.join(folder, "django"),
            "OPTIONS": options,
        },
        "locmem": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 1 << 30},
        },
    }
    if has_diskcache:
        made["diskcache"] = {"BACKEND": "diskcache.DjangoCache", "LOCATION": os.path.join(folder, "django-disk")}
    settings.configure(CACHES=made)
    from django.core.cache import caches

    def of(name: str, shown: str, share: float) -> Contestant:
        cache = caches[name]
        return Contestant(f"django: {shown}", cache.get, cache.set, share, True)

    found = [of("default", "kennel", 0.25), of("locmem", "locmem", 0.25)]
    return found + [of("diskcache", "diskcache", 0.02)] if has_diskcache else found


def timed(calls: int, work: Callable[[], None]) -> float:
    """Nanoseconds for each of so many calls."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / calls


def round_of(contestant: Contestant, keys: Sequence[Any], calls: int) -> Tuple[float, float]:
    """Sets and gets so many keys; nanoseconds of each get and each set."""
    chosen = random.sample(keys, min(calls, len(keys)))
    store, load = contestant.set, contestant.get

    def sets() -> None:
        for key in chosen:
            store(key, VALUE)

    def gets() -> None:
        for key in chosen:
            load(key)

    set_ns = timed(len(chosen), sets)
    random.shuffle(chosen)
    get_ns = timed(len(chosen), gets)
    if load(chosen[0]) != VALUE:
        sys.exit(f"{contestant.name} lost what was stored")
    return get_ns, set_ns


Times = Dict[str, Tuple[List[float], List[float]]]


def measure(found: Sequence[Contestant], rounds: int, count: int) -> Times:
    as_bytes = [f"key:{i:08}".encode() for i in range(count)]
    as_text = [key.decode() for key in as_bytes]
    times: Times = {contestant.name: ([], []) for contestant in found}
    for _ in range(rounds):
        for contestant in found:
            keys = as_text if contestant.text else as_bytes
            get_ns, set_ns = round_of(contestant, keys, max(10, int(count * contestant.share)))
            times[contestant.name][0].append(get_ns)
            times[contestant.name][1].append(set_ns)
    return times


def report(times: Times) -> None:
    print(f"{'':26}{'get ns':>10}{'(median)':>12}{'set ns':>12}{'(median)':>12}")
    for name, (gets, sets) in times.items():
        columns = min(gets), statistics.median(gets), min(sets), statistics.median(sets)
        print(f"{name:26}{columns[0]:10.0f}{columns[1]:12.0f}{columns[2]:12.0f}{columns[3]:12.0f}")


#: Who against whom, and the largest ratio of get and set that is good enough; None where it is only stated.
FIGURES: Sequence[Tuple[str, str, Optional[float], Optional[float]]] = (
    ("kennel, lease", "lmdb, sync off", 0.28, 0.13),
    ("kennel, lease", "diskcache.Cache", 0.03, 0.01),
    ("kennel, file", "lmdb, sync off", None, None),
    ("kennel, file", "diskcache.Cache", None, None),
    ("region: kennel, lease", "region: memory_pickle", 1.05, 1.2),
    ("region: kennel, file", "region: memory_pickle", None, None),
    ("region: kennel, lease", "region: dbm", None, None),
    ("region: kennel, file", "region: dbm", None, None),
    ("django: kennel", "django: locmem", 0.9, None),
    ("django: kennel", "django: diskcache", 0.05, None),
)


def judge(times: Times) -> bool:
    """Prints the ratios of the fastest rounds; whether all that have a limit keep it."""
    good = True
    print(f"\n{'ratio':48}{'get':>9}{'at most':>9}{'set':>9}{'at most':>9}")
    for who, whom, *limits in FIGURES:
        if who not in times or whom not in times:
            continue
        line = f"{who} / {whom:<{45 - len(who)}}"
        for mine, other, limit in zip(times[who], times[whom], limits):
            ratio = min(mine) / min(other)
            good = good and (limit is None or ratio <= limit)
            line += f"{ratio:9.4f}" + (f"{limit:9}" if limit is not None else f"{'-':>9}")
            line += "" if limit is None or ratio <= limit else " MISSED"
        print(line)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast Kennel is from Python, beside others.")
    parser.add_argument("--folder", help="where the files lie; a temporary folder by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=20_000)
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, kennel {kennel.__version__}, {given.keys} keys, {given.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        empty = [None] * given.keys

        def nothing(key: Any) -> None:
            pass

        def loop() -> None:
            for key in empty:
                nothing(key)

        print(f"a loop around an empty function: {min(timed(len(empty), loop) for _ in range(5)):.0f} ns")
        times = measure(contestants(folder), given.rounds, given.keys)
    report(times)
    return 0 if judge(times) else 1


if __name__ == "__main__":
    sys.exit(main())
