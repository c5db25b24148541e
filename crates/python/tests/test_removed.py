"""A cache file that was removed by rm: processes that have it open notice."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import kennel
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere a mapped file cannot be removed")


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


NEWCOMER = "import kennel, sys; kennel.Cache(sys.argv[1]).set('from', 'a newcomer')"

READS = {
    "get": lambda cache: cache.get("from"),
    "item": lambda cache: cache["from"] if "from" in cache or cache.get("nothing") else None,
    "get_item": lambda cache: cache.get_item("from") and cache.get_item("from").value,
    "get_multi": lambda cache: cache.get_multi(["from"])[0],
    "get_or_create": lambda cache: cache.get_or_create("from", lambda: None),
    "namespace": lambda cache: (cache.namespace("pages").get("nothing"), cache.get("from"))[1],
}


@pytest.mark.parametrize("read", READS)
def test_a_process_that_reads_finds_what_a_newcomer_stores(opened, read):
    cache = opened(capacity=8 << 20)
    cache.set("key", "value")
    os.unlink(cache.path)
    subprocess.run([sys.executable, "-c", NEWCOMER, str(cache.path)], check=True, timeout=60)
    until(lambda: READS[read](cache) == b"a newcomer")
    assert cache.get("key") is None


def test_a_memoized_function_goes_on_in_a_new_file(opened):
    cache, calls = opened(capacity=8 << 20), []

    @cache.memoize
    def function(number):
        calls.append(number)
        return number

    function(1)
    os.unlink(cache.path)
    numbers = iter(range(2, 1_000_000))
    until(lambda: function(next(numbers)) and os.path.exists(cache.path))
    last = calls[-1]
    with kennel.Cache(cache.path) as other:
        assert other.stats().capacity == 8 << 20
        until(lambda: function(last) and other.get(function.key(last)) is not None)
