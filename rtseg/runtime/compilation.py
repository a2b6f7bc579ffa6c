"""Tells of the kernels that Numba compiles, once a machine and user, while a model is warmed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numba.core import event

from rtseg.runtime.kernels import Compiled, compiled_together, listed_kernels

if TYPE_CHECKING:
    from rtseg.runtime.pipeline import Pipeline

Told = Callable[[int, str], None]
"""Called with how many kernels have been compiled so far and the name of the one that is begun."""


class _Listener(event.Listener):
    def __init__(self, tell: Told, shared: Sequence[Compiled]) -> None:
        self._tell = tell
        self._shared = shared
        self._depth = 0
        self._alone = 0

    @property
    def compiled(self) -> int:
        return self._alone + sum(one.kept for one in self._shared)

    def on_start(self, event: Any) -> None:
        # A kernel compiles those that it calls: the outermost is what the caller asked for.
        if not self._depth:
            self._tell(self.compiled, event.data["dispatcher"].py_func.__name__.lstrip("_"))
        self._depth += 1

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self._alone += Compiled(event.data["dispatcher"], event.data["args"]) not in self._shared


@contextmanager
def compilation_told(tell: Told) -> Iterator[None]:
    """Call `tell` whenever a kernel has to be compiled because Numba's cache does not hold it yet."""
    with event.install_listener("numba:compile", _Listener(tell, ())):
        yield


def warm_up_told(pipeline: Pipeline, tell: Told) -> int:
    """Warm up a pipeline; kernels that have to be compiled for it are, by several processes, and are told of.

    Returns:
        How many were compiled.
    """
    method = pipeline.card.grouping.method
    on_cpu = pipeline.backend["device"] == "CPU"
    missing = [one for one in listed_kernels(method) if not one.kept] if on_cpu else []
    listener = _Listener(tell, missing)
    with event.install_listener("numba:compile", listener), compiled_together(method, missing):
        pipeline.warm_up()
    return listener.compiled
