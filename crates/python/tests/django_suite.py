"""Runs the applicable part of Django's own cache tests over the Kennel backend, or, with the URL of a server, over the
backend of the far tier. Not a pytest module: Django's tests need Django's runner, and its settings for a whole process.

    python django_suite.py FOLDER-OF-DJANGO'S-SOURCES FOLDER-FOR-CACHES [URL]

It prints what it ran, test by test, and ends with 1 if any failed.
"""

from __future__ import annotations

import os
import sys
import unittest

SOURCES, CACHES = sys.argv[1:3]
URL = sys.argv[3] if len(sys.argv) > 3 else None
sys.path.insert(0, os.path.join(SOURCES, "tests"))

import django  # noqa: E402
from django.conf import settings  # noqa: E402


def location(name):
    return os.path.join(CACHES, name + ".kennel")


#: Each cache has a database of its own at the server.
DATABASES = {}


def at(name):
    """The place of a cache, and its options."""
    if URL is None:
        return {"LOCATION": location(name), "OPTIONS": {"capacity": 8 << 20}}
    database = DATABASES.setdefault(name, len(DATABASES))
    return {"LOCATION": f"{URL}?db={database}", "OPTIONS": {"near": location(name), "capacity": 1 << 20}}


def kennel(name, **more):
    backend = "kennel.django.KennelCache" if URL is None else "kennel.far.django.FarCache"
    return {"BACKEND": backend, **at(name), **more}


settings.configure(
    CACHES={"default": kennel("default"), "other": kennel("other")},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}, "other": {"ENGINE": "django.db.backends.sqlite3"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sites", "cache"],
    SECRET_KEY="for tests only",
    ROOT_URLCONF="",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    MIDDLEWARE=[],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=False,
    # As in the settings of Django's own test runner.
    LANGUAGE_CODE="en",
)
django.setup()

from cache import tests, tests_async  # noqa: E402
from django.core.cache import cache, caches  # noqa: E402
from django.test import SimpleTestCase, TestCase, override_settings  # noqa: E402
from django.test.utils import get_runner  # noqa: E402

# Every class of `tests/cache` is in one of these two tables, so that a class that a later Django adds is noticed.

#: Classes whose tests run here, over this backend, and how.
APPLICABLE = {
    "BaseCacheTests": "all of it, in KennelCacheTests below",
    "CacheClosingTests": "as it is",
    "CacheHandlerTest": "as it is",
    "CacheHEADTest": "with this backend in the settings",
    "CacheI18nTest": "with this backend in the settings",
    "CacheMiddlewareTest": "with this backend in the settings",
    "CacheUtils": "with this backend in the settings",
    "CustomCacheKeyValidationTests": "the same test, over a subclass of this backend",
    "DefaultNonExpiringCacheKeyTests": "the tests of TIMEOUT, with this backend in the settings",
    "PrefixedCacheI18nTest": "with this backend in the settings",
    "PrefixedCacheUtils": "with this backend in the settings",
    "TestWithTemplateResponse": "with this backend in the settings",
}

#: Classes that do not apply, and why.
NOT_APPLICABLE = {
    "AsyncDummyCacheTests": "expects that nothing is stored; the async methods are tested in test_django.py",
    "BaseMemcachedTests": "servers of memcached; set_many's failing keys and the failed set are tested in test_django.py",
    "CreateCacheTableForDBCacheTests": "the table of the database backend",
    "DBCacheTests": "the queries and the table of the database backend",
    "DBCacheWithTimeZoneTests": "the database backend",
    "DummyCacheTests": "expects that nothing is stored",
    "FileBasedCacheTests": "the files of the file backend",
    "FileBasedCachePathLibTests": "the files of the file backend",
    "LocMemCacheTests": "the dictionaries of the local-memory backend; its tests of separate caches, of pickling under "
    "a lock and of incr keeping the timeout are in test_django.py",
    "PyLibMCCacheTests": "a client of memcached",
    "PyMemcacheCacheTests": "a client of memcached",
    "RedisCacheTests": "the client of Redis; the times and the serializer are tested in test_far_django.py",
    "TestMakeTemplateFragmentKey": "makes keys, without any cache",
}

