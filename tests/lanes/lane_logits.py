"""Logits as an L2C network gives them for known lines: strokes averaged over the network's cells, blurred a little."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (720, 1280)
CELLS = (48, 80)

Line = NDArray[np.float64]


def line(bottom: float, bend: float = 0.0, top: float = 300.0, end: float = 719.0, far: float = 640.0) -> Line:
    """A lane line from a far point to `bottom` on the lowest row, (k, 2) x, y; `bend` pixels of bow in between."""
    y = np.linspace(300.0, 719.0, 80)
    t = (y - 300) / 419
    x = far + (bottom - far) * t + bend * t * (1 - t) * 4
    return np.stack([x, y], axis=1)[(y >= top) & (y <= end)]


def lane_logits(
    lines: Sequence[Line],
    colors: Sequence[int] | None = None,
    stroke: int = 12,
    channels: int = 7,
    noise: float = 0.0,
    size: tuple[int, int] = SIZE,
    cells: tuple[int, int] = CELLS,
) -> NDArray[np.float32]:
    """(channels, h, w) float32 logits for lines in pixels; line i has color i + 1 unless `colors` says otherwise."""
    share = np.zeros((channels, *cells), np.float32)
    for i, points in enumerate(lines):
        mask = np.zeros(size, np.uint8)
        cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 255, stroke, cv2.LINE_AA, 4)
        cell = cv2.resize(mask.astype(np.float32) / 255, cells[::-1], interpolation=cv2.INTER_AREA)
        share[colors[i] if colors else i + 1] += cv2.GaussianBlur(cell, (0, 0), 0.6)
    logits = np.where(share > 1e-4, 10 * (share - 0.22), -6).astype(np.float32)
    logits[0] = 0
    rng = np.random.default_rng(0)
    return logits + noise * rng.normal(size=logits.shape).astype(np.float32)


def offsets(polyline: NDArray[np.float32], truth: Line) -> NDArray[np.float64]:
    """Signed distance in pixels, square to the line, at the rows that both have."""
    y = polyline[:, 1].astype(np.float64)
    shared = (y >= truth[0, 1]) & (y <= truth[-1, 1])
    x = np.interp(y, truth[:, 1], truth[:, 0])
    slope = np.gradient(x, y)
    return ((polyline[:, 0] - x) / np.sqrt(1 + slope**2))[shared]
