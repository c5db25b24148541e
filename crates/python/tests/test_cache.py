"""Every operation of the cache."""

from __future__ import annotations

import array
import datetime
import inspect
import os
import pathlib
import threading
import time

import kennel
import pytest

EXPIRED = -1.0


def test_what_was_set_is_got(cache):
    assert cache.get("key") is None
    cache.set("key", "value")
    assert cache.get("key") == b"value"
    assert type(cache.get("key")) is bytes
    assert cache.get("other", 7) == 7


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda given: array.array("B", given)])
def test_whatever_has_a_buffer_is_a_key_and_a_value(cache, make):
    cache.set(make(b"key"), make(b"value"))
    assert cache.get(b"key") == b"value"
    assert cache.get(make(b"key")) == b"value"


def test_a_buffer_that_is_not_of_one_piece_is_its_content(cache):
    cache.set("key", memoryview(b"a-b-c")[::2])
    assert cache.get("key") == b"abc"


def test_text_is_utf_8(cache):
    cache.set("schlüssel", "wért")
    assert cache.get("schlüssel".encode()) == "wért".encode()


@pytest.mark.parametrize("given", [1, 1.5, None, ["key"], object()])
def test_what_is_no_bytes_is_refused_by_its_name(cache, given):
    with pytest.raises(TypeError, match=f"expected str or a bytes-like object, found {type(given).__name__}"):
        cache.set(given, "value")
    with pytest.raises(TypeError, match="bytes-like"):
        cache.set("key", given)


def test_arguments_have_names(cache):
    stamp = cache.set(value="value", key="key", ttl=60, stale=30)
    item = cache.get_item("key")
    assert (item.value, item.stamp) == (b"value", stamp)
    assert 0 < item.expires - time.time() <= 60 and 0 < item.soft_expires - time.time() <= 30
    assert abs(time.time() - item.created) < 2
    cache.set("plain", "value")
    assert cache.get_item("plain").created is None
    assert cache.get(key="key") == cache.get("key", default=7) == b"value"
    assert cache.get("other", default=7) == cache.get(default=7, key="other") == 7
    # A name that is made when the program runs.
    assert cache.get(**{"".join(["k", "ey"]): "key"}) == b"value"
    cache.set("key", "value", flags=3, expires_at=time.time() + 60)
    assert cache.get_item("key").flags == 3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda cache: cache.get(), "missing 1 required positional argument: 'key'"),
        (lambda cache: cache.get("a", 1, 2), "positional arguments but"),
        (lambda cache: cache.get("a", key="a"), "multiple values for argument 'key'"),
        (lambda cache: cache.get("a", colour=1), "unexpected keyword argument 'colour'"),
        (lambda cache: cache.get(1), "expected str or a bytes-like object, found int"),
        (lambda cache: cache.set("a"), "missing 1 required positional argument: 'value'"),
        (lambda cache: cache.set("a", "b", 1, 2), "positional arguments but"),
        (lambda cache: cache.set("a", "b", ttl="soon"), "expected seconds or a timedelta, found str"),
    ],
)
def test_wrong_arguments_are_told(cache, call, message):
    with pytest.raises(TypeError, match=message):
        call(cache)


def test_methods_tell_their_signatures():
    assert str(inspect.signature(kennel.Cache.get)) == "(self, /, key, default=None)"
    assert list(inspect.signature(kennel.Cache.set).parameters)[1:] == [
        "key", "value", "ttl", "stale", "expires_at", "flags", "as_of", "tags"
    ]
    assert kennel.Cache.get.__doc__ == "Returns the value of a key, or ``default`` if the key has no value."
    with pytest.raises(TypeError, match="'get' requires|doesn't apply"):
        kennel.Cache.get(object(), "key")


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 300_000])
def test_values_of_all_sizes_come_back(cache, size):
    value = bytes(i % 251 for i in range(size))
    cache.set("key", value)
    assert cache.get("key") == value
    assert cache["key"] == value
    assert cache.get_item("key").value == value
    assert cache.get_multi(["key"]) == [value]


