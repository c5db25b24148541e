import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import IO, Any, Literal, TypeVar, final, overload

from typing_extensions import Buffer, Self, disjoint_base

from ._errors import Error
from ._stats import Entry, Loaded, Resized, Sample, Stats, StripeStats, Verification
from .far._stats import FarStats

_T = TypeVar("_T")
_Bytes = str | Buffer
_K = TypeVar("_K", bound=_Bytes)
_Seconds = float | timedelta
_Tags = Iterable[_Bytes]
_Told = tuple[Item | None, bool, Error | None]

__all__ = [
    "DEFAULT_CAPACITY",
    "MAX_KEY",
    "MAX_TAGS",
    "OPTIONS",
    "VERSION",
    "Cache",
    "Claim",
    "ClaimRequest",
    "Entries",
    "FAR_OPTIONS",
    "FarCache",
    "FarCreation",
    "Item",
    "Keys",
    "Lock",
    "Lookup",
    "Moment",
    "Namespace",
    "Space",
    "Task",
    "Unchanged",
    "_tags",
    "default_path",
    "destroy",
    "record_size",
]

DEFAULT_CAPACITY: int
# Windows has no far tier, so there FAR_OPTIONS, FarCache and FarCreation are missing.
FAR_OPTIONS: tuple[str, ...]
MAX_KEY: int
MAX_TAGS: int
OPTIONS: tuple[str, ...]
VERSION: str

def default_path() -> pathlib.Path: ...
def destroy(path: str | os.PathLike[str], *, trust: bool = False) -> None: ...
def _tags(tags: _Tags, *, any_number: bool = False) -> list[bytes]: ...
def record_size(key_len: int, value_len: int, tags: int = 0) -> int: ...

