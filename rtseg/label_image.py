"""What is known of each label, at every pixel that has it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def look_up(labels: NDArray[np.int32], values: NDArray[Any], dtype: type) -> NDArray[Any]:
    """Replace label i + 1 of (H, W) int32 by values[i], 0 staying 0.

    Args:
        labels: 0 to the number of values.
        values: (n,).
        dtype: of the result, of numbers and not bool.
    """
    table: NDArray[Any] = np.zeros(max(256, len(values) + 1), dtype=dtype)
    table[1 : len(values) + 1] = values
    if len(table) == 256:  # nearly always; `take` makes 64-bit indices of all pixels first, at several times the time
        return np.asarray(cv2.LUT(labels.astype(np.uint8), table))
    return np.asarray(np.take(table, labels))
