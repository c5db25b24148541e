"""The options of a call that creates a value, as the extension takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ._times import Seconds

if TYPE_CHECKING:
    from ._created import Tags

__all__ = ["given"]


def given(
    ttl: Optional[Seconds],
    stale: Optional[Seconds],
    absence_ttl: Optional[Seconds],
    wait: Optional[Seconds],
    unprotected: bool,
    claim_max_age: Optional[Seconds],
    early_refresh: Optional[float],
    flags: int,
    or_uncached: bool,
    on_error: str,
    retry_after: Optional[Tuple[Seconds, Seconds]],
    share_failure: bool,
    resilient: bool,
    tags: Optional[Tags],
) -> Dict[str, Any]:
    """Returns the options that differ from the defaults of ``claim``. Passing on one option takes as long as the lookup
    of a hit, so the others are left out."""
    how: Dict[str, Any] = {}
    if ttl is not None:
        how["ttl"] = ttl
    if stale is not None:
        how["stale"] = stale
    if absence_ttl is not None:
        how["absence_ttl"] = absence_ttl
    if wait != 30.0:
        how["wait"] = wait
    if unprotected is not False:
        how["unprotected"] = unprotected
    if claim_max_age is not None:
        how["claim_max_age"] = claim_max_age
    if early_refresh is not None:
        how["early_refresh"] = early_refresh
    if flags != 0:
        how["flags"] = flags
    if or_uncached is not False:
        how["or_uncached"] = or_uncached
    if on_error != "raise":
        how["on_error"] = on_error
    if retry_after is not None:
        how["retry_after"] = retry_after
    if share_failure is not False:
        how["share_failure"] = share_failure
    if resilient is not False:
        how["resilient"] = resilient
    if tags is not None:
        how["tags"] = tags
    return how
