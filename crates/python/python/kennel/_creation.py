"""The value that Django's ``get_or_set`` stores."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from ._created import again, plain

__all__ = ["Creation"]


class Creation:
    """The second argument of ``get_or_set``: a value, or a function that returns it."""

    def __init__(self, default: Any, dumps: Callable[[Any], Any], make_tag: Callable[[bytes], bytes]) -> None:
        self._default, self._dumps, self._make_tag = default, dumps, make_tag
        self._made: Any = None
        self.has_begun = False

    @property
    def value(self) -> Any:
        """The value, after it was created."""
        return plain(self._made)

    def run(self) -> Any:
        """Creates and returns the value."""
        self.has_begun = True
        self._made = self._default() if callable(self._default) else self._default
        return self.value

    async def arun(self) -> Any:
        """Creates and returns the value. Awaits it if ``default`` returned an awaitable."""
        if inspect.isawaitable(self.run()):
            self._made = await self._made
        return self.value

    def stored(self) -> Any:
        """Creates the value and returns it as bytes."""
        return self._as_bytes(self.run())

    async def astored(self) -> Any:
        """Does the same as :meth:`stored` for coroutines."""
        return self._as_bytes(await self.arun())

    def _as_bytes(self, value: Any) -> Any:
        return again(self._made, self._dumps(value), renamed=self._make_tag)
