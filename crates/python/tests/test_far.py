"""The far tier with a real server: every call, both directions, forks, signals, coroutines, greenlets."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import kennel
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the far tier is for Unix systems")

if os.name == "posix":
    from kennel.far import (
        BadFarOption,
        FarCache,
        FarError,
        FarMismatch,
        ServerError,
        ServerUnreachable,
        SeveralSlots,
    )


def is_near(far, key):
    """Whether the near tier answers the next read of a value."""
    far.get(key)
    return far.get_near(key) is not None


def test_every_call_does_what_its_command_does(far, server):
    assert far.get("app:k") is None and far.get("app:k", "none") == "none"
    assert far.set("app:k", "v") is None
    assert far.get("app:k") == far.get(key=b"app:k", default="x") == far.get_fresh("app:k") == b"v"
    assert server.ask("GET", "app:k") == b"v" and server.ask("PTTL", "app:k") == -1
    far.set("app:t", bytearray(b"\0\xff"), ttl=50)
    assert far.get("app:t") == b"\0\xff" and 0 < server.ask("PTTL", "app:t") <= 50_000
    far.set("app:e", "v", expires_at=time.time() + 50)
    assert 0 < server.ask("PTTL", "app:e") <= 50_000
    far.set_multi({"app:a": "1", b"app:b": b"2"})
    far.set_multi([("app:c", "3"), ("other", "4")], ttl=50)
    assert far.get_multi(["app:a", "app:none", "app:b", "app:c", "other"]) == [b"1", None, b"2", b"3", b"4"]
    assert server.ask("PTTL", "app:a") == -1 and 0 < server.ask("PTTL", "other") <= 50_000
    assert (far.incr("app:n"), far.incr("app:n", 5), far.incr("app:n", -2)) == (1, 6, 4)
    assert far.delete("app:k") is True and far.delete("app:k") is False
    assert far.delete_multi(["app:a", "app:none", "app:b"]) == 2
    assert far.get_multi([]) == [] and far.delete_multi([]) == 0 and far.set_multi({}) is None
    assert far.call(["HSET", "app:h", "field", 1.5], ["app:h"]) == 1
    assert far.call(["HGETALL", "app:h"]) == [b"field", b"1.5"]
    assert far.call(["EVAL", "return {1, false, {'a'}}", 0]) == [1, None, [b"a"]]
    far.flush_database()
    assert far.get("app:n") is None and server.ask("DBSIZE") in (0, 1)


def test_a_read_value_is_near_until_anyone_changes_it(far, server, until):
    server.ask("SET", "app:k", "one")
    until(lambda: is_near(far, "app:k"))
    hits = far.stats().hits
    assert far.get("app:k") == b"one" and far.stats().hits == hits + 1
    server.ask("SET", "app:k", "two")
    until(lambda: far.get("app:k") == b"two")
    until(lambda: is_near(far, "app:k"))
    for number in range(50):
        far.set("app:k", str(number))
        assert far.get("app:k") == str(number).encode(), "a host reads its own writes"
    assert far.proof_age() < 1 and far.problem() is None


def test_a_cluster(cluster, tmp_path, until):
    items = {f"app:{number}": str(number) for number in range(30)}
    values = [value.encode() for value in items.values()]
    with FarCache(cluster, prefix="app:", path=tmp_path / "near", capacity="4M") as far:
        far.set_multi(items)
        assert far.get_multi(items) == values
        far.set_multi(items, ttl=60)
        until(lambda: all([is_near(far, key) for key in items]))
        with pytest.raises(SeveralSlots):
            far.call(["MSET", "app:1", "x", "app:2", "y"], ["app:1", "app:2"])
        assert 0 < far.call(["PTTL", "app:7"]) <= 60_000
        assert far.get_or_create("app:made", lambda: "made") == b"made"
        assert far.delete_multi(["app:1", "app:2", "app:none"]) == 2
        assert far.get_multi(["app:1", "app:3"]) == [None, b"3"]
        far.flush_database()
        assert not any(far.get_multi(items))


def test_a_user_who_may_not_run_scripts_stores_many_values_one_by_one(server, tmp_path):
    server.ask("ACL", "SETUSER", "app", "on", ">p@ss", "~*", "+@all", "-eval")
    url = f"unix://app:p%40ss@{server.socket}"
    with FarCache(url, prefix="app:", path=tmp_path / "near", capacity="1M") as far:
        far.set_multi({"app:a": "1", "app:b": "2"}, ttl=60)
        assert far.get_multi(["app:a", "app:b"]) == [b"1", b"2"] and 0 < server.ask("PTTL", "app:b") <= 60_000
        with pytest.raises(ServerError, match="NOPERM"):
            far.get_or_create("app:c", lambda: "made")
        assert "p@ss" not in repr(far) and "p%40ss" not in repr(far)


def test_large_values_and_keys_outside_are_fetched(far, server):
    value = os.urandom(300_000)
    far.set("app:large", value)
    assert far.get("app:large") == value and far.get_near("app:large") is None
    far.set("outside", value)
    assert far.get("outside") == value and far.stats().outside > 0


def test_a_large_near_value_is_copied_without_the_interpreters_lock(fars, until):
    far = fars("large", near_max_value="4M", capacity="64M", stripes=1)
    value = os.urandom(1 << 20)
    far.set("app:large", value)
    until(lambda: is_near(far, "app:large"))
    assert far.get_near("app:large") == value


def test_tls_checks_the_certificate_of_the_server(tmp_path, until):
    """With a server in the path: the one that `cargo xtask far --bring` brings is built without TLS."""
    program, openssl = shutil.which("redis-server") or shutil.which("valkey-server"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("there is no redis-server or valkey-server in the path, or no openssl")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    ca = ["-keyout", "ca.key", "-out", "ca", "-subj", "/CN=authority"]
    leaf = ["-CA", "ca", "-CAkey", "ca.key", "-keyout", "key", "-out", "crt", "-subj", "/CN=cache.internal"]
    names = ["-addext", "subjectAltName=DNS:cache.internal", "-addext", "basicConstraints=CA:FALSE"]
    for files in (ca, [*leaf, *names]):
        subprocess.run([*make, *files], cwd=tmp_path, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = ["--tls-cert-file", "crt", "--tls-key-file", "key", "--tls-ca-cert-file", "ca", "--tls-auth-clients", "no"]
    server = subprocess.Popen(
        [program, "--port", "0", "--save", "", "--tls-port", str(port), *files], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        try:
            server.wait(0.5)
            pytest.skip("the server was built without TLS")
        except subprocess.TimeoutExpired:
            pass
        url, near = f"rediss://127.0.0.1:{port}", tmp_path / "near"
        known = {"prefix": "app:", "path": near, "timeout": 2, "ssl_ca_certs": tmp_path / "ca"}
        with FarCache(url, ssl_server_name="cache.internal", **known) as far:
            far.set("app:k", "v")
            until(lambda: is_near(far, "app:k"))
        with FarCache(url, **known) as far, pytest.raises(ServerUnreachable, match="certificate"):
            far.get("app:other")
        with pytest.raises(TypeError, match="ssl_keyfile"):
            FarCache(url, ssl_certfile=tmp_path / "crt", **known)
        with pytest.raises(BadFarOption):
            FarCache(f"redis://127.0.0.1:{port}", **known)
    finally:
        server.kill()
        server.wait()


def test_errors_have_classes(far, server, tmp_path, fars):
    far.call(["LPUSH", "app:list", "x"], ["app:list"])
    with pytest.raises(ServerError, match="WRONGTYPE"):
        far.get("app:list")
    with pytest.raises(ServerError):
        far.call(["NOSUCHCOMMAND"])
    with pytest.raises(BadFarOption) as refused:
        FarCache("nowhere", prefix="app:", path=tmp_path / "near")
    assert isinstance(refused.value, (FarError, kennel.BadOption, ValueError)) and refused.value.option == "url"
    for wrong in ({"prefix": []}, {"prefix": ["a", "ab"]}, {"max_staleness": 0.001}, {"keepers": 3}):
        with pytest.raises(BadFarOption):
            fars("wrong", **wrong)
    with pytest.raises(kennel.BadOption, match="brief"):
        fars("wrong", degraded="often")
    assert fars("brief", degraded="brief", hot_keys=50).get("app:k") is None
    with pytest.raises(TypeError, match="read_only"):
        fars("wrong", read_only=True)
    with pytest.raises(TypeError, match="colour"):
        fars("wrong", colour="red")
    with pytest.raises(kennel.BadOption, match="capacity"):
        fars("wrong", capacity="many")
    with pytest.raises(FarMismatch):
        fars("near", max_staleness=3)
    with pytest.raises(TypeError):
        far.get(5)
    with pytest.raises(TypeError, match="list"):
        far.call("GET app:k")
    with pytest.raises(TypeError, match="bool"):
        far.call(["SET", "app:k", True])
    with pytest.raises(ValueError):
        far.call([])
    lost = FarCache(f"unix://{tmp_path}/nothing", prefix="app:", path=tmp_path / "lost", capacity="1M", timeout=1)
    with pytest.raises(ServerUnreachable) as failed:
        lost.get("app:k")
    assert isinstance(failed.value, (kennel.Error, ConnectionError))
    assert type(pickle.loads(pickle.dumps(failed.value))) is ServerUnreachable
    assert lost.get_or_create("app:k", lambda: "v", or_uncached=True) == b"v"
    with pytest.raises(ServerUnreachable):
        lost.get_or_create("app:k", lambda: "v")
    lost.close()


def test_a_closed_one_says_so(fars):
    far = fars("closed")
    assert "near" in repr(far)
    with far:
        pass
    assert far.closed and repr(far).endswith("closed>")
    for call in (lambda: far.get("app:k"), far.stats, lambda: far.set("app:k", "v"), lambda: far.get_multi(["a"])):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_one_creator_among_threads_and_hosts(fars, server, in_threads):
    hosts, created = [fars("near-a"), fars("near-b")], []

    def create():
        created.append(1)
        time.sleep(0.1)
        return "made"

    assert set(in_threads(8, lambda i: hosts[i % 2].get_or_create("app:r", create, ttl=60))) == {b"made"}
    assert len(created) == 1 and 0 < server.ask("PTTL", "app:r") <= 60_000
    assert server.ask("EXISTS", "kennel-far:lease:app:r") == 0


def test_a_failed_creation_lets_the_next_try(far, server):
    with pytest.raises(ZeroDivisionError):
        far.get_or_create("app:f", lambda: 1 / 0)
    assert far.get_or_create("app:f", lambda: None) is None
    assert far.get_or_create("app:f", lambda: "no", should_cache=lambda value: value != b"no") == b"no"
    assert server.ask("EXISTS", "app:f") == 0
    assert far.get_or_create("app:f", lambda: "yes", should_cache=lambda value: value != b"no") == b"yes"
    assert far.get_or_create("app:f", lambda: "other") == b"yes"


def test_who_asks_for_its_own_key_gets_an_error(far):
    with pytest.raises(kennel.OwnClaim):
        far.get_or_create("app:own", lambda: far.get_or_create("app:own", lambda: "inner"))
    assert far.get_or_create("app:own", lambda: far.get_or_create("app:another", lambda: "inner")) == b"inner"


def test_a_wait_that_is_over_creates_without_storing(far, server):
    server.ask("SET", "kennel-far:lease:app:w", "another", "PX", "60000")
    began = time.monotonic()
    assert far.get_or_create("app:w", lambda: "mine", wait=0.2) == b"mine"
    assert time.monotonic() - began < 5 and server.ask("EXISTS", "app:w") == 0


def test_a_forked_child_and_a_spawned_one_go_on(far, until):
    far.set("app:k", "parent")
    until(lambda: is_near(far, "app:k"))

    def child():
        good = far.get("app:k") == b"parent" and far.get_fresh("app:k") == b"parent"
        far.set("app:k", "child")
        os._exit(0 if good and far.get("app:k") == b"child" else 1)

    for start in ("fork", "spawn"):
        if start == "fork":
            pid = os.fork()
            if pid == 0:
                child()
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert far.get("app:k") == b"child"
        else:
            again = multiprocessing.get_context(start).Process(target=_in_another_process, args=(far,))
            again.start()
            again.join(60)
            assert again.exitcode == 0 and far.get("app:k") == b"spawned"


def _in_another_process(far):
    far.set("app:k", "spawned")
    assert far.get("app:k") == b"spawned"


def test_a_process_ends_at_once_while_its_server_is_gone(tmp_path):
    program = (
        "from kennel.far import FarCache\n"
        f"far = FarCache('redis://192.0.2.1', prefix='a:', path={str(tmp_path / 'near')!r}, capacity='1M')\n"
        "far2 = FarCache('redis://192.0.2.1', prefix='b:', path=far.path, capacity='1M')\n"
        "del far2\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert time.monotonic() - began < 8


SIGNALLED = """
import signal, sys, time
from kennel.far import FarCache
far = FarCache(sys.argv[1], prefix="app:", path=sys.argv[2], capacity="1M")
caught = []
# A background shell starts everything with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
assert far.call(["BLPOP", "app:list", 1]) is None, "signals do not break a call"
signal.setitimer(signal.ITIMER_REAL, 0)
assert caught
print("waiting", flush=True)
began = time.monotonic()
try:
    far.get_or_create("app:w", lambda: "mine")
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began < 10, flush=True)
"""


def test_signals_break_no_call_and_end_a_wait(server, tmp_path):
    server.ask("SET", "kennel-far:lease:app:w", "another", "PX", "60000")
    program = [sys.executable, "-c", SIGNALLED, server.url, str(tmp_path / "near")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted True\n"
    assert child.returncode == 0


def test_other_threads_run_during_a_call(far):
    waited = threading.Thread(target=lambda: far.call(["BLPOP", "app:empty", 1]))
    waited.start()
    time.sleep(0.05)
    began = time.monotonic()
    far.set("app:k", "v")
    assert far.get("app:k") == b"v" and time.monotonic() - began < 0.9
    waited.join()


def test_coroutines(fars, server, loop_pauses):
    far, other = fars("near-a"), fars("near-b")
    created = []

    async def create():
        created.append(1)
        await asyncio.sleep(0.1)
        return "made"

    async def work():
        watch = asyncio.ensure_future(loop_pauses.watch())
        await far.aset("app:k", "v", ttl=60)
        assert await far.aget("app:k") == await far.aget_fresh("app:k") == b"v"
        assert await far.aget("app:none", "default") == "default"
        await far.aset_multi({"app:a": "1", "app:b": "2"})
        for _ in range(2):
            assert await far.aget_multi(["app:a", "app:b"]) == [b"1", b"2"]
        assert await far.aincr("app:n", 2) == 2 and await far.adelete("app:a") is True
        assert await far.adelete_multi(["app:a", "app:b"]) == 1
        assert await far.acall(["EXISTS", "app:n"]) == 1
        got = await asyncio.gather(*(host.aget_or_create("app:r", create, ttl=60) for host in [far, other] * 40))
        assert set(got) == {b"made"} and len(created) == 1
        with pytest.raises(kennel.OwnClaim):
            await far.aget_or_create("app:own", lambda: far.aget_or_create("app:own", create))
        assert await far.aget_or_create("app:none", lambda: asyncio.sleep(0)) is None
        with pytest.raises(ZeroDivisionError):
            await far.aget_or_create("app:none", failing)
        await asyncio.wait_for(cancelled(), 20)
        watch.cancel()

    async def failing():
        raise ZeroDivisionError

    async def cancelled():
        task = asyncio.ensure_future(far.aget_or_create("app:c", lambda: asyncio.sleep(60)))
        while server.ask("EXISTS", "kennel-far:lease:app:c") == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await other.aget_or_create("app:c", create) == b"made"

    asyncio.run(work())
    assert loop_pauses.longest < 1


GREENLETS = """
import gevent, sys, time
from kennel.far import FarCache
far = FarCache(sys.argv[1], prefix="app:", path=sys.argv[2], capacity="1M")
ticks = []

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)

