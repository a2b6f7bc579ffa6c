"""A process that ends with the one that started it: also where that is killed, and can end nobody any more."""

from __future__ import annotations

import os
import signal
import threading


def end_with_parent() -> None:
    """Send this process SIGTERM once the other end of its standard input, a pipe, is closed, and go on till then.

    Whatever the parent dies of closes it.
    """
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(0, 1024):  # not by sys.stdin, whose lock the thread would hold: Python aborts on it at its end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
