"""Signals during calls to the server.

A signal with a handler interrupts a thread that waits for a socket with a time limit, so the call would fail. Therefore
the usual signals are blocked during the call, and Python handles them after it has returned. The extension calls
:func:`mask` directly: between two lines of Python, a handler could raise an exception, and the signals would stay
blocked forever.
"""

from __future__ import annotations

import signal
import sys

# This tells type checkers that the rest is for Unix systems only.
assert sys.platform != "win32"

try:
    # This function does not convert signals to members of an enumeration, which takes ten times as long.
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
