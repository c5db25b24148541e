"""The keys of memoized functions: the same for the same function and arguments in every process, and for no others."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import time
import uuid

import kennel
import pytest
from kennel._keys import encoded

UTC = datetime.timezone.utc
HOUR = datetime.timedelta(hours=1)


def zone(name):
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        return zoneinfo.ZoneInfo(name)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no database of time zones")


class Summer(datetime.tzinfo):
    """A zone of one's own, whose repr has its address."""

    def __init__(self, hours=1):
        self.hours = hours

    def __getinitargs__(self):
        return (self.hours,)

    def utcoffset(self, moment):
        return datetime.timedelta(hours=self.hours)

    def tzname(self, moment):
        return "SUMMER"


class Quiet(str):
    """Its own repr and str hide what it is."""

    def __repr__(self):
        return "..."

    __str__ = __repr__


class Number(int):
    def __repr__(self):
        return "number"

    __int__ = __index__ = lambda self: 7


class Labelled(str):
    label = None

    def __new__(cls, text, label):
        self = super().__new__(cls, text)
        self.label = label
        return self


class Slotted(str):
    __slots__ = ("label",)

    def __new__(cls, text, label):
        self = super().__new__(cls, text)
        self.label = label
        return self


class Moment(datetime.datetime):
    """Knows its moment better than a datetime, as those of pandas do."""

    nanosecond = 0

    def isoformat(self, *args):
        return f"{super().isoformat()}.{self.nanosecond}"


def moment(nanosecond):
    made = Moment(2026, 1, 2)
    made.nanosecond = nanosecond
    return made


class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Mode(enum.IntFlag):
    A = 1
    B = 2
    C = 4


class Colour(enum.Enum):
    RED = object()
    BLUE = object()


class Level(enum.IntEnum):
    HIGH = 1


Point = collections.namedtuple("Point", "x y")
Place = collections.namedtuple("Place", "x z")


@dataclasses.dataclass(frozen=True)
class Query:
    text: str
    limit: int = 10


@dataclasses.dataclass(frozen=True)
class Other:
    text: str
    limit: int = 10


def factory(number):
    return lambda: number


