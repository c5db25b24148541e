"""What users see of the package: names, signatures and explanations."""

from __future__ import annotations

import inspect
import pickle
import pydoc
import subprocess
import sys
import typing

import kennel
import pytest


@pytest.mark.parametrize("name", [name for name in kennel.__all__ if inspect.isclass(getattr(kennel, name))])
def test_a_public_class_is_called_by_its_public_name(name):
    value = getattr(kennel, name)
    assert (value.__module__, value.__qualname__) == ("kennel", name)
    assert pickle.loads(pickle.dumps(value)) is value


def test_tracebacks_and_reprs_show_public_names(cache, path):
    assert repr(cache).startswith("<kennel.Cache ") and repr(cache.namespace("pages")).startswith("<kennel.Namespace ")
    program = "import kennel, sys; kennel.Cache(sys.argv[1], create=False)"
    missing = str(path.parent / "missing")
    found = subprocess.run([sys.executable, "-c", program, missing], capture_output=True, text=True)
    assert "\nkennel.NotFound: " in found.stderr
    for given in (cache.lock("key"), cache.claim("key"), cache.keys()):
        assert repr(given).startswith(f"<kennel.{type(given).__name__} ")


OPTIONS = [
    kennel.Cache,
    kennel.Namespace,
    kennel.memoize,
    kennel.Cache.namespace,
    kennel.Cache.set,
    kennel.Cache.add,
    kennel.Cache.replace,
    kennel.Cache.compare_and_swap,
    kennel.Cache.touch,
    kennel.Cache.incr,
    kennel.Cache.decr,
    kennel.Cache.set_multi,
    kennel.Cache.get_into,
    kennel.Cache.invalidate,
    kennel.Cache.claim,
    kennel.Cache.lock,
    kennel.Cache.get_or_create,
    kennel.Cache.get_or_create_multi,
    kennel.Cache.memoize,
]


@pytest.mark.parametrize("what", OPTIONS, ids=lambda what: what.__name__)
def test_help_explains_each_option(what):
    text = pydoc.render_doc(what, renderer=pydoc.plaintext)
    for name, parameter in inspect.signature(what).parameters.items():
        if name not in ("self", "function", "key", "value", "options") or parameter.kind is parameter.KEYWORD_ONLY:
            assert f":param {name}: " in text, f"help({what.__qualname__}) does not explain {name}"


def test_help_explains_each_source_of_an_item():
    text = pydoc.render_doc(kennel.Got, renderer=pydoc.plaintext)
    for source in typing.get_args(kennel._got.Source):
        assert f"* ``{source}``: " in text


def test_a_memoized_function_is_shown_by_help_as_the_function_is(cache):
    @cache.memoize
    def report(year: int) -> str:
        """The report of a year."""
        return str(year)

    text = pydoc.render_doc(report, renderer=pydoc.plaintext)
    assert "report(year: 'int') -> 'str'" in text and "The report of a year." in text
    assert repr(report) == f"<memoized {report.__qualname__}>"
