"""Errors say what was expected and found, and are what Python has for them."""

from __future__ import annotations

import inspect
import os
import pathlib
import pickle
import re
import subprocess
import sys

import kennel
import kennel._errors as errors
import pytest

HERE = pathlib.Path(__file__).parent


def variants():
    source = (HERE.parents[2] / "src" / "error.rs").read_text()
    body = source[source.index("pub enum Error {") : source.index("\nimpl Error {")]
    names = re.findall(r"^    ([A-Z]\w+)(?: \{|\(|,)", body, re.MULTILINE)
    # That of typed values, which only Rust has: here objects go through serializers.
    return set(names) - {"Codec"}


def test_there_is_a_class_for_each_error_of_the_engine():
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")}
    assert classes - {"Error", "Any"} == variants()
    assert variants() < set(kennel.__all__)
    assert set(errors.__all__) == variants() | {"Error"}


def test_nothing_there(path):
    with pytest.raises(FileNotFoundError) as caught:
        kennel.Cache(path, create=False)
    assert isinstance(caught.value, kennel.NotFound) and isinstance(caught.value, kennel.Error)
    assert caught.value.path == path


def test_no_cache_file(path):
    path.write_bytes(b"my thesis" * 1000)
    path.chmod(0o600)
    with pytest.raises(kennel.BadFile, match="expected .*, found") as caught:
        kennel.Cache(path)
    assert caught.value.field in {"magic", "length"}
    assert path.read_bytes() == b"my thesis" * 1000


def test_another_size(opened):
    opened(capacity=8 << 20)
    with pytest.raises(kennel.Mismatch) as caught:
        opened(capacity=8 << 20, locks="process", on_mismatch="fail")
    assert (caught.value.option, caught.value.asked, caught.value.found) == ("locks", "process", "file")
    assert opened(capacity=8 << 20, locks="process", on_mismatch="use_existing").stats().strategy == "file"


def test_by_default_another_file_takes_the_place_of_one_that_differs(opened):
    before = opened(capacity=8 << 20)
    before.set("key", "value")
    before.close()
    after = opened(capacity=16 << 20)
    assert after.stats().capacity == 16 << 20
    assert after.get("key") is None


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(opened, mode):
    cache = opened(capacity=8 << 20)
    cache.close()
    cache_path = opened(capacity=8 << 20).path
    cache_path.chmod(mode)
    with pytest.raises(PermissionError, match="only its owner writes") as caught:
        opened()
    assert isinstance(caught.value, kennel.NotTrusted)
    assert opened(trust=True).get("key") is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("locks", "paper"), ("after_crash", "hope"), ("on_mismatch", "panic"), ("stripes", 3), ("capacity", 1)],
)
def test_an_option_that_cannot_be(path, option, value):
    with pytest.raises(ValueError, match=f"expected .*, found {value}") as caught:
        kennel.Cache(path, **{option: value})
    assert isinstance(caught.value, kennel.BadOption) and not path.exists()


def test_an_option_that_there_is_not(path):
    with pytest.raises(TypeError, match="size"):
        kennel.Cache(path, size=1)
    with pytest.raises(TypeError, match="size is not an option"):
        kennel._kennel.Cache(path, {"size": 1})


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("capacity", "many", kennel.BadOption),
        ("capacity", "-1M", kennel.BadOption),
        ("capacity", -1, kennel.BadOption),
        ("capacity", "9999999999T", kennel.BadOption),
        ("mean_item", [], TypeError),
        ("seats", 1 << 40, kennel.BadOption),
        ("seats", "many", TypeError),
        ("mode", 6.5, TypeError),
        ("locks", 1, TypeError),
        ("trust", "yes", TypeError),
        ("lock_wait", "5s", TypeError),
        ("lock_wait", float("nan"), kennel.BadOption),
    ],
)
def test_an_option_of_another_kind_is_named(path, option, value, kind):
    with pytest.raises(kind, match=f"option {option}: expected .*, found") as caught:
        kennel.Cache(path, **{option: value})
    assert str(value) in str(caught.value) and not path.exists()


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("8388608", 8 << 20), ("8M", 8 << 20), ("8 MiB", 8 << 20), ("8192k", 8 << 20), ("9MB", 9_000_000), ("0.01g", 10737418)],
)
def test_a_size_may_be_text(opened, text, bytes_):
    assert opened(capacity=text, mean_item="1k").stats().capacity == bytes_


def test_too_large_and_too_long(cache):
    limit = cache.stats().largest_record
    with pytest.raises(kennel.TooLarge) as caught:
        cache.set("key", bytes(limit + 8))
    assert caught.value.size > caught.value.limit
    with pytest.raises(kennel.KeyTooLong) as caught:
        cache.set(bytes(kennel.MAX_KEY + 1), "")
    assert (caught.value.size, caught.value.limit) == (kennel.MAX_KEY + 1, kennel.MAX_KEY)
    assert cache.get(bytes(kennel.MAX_KEY + 1)) is None


def test_read_only(opened):
    opened(capacity=8 << 20).set("key", "value")
    reader = opened(read_only=True)
    assert reader.get("key") == b"value"
    with pytest.raises(kennel.ReadOnly):
        reader.set("key", "other")


def test_open_elsewhere(opened):
    opened(capacity=8 << 20, locks="process")
    with pytest.raises(kennel.OpenElsewhere):
        opened(locks="process")


STOPPED = """
import kennel, os, signal, sys, threading
cache = kennel.Cache(sys.argv[1], lock_wait=30)
print("ready", flush=True)
while True:
    cache.set("key", bytes(400_000))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="stops a process by a signal")
def test_busy_names_the_stripe(opened):
    import signal
    import time

    cache = opened(capacity=8 << 20, stripes=1, lock_wait=0.01)
    with subprocess.Popen([sys.executable, "-c", STOPPED, str(cache.path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        try:
            for _ in range(300):
                time.sleep(0.003)
                child.send_signal(signal.SIGSTOP)
                try:
                    cache.set("other", "value")
                except TimeoutError as error:
                    assert isinstance(error, kennel.Busy)
                    assert (error.stripe, error.waited) == (0, 0.01)
                    break
                finally:
                    child.send_signal(signal.SIGCONT)
            else:
                pytest.fail("the child was never stopped while it held the stripe")
        finally:
            child.kill()


def test_errors_survive_a_pickle():
    for error in [
        kennel.Busy("busy", stripe=3, waited=5.0),
        kennel.Io("cannot", path=pathlib.Path("x"), errno=13),
        kennel.TooLarge("large", size=1, limit=0),
        kennel.NotFound("none", path=pathlib.Path("x")),
    ]:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and again.__dict__ == error.__dict__
        assert getattr(again, "errno", None) == getattr(error, "errno", None)


def test_the_systems_number_is_there(tmp_path):
    with pytest.raises(OSError) as caught:
        kennel.Cache(tmp_path / "no" / "such" / "folder")
    assert isinstance(caught.value, kennel.Io)
    # Windows says that the path to it is not there.
    assert caught.value.errno == (3 if os.name == "nt" else 2)
