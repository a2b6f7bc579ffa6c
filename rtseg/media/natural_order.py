"""Order file names as people do: frame_9 before frame_10."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which runs of digits compare as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name)]