#: Tests of BaseCacheTests that do not apply: `MAX_ENTRIES` and `CULL_FREQUENCY` have no meaning where the capacity is
#: in bytes. Left out of the settings, as for memcached, these tests skip themselves.
CULLING = {"test_cull", "test_cull_delete_when_store_empty", "test_zero_cull"}


@override_settings(
    CACHES=tests.caches_setting_for_tests(**kennel("base"), exclude={"cull", "zero_cull"})
)
class KennelCacheTests(tests.BaseCacheTests, TestCase):
    """The tests that every backend of Django passes."""

    if URL is not None:
        # As in Django's own tests of its Redis backend, the server says what is no number.
        from kennel.far import ServerError as incr_decr_type_error


class ValidatingCache(type(caches["other"])):
    def validate_key(self, key):
        """Accepts whatever key."""


@override_settings(CACHES={"default": {**kennel("validating"), "BACKEND": f"{__name__}.ValidatingCache"}})
class KennelKeyValidationTests(SimpleTestCase):
    test_custom_key_validation = tests.CustomCacheKeyValidationTests.test_custom_key_validation


def over_kennel(case):
    """A test class of Django with this backend wherever it names the local-memory one."""
    named = getattr(case, "_overridden_settings", None) or {}
    configured = {}
    for alias, options in named.get("CACHES", {"default": {}}).items():
        name = f"{case.__name__}-{alias}"
        configured[alias] = {**options, **kennel(name)}
    return override_settings(**{**named, "CACHES": configured})(type("Kennel" + case.__name__, (case,), {}))


class KennelTimeoutTests(tests.DefaultNonExpiringCacheKeyTests):
    """That class makes its settings itself, with `caches_setting_for_tests` or by hand."""

    def setUp(self):
        self.DEFAULT_TIMEOUT = caches["default"].default_timeout
        self.addCleanup(caches["default"].clear)

    def tearDown(self):
        pass

    def _with_timeout(self, **timeout):
        return override_settings(CACHES={"default": kennel("timeouts", **timeout)})

    def test_caches_with_unset_timeout_has_correct_default_timeout(self):
        with self._with_timeout():
            self.assertEqual(cache.default_timeout, 300)

    def test_caches_set_with_timeout_as_none_has_correct_default_timeout(self):
        with self._with_timeout(TIMEOUT=None):
            self.assertIsNone(cache.default_timeout)
            self.assertIsNone(cache.get_backend_timeout())

    def test_caches_with_unset_timeout_set_expiring_key(self):
        with self._with_timeout():
            cache.set("key", "value")
            self.assertTrue(self._expires("key"))

    def test_caches_set_with_timeout_as_none_set_non_expiring_key(self):
        with self._with_timeout(TIMEOUT=None):
            cache.set("key", "value")
            self.assertFalse(self._expires("key"))

    def _expires(self, key):
        made = cache.make_key(key)
        if URL is None:
            return cache._open().namespace.get_item(made).expires is not None
        return cache.far.call(["PTTL", made]) > 0


def cases():
    yield KennelCacheTests
    yield KennelKeyValidationTests
    yield KennelTimeoutTests
    yield tests.CacheClosingTests
    yield tests.CacheHandlerTest
    for name, how in APPLICABLE.items():
        if how == "with this backend in the settings":
            yield over_kennel(getattr(tests, name))


def check_tables():
    """Whether every class of Django's cache tests is spoken of, in one table."""
    found = {
        name
        for module in (tests, tests_async)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
        and (issubclass(value, unittest.TestCase) or name.startswith("Base"))
    }
    spoken_of = set(APPLICABLE) | set(NOT_APPLICABLE)
    if found != spoken_of or set(APPLICABLE) & set(NOT_APPLICABLE):
        sys.exit(f"not spoken of: {sorted(found - spoken_of)}; not there: {sorted(spoken_of - found)}")


def main():
    check_tables()
    runner = get_runner(settings)(verbosity=2, interactive=False)
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases())
    runner.setup_test_environment()
    databases = runner.setup_databases(aliases={"default"})
    try:
        result = runner.run_suite(suite)
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()
    skipped = {test._testMethodName for test, _ in result.skipped}
    if skipped - CULLING:
        sys.exit(f"skipped, but applicable: {sorted(skipped - CULLING)}")
    print(f"ran {result.testsRun}, skipped {len(result.skipped)}")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.modules["django_suite"] = sys.modules["__main__"]
    sys.exit(main())
