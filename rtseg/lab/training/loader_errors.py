"""What processes that prepare samples say: torch makes their whole traceback an error's message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rtseg.errors import RtsegError


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Let an error of a process that prepares samples be told as it was raised there.

    Raises:
        RtsegError: of the same kind, without that process's traceback.
    """
    try:
        yield
    except RtsegError as error:
        kind = type(error)
        before, _, said = str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")
        if not before.startswith("Caught "):
            raise
        raise kind(said.strip()) from error
