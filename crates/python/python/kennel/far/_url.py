"""Conversion of the URLs that the client redis-py accepts."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import parse_qs, quote, urlsplit

__all__ = ["url_of"]


def url_of(url: str, username: Optional[str] = None, password: Optional[str] = None, database: Any = None) -> str:
    """Returns a URL for the far tier. The other arguments give the user and the database only if the URL does not name
    them. The URL's parameters for redis-py's connections are dropped."""
    parts = urlsplit(url)
    netloc, path = parts.netloc, parts.path
    if password is not None and "@" not in netloc:
        netloc = f"{quote(username or '', safe='')}:{quote(password, safe='')}@{netloc}"
    database = parse_qs(parts.query).get("db", [database])[0]
    if parts.scheme.endswith("unix"):
        return f"{parts.scheme}://{netloc}{path}" + ("" if database is None else f"?db={database}")
    if path in ("", "/") and database is not None:
        path = f"/{database}"
    return f"{parts.scheme}://{netloc}{path}"