def test_it_is_a_mapping_where_that_fits(cache):
    cache["key"] = b"value"
    assert cache["key"] == b"value"
    assert "key" in cache and b"other" not in cache
    assert list(cache) == list(cache.keys()) == [b"key"]
    del cache["key"]
    with pytest.raises(KeyError, match="key"):
        cache["key"]
    with pytest.raises(KeyError, match="key"):
        del cache["key"]


def test_an_empty_cache_is_true_and_has_no_length(cache):
    assert cache
    with pytest.raises(TypeError):
        len(cache)


def test_an_item_tells_what_is_stored_beside_it(cache):
    stamp = cache.set("key", "value", ttl=60, flags=7)
    item = cache.get_item("key")
    assert (item.value, item.flags, item.stamp) == (b"value", 7, stamp)
    assert 55 < item.expires - time.time() <= 60
    cache.set("key", "value")
    assert cache.get_item("key").expires is None
    assert cache.get_item("other") is None


@pytest.mark.parametrize("ttl", [0, EXPIRED, datetime.timedelta(0), datetime.timedelta(seconds=-1)])
def test_a_life_without_length_is_over(cache, ttl):
    cache.set("key", "value", ttl=ttl)
    assert cache.get("key") is None


@pytest.mark.parametrize("ttl", [0.5, 1, datetime.timedelta(milliseconds=500), 1e300, float("inf")])
def test_a_life_with_length_begins(cache, ttl):
    cache.set("key", "value", ttl)
    assert cache.get("key") == b"value"


def test_what_expired_is_a_miss(cache):
    cache.set("key", "value", ttl=0.05)
    time.sleep(0.1)
    assert cache.get("key") is None


def test_expiry_may_be_a_moment(cache):
    cache.set("gone", "value", expires_at=time.time() - 1)
    cache.set("here", "value", expires_at=time.time() + 60)
    cache.set("far", "value", expires_at=1e300)
    assert cache.get_multi(["gone", "here", "far"]) == [None, b"value", b"value"]
    with pytest.raises(TypeError, match="found both"):
        cache.set("key", "value", ttl=1, expires_at=1)


@pytest.mark.parametrize("ttl", ["60", b"60", object()])
def test_a_ttl_of_another_kind_is_refused(cache, ttl):
    with pytest.raises(TypeError):
        cache.set("key", "value", ttl=ttl)


def test_a_ttl_must_be_a_number(cache):
    with pytest.raises(ValueError, match="nan"):
        cache.set("key", "value", ttl=float("nan"))


def test_add_and_replace(cache):
    assert not cache.replace("key", "one")
    assert cache.add("key", "one")
    assert not cache.add("key", "two")
    assert cache.get("key") == b"one"
    assert cache.replace("key", "two")
    assert cache.get("key") == b"two"


def test_compare_and_swap_tells_changed_from_absent(cache):
    assert cache.compare_and_swap("key", 1, "value") is None
    stamp = cache.set("key", "one")
    new = cache.compare_and_swap("key", stamp, "two")
    assert new not in (None, False) and cache.get("key") == b"two"
    assert cache.compare_and_swap("key", stamp, "three") is False
    assert cache.get_item("key").stamp == new


def test_numbers_count(cache):
    assert cache.incr("visits") is None
    cache.set("visits", "41")
    assert cache.incr("visits") == 42
    assert cache.incr("visits", 8) == 50
    assert cache.decr("visits", 10) == 40
    assert cache.get("visits") == b"40"
    with pytest.raises(OverflowError):
        cache.decr("visits", 41)
    cache.set("text", "many")
    with pytest.raises(kennel.NotANumber, match="many"):
        cache.incr("text")


def test_numbers_begin(cache):
    assert cache.incr("requests", initial=1, ttl=60) == 1
    expires = cache.get_item("requests").expires
    assert expires is not None
    assert cache.incr("requests", 4, initial=1, ttl=600) == 5
    assert cache.get_item("requests").expires == expires
    assert cache.decr("left", initial=9) == 9
    assert cache.decr("left", 4, initial=9) == 5
    with pytest.raises(OverflowError):
        cache.incr("too many", initial=-1)


