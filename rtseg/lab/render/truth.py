"""The truth of a rendered road: a polyline for every lane line, through gaps and behind cars, and their mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.markings import line_offset
from rtseg.lab.render.road import RoadShape
from rtseg.lab.render.style import RoadStyle
from rtseg.lab.render.view import NEAR, View

NEAR_WIDTH = 10 / 1280  # mask line width near the camera and at its thinnest, as parts of the image width
MIN_WIDTH = 2 / 640
SPACING = 0.034  # lines are labelled up to where neighbors come this close, as part of the image width
STEP = 0.004  # polyline points lie at most this part of the image height apart


def lane_polylines(style: RoadStyle, shape: RoadShape, view: View, traveled: float) -> list[NDArray[np.float32]]:
    """Project every lane line of the style.

    Returns:
        one (k, 2) float32 array (x, y) a line, y strictly increasing, empty where the line is not in sight. A line ends
        where its neighbors come closer than `SPACING`, behind a crest, or at the style's reach.
    """
    s = np.concatenate([np.arange(-4, 12, 0.1), np.arange(12, 40, 0.4), np.arange(40, style.label_reach, 1.0)])
    s = s[s < shape.s[-1]]
    projected = []
    for line in style.lines:
        points = shape.points(s, line_offset(line, s + traveled))
        pixels, depth = view.project(points)
        pixels[(depth < NEAR) | _hidden(shape, points, view.camera.mount.height)] = np.nan
        projected.append(pixels)
    stack = np.stack(projected)
    gap = np.full(stack.shape[:2], np.inf)
    if len(stack) > 1:
        between = np.abs(np.diff(stack[..., 0], axis=0))
        between = np.where(np.isnan(between), np.inf, between)
        gap[:-1] = between
        gap[1:] = np.minimum(gap[1:], between)
    # Lines that merge into one another end there; the rest of the road ends where the lanes around get too narrow.
    lanes = np.median(np.where(np.isfinite(gap), gap, np.inf), axis=0)
    far = (lanes < SPACING * view.width) & (s > 8)
    stop = int(np.argmax(far)) if far.any() else len(s)
    polylines = []
    for i, pixels in enumerate(stack):
        merged = (gap[i] < 0.5 * SPACING * view.width) & (s > 4)
        end = min(stop, int(np.argmax(merged)) if merged.any() else len(s))
        polylines.append(_visible_part(pixels[:end], view.width, view.height))
    return polylines


def _hidden(shape: RoadShape, points: NDArray[np.float64], eye: float) -> NDArray[np.bool_]:
    """Which (k, 3) ground points a crest between them and the camera hides."""
    x, z = points[:, 0], points[:, 2]
    ahead = shape.ground_x > 0.5
    slope = np.maximum.accumulate((shape.ground_z[ahead] - eye) / shape.ground_x[ahead])
    seen = np.interp(x, shape.ground_x[ahead], slope)
    return (x > 0.5) & ((z - eye) / np.maximum(x, 0.5) < seen - 0.15 / np.maximum(x, 1.0))


def _visible_part(pixels: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """Clip a line, near to far, to the picture; keep its first stretch in sight that climbs, and resample it by row."""
    inside = (
        np.isfinite(pixels).all(axis=1)
        & (pixels[:, 0] > -0.5 * width)
        & (pixels[:, 0] < 1.5 * width)
        & (pixels[:, 1] < 1.6 * height)
    )
    if not inside.any():
        return np.empty((0, 2), np.float32)
    first = int(np.argmax(inside))
    rest = ~inside[first:]
    line = pixels[first : first + int(np.argmax(rest)) if rest.any() else len(pixels)]
    climbing = np.diff(line[:, 1]) < -1e-3
    turn = int(np.argmin(climbing)) + 1 if len(climbing) and not climbing.all() else len(line)
    line = line[:turn][::-1]
    if len(line) < 2:
        return np.empty((0, 2), np.float32)
    top, bottom = max(line[0, 1], 0.0), min(line[-1, 1], height - 1.0)
    if bottom - top < 1:
        return np.empty((0, 2), np.float32)
    rows = np.linspace(top, bottom, max(int(np.ceil((bottom - top) / (STEP * height))), 1) + 1)
    x = np.interp(rows, line[:, 1], line[:, 0])
    shown = (x >= 0) & (x <= width - 1)
    if not shown.any():
        return np.empty((0, 2), np.float32)
    # The stretch that holds the bottommost visible point: a line that leaves the picture and returns is cut there.
    low = len(shown) - 1 - int(np.argmax(shown[::-1]))
    gone = ~shown[: low + 1][::-1]
    high = low + 1 - int(np.argmax(gone)) if gone.any() else 0
    return np.stack([x[high : low + 1], rows[high : low + 1]], axis=1).astype(np.float32)


def paint_mask(
    polylines: list[NDArray[np.float32]] | tuple[NDArray[np.float32], ...], ids: list[int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(H, W) uint8 with every line's id along its polyline, thinner towards its far end."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    highest = min((float(line[0, 1]) for line in polylines), default=0.0)
    floor = max(MIN_WIDTH * width, 1.0)
    columns = np.arange(width, dtype=np.float32)
    # Outer lines first: where lines converge, those of the own lane stay whole.
    for i in sorted(range(len(polylines)), key=lambda i: -abs(float(polylines[i][-1, 0]) - width / 2)):
        line = polylines[i].astype(np.float64)
        rows = np.arange(int(np.ceil(line[0, 1] - 0.5)), int(np.floor(line[-1, 1] + 0.5)) + 1)
        rows = rows[(rows >= 0) & (rows < height)]
        x = np.interp(rows, line[:, 1], line[:, 0])
        run = np.interp(rows, line[:, 1], np.gradient(line[:, 0], line[:, 1])) if len(line) > 1 else np.zeros(len(rows))
        nearness = np.clip((rows - highest) / (0.35 * height), 0, 1)
        half = 0.5 * (floor + (NEAR_WIDTH * width - floor) * nearness) * np.hypot(1, run)
        covered = np.abs(columns - x[:, None].astype(np.float32)) < half[:, None].astype(np.float32)
        # A shallow line runs far within one row: it ends where its last point does, not where the row's run would.
        end = 0.5 * NEAR_WIDTH * width + 0.5
        covered &= (columns > line[:, 0].min() - end) & (columns < line[:, 0].max() + end)
        mask[rows[0] : rows[-1] + 1][covered] = ids[i]
    return mask
