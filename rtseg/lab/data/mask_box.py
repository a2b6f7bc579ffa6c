"""The box around a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Give the box (x0, y0, x1, y1) of a mask's pixels, x1 and y1 exclusive; four zeros where it has none.

    Args:
        mask: (H, W) bool.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