DIFFERENT = [
    (1, True),
    (0.0, -0.0),
    (1 << 20_000, (1 << 20_000) + 1),
    (b"a", bytearray(b"a")),
    (set(), frozenset()),
    ({1}, frozenset({1})),
    ((1, 2), Point(1, 2)),
    (Point(1, 2), Place(1, 2)),
    ({"a": 1}, collections.OrderedDict(a=1)),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
    (Quiet("a"), Quiet("b")),
    (Quiet("a"), "a"),
    (Number(1), Number(2)),
    (Labelled("a", "x"), Labelled("a", "y")),
    (Slotted("a", "x"), Slotted("a", "y")),
    (datetime.datetime(2026, 1, 2, tzinfo=UTC), datetime.datetime(2026, 1, 2)),
    (datetime.datetime(2026, 1, 2, 12, tzinfo=UTC), datetime.datetime(2026, 1, 2, 13, tzinfo=datetime.timezone(HOUR))),
    (datetime.time(12, tzinfo=UTC), datetime.time(12, tzinfo=datetime.timezone(HOUR))),
    (datetime.time(2, 30), datetime.time(2, 30, fold=1)),
    (datetime.datetime(2026, 10, 25, 2, 30), datetime.datetime(2026, 10, 25, 2, 30, fold=1)),
    (datetime.timezone(HOUR), datetime.timezone(HOUR, "CET")),
    (datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(HOUR, "A")), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(HOUR, "B"))),
    (datetime.datetime(2026, 1, 1, tzinfo=Summer(1)), datetime.datetime(2026, 1, 1, tzinfo=Summer(2))),
    (datetime.datetime(2026, 1, 1, tzinfo=Summer(1)), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(HOUR, "SUMMER"))),
    (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)),
    (moment(1), moment(2)),
    (moment(0), datetime.datetime(2026, 1, 2)),
    (Permission.READ | Permission.WRITE, Permission.READ | Permission.RUN),
    (Permission.READ | Permission.WRITE, Permission.READ),
    (Mode.A | Mode.B, Mode.A | Mode.C),
    (Mode.A | Mode.B, 3),
    (Colour.RED, Colour.BLUE),
    (Level.HIGH, 1),
    (Query("a"), Query("b")),
    (Query("a"), Other("a")),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (fractions.Fraction(1, 2), 0.5),
    (pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a")),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (range(3), range(4)),
    (slice(1), slice(2)),
    (None, ...),
    (len, max),
    (str.lower, str.upper),
    (int, float),
    (os, sys),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (factory(1), factory(2)),
    (lambda: 1, lambda: 2),
    (lambda x: x.a, lambda x: x.b),
    (lambda x=1: x, lambda x=2: x),
    (functools.partial(int, base=2), functools.partial(int, base=8)),
    (Query("a").__eq__, Query("b").__eq__),
    (time.gmtime(0), tuple(time.gmtime(0))),
    ("\udc80", "\udc81"),
    (("a", "b"), ("a,b",)),
    (["a"], ("a",)),
    ("'a'", "a"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_differs_has_texts_that_differ(one, other):
    assert encoded(one) != encoded(other)
    assert encoded([one]) == encoded([one]) and encoded({"x": one}) != encoded({"x": other})


def test_scalars_of_numpy_are_known_by_their_type():
    numpy = pytest.importorskip("numpy")
    same = [
        numpy.int64(1), numpy.int32(1), numpy.float64(1), numpy.float32(1), numpy.bool_(True), numpy.str_("1"),
        numpy.bytes_(b"1"), numpy.complex128(1), numpy.datetime64(1, "s"), numpy.datetime64(1, "ms"),
        numpy.timedelta64(1, "s"), numpy.longdouble(1), 1, 1.0, True, "1", b"1",
    ]
    assert len({encoded(one) for one in same}) == len(same)
    assert encoded(numpy.float64(0.1)) != encoded(numpy.float64(0.2))
    assert encoded(numpy.longdouble(1) / 3) == encoded(numpy.longdouble(1) / 3) != encoded(numpy.longdouble(1 / 3))
    record = numpy.array([(1, "a"), (2, "a")], dtype=[("n", int), ("t", "U1")])
    assert encoded(record[0]) != encoded(record[1])
    with pytest.raises(TypeError, match="ndarray"):
        encoded(numpy.zeros(3))


def test_zones_are_known_by_their_name_and_what_they_say_of_the_moment():
    berlin, paris = zone("Europe/Berlin"), zone("Europe/Paris")
    in_october = datetime.datetime(2026, 10, 25, 2, 30)
    texts = {
        encoded(in_october.replace(tzinfo=tzinfo, fold=fold))
        for tzinfo in (berlin, paris, datetime.timezone(HOUR), UTC)
        for fold in (0, 1)
    }
    assert len(texts) == 8
    assert encoded(in_october.replace(tzinfo=berlin)) == encoded(in_october.replace(tzinfo=zone("Europe/Berlin")))


def test_no_text_has_an_address():
    for one, other in DIFFERENT:
        assert "0x" not in encoded(one).replace(hex(1 << 20_000), "").replace(hex((1 << 20_000) + 1), "")


class Plain:
    pass


@pytest.mark.parametrize(
    "value",
    [object(), Plain(), [Plain()], {"a": Plain()}, {Plain(): 1}, iter([]), factory(Plain()), collections.deque(), memoryview(b"")],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_without_a_text_is_named_and_the_way_out_is_told(cache, value):
    @cache.memoize
    def function(first, *, options=None):
        pytest.fail("it must not run")

    with pytest.raises(TypeError, match=r"argument 'options' of .*function: .*; give key="):
        function(1, options=value)


def test_an_argument_that_contains_itself_is_refused(cache):
    endless = []
    endless.append(endless)

    @cache.memoize
    def function(first):
        pytest.fail("it must not run")

    with pytest.raises(TypeError, match="argument 'first' of .*contains itself.*give key="):
        function(endless)
    with pytest.raises(TypeError, match=r"function\(\): missing a required argument: 'first'"):
        function()


# Functions.


def test_functions_of_one_name_do_not_share_values(cache):
    one, other = cache.memoize(lambda x: x + 1), cache.memoize(lambda x: x + 2)
    assert (one(1), other(1), one(1), other(1)) == (2, 3, 2, 3)

    def power(exponent):
        @cache.memoize
        def of(number):
            return number**exponent

        return of

    square, cube = power(2), power(3)
    assert (square(2), cube(2), power(2)(2), power(3)(2)) == (4, 8, 4, 8)
    assert square.key(2) == power(2).key(2) != cube.key(2)


def test_a_function_that_was_redefined_does_not_get_the_values_of_the_one_before(cache):
    """As when a cell of a notebook is run again."""
    names = {"cache": cache, "__name__": "__main__"}
    for number in (1, 2, 1):
        exec(f"@cache.memoize\ndef function():\n    return {number}", names)
        assert names["function"]() == number


def test_constants_and_inner_functions_belong_to_the_code(cache):
    def make(text):
        names = {"cache": cache, "__name__": "cell"}
        exec(textwrap.dedent(text), names)
        return names["function"].key()

    texts = [
        "function = cache.memoize(lambda: [x for x in (1, 2)])",
        "function = cache.memoize(lambda: [x for x in (1, 3)])",
        "function = cache.memoize(lambda: (lambda: 1)())",
        "function = cache.memoize(lambda: (lambda: 2)())",
        "function = cache.memoize(lambda: 1)",
        "function = cache.memoize(lambda: 1.0)",
        "function = cache.memoize(lambda: True)",
        "function = cache.memoize(lambda: abs(1))",
        "function = cache.memoize(lambda: hash(1))",
        "function = cache.memoize(lambda: {1, 2} == 1)",
    ]
    assert len({make(text) for text in texts}) == len(texts)
    assert make(texts[0]) == make("\n\n\n" + texts[0])


def test_a_function_may_refer_to_itself_and_to_what_is_defined_later(cache):
    def make(step):
        @cache.memoize
        def count(number):
            return 0 if number <= 0 else after(number) + 1

        def after(number):
            return count(number - step)

        return count

    assert (make(1)(6), make(2)(6), make(3)(6)) == (6, 3, 2)
    assert make(1).key(1) == make(1).key(1)


def test_a_closure_without_a_stable_text_needs_a_name(cache):
    database = Plain()

    def query(text):
        return database, text

    with pytest.raises(TypeError, match="query .*'database'.*of type Plain; give name=.*or key="):
        cache.memoize(query)
    named = cache.memoize(name="query", serializer="json")(lambda text: (str(type(database)), text))
    assert named("a") == [str(Plain), "a"] and named.key("a") == "query(text='a')"
    cache.memoize(key=lambda text: f"query:{text}")(query)
    with pytest.raises(TypeError, match="expected key or name, found both"):
        cache.memoize(name="a", key=str)(query)
    with pytest.raises(TypeError, match="name: expected str, found int"):
        cache.memoize(name=1)(query)
    with pytest.raises(TypeError, match="key: expected a function .* found str"):
        cache.memoize(key="page")(query)


SCRIPT = """
import kennel, multiprocessing, sys
cache = kennel.Cache(sys.argv[1])

class Colour:
    pass

@cache.memoize
def value(number=1):
    return NAME

def tell(_):
    print(value(), value.key(Colour), flush=True)

NAME = sys.argv[2]

if __name__ == "__main__":
    tell(0)
    if len(sys.argv) > 3:
        with multiprocessing.get_context(sys.argv[3]).Pool(1) as pool:
            pool.map(tell, [0])
"""


def run(*command, **options):
    found = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, **options)
    assert found.returncode == 0, found.stderr
    return found.stdout.split("\n")[:-1]


def test_two_scripts_do_not_share_values(opened, tmp_path):
    cache = opened(capacity=8 << 20)
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(SCRIPT)
    other.write_text(SCRIPT)
    told = [run(script, cache.path, name)[0].split(" ")[0] for script, name in ((one, "A"), (other, "B"), (one, "C"))]
    assert told == ["A", "B", "A"]
    # However the script is named.
    assert run("one.py", cache.path, "D", cwd=tmp_path)[0].startswith("A ")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_script_is_itself_in_its_processes(opened, tmp_path, method):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    cache, script = opened(capacity=8 << 20), tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = run(script, cache.path, "A", method)
    assert len(told) == 2 and told[0] == told[1]


def test_a_module_is_the_same_started_and_imported(opened, tmp_path):
    cache = opened(capacity=8 << 20)
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "work.py").write_text(SCRIPT)
    started = run("-m", "shop.work", cache.path, "A", "spawn", cwd=tmp_path)
    program = "import sys, shop.work; shop.work.tell(0)"
    assert run("-c", program, cache.path, "B", cwd=tmp_path) == started[:1] == started[1:]


# What can be memoized.


def test_partials_objects_and_methods_of_all_kinds(cache):
    calls = []

    def add(a, b=1):
        calls.append((a, b))
        return a + b

    one, other = cache.memoize(functools.partial(add, 1)), cache.memoize(functools.partial(add, b=5))
    assert (one(2), one(b=2), one(), other(1)) == (3, 3, 2, 6) and len(calls) == 3

    @dataclasses.dataclass(frozen=True)
    class Adder:
        by: int

        def __call__(self, number):
            calls.append(number)
            return number + self.by

    calls.clear()
    assert [cache.memoize(Adder(by))(1) for by in (1, 2, 1)] == [2, 3, 2] and len(calls) == 2
    with pytest.raises(TypeError, match="give name="):
        cache.memoize(type("Callable", (), {"__call__": lambda self: 1})())


class Shop:
    calls = []
    cache = None

    def __init__(self, number):
        self.number = number


def memoized_shop(cache):
    class Made(Shop):
        calls = []

        @cache.memoize(key=lambda shop, item: f"price:{shop.number}:{item}")
        def price(self, item):
            self.calls.append(item)
            return f"{self.number}:{item}"

        @cache.memoize(key=lambda shop: f"stock:{shop.number}")
        async def stock(self):
            return self.number

        @cache.memoize(name="Made.of_class")
        @staticmethod
        def of_nothing(item):
            Made.calls.append(item)
            return item

        @cache.memoize(key=lambda cls, item: f"{cls.__name__}:{item}")
        @classmethod
        def of_class(cls, item):
            Made.calls.append(item)
            return cls.__name__, item

    return Made


def test_methods_know_their_object(cache):
    shop, other = (memoized_shop(cache)(number) for number in (1, 2))
    assert (shop.price("a"), shop.price("a"), other.price("a")) == ("1:a", "1:a", "2:a")
    assert shop.price.key("a") == "price:1:a" and shop.price.invalidate("a") and not shop.price.invalidate("a")
    assert shop.price.refresh("b") == "1:b" and cache.get("price:1:b") is not None
    assert type(shop).price(shop, "b") == "1:b" and shop.price.__wrapped__("c") == "1:c"
    assert shop.price.__name__ == "price" and shop.price == shop.price != other.price


def test_methods_of_classes_and_of_none(cache):
    made = memoized_shop(cache)
    assert (made.of_nothing("a"), made(1).of_nothing("a"), len(made.calls)) == ("a", "a", 1)
    assert made.of_nothing.invalidate("a")
    assert made.of_class("b") == made(1).of_class("b") == ("Made", "b") and len(made.calls) == 2
    assert type("Sub", (made,), {}).of_class("b") == ("Sub", "b")
    assert made.of_class.key("b") == "Made:b" and made.of_class.invalidate("b") and not made.of_class.invalidate("b")


def test_coroutine_methods_are_known_as_such(cache):
    import asyncio
    import inspect

    shop = memoized_shop(cache)(3)
    assert asyncio.run(shop.stock()) == 3 and shop.stock.invalidate()
    # Python 3.9 takes nothing but functions for such; 3.14 warns of asyncio's own test.
    tests = {inspect.iscoroutinefunction} if sys.version_info >= (3, 10) else set()
    tests |= {asyncio.iscoroutinefunction} if sys.version_info < (3, 14) else set()
    for test in tests:
        assert test(shop.stock) and test(type(shop).stock) and not test(shop.price)


def generator():
    yield 1


async def asynchronous():
    yield 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (generator, "generator is a generator function.*return a list"),
        (functools.partial(generator), "is a generator function"),
        (asynchronous, "asynchronous is a generator function"),
        (Shop, "expected a function, found class Shop"),
        (property(lambda self: 1), "put memoize below property"),
        (7, "expected a function, found an object of type int"),
    ],
)
def test_what_cannot_be_memoized_is_refused_when_it_is_decorated(cache, given, message):
    with pytest.raises(TypeError, match=f"memoize: .*{message}"):
        cache.memoize(ttl=1)(given)


@kennel.memoize(cache=lambda: None)
def importable():
    return 1


def test_a_memoized_function_is_pickled_as_a_function_is():
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(importable)) is importable
    assert copy.deepcopy(importable) is importable
