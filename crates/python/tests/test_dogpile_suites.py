"""dogpile.cache's own generic suites over this backend, all 80 tests of them, those that sleep included; and once more
with a region of its own, and with the arguments of ``dogpile.cache.dbm``."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

import dogpile.cache
import pytest
from dogpile.cache.backends.file import AbstractFileLock
from dogpile.cache.proxy import ProxyBackend
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite
from dogpile.util.readwrite_lock import ReadWriteMutex

dogpile.cache.register_backend("kennel_in_dbms_place", "kennel.dogpile", "KennelBackend")

HERE = pathlib.Path(tempfile.mkdtemp(prefix="kennel-dogpile-"))


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    # On Windows what is open cannot be removed, and a backend closes its cache when it is collected.
    shutil.rmtree(HERE, ignore_errors=os.name == "nt")


class BackendTest(_GenericBackendTestSuite):
    backend = "kennel"
    config_args = {"arguments": {"path": str(HERE / "own"), "capacity": 8 << 20}}


class ProxyTest(_GenericBackendTestSuite):
    backend = "kennel"
    config_args = {**BackendTest.config_args, "wrap": [ProxyBackend]}


class SerializerTest(_GenericSerializerTestSuite, BackendTest):
    pass


class MutexTest(_GenericMutexTestSuite):
    backend = "kennel"
    config_args = BackendTest.config_args


class OwnRegionTest(_GenericBackendTestSuite):
    backend = "kennel"
    config_args = {"arguments": {"path": str(HERE / "region"), "capacity": 8 << 20, "namespace": "people"}}


class OwnRegionMutexTest(_GenericMutexTestSuite):
    backend = "kennel"
    config_args = OwnRegionTest.config_args


class MutexLock(AbstractFileLock):
    """The lock of threads that dogpile.cache's documentation shows."""

    def __init__(self, filename):
        self.mutex = ReadWriteMutex()

    def acquire_read_lock(self, wait):
        taken = self.mutex.acquire_read_lock(wait)
        return wait or taken

    def acquire_write_lock(self, wait):
        taken = self.mutex.acquire_write_lock(wait)
        return wait or taken

    def release_read_lock(self):
        return self.mutex.release_read_lock()

    def release_write_lock(self):
        return self.mutex.release_write_lock()


class InDbmsPlaceTest(_GenericBackendTestSuite):
    backend = "kennel_in_dbms_place"
    config_args = {"arguments": {"filename": str(HERE / "file.dbm"), "lock_factory": MutexLock}}


class InDbmsPlaceMutexTest(_GenericMutexTestSuite):
    backend = "kennel_in_dbms_place"
    config_args = InDbmsPlaceTest.config_args


class WithoutDbmsLocksTest(_GenericBackendTestSuite):
    backend = "kennel_in_dbms_place"
    config_args = {
        "arguments": {"filename": str(HERE / "none.dbm"), "rw_lockfile": False, "dogpile_lockfile": False}
    }


class NamedLockFilesTest(_GenericMutexTestSuite):
    backend = "kennel_in_dbms_place"
    config_args = {
        "arguments": {
            "filename": str(HERE / "named.dbm"),
            "rw_lockfile": str(HERE / "named.rw"),
            "dogpile_lockfile": str(HERE / "named.lock"),
        }
    }


def test_these_are_all_that_there_are():
    """If dogpile.cache adds a suite, or a test to one, this says so."""
    suites = [BackendTest, ProxyTest, SerializerTest, MutexTest]
    tests = sum(name.startswith("test_") for suite in suites for name in dir(suite))
    assert tests == 80
