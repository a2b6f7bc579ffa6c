"""From the rows of a line's mask to its center line, with sub-pixel accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place

_KNOT = 4  # rows between fitted points; a lane line is straight over so few


@compiled_in_place
def _row_centers(widths, sums, left, right, columns, margin, center, weight):  # type: ignore[no-untyped-def]
    """Mean x of each row and how far to trust it; the rows of a stroke cut by the image's side are mended.

    Where a slanted line leaves the image only part of its stroke is in sight, and the mean x is that of the part. The
    edge that is in sight and the stroke's width before it was cut give the center. Once the center is out of sight,
    what is left of the stroke further down is left out.
    """
    height = len(widths)
    total = 0.0
    count = 0
    for y in range(height):
        if widths[y] > 0 and left[y] >= margin and right[y] <= columns - margin:
            total += widths[y]
            count += 1
    whole = total / max(count, 1)  # width of the whole stroke at the rows so far
    gone = False
    for y in range(height):
        weight[y] = 0.0
        if widths[y] <= 0:
            continue
        if (
            left[y] >= margin and right[y] <= columns - margin
        ) or count == 0:  # none is whole: the line lies along the image's side
            center[y] = sums[y] / widths[y]
            # The tapered tips of a stroke are cut aslant, which pulls their mean aside.
            weight[y] = min(1.0, widths[y] / max(whole, 1.0))
            whole = 0.8 * whole + 0.2 * widths[y]
        elif not gone:
            at = right[y] - 0.5 - 0.5 * whole if left[y] < margin else left[y] - 0.5 + 0.5 * whole
            gone = not 0 <= at <= columns - 1
            if not gone:
                center[y] = at
                weight[y] = 0.5


@compiled_in_place
def _trim_tips(widths, weight, reach):  # type: ignore[no-untyped-def]
    """Leave out the tapered rows at either end: on a flat line they are many, and lie beside it."""
    height = len(widths)
    for sign in (1, -1):
        y = 0 if sign == 1 else height - 1
        while 0 <= y < height and weight[y] == 0:
            y += sign
        widest = 0.0
        for k in range(2 * reach):
            if 0 <= y + sign * k < height and weight[y + sign * k] > 0:
                widest = max(widest, widths[y + sign * k])
        while 0 <= y < height and widths[y] < 0.5 * widest:
            weight[y] = 0.0
            y += sign


@compiled_in_place
def _fit(center, weight, y, top, bottom, reach):  # type: ignore[no-untyped-def]
    """Weighted straight fit around row y at that row, widening over gaps until both sides or an end hold it."""
    span = reach
    while True:
        lo, hi = max(y - span, top), min(y + span, bottom)
        s = sy = sx = syy = sxy = 0.0
        for row in range(lo, hi + 1):
            if weight[row] > 0:
                d = float(row - y)
                t = d / (span + 1)
                w = weight[row] * (1 - t * t)
                s += w
                sy += w * d
                sx += w * center[row]
                syy += w * d * d
                sxy += w * d * center[row]
        spread = s * syy - sy * sy
        if s >= 0.3 * reach and spread > 0.05 * s * s * reach * reach:
            return (sx * syy - sy * sxy) / spread
        if lo == top and hi == bottom:
            return sx / s if spread <= 0 else (sx * syy - sy * sxy) / spread
        span += reach


@compiled_in_place
def _smooth(center, weight, top, bottom, reach, robust, knots, out):  # type: ignore[no-untyped-def]
    """Local linear regression at every few rows, twice: rows far off the first curve have little say in the second."""
    count = len(knots)
    for attempt in range(2):
        for k in range(count):
            y = min(top + k * _KNOT, bottom)
            knots[k] = _fit(center, weight, y, top, bottom, reach)
        for y in range(top, bottom + 1):
            k = min((y - top) // _KNOT, count - 2) if count > 1 else 0
            if count > 1:
                begin = top + k * _KNOT
                end = min(begin + _KNOT, bottom)
                u = (y - begin) / (end - begin)
                out[y - top] = knots[k] * (1 - u) + knots[k + 1] * u
            else:
                out[y - top] = knots[0]
        if attempt == 0:
            for y in range(top, bottom + 1):
                if weight[y] > 0:
                    off = abs(center[y] - out[y - top]) / robust
                    if off > 1:
                        weight[y] /= off * off


@compiled_in_place
def _trace(widths, sums, left, right, columns, margin, reach, robust, room, line):  # type: ignore[no-untyped-def]
    """Write the points of the line (H, 2), and give how many there are; `room` (4, H) is what is worked in."""
    height = len(widths)
    center, weight, knots, curve = room[0], room[1], room[2], room[3]
    _row_centers(widths, sums, left, right, columns, margin, center, weight)
    _trim_tips(widths, weight, reach)
    top, bottom = height, -1
    for y in range(height):
        if weight[y] > 0:
            top, bottom = min(top, y), y
    length = max(bottom - top + 1, 0)
    if length:
        _smooth(center, weight, top, bottom, reach, robust, knots[: -(-(length - 1) // _KNOT) + 1], curve)
    first, last = length, -1  # in sight
    for i in range(length):
        if 0 <= curve[i] <= columns - 1:
            first, last = min(first, i), i
    count = max(last - first + 1, 0)
    for i in range(count):
        line[i, 0] = min(max(np.float32(curve[first + i]), np.float32(0)), np.float32(columns - 1))
        line[i, 1] = top + first + i
    return count


def center_line(
    widths: NDArray[np.float32],
    sums: NDArray[np.float64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    columns: int,
    reach: int,
    robust: float,
) -> NDArray[np.float32]:
    """Give the center line of one mask: the mean x at each row (paper, V-A), smoothed robustly, gaps bridged.

    Args:
        widths: (H,) of the mask, pixels; a row of a :class:`rtseg.lanes.fragments.Fragments`, as are the next three.
        sums: (H,) of its pixels' x.
        left: (H,) first column.
        right: (H,) last column.
        columns: width of the image.
        reach: rows to either side that take part in a row's fit.
        robust: pixels from the curve beyond which a row loses weight.

    Returns:
        (k, 2) float32 (x, y), one point a row from the line's top to its bottom; k = 0 if none is in sight.
    """
    height = len(widths)
    room, line = np.empty((4, height)), np.empty((height, 2), np.float32)
    margin = max(1, columns // 100)
    count = _trace(widths, sums, left, right, columns, margin, reach, robust, room, line)
    return line[:count].copy()
