"""How long a warm `kennel memo -- true` takes as a whole process, beside `true` itself and beside bkt.

    cargo build --release -p kennel-cli
    python crates/cli/bench/memo.py target/release/kennel [--bkt PATH] [--runs N]

All take turns, so that what disturbs the machine disturbs all; the fastest run of each counts, and the median is printed
beside it. The figures to reach are at the end of the output; the
exit status is 1 if one is missed. Without bkt (`cargo install bkt`) it is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from typing import Dict, List, Sequence


def run(command: Sequence[str], nowhere: int) -> float:
    """Microseconds from the start of a process to its end."""
    outputs = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1, 2)]
    began = time.perf_counter_ns()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=outputs)
    status = os.waitpid(child, 0)[1]
    took = time.perf_counter_ns() - began
    if status != 0:
        sys.exit(f"{' '.join(command)} failed with status {status}")
    return took / 1000


def measure(commands: Dict[str, List[str]], runs: int) -> Dict[str, List[float]]:
    nowhere = os.open(os.devnull, os.O_RDWR)
    times: Dict[str, List[float]] = {name: [] for name in commands}
    # The first run of each is the cold one.
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(run(command, nowhere))
    return {name: of_one[1:] for name, of_one in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="How long a warm `kennel memo -- true` takes as a whole process.")
    parser.add_argument("kennel", help="the program, as cargo build --release makes it")
    parser.add_argument("--bkt", default=shutil.which("bkt"), help="the program bkt; by default the one in PATH")
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    true = shutil.which("true") or sys.exit("there is no program `true` here")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        file = os.path.join(folder, "memo.cache")
        commands = {"true": [true], "kennel memo": [given.kennel, "memo", "--ttl", "1h", "--cache", file, "--", true]}
        if given.bkt:
            commands["bkt"] = [given.bkt, "--ttl=1h", "--cache-dir=" + os.path.join(folder, "bkt"), "--", true]
        times = measure(commands, given.runs)
    print(f"{'microseconds':16}{'fastest':>9}{'median':>9}{'of true':>9}")
    fastest = {name: min(of_one) for name, of_one in times.items()}
    for name, of_one in times.items():
        ratio = fastest[name] / fastest["true"]
        print(f"{name:16}{fastest[name]:9.0f}{statistics.median(of_one):9.0f}{ratio:9.2f}")
    limits = {"true": 3.0, "bkt": 1.0}
    missed = [name for name in commands if name in limits and fastest["kennel memo"] > limits[name] * fastest[name]]
    for name in missed:
        print(f"MISSED: at most {limits[name]} times {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
