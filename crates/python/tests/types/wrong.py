"""Never run: mypy must refuse each line that says so."""

import kennel

cache = kennel.Cache("x")
cache.set(1, "value")  # wrong
cache.set("key", 2.0)  # wrong
cache.get("key").decode()  # wrong
kennel.Cache("x", capcity=1)  # wrong
cache.set("key", "value", ttl="1m")  # wrong
len(cache)  # wrong
cache.get_or_create("key", lambda: 1)  # wrong
cache.get_or_create("key", lambda: kennel.Created(1))  # wrong
cache.get_or_create_item("key", lambda: 1)  # wrong
cache.get_or_create_item("key", lambda: b"").item.value  # wrong
cache.set("key", "value", tags=[1])  # wrong
cache.invalidate_tags(7)  # wrong


@cache.memoize(ttl=60)
def square(number: int) -> int:
    return number * number


square("2")  # wrong
square.invalidate()  # wrong


class Shop:
    @cache.memoize
    def price(self, number: int) -> float:
        return number * 1.5


Shop().price("2")  # wrong
Shop().price.invalidate()  # wrong
Shop.price(2)  # wrong
kennel.memoize(tttl=60)  # wrong


@cache.memoize(tttl=60)  # wrong
def cube(number: int) -> int:
    return number**3


def far_tier() -> None:
    from kennel.far import FarCache

    far = FarCache("redis://h", prefix="app:")  # wrong
    far.set("key", 5)  # wrong
    far.get_or_create("key", lambda: 5)  # wrong
    far.delete(7)  # wrong
