"""Several interpreters in one process, as uWSGI with two mounts and mod_wsgi have them.

Up to Python 3.11 such interpreters share modules like this one. A later Python refuses to import it in a second one.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="the module belongs to one interpreter")

#: What both interpreters do: all ways to an error, and paths, which must be of the interpreter's own class.
WORK = """
import faulthandler, os, pathlib, sys, threading
faulthandler.dump_traceback_later(30, exit=True)
import kennel

def error(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")

def work(folder):
    with kennel.Cache(os.path.join(folder, "cache"), capacity=1 << 20, stripes=1) as cache:
        cache.set("key", b"value")
        assert cache.get("key") == b"value"
        large = bytes(1 << 20)
        # The methods that Python calls without PyO3's help, then others.
        assert error(kennel.TooLarge, lambda: cache.set("large", large)).size > len(large)
        error(kennel.KeyTooLong, lambda: cache.set("k" * 70_000, b""))
        error(TypeError, lambda: cache.set(1, b""))
        error(TypeError, lambda: cache.get(1))
        error(kennel.TooLarge, lambda: cache.add("large", large))
        error(kennel.NotANumber, lambda: cache.incr("key"))
        assert type(cache.set_multi({"large": large})["large"]) is kennel.TooLarge
        with cache.claim("claimed").claim:
            error(kennel.OwnClaim, lambda: cache.claim("claimed"))
        error(kennel.TooLarge, lambda: cache.claim("large").claim.store(large))
        missing = os.path.join(folder, "missing")
        assert error(kennel.NotFound, lambda: kennel.Cache(missing, create=False)).path == pathlib.Path(missing)
        assert isinstance(cache.path, pathlib.Path) and isinstance(cache.stats().path, pathlib.Path)
        assert isinstance(kennel.default_path(), pathlib.Path)

work(FOLDER)
thread = threading.Thread(target=work, args=(FOLDER,))
thread.start()
thread.join()
"""


def test_every_error_reaches_each_of_two_interpreters(tmp_path):
    program = f"""
import _xxsubinterpreters as interpreters
work = "FOLDER = {str(tmp_path)!r}" + {WORK!r}
first, second = interpreters.create(isolated=False), interpreters.create(isolated=False)
interpreters.run_string(first, work)
interpreters.run_string(second, work)
interpreters.destroy(first)
interpreters.run_string(second, work)
print("done")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.stdout == "done\n" and run.returncode == 0, run.stdout + run.stderr
