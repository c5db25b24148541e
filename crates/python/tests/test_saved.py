"""Saving the items of a cache to a stream, and loading them."""

from __future__ import annotations

import io
import os
import stat

import kennel
import pytest


@pytest.fixture
def other(tmp_path):
    with kennel.Cache(tmp_path / "other.cache", capacity=4 << 20) as cache:
        yield cache


def fill(cache):
    pages = cache.namespace("pages", ttl=60)
    pages.set("front", "hello", flags=9)
    cache.set("plain", b"\x00\xff" * 50_000)
    cache.set("short", "12", ttl=30)


def check(cache):
    pages = cache.namespace("pages")
    item = pages.get_item("front")
    assert (item.value, item.flags) == (b"hello", 9) and item.expires is not None
    assert cache.get("plain") == b"\x00\xff" * 50_000 and cache.get("short") == b"12"


def test_a_stream_in_a_file_and_in_a_file_object(cache, other, tmp_path):
    fill(cache)
    path = tmp_path / "my.dump"
    path.write_text("replaced")
    assert cache.dump(path) == cache.dump(os.fspath(path)) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name == "nt"
    buffer = io.BytesIO()
    assert cache.dump(buffer) == 3
    for stream in (path, io.BytesIO(buffer.getvalue())):
        other.clear()
        loaded = other.load(stream)
        assert (loaded.stored, loaded.kept, loaded.missing) == (3, 0, None)
        check(other)
    again = other.load(path)
    assert (again.stored, again.kept) == (0, 3)
    assert other.load(path, replace=True).stored == 3


def test_raw_files_that_take_and_give_little_at_a_time(cache, other):
    class Trickle(io.RawIOBase):
        def __init__(self):
            self.bytes, self.at = bytearray(), 0

        def write(self, given):
            self.bytes += bytes(given)[:1000]
            return min(len(given), 1000)

        def read(self, size=-1):
            part = bytes(self.bytes[self.at : self.at + min(size, 700)])
            self.at += len(part)
            return part

    fill(cache)
    trickle = Trickle()
    assert cache.dump(trickle) == 3 and other.load(trickle).stored == 3
    check(other)


def test_a_choice_of_items(cache, other):
    fill(cache)
    buffer = io.BytesIO()
    assert cache.dump(buffer, prefix="pl") == 1
    assert cache.dump(buffer, namespace="pages", prefix=b"fr") == 1
    assert cache.dump(io.BytesIO(), namespace="pages", prefix="x") == 0
    with pytest.raises(ValueError, match="no namespace"):
        cache.dump(io.BytesIO(), namespace="none")


def test_what_is_wrong_with_a_stream_is_said(cache, other, tmp_path):
    fill(cache)
    buffer = io.BytesIO()
    cache.dump(buffer)
    whole = buffer.getvalue()
    cut = other.load(io.BytesIO(whole[:-10]))
    assert cut.stored == 3 and "cut" in cut.missing
    with pytest.raises(ValueError, match="something else"):
        other.load(io.BytesIO(b"no stream at all" * 10))
    with pytest.raises(ValueError, match="a cache file"):
        other.load(cache.path)
    with pytest.raises(FileNotFoundError):
        other.load(tmp_path / "missing.dump")
    with pytest.raises(OSError, match="cache file itself"):
        cache.dump(cache.path)
    check(cache)
    with pytest.raises(TypeError):
        cache.dump(7)


def test_errors_of_file_objects_come_through(cache, other):
    class Full(io.RawIOBase):
        def write(self, given):
            raise OSError(28, "no room")

        def read(self, size=-1):
            raise KeyError("of the caller")

    fill(cache)
    with pytest.raises(OSError, match="no room"):
        cache.dump(Full())
    with pytest.raises(KeyError, match="of the caller"):
        other.load(Full())
    text = io.StringIO()
    with pytest.raises(TypeError):
        cache.dump(text)


def test_a_small_cache_gets_the_most_used_items(cache, tmp_path):
    for number in range(3000):
        cache.set(f"key {number}", bytes(1000))
    hot = [f"key {number}" for number in range(2900, 3000)]
    for key in hot * 2:
        assert cache.get(key) is not None
    buffer = io.BytesIO()
    assert cache.dump(buffer) == 3000
    with kennel.Cache(tmp_path / "small.cache", capacity=1 << 20) as small:
        loaded = small.load(io.BytesIO(buffer.getvalue()))
        assert loaded.no_room > 1000 and loaded.stored + loaded.no_room == 3000
        assert all(small.get(key) is not None for key in hot)


def test_a_read_only_cache_can_be_dumped_and_not_filled(cache, path):
    fill(cache)
    with kennel.Cache(path, read_only=True) as reader:
        buffer = io.BytesIO()
        assert reader.dump(buffer) == 3
        with pytest.raises(kennel.ReadOnly):
            reader.load(io.BytesIO(buffer.getvalue()))
