"""Overlaps of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def box_overlaps(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union (n, m) of every pair of boxes.

    Args:
        a: (n, 4) of (x0, y0, x1, y1), x1 and y1 exclusive.
        b: (m, 4), likewise.
    """
    ours, theirs = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    return paired_overlaps(ours[:, None], theirs[None])


def paired_overlaps(a: NDArray[np.number], b: NDArray[np.number]) -> NDArray[np.float64]:
    """Intersection over union (...) of boxes (..., 4) and (..., 4), whose shapes are broadcast; both x first, or y."""
    sides = [np.maximum(np.minimum(a[..., i + 2], b[..., i + 2]) - np.maximum(a[..., i], b[..., i]), 0) for i in (0, 1)]
    areas = [(boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]) for boxes in (a, b)]
    shared = sides[0] * sides[1]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9), np.float64)
