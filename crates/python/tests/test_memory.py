"""Where there is no memory for a value, MemoryError is raised, and the process goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

#: Each call gets a value for which there is no memory, or fails in another way that leaves the process alive.
CALLS = {
    "get": "cache.get(KEY)",
    "item": "cache[KEY]",
    "get_item": "cache.get_item(KEY)",
    "get_into": "cache.get_into(KEY, bytearray(8))",
    "get_multi": "cache.get_multi([KEY, KEY])",
    "claim": "cache.claim(KEY)",
    "claim of a stale value": "stale.claim(KEY)",
    "get_or_create": "cache.get_or_create(KEY, lambda: b'')",
    "get_or_create_multi": "cache.get_or_create_multi([KEY], lambda keys: [b''])",
    "aget_or_create": "asyncio.run(cache.aget_or_create(KEY, create))",
    "incr": "cache.incr(KEY)",
    "in a namespace": "stale.get_item(KEY)",
    "many in a namespace": "stale.get_multi([KEY])",
}

PROGRAM = """
import asyncio, resource, sys
import kennel
cache, KEY = kennel.Cache(sys.argv[1]), "large"
stale = cache.namespace("stale")
async def create():
    return b""
loop = asyncio.new_event_loop()
loop.close()
assert cache.get("small") == b"7" and cache.incr("small") == 8
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), -1))
try:
    CALL
except MemoryError as error:
    print("MemoryError", isinstance(error, kennel.Error))
assert cache.get("small") == b"8"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
@pytest.mark.parametrize("call", CALLS)
def test_a_value_without_memory_is_an_error_and_not_the_end(opened, call):
    cache = opened(capacity=128 << 20, stripes=1)
    cache.set("small", "7")
    cache.set("large", bytes(12 << 20))
    cache.namespace("stale").set("large", bytes(12 << 20), ttl=60, stale=0)
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("CALL", CALLS[call]), str(cache.path)], capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("MemoryError")
