"""Order file names as people do: frame_9 before frame_10."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(name: Path | str) -> list[tuple[int, int, str]]:
    """Sort key of a text, or of a path's last part, under which runs of digits compare as numbers."""
    text = name if isinstance(name, str) else name.name
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", text)]
