"""Small files of others, read whole: whatever stands under their name, no reader waits, or reads for ever."""

from __future__ import annotations

import stat
from pathlib import Path


class TooLargeError(OSError):
    """A file that is wanted whole, and larger than any of its kind."""


def read_regular(path: str | Path, largest: int) -> bytes:
    """What a file holds that is wanted whole; a pipe is not waited for, nor a device read for ever.

    Args:
        path: of the file.
        largest: bytes that are read at most.

    Raises:
        TooLargeError: it is larger.
        OSError: it cannot be read, or is no regular file.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no regular file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise TooLargeError(f"it is larger than {largest >> 10} KiB")
    return content
