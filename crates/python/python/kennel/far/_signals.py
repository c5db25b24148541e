"""Signals during calls to the server.

A signal with a handler interrupts a thread that waits for a socket with a limit of time, and the call would fail. So the
usual signals are held back meanwhile, and Python handles them when the call has returned. The extension calls
:func:`mask` itself: between lines of Python a handler could raise an exception, and the signals would be held back
forever.
"""

from __future__ import annotations

import signal
import sys

# For type checkers: the rest is for Unix systems.
assert sys.platform != "win32"

try:
    # Without the conversion to members of an enumeration, which takes ten times as long.
    from _signal import pthread_sigmask as mask  # type: ignore[import-not-found]
except ImportError:
    from signal import pthread_sigmask as mask

__all__ = ["BLOCK", "HELD", "SET", "mask"]

BLOCK, SET = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)

HELD = [
    int(getattr(signal, name))
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGQUIT",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGCHLD",
        "SIGUSR1",
        "SIGUSR2",
        "SIGWINCH",
        "SIGIO",
    )
    if hasattr(signal, name)
]