@disjoint_base
class Space:
    @property
    def closed(self) -> bool: ...
    @property
    def lock_wait(self) -> float: ...
    def close(self) -> None: ...
    def _nonblocking(self) -> Space: ...
    @overload
    def get(self, key: _Bytes, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: _Bytes, default: _T) -> bytes | _T: ...
    def get_item(self, key: _Bytes) -> Item | None: ...
    def get_if_changed(self, key: _Bytes, id: tuple[int, int]) -> Item | Unchanged | None: ...
    def is_fresh(self, key: _Bytes, id: tuple[int, int]) -> bool: ...
    def get_into(self, key: _Bytes, buffer: Buffer) -> int | None: ...
    def get_multi(self, keys: Iterable[_Bytes]) -> list[bytes | None]: ...
    def get_items(self, keys: Iterable[_Bytes]) -> list[Item | None]: ...
    def take(self, key: _Bytes) -> Item | None: ...
    def get_and_touch(
        self, key: _Bytes, ttl: _Seconds | None = None, *, expires_at: float | None = None
    ) -> Item | None: ...
    def set(
        self,
        key: _Bytes,
        value: _Bytes,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int = 0,
        as_of: Moment | None = None,
        tags: _Tags | None = None,
    ) -> int: ...
    def moment(self) -> Moment: ...
    def add(
        self,
        key: _Bytes,
        value: _Bytes,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int = 0,
        as_of: Moment | None = None,
        tags: _Tags | None = None,
    ) -> bool: ...
    def replace(
        self,
        key: _Bytes,
        value: _Bytes,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int = 0,
        as_of: Moment | None = None,
        tags: _Tags | None = None,
    ) -> bool: ...
    def compare_and_swap(
        self,
        key: _Bytes,
        stamp: int,
        value: _Bytes,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int = 0,
        as_of: Moment | None = None,
        tags: _Tags | None = None,
    ) -> int | Literal[False] | None: ...
    def swap_value(self, key: _Bytes, stamp: int, value: _Bytes) -> int | Literal[False] | None: ...
    def rename(self, key: _Bytes, to: _Bytes) -> bool: ...
    @overload
    def incr(
        self,
        key: _Bytes,
        delta: int = 1,
        *,
        initial: None = None,
        ttl: _Seconds | None = None,
        tags: _Tags | None = None,
    ) -> int | None: ...
    @overload
    def incr(
        self, key: _Bytes, delta: int = 1, *, initial: int, ttl: _Seconds | None = None, tags: _Tags | None = None
    ) -> int: ...
    @overload
    def decr(
        self,
        key: _Bytes,
        delta: int = 1,
        *,
        initial: None = None,
        ttl: _Seconds | None = None,
        tags: _Tags | None = None,
    ) -> int | None: ...
    @overload
    def decr(
        self, key: _Bytes, delta: int = 1, *, initial: int, ttl: _Seconds | None = None, tags: _Tags | None = None
    ) -> int: ...
    def touch(self, key: _Bytes, ttl: _Seconds | None = None, *, expires_at: float | None = None) -> bool: ...
    def delete(self, key: _Bytes) -> bool: ...
    def set_multi(
        self,
        items: Mapping[_K, _Bytes] | Iterable[tuple[_K, _Bytes]],
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int = 0,
        as_of: Moment | None = None,
        tags: _Tags | None = None,
    ) -> dict[_K, Error]: ...
    def delete_multi(self, keys: Iterable[_Bytes]) -> list[bool]: ...
    def __getitem__(self, key: _Bytes, /) -> bytes: ...
    def __setitem__(self, key: _Bytes, value: _Bytes, /) -> None: ...
    def __delitem__(self, key: _Bytes, /) -> None: ...
    def __contains__(self, key: _Bytes, /) -> bool: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def keys(self, prefix: _Bytes | None = None) -> Keys: ...
    def entries(self) -> Entries: ...
    def sample(self, buckets: int = 4096) -> tuple[float, list[Entry]]: ...
    def clear(self) -> None: ...
    def invalidate(self, *, soft: bool = False) -> None: ...
    def invalidate_tags(self, tags: _Tags, *, soft: bool = False) -> None: ...
    def is_claimed(self, key: _Bytes) -> bool: ...
    def claim(
        self,
        key: _Bytes,
        *,
        ttl: _Seconds | None = None,
        stale: _Seconds | None = None,
        absence_ttl: _Seconds | None = None,
        wait: _Seconds | None = 30.0,
        unprotected: bool = False,
        claim_max_age: _Seconds | None = None,
        early_refresh: float | None = None,
        flags: int = 0,
        task: Task | None = None,
        nonblocking: bool = False,
        or_uncached: bool = False,
        on_error: str = "raise",
        retry_after: tuple[_Seconds, _Seconds] | None = None,
        share_failure: bool = False,
        resilient: bool = False,
        tags: _Tags | None = None,
    ) -> Lookup: ...
    def _request(self, key: _Bytes, **how: Any) -> ClaimRequest: ...
    def lock(
        self,
        key: _Bytes,
        *,
        wait: _Seconds | None = 30.0,
        max_age: _Seconds | None = None,
        unprotected: bool = False,
        handover: bool = False,
    ) -> Lock: ...

class Cache(Space):
    def __new__(cls, path: str | os.PathLike[str], options: dict[str, Any]) -> Self: ...
    @property
    def path(self) -> pathlib.Path: ...
    def flush(self) -> bool: ...
    def resize(
        self, capacity: int | str, *, mean_item: int | str | None = None, wait: _Seconds | None = ...
    ) -> Resized: ...
    def stats(self) -> Stats: ...
    def samples(self) -> list[Sample]: ...
    def large_mapped(self) -> int | None: ...
    def stripe_stats(self) -> list[StripeStats]: ...
    def dump(
        self, file: str | os.PathLike[str] | IO[bytes], *, namespace: str | None = None, prefix: str | bytes | None = None
    ) -> int: ...
    def load(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        *,
        replace: bool = False,
        evict: bool = False,
        tagged: bool = False,
    ) -> Loaded: ...
    def verify(self) -> Verification: ...
    def namespaces(self) -> list[str]: ...
    def remove_namespace(self, name: str) -> bool: ...

class Namespace(Space):
    def __new__(
        cls,
        cache: Cache,
        name: str,
        ttl: _Seconds | None = None,
        stale: _Seconds | None = None,
        absence_ttl: _Seconds | None = None,
        jitter: float | None = None,
        idle: _Seconds | None = None,
    ) -> Self: ...
    @property
    def name(self) -> str: ...

@final
class Moment: ...

