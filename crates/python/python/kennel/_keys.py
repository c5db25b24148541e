"""Text for arguments and functions: the same for equal values in every process, and different for different values.

The text of a value begins with its exact type, unless the notation of the value implies the type. A function is
identified by its module, its qualified name, its code and the values of its closure. Its name alone is not enough: two
lambdas of one module, or two closures of one factory, have the same name.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import os
import pathlib
import re
import sys
import types
import uuid
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from . import _kennel

__all__ = ["Keys", "called", "encoded"]

#: Keys up to this length are readable. In longer ones a hash replaces the arguments.
_READABLE = 200


class Unencodable(TypeError):
    """A value has no text that would be the same in every process."""

    def __init__(self, value: object, why: str = "") -> None:
        self.kind = type(value).__qualname__
        super().__init__(why or f"no stable key can be made of an object of type {self.kind}")


class EmptyCell(Exception):
    """A variable in a closure has no value yet, such as the name of a recursive function during its definition."""


#: The functions in which the value to encode occurs, the outermost first. A function may refer to itself.
_Within = Tuple[Any, ...]
_Encode = Callable[[Any, _Within], str]
_Kinds = Tuple[Tuple[type, _Encode], ...]


def encoded(value: Any, within: _Within = ()) -> str:
    """Returns the text of a value."""
    encode = _EXACT.get(type(value))
    if encode is not None:
        return encode(value, within)
    for kinds in (_KINDS, _scalars_of_numpy(), _NUMBERS_AND_TEXT):
        for kind, encode in kinds:
            if isinstance(value, kind):
                return encode(value, within)
    if dataclasses.is_dataclass(value) and type(value).__dataclass_params__.frozen:  # type: ignore[union-attr]
        return _dataclass(value, within)
    if callable(value) and hasattr(value, "__wrapped__"):
        return _named(type(value), encoded(value.__wrapped__, within))
    raise Unencodable(value)


def _dataclass(value: Any, within: _Within) -> str:
    fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    return _named(type(value), *_pairs(fields, within))


def _scalars_of_numpy() -> "_Kinds":
    """Returns the encoder of numpy's scalars, if numpy was imported. Some of them are also Python numbers or text."""
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    return ((generic, _scalar),) if isinstance(generic, type) else ()


def _scalar(value: Any, within: _Within) -> str:
    item = value.item()
    # For a scalar without a matching Python type, ``item`` returns the scalar itself. Its notation is exact.
    text = repr(item) if type(item) is type(value) else encoded(item, within)
    return _named(type(value), str(value.dtype), text)


def _named(kind: type, *parts: str) -> str:
    return f"{_type_name(kind)}({','.join(parts)})"


def _type_name(kind: type) -> str:
    return f"{_home(kind.__module__)}.{kind.__qualname__}"


def _listed(brackets: str, values: Iterable[Any], within: _Within) -> str:
    return brackets[:-1] + ",".join([encoded(value, within) for value in values]) + brackets[-1]


def _pairs(items: Iterable[Tuple[Any, Any]], within: _Within) -> List[str]:
    return [f"{encoded(name, within)}:{encoded(value, within)}" for name, value in items]


# Numbers, text and containers.


def _plain(value: Any, within: _Within) -> str:
    return repr(value)


def _integer(value: int, within: _Within) -> str:
    # Python refuses to convert very long numbers to decimal digits.
    return int.__repr__(value) if -(1 << 64) < value < 1 << 64 else hex(value)


def _set(value: Any, within: _Within) -> str:
    return f"{type(value).__name__}{{{','.join(sorted([encoded(item, within) for item in value]))}}}"


def _dictionary(value: Dict[Any, Any], within: _Within) -> str:
    return "{" + ",".join(sorted(_pairs(value.items(), within))) + "}"


def _ordered(value: Any, within: _Within) -> str:
    return _named(type(value), *_pairs(value.items(), within), *_state(value, collections.OrderedDict, within))


def _of_subclass(base: type, content: Callable[[Any], Any]) -> _Encode:
    """Returns the encoder for instances of subclasses. The text contains the attributes, and the content, which methods
    of the base class read, because the subclass may override them."""

    def encode(value: Any, within: _Within) -> str:
        return _named(type(value), encoded(content(value), within), *_state(value, base, within))

    return encode


