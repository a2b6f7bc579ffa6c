"""Strips of rows worked on by several threads at once.

The kernels release the GIL, so plain Python threads run them in parallel. Numba's own ``parallel=True`` is avoided: its
default thread pool may not be entered from two Python threads at once, and its workers spin beside the network's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rtseg.errors import ArgumentError

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_MAX_WORKERS = 15


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_MAX_WORKERS, thread_name_prefix="rtseg-ops")
        return _pool


def _forget_pool() -> None:
    """A forked child (a data loader's worker) has none of the parent's threads, so it must make its own pool."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def strip_bounds(rows: int, strips: int) -> list[int]:
    """Cut `rows` rows into `strips` nearly equal strips; strip i is rows ``bounds[i]`` to ``bounds[i + 1]``."""
    return [rows * i // strips for i in range(strips + 1)]


def run_strips(work: Callable[[int], object], strips: int) -> None:
    """Call ``work(i)`` for every strip i, the first in the calling thread and the others in pool threads."""
    if strips == 1:
        work(0)
        return
    pool = _workers()
    pending = [pool.submit(work, i) for i in range(1, strips)]
    try:
        work(0)
    finally:
        for future in pending:
            future.result()


def thread_count(threads: int | None) -> int:
    """Give the number of threads to use: all cores this process may run on where `threads` is None."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ArgumentError(f"expected at least one thread, got {threads!r}: leave it out to use all cores")
    return min(int(threads), 16)
