"""Text files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from rtseg.errors import MediaError


def write_text(path: Path, text: str) -> None:
    """Write a text file, making its folder; it appears under its name when it is complete.

    Raises:
        MediaError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise MediaError(f"expected to write {path}, got {error}; check the folder and the disk") from error