def _state(value: Any, base: type, within: _Within) -> List[str]:
    """Returns the attributes of a value, except those that ``base`` itself defines."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        # Stop at the base class, and at subclasses from its own package, whose slots only repeat the value.
        if kind is base or kind.__module__.partition(".")[0] == base.__module__.partition(".")[0]:
            break
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return [_dictionary(found, within)] if found else []


def _tuple(value: Any, within: _Within) -> str:
    """Encodes an instance of a subclass of tuple, with the names of its items if it has them. The text of a structure
    of the system, such as ``os.stat_result``, includes its further attributes."""
    if hasattr(type(value), "n_sequence_fields"):
        return _named(type(value), encoded(value.__reduce__()[1], within))
    fields = getattr(value, "_fields", None)
    names = [repr(fields)] if isinstance(fields, tuple) else []
    return _named(type(value), *names, _listed("()", tuple.__iter__(value), within), *_state(value, tuple, within))


def _member(value: enum.Enum, within: _Within) -> str:
    """Encodes a member of an enumeration. A combination of flags has no name, or one that depends on Python's
    version."""
    number = value._value_
    if isinstance(value, enum.Flag):
        return _named(type(value), encoded(number, within))
    try:
        return _named(type(value), value.name, encoded(number, within))
    except Unencodable:
        return _named(type(value), value.name)


# Times.


def _timezone(value: Any, within: _Within) -> str:
    return f"timezone({_delta(value.utcoffset(None), within)},{value.tzname(None)!r})"


def _delta(value: datetime.timedelta, within: _Within) -> str:
    return f"timedelta({value.days},{value.seconds},{value.microseconds})"


def _zone(value: Any, within: _Within) -> str:
    if value is None:
        return "None"
    if type(value) is datetime.timezone:
        return _timezone(value, within)
    kind = getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None)
    if kind is not None and isinstance(value, kind):
        if value.key is None:
            raise Unencodable(value, "no stable key can be made of a ZoneInfo without a key")
        return _named(type(value), repr(value.key))
    return _reduced(value, within)


def _reduced(value: Any, within: _Within) -> str:
    """Encodes a time zone of any other type by the parts from which pickle makes it."""
    try:
        reduced = value.__reduce_ex__(2)
    except Exception as error:
        raise Unencodable(value) from error
    if isinstance(reduced, str):
        return _named(type(value), repr(reduced))
    maker, *rest = reduced
    made_by = [] if maker is type(value) else [encoded(maker, within)]
    return _named(type(value), *made_by, *[encoded(part, within) for part in rest if part is not None])


def _date(value: datetime.date) -> str:
    return f"{value.year}-{value.month}-{value.day}"


def _clock(value: Any, within: _Within) -> str:
    moment = f"{value.hour}:{value.minute}:{value.second}.{value.microsecond}"
    return f"{moment},{value.fold},{_zone(value.tzinfo, within)}"


def _instant(value: datetime.datetime, within: _Within) -> List[str]:
    parts = [f"{_date(value)} {_clock(value, within)}"]
    if value.tzinfo is not None and type(value.tzinfo) is not datetime.timezone:
        # The zone's name does not determine its rules for this time, so include their result.
        parts += [str(value.utcoffset()), repr(value.tzname())]
    return parts


def _datetime(value: datetime.datetime, within: _Within) -> str:
    if type(value) is datetime.datetime:
        return _named(type(value), *_instant(value, within))
    # A subclass may have a higher resolution, as that of pandas does.
    state = _state(value, datetime.datetime, within)
    return _named(type(value), *_instant(value, within), repr(value.isoformat()), *state)


def _time(value: datetime.time, within: _Within) -> str:
    return _named(type(value), _clock(value, within), *_state(value, datetime.time, within))


def _day(value: datetime.date, within: _Within) -> str:
    return _named(type(value), _date(value), *_state(value, datetime.date, within))


def _span(value: datetime.timedelta, within: _Within) -> str:
    return _named(type(value), _delta(value, within), *_state(value, datetime.timedelta, within))


# Functions, classes and modules.


def _home(module: Any) -> str:
    """Returns the name of a module. For the program itself this is the path of its file, or the name with which
    ``python -m`` started it; a process that ``multiprocessing`` spawned gets the same name."""
    if module not in ("__main__", "__mp_main__"):
        return str(module)
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    # The path of a notebook comes from the editor or from Jupyter's server.
    names = vars(main) if main is not None else {}
    file = names.get("__file__") or names.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return _absolute(file) if isinstance(file, str) else "__main__"


@functools.lru_cache(maxsize=16)
def _absolute(file: str) -> str:
    return os.path.normcase(os.path.abspath(file))


def _class(value: type, within: _Within) -> str:
    if "<locals>" in value.__qualname__:
        raise Unencodable(value, f"no stable key can be made of {value.__qualname__}, a class within a function")
    return f"class {_type_name(value)}"


def _module(value: types.ModuleType, within: _Within) -> str:
    return f"module {_home(value.__name__)}"


def _function(value: types.FunctionType, within: _Within) -> str:
    """Encodes a function that is an argument, a default or part of a closure."""
    for depth, outer in enumerate(reversed(within)):
        if outer is value:
            return f"outer {depth}"
    inner = (*within, value)
    defaults = encoded((value.__defaults__, value.__kwdefaults__), inner)
    return f"{_known_by(value, within)}{defaults}"


def _known_by(function: types.FunctionType, within: _Within) -> str:
    inner = (*within, function)
    text = _code(function.__code__, inner) + _closure(function, inner)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{_home(function.__module__)}.{function.__qualname__}#{digest}"


def _code(code: types.CodeType, within: _Within) -> str:
    """Encodes the code of a function, without its position in the file."""
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    constants = [_code(one, within) if isinstance(one, types.CodeType) else encoded(one) for one in code.co_consts]
    return f"code({names}{counts}{code.co_code!r}{getattr(code, 'co_exceptiontable', b'')!r}[{','.join(constants)}])"


def _closure(function: types.FunctionType, within: _Within) -> str:
    parts = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            content = cell.cell_contents
        except ValueError:
            raise EmptyCell from None
        try:
            parts.append(f"{name}={encoded(content, within)}")
        except Unencodable as error:
            if len(within) > 1:
                raise
            raise Unencodable(content, f"it uses {name!r} of the function around it, and {error}") from None
    return ",".join(parts)


def _builtin(value: Any, within: _Within) -> str:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return f"builtin {value.__module__}.{value.__qualname__}"
    return f"builtin {encoded(owner, within)}.{value.__name__}"


def _descriptor(value: Any, within: _Within) -> str:
    return f"builtin {encoded(value.__objclass__, within)}.{value.__name__}"


def _bound(value: types.MethodType, within: _Within) -> str:
    return f"method({encoded(value.__func__, within)},{encoded(value.__self__, within)})"


def _partial(value: "functools.partial[Any]", within: _Within) -> str:
    return _named(type(value), encoded(value.func, within), encoded(value.args, within), encoded(value.keywords, within))


def _cache(value: Any, within: _Within) -> str:
    return _named(type(value), repr(os.fspath(value.path)))


def _namespace(value: Any, within: _Within) -> str:
    return _named(type(value), repr(value.name), encoded(value.cache, within))


def _pattern(value: "re.Pattern[Any]", within: _Within) -> str:
    return f"pattern({value.pattern!r},{value.flags})"


_EXACT: Dict[type, _Encode] = {
    type(None): _plain,
    type(...): _plain,
    bool: _plain,
    int: _integer,
    float: _plain,
    complex: lambda value, within: f"complex({value.real!r},{value.imag!r})",
    str: _plain,
    bytes: _plain,
    bytearray: _plain,
    range: _plain,
    tuple: lambda value, within: _listed("()", value, within),
    list: lambda value, within: _listed("[]", value, within),
    set: _set,
    frozenset: _set,
    dict: _dictionary,
    slice: lambda value, within: _listed("slice()", (value.start, value.stop, value.step), within),
    datetime.timezone: _timezone,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: _bound,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ModuleType: _module,
    re.Pattern: _pattern,
}

#: Encoders for subclasses. The first match is used: an enumeration may also be a number, and a ``datetime`` is a
#: ``date``.
_KINDS: _Kinds = (
    (enum.Enum, _member),
    (datetime.datetime, _datetime),
    (datetime.date, _day),
    (datetime.time, _time),
    (datetime.timedelta, _span),
    (datetime.tzinfo, _zone),
    (decimal.Decimal, _of_subclass(decimal.Decimal, decimal.Decimal.__str__)),
    (
        fractions.Fraction,
        _of_subclass(fractions.Fraction, lambda value: (int(value.numerator), int(value.denominator))),
    ),
    (uuid.UUID, _of_subclass(uuid.UUID, lambda value: value.int)),
    (pathlib.PurePath, _of_subclass(pathlib.PurePath, os.fspath)),
    (type, _class),
    (functools.partial, _partial),
    (_kennel.Cache, _cache),
    (_kennel.Namespace, _namespace),
    (collections.OrderedDict, _ordered),
)

#: Encoders for subclasses that are tried last, because their instances may also match one of the above.
_NUMBERS_AND_TEXT: _Kinds = (
    (int, _of_subclass(int, int.__int__)),
    (float, _of_subclass(float, float.__float__)),
    (complex, _of_subclass(complex, complex.__pos__)),
    (str, _of_subclass(str, str.__str__)),
    (bytes, _of_subclass(bytes, lambda value: bytes.__getitem__(value, slice(None)))),
    (bytearray, _of_subclass(bytearray, lambda value: bytearray.__getitem__(value, slice(None)))),
    (tuple, _tuple),
)


def identity(function: Any) -> str:
    """Returns the text that identifies a memoized function. It does not contain the defaults of the parameters, because
    the key contains them as arguments."""
    if isinstance(function, types.FunctionType):
        return _known_by(function, ())
    return encoded(function)


def called(function: Any) -> str:
    """Returns the name of a function for messages."""
    if isinstance(function, functools.partial):
        return f"partial of {called(function.func)}"
    return getattr(function, "__qualname__", None) or f"an object of type {type(function).__qualname__}"


class Keys:
    """Creates keys from the arguments of a function."""

    def __init__(self, function: Any, name: Optional[str]) -> None:
        self._function = function
        self._called = called(function)
        self._prefix = name
        try:
            self._signature = inspect.signature(function)
        except ValueError:
            raise TypeError(f"memoize: Python does not know the arguments of {self._called}: give key=...") from None
        if name is None:
            self._identify()

    def _identify(self, is_called: bool = False) -> Optional[str]:
        """Determines the text that identifies the function. A variable of its closure, for example the function's own
        name, may get its value later; then the next call of the function tries again."""
        try:
            self._prefix = identity(self._function)
        except EmptyCell:
            if is_called:
                raise TypeError(f"memoize: {self._called} uses a variable that has no value: give name=...") from None
        except Unencodable as error:
            raise TypeError(
                f"memoize: {self._called} cannot be told from other functions of its name: {error}; give name=..., "
                "which is then the same for all processes that share its values, or key=..."
            ) from None
        return self._prefix

    def __call__(self, /, *args: Any, **kwargs: Any) -> str:
        prefix = self._prefix if self._prefix is not None else self._identify(is_called=True)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._called}(): {error}") from None
        bound.apply_defaults()
        try:
            text = ",".join([f"{name}={encoded(value)}" for name, value in bound.arguments.items()])
        except (Unencodable, EmptyCell, RecursionError):
            raise self._refusal(bound.arguments) from None
        if len(text) > _READABLE:
            text = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()
        return f"{prefix}({text})"

    def _refusal(self, arguments: Dict[str, Any]) -> TypeError:
        """Returns the error, which names the argument from which no key can be made."""
        for name, value in arguments.items():
            try:
                encoded(value)
                continue
            except Unencodable as error:
                why = str(error)
            except EmptyCell:
                why = "it is a function that uses a variable that has no value"
            except RecursionError:
                why = "it contains itself, or is nested too deeply"
            break
        return TypeError(
            f"memoize: argument {name!r} of {self._called}: {why}; give key=..., which makes the key of the arguments"
        )
