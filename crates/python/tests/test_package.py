"""The package as such: what it needs, what it says about itself, its types."""

from __future__ import annotations

import dataclasses
import doctest
import importlib.metadata
import inspect
import json
import pathlib
import re
import subprocess
import sys
import typing

import kennel
import pytest

PYTHON = pathlib.Path(__file__).parents[1]
TYPES = pathlib.Path(__file__).parent / "types"

BLOCKED = """
# The standard library may need what only one platform has: on Windows asyncio needs msvcrt.
import asyncio
import sys

class Blocker:
    names = {"fcntl", "msvcrt", "posix_ipc", "grp", "pwd", "termios", "resource", "syslog", "winreg", "dbm.gnu"}
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

for name in Blocker.names:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
try:
    import fcntl
except ImportError:
    pass
else:
    sys.exit("the blocker does not block")

import pkgutil, importlib, kennel
names = [found.name for found in pkgutil.walk_packages(kennel.__path__, "kennel.")]
if sys.platform == "win32":
    names.remove("kennel.far")
for name in names:
    importlib.import_module(name)
print(*sorted(names))
"""


def test_no_module_needs_anything_of_one_platform():
    run = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split())
    sources = PYTHON / "python"
    paths = [path.relative_to(sources).with_suffix("") for path in (sources / "kennel").rglob("*.py")]
    written = {".".join(path.parts[:-1] if path.stem == "__init__" else path.parts) for path in paths} - {"kennel"}
    if sys.platform == "win32":
        written = {name for name in written if not name.startswith("kennel.far.")}
    assert imported | {"kennel.far"} == written | {"kennel._kennel"}


def test_the_version_is_one():
    assert importlib.metadata.version("kennel-cache") == kennel.__version__


@pytest.mark.parametrize("module", [kennel, sys.modules["kennel._create"], sys.modules["kennel._memoize"]])
def test_the_examples_of_the_docstrings_run(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0 and not failed


def public():
    for name in kennel.__all__:
        value = getattr(kennel, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield name, value
            if inspect.isclass(value):
                for member, what in inspect.getmembers(value):
                    if not member.startswith("_") and inspect.getmodule(value).__name__.startswith("kennel"):
                        yield f"{name}.{member}", what


@pytest.mark.parametrize("name", [name for name, value in public() if callable(value)])
def test_whatever_is_public_is_documented(name):
    value = kennel
    for part in name.split("."):
        value = getattr(value, part)
    assert inspect.getdoc(value), f"{name} has no docstring"


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=PYTHON, timeout=600)


def test_the_stubs_say_what_is_there(tmp_path):
    missing = ["FAR_OPTIONS", "FarCache", "FarCreation", "__all__"] if sys.platform == "win32" else []
    allowed = tmp_path / "allowed"
    allowed.write_text("".join(f"kennel._kennel.{name}\n" for name in missing))
    found = run(
        "mypy.stubtest", "kennel._kennel", "--mypy-config-file", "pyproject.toml", "--allowlist", str(allowed)
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_package_is_typed():
    found = run("mypy", "python/kennel")
    assert found.returncode == 0, found.stdout + found.stderr


def wrong_lines():
    lines = (TYPES / "wrong.py").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if "# wrong" in line}


def test_what_callers_write_has_the_types_that_they_expect():
    found = run("mypy", str(TYPES / "right.py"))
    assert found.returncode == 0, found.stdout + found.stderr
    found = run("mypy", str(TYPES / "wrong.py"))
    reported = {int(line.split(":")[1]) for line in found.stdout.splitlines() if ": error:" in line}
    assert reported == wrong_lines(), found.stdout


def test_pyright_is_of_the_same_opinion(tmp_path):
    pytest.importorskip("basedpyright", reason="installed for Python 3.11 and later")
    settings = tmp_path / "pyrightconfig.json"
    # The rules of pyright itself, without those that basedpyright has beside them.
    settings.write_text(json.dumps({"include": [str(TYPES)], "typeCheckingMode": "standard"}))
    found = run("basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(settings))
    diagnostics = json.loads(found.stdout)["generalDiagnostics"]
    reported = {(pathlib.Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in diagnostics}
    assert reported == {("wrong.py", number) for number in wrong_lines()}, found.stdout


def test_the_options_are_those_of_the_engine():
    assert sorted(kennel._cache.OPTIONS) == sorted(kennel._kennel.OPTIONS)


ENGINE = PYTHON.parents[1] / "src"


@pytest.mark.skipif(sys.platform == "win32", reason="the far tier is for Unix systems")
def test_the_statistics_of_the_far_tier_have_the_fields_of_its_crate():
    import kennel.far

    source = (PYTHON.parent / "far" / "src" / "stats.rs").read_text()
    counters = re.search(r"^counters! \{\n(.*?)^\}", source, re.DOTALL | re.MULTILINE).group(1)
    fields = re.findall(r"^    (\w+),", counters, re.MULTILINE)
    assert fields == [field.name for field in dataclasses.fields(kennel.far.FarStats)]


@pytest.mark.skipif(sys.platform == "win32", reason="the far tier is for Unix systems")
def test_whatever_is_public_in_the_far_tier_is_documented():
    import kennel.far

    for name in kennel.far.__all__:
        value = getattr(kennel.far, name)
        assert inspect.getdoc(value), name
        for member, what in inspect.getmembers(value, callable):
            assert member.startswith("_") or inspect.getdoc(what), f"{name}.{member}"


@pytest.mark.parametrize("name", ["Stats", "StripeStats", "NamespaceReads", "Repair", "Verification"])
def test_the_statistics_have_the_fields_of_the_engines(name):
    source = (ENGINE / "api" / "stats.rs").read_text()
    body = re.search(rf"pub struct {name} \{{\n(.*?)\n\}}", source, re.DOTALL).group(1)
    fields = re.findall(r"^    pub (\w+):", body, re.MULTILINE)
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(getattr(kennel, name)))


def test_the_sources_of_an_item_are_those_of_the_engine():
    source = (ENGINE / "api" / "create" / "got.rs").read_text()
    body = re.search(r"pub enum Source \{\n(.*?)\n\}", source, re.DOTALL).group(1)
    names = [re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in re.findall(r"^    (\w+),", body, re.MULTILINE)]
    assert names == list(typing.get_args(kennel._got.Source))


@pytest.mark.parametrize("name", ["Times", "Histogram"])
def test_the_times_have_the_fields_of_the_engines(name):
    source = (ENGINE / "store" / "histograms.rs").read_text()
    body = re.search(rf"pub struct {name} \{{\n(.*?)\n\}}", source, re.DOTALL).group(1)
    fields = re.findall(r"^    pub (\w+):", body, re.MULTILINE)
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(getattr(kennel, name)))


def test_the_counters_are_those_of_the_engine(cache):
    """The extension passes each of the engine's counters by its name, and a dataclass accepts only its own fields."""
    cache.set("key", "value")
    assert cache.get("key") == b"value" and cache.get("other") is None
    counters = cache.stats().counters
    assert (counters.sets, counters.hits, counters.misses) == (1, 1, 1)
