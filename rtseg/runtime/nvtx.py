"""Ranges that Nsight Systems shows, where the package `nvtx` is installed; nothing otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

if find_spec("nvtx") is not None:
    import nvtx

    def annotate(name: str) -> AbstractContextManager:
        """Name what a ``with`` block does on the timeline of this thread."""
        return nvtx.annotate(name, domain="rtseg")
else:

    def annotate(name: str) -> AbstractContextManager:
        """Do nothing: nvtx is not installed."""
        return nullcontext()
