"""The examples of the documents, each run as it stands there."""

from __future__ import annotations

import asyncio
import datetime
import pathlib
import re
import subprocess
import sys
import time

import kennel
import pytest

PYTHON = pathlib.Path(__file__).parents[1]


def examples(document):
    """The Python blocks of a document, with the heading above each."""
    heading, found = "", []
    for match in re.finditer(r"^#+ ([^\n]+)$|^```python\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
        if match.group(1):
            heading = match.group(1)
        else:
            found.append((heading, match.group(2)))
    return found


README = dict(enumerate(examples(PYTHON / "README.md")))


def run(program, folder):
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60)


def under(heading):
    return [code for name, code in README.values() if name == heading]


def test_the_plain_example(tmp_path):
    program, *others = under("Plain Python")
    for other in others:
        found = run(other, tmp_path)
        assert found.returncode == 0, found.stderr
    found = run(program, tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["a slow query", "nobody else, on this host, is in here"]
    # And once more, in another process: the value is there.
    assert run(program, tmp_path).stdout.splitlines() == ["nobody else, on this host, is in here"]


def test_the_prometheus_example(tmp_path):
    pytest.importorskip("prometheus_client")
    (program,) = under("Prometheus")
    found = run(program, tmp_path)
    assert found.returncode == 0, found.stderr
    assert 'kennel_sets_total{cache="pages"} 1.0' in found.stdout


@pytest.mark.parametrize("program", under("dogpile.cache"))
def test_the_dogpile_examples(tmp_path, program):
    found = run(program, tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "pages.kennel").exists()


def test_the_django_example(tmp_path):
    settings, *uses = under("Django")
    location = "/var/cache/mysite/django.kennel"
    assert location in settings
    settings = settings.replace(location, (tmp_path / "django.kennel").as_posix())
    program = f"{settings}\nfrom django.conf import settings\nsettings.configure(CACHES=CACHES)\n"
    for use in uses:
        found = run(program + use, tmp_path)
        assert found.returncode == 0, found.stderr
    assert (tmp_path / "django.kennel").exists()


def test_the_examples_of_the_page_about_tags(tmp_path):
    (plain, site) = (code for heading, code in examples(PYTHON.parents[1] / "docs" / "tags.md"))
    found = run(plain, tmp_path)
    assert found.returncode == 0, found.stderr
    caches = {"default": {"BACKEND": "kennel.django.KennelCache", "LOCATION": str(tmp_path / "site.kennel")}}
    begin = f"import kennel\nfrom django.conf import settings\nsettings.configure(CACHES={caches!r})\n"
    found = run(f"{begin}{site}assert cache.get('page:/sale') is None and cache.get('page:/new')\n", tmp_path)
    assert found.returncode == 0, found.stderr


def test_the_examples_of_the_far_tier(tmp_path, server):
    plain, memoized, region, site = under("Redis and Valkey")
    # It goes on where the first one ends.
    memoized = plain + memoized
    site += (
        "\nfrom django.conf import settings\nsettings.configure(CACHES=CACHES)\n"
        "from django.core.cache import cache\ncache.set('a', 1)\nassert cache.get('a') == 1\n"
    )
    for program in (plain, memoized, region, site):
        assert "redis://10.0.0.5" in program and "/dev/shm/" in program
        found = run(program.replace("redis://10.0.0.5", server.url).replace("/dev/shm/", f"{tmp_path}/"), tmp_path)
        assert found.returncode == 0, found.stderr
    assert len(list(tmp_path.glob("*.kennel"))) == 3


def test_every_example_of_the_readme_is_run():
    assert [name for name, _ in README.values()] == ["Plain Python"] * 6 + ["Prometheus"] + ["dogpile.cache"] * 2 + [
        "Django"
    ] * 3 + ["Redis and Valkey"] * 4 + ["In tests"]


@pytest.mark.parametrize("program", [code for _, code in examples(PYTHON / "docs" / "coming-from.md")])
def test_the_examples_for_those_who_come_from_elsewhere(tmp_path, program):
    found = run(program, tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "cachefile.dbm.kennel").exists()


def test_the_table_of_arguments_names_all_of_them():
    import kennel.dogpile

    page = (PYTHON / "docs" / "coming-from.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert named == set(kennel.dogpile._OWN) | {"capacity"}


def test_the_fixture(tmp_path):
    (program,) = under("In tests")
    (tmp_path / "test_pages.py").write_text(program)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pages.py"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "1 passed" in found.stdout, found.stdout + found.stderr


def test_what_freezegun_does_to_a_cache_and_what_not(tmp_path):
    freezegun = pytest.importorskip("freezegun")
    with kennel.Cache(tmp_path / "test.kennel", capacity="8M") as cache:
        with freezegun.freeze_time("2001-01-01") as frozen:
            cache.set("key", "value", ttl=60)
            cache.set("moment", "value", expires_at=time.time() + 60)
            assert cache.get("moment") is None
            frozen.tick(3600)
            assert cache.get("key") == b"value"
            assert cache.touch("key", 0) and cache.get("key") is None
            # The key that is claimed comes second, when the time of all is over.
            claim = cache.claim("b", task=kennel.Task()).claim
            with pytest.raises(kennel.TimedOut):
                cache.get_or_create_multi(["a", "b"], lambda keys: keys, wait=0.2)
            assert not claim.has_ended
            today = cache.memoize(lambda day: str(day))
            assert today(datetime.date.today()) == today(datetime.date.today()) == "2001-01-01"

        async def wait():
            with pytest.raises(kennel.TimedOut):
                await cache.aget_or_create("b", asyncio.Event, wait=0.2)

        with freezegun.freeze_time("2001-01-01", real_asyncio=True):
            asyncio.run(asyncio.wait_for(wait(), 60))
