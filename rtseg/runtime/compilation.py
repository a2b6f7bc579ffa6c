"""Tells of the kernels that Numba compiles, once a machine and user, while a model is warmed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

Told = Callable[[int, str], None]
"""Called with how many kernels have been compiled so far and the name of the one that is begun."""


class _Listener(event.Listener):
    def __init__(self, tell: Told) -> None:
        self._tell = tell
        self._depth = 0
        self._compiled = 0

    def on_start(self, event: Any) -> None:
        # A kernel compiles those that it calls: the outermost is what the caller asked for.
        if not self._depth:
            self._tell(self._compiled, event.data["dispatcher"].py_func.__name__.lstrip("_"))
        self._depth += 1

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        self._compiled += not self._depth


@contextmanager
def compilation_told(tell: Told) -> Iterator[None]:
    """Call `tell` whenever a kernel has to be compiled because Numba's cache does not hold it yet."""
    listener = _Listener(tell)
    with event.install_listener("numba:compile", listener):
        yield
