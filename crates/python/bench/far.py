"""How fast a hit in the near tier of `kennel.far` is from Python, in one run beside

* the client-side cache of redis-py (`CacheConfig`, protocol 3, a server of 7.4 or later), which each process has for
  itself, and
* a plain `GET` of redis-py over a Unix socket.

    pip install redis
    python bench/far.py [--server PROGRAM] [--rounds N] [--keys N]

All read the same keys with the same 100-byte values, one process, one call at a time, in random order, and each has them
all near before it is measured. The contestants take turns, round after round; the fastest round of each counts, and the
median is printed beside it. The figures to reach are at the end of the output; the exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import kennel
import redis
from kennel.far import FarCache
from redis.cache import CacheConfig

VALUE = bytes(range(100))
BROUGHT = pathlib.Path(__file__).parents[3] / "target" / "far" / "redis-server"

#: Who against whom, and the largest ratio that is good enough; None where it is only stated.
FIGURES: Sequence[Tuple[str, str, Optional[float]]] = (
    ("near hit", "redis-py, its own cache", 1.0),
    ("near hit", "redis-py, GET", None),
    ("near hit, 16 keys", "redis-py, MGET of 16", None),
    ("near hit", "kennel.Cache.get", None),
    ("redis-py, its own cache", "redis-py, GET", None),
)

#: A contestant: what it reads with a list of keys, how many keys each call has, and its part of the calls.
Contestant = Tuple[Callable[[Any], Any], int, float]


def contestants(folder: str, socket: str, keys: Sequence[str]) -> Dict[str, Contestant]:
    far = FarCache(f"unix://{socket}", prefix="key:", path=os.path.join(folder, "near"), capacity=64 << 20)
    plain = redis.Redis(unix_socket_path=socket)
    caching = redis.Redis(unix_socket_path=socket, protocol=3, cache_config=CacheConfig(max_size=2 * len(keys)))
    cache = kennel.Cache(os.path.join(folder, "cache"), capacity=64 << 20)
    for key in keys:
        far.set(key, VALUE)
        cache.set(key, VALUE)
    deadline = time.monotonic() + 30
    while any(far.get_near(key) is None for key in keys):
        far.get_multi(keys)
        if time.monotonic() > deadline:
            sys.exit(f"the near tier does not have the values: {far.problem()}, {far.stats()}")
    return {
        "near hit": (far.get, 1, 1),
        "near hit, 16 keys": (far.get_multi, 16, 1),
        "redis-py, its own cache": (caching.get, 1, 0.5),
        "redis-py, GET": (plain.get, 1, 0.2),
        "redis-py, MGET of 16": (plain.mget, 16, 1),
        "kennel.Cache.get": (cache.get, 1, 1),
    }


def round_of(contestant: Contestant, keys: Sequence[str]) -> float:
    """Nanoseconds of each call."""
    load, batch, share = contestant
    chosen = random.sample(keys, int(len(keys) * share))
    calls: List[Any] = chosen if batch == 1 else [chosen[i : i + batch] for i in range(0, len(chosen), batch)]
    for call in calls:
        found = load(call)
        if (found if batch == 1 else found[-1]) != VALUE:
            sys.exit("a contestant lost what was stored")
    began = time.perf_counter_ns()
    for call in calls:
        load(call)
    return (time.perf_counter_ns() - began) / len(calls)


def judge(times: Dict[str, List[float]]) -> bool:
    """Prints the times and the ratios of the fastest rounds; whether all that have a limit keep it."""
    print(f"{'':26}{'ns':>10}{'(median)':>12}")
    for name, found in times.items():
        print(f"{name:26}{min(found):10.0f}{statistics.median(found):12.0f}")
    good = True
    print(f"\n{'ratio':52}{'':>9}{'at most':>9}")
    for who, whom, limit in FIGURES:
        ratio = min(times[who]) / min(times[whom])
        is_kept = limit is None or ratio <= limit
        good = good and is_kept
        shown = "-" if limit is None else str(limit)
        print(f"{f'{who} / {whom}':52}{ratio:9.4f}{shown:>9}" + ("" if is_kept else " MISSED"))
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast a hit in the near tier is from Python.")
    parser.add_argument("--server", help="the server's program: Redis 7.4 or later")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=5_000)
    given = parser.parse_args()
    program = given.server or (str(BROUGHT) if BROUGHT.is_file() else shutil.which("redis-server"))
    if program is None:
        sys.exit("there is no redis-server: cargo xtask far --bring brings one")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"Python {platform.python_version()}, kennel {kennel.__version__}, redis-py {redis.__version__}, ", end="")
    print(f"server {version}, {given.keys} keys, {given.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, "server.sock")
        server = subprocess.Popen([program, "--port", "0", "--save", "", "--unixsocket", socket], cwd=folder, stdout=-3)
        try:
            while not os.path.exists(socket):
                time.sleep(0.01)
            keys = [f"key:{i:08}" for i in range(given.keys)]
            found = contestants(folder, socket, keys)
            times: Dict[str, List[float]] = {name: [] for name in found}
            for _ in range(given.rounds):
                for name, contestant in found.items():
                    times[name].append(round_of(contestant, keys))
        finally:
            server.kill()
            server.wait()
    return 0 if judge(times) else 1


if __name__ == "__main__":
    sys.exit(main())
