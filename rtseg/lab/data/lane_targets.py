"""Lane polylines to id masks, the target of the losses."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def draw_ids(
    lanes: Sequence[NDArray[np.float32]],
    size: tuple[int, int],
    near_width: float,
    far_width: float,
    scale: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.uint8]:
    """Draw each line as a band of its id, 1..n in the order given; later lines lie above earlier ones.

    Args:
        lanes: polylines (k, 2) of (x, y) in pixels, pixel centers at integers, k >= 2.
        size: (height, width) of the mask in pixels.
        near_width: width of a band at the mask's last row, mask pixels.
        far_width: width at the middle row and above, mask pixels; between the two it grows linearly.
        scale: (x, y) factors from polyline pixels to mask pixels, by half-pixel centers.

    Returns:
        (height, width) uint8.
    """
    height, width = size
    mask = np.zeros((height, width), np.uint8)
    factor = np.asarray(scale, dtype=np.float32)
    for identity, lane in enumerate(lanes, start=1):
        line = (np.asarray(lane, dtype=np.float32) + 0.5) * factor - 0.5
        nearness = np.clip((line[:, 1] / max(height - 1, 1) - 0.5) * 2.0, 0.0, 1.0)
        half = 0.5 * (far_width + (near_width - far_width) * nearness)
        tangent = np.gradient(line, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half[:, None]
        # Far outside points would overflow the fixed-point coordinates and add nothing.
        left = np.clip(line + normal, -4.0 * width, 4.0 * width)
        right = np.clip(line - normal, -4.0 * width, 4.0 * width)
        for i in range(len(line) - 1):
            quad = np.stack([left[i], left[i + 1], right[i + 1], right[i]])
            cv2.fillConvexPoly(mask, np.round(quad * (1 << _SHIFT)).astype(np.int32), identity, shift=_SHIFT)
    return mask


def nearest_lanes(
    lanes: Sequence[NDArray[np.float32]], size: tuple[int, int], count: int
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Split lines into the `count` nearest to the camera and the rest.

    Nearness is the distance of the line's lower end, prolonged straight to the image's last row, from the middle.

    Args:
        lanes: polylines (k, 2) of (x, y), top to bottom, k >= 2.
        size: (height, width) of the image.
        count: most lines to choose.

    Returns:
        The chosen lines ordered from far to near, so that near ones are drawn last, and the others.
    """
    height, width = size

    def distance(line: NDArray[np.float32]) -> float:
        (x0, y0), (x1, y1) = line[-min(len(line), 4)], line[-1]
        slope = (x1 - x0) / max(float(y1 - y0), 1e-3)
        return abs(float(x1 + slope * (height - 1 - y1)) - 0.5 * width)

    ordered = sorted(lanes, key=distance)
    return ordered[:count][::-1], ordered[count:]


def clip_to_image(line: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32] | None:
    """Longest run of a line's points inside the image with one neighbor on each side, or None if under two points."""
    height, width = size
    inside = (line[:, 0] >= 0) & (line[:, 0] <= width - 1) & (line[:, 1] >= 0) & (line[:, 1] <= height - 1)
    if inside.sum() < 2:
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    start, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return line[max(start - 1, 0) : stop + 1]
