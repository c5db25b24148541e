"""Checks of options that several functions have: lengths of time, and what follows an exception."""

from __future__ import annotations

import datetime
from typing import Any, Optional, Union

from ._errors import BadOption

__all__ = ["Seconds", "check_life", "check_on_error", "check_seconds", "seconds"]

Seconds = Union[float, datetime.timedelta]


def check_on_error(on_error: Any) -> None:
    """Raises an error if the option ``on_error`` is neither ``raise`` nor ``stale``."""
    if on_error not in ("raise", "stale"):
        raise BadOption(
            f"option on_error: expected raise or stale, found {on_error}",
            option="on_error",
            given=str(on_error),
            expected="raise or stale",
        )


def check_seconds(option: str, time: Any) -> None:
    """Raises an error if an option is not a length of time."""
    if time is not None and not isinstance(time, datetime.timedelta) and not hasattr(time, "__float__"):
        raise TypeError(f"option {option}: expected seconds or a timedelta, found {type(time).__qualname__}")


def check_life(ttl: Optional[Seconds], stale: Optional[Seconds]) -> None:
    """Raises an error if values would become stale only after they expire."""
    if ttl is not None and stale is not None and seconds(stale) > seconds(ttl):
        raise BadOption(
            f"option stale: expected at most ttl, {seconds(ttl):g} s, found {seconds(stale):g} s",
            option="stale",
            given=f"{seconds(stale):g}",
            expected=f"at most ttl, {seconds(ttl):g} s",
        )


def seconds(time: Seconds) -> float:
    """Converts a length of time to seconds."""
    return time.total_seconds() if isinstance(time, datetime.timedelta) else float(time)