@final
class Lookup:
    @property
    def value(self) -> bytes | None: ...
    @property
    def is_stale(self) -> bool: ...
    @property
    def id(self) -> tuple[int, int] | None: ...
    @property
    def item(self) -> Item | None: ...
    @property
    def has_waited(self) -> bool: ...
    @property
    def claim(self) -> Claim | None: ...

@final
class Claim:
    @property
    def is_protected(self) -> bool: ...
    @property
    def uncached(self) -> Error | None: ...
    @property
    def has_ended(self) -> bool: ...
    def store(
        self,
        value: _Bytes,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int | None = None,
        tags: _Tags | None = None,
    ) -> bool: ...
    def store_absence(
        self, ttl: _Seconds | None = None, *, expires_at: float | None = None, tags: _Tags | None = None
    ) -> bool: ...
    def _store_as_item(
        self,
        value: _Bytes | None,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int | None = None,
        tags: _Tags | None = None,
        stored: bool = True,
        waited: _Seconds | None = None,
    ) -> _Told: ...
    def _try_store_as_item(
        self,
        value: _Bytes | None,
        ttl: _Seconds | None = None,
        *,
        stale: _Seconds | None = None,
        expires_at: float | None = None,
        flags: int | None = None,
        tags: _Tags | None = None,
        stored: bool = True,
    ) -> _Told | None: ...
    def refuse(self) -> None: ...
    def fail(self) -> bytes | None: ...
    def _fail_as_item(self) -> Item | None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...

@final
class ClaimRequest:
    def poll(self) -> Lookup | None: ...

@final
class Lock:
    def acquire(self, wait: bool | _Seconds | None = None) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    @property
    def is_protected(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...

@final
class Task:
    def __new__(cls) -> Self: ...

@final
class Item:
    @property
    def value(self) -> bytes: ...
    @property
    def flags(self) -> int: ...
    @property
    def stamp(self) -> int: ...
    @property
    def id(self) -> tuple[int, int]: ...
    @property
    def expires(self) -> float | None: ...
    @property
    def soft_expires(self) -> float | None: ...
    @property
    def created(self) -> float | None: ...
    @property
    def is_stale(self) -> bool: ...

@final
class Entries:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Entry: ...

@final
class Unchanged:
    @property
    def is_stale(self) -> bool: ...

@final
class Keys:
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...

@disjoint_base
class FarCache:
    def __new__(
        cls,
        url: str,
        prefixes: Iterable[_Bytes],
        path: str | os.PathLike[str],
        far: dict[str, Any],
        near: dict[str, Any],
    ) -> Self: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    @overload
    def get(self, key: _Bytes, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: _Bytes, default: _T) -> bytes | _T: ...
    def get_near(self, key: _Bytes) -> bytes | None: ...
    @overload
    def get_fresh(self, key: _Bytes, default: None = None) -> bytes | None: ...
    @overload
    def get_fresh(self, key: _Bytes, default: _T) -> bytes | _T: ...
    def get_multi(self, keys: Iterable[_Bytes]) -> list[bytes | None]: ...
    def set(
        self, key: _Bytes, value: _Bytes, ttl: _Seconds | None = None, *, expires_at: float | None = None
    ) -> None: ...
    def set_multi(
        self,
        items: Mapping[_K, _Bytes] | Iterable[tuple[_K, _Bytes]],
        ttl: _Seconds | None = None,
        *,
        expires_at: float | None = None,
    ) -> None: ...
    def delete(self, key: _Bytes) -> bool: ...
    def delete_multi(self, keys: Iterable[_Bytes]) -> int: ...
    def incr(self, key: _Bytes, delta: int = 1) -> int: ...
    def flush_database(self) -> None: ...
    def _call(self, command: Iterable[_Bytes], keys: Iterable[_Bytes]) -> Any: ...
    def _claim(self, key: _Bytes, lease: _Seconds, wait: _Seconds) -> tuple[bytes | None, FarCreation | None]: ...
    def stats(self) -> FarStats: ...
    def proof_age(self) -> float | None: ...
    def problem(self) -> str | None: ...

@final
class FarCreation:
    @property
    def has_ended(self) -> bool: ...
    def store(
        self, value: _Bytes, ttl: _Seconds | None = None, *, expires_at: float | None = None
    ) -> bool: ...
    def fail(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...
