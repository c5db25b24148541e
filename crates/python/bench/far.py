"""How fast a hit in the near tier of `kennel.far` is from Python, in one run beside

* the client-side cache of redis-py (`CacheConfig`, protocol 3, a server of 7.4 or later), which each process has for
  itself, and which works over TCP only, and
* a plain `GET` of redis-py over a Unix socket.

    pip install redis
    python bench/far.py [--server PROGRAM] [--rounds N] [--keys N] [--json FILE]

`cargo xtask far-figures --python` builds the package with optimizations, runs this, and shows the ratios in its table.

All read the same keys with the same 100-byte values, one process, one call at a time, in random order, and each has them
all near before it is measured. The server's own count of `GET`s proves that a near cache answers: a contestant that asks
the server more than once in a hundred calls ends the benchmark. The contestants take turns, round after round; the fastest
round of each counts, and the median is printed beside it. The figures to reach are at the end of the output; the exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import shutil
import socket as sockets
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

#: Who against whom, the largest ratio that is good enough, and the one that is aimed for; None where it is only stated.
FIGURES: Sequence[Tuple[str, str, Optional[Tuple[float, float]]]] = (
    ("near hit", "redis-py, its own cache", (1.0, 0.3)),
    ("near hit", "redis-py, GET", None),
    ("near hit, 16 keys", "redis-py, MGET of 16", None),
    ("near hit", "kennel.Cache.get", None),
    ("redis-py, its own cache", "redis-py, GET", None),
)

#: Who answers without the server.
NEAR = ("near hit", "near hit, 16 keys", "redis-py, its own cache", "kennel.Cache.get")

#: A contestant: what it reads with a list of keys, how many keys each call has, and its part of the calls.
Contestant = Tuple[Callable[[Any], Any], int, float]


def contestants(folder: str, socket: str, port: int, keys: Sequence[str]) -> Dict[str, Contestant]:
    far = FarCache(f"unix://{socket}", prefix="key:", path=os.path.join(folder, "near"), capacity=64 << 20)
    plain = redis.Redis(unix_socket_path=socket)
    caching = redis.Redis(port=port, protocol=3, cache_config=CacheConfig(max_size=2 * len(keys)))
    cache = kennel.Cache(os.path.join(folder, "cache"), capacity=64 << 20)
    for key in keys:
        far.set(key, VALUE)
        cache.set(key, VALUE)
    deadline = time.monotonic() + 30
    while any(far.get_near(key) is None for key in keys):
        far.get_multi(keys)
        if time.monotonic() > deadline:
            sys.exit(f"the near tier does not have the values: {far.problem()}, {far.stats()}")
    for key in keys:
        caching.get(key)
    kept = caching.get_cache()
    if kept is None or kept.size < len(keys):
        sys.exit("redis-py does not keep what it reads")
    return {
        "near hit": (far.get, 1, 1),
        "near hit, 16 keys": (far.get_multi, 16, 1),
        "redis-py, its own cache": (caching.get, 1, 0.5),
        "redis-py, GET": (plain.get, 1, 0.2),
        "redis-py, MGET of 16": (plain.mget, 16, 1),
        "kennel.Cache.get": (cache.get, 1, 1),
    }


def gets(server: Any) -> int:
    """How many ``GET``s the server has executed. A tracker of the far tier adds one with each of its pings."""
    return int(server.info("commandstats").get("cmdstat_get", {}).get("calls", 0))


def must_be_near(name: str, asked: int, calls: int) -> None:
    if name in NEAR and asked > calls // 100 + 10:
        sys.exit(f"{name!r} asked the server {asked} times in {calls} calls, so it does not measure its near cache")


def round_of(contestant: Contestant, keys: Sequence[str]) -> float:
    """Nanoseconds of each call."""
    load, batch, _ = contestant
    calls = calls_of(contestant, keys)
    for call in calls:
        found = load(call)
        if (found if batch == 1 else found[-1]) != VALUE:
            sys.exit("a contestant lost what was stored")
    began = time.perf_counter_ns()
    for call in calls:
        load(call)
    return (time.perf_counter_ns() - began) / len(calls)


def calls_of(contestant: Contestant, keys: Sequence[str]) -> List[Any]:
    _, batch, share = contestant
    chosen = random.sample(keys, int(len(keys) * share))
    return chosen if batch == 1 else [chosen[i : i + batch] for i in range(0, len(chosen), batch)]


def judge(times: Dict[str, List[float]]) -> bool:
    """Prints the times and the ratios of the fastest rounds; whether all that have a limit keep it."""
    print(f"{'':26}{'ns':>10}{'(median)':>12}")
    for name, found in times.items():
        print(f"{name:26}{min(found):10.0f}{statistics.median(found):12.0f}")
    good = True
    print(f"\n{'ratio':52}{'':>9}{'at most':>9}")
    for who, whom, goals in FIGURES:
        ratio = min(times[who]) / min(times[whom])
        is_kept = goals is None or ratio <= goals[0]
        good = good and is_kept
        shown = "-" if goals is None else str(goals[0])
        print(f"{f'{who} / {whom}':52}{ratio:9.4f}{shown:>9}" + ("" if is_kept else " MISSED"))
    return good


def rows(times: Dict[str, List[float]], versions: str) -> List[Dict[str, Any]]:
    """The ratios in the form of the rows of `cargo xtask far-figures`."""
    return [
        {
            "name": f"Python: {who} against {whom}",
            "value": min(times[who]) / min(times[whom]),
            "unit": "x",
            "goals": goals,
            "more_is_better": False,
            "of": f"{min(times[who]):.0f} ns, {min(times[whom]):.0f} ns; {versions}",
        }
        for who, whom, goals in FIGURES
    ]


def free_port() -> int:
    with contextlib.closing(sockets.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast a hit in the near tier is from Python.")
    parser.add_argument("--server", help="the server's program: Redis 7.4 or later")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--json", help="write the ratios to this file, and let a missed one be no failure")
    given = parser.parse_args()
    program = given.server or (str(BROUGHT) if BROUGHT.is_file() else shutil.which("redis-server"))
    if program is None:
        sys.exit("there is no redis-server: cargo xtask far --bring brings one")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    versions = f"Python {platform.python_version()}, redis-py {redis.__version__}, server {version.replace('v=', '')}"
    print(f"{versions}, kennel {kennel.__version__}, {given.keys} keys, {given.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, "server.sock")
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--unixsocket", socket]
        server = subprocess.Popen(command, cwd=folder, stdout=-3)
        try:
            while not os.path.exists(socket):
                time.sleep(0.01)
            keys = [f"key:{i:08}" for i in range(given.keys)]
            found = contestants(folder, socket, port, keys)
            times: Dict[str, List[float]] = {name: [] for name in found}
            with redis.Redis(unix_socket_path=socket) as counting:
                for _ in range(given.rounds):
                    for name, contestant in found.items():
                        before = gets(counting)
                        times[name].append(round_of(contestant, keys))
                        # Each call of a round is made twice.
                        must_be_near(name, gets(counting) - before, 2 * int(given.keys * contestant[2]))
        finally:
            server.kill()
            server.wait()
    good = judge(times)
    if given.json is not None:
        pathlib.Path(given.json).write_text(json.dumps(rows(times, versions)))
        return 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
