"""Lane lines as an occupancy grid, alone or over free space, seen from above on a flat ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CELL, AHEAD, ASIDE = 0.1, 30.0, 10.0
"""Metres: a cell's side, how far ahead of the vehicle's origin the grid reaches, and how far to either side."""

OCCUPIED, UNKNOWN = 100, -1

_FINE = 4  # binary digits behind the point with which OpenCV draws


@dataclass(frozen=True)
class Grid:
    """A nav_msgs/OccupancyGrid without its header.

    Attributes:
        cells: (height, width) int8, a row of cells ahead for each y from right to left.
        origin: (x, y) in metres of the right rear corner of the first cell, in the vehicle frame.
        resolution: side of a cell in metres.
    """

    cells: NDArray[np.int8]
    origin: tuple[float, float]
    resolution: float


def empty_cells() -> NDArray[np.int8]:
    """Cells of a grid of which nothing is known."""
    return np.full((round(2 * ASIDE / CELL), round(AHEAD / CELL)), UNKNOWN, dtype=np.int8)


def lane_grid(ground: Sequence[NDArray[np.float64]], free: Grid | None = None) -> Grid:
    """``lane_grid``: :data:`OCCUPIED` where a lane line runs, else as `free` says.

    Without it nothing is told to be free: who knows lines does not know what lies between them.

    Args:
        ground: of each lane (k, 3) metres in the vehicle frame, of :func:`rtseg.messages.ground_lines`.
        free: what a model of surfaces says of the same frame, of :meth:`rtseg.messages.Ground.free_space`.
    """
    cells_before = empty_cells() if free is None else free.cells
    drawn = np.zeros(cells_before.shape, dtype=np.uint8)
    for points in ground:
        # OpenCV's pixels have their centers at whole numbers.
        cells = (points[:, :2] + (0.0, ASIDE)) / CELL - 0.5
        fixed = np.rint(cells * (1 << _FINE)).astype(np.int32)
        cv2.polylines(drawn, [fixed.reshape(-1, 1, 2)], False, 1, shift=_FINE)
    return Grid(np.where(drawn, np.int8(OCCUPIED), cells_before), (0.0, -ASIDE), CELL)