def create():
    created.append(1)
    gevent.sleep(0.3)
    return "made"

created = []
ticker = gevent.spawn(tick)
assert far.call(["BLPOP", "app:list", 1]) is None and len(ticks) > 20, ticks
waiting = [gevent.spawn(far.get_or_create, "app:r", create) for _ in range(40)]
gevent.joinall(waiting, raise_error=True)
assert {one.value for one in waiting} == {b"made"} and created == [1], created
far.set("app:k", "v")
assert far.get("app:k") == b"v"
ticker.kill()
print("fine")
"""


def test_greenlets_run_while_one_waits_for_the_server(server, tmp_path):
    pytest.importorskip("gevent", reason="installed for Python 3.11 and later")
    program = [sys.executable, "-c", GREENLETS, server.url, str(tmp_path / "near")]
    found = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and found.stdout == "fine\n", found.stderr


def test_without_the_extension_the_import_says_what_is_missing():
    program = (
        "import kennel._kennel as engine\n"
        "del engine.FarCache\n"
        "try:\n    import kennel.far\nexcept ImportError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "kennel.far is for Unix systems" in found.stdout


def test_the_options_are_those_of_the_extension():
    from kennel.far import _cache

    assert sorted(_cache.OPTIONS) == sorted(kennel._kennel.FAR_OPTIONS)