def test_touch_moves_the_expiry(cache):
    assert not cache.touch("key", 10)
    cache.set("key", "value")
    assert cache.touch("key", 10)
    assert cache.get_item("key").expires is not None
    assert cache.touch("key")
    assert cache.get_item("key").expires is None
    assert cache.touch("key", EXPIRED)
    assert "key" not in cache


def test_batches(cache):
    assert cache.set_multi({"a": "1", b"b": "2"}) == {}
    assert cache.set_multi([("c", "3"), ("c", "4")], ttl=60) == {}
    assert cache.get_multi(["a", "b", "c", "d"]) == [b"1", b"2", b"4", None]
    assert cache.get_multi(iter(["a"])) == [b"1"]
    assert cache.get_item("c").expires is not None
    assert cache.delete_multi(["a", "d", "c"]) == [True, False, True]
    assert list(cache) == [b"b"]
    assert cache.get_multi([]) == [] and cache.set_multi({}) == {} and cache.delete_multi([]) == []


def test_a_batch_names_what_it_could_not_store(cache):
    failed = cache.set_multi({"small": "1", "large": bytes(4 << 20)})
    assert list(failed) == ["large"]
    assert isinstance(failed["large"], kennel.TooLarge)
    assert cache.get("small") == b"1"


def test_get_into_a_buffer(cache):
    cache.set("key", "value")
    buffer = bytearray(8)
    assert cache.get_into("key", buffer) == 5
    assert bytes(buffer) == b"value\0\0\0"
    assert cache.get_into("other", buffer) is None
    with pytest.raises(kennel.BufferTooSmall) as caught:
        cache.get_into("key", bytearray(4))
    assert (caught.value.needed, caught.value.given) == (5, 4)


def test_clear_forgets_everything(cache):
    cache.set_multi({str(i): "value" for i in range(100)})
    cache.clear()
    assert list(cache) == []
    assert cache.get("1") is None


def test_keys_are_gone_through_while_the_cache_changes(cache):
    cache.set_multi({str(i): "value" for i in range(1000)})
    seen = set()
    for key in cache:
        seen.add(key)
        cache.delete(key)
    assert seen == {str(i).encode() for i in range(1000)}


def test_the_statistics_count(cache):
    cache.set("key", "value")
    cache.get("key")
    cache.get("other")
    stats = cache.stats()
    assert stats.items == 1
    assert (stats.counters.sets, stats.counters.hits, stats.counters.misses) == (1, 1, 1)
    assert stats.counters.evictions == 0
    assert stats.path == cache.path and stats.limit == "nothing"
    assert stats.used_bytes == kennel.record_size(3, 5)
    assert kennel.record_size(3, 5, tags=5) == kennel.record_size(3, 5) + 48
    stripes = cache.stripe_stats()
    assert len(stripes) == stats.stripes
    assert sum(stripe.items for stripe in stripes) == 1
    assert cache.verify().is_ok and cache.verify().records == 1


def test_one_large_read_is_one_hit(cache):
    cache.set("key", bytes(300_000))
    cache.get("key")
    assert cache.stats().counters.hits == 1


def test_a_flush_holds_when_nobody_writes(cache):
    cache.set("key", "value")
    assert cache.flush() is True


def test_a_closed_cache_says_so(cache):
    keys = cache.keys()
    cache.close()
    cache.close()
    assert cache.closed and "closed" in repr(cache)
    for use in [lambda: cache.get("key"), lambda: cache.set("key", "value"), cache.stats, lambda: "key" in cache]:
        with pytest.raises(ValueError, match="closed"):
            use()
    assert list(keys) == []


def test_a_cache_in_use_is_not_closed(cache):
    def keys():
        with pytest.raises(RuntimeError, match="using the cache"):
            cache.close()
        yield "key"

    cache.set("key", "value")
    assert cache.get_multi(keys()) == [b"value"]
    assert cache.get("key") == b"value"
    cache.close()
    assert cache.closed


