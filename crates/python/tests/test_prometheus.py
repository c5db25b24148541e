"""The collector for prometheus_client, whose own parsers read what it exports."""

from __future__ import annotations

import subprocess
import sys

import kennel
import kennel.prometheus
import pytest

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client import parser  # noqa: E402
from prometheus_client.openmetrics import exposition, parser as openmetrics_parser  # noqa: E402


@pytest.fixture
def registry():
    return prometheus_client.CollectorRegistry(auto_describe=True)


def test_what_is_exported_is_what_the_statistics_say(cache, path, registry):
    cache.set("key", "value")
    assert cache.get("key") and cache.get("other") is None
    registry.register(kennel.prometheus.Collector({"open": cache, "path": path}))
    for name in ("open", "path"):
        found = {
            (sample.name, sample.labels.get("result") or sample.labels.get("by")): sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.labels["cache"] == name
        }
        assert found["kennel_up", None] == 1
        assert found["kennel_gets_total", "hit"] == 1 and found["kennel_gets_total", "miss"] == 1
        assert found["kennel_sets_total", None] == 1 and found["kennel_items", None] == 1
        assert found["kennel_limited", "nothing"] == 1 and found["kennel_limited", "index"] == 0


def test_both_text_formats_are_read_by_stock_parsers(cache, registry):
    cache.set("key", "value")
    registry.register(kennel.prometheus.Collector({'a "name"\\ with\nall': cache, "gone": "/nowhere/at/all"}))
    plain = list(parser.text_string_to_metric_families(prometheus_client.generate_latest(registry).decode()))
    strict = list(openmetrics_parser.text_string_to_metric_families(exposition.generate_latest(registry).decode()))
    for families in (plain, strict):
        kinds = {family.name: family.type for family in families}
        assert kinds["kennel_gets"] == "counter" and kinds["kennel_items"] == "gauge" and len(kinds) > 25
        samples = [sample for family in families for sample in family.samples]
        up = {sample.labels["cache"]: sample.value for sample in samples if sample.name == "kennel_up"}
        assert up == {'a "name"\\ with\nall': 1, "gone": 0}
        assert [sample.value for sample in samples if sample.name == "kennel_sets_total"] == [1]


def test_histograms_and_namespaces_are_exported(tmp_path, registry):
    cache = kennel.Cache(tmp_path / "named.cache", capacity=8 << 20, namespace_reads=True)
    pages = cache.namespace('a "name"')
    pages.get_or_create("key", lambda: b"value")
    for _ in range(1600):
        pages.get("key")
    stats = cache.stats()
    (reads,) = stats.namespace_reads
    assert reads.name == 'a "name"' and reads.hits > 800
    assert sum(stats.times.creation.counts) == 1 and stats.times.creation.sum > 0
    assert len(stats.times.lock_wait.counts) == 16 and stats.times.claim_wait.sum == 0
    registry.register(kennel.prometheus.Collector({"pages": cache}))
    plain = list(parser.text_string_to_metric_families(prometheus_client.generate_latest(registry).decode()))
    strict = list(openmetrics_parser.text_string_to_metric_families(exposition.generate_latest(registry).decode()))
    for families in (plain, strict):
        (creation,) = [family for family in families if family.name == "kennel_creation_seconds"]
        assert creation.type == "histogram"
        found = {sample.labels.get("le", sample.name): sample.value for sample in creation.samples}
        assert found["+Inf"] == found["kennel_creation_seconds_count"] == 1 and len(found) == 18
    label = {"cache": "pages", "namespace": 'a "name"', "result": "hit"}
    assert registry.get_sample_value("kennel_namespace_gets_total", label) == reads.hits


def test_files_come_and_go(path, registry):
    registry.register(kennel.prometheus.Collector({"pages": path}))

    def up():
        return registry.get_sample_value("kennel_up", {"cache": "pages"})

    assert up() == 0 and not path.exists()
    cache = kennel.Cache(path, capacity=8 << 20)
    assert up() == 1
    cache.close()
    path.unlink()
    assert up() == 0
    path.write_text("no cache")
    assert up() == 0


def test_a_closed_cache_is_down(cache, registry):
    registry.register(kennel.prometheus.Collector({"pages": cache}))
    cache.close()
    assert registry.get_sample_value("kennel_up", {"cache": "pages"}) == 0


def test_prometheus_client_is_not_imported():
    program = "import kennel.prometheus, sys; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_entries_and_samples(cache):
    pages = cache.namespace("pages", ttl=60)
    pages.set("front", "hello", flags=9)
    cache.set("plain", "12")
    (front,) = pages.entries()
    assert (front.key, front.namespace, front.value_len, front.flags) == (b"front", "pages", 5, 9)
    assert front.ring == "small" and front.marks == 0 and front.stamp == pages.get_item("front").stamp
    assert front.expires - front.created == pytest.approx(60, abs=1)
    share, entries = cache.sample(1 << 40)
    assert share == 1 and {entry.key for entry in entries} == {b"pages\0front", b"plain"} == set(cache.keys())
    assert all(isinstance(entry, kennel.Entry) for entry in entries)
    assert cache.sample(0) == (0, [])
