"""The kernels that grouping methods need, which several processes compile ahead side by side.

Numba compiles one kernel at a time in a process. ``kernels.json`` names, for each method, the kernels that warming up a
model compiles, and the types of their arguments, those that take longest first: so processes can share them out
beforehand. It saves time and nothing else: what it lacks is compiled when it is called, what is gone is passed over.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from numba.core.sigutils import normalize_signature

from rtseg.compiled import compile_unless_taken, is_kept
from rtseg.parent import end_with_parent

FILE = Path(__file__).with_suffix(".json")
_MAX_PROCESSES = 4  # the longest kernel takes a fifth of the time
_WORTH_A_PROCESS = 4  # kernels: what loads Numba in less time than it takes to compile them


class Compiled(NamedTuple):
    """A kernel for arguments of certain types."""

    kernel: Any
    types: tuple[Any, ...]

    @property
    def kept(self) -> bool:
        """Whether it need not be compiled."""
        return is_kept(self.kernel, self.types)


def listed_kernels(method: str) -> list[Compiled]:
    """What warming up a model of a grouping method compiles, those that take longest first; nothing if not known."""
    found = []
    for name, signature in _lists().get(method, ()):
        module, _, attribute = name.partition(":")
        kernel = getattr(importlib.import_module(module), attribute, None)
        if kernel is not None:
            with suppress(Exception):  # this Numba names a type in another way: reading evaluates it
                found.append(Compiled(kernel, tuple(normalize_signature(signature)[0])))
    return found


@cache
def _lists() -> dict[str, list[list[str]]]:
    lists: dict[str, list[list[str]]] = json.loads(FILE.read_text())
    return lists


@contextmanager
def compiled_together(method: str, missing: Sequence[Compiled]) -> Iterator[None]:
    """Compile kernels of a method with as many processes as there are processors for.

    None is left to begin with where this begins; others may still be at their last, which whoever calls one waits for.
    """
    processes = min(len(os.sched_getaffinity(0)), _MAX_PROCESSES, len(missing) // _WORTH_A_PROCESS)
    others = _start(method, processes - 1)
    try:
        _compile(missing)
        yield
    finally:
        for other in others:
            other.kill()
            other.communicate()


def _compile(kernels: Sequence[Compiled]) -> None:
    for one in kernels:
        with suppress(Exception):  # of types that it is not called with any more; whoever calls it, compiles it
            if not one.kept:
                compile_unless_taken(*one)


def _start(method: str, count: int) -> list[subprocess.Popen[bytes]]:
    if not sys.executable:  # where Python is part of another program
        return []
    command = [sys.executable, "-m", __name__, method]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [subprocess.Popen(command, **pipes) for _ in range(count)]  # type: ignore[call-overload]


def main() -> None:
    """Compile what the method named on the command line needs, beside other processes that do so."""
    for number in (signal.SIGINT, signal.SIGTERM):  # at once, also where those above have them ignored
        signal.signal(number, signal.SIG_DFL)
    end_with_parent()
    _compile(listed_kernels(sys.argv[1]))


if __name__ == "__main__":
    main()
