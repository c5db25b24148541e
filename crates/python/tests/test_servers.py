"""Web servers and job queues whose workers share one cache: gunicorn, uvicorn, uWSGI, Celery.

Each runs the same application, whose requests count and create. Nothing may be lost or created twice, in whatever way
the server makes its workers: by fork before or after the cache was opened, as threads, as greenlets, as coroutines,
or in several interpreters of one process.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List

import kennel
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="servers that fork")

WSGI = """
import json, os, sys, threading, time
import kennel

cache = kennel.Cache(os.environ["KENNEL_TEST_CACHE"], capacity=8 << 20)

def create(key):
    cache.incr("created")
    time.sleep(0.05)
    return key

def answer(path):
    kind, _, key = path.strip("/").partition("/")
    if kind == "count":
        cache.incr("count")
    elif kind == "create":
        assert cache.get_or_create(key, lambda: create(key)) == key.encode()
    elif kind == "large":
        try:
            cache.set("large", bytes(4 << 20))
        except kennel.TooLarge as error:
            assert isinstance(error, ValueError)
    return {"pid": os.getpid(), "path": str(cache.path)}

def application(environ, start_response):
    body = json.dumps(answer(environ["PATH_INFO"])).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""

ASGI = """
import asyncio, json, os
import kennel

cache = kennel.Cache(os.environ["KENNEL_TEST_CACHE"], capacity=8 << 20)

async def create(key):
    cache.incr("created")
    await asyncio.sleep(0.05)
    return key

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    kind, _, key = scope["path"].strip("/").partition("/")
    if kind == "count":
        cache.incr("count")
    elif kind == "create":
        assert await cache.aget_or_create(key, lambda: create(key)) == key.encode()
    body = json.dumps({"pid": os.getpid(), "path": str(cache.path)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, so that no port is needed."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


def ask(path: pathlib.Path, what: str) -> Dict[str, Any]:
    connection = Connection(path)
    try:
        connection.request("GET", what)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        answer: Dict[str, Any] = json.loads(body)
        return answer
    finally:
        connection.close()


@contextlib.contextmanager
def served(folder: pathlib.Path, program: str, *command: str) -> Iterator[pathlib.Path]:
    """A server with the program as module `app`; yields its socket."""
    (folder / "app.py").write_text(program)
    (folder / "app2.py").write_text(program)
    where = folder / "http"
    environment = dict(os.environ, KENNEL_TEST_CACHE=str(folder / "cache"), PYTHONPATH=str(folder))
    with (folder / "log").open("w+b") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            begun = time.monotonic()
            while not where.exists():
                assert server.poll() is None and time.monotonic() - begun < 60, (folder / "log").read_text()
                time.sleep(0.02)
            yield where
        except BaseException:
            print((folder / "log").read_text())
            raise
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)


def check(where: pathlib.Path, folder: pathlib.Path, mounts: List[str], in_threads: Any, processes: int = 2) -> None:
    """Many clients at once count, and ask for the same few keys."""
    with kennel.Cache(folder / "cache", capacity=8 << 20) as cache:
        cache.set_multi({"count": "0", "created": "0"})
        pids = set()

        def client(n: int) -> None:
            for round in range(10):
                mount = mounts[(n + round) % len(mounts)]
                pids.add(ask(where, f"{mount}/count")["pid"])
                ask(where, f"{mount}/create/key-{round}")
                ask(where, f"{mount}/large")

        assert len(in_threads(8, client)) == 8
        assert cache.get("count") == b"80"
        assert cache.get("created") == b"10"
        assert len(pids) >= processes
        assert cache.verify().is_ok


def needs(*modules: str) -> Any:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


@needs("gunicorn")
@pytest.mark.parametrize(
    "kind",
    [
        ["--worker-class", "sync", "--workers", "3"],
        ["--worker-class", "sync", "--workers", "3", "--preload"],
        ["--worker-class", "gthread", "--workers", "2", "--threads", "4"],
        pytest.param(["--worker-class", "gevent", "--workers", "2"], marks=needs("gevent")),
    ],
    ids=lambda kind: " ".join(kind[1::2] + kind[4:]),
)
def test_gunicorn(tmp_path, kind, in_threads):
    command = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{tmp_path}/http", *kind, "app:application"]
    with served(tmp_path, WSGI, *command) as where:
        # One greenlet worker can take all clients.
        check(where, tmp_path, [""], in_threads, 1 if "gevent" in kind else 2)


@needs("uvicorn")
def test_uvicorn(tmp_path, in_threads):
    # It sets the mode of its socket, and binds again for each start: one process, with many coroutines.
    command = [sys.executable, "-m", "uvicorn", "--uds", f"{tmp_path}/http", "--log-level", "warning", "app:application"]
    with served(tmp_path, ASGI, *command) as where:
        check(where, tmp_path, [""], in_threads, 1)


@pytest.mark.uwsgi
@pytest.mark.skipif(shutil.which("uwsgi", path=os.path.dirname(sys.executable)) is None, reason="no uwsgi")
@pytest.mark.parametrize("lazy", [[], ["--lazy-apps"]], ids=["forked", "lazy"])
def test_uwsgi_with_two_mounts(tmp_path, lazy, in_threads):
    """Each mount is an interpreter of its own in every worker."""
    uwsgi = os.path.join(os.path.dirname(sys.executable), "uwsgi")
    mounts = ["--mount", "/one=app.py", "--mount", "/two=app2.py", "--manage-script-name"]
    workers = ["--master", "--processes", "2", "--threads", "4", "--die-on-term", *lazy]
    command = [uwsgi, "--http-socket", f"{tmp_path}/http", "--home", sys.prefix, *workers, *mounts]
    with served(tmp_path, WSGI, *command) as where:
        check(where, tmp_path, ["/one", "/two"], in_threads)


CELERY = """
import os, time
import celery, kennel

folder = os.environ["KENNEL_TEST_BROKER"]
app = celery.Celery("app", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder}
app.conf.worker_hijack_root_logger = False
cache = kennel.Cache(os.environ["KENNEL_TEST_CACHE"], capacity=8 << 20)

def create(key):
    cache.incr("created")
    time.sleep(0.02)
    return key

@app.task
def work(key):
    assert cache.get_or_create(key, lambda: create(key)) == key.encode()
    cache.set(f"pid {os.getpid()}", "")
    cache.incr("count")
"""


@needs("celery")
def test_celery_prefork(tmp_path):
    """The parent opens the cache, and its forked children use it."""
    (tmp_path / "app.py").write_text(CELERY)
    (tmp_path / "broker").mkdir()
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), KENNEL_TEST_CACHE=str(tmp_path / "cache"))
    environment["KENNEL_TEST_BROKER"] = str(tmp_path / "broker")
    send = "import app\nfor n in range(60):\n    app.work.delay(f'key {n % 6}')"
    with kennel.Cache(tmp_path / "cache", capacity=8 << 20) as cache, (tmp_path / "log").open("w") as log:
        cache.set_multi({"count": "0", "created": "0"})
        subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environment, check=True, timeout=60)
        command = [sys.executable, "-m", "celery", "-A", "app", "worker", "--concurrency", "3", "--without-gossip"]
        worker = subprocess.Popen([*command, "--without-mingle"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            begun = time.monotonic()
            while cache.get("count") != b"60":
                assert worker.poll() is None and time.monotonic() - begun < 60, (tmp_path / "log").read_text()
                time.sleep(0.05)
        finally:
            worker.terminate()
            worker.wait(30)
        assert cache.get("created") == b"6"
        assert len([key for key in cache.keys() if key.startswith(b"pid ")]) >= 2
        assert cache.verify().is_ok
