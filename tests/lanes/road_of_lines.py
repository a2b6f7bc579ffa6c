"""A straight road on flat ground whose lines are solid, dashed or not painted."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

WHITE, YELLOW = (210, 215, 215), (40, 170, 205)
_HORIZON, _EYE = 0.4, 1.4  # of the height; metres above the road


def road_with(
    kinds: Sequence[str], size: tuple[int, int], color: tuple[int, int, int] = WHITE, seed: int = 0
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]]]:
    """A picture (H, W, 3) of a road with textured asphalt, and its lines from left to right, a point a row.

    Dashes are 3 m long and come every 9 m.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(95, 5, (height, width, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    horizon, focal = round(_HORIZON * height), 0.9 * width
    rows = np.arange(horizon + height // 36, height)
    ahead = focal * _EYE / (rows + 0.5 - horizon)
    lines = []
    for i, kind in enumerate(kinds):
        side = 3.5 * (i - (len(kinds) - 1) / 2)
        x = width / 2 + focal * side / ahead
        painted = {"solid": ahead > 0, "dashed": ahead % 9 < 3, "none": ahead < 0}[kind]
        half = focal * 0.07 / ahead
        for row, center, wide in zip(rows[painted], x[painted], half[painted], strict=True):
            ends = ((int(8 * (center - wide)), int(8 * row)), (int(8 * (center + wide)), int(8 * row)))
            cv2.line(image, *ends, color, 1, cv2.LINE_AA, 3)
        seen = (x >= 0) & (x <= width - 1)
        lines.append(np.stack([x, rows], axis=1)[seen].astype(np.float32))
    return image, lines
