"""Never run: mypy must accept this."""

from datetime import timedelta
from typing import Literal, Optional

from typing_extensions import assert_type

import kennel

cache = kennel.Cache("x", capacity=1 << 20, locks="file")
assert_type(cache.get("key"), Optional[bytes])
assert_type(cache.get(b"key", b""), bytes)
assert_type(cache["key"], bytes)
assert_type(cache.get_multi(["a", b"b"]), "list[Optional[bytes]]")
assert_type(cache.set("key", memoryview(b""), ttl=timedelta(seconds=1)), int)
assert_type(cache.stats().counters.evictions, int)
with kennel.Cache() as own:
    assert_type(own, kennel.Cache)
try:
    cache.add("key", "value", 1.5)
except kennel.Busy as busy:
    assert_type(busy.waited, float)


@cache.memoize(ttl=60)
def square(number: int) -> int:
    return number * number


@cache.namespace("pages").memoize
async def page(number: int, *, title: str = "") -> str:
    return title


class Shop:
    @cache.memoize(key=lambda shop, number, *, currency="EUR": f"price:{number}:{currency}")
    def price(self, number: int, *, currency: str = "EUR") -> float:
        return number * 1.5

    @cache.memoize(key=lambda shop, number: f"stock:{number}")
    async def stock(self, number: int) -> int:
        return number


@kennel.memoize
def plain(number: int) -> int:
    return number


@kennel.memoize(cache="pages.kennel", ttl=60, name="lazy")
def lazy(number: int) -> str:
    return str(number)


@cache.memoize(ttl=60, tags=lambda number: [f"product:{number}"])
def tagged(number: int) -> kennel.Created[str]:
    return kennel.Created(str(number), tags=["layout", b"x"], ttl=timedelta(seconds=1))


@cache.memoize
async def tagged_later(number: int) -> kennel.Created[int]:
    return kennel.Created(number, stored=number > 0)


@kennel.memoize
def tagged_lazily(number: int) -> kennel.Created[int]:
    return kennel.Created(number)


async def use_tags() -> None:
    assert_type(tagged(7), str)
    assert_type(await tagged_later(7), int)
    assert_type(tagged_lazily.refresh(7), int)
    assert_type(cache.set("key", "value", tags=["a", b"b"]), int)
    assert_type(cache.get_or_create("key", lambda: kennel.Created(b"value", tags={"a"})), Optional[bytes])
    assert_type(cache.get_or_create("key", lambda: kennel.Created(None, ttl=5)), Optional[bytes])
    assert_type(cache.get_or_create_multi(["a"], lambda keys: [kennel.Created("v"), None, b"v"]), "list[Optional[bytes]]")
    cache.invalidate_tags(("a", "b"), soft=True)
    assert_type(cache.rename("key", "other"), bool)


async def use_items() -> None:
    got = cache.get_or_create_item("key", lambda: kennel.Created("value", ttl=5), tags=["a"], background=True)
    assert_type(got, kennel.Got)
    assert_type(got.item, Optional[kennel.Item])
    assert_type(got.value, Optional[bytes])
    assert_type(got.source, Literal["hit", "stale", "waited", "created", "not_stored", "failed"])

    async def create() -> bytes:
        return b"value"

    assert_type(await cache.namespace("pages").aget_or_create_item("key", create, ttl=timedelta(1)), kennel.Got)
    assert_type(cache.claim("key").item, Optional[kennel.Item])


async def use_methods(shop: Shop) -> None:
    assert_type(shop.price(2, currency="USD"), float)
    assert_type(shop.price.invalidate(2), bool)
    assert_type(shop.price.refresh(2), float)
    assert_type(await shop.stock(2), int)
    assert_type(Shop.price(shop, 2), float)
    assert_type(plain(2), int)
    assert_type(lazy.refresh(2), str)
    assert_type(square.undecodable + square.uncached, int)


async def use() -> None:
    assert_type(square(2), int)
    assert_type(square.invalidate(2), bool)
    assert_type(square.refresh(2), int)
    assert_type(await page(1, title="x"), str)
    assert_type(cache.get_or_create("key", lambda: b"value", ttl=1), Optional[bytes])
    with cache.lock("key") as lock:
        assert_type(lock.locked(), bool)


def far_tier() -> None:
    from kennel.far import FarCache

    with FarCache("redis://h", prefix=["app:", b"b"], path="near", max_staleness=timedelta(seconds=2)) as far:
        assert_type(far, FarCache)
        assert_type(far.get("key"), Optional[bytes])
        assert_type(far.get("key", 0), "bytes | int")
        assert_type(far.get_multi(["key"]), "list[Optional[bytes]]")
        assert_type(far.get_or_create("key", lambda: "value", ttl=60), Optional[bytes])
        assert_type(far.incr("n"), int)
        assert_type(far.stats().hits, int)
        assert_type(far.proof_age(), Optional[float])
        far.call(["HSET", "h", b"field", 1], ["h"])

        @far.memoize(ttl=60)
        def double(number: int) -> int:
            return 2 * number

        @far.memoize
        async def report(number: int) -> str:
            return str(number)

        class Store:
            @far.memoize(key=lambda store, number: f"app:price:{number}")
            def price(self, number: int) -> float:
                return number * 1.5

        async def use_them() -> None:
            assert_type(double(2), int)
            assert_type(double.invalidate(2), bool)
            assert_type(double.refresh(2) + double.uncached, int)
            assert_type(double.key(2), bytes)
            assert_type(await report(1), str)
            assert_type(await report.ainvalidate(1), bool)
            assert_type(Store().price(3), float)