def test_closing_takes_nothing_from_under_a_reader(opened):
    """A large value is copied without the interpreter's lock, so that another thread may close the cache meanwhile."""
    cache, value = opened(capacity=32 << 20), os.urandom(256 << 10)
    cache.set("key", value)
    enough, stop, lost = threading.Semaphore(0), threading.Event(), []

    def read():
        try:
            while not stop.is_set():
                lost.extend([] if cache.get("key") == value else [1])
                enough.release()
        except ValueError as error:
            assert "closed" in str(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(100):
        enough.acquire()
    # Who gets the interpreter's lock here mostly gets it from a reader that copies: hardly an attempt comes in between.
    for _ in range(1_000):
        try:
            cache.close()
        except RuntimeError as error:
            assert "using the cache" in str(error)
    stop.set()
    for reader in readers:
        reader.join()
    assert not lost
    cache.close()
    assert cache.closed


def test_leaving_the_block_closes(path):
    with kennel.Cache(path, capacity=8 << 20) as cache:
        assert repr(path.name)[1:-1] in repr(cache)
    assert cache.closed


def test_two_handles_are_one_cache(opened):
    one, two = opened(capacity=8 << 20), opened()
    one.set("key", "value")
    assert two.get("key") == b"value"
    assert two.stats().file_id == one.stats().file_id


def test_without_a_path_it_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_RUNTIME_DIR", str(tmp_path))
    assert kennel.default_path() == tmp_path / "kennel.cache"
    with kennel.Cache(capacity=8 << 20) as cache:
        assert cache.path == kennel.default_path().resolve()


def test_paths_of_all_kinds(tmp_path):
    for path in [tmp_path / "one", str(tmp_path / "two")]:
        with kennel.Cache(path, capacity=8 << 20) as cache:
            assert isinstance(cache.path, pathlib.Path) and cache.path.exists()


def test_destroy_removes_the_file_and_its_locks(cache):
    path = cache.path
    cache.close()
    kennel.destroy(path)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        kennel.destroy(path)


def test_other_threads_run_while_one_waits(opened, locked_stripe):
    """A second thread must get the interpreter while the first waits for the lock of a stripe."""
    cache = opened(capacity=8 << 20, stripes=1, lock_wait=30)
    cache.set("key", "before")
    waiting = threading.Thread(target=cache.set, args=("key", "after"))
    with locked_stripe(cache):
        waiting.start()
        # If that thread kept the interpreter, this one would continue only after its wait.
        began = time.monotonic()
        for _ in range(20):
            time.sleep(0.01)
            assert cache.get("key") == b"before"
        assert waiting.is_alive() and time.monotonic() - began < 15
    waiting.join()
    assert cache.get("key") == b"after"


def test_threads_that_read_and_write_large_values_see_them_whole(opened):
    cache = opened(capacity=8 << 20)
    values = [bytes([i]) * 300_000 for i in range(2)]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for value in values:
                cache.set("key", value)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert cache.get("key") in (None, *values)
    finally:
        stop.set()
        writer.join()


def test_pickles_cannot_carry_the_file_but_open_it_again(cache):
    import pickle

    cache.set("key", "value")
    with pickle.loads(pickle.dumps(cache)) as again:
        assert again is not cache and again.get("key") == b"value"


def test_text_that_is_no_unicode_is_a_key(cache):
    """As the name of a file is that is no text in the encoding of the system."""
    names = [os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8"), "caf\u00e9", "\ud800"]
    for name in names:
        cache.set(name, f"value of {name!r}")
        cache.namespace("files").set(name, "value")
        cache[name + "!"] = name
    assert cache.get_multi(names) == [f"value of {name!r}".encode() for name in names]
    assert all(name in cache and cache.namespace("files").get(name) for name in names)
    assert cache.get(names[0] + "!") == names[0].encode("utf-8", "surrogatepass")
    assert cache.get_or_create_multi([name + "?" for name in names], lambda keys: keys) == [
        (name + "?").encode("utf-8", "surrogatepass") for name in names
    ]
    assert cache.memoize(lambda name: name)(names[0]) == names[0]
    with cache.lock(names[0]):
        assert cache.is_claimed(names[0])


def test_threads_share_an_iterator_over_keys(cache, in_threads):
    cache.set_multi({f"key {n}": "" for n in range(2000)})
    keys = cache.keys()
    found = in_threads(4, lambda _: list(keys))
    assert sorted(sum(found, [])) == sorted(cache.keys())
    assert len(sum(found, [])) == 2000
